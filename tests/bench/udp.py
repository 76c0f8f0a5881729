# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The packet path of the udp backend, beside a loop of one packet a system call and the kernel's VXLAN.

    h1 == eth0 ---- eth0 == h2      one cable in frame mode: every packet crosses it as a frame of the MTU

Rounds are interleaved, each figure is a median, and what counts are ratios of them within this run.
"""

import contextlib
import json
import os
import statistics
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent), str(TESTS / "net")]
from udp_host import UdpHost, mesh  # noqa: E402
from lab import Lab, wait_for  # noqa: E402

BUILD = Path(os.environ.get("WEFT_BUILD", Path(__file__).resolve().parents[2] / "build"))
TRAFFIC = str(BUILD / "tests/bench/traffic")
SECONDS = 2
FRAME_MODE = ("tso", "off", "gso", "off", "tx-udp-segmentation", "off", "tx-udp_tnl-segmentation", "off",
              "tx-udp_tnl-csum-segmentation", "off", "gro", "on")


class Way:
    """Two hosts and one way of carrying packets between them."""

    def __init__(self, lab, index, name):
        self.name = name
        self.hosts = [lab.host(f"{name}{i}") for i in (1, 2)]
        first, second = self.hosts
        first.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.netns)
        for number, host in enumerate(self.hosts, 1):
            host.run("ethtool", "-K", "eth0", *FRAME_MODE)
            host.ip("addr", "add", f"192.168.{index}.{number}/24", "dev", "eth0")
            host.ip("link", "set", "eth0", "up")
            host.sysctl("net/ipv4/tcp_no_metrics_save", 1)
        getattr(self, f"set_up_{name}")([f"192.168.{index}.{n}" for n in (1, 2)])

    target = "10.1.2.0"

    def ends(self, outer):
        ends = []
        for number, host in enumerate(self.hosts, 1):
            end = UdpHost(host, f"10.1.{number}.0/24")
            end.outer = outer[number - 1]
            ends.append(end)
        return ends

    def set_up_udp(self, outer):
        ends = self.ends(outer)
        for end in ends:
            end.start(*os.environ.get("UDP_FLAGS", "").split())
        mesh(ends)
        self.ends_ = ends

    def set_up_loop(self, outer):
        ends = self.ends(outer)
        for end, other in (ends, ends[::-1]):
            end.start_loop({other.subnet: other.outer}, verify=False)

    def set_up_vxlan(self, outer):
        for own, peer, host in ((1, 2, self.hosts[0]), (2, 1, self.hosts[1])):
            host.ip("link", "add", "vx0", "address", f"02:00:00:00:00:0{own}", "mtu", "1450", "type", "vxlan",
                    "id", "1", "dstport", "8472", "local", outer[own - 1], "nolearning")
            host.ip("addr", "add", f"10.1.{own}.0/32", "dev", "vx0")
            host.ip("link", "set", "vx0", "up")
            host.ip("route", "add", f"10.1.{peer}.0/24", "via", f"10.1.{peer}.0", "dev", "vx0", "onlink")
            host.ip("neigh", "add", f"10.1.{peer}.0", "lladdr", f"02:00:00:00:00:0{peer}", "dev", "vx0")
            host.run("bridge", "fdb", "add", f"02:00:00:00:00:0{peer}", "dev", "vx0", "dst", outer[peer - 1])

    def tcp(self, streams):
        server = self.hosts[1].spawn("iperf3", "-s", "-1", "-p", "5201")
        wait_for(lambda: self.hosts[1].run("ss", "-Hlt", "sport", "=", "5201").stdout, "iperf3 to listen")
        out = self.hosts[0].run("iperf3", "-c", self.target, "-t", str(SECONDS), "-O", "0.4", "-P", str(streams), "-J",
                                "-C", "cubic", timeout=60)
        server.wait()
        return json.loads(out.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9

    @contextlib.contextmanager
    def echo(self):
        server = self.hosts[1].spawn(TRAFFIC, "echo", "6001")
        wait_for(lambda: self.hosts[1].run("ss", "-Hlt", "sport", "=", "6001").stdout, "the echo to listen")
        try:
            yield
        finally:
            server.kill()

    @contextlib.contextmanager
    def awake(self):
        """Processors that do not sleep: to wake one of a virtual machine takes longer than a round trip."""
        idlers = [self.hosts[0].spawn("chrt", "-i", "0", "sh", "-c", "while :; do :; done", name=f"idler{i}")
                  for i in range(os.cpu_count())]
        try:
            yield
        finally:
            for idler in idlers:
                idler.kill()

    def round_trips(self):
        with self.echo(), self.awake():
            return json.loads(self.hosts[0].run(TRAFFIC, "rr", self.target, "6001", str(SECONDS)).stdout)["rate"]

    def loaded_p99(self):
        with self.echo():
            server = self.hosts[1].spawn("iperf3", "-s", "-1", "-p", "5201")
            wait_for(lambda: self.hosts[1].run("ss", "-Hlt", "sport", "=", "5201").stdout, "iperf3 to listen")
            bulk = self.hosts[0].spawn("iperf3", "-c", self.target, "-t", str(SECONDS + 1), "-C", "cubic")
            out = json.loads(self.hosts[0].run(TRAFFIC, "rr", self.target, "6001", str(SECONDS)).stdout)
            bulk.wait()
            server.wait()
        return out["p99_us"] / 1000

    def packets(self, size, together):
        log = self.hosts[1].directory / "sink.log"
        log.unlink(missing_ok=True)
        sink = self.hosts[1].spawn(TRAFFIC, "sink", "7001", log=log)
        wait_for(lambda: self.hosts[1].run("ss", "-Hlu", "sport", "=", "7001").stdout, "the sink to be bound")
        self.hosts[0].run(TRAFFIC, "blast", self.target, "7001", str(SECONDS), str(size), str(together))
        sink.terminate()
        return json.loads(log.read_text())["packets"] / SECONDS / 1000


MEASURES = [
    ("TCP, 1 stream, Gbit/s", lambda way: way.tcp(1)),
    ("TCP, 8 streams, Gbit/s", lambda way: way.tcp(8)),
    ("round trips a second", lambda way: way.round_trips()),
    ("p99 of a round trip under a stream, ms", lambda way: way.loaded_p99()),
    ("UDP of 1200 bytes, 50 a send, 1000/s", lambda way: way.packets(1200, 50)),
    ("UDP of 64 bytes, 1000/s", lambda way: way.packets(64, 1)),
]


def bench(rounds=7, only=None):
    """[(measure, {way: median}, {way: all})]"""
    rows = []
    with Lab() as lab:
        ways = [Way(lab, 80 + i, name) for i, name in enumerate(("udp", "loop", "vxlan"))]
        for text, measure in MEASURES:
            if only and only not in text:
                continue
            values = {way.name: [] for way in ways}
            for _ in range(rounds):
                for way in ways:
                    values[way.name].append(measure(way))
            rows.append((text, {name: statistics.median(v) for name, v in values.items()}, values))
    return rows


def show(rows):
    return [(text, f"{m['udp']:.2f}, loop {m['loop']:.2f} ({m['udp'] / m['loop']:.1f} times), "
                   f"vxlan {m['vxlan']:.2f} ({m['udp'] / m['vxlan']:.2f} times); "
                   f"range {min(v['udp']):.2f} to {max(v['udp']):.2f}") for text, m, v in rows]


if __name__ == "__main__":
    for line in show(bench(int(sys.argv[1]) if len(sys.argv) > 1 else 7, sys.argv[2] if len(sys.argv) > 2 else None)):
        print(*line, sep=": ", flush=True)
