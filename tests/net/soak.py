# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What the soak test expects of its hosts, and what it measures of their agents.

The kernel is judged by what is in the store and in the config, not by what an agent says that it wants.
"""

import dataclasses
import ipaddress
import os
import pathlib
import re

from many_leases import lease_address, lease_key, lease_mac

from lab import LabError, wait_for
from lab.etcd import CLIENT_PORT
from lab.fabric import PREFIX

DEVICE = "flannel.12345"
VXLAN_BYTES = 50            # what the tunnel takes of the underlay's MTU
SETTLE_S = 60               # a store that was away is tried again after up to half of this
# What may be more at the end than after the warm-up, in kB. The C library keeps pieces of memory that were freed in
# another order than they were got, and 600 peers that came and went leave some hundred kB of them now and then; a leak
# of 16 bytes for each of a hundred thousand leases that come, change and go is as much.
GROWTH_KB = 1500
# To the store an agent keeps as many idle connections as it had requests under way at once: beside the watch those for
# the config, for the leases and for its own lease. How many there are depends on what came together.
STORE_CONNECTIONS = 4


@dataclasses.dataclass(frozen=True)
class Peer:
    """A host as the others have it in their kernel."""

    subnet: str
    mac: str
    address: str            # of its underlay

    @property
    def gateway(self):
        return self.subnet.split("/")[0]


class World:
    """The laboratory as it should be by now: what was put, and is known without asking an agent."""

    def __init__(self, net):
        self.net = net
        self.foreign = {}       # number: MAC byte
        self.junk = set()
        self.mtu = None         # of the config
        self.direct = False
        self.own = {}           # host name: Peer
        for key, lease in net.leases().items():
            host = next(h for h in net.hosts if h.v4 == lease["PublicIP"])
            self.own[host.name] = Peer(key.replace("-", "/"), lease["BackendData"]["VtepMAC"], host.v4)

    def config(self):
        backend = {**self.net.config["Backend"], "DirectRouting": self.direct}
        return {**self.net.config, "Backend": {**backend, "MTU": self.mtu} if self.mtu else backend}

    def peers(self, host):
        """Of a host: the others of the laboratory, and those in the store only."""
        return [p for name, p in self.own.items() if name != host.name] + [
            Peer(lease_key(n).replace("-", "/"), lease_mac(n, byte), lease_address(n))
            for n, byte in self.foreign.items()]

    def is_direct(self, peer):
        return self.direct and ipaddress.ip_address(peer.address) in self.net.segments[0].v4


def wanted_state(world, host):
    """What a host's kernel should have of ours: {kind: set of tuples}."""
    own = world.own[host.name]
    ways = [(p, p.address, "eth0", ()) if world.is_direct(p) else (p, p.gateway, DEVICE, ("onlink",))
            for p in world.peers(host)]
    tunnelled = [p for p, _, device, _ in ways if device == DEVICE]
    return {
        "device": {(own.mac, (world.mtu or 1500) - VXLAN_BYTES, True, 12345, host.v4, "eth0", 8472, False)},
        "addresses": {(own.gateway, 32)},
        "links": {"lo", "eth0", "cni0", DEVICE, *(c.port for c in host.containers)},
        "routes": {(p.subnet, gateway, device, flags) for p, gateway, device, flags in ways},
        "nexthops": {(gateway, device, flags) for _, gateway, device, flags in ways},
        "neighbours": {(p.gateway, p.mac) for p in tunnelled},
        "fdb": {(p.mac, p.address) for p in tunnelled},
    }


