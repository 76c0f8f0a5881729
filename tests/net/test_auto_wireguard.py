# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Backend.Type auto with WireGuard: who is on an untrusted segment is reached by it, and by nothing else.

    c1 - h1 --+                 +-- h3 - c3
    c2 - h2 --+-- net1 -- r -- net2             h2 says that it is not to be trusted
    etcd -----+
"""

import shutil

import pytest
from backend_suite import kernel_has

from lab import Probe, wait_for

CONFIG = {"Network": "10.1.0.0/16", "Backend": {"Type": "auto", "VNI": 7, "WireGuard": True}}
DUAL = {**CONFIG, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"}
DEVICES = ["flannel.7", "flannel-wg"]
WAIT_S = 30
ROUTER = ("vxlan", "its public address is behind a router")
SAME = ("direct", "its public address is on the same segment")
ITS = ("wireguard", "its host is on an untrusted segment")
OWN = ("wireguard", "this host is on an untrusted segment")

pytestmark = pytest.mark.skipif(not kernel_has("wireguard") and not shutil.which("wireguard-go"),
                                reason="neither the kernel nor wireguard-go has WireGuard")


def ways(host):
    return {p["public_ip"]: p["error"] or (p["path"], p["why"]) for p in host.agent.peers()["peers"]}


def wait_ways(host, expected):
    wait_for(lambda: ways(host) == expected, f"{host.name}'s ways to be {expected}", WAIT_S)


def wireguard_peers(host):
    """The allowed addresses of each peer of the device."""
    lines = host.run("wg", "show", "flannel-wg", "allowed-ips").stdout.splitlines()
    return sorted(line.split(None, 1)[1] for line in lines)


def subnet_of(host):
    return host.agent.status()["lease"]["subnet"]


def encapsulated(host):
    return sorted(f["dst"] for f in host.bridge_json("fdb", "show", "dev", DEVICES[0]) if "dst" in f)


@pytest.fixture
def net(fabric):
    made = fabric(hosts=[2, 1], config=CONFIG, agents=False)
    h1, h2, h3 = made.hosts
    made.start_agent(h2, "--untrusted", wait=False)
    for host in (h1, h3):
        made.start_agent(host, wait=False)
    for host in made.hosts:
        host.agent.wait_ready(WAIT_S)
        made.add_container(host)
    made.ping_all(WAIT_S)
    return made


def test_three_ways_side_by_side(net):
    h1, h2, h3 = net.hosts
    wait_ways(h1, {h2.v4: ITS, h3.v4: ROUTER})
    wait_ways(h3, {h2.v4: ITS, h1.v4: ROUTER})
    wait_ways(h2, {h1.v4: OWN, h3.v4: OWN})
    assert wireguard_peers(h1) == wireguard_peers(h3) == [subnet_of(h2)]
    assert wireguard_peers(h2) == sorted([subnet_of(h1), subnet_of(h3)])
    # Nothing leads to the untrusted host, or from it, that others could read.
    assert encapsulated(h1) == [h3.v4] and encapsulated(h2) == []
    assert not h1.ip_json("route", "show", subnet_of(h2))
    assert [d["name"] for d in h1.agent.status()["backend"]["devices"]] == DEVICES
    assert h1.subnet_env()["FLANNEL_MTU"] == "1420"
    for lease in net.leases().values():
        assert lease["BackendType"] == "vxlan" and set(lease["WeftPaths"]["WireGuard"]) == {"PublicKey", "Port"}
        assert lease["WeftPaths"]["Untrusted"] is (lease["PublicIP"] == h2.v4)
    assert h1.weft("plan").stdout == "nothing to change: the kernel is as it should be\n"


def test_a_host_that_is_trusted_again_and_not(net):
    """Its peers change their way as its lease does; what speaks with it goes on."""
    h1, h2, h3 = net.hosts
    flags = [flag for flag in h2.agent.flags if flag != "--untrusted"]
    with Probe(net.containers[0], net.containers[1]) as probe:
        for more, near, far in (([], SAME, ROUTER), (["--untrusted"], ITS, ITS)):
            h2.agent.restart(*flags, *more)
            h2.agent.wait_ready(WAIT_S)
            wait_ways(h1, {h2.v4: near, h3.v4: ROUTER})
            wait_ways(h3, {h2.v4: far, h1.v4: ROUTER})
            net.ping_all(WAIT_S)
            assert wireguard_peers(h1) == ([subnet_of(h2)] if near == ITS else [])
    assert probe.result.tcp_broken is None and probe.result.lost < probe.result.sent, probe.result


def test_peer_that_cannot(net):
    """A host of vxlan only, and one of auto without WireGuard: not reached from an untrusted segment, and told of."""
    h1, h2, _ = net.hosts
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:00:00:00:00:99")
    net.put_lease("10.1.201.0-24", "192.168.77.98", "0e:00:00:00:00:98", WeftPaths={"Direct": True, "Untrusted": True})
    net.put_lease("10.1.202.0-24", "192.168.77.97", "0e:00:00:00:00:97",
                  WeftPaths={"Untrusted": True, "WireGuard": {"PublicKey": "x"}})
    lacks = "host is on an untrusted segment and needs wireguard, which its lease does not offer"
    wait_for(lambda: ways(h2).get("192.168.77.99") == f"this {lacks}", "our own to be told of", WAIT_S)
    wait_for(lambda: ways(h1).get("192.168.77.98") == f"its {lacks}", "the peer's to be told of", WAIT_S)
    wait_for(lambda: "PublicKey" in ways(h1).get("192.168.77.97", ""), "the bad key to be told of", WAIT_S)
    assert ways(h1)["192.168.77.99"] == ("vxlan", "its host takes no other way than vxlan")
    assert encapsulated(h2) == []


def test_dual_stack(fabric):
    net = fabric(hosts=2, config=DUAL, family=46, flags=["--untrusted"], agents=False)
    for host in net.hosts:
        net.start_agent(host, wait=False)
    for host in net.hosts:
        host.agent.wait_ready(WAIT_S)
        net.add_container(host)
    net.ping_all(WAIT_S)
    h1, h2 = net.hosts
    wait_ways(h1, {h2.v4: ITS})


def test_switched_on_needs_a_restart(fabric):
    net = fabric(hosts=1, config={**CONFIG, "Backend": {"Type": "auto", "VNI": 7}}, containers=False)
    net.put_config(CONFIG)
    wait_for(lambda: net.hosts[0].agent.status()["restart_needed"] == ["Backend.WireGuard"], "the change", WAIT_S)
