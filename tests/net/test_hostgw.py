# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""host-gw reaches hosts of its own segment; who is elsewhere is told of, and reached as soon as that changes.

    c1 - h1 --+                 +-- h3 - c3
    c2 - h2 --+-- net1 -- r -- net2         (h1 gets a second interface on net2 in one test)
    etcd -----+
"""

import pytest

from lab import Probe, wait_for

CONFIG = {"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}}
DUAL = {**CONFIG, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"}
FLAGS = ["--scan-interval=1h"]
NOTICE_S = 3    # far less than the back-off of a peer that failed for a while


@pytest.fixture
def net(fabric):
    return fabric(hosts=[2, 1], config=CONFIG, flags=FLAGS)


def subnet_of(host):
    return host.agent.status()["lease"]["subnet"]


def routes(host, peer):
    return [(r["dev"], r["gateway"]) for r in host.ip_json("route", "show", subnet_of(peer))]


def seen(host, peer):
    """(state, path, error) of a peer."""
    subnet = subnet_of(peer)
    (peer,) = [p for p in host.agent.peers()["peers"] if p["subnet"] == subnet]
    return peer["state"], peer["path"], peer["error"]


def wait_direct(host, peer, device="eth0", address=None, timeout=NOTICE_S):
    wait_for(lambda: (seen(host, peer), routes(host, peer)) == (
        ("ok", "direct", ""), [(device, address or peer.v4)]), f"{host.name} to reach {peer.name}", timeout)


def wait_refused(host, peer, words, timeout=NOTICE_S):
    def refused():
        state, path, error = seen(host, peer)
        return state == "failed" and path == "" and all(w in error for w in words) and not routes(host, peer)
    wait_for(refused, f"{host.name} to refuse {peer.name}", timeout)


def behind(net, peer):
    """Why h1 does not reach a host of the other segment."""
    return ["not on the same segment", peer.v4, "behind the router", str(net.segments[0].gateway.v4.ip)]


def test_other_segment_is_told_of(net):
    h1, h2, h3 = net.hosts
    wait_direct(h1, h2)
    wait_refused(h1, h3, behind(net, h3))
    wait_refused(h3, h1, ["not on the same segment", h1.v4])
    assert h1.agent.status()["ready"]       # the others are none the worse for it
    lines = h1.weft("status").stdout.splitlines()
    assert any("1 failed: could not be programmed" in line for line in lines), lines
    (row,) = [line for line in lines if line.startswith(subnet_of(h3))]
    assert " failed " in row and all(word in row for word in behind(net, h3)), row
    plan = h1.weft("plan").stdout
    assert plan.startswith("nothing to change") and "NOT PROGRAMMED BECAUSE" in plan
    (row,) = [line for line in plan.splitlines() if line.startswith(subnet_of(h3))]
    assert all(word in row for word in behind(net, h3)), row
    warnings = [line for line in h1.agent.log().splitlines() if "behind the router" in line]
    assert len(warnings) == 1, warnings


def test_changed_routes_are_followed(net):
    """A second interface on the other segment comes and goes, and a router steps in between."""
    h1, h2, h3 = net.hosts
    wait_refused(h1, h3, behind(net, h3))
    # As after a long time, in which its back-off has grown.
    for _ in range(8):
        h1.ip("route", "add", "192.168.200.0/24", "via", h2.v4)
        h1.ip("route", "del", "192.168.200.0/24", "via", h2.v4)
    h1.attach(net.segments[1])
    wait_direct(h1, h3, "eth1")
    h1.ip("link", "set", "eth1", "down")
    wait_refused(h1, h3, behind(net, h3))

    gateway = str(net.segments[0].gateway.v4.ip)
    h1.ip("route", "add", f"{h2.v4}/32", "via", gateway)
    wait_refused(h1, h2, ["not on the same segment", h2.v4, gateway])
    h1.ip("route", "del", f"{h2.v4}/32", "via", gateway)
    wait_direct(h1, h2)
    h1.ip("route", "add", "unreachable", f"{h2.v4}/32")
    wait_refused(h1, h2, ["there is no route to its public address", h2.v4])
    h1.ip("route", "del", "unreachable", f"{h2.v4}/32")
    wait_direct(h1, h2)
    assert h1.agent.status()["repairs"]["total"] == 0


def test_one_family_is_enough(fabric):
    """IPv6 of a peer goes away and comes back; IPv4 does not notice."""
    net = fabric(hosts=2, family=46, config=DUAL, flags=FLAGS)
    net.ping_all()
    host, peer = net.hosts
    with Probe(*net.containers) as probe:
        host.ip("-6", "route", "add", "unreachable", f"{peer.v6}/128")
        wait_for(lambda: seen(host, peer)[0] == "failed" and peer.v6 in seen(host, peer)[2],
                 "the missing half to be told of", NOTICE_S)
        six = host.agent.peers()["peers"][0]["ipv6_subnet"]
        assert host.ip_json("-6", "route", "show", six) == [] and routes(host, peer) == [("eth0", peer.v4)]
        host.ip("-6", "route", "del", "unreachable", f"{peer.v6}/128")
        wait_direct(host, peer)
        wait_for(lambda: host.ip_json("-6", "route", "show", six), "the route of the other half", NOTICE_S)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    net.ping_all()


def test_interface_is_followed(fabric):
    """Its MTU becomes the containers', and its address is published and routed to."""
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
    net.ping_all()
    host, peer = net.hosts
    host.interfaces["eth0"].set_mtu(1400)
    wait_for(lambda: host.subnet_env()["FLANNEL_MTU"] == "1400", "subnet.env to follow the interface")
    host.ip_batch("addr del 192.168.77.11/24 dev eth0", "addr add 192.168.77.99/24 dev eth0")
    wait_for(lambda: [lease["PublicIP"] for lease in net.leases().values()
                      if lease["PublicIP"] not in (peer.v4, "192.168.77.11")] == ["192.168.77.99"],
             "the new address to be published")
    wait_direct(peer, host, address="192.168.77.99")
    net.ping_all()


