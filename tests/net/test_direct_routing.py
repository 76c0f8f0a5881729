# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""DirectRouting: no encapsulation between hosts of one segment, judged anew when routes change.

    c1 - h1 --+                 +-- h3 - c3
    c2 - h2 --+-- net1 -- r -- net2         (h1 gets a second interface on net2 in one test)
    etcd -----+
"""

import pytest

from lab import Probe, wait_for

CONFIG = {"Network": "10.1.0.0/16",
          "Backend": {"Type": "vxlan", "VNI": 12345, "DirectRouting": True}}
DEVICE = "flannel.12345"


@pytest.fixture
def net(fabric):
    made = fabric(hosts=[2, 1], config=CONFIG)
    made.ping_all()
    return made


def subnet_of(host):
    return host.agent.status()["lease"]["subnet"]


def way_of(host, peer):
    """(path, device, gateway) to a peer, as the agent and the kernel have it."""
    subnet = subnet_of(peer)
    path = next(p["path"] for p in host.agent.peers()["peers"] if p["subnet"] == subnet)
    routes = host.ip_json("route", "show", subnet)
    return [path] + [(r["dev"], r["gateway"]) for r in routes]


def direct(peer, device="eth0"):
    return ["direct", (device, peer.v4)]


def tunnel(peer):
    return ["vxlan", (DEVICE, subnet_of(peer).split("/")[0])]


def wait_way(host, peer, expected):
    wait_for(lambda: way_of(host, peer) == expected,
             f"{host.name}'s way to {peer.name} to be {expected}")


def test_direct_inside_a_segment_and_vxlan_across(net):
    h1, h2, h3 = net.hosts
    assert way_of(h1, h2) == direct(h2)
    assert way_of(h2, h1) == direct(h1)
    assert way_of(h1, h3) == tunnel(h3)
    assert way_of(h3, h1) == tunnel(h1)
    # A direct peer needs no entry on the device.
    assert [f["dst"] for f in h1.bridge_json("fdb", "show", "dev", DEVICE)] == [h3.v4]
    assert [n["dst"] for n in h1.ip_json("neigh", "show", "dev", DEVICE)
            if "PERMANENT" in n["state"]] == [subnet_of(h3).split("/")[0]]
    lines = h1.weft("status").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith("10.1.")}
    assert " direct " in rows[subnet_of(h2)] and "same segment" in rows[subnet_of(h2)]
    assert " vxlan " in rows[subnet_of(h3)] and "behind a router" in rows[subnet_of(h3)]
    # The containers keep the smaller MTU, for their peers behind the router.
    assert h1.subnet_env()["FLANNEL_MTU"] == "1450"


def test_moved_route_is_judged_anew(net):
    """A route to the peer through a router appears and goes."""
    h1, h2, h3 = net.hosts
    gateway = str(net.segments[0].gateway.v4.ip)
    with Probe(net.containers[0], net.containers[2]) as probe:
        h1.ip("route", "add", f"{h2.v4}/32", "via", gateway)
        wait_way(h1, h2, tunnel(h2))
        net.ping_all()
        h1.ip("route", "del", f"{h2.v4}/32", "via", gateway)
        wait_way(h1, h2, direct(h2))
        net.ping_all()
    print(probe.result)
    assert probe.result.lost == 0, probe.result
    assert way_of(h1, h3) == tunnel(h3)
    assert [f["dst"] for f in h1.bridge_json("fdb", "show", "dev", DEVICE)] == [h3.v4]


def test_second_interface_reaches_the_other_segment(net):
    h1, _, h3 = net.hosts
    h1.attach(net.segments[1])
    wait_way(h1, h3, direct(h3, "eth1"))
    net.ping_all()
    h1.ip("link", "set", "eth1", "down")
    wait_way(h1, h3, tunnel(h3))
    net.ping_all()


def test_switched_on_and_off_while_running(net):
    h1, h2, _ = net.hosts
    net.put_config({**CONFIG, "Backend": {**CONFIG["Backend"], "DirectRouting": False}})
    for one, other in ((h1, h2), (h2, h1)):
        wait_way(one, other, tunnel(other))
    net.ping_all()
    net.put_config(CONFIG)
    for one, other in ((h1, h2), (h2, h1)):
        wait_way(one, other, direct(other))
    net.ping_all()
    for host in net.hosts:
        assert host.agent.status()["restart_needed"] == []


def test_foreign_lease_of_the_segment(net):
    """As flannel routes to it, but for the protocol and the device that we name."""
    host = net.hosts[0]
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:00:00:00:00:99")
    wait_for(lambda: host.ip_json("route", "show", "10.1.200.0/24"), "the route")
    (route,) = host.ip_json("route", "show", "10.1.200.0/24")
    assert {k: v for k, v in route.items() if k not in ("nhid", "nh_info")} == {
        "type": "unicast", "dst": "10.1.200.0/24", "gateway": "192.168.77.99", "dev": "eth0",
        "protocol": "157", "scope": "global", "flags": []}
    assert "192.168.77.99" not in str(host.bridge_json("fdb", "show", "dev", DEVICE))
