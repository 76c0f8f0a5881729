# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft store backup, restore and check, as commands: what they print and how they end.

The database is made here, by the tables of schema version 1: a later weft must still read it.
"""

import fcntl
import json
import sqlite3
import subprocess

import pytest

from lab.agent import clean_environment, operator_binary

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE = range(5)
TIMEOUT_S = 30
SCHEMA_1 = """
    CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), cluster_id INTEGER NOT NULL,
        revision INTEGER NOT NULL, compacted INTEGER NOT NULL, event_first INTEGER NOT NULL,
        event_next INTEGER NOT NULL, clock_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE pair (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL,
        create_revision INTEGER NOT NULL, mod_revision INTEGER NOT NULL,
        session INTEGER NOT NULL) STRICT;
    CREATE INDEX pair_session ON pair (session) WHERE session <> 0;
    CREATE TABLE event (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL,
        is_delete INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, value_len INTEGER NOT NULL,
        create_revision INTEGER NOT NULL, session INTEGER NOT NULL) STRICT;
    CREATE INDEX event_revision ON event (revision);
    CREATE TABLE session (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL) STRICT;
    CREATE INDEX session_expires ON session (expires_ms);
    PRAGMA application_id = 0x77656674;
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;
    INSERT INTO store VALUES (1, 4711, 3, 0, 1, 3, 0);
    INSERT INTO pair VALUES (x'2f61', x'31', 2, 2, 0), (x'2f62', x'32', 3, 3, 75);
    INSERT INTO session VALUES (75, 60000, 60000);
"""


def weft(*words, code=OK):
    done = subprocess.run([operator_binary(), "store", *words], text=True, capture_output=True,
                          timeout=TIMEOUT_S, env=clean_environment(), check=False)
    assert done.returncode == code, f"weft store {words}: {done}"
    if code == OK:
        assert not done.stderr
    else:
        assert done.stderr.startswith("weft: ") and done.stderr.count("\n") == 1
    return done


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "weft.db"
    with sqlite3.connect(path) as made:
        made.executescript(SCHEMA_1)
    made.close()
    return path


def ask(path, sql):
    asked = sqlite3.connect(path)
    found = asked.execute(sql).fetchone()
    asked.close()
    return found


def test_check(database):
    text = f"{database}: ok, revision 3, 2 keys, 1 sessions\n"
    assert weft("check", f"--db={database}").stdout == text
    assert json.loads(weft("check", f"--db={database}", "--json").stdout) == {
        "database": str(database), "file": None, "revision": 3, "keys": 2, "sessions": 1}
    with open(database, "r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xa5" * 4096)
    told = weft("check", f"--db={database}", code=FAILED).stderr
    assert str(database) in told and "weft store restore FILE" in told


def test_backup_and_restore(database, tmp_path):
    copy = tmp_path / "copy"
    assert weft("backup", f"--db={database}", str(copy)).stdout == (
        f"{database}: copied to {copy}, revision 3, 2 keys, 1 sessions\n")
    assert ask(copy, "SELECT * FROM store") == ask(database, "SELECT * FROM store")
    assert copy.stat().st_mode & 0o7777 == 0o600
    database.unlink()
    assert weft("restore", f"--db={database}", str(copy)).stdout == (
        f"{database}: restored from {copy}, revision 3, 2 keys, 1 sessions\n")
    assert ask(database, "SELECT group_concat(value, '') FROM pair")[0] in ("12", b"12")
    assert ask(database, "SELECT cluster_id FROM store") != (4711,)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "weft.db", "weft.db.lock"]


def test_restore_while_it_is_in_use(database, tmp_path):
    copy = tmp_path / "copy"
    weft("backup", f"--db={database}", str(copy))
    with open(f"{database}.lock", "w", encoding="ascii") as lock:
        lock.write("4242")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = weft("restore", f"--db={database}", str(copy), code=FAILED).stderr
    assert f"{database} is in use by process 4242" in told


def test_what_is_not_there(tmp_path):
    none = tmp_path / "none"
    for words in (["backup", str(tmp_path / "copy")], ["check"]):
        assert str(none) in weft(*words, f"--db={none}", code=NOT_FOUND).stderr
    assert str(none) in weft("restore", str(none), f"--db={tmp_path}/weft.db",
                             code=NOT_FOUND).stderr
    assert not list(tmp_path.iterdir())
    assert "needs FILE" in weft("backup", code=USAGE).stderr


def test_what_is_not_ours(database):
    for sql, told in (("PRAGMA user_version = 9", "schema version 9"),
                      ("PRAGMA application_id = 9", "another program")):
        changed = sqlite3.connect(database)
        changed.execute(sql)
        changed.close()
        assert told in weft("check", f"--db={database}", code=FAILED).stderr
