# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A controller with a database of its own, and what may happen to the file below it.

    eight clients -- net1 192.168.77.0/24 -- ctl1      the clients are in ctl1 as well
"""

import random
import secrets

import pytest

from lab import LabError, wait_for
from lab.agent import operator_binary
from lab.fabric import PREFIX
from lease_writer import Api, Ledger, Writers

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
