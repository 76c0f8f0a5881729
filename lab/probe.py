# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The loss probe between two containers.

A numbered UDP datagram goes each way every 5 ms, and a TCP stream goes from the first to the
second. What is counted as lost was sent and never arrived; a scheduling delay of the probe itself
is no loss, because gaps are measured by the times of sending.
"""

import dataclasses
import json
import os
import pathlib
import select
import subprocess
import time

from .errors import LabError

WORKER = pathlib.Path(__file__).with_name("probe_worker.py")


@dataclasses.dataclass(frozen=True)
class Direction:
    """What became of the datagrams one way."""

    name: str               # "c1->c2"
    sent: int
    lost: int
    duplicates: int
    max_gap_ms: float       # the longest outage: from the last datagram delivered before it to the
    max_gap_at_s: float     # first after it, as they were sent; and when it began (s since start)

    def __str__(self):
        text = f"{self.name}: {self.lost} of {self.sent} lost"
        if self.lost:
            text += f", longest gap {self.max_gap_ms:.0f} ms at {self.max_gap_at_s:.2f} s"
        return text


@dataclasses.dataclass(frozen=True)
class ProbeResult:
    """Both directions and the stream; str() is one line for people."""

    directions: tuple
    tcp_stall_ms: float
    tcp_broken: str         # None while the stream lived to the end

    @property
    def sent(self):
        return sum(d.sent for d in self.directions)

    @property
    def lost(self):
        return sum(d.lost for d in self.directions)

    @property
    def max_gap_ms(self):
        return max(d.max_gap_ms for d in self.directions)

    def __str__(self):
        stream = f"broken: {self.tcp_broken}" if self.tcp_broken else \
            f"longest stall {self.tcp_stall_ms:.0f} ms"
        return "; ".join([*map(str, self.directions), f"TCP {stream}"])


class Probe:
    """start() returns once all three flows have delivered; stop() ends them and says what was lost.

    Also a context manager: the result is in .result after the block.
    """

    next_port = 20000

    def __init__(self, first, second, interval_ms=5, family=4):
        self.nodes = (first, second)
        self.interval_ms = interval_ms
        self.addresses = [n.v4 if family == 4 else n.v6 for n in self.nodes]
        if None in self.addresses:
            raise LabError(f"{first.name} and {second.name} do not both have IPv{family}")
        self.port = Probe.next_port
        Probe.next_port += 1
        self.workers = []
        self.result = None

    def start(self, timeout=15):
        for node, own, peer, role in zip(self.nodes, self.addresses, reversed(self.addresses),
                                         ("connect", "listen")):
            words = node.enter() + ["/usr/bin/python3", "-S", "-E", str(WORKER), own, peer,
                                    str(self.port), str(self.interval_ms), role]
            self.workers.append(subprocess.Popen(words, stdin=subprocess.PIPE,
                                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                                 start_new_session=True))
        deadline = time.monotonic() + timeout
        self._expect("ready", deadline)
        self._tell("go", "go")
        self._expect("flowing", deadline)
        return self

    def stop(self, timeout=15):
        """End the flows; the ProbeResult. Waits for what is still on its way."""
        deadline = time.monotonic() + timeout
        self._tell("stop", "stop")
        sent = [int(line.split()[1]) for line in self._expect("sent ", deadline)]
        self._tell(f"drain {sent[1]}", f"drain {sent[0]}")
        raw = [json.loads(line) for line in self._expect("{", deadline)]
        self.close()
        names = [n.name for n in self.nodes]
        self.result = ProbeResult(
            (_judge(f"{names[0]}->{names[1]}", raw[0]["sent_at"], raw[1]["received"]),
             _judge(f"{names[1]}->{names[0]}", raw[1]["sent_at"], raw[0]["received"])),
            raw[1]["stall_ms"], raw[0]["broken"] or raw[1]["broken"])
        return self.result

    def close(self):
        """End the workers without a result."""
        for worker in self.workers:
            worker.kill()
            worker.communicate()
        self.workers = []

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self.close()

    def _tell(self, *lines):
        for worker, line in zip(self.workers, lines):
            worker.stdin.write(line.encode() + b"\n")
            worker.stdin.flush()

    def _expect(self, start, deadline):
        return [self._read_line(i, start, deadline) for i in range(len(self.workers))]

    def _read_line(self, index, start, deadline):
        worker, name = self.workers[index], self.nodes[index].name
        line = b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([worker.stdout], [], [], left)[0]:
                self.close()
                raise LabError(f"probe {self.nodes[0].name} - {self.nodes[1].name}: no"
                               f" “{start.strip()}” from {name} in time (nothing gets through?)")
            piece = os.read(worker.stdout.fileno(), 1 << 20)
            if not piece:
                error = worker.communicate()[1].decode(errors="replace").strip()
                self.close()
                raise LabError(f"the probe in {name} ended: {error.splitlines()[-1:]}")
            line += piece
        text = line.decode()
        if not text.startswith(start):
            raise LabError(f"the probe in {name} said {text[:80]!r} instead of {start!r}")
        return text


def _judge(name, sent_at, received):
    delivered = sorted(set(received))
    gap, gap_at = 0.0, 0.0
    for before, after in zip([-1, *delivered], [*delivered, len(sent_at)]):
        if after - before > 1:
            begin = sent_at[max(before, 0)]
            end = sent_at[min(after, len(sent_at) - 1)]
            if end - begin >= gap:
                gap, gap_at = end - begin, begin - sent_at[0]
    return Direction(name, len(sent_at), len(sent_at) - len(delivered),
                     len(received) - len(delivered), gap * 1000, gap_at)