def kernel_state(host):
    """The same as `ip -j` and `bridge -j` show it. Lists: nothing may be there twice."""
    link, = host.ip_json("addr", "show", "dev", DEVICE)
    data = link["linkinfo"]["info_data"]
    return {
        "device": [(link["address"], link["mtu"], "UP" in link["flags"], data["id"], data.get("local"),
                    data.get("link"), data["port"], data["learning"])],
        "addresses": [(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["family"] == "inet"],
        "links": [entry["ifname"] for entry in host.ip_json("link", "show")],
        "routes": [(r["dst"], r.get("gateway"), r.get("dev"), tuple(r["flags"]))
                   for r in host.ip_json("route", "show", "proto", "157")],
        "nexthops": [(n.get("gateway"), n.get("dev"), tuple(n["flags"])) for n in host.ip_json("nexthop", "show")],
        "neighbours": [(n["dst"], n.get("lladdr"))
                       for n in host.ip_json("neigh", "show", "dev", DEVICE, "nud", "permanent")],
        "fdb": [(f["mac"], f["dst"]) for f in host.bridge_json("fdb", "show", "dev", DEVICE) if f.get("dst")],
    }


def differences(world, host):
    """What is not as wanted, as lines for people; empty if all is."""
    wanted, have = wanted_state(world, host), kernel_state(host)
    lines = []
    for kind, expected in wanted.items():
        found = set(have[kind])
        missing, surplus = sorted(map(str, expected - found)), sorted(map(str, found - expected))
        if missing or surplus or len(found) != len(have[kind]):
            lines.append(f"{kind}: {len(missing)} missing {missing[:3]}, {len(surplus)} too many {surplus[:3]},"
                         f" {len(have[kind]) - len(found)} twice")
    return lines


def settle(world):
    """Wait until every kernel is as wanted, every agent is ready and none has anything to change or at war."""
    for host in world.net.hosts:
        def as_wanted(host=host):
            lines = differences(world, host)
            if lines:
                raise LabError("; ".join(lines))
            return True

        def content(host=host):
            status, plan = host.agent.status(), host.agent.get("/agent/v1/plan")
            if plan["total"] or status["wars"] or not status["ready"] or not status["store"]["up"]:
                raise LabError(f"plan {plan['changes'][:3]}, wars {status['wars']}, {status['reasons']}")
            return True

        wait_for(as_wanted, f"the kernel of {host.name} to be as wanted", SETTLE_S, interval=0.1)
        wait_for(content, f"the agent of {host.name} to be content", SETTLE_S, interval=0.1)


def await_files(world):
    """Wait until no agent's file of peers has one that went, which an agent that is killed now would bring back.

    A file is written every two seconds at most. From two waves of those that went it would be most of them, and most
    are kept, because that looks as if the store had lost them.
    """
    for host in world.net.hosts:
        peers = {p.subnet.replace("/", "-") for p in world.peers(host)}

        def up_to_date(host=host, peers=peers):
            text = (host.lib_dir / "weft/peers").read_text(encoding="utf-8")
            return set(re.findall(r'^{"peer":"([^"]+)"', text, re.MULTILINE)) <= peers

        wait_for(up_to_date, f"{host.name} to have written down who went", interval=0.1)


# Nothing grows

@dataclasses.dataclass(frozen=True)
class Measure:
    """Of one host and its agent, when nothing goes on."""

    fds: int                # but for connections to the store
    connections: int        # to the store
    private_kb: int
    objects: dict           # in the kernel
    files: list             # below /run and /var/lib

    def growth(self, before):
        """What is more than it was, as lines."""
        lines = [f"{name}: {old}, then {new}" for name, old, new in (
            ("open fds", before.fds, self.fds), ("kernel objects", before.objects, self.objects),
            ("files", before.files, self.files)) if old != new]
        if self.connections > STORE_CONNECTIONS:
            lines.append(f"{self.connections} connections to the store")
        grown = self.private_kb - before.private_kb
        # A sanitizer keeps what was freed.
        if grown > GROWTH_KB and "ASAN_OPTIONS" not in os.environ:
            lines.append(f"Private_Dirty: {before.private_kb} kB, then {self.private_kb} kB")
        return lines


def open_files(proc):
    """(how many, how many of them are connections to the store) of a process."""
    rows = [line.split() for line in (proc / "net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    to_store = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{CLIENT_PORT:04X}")}
    opened = [os.readlink(path) for path in (proc / "fd").iterdir()]
    return len(opened), sum(name in to_store for name in opened)


def measure(host):
    proc = pathlib.Path(f"/proc/{host.agent.pid}")
    opened, connections = open_files(proc)
    private = next(line for line in (proc / "smaps_rollup").read_text(encoding="ascii").splitlines()
                   if line.startswith("Private_Dirty:"))
    objects = {" ".join(words): len(host.ip("-o", *words).splitlines()) for words in (
        ("link",), ("addr",), ("route", "show", "table", "all"), ("-6", "route", "show", "table", "all"),
        ("rule",), ("nexthop",), ("neigh", "show", "nud", "permanent"))}
    objects["fdb"] = len(host.bridge_json("fdb", "show"))
    files = sorted(str(p.relative_to(host.directory)) for top in (host.run_dir, host.lib_dir)
                   for p in top.rglob("*") if not p.is_dir())
    return Measure(opened - connections, connections, int(private.split()[1]), objects, files)


def measure_quiet(host):
    """The same once it stays so: connections that are idle are closed after a while."""
    last = {}

    def same_again():
        now = measure(host)
        same, last["seen"] = last.get("seen") == now, now
        return same

    wait_for(same_again, f"{host.name} to be quiet", SETTLE_S, interval=0.5)
    return last["seen"]


def assert_nothing_grew(world, before):
    """before: {host name: Measure}. What is still being closed has its time."""
    def as_before():
        lines = [f"{h.name}: {line}" for h in world.net.hosts for line in measure(h).growth(before[h.name])]
        if lines:
            raise LabError("; ".join(lines))
        return True

    wait_for(as_before, "the agents to hold no more than after the warm-up", SETTLE_S, interval=0.5)
    for host in world.net.hosts:
        now = measure(host)
        print(f"{host.name}: {now.fds} fds and {now.connections} connections to the store,"
              f" {sum(now.objects.values())} kernel objects,"
              f" Private_Dirty {before[host.name].private_kb} kB, then {now.private_kb} kB", flush=True)
    keys = {p.key: p for p in world.net.etcd.range(PREFIX)}
    leases = {f"{PREFIX}/subnets/{p.subnet.replace('/', '-')}" for p in world.own.values()}
    assert set(keys) == {f"{PREFIX}/config", *leases}
    assert sorted(world.net.etcd.leases()) == sorted(keys[name].lease for name in leases)
