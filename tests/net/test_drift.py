# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What another program takes away or changes on a host is put back at once, by notification.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 fd77:1::/64 -- etcd        the drift is made on h1
    c3 - h3 --+

The periodic look is an hour away, so that every repair here is one on notification. Of IPv6 hosts
with both families are taken: the IPv4 half must be as before, too.
"""

import dataclasses
import threading

import pytest
from programmed import (CONFIG, DUAL_CONFIG, ONLY_ON_NOTICE, REPAIR_S, V4, V6, Family, Peer, await_repair,
                        repairs, settled_state, state_of)

from lab import Probe, wait_for

DEVICE = V4.device


@dataclasses.dataclass(frozen=True)
class Side:
    """The half of the hosts in which drift is made, and what it is made with."""

    family: Family
    network: dict           # how the hosts are made
    families: tuple         # those that must be as before
    elsewhere: str          # an address of the underlay that no host has
    stray: str              # an address of the network that is not the host's


SIDES = {"v4": Side(V4, {"config": CONFIG}, (V4,), "192.168.77.250", "10.1.250.0"),
         "v6": Side(V6, {"config": DUAL_CONFIG, "family": 46}, (V4, V6), "fd77:1::250", "fc00:1:0:fa00::")}
DRIFTS = {
    "route deleted": "ip {f.flag} route del {p.subnet}",
    "route sent elsewhere": "ip {f.flag} route replace {p.subnet} dev cni0 proto 157",
    "neighbour deleted": "ip {f.flag} neigh del {p.gateway} dev {f.device}",
    "neighbour changed":
        "ip {f.flag} neigh replace {p.gateway} lladdr 02:00:00:00:00:01 dev {f.device} nud permanent",
    "neighbours flushed": "ip {f.flag} neigh flush dev {f.device} nud permanent",
    "fdb entry deleted": "bridge fdb del {p.mac} dev {f.device} dst {p.ip} self",
    "fdb entry changed":
        "bridge fdb replace {p.mac} dev {f.device} dst {side.elsewhere} self permanent",
    "nexthop deleted": "ip nexthop del id {nexthop}",
    "nexthops flushed": "ip nexthop flush",
    "nexthops and routes flushed": "ip nexthop flush proto 157; ip {f.flag} route flush proto 157",
    "routes and nexthops deleted":
        "ip {f.flag} route show proto 157 | while read -r dst rest; do ip {f.flag} route del $dst; done;"
        " ip nexthop flush proto 157",
    "address deleted": "ip addr del {own}/{f.host_bits} dev {f.device}",
    "address replaced": "ip addr flush dev {f.device} scope global;"
                        " ip addr add {side.stray}/{f.host_bits} dev {f.device}",
    "stray address": "ip addr add {side.stray}/{f.host_bits} dev {f.device}",
    "device deleted": "ip link del {f.device}",
    "device replaced": "ip link del {f.device}; ip link add {f.device} type vxlan id 123"
                       " dstport 8472 dev eth0 local {address} learning",
    "device replaced by another network's": "ip link del {f.device}; ip link add {f.device}"
                                            " type vxlan id 777 dstport 4789 dev eth0",
    "device down": "ip link set {f.device} down",
    "device down and up": "ip link set {f.device} down; ip link set {f.device} up",
    "MAC changed": "ip link set {f.device} address 02:00:00:00:00:02",
    "MTU changed": "ip link set {f.device} mtu 1300",
    # `ip route flush` of iproute2 6.1 cannot delete routes over nexthop objects.
    "table flushed": "ip route show | while read -r dst rest; do ip route del $dst; done; "
                     "ip route add 192.168.77.0/24 dev eth0 src 192.168.77.11; "
                     "ip route add {subnet} dev cni0 src {bridge}",
}
# Made while the agent sleeps, which would otherwise be faster than the second command.
IN_ONE_GO = ["device replaced", "device replaced by another network's", "nexthops and routes flushed",
             "routes and nexthops deleted"]
ONLY_V4 = ["table flushed"]     # what the kernel made of IPv6 by itself could not be put back
CASES = [(side, drift) for side in SIDES for drift in DRIFTS if side == "v4" or drift not in ONLY_V4]


@pytest.mark.parametrize("side, drift", CASES)
def test_repair(fabric, side, drift):
    side = SIDES[side]
    net = fabric(hosts=3, flags=ONLY_ON_NOTICE, **side.network)
    host, family = net.hosts[0], side.family
    before = settled_state(net, side.families)
    peer = Peer(net.hosts[1], family)
    subnet = family.subnet(host)
    own = subnet.split("/")[0]
    command = DRIFTS[drift].format(
        f=family, p=peer, side=side, subnet=subnet, own=own, address=family.address(host),
        bridge=own[:-1] + "1",
        nexthop=next(n["id"] for n in host.ip_json("nexthop", "show")
                     if n["gateway"] == peer.gateway))
    probe = Probe(net.containers[0], net.containers[1], family=int(family.flag[1])).start()
    counted = repairs(host)
    if drift in IN_ONE_GO:
        host.agent.pause()
    host.run("sh", "-ec", command)
    host.agent.resume()
    took = await_repair(host, before, counted, drift, side.families)
    net.ping_all()
    result = probe.stop()
    print(f"{drift}: seen repaired after {took:.0f} ms; {result}")
    assert result.tcp_broken is None
    assert "again and again" not in host.agent.log()


def test_after_more_notifications_than_the_kernel_keeps(fabric):
    """What was lost is looked for, and what is told later is heard."""
    net = fabric(hosts=2, config=CONFIG, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    before = settled_state(net)
    peer = Peer(net.hosts[1])
    host.ip_batch("link add many type bridge", "link set many up")
    passes = host.agent.metric("weft_reconcile_passes_total")
    host.agent.pause()
    host.ip_batch(*(f"route {verb} 172.{i >> 8}.{i & 255}.0/24 dev many"
                    for verb in ("add", "del") for i in range(16 << 8, 64 << 8)))
    # The socket is full: this one is not told.
    host.ip("route", "del", peer.subnet)
    host.agent.resume()
    wait_for(lambda: state_of(host) == before[0], "the route to be back")
    wait_for(lambda: host.agent.metric("weft_reconcile_passes_total") > passes, "the end of the pass")
    counted = repairs(host)
    host.ip("neigh", "del", peer.gateway, "dev", DEVICE)
    await_repair(host, before, counted, "a neighbour, after notifications were lost")


def test_foreign_entries_are_left_alone(fabric):
    """A repair does not touch what others have in the same tables."""
    net = fabric(hosts=2, config=CONFIG, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    (before,) = settled_state(net)
    peer = Peer(net.hosts[1])
    others = ["10.200.0.0/16 via 192.168.77.2 dev eth0 proto boot",
              "10.1.98.0/24 dev cni0 proto static scope link",
              f"10.1.99.0/24 via {peer.gateway} dev {DEVICE} proto static onlink"]
    host.ip_batch(*[f"route add {route}" for route in others],
                  "neigh add 192.168.77.77 lladdr 02:00:00:00:00:07 dev eth0 nud permanent",
                  "nexthop add id 7 via 192.168.77.2 dev eth0")
    wait_for(lambda: host.agent.status()["ready"], "the agent to be ready")
    passes = host.agent.metric("weft_reconcile_passes_total")
    host.ip("route", "del", peer.subnet)
    wait_for(lambda: host.ip_json("route", "show", peer.subnet), "the repair", timeout=REPAIR_S)
    wait_for(lambda: host.agent.metric("weft_reconcile_passes_total") > passes,
             "the end of the pass, which sweeps")
    for route in others:
        assert host.ip("route", "show", *route.removesuffix("onlink").split()).strip(), route
    assert host.ip_json("neigh", "show", "192.168.77.77")
    host.ip("nexthop", "del", "id", "7")
    assert state_of(host) == before


class Vandal(threading.Thread):
    """Another program: deletes one route of a host whenever it is there."""

    def __init__(self, host, subnet):
        super().__init__()
        self.host = host
        self.subnet = subnet
        self.deleted = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.005):
            if self.host.ip("route", "show", self.subnet).strip():
                self.host.ip("route", "del", self.subnet, check=False)
                self.deleted += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def test_war_over_one_route(fabric):
    """Who keeps undoing one object gets his will for a while, once it was said; all else is repaired."""
    net = fabric(hosts=3, config=CONFIG, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    settled_state(net)
    peer = Peer(net.hosts[1])
    other = Peer(net.hosts[2])
    with Vandal(host, peer.subnet) as vandal:
        (war,) = wait_for(lambda: host.agent.status()["wars"], "a war to be declared")
        assert peer.subnet in war["object"] and war["held_s"] > 0, war
        counted = repairs(host)
        for round_number in range(3):
            host.ip("route", "del", other.subnet)
            wait_for(lambda: host.ip("route", "show", other.subnet).strip(),
                     "the other route to be repaired", timeout=REPAIR_S, interval=0.005)
            wait_for(lambda n=round_number: repairs(host) == counted + n + 1,
                     "the repair to be counted")
        assert not host.ip("route", "show", peer.subnet).strip()
    print(f"the route was undone {vandal.deleted} times before it was left alone")
    assert 5 <= vandal.deleted <= 6
    assert len(host.agent.status()["wars"]) == 1
    lines = [line for line in host.agent.log().splitlines() if "again and again" in line]
    assert len(lines) == 1 and peer.subnet in lines[0] and " WARN " in lines[0], lines
    assert peer.subnet in host.weft("status").stdout
    assert host.agent.metric("weft_repair_wars_total") == 1
    net.containers[0].ping(net.containers[2].v4, count=1)
    assert net.containers[0].can_reach(net.containers[2].v4)
