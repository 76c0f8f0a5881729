# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What another program takes away or changes on a host is put back at once, by notification.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd        the drift is made on h1
    c3 - h3 --+

The periodic look is an hour away, so that every repair here is one on notification.
"""

import json
import threading
import time

import pytest

from lab import LabError, Probe, wait_for

DEVICE = "flannel.12345"
REPAIR_S = 1
ONLY_ON_NOTICE = ["--scan-interval=1h"]


class Peer:
    """What h1 has for another host."""

    def __init__(self, host, mac):
        self.subnet = host.agent.status()["lease"]["subnet"]
        self.gateway = self.subnet.split("/")[0]
        self.mac = mac
        self.ip = host.v4


def link_of(host):
    return host.ip_json("link", "show", "dev", DEVICE)[0]


def state_of(host):
    """All that is ours on the host, without the numbers that a new device changes."""
    link = link_of(host)
    data = link["linkinfo"]["info_data"]
    addresses = host.ip_json("addr", "show", "dev", DEVICE)[0]["addr_info"]
    routes = [{k: v for k, v in r.items() if k not in ("nhid", "nh_info")}
              for r in host.ip_json("route", "show", "proto", "157")]
    nexthops = [{k: v for k, v in n.items() if k != "id"} for n in host.ip_json("nexthop", "show")]
    neighbours = host.ip_json("neigh", "show", "dev", DEVICE, "nud", "permanent")
    fdb = [f for f in host.bridge_json("fdb", "show", "dev", DEVICE) if f.get("dst")]
    return {
        "device": [link["address"], link["mtu"], "UP" in link["flags"], data["id"], data["local"],
                   data["link"], data["port"], data["learning"]],
        "addresses": sorted((a["local"], a["prefixlen"]) for a in addresses
                            if a["family"] == "inet"),
        **{name: sorted(json.dumps(o, sort_keys=True) for o in objects)
           for name, objects in (("routes", routes), ("nexthops", nexthops),
                                 ("neighbours", neighbours), ("fdb", fdb))},
    }


def settled_state(net):
    """The state of h1 when all peers are programmed, and the peer h2 on it."""
    host = net.hosts[0]
    wait_for(lambda: host.agent.status()["peers"]["programmed"] == len(net.hosts) - 1,
             "all peers to be programmed")
    wait_for(lambda: len(state_of(host)["addresses"]) == 1, "the address of the device")
    return state_of(host), Peer(net.hosts[1], link_of(net.hosts[1])["address"])


def repairs(host):
    return host.agent.status()["repairs"]["total"]


def await_repair(host, before, counted, what):
    """Wait until h1 is as before and says that it repaired something; the time it took in ms."""
    began = time.monotonic()

    def repaired():
        return repairs(host) > counted and state_of(host) == before

    try:
        wait_for(repaired, f"h1 to repair: {what}", timeout=REPAIR_S, interval=0.005)
    except LabError:
        assert state_of(host) == before, f"not repaired: {what}"
        raise
    return (time.monotonic() - began) * 1000


DRIFTS = {
    "route deleted": "ip route del {p.subnet}",
    "route sent elsewhere": "ip route replace {p.subnet} dev cni0 proto 157",
    "neighbour deleted": f"ip neigh del {{p.gateway}} dev {DEVICE}",
    "neighbour changed":
        f"ip neigh replace {{p.gateway}} lladdr 02:00:00:00:00:01 dev {DEVICE} nud permanent",
    "neighbours flushed": f"ip neigh flush dev {DEVICE} nud permanent",
    "fdb entry deleted": f"bridge fdb del {{p.mac}} dev {DEVICE} dst {{p.ip}} self",
    "fdb entry changed":
        f"bridge fdb replace {{p.mac}} dev {DEVICE} dst 192.168.77.250 self permanent",
    "nexthop deleted": "ip nexthop del id {nexthop}",
    "nexthops flushed": "ip nexthop flush",
    "address deleted": f"ip addr del {{address}}/32 dev {DEVICE}",
    "address replaced":
        f"ip addr flush dev {DEVICE}; ip addr add 10.1.250.0/32 dev {DEVICE}",
    "stray address": f"ip addr add 10.1.250.0/32 dev {DEVICE}",
    "device deleted": f"ip link del {DEVICE}",
    "device replaced": f"ip link del {DEVICE}; ip link add {DEVICE} type vxlan id 12345"
                       " dstport 8472 dev eth0 local 192.168.77.11 learning",
    "device replaced by another network's": f"ip link del {DEVICE}; ip link add {DEVICE}"
                                            " type vxlan id 777 dstport 4789 dev eth0",
    "device down": f"ip link set {DEVICE} down",
    "device down and up": f"ip link set {DEVICE} down; ip link set {DEVICE} up",
    "MAC changed": f"ip link set {DEVICE} address 02:00:00:00:00:02",
    "MTU changed": f"ip link set {DEVICE} mtu 1300",
    # `ip route flush` of iproute2 6.1 cannot delete routes over nexthop objects.
    "table flushed": "ip route show | while read -r dst rest; do ip route del $dst; done; "
                     "ip route add 192.168.77.0/24 dev eth0 src 192.168.77.11; "
                     "ip route add {own} dev cni0 src {bridge}",
}
# Made while the agent sleeps, which would otherwise be faster than the second command.
IN_ONE_GO = ["device replaced", "device replaced by another network's"]


@pytest.mark.parametrize("drift", DRIFTS)
def test_repair(fabric, drift):
    net = fabric(hosts=3, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    before, peer = settled_state(net)
    own = host.agent.status()["lease"]["subnet"]
    base = own.split("/")[0]
    command = DRIFTS[drift].format(
        p=peer, own=own, address=base, bridge=base[:-1] + "1",
        nexthop=next(n["id"] for n in host.ip_json("nexthop", "show")
                     if n["gateway"] == peer.gateway))
    probe = Probe(net.containers[0], net.containers[1]).start()
    counted = repairs(host)
    if drift in IN_ONE_GO:
        host.agent.pause()
    host.run("sh", "-ec", command)
    host.agent.resume()
    took = await_repair(host, before, counted, drift)
    net.ping_all()
    result = probe.stop()
    print(f"{drift}: seen repaired after {took:.0f} ms; {result}")
    assert result.tcp_broken is None
    assert "again and again" not in host.agent.log()


def test_foreign_entries_are_left_alone(fabric):
    """A repair does not touch what others have in the same tables."""
    net = fabric(hosts=2, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    before, peer = settled_state(net)
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
    net = fabric(hosts=3, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    _, peer = settled_state(net)
    other = Peer(net.hosts[2], link_of(net.hosts[2])["address"])
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
