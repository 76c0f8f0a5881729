# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Backend.Type auto: each peer by the way that both sides have: direct on a segment, VXLAN across routers.

    c1 - h1 --+                 +-- h3 - c3
    c2 - h2 --+-- net1 -- r -- net2 -- h4 - c4
    etcd -----+
"""

import ipaddress

import pytest

from lab import Probe, wait_for

VXLAN = {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}
CONFIG = {**VXLAN, "Backend": {"Type": "auto", "VNI": 7}}
DUAL = {**CONFIG, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"}
DEVICE = "flannel.7"
WAIT_S = 30
SAME = ("direct", "its public address is on the same segment")
ROUTER = ("vxlan", "its public address is behind a router")
NO_OTHER = ("vxlan", "its host takes no other way than vxlan")


def subnet_of(host):
    return host.agent.status()["lease"]["subnet"]


def ways(host):
    """{public address: (path, why) or the error}, as the agent says."""
    return {p["public_ip"]: p["error"] or (p["path"], p["why"]) for p in host.agent.peers()["peers"]}


def wait_ways(host, expected):
    wait_for(lambda: ways(host) == expected, f"{host.name}'s ways to be {expected}", WAIT_S)


def route_to(host, peer):
    """(device, gateway), as the kernel has it."""
    return [(r["dev"], r["gateway"]) for r in host.ip_json("route", "show", subnet_of(peer))]


def encapsulated(host):
    """The public addresses that the kernel sends VXLAN to."""
    return sorted(f["dst"] for f in host.bridge_json("fdb", "show", "dev", DEVICE) if "dst" in f)


def test_direct_on_a_segment_and_vxlan_across(fabric):
    net = fabric(hosts=[2, 2], config=CONFIG)
    net.ping_all(WAIT_S)
    h1, h2, h3, h4 = net.hosts
    for host, near, far in ((h1, h2, (h3, h4)), (h3, h4, (h1, h2))):
        wait_ways(host, {near.v4: SAME, **{h.v4: ROUTER for h in far}})
        assert route_to(host, near) == [("eth0", near.v4)]
        assert [route_to(host, h) for h in far] == [[(DEVICE, subnet_of(h).split("/")[0])] for h in far]
        assert encapsulated(host) == sorted(h.v4 for h in far)
        assert host.subnet_env()["FLANNEL_MTU"] == "1450"
    # In the lease all is as flannel writes it, with one member more.
    for lease in net.leases().values():
        assert lease["BackendType"] == "vxlan" and lease["BackendData"]["VNI"] == 7
        assert lease["WeftPaths"] == {"Direct": True, "Untrusted": False}
    status = h1.weft("status").stdout
    assert "backend   auto over eth0" in status and "PROBLEMS" not in status
    plan = h1.weft("plan", "--peers").stdout.splitlines()
    assert plan[0].startswith("nothing to change")
    rows = {line.split()[0]: line.split(None, 2)[1:] for line in plan if line.startswith("10.1.")}
    assert rows == {subnet_of(h2): list(SAME), subnet_of(h3): list(ROUTER), subnet_of(h4): list(ROUTER)}
    assert h1.weft("plan").stdout == "nothing to change: the kernel is as it should be\n"


def move(net, host, segment, number):
    """Its cable is put into another switch, and the host gets an address there."""
    cable = host.interfaces["eth0"]
    segment.switches.ip("link", "set", cable.port, "master", segment.name)
    host.ip("addr", "flush", "dev", "eth0", "scope", "global")
    cable.segment.interfaces.remove(cable)
    segment.interfaces.append(cable)
    cable.segment = segment
    network = next(s for s in (76, 77, 78) if segment.name == f"net{s - 76}")
    cable.v4 = ipaddress.ip_interface(f"192.168.{network}.{number}/24")
    host.ip("addr", "add", str(cable.v4), "dev", "eth0")
    cable.add_default_route()


def test_moved_peer_changes_its_way_under_traffic(fabric):
    net = fabric(hosts=[2, 1], config=CONFIG, flags=["--peer-hold=200ms"])
    net.ping_all(WAIT_S)
    h1, h2, h3 = net.hosts
    c1, c2, c3 = net.containers
    still, moving = Probe(c1, c3).start(), Probe(c1, c2).start()
    for segment, number, near in ((net.segments[1], 203, h3), (net.segments[0], 204, h1)):
        move(net, h2, segment, number)
        for host in (h1, h3):
            expected = {h.v4: SAME if {host, h} in ({h2, near},) else ROUTER for h in net.hosts if h is not host}
            wait_ways(host, expected)
        assert route_to(near, h2) == [("eth0", h2.v4)]
        net.ping_all(WAIT_S)
        for host in (h1, h3):
            assert h2.v4 in encapsulated(host) or host is near
            assert host is not near or h2.v4 not in encapsulated(host)
    # Its subnet is the same all the time, so what spoke with it goes on; who did not move lost nothing.
    assert still.stop().lost == 0
    result = moving.stop()
    assert result.tcp_broken is None and result.lost < result.sent, result


def test_mixed_with_hosts_that_know_vxlan_only(fabric):
    """A host that has not been restarted since the config was of vxlan, and a lease as flannel writes it."""
    net = fabric(hosts=[2, 1], config=VXLAN, agents=False)
    h1, h2, h3 = net.hosts
    net.start_agent(h2)
    net.put_config(CONFIG)
    for host in (h1, h3):
        net.start_agent(host)
    for host in net.hosts:
        net.add_container(host)
    net.ping_all(WAIT_S)
    wait_ways(h1, {h2.v4: NO_OTHER, h3.v4: ROUTER})
    wait_ways(h2, {h1.v4: ("vxlan", ""), h3.v4: ("vxlan", "")})
    assert h2.agent.status()["restart_needed"] == ["Backend.Type"]
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:00:00:00:00:99")
    wait_for(lambda: "192.168.77.99" in encapsulated(h1), "flannel's host to be reached by VXLAN", WAIT_S)
    assert ways(h1)["192.168.77.99"] == NO_OTHER
    # After its restart it is one of auto: the device is the same, and no packet is lost.
    before = h2.ip_json("link", "show", DEVICE)[0]["ifindex"]
    with Probe(net.containers[1], net.containers[2]) as probe:
        h2.agent.kill()
        h2.agent.restart()
        h2.agent.wait_ready()
        wait_for(lambda: ways(h1)[h2.v4] == ways(h2)[h1.v4] == SAME, "both to go the direct way", WAIT_S)
        net.ping_all(WAIT_S)
    assert probe.result.lost == 0, probe.result
    assert h2.ip_json("link", "show", DEVICE)[0]["ifindex"] == before


def test_published_address_of_somebody_else(fabric):
    """Nobody on the segment answers for it: its host says so, and its peers send it VXLAN, which a NAT could carry."""
    net = fabric(hosts=2, config=CONFIG, agents=False)
    h1, h2 = net.hosts
    net.start_agent(h1)
    net.start_agent(h2, "--public-ip=192.168.77.99")
    wait_ways(h1, {"192.168.77.99": NO_OTHER})
    wait_ways(h2, {h1.v4: SAME})
    assert sorted(lease["WeftPaths"]["Direct"] for lease in net.leases().values()) == [False, True]


def test_back_to_vxlan(fabric):
    """The lease of a host that is of vxlan again does not say that it is of auto."""
    net = fabric(hosts=2, config=CONFIG)
    net.ping_all(WAIT_S)
    h1, h2 = net.hosts
    net.put_config(VXLAN)
    h2.agent.restart()
    h2.agent.wait_ready()
    wait_ways(h1, {h2.v4: NO_OTHER})
    assert sorted(lease.get("WeftPaths", {}).get("Direct", False) for lease in net.leases().values()) == [False, True]
    net.ping_all(WAIT_S)


def test_untrusted_segment(fabric):
    """Nothing is sent in the clear from there or to there; who is elsewhere is not concerned."""
    net = fabric(hosts=3, config=CONFIG, agents=False)
    h1, h2, h3 = net.hosts
    for host in (h1, h3):
        net.start_agent(host)
    net.start_agent(h2, "--untrusted")
    needs = "is on an untrusted segment and needs wireguard"
    wait_for(lambda: needs in str(ways(h1).get(h2.v4)), "the peer to be refused", WAIT_S)
    wait_for(lambda: len(ways(h2)) == 2 and all(w.startswith("this host " + needs) for w in ways(h2).values()),
             "the untrusted host to refuse all", WAIT_S)
    assert ways(h1)[h2.v4].startswith("its host " + needs) and ways(h1)[h3.v4] == SAME
    assert not route_to(h1, h2) and encapsulated(h1) == [] and encapsulated(h2) == []
    assert not h2.ip_json("route", "show", "proto", "157")
    assert "needs wireguard" in h1.weft("status").stdout
    assert sorted(lease["WeftPaths"]["Untrusted"] for lease in net.leases().values()) == [False, False, True]
    # A peer that was reached, and says that it is untrusted from now on.
    h3.agent.restart(*h3.agent.flags, "--untrusted")
    wait_for(lambda: not h1.ip_json("route", "show", "proto", "157"), "the way to it to be closed", WAIT_S)
    for host in (h2, h3):
        host.agent.restart(*[flag for flag in host.agent.flags if flag != "--untrusted"])
    for host in net.hosts:
        net.add_container(host)
    net.ping_all(WAIT_S)


@pytest.mark.parametrize("kind", ["vxlan", "host-gw"])
def test_untrusted_host_of_another_type(fabric, kind):
    net = fabric(hosts=1, config={"Network": "10.1.0.0/16", "Backend": {"Type": kind}}, agents=False)
    host = net.hosts[0]
    net.start_agent(host, "--untrusted", wait=False)
    said = wait_for(lambda: host.agent.status()["backend"]["error"], "the refusal", WAIT_S)
    assert f'Backend.Type "{kind}"' in said and "--untrusted" in said and 'set Backend.Type to "auto"' in said
    assert not net.leases()


@pytest.mark.parametrize("value", [[], {"Untrusted": "no"}, "x" * 5000])
def test_what_cannot_be_understood(fabric, value):
    """It may have meant that the peer is untrusted: that one is refused, the other is well."""
    net = fabric(hosts=2, config=CONFIG)
    h1, h2 = net.hosts
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:00:00:00:00:99", WeftPaths=value)
    wait_for(lambda: str(ways(h1).get("192.168.77.99")).startswith("WeftPaths"), "the refusal", WAIT_S)
    assert ways(h1)[h2.v4] == SAME and encapsulated(h1) == []


def test_dual_stack_by_two_ways(fabric):
    """IPv6 to a peer of the segment leads through a router: each family takes its own way."""
    net = fabric(hosts=[2, 1], config=DUAL, family=46)
    net.ping_all(WAIT_S)
    h1, h2, h3 = net.hosts
    wait_ways(h1, {h2.v4: SAME, h3.v4: ROUTER})
    h1.ip("-6", "route", "add", f"{h2.v6}/128", "via", str(net.segments[0].gateway.v6.ip), "dev", "eth0")
    wait_ways(h1, {h2.v4: ("mixed", "IPv4 direct, IPv6 vxlan"), h3.v4: ROUTER})
    net.ping_all(WAIT_S)
