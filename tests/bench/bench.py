# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The benchmarks of the control plane: medians, beside what bare etcd and the bare kernel took in the same rounds.

usage: bench.py [start|start65k|puts|steady|memory|env|requests|controller|udp|cni ...]   (none: all but start65k)
"""

import json
import os
import re
import statistics
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlparse

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lab import Lab, wait_for  # noqa: E402
from lab.cni import GO, Runtime  # noqa: E402
import udp  # noqa: E402 (beside this file)

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
PREFIX = "/coreos.com/network"
CONFIG = '{"Network":"10.0.0.0/8","SubnetLen":24,"SubnetMin":"10.255.0.0","Backend":{"Type":"vxlan"}}'
BUILD = Path(os.environ.get("WEFT_BUILD", HERE.parents[1] / "build"))
WANTED = "the kernel is as wanted"


class Bench:
    """One host and one etcd with a number of leases of made-up hosts."""

    def __init__(self, lab, leases):
        self.lab = lab
        self.leases = leases
        segment = lab.segment("net1", v4="192.168.77.0/24")
        self.host = lab.host("h1", segment)
        self.etcd = lab.etcd(segment, members=1)
        self.url = self.etcd.endpoints.split(",")[0]
        self.etcd.put(f"{PREFIX}/config", CONFIG)
        self.host.run(PYTHON, str(HERE / "load.py"), self.url, PREFIX, "0", str(leases), timeout=300)

    def file(self, name):
        return self.host.run_dir / name

    def start(self, *flags):
        begun = time.time()
        self.host.agent.start("-iface=eth0", *flags, etcd=self.etcd)
        return begun

    def stop_and_forget(self, cache=True):
        """Routes before nexthops before the device: the other way round is quadratic in the kernel."""
        self.host.agent.stop()
        for command in (("ip", "route", "flush", "proto", "157"), ("ip", "nexthop", "flush", "proto", "157"),
                        ("ip", "link", "del", "flannel.1")):
            self.host.run(*command, check=False, timeout=300)
        if cache:
            self.host.run("sh", "-c", "rm -rf /var/lib/weft/*")

    def logged_at(self, text, since):
        """When the agent last logged this line, as seconds after since."""
        lines = [line for line in self.host.agent.log().splitlines() if text in line]
        stamp = datetime.strptime(lines[-1].split()[0], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
        return stamp.timestamp() - since

    def wait_programmed(self, count=None):
        count = self.leases if count is None else count
        begun = self.host.agent.starts
        wait_for(lambda: self.host.agent.log().split(f"--- start {begun}:")[-1].count(WANTED),
                 "the first pass", timeout=120)
        status = wait_for(lambda: self.status_with(count), f"{count} programmed peers", timeout=120)
        return status

    def status_with(self, count):
        status = self.host.agent.status()
        return status if status["peers"]["programmed"] == count else None

    def passes(self):
        return self.host.agent.metric("weft_reconcile_passes_total")

    def raw_range(self):
        body = ('{"key":"L2NvcmVvcy5jb20vbmV0d29yay9zdWJuZXRzLw==",'
                '"range_end":"L2NvcmVvcy5jb20vbmV0d29yay9zdWJuZXRzMA=="}')
        done = self.host.run("curl", "-s", "-o", "/run/range", "-w", "%{time_total}", "-X", "POST",
                             f"{self.url}/v3/kv/range", "-d", body)
        return float(done.stdout)

    def raw_decode(self):
        """Of what raw_range got."""
        done = self.host.run(str(BUILD / "tests/bench/bench_decode"), "/run/range")
        leases, milliseconds = re.fullmatch(r"(\d+) leases in ([\d.]+) ms\n", done.stdout).groups()
        assert int(leases) >= self.leases, done.stdout
        return float(milliseconds) / 1000

    def raw_netlink(self):
        done = self.host.run(str(BUILD / "tests/bench/bench_netlink"), str(self.leases), "1", timeout=300)
        figures = re.search(r"median of .*ms:\s+raw ([\d.]+)", done.stdout)
        if not figures:
            raise SystemExit(f"bench_netlink printed no raw figure:\n{done.stdout}")
        return float(figures.group(1)) / 1000


def seen_at(path, what):
    """When the listener last saw each address in a notification of this kind; its last line may be half written."""
    lines = (line.split() for line in path.read_text().splitlines()[1:])
    return {words[2]: float(words[0]) for words in lines if len(words) == 3 and words[1] == what}


def memory_kb(pid):
    text = Path(f"/proc/{pid}/smaps_rollup").read_text() + Path(f"/proc/{pid}/status").read_text()
    return {name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1))
            for name in ("Private_Dirty", "Rss", "VmHWM")}


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(title, rows):
    print(f"\n{title}")
    width = max(len(row[0]) for row in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
    sys.stdout.flush()


def bench_start(leases, rounds):
    with Lab() as lab:
        bench = Bench(lab, leases)
        parts = {"etcd: one raw range": [], "decoding of its answer": [], "kernel: raw netlink batch": []}
        starts = []
        for _ in range(rounds):
            for times, measure in zip(parts.values(), (bench.raw_range, bench.raw_decode, bench.raw_netlink)):
                times.append(measure())
            begun = bench.start()
            bench.wait_programmed()
            starts.append(bench.logged_at(WANTED, begun))
            bench.stop_and_forget()
        medians = {name: statistics.median(times) for name, times in parts.items()}
        ratios = [start / sum(raw) for start, *raw in zip(starts, *parts.values())]
        table(f"start with {leases} leases to the last route, {rounds} rounds, medians", [
            *((name, f"{seconds * 1000:.0f} ms") for name, seconds in medians.items()),
            ("weftd: exec to last route", f"{statistics.median(starts) * 1000:.0f} ms "
                                          f"(best {min(starts) * 1000:.0f}, worst {max(starts) * 1000:.0f})"),
            ("ratio to the sum of the three", f"{statistics.median(ratios):.2f} "
                                              f"(best {min(ratios):.2f}, worst {max(ratios):.2f})"),
        ])


def bench_puts(count=10000):
    with Lab() as lab:
        bench = Bench(lab, 10)
        bench.start()
        bench.wait_programmed()
        seen, put = bench.file("seen"), bench.file("put")
        listener = bench.host.spawn(PYTHON, str(HERE / "listen.py"), "/run/seen")
        wait_for(seen.exists, "the listener")
        address = urlparse(bench.url)
        bench.host.run(PYTHON, str(HERE / "put.py"), address.hostname, str(address.port), PREFIX, "1000", str(count),
                       "1", "0", "/run/put", timeout=300)
        bench.wait_programmed(count + 10)
        acked = {line.split()[1]: float(line.split()[0]) for line in put.read_text().splitlines()}
        wait_for(lambda: acked.keys() <= seen_at(seen, "route").keys(), "the listener to have read all", timeout=60)
        listener.terminate()
        routed = seen_at(seen, "route")
        in_kernel = {route["dst"].split("/")[0] for route in bench.host.ip_json("route", "show", "proto", "157")}
        missing = acked.keys() - in_kernel
        last_put, last_route = max(acked.values()), max(routed[a] for a in acked)
        spread = last_put - min(acked.values())
        table(f"{count} single puts while watching", [
            ("puts", f"{count / spread:.0f} a second"),
            ("last put acknowledged to last route", f"{(last_route - last_put) * 1000:.1f} ms"),
            ("events lost", str(len(missing))),
        ])


def bench_steady(seconds=60, per_second=100):
    with Lab() as lab:
        bench = Bench(lab, 10000)
        bench.start()
        bench.wait_programmed()
        seen, put = bench.file("seen"), bench.file("put")
        listener = bench.host.spawn(PYTHON, str(HERE / "listen.py"), "/run/seen")
        wait_for(seen.exists, "the listener")
        address = urlparse(bench.url)
        count = seconds * per_second
        bench.host.run(PYTHON, str(HERE / "put.py"), address.hostname, str(address.port), PREFIX, "0", str(count),
                       "7", str(per_second), "/run/put", timeout=seconds + 120)
        acked = {line.split()[1]: float(line.split()[0]) for line in put.read_text().splitlines()}

        wait_for(lambda: acked.keys() <= seen_at(seen, "neigh").keys(), "every change in the kernel", timeout=60)
        listener.terminate()
        at = seen_at(seen, "neigh")
        delays = [(at[a] - acked[a]) * 1000 for a in acked]
        table(f"{per_second} changed peers a second for {seconds} s, among 10000: acknowledged put to kernel", [
            ("p50", f"{quantile(delays, 0.5):.1f} ms"),
            ("p99", f"{quantile(delays, 0.99):.1f} ms"),
            ("worst", f"{max(delays):.1f} ms"),
        ])


def bench_memory():
    rows = []
    for leases in (3, 10000):
        with Lab() as lab:
            bench = Bench(lab, leases)
            bench.start()
            bench.wait_programmed()
            pid = bench.host.agent.pid
            wait_for(lambda: (bench.host.lib_dir / "weft/peers").exists(), "the cache file", timeout=30)
            passes = bench.passes()
            wait_for(lambda: bench.passes() > passes, "a periodic scan", timeout=400, interval=1)
            idle_from, cpu_from = time.monotonic(), cpu_seconds(pid)
            # Not asked meanwhile: an answer costs more than being idle.
            time.sleep(31 + 30 * (leases // 1000))
            seconds = time.monotonic() - idle_from
            cpu = (cpu_seconds(pid) - cpu_from) / seconds
            wait_for(lambda: bench.passes() == passes + 2, "the next periodic scan")
            kb = memory_kb(pid)
            mb = {name: f"{value / 1024:.1f} MB" for name, value in kb.items()}
            rows.append((f"{leases} peers", f"private {mb['Private_Dirty']}, resident {mb['Rss']}, "
                                            f"peak at start {mb['VmHWM']}, "
                                            f"idle CPU {cpu * 100:.3f} % in {seconds:.0f} s"))
    table("memory and idle CPU (from one periodic scan to the next)", rows)


def bench_env(rounds=7):
    with Lab() as lab:
        bench = Bench(lab, 1000)
        bench.start()
        bench.wait_programmed()
        file = bench.file("flannel/subnet.env")
        times = []
        for _ in range(rounds):
            bench.stop_and_forget()
            file.unlink()
            begun = bench.start()
            wait_for(file.exists, "subnet.env", timeout=10)
            times.append(file.stat().st_mtime - begun)
            bench.wait_programmed()
        table(f"start with an existing lease among 1000 to subnet.env, {rounds} rounds", [
            ("median", f"{statistics.median(times) * 1000:.0f} ms"), ("worst", f"{max(times) * 1000:.0f} ms")])


def bench_controller(agents=5000, changes=20, is_secure=False):
    with Lab() as lab:
        segment = lab.segment("net1", v4="192.168.77.0/24")
        host, etcd = lab.host("ctl1", segment), lab.etcd(segment, members=1)
        host.agent.start("--listen=127.0.0.1:8889", *([] if is_secure else ["--insecure"]), etcd=etcd)
        wait_for(lambda: "controller: serves" in host.agent.log(), "the controller")
        empty = memory_kb(host.agent.pid)["Rss"]
        answer = host.run_dir / "agents"
        load = host.spawn(PYTHON, str(HERE / "agents.py"), "127.0.0.1", "8889", PREFIX, str(agents), str(changes),
                          "/run/agents",
                          *([(host.lib_dir / "weft/controller.join").read_text().strip()] if is_secure else []))
        wait_for(answer.exists, "all agents", timeout=300, interval=0.5)
        result = json.loads(answer.read_text())
        time.sleep(6)       # what the ranges took is given back 5 s after the last one
        full = memory_kb(host.agent.pid)["Rss"]
        watchers = etcd.metric("etcd_debugging_mvcc_watcher_total")
        load.terminate()
        table(f"{agents} agents of one controller before etcd, all started at once"
              f"{', over TLS and each with its own' if is_secure else ''}", [
            ("until all hold a lease and watch", f"{result['join_s']:.1f} s"),
            ("a changed lease at all of them", f"p50 {quantile(result['delays_ms'], 0.5):.0f} ms, "
                                               f"p99 {quantile(result['delays_ms'], 0.99):.0f} ms"),
            ("memory an agent", f"{(full - empty) / agents:.1f} kB"),
            ("watches in etcd", f"{watchers:.0f}"),
        ])


def bench_requests():
    rows = []
    for leases in (10, 1000, 10000):
        with Lab() as lab:
            bench = Bench(lab, leases)
            methods = ("Range", "Txn", "Put", "LeaseGrant", "LeaseKeepAlive", "LeaseTimeToLive", "Watch",
                       "LeaseRevoke")
            before = {m: bench.etcd.metric("grpc_server_started_total", grpc_method=m) or 0 for m in methods}
            bench.start()
            bench.wait_programmed()
            after = {m: bench.etcd.metric("grpc_server_started_total", grpc_method=m) or 0 for m in methods}
            counts = {m: int(after[m] - before[m]) for m in methods if after[m] > before[m]}
            status = bench.host.agent.status()["netlink"]
            rows.append((f"{leases} leases", f"{sum(counts.values())} calls to etcd {counts}; "
                                             f"{status['messages'] / leases:.1f} netlink messages a lease "
                                             f"in {status['sends']} sends"))
    table("what a first start costs", rows)


def bench_udp():
    table("the packet path of udp, in frame mode, medians of 7 interleaved rounds", udp.show(udp.bench()))


def bench_cni(rounds=60, parallel=100, in_flight=32):
    """Plugins in turns: Debian's bridge with host-local, and ours; each figure also as a share of Debian's."""
    with Lab() as lab:
        bench = Bench(lab, 0)
        bench.start()
        bench.host.agent.wait_ready()
        runtime = Runtime(bench.host)
        out = bench.host.run(PYTHON, str(HERE / "cni_calls.py"), str(runtime.ours), str(GO), str(rounds), str(parallel),
                             str(in_flight), timeout=900).stdout
        figures = json.loads(out)
    turns, walls = figures["turns"], figures["walls"]
    rows = []
    for name, times in turns.items():
        base = turns["go ipMasq" if "ipMasq" in name else "go"]
        add, delete = (statistics.median(times[c]) for c in ("ADD", "DEL"))
        shares = [mine / statistics.median(base[c]) for c, mine in (("ADD", add), ("DEL", delete))]
        rows.append((name, f"ADD p50 {add:.1f} ms, p99 {quantile(times['ADD'], 0.99):.1f} ms, {shares[0]:.2f} of Go's; "
                           f"DEL p50 {delete:.1f} ms, {shares[1]:.2f}"))
    table(f"CNI, {rounds} rounds", rows)
    table(f"{parallel} ADDs, {in_flight} in flight",
          [(name, f"{wall:.0f} ms, {wall / walls['go']:.2f} of Go's") for name, wall in walls.items()])


BENCHES = {
    "cni": bench_cni,
    "start": lambda: bench_start(10000, 7),
    "start65k": lambda: bench_start(65000, 3),
    "puts": bench_puts,
    "steady": bench_steady,
    "memory": bench_memory,
    "env": bench_env,
    "requests": bench_requests,
    "controller": bench_controller,
    "tls": lambda: bench_controller(is_secure=True),
    "udp": bench_udp,
}

if __name__ == "__main__":
    names = sys.argv[1:] or [name for name in BENCHES if name != "start65k"]
    for name in names:
        if name not in BENCHES:
            raise SystemExit(f"bench: no benchmark {name}; there are {', '.join(BENCHES)}")
    print(f"{datetime.now(timezone.utc):%Y-%m-%d}, {os.cpu_count()} cores, kernel {os.uname().release}")
    for name in names:
        BENCHES[name]()
