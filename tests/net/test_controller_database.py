# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A controller with a database of its own, and what may happen to the file below it.

    eight clients -- net1 192.168.77.0/24 -- ctl1      the clients are in ctl1 as well
"""

import http.client
import json
import random
import secrets
import threading

import pytest

from lab import wait_for
from lab.agent import operator_binary
from lab.fabric import DEFAULT_CONFIG, PREFIX
from lease_writer import LEASES, Api, Connection, Ledger, Refused, Writers

PORT = 8889
WRITES = 1000           # of which a controller is killed in the middle
DATABASE = "/var/lib/weft/weft.db"


class Database:
    """A controller on a host of its own, and the ways to it."""

    def __init__(self, lab):
        self.node = lab.host("ctl1", lab.segment("net1", v4="192.168.77.0/24"))
        self.flags = [f"--listen={self.node.v4}:{PORT}", "--insecure", f"--store=sqlite:{DATABASE}",
                      f"--etcd-prefix={PREFIX}"]

    def start(self):
        self.node.agent.start(*self.flags)
        wait_for(lambda: "controller: serves" in self.node.agent.log_since_start() or not self.node.agent.alive(),
                 "the controller")
        assert self.node.agent.alive(), self.node.agent.log_tail()

    def connect(self):
        opened = self.node.socket()
        opened.settimeout(5)
        opened.connect((self.node.v4, PORT))
        return opened

    def check(self):
        """weft store check; its one line."""
        return self.node.run(operator_binary(), "store", "check", f"--db={DATABASE}").stdout


@pytest.fixture
def database(lab):
    made = Database(lab)
    made.start()
    return made


def kill_while_writing(database, times):
    seed = secrets.token_hex(4)
    numbers = random.Random(seed)
    ledger = Ledger()
    for _ in range(times):
        with Writers(database.connect, ledger, f"{seed}-{ledger.revision}") as writers:
            writers.wait_acknowledged(numbers.randrange(1, WRITES))
            database.node.agent.kill()
        assert ": ok, revision " in database.check()
        database.start()
        ledger.settle(Api(database.connect))
    print(f"{times} times killed, seed {seed}: {ledger}")
    assert ledger.open >= times, "it was never killed while it wrote"


def test_killed_while_it_writes(database):
    kill_while_writing(database, 3)


@pytest.mark.long
def test_killed_often_while_it_writes(database):
    kill_while_writing(database, 50)


# ---- a full disk ----

TTL_S = 4
FILLER = "/var/lib/weft/filler"


def small_tmpfs(node):
    node.run("mount", "-t", "tmpfs", "-o", "size=2m", "small", "/var/lib/weft")


def small_ext4(node):
    image = node.directory / "disk"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    node.run("mke2fs", "-q", "-t", "ext4", "-m", "0", str(image))
    done = node.run("mount", "-o", "loop", str(image), "/var/lib/weft", check=False)
    if done.returncode != 0:
        pytest.skip(f"no loop devices here: {done.stderr.strip()}")


def fill(node):
    done = node.run("dd", "if=/dev/zero", f"of={FILLER}", "bs=4k", check=False)
    assert "No space left" in done.stderr, done.stderr


class Watch(threading.Thread):
    """What a watch of the leases tells, beside its heartbeats."""

    def __init__(self, database, revision):
        super().__init__(daemon=True)
        self._connection = Connection(database.connect)
        self._connection.request("POST", "/v2/watch", json.dumps({
            "prefixes": [{"prefix": LEASES}], "from": revision + 1, "heartbeat_ms": 100}))
        self._answer = self._connection.getresponse()
        self.lines = []
        self.heartbeats = 0
        self.start()

    def run(self):
        try:
            for text in self._answer:
                line = json.loads(text)
                self.heartbeats += "complete" in line
                if "complete" not in line:
                    self.lines.append(line)
        except (OSError, ValueError, http.client.HTTPException):
            pass                    # the controller ended

    def await_heartbeats(self, count):
        before = self.heartbeats
        wait_for(lambda: self.heartbeats >= before + count, f"{count} heartbeats of the watch", timeout=20)


def write_until_full(api):
    """What is refused at last: the log may still have room for a few."""
    for number in range(1000):
        try:
            api.put(f"{LEASES}large-{number}", "x" * 20000)
        except Refused as e:
            return e
    raise AssertionError("the disk is not full")


@pytest.mark.parametrize("small", [small_tmpfs, small_ext4])
def test_full_disk(lab, small):
    """Writes are refused and say why, reads and watches go on, and room is all that it needs."""
    database = Database(lab)
    node = database.node
    node.run("mkdir", "/var/lib/weft")
    small(node)
    database.start()
    api = Api(database.connect)
    session = api.open_session(TTL_S)
    api.txn({"key": f"{LEASES}tied", "exists": False}, {"key": f"{LEASES}tied", "value": "t", "session": session})
    revision = api.put(f"{LEASES}before", "b")
    watch = Watch(database, revision)
    api.keep_alive(session)
    fill(node)
    refused = write_until_full(api)
    assert refused.code == "no-space" and f"{DATABASE}: no room to write" in refused.text, refused
    told = node.run(operator_binary(), "network", "set", f"--remote={node.v4}:{PORT}",
                    json.dumps({**DEFAULT_CONFIG, "Comment": "x" * 20000}), check=False)
    assert told.returncode != 0 and "no room to write" in told.stderr, told.stderr
    pairs, now = api.range(LEASES)
    assert pairs[f"{LEASES}before"]["value"] == "b" and f"{LEASES}tied" in pairs
    # Nobody can renew a session now, so none ends.
    watch.await_heartbeats(TTL_S * 10 + 5)
    assert api.range(LEASES) == (pairs, now)
    assert f"{DATABASE}: no room to write" in write_until_full(api).text
    assert not [line for line in watch.lines if "down" in line or "lost" in line], watch.lines
    node.run("rm", FILLER)
    api.keep_alive(session)
    revision = api.put(f"{LEASES}after", "a")
    wait_for(lambda: any(line.get("put", {}).get("mod") == revision for line in watch.lines), "the watch")
    wait_for(lambda: any(line.get("delete", {}).get("key") == f"{LEASES}tied" for line in watch.lines),
             "the session's end")
    assert not [line for line in watch.lines if "down" in line or "lost" in line], watch.lines
    assert ": ok, revision " in database.check()


def test_start_on_a_full_disk(lab):
    """Without a database it is refused; one that is there is served, and with room all goes on."""
    database = Database(lab)
    node = database.node
    node.run("mkdir", "/var/lib/weft")
    small_tmpfs(node)
    fill(node)
    node.agent.start(*database.flags)
    assert node.agent.wait_exit() == 1
    assert f"{DATABASE}.new: no room to write" in node.agent.log_since_start(), node.agent.log_tail()
    node.run("rm", FILLER)
    database.start()
    Api(database.connect).put(f"{LEASES}before", "b")
    node.agent.kill()
    fill(node)
    database.start()
    api = Api(database.connect)
    pairs, revision = wait_for(lambda: api.range(LEASES), "the leases")
    assert list(pairs) == [f"{LEASES}before"]
    assert write_until_full(api).code == "no-space"
    node.run("rm", FILLER)
    assert api.put(f"{LEASES}after", "a") > revision


# ---- a corrupt database ----

def test_corrupt_database(database):
    """Refused at the start, with the command that puts a backup in its place."""
    node = database.node
    api = Api(database.connect)
    for number in range(500):
        api.put(f"{LEASES}{number}", "x" * 100)
    node.run(operator_binary(), "store", "backup", f"--db={DATABASE}", "/var/lib/weft/copy")
    whole = api.range(LEASES)
    node.agent.stop()
    path = node.lib_dir / "weft/weft.db"
    sound = path.read_bytes()
    for bad in (b"\0" * 100 + sound[100:],                          # no header
                sound[:8192] + b"\xa5" * 4096 + sound[12288:],      # a page of rubbish
                sound[:len(sound) // 2],                            # cut short
                b""):
        path.write_bytes(bad)
        node.agent.start(*database.flags)
        assert node.agent.wait_exit() == 1, len(bad)
        log = node.agent.log_since_start()
        assert f"{DATABASE} is corrupt" in log and "`weft store restore FILE`" in log, log
    node.run(operator_binary(), "store", "restore", f"--db={DATABASE}", "/var/lib/weft/copy")
    database.start()
    assert Api(database.connect).range(LEASES) == whole
