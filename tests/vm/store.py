# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The embedded store when the power fails, and when the clock is set: in a virtual machine, written to from outside.

usage: store.py KERNEL IMAGE DIRECTORY      (in a network namespace of its own; run by tests/vm/run)

Prints a line "ok" or "FAILED" for each test.
"""

import pathlib
import random
import secrets
import subprocess
import sys
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests/net")]

from lab import LabError, wait_for  # noqa: E402 (the repository has to be on the path first)
from lease_writer import LEASES, Api, Ledger, LostWrite, Writers  # noqa: E402
from machine import Machine, make_disk  # noqa: E402

DISK_SIZE = 64 << 20
POWER_LOSSES = 20
WRITES = 300            # at most before the power fails
UNSYNCED_LOSSES = 3     # of which one at least must be found
TTL_S = 6
LATE_S = 15             # how late a session may end, on an emulated processor
DAY_S = 86400


class Setup:
    """A kernel, an image and a disk, and machines of them."""

    def __init__(self, kernel, image, directory):
        self.disk = pathlib.Path(directory) / "store-disk"
        self._kernel = kernel
        self._image = image
        self.boots = 0

    def power_on(self, **how):
        self.boots += 1
        return Machine(self._kernel, self._image, self.disk, **how)

    def new_disk(self):
        make_disk(self.disk, DISK_SIZE)


def lose_power(setup, ledger, numbers, preload=None):
    """Boot, hold what is on the disk against the ledger, write, and cut the power meanwhile."""
    with setup.power_on() as machine:
        if ledger.acknowledged:
            check_database(machine)
        machine.start_controller(preload)
        ledger.settle(Api(machine.connect))
        with Writers(machine.connect, ledger, numbers.random()) as writers:
            writers.wait_acknowledged(numbers.randrange(1, WRITES))
            machine.cut_power()


def check_database(machine):
    try:
        said = machine.run("weft store check --db=/var/lib/weft/weft.db")
    except LabError as e:
        raise LostWrite(f"the database is not whole: {e}") from None
    assert ": ok, revision " in said, said


def test_power_loss(setup):
    """All that was acknowledged is on the disk."""
    seed = secrets.token_hex(4)
    numbers = random.Random(seed)
    ledger = Ledger()
    setup.new_disk()
    for _ in range(POWER_LOSSES):
        lose_power(setup, ledger, numbers)
    with setup.power_on() as machine:
        check_database(machine)
        machine.start_controller()
        ledger.settle(Api(machine.connect))
    assert ledger.open >= POWER_LOSSES, "the power never failed while it wrote"
    return f"{POWER_LOSSES} power losses, seed {seed}, {ledger}"


def test_power_loss_unsynced(setup):
    """And it is not if nobody waits for the disk: the test above would see it."""
    ledger = Ledger()
    setup.new_disk()
    lose_power(setup, ledger, random.Random(0))
    for count in range(UNSYNCED_LOSSES + 1):
        try:
            lose_power(setup, ledger, random.Random(count), "/weft/unsynced.so")
        except LostWrite as e:
            assert count > 0, f"lost while it waited for the disk: {e}"
            return f"found at power loss {count}, {ledger.acknowledged} writes acknowledged: {e}"
    raise AssertionError(f"{UNSYNCED_LOSSES} power losses without fsync were not found: {ledger}")


class Keeper(threading.Thread):
    """Keeps a session alive."""

    def __init__(self, connect, session):
        super().__init__(daemon=True)
        self._api = Api(connect)
        self._session = session
        self._ends = threading.Event()
        self.renewals = 0
        self.failure = None

    def run(self):
        try:
            while not self._ends.wait(1):
                self._api.keep_alive(self._session)
                self.renewals += 1
        except LabError as e:
            self.failure = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *ignored):
        self._ends.set()
        self.join()


def put_tied(api, name, ttl_s):
    """A lease with a session of its own."""
    session = api.open_session(ttl_s)
    key = LEASES + name
    done, _ = api.txn({"key": key, "exists": False}, {"key": key, "value": name, "session": session})
    assert done, f"{key} is there already"
    return session


def names(api):
    return {key.removeprefix(LEASES) for key in api.range(LEASES)[0]}


def set_clock(machine, days):
    """By this many days, whatever it says now."""
    before = int(machine.run("date +%s"))
    machine.run(f"date -s @{before + days * DAY_S} > /run/date")
    assert abs(int(machine.run("date +%s")) - before - days * DAY_S) < 60, "the clock was not set"


def watch_end(api, name, begun, opened):
    """Seconds for which a session of TTL_S that was opened then, between these two, lived."""
    wait_for(lambda: name not in names(api), f"the end of {name}", TTL_S + LATE_S)
    lived = time.monotonic() - begun
    assert lived >= TTL_S, f"{name} ended after {lived:.1f} s of {TTL_S}"
    assert time.monotonic() - opened < TTL_S + LATE_S
    return lived


def test_clock(setup):
    """The wall clock is set by a day: no session ends early, none stays."""
    setup.new_disk()
    lived = []
    with setup.power_on() as machine:
        machine.start_controller()
        api = Api(machine.connect)
        put_tied(api, "long", 3600)
        with Keeper(machine.connect, put_tied(api, "kept", TTL_S)) as keeper:
            for number, days in enumerate((1, -1, -1, 1)):
                begun = time.monotonic()
                put_tied(api, f"left-{number}", TTL_S)
                opened = time.monotonic()
                set_clock(machine, days)
                lived.append(watch_end(api, f"left-{number}", begun, opened))
                assert names(api) == {"long", "kept"}, f"set by {days} days: {names(api)}"
        assert keeper.failure is None, str(keeper.failure)
        begun = time.monotonic()
        put_tied(api, "over", 60)
        api.close()
    with setup.power_on(rtc=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + DAY_S))) as machine:
        assert int(machine.run("date +%s")) > time.time() + DAY_S / 2, "the machine took no clock"
        machine.start_controller()
        api = Api(machine.connect)
        found = wait_for(lambda: names(api), "the leases")
        assert {"long", "over"} <= found, f"after a start a day later: {found}"
        wait_for(lambda: "kept" not in names(api), "the end of what nobody keeps", 60 + LATE_S)
    return (f"4 times set by a day, and a start a day later: {TTL_S} s were {min(lived):.1f} to {max(lived):.1f} s,"
            f" {keeper.renewals} renewals")


def main(kernel, image, directory):
    setup = Setup(kernel, image, directory)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for test in (test_power_loss, test_power_loss_unsynced, test_clock):
        name = test.__name__.removeprefix("test_").replace("_", " ")
        begun, boots = time.monotonic(), setup.boots
        try:
            said = test(setup)
        except (LabError, AssertionError) as e:
            said, word = str(e), "FAILED "
        else:
            word = "ok     "
        print(f"{word} the store: {name} ({time.monotonic() - begun:.0f} s, {setup.boots - boots} boots): {said}",
              flush=True)
    setup.disk.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