def test_flags_that_do_not_fit(fabric):
    net = fabric(hosts=1, config=CONFIG, agents=False)
    (host,) = net.hosts
    net.start_agent(host, "--public-ip=203.0.113.5", wait=False)
    wait_for(lambda: "203.0.113.5 is not that of eth0, 192.168.77.11" in host.agent.request("/readyz")[1],
             "the agent to say so")
    line = host.weft("status", check=False).stdout
    assert "leave out --public-ip, choose another interface, or set Backend.Type to \"vxlan\"" in line


def test_flannel_left_its_routes(fabric):
    """They become ours without a gap, whether flannel's peers are there already or not."""
    net = fabric(hosts=2, config=CONFIG, agents=False, flags=FLAGS)
    for number, host in enumerate(net.hosts):
        host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET=f"10.1.{101 + number}.1/24",
                              FLANNEL_MTU=1500, FLANNEL_IPMASQ="false")
        host.forward()
        host.ip("route", "add", f"10.1.{102 - number}.0/24", "via", net.hosts[1 - number].v4, "dev", "eth0")
        net.store.put(f"/coreos.com/network/subnets/10.1.{101 + number}.0-24",
                      {"PublicIP": host.v4, "PublicIPv6": None, "BackendType": "host-gw"},
                      lease=net.etcd.grant(86400))
        net.add_container(host)
    net.ping_all()
    with Probe(*net.containers) as probe:
        for host in net.hosts:
            net.start_agent(host)
            wait_for(lambda h=host: [r["protocol"] for r in h.ip_json("route", "show") if "gateway" in r] == ["157"],
                     f"{host.name}'s route to be ours")
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert {h.subnet_env()["FLANNEL_SUBNET"] for h in net.hosts} == {"10.1.101.1/24", "10.1.102.1/24"}


def test_foreign_backend_is_listed(fabric):
    """Of a mixed network only hosts of the same backend are programmed."""
    net = fabric(hosts=1, config=CONFIG, containers=False, flags=FLAGS)
    (host,) = net.hosts
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:00:00:00:00:99")
    wait_for(lambda: [(p["state"], p["error"]) for p in host.agent.peers()["peers"]]
             == [("ignored", 'its backend is "vxlan", ours is host-gw')], "the peer to be ignored")
    net.put_lease("10.1.200.0-24", "192.168.77.99", None, BackendType="host-gw", BackendData=None)
    wait_for(lambda: host.ip_json("route", "show", "10.1.200.0/24"), "the route once it has changed")
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:00:00:00:00:99")
    wait_for(lambda: not host.ip_json("route", "show", "10.1.200.0/24"), "the route to go")
