# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""DirectRouting over IPv6, alone and beside IPv4: each family is judged by its own routes.

    c1 - h1 --+                 +-- h3 - c3
    c2 - h2 --+-- net1 -- r -- net2         (h1 gets a second interface on net2 in one test)
    etcd -----+
"""

import contextlib

import pytest
from programmed import DUAL_CONFIG, V4, V6

from lab import Probe, wait_for

DIRECT = {"Backend": {**DUAL_CONFIG["Backend"], "DirectRouting": True}}
NETWORKS = {"dual stack": ({**DUAL_CONFIG, **DIRECT}, 46, (V4, V6)),
            "IPv6 only": ({"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fc00:1::/48", **DIRECT}, 6, (V6,))}


@pytest.fixture(params=NETWORKS)
def net(fabric, request):
    config, family, families = NETWORKS[request.param]
    made = fabric(hosts=[2, 1], config=config, family=family)
    made.families = families
    made.ping_all()
    return made


def way_of(host, peer, family):
    """[(device, gateway)] of the routes to a peer's subnet."""
    return [(r["dev"], r["gateway"]) for r in host.ip_json(family.flag, "route", "show", family.subnet(peer))]


def direct(peer, family, device="eth0"):
    return [(device, family.address(peer))]


def tunnel(peer, family):
    return [(family.device, family.subnet(peer).split("/")[0])]


def wait_ways(host, peer, **ways):
    """ways: v4=, v6=; those that the network does not have are not looked at."""
    for family, way in ((V4, ways.get("v4")), (V6, ways.get("v6"))):
        if way:
            wait_for(lambda f=family, w=way: way_of(host, peer, f) == w,
                     f"{host.name}'s {family.inet} way to {peer.name} to be {way}")


def all_ways(net, kind, peer, *args):
    return {("v4" if family is V4 else "v6"): kind(peer, family, *args) for family in net.families}


@contextlib.contextmanager
def no_loss(net, first, second):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(Probe(first, second, family=int(f.flag[1]))) for f in net.families]
        yield
    for probe in probes:
        print(probe.result)
        assert probe.result.lost == 0, probe.result


def test_direct_inside_a_segment_and_vxlan_across(net):
    h1, h2, h3 = net.hosts
    for one, other in ((h1, h2), (h2, h1)):
        wait_ways(one, other, **all_ways(net, direct, other))
    for one, other in ((h1, h3), (h3, h1), (h2, h3)):
        wait_ways(one, other, **all_ways(net, tunnel, other))
    # A direct peer needs no entry on either device.
    for family in net.families:
        assert [f["dst"] for f in h1.bridge_json("fdb", "show", "dev", family.device)] == [family.address(h3)]
        assert [n["dst"] for n in h1.ip_json(family.flag, "neigh", "show", "dev", family.device, "nud", "permanent")
                ] == [family.subnet(h3).split("/")[0]]
    paths = {p["public_ipv6"]: (p["path"], p["why"]) for p in h1.agent.peers()["peers"]}
    assert paths == {h2.v6: ("direct", "its public address is on the same segment"),
                     h3.v6: ("vxlan", "its public address is behind a router")}
    # The containers keep the smaller MTU, for their peers behind the router.
    assert h1.subnet_env()["FLANNEL_MTU"] == "1430"


def test_moved_route_is_judged_anew(net):
    """A route over IPv6 to the peer through a router appears and goes; IPv4 stays as it is."""
    h1, h2, _ = net.hosts
    v4 = direct(h2, V4) if V4 in net.families else None
    gateway = str(net.segments[0].gateway.v6.ip)
    with no_loss(net, net.containers[0], net.containers[2]):
        h1.ip("-6", "route", "add", f"{h2.v6}/128", "via", gateway, "dev", "eth0")
        wait_ways(h1, h2, v6=tunnel(h2, V6), v4=v4)
        path = next(p["path"] for p in h1.agent.peers()["peers"] if p["public_ipv6"] == h2.v6)
        assert path == ("mixed" if v4 else "vxlan")
        net.ping_all()
        h1.ip("-6", "route", "del", f"{h2.v6}/128", "via", gateway, "dev", "eth0")
        wait_ways(h1, h2, v6=direct(h2, V6), v4=v4)
        net.ping_all()


def test_second_interface_reaches_the_other_segment(net):
    h1, _, h3 = net.hosts
    h1.attach(net.segments[1])
    wait_ways(h1, h3, **all_ways(net, direct, h3, "eth1"))
    net.ping_all()
    h1.ip("link", "set", "eth1", "down")
    wait_ways(h1, h3, **all_ways(net, tunnel, h3))
    net.ping_all()


def test_switched_off_and_on_while_running(net):
    h1, h2, _ = net.hosts
    for config, kind in (({**net.config, "Backend": DUAL_CONFIG["Backend"]}, tunnel), (net.config, direct)):
        net.put_config(config)
        for one, other in ((h1, h2), (h2, h1)):
            wait_ways(one, other, **all_ways(net, kind, other))
        net.ping_all()
    assert h1.agent.status()["restart_needed"] == []
