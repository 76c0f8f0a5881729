# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What the packet path of udp costs, in counts that no load on the machine changes."""

import json
import re
import shutil

import pytest

from udp_host import SANITIZED, build

ROUNDS = 40
SEGMENTS = 40       # packets of a round


def measure(lab, peers, *words):
    host = lab.host(f"p{peers}{len(words)}")
    done = host.run(*words, str(build() / "tests/bench/udp_packets"), str(peers), str(ROUNDS), timeout=100)
    return json.loads(done.stdout), done.stderr


def instructions(lab, peers):
    out, err = measure(lab, peers, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                       "--toggle-collect=move_packets*")
    assert out["received"] == ROUNDS * SEGMENTS, out
    return int(re.search(r"Collected : (\d+)", err)[1]) / out["received"]


def test_calls_and_memory(lab):
    out, _ = measure(lab, 100)
    assert out["sent"] == out["received"] == ROUNDS * SEGMENTS and out["written"] == ROUNDS, out
    assert out["allocations"] == 0
    # A superpacket is read (and that there is none), sent, received, and written.
    assert out["calls"] / out["sent"] * 1000 <= 130, out


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
def test_instructions_do_not_grow_with_peers(lab):
    if SANITIZED:
        return      # valgrind does not run what a sanitizer has instrumented
    few, many = instructions(lab, 1), instructions(lab, 10_000)
    print(f"{few:.0f} instructions a packet at 1 peer, {many:.0f} at 10,000")
    assert abs(many - few) / few < 0.05
    assert few < 2500     # 1964 when this was written
