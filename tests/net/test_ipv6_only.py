# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""No IPv4 anywhere, which flannel cannot do with etcd.

    c1 - h1 --+
    c2 - h2 --+-- net1 fd77:1::/64 -- etcd
    c3 - h3 --+
"""

import contextlib
import ipaddress
import re

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

CONFIG = {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fc00:1::/48",
          "Backend": {"Type": "vxlan", "VNI": 123}}
DEVICE = "flannel-v6.123"
AGENTS = 20


def own_subnet(host):
    return host.agent.status()["lease"]["ipv6_subnet"]


def key_of(host):
    return "0.0.0.0-0&" + own_subnet(host).replace("/", "-")


def peer_routes(host):
    return {r["dst"]: r["gateway"] for r in host.ip_json("-6", "route", "show", "proto", "157")}


@contextlib.contextmanager
def unharmed(net):
    """No packet is lost meanwhile, and every host ends with the subnet it began with."""
    before = [own_subnet(h) for h in net.hosts]
    with Probe(*net.containers[:2], family=6) as probe:
        yield
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert [own_subnet(h) for h in net.hosts] == before


def test_three_hosts(fabric):
    net = fabric(hosts=3, config=CONFIG, family=6)
    net.ping_all()
    pairs = {p.value: p.key.removeprefix(f"{PREFIX}/subnets/")
             for p in net.etcd.range(f"{PREFIX}/subnets/")}
    assert len(pairs) == 3
    for host in net.hosts:
        mac = host.ip_json("link", "show", DEVICE)[0]["address"]
        key = next(k for v, k in pairs.items() if f'"PublicIPv6":"{host.v6}"' in v and mac in v)
        v6 = re.fullmatch(r"0\.0\.0\.0-0&(fc00:1:[0-9a-f:]*:)-64", key)[1]
        assert (host.run_dir / "flannel" / "subnet.env").read_text() == (
            f"FLANNEL_IPV6_NETWORK=fc00:1::/48\nFLANNEL_IPV6_SUBNET={v6}1/64\n"
            "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n")
        (device,) = host.ip_json("link", "show", DEVICE)
        assert device["mtu"] == 1430
        assert device["linkinfo"]["info_data"]["local6"] == host.v6
        assert not [link for link in host.ip_json("link") if link["ifname"] == "flannel.123"]
    c1, c2 = net.containers[:2]
    assert c1.v4 is None
    assert c1.ping(c2.v6, count=1, size=1430 - 48, dont_fragment=True).lost == 0
    assert c1.ping(c2.v6, count=1, size=1431 - 48, dont_fragment=True).lost == 1


def test_same_subnet_after_restart(fabric):
    net = fabric(hosts=2, config=CONFIG, family=6, containers=False)
    before = net.leases()
    for host in net.hosts:
        host.agent.restart().wait_ready()
    assert net.leases() == before


def test_refused_beside_flannel(fabric):
    """A lease with an IPv4 subnet says that hosts of flannel are there: they would not see us."""
    net = fabric(hosts=1, config=CONFIG, family=6, agents=False)
    (host,) = net.hosts
    net.put_lease("10.1.3.0-24", "192.168.77.99", "0e:00:00:00:00:01")
    net.start_agent(host, wait=False)
    wait_for(lambda: "IPv4" in host.agent.status()["lease"]["error"], "the refusal")
    assert host.agent.alive() and not host.agent.ready()
    assert len(net.leases()) == 1
    net.delete_lease("10.1.3.0-24")
    host.agent.wait_ready()


def test_underlay_mtu_is_followed(fabric):
    net = fabric(hosts=2, config=CONFIG, family=6, flags=["--scan-interval=1h"])
    net.ping_all()
    host = net.hosts[0]
    for mtu in (1400, 1500):
        host.interfaces["eth0"].set_mtu(mtu)
        wait_for(lambda m=mtu: host.ip_json("link", "show", DEVICE)[0]["mtu"] == m - 70
                 and host.subnet_env()["FLANNEL_MTU"] == str(m - 70)
                 and host.agent.status()["backend"]["devices"][0]["mtu"] == m - 70,
                 f"the device, subnet.env and status to follow MTU {mtu}")
        net.ping_all()
    assert host.agent.status()["repairs"]["total"] == 0


def test_etcd_outage(fabric):
    net = fabric(hosts=2, config=CONFIG, family=6, flags=["--dead-man=1s", "--request-timeout=1s"])
    net.ping_all()
    before = {p.key: p.value for p in net.etcd.range(f"{PREFIX}/subnets/")}
    with unharmed(net):
        net.etcd.kill()
        for host in net.hosts:
            wait_for(lambda h=host: not h.agent.status()["store"]["up"], f"{host.name} to notice")
            assert host.agent.status()["lease"]["state"] == "held"
        net.ping_all()
        net.etcd.start()
        for host in net.hosts:
            wait_for(lambda h=host: h.agent.status()["store"]["up"], f"{host.name} to reach it again", timeout=40)
            host.agent.wait_ready()
        assert {p.key: p.value for p in net.etcd.range(f"{PREFIX}/subnets/")} == before
        # What is put from now on is seen.
        net.put_lease("0.0.0.0-0&fc00:1:0:c8::-64", "0.0.0.0", None, PublicIPv6="fd77:1::99", BackendData=None,
                      BackendV6Data={"VNI": 123, "VtepMAC": "0e:00:00:00:00:06"})
        for host in net.hosts:
            wait_for(lambda h=host: "fc00:1:0:c8::/64" in peer_routes(h), f"the new lease at {host.name}")


@pytest.mark.parametrize("how", ["deleted", "revoked"])
def test_lease_is_regained(fabric, how):
    net = fabric(hosts=2, config=CONFIG, family=6)
    net.ping_all()
    host = net.hosts[0]
    key = f"{PREFIX}/subnets/{key_of(host)}"
    before = net.etcd.get(key)
    with unharmed(net):
        if how == "deleted":
            net.etcd.delete(key)
        else:
            net.etcd.revoke(before.lease)
        now = wait_for(lambda: net.etcd.get(key), "the lease to be back")
        host.agent.wait_ready()
    assert now.value == before.value and now.create_revision > before.create_revision
    wait_for(lambda: len(net.etcd.leases()) == 2 and now.lease in net.etcd.leases(), "no etcd lease to be left behind")


@pytest.mark.parametrize("with_store", [True, False], ids=["with etcd", "without etcd"])
def test_reboot(fabric, with_store):
    """/var/lib is kept, all else is new: the same subnet, the same MAC, and traffic."""
    net = fabric(hosts=2, config=CONFIG, family=6)
    net.ping_all()
    host = net.hosts[0]
    before, env = net.leases(), host.subnet_env()
    mac, routes = host.ip_json("link", "show", DEVICE)[0]["address"], peer_routes(host)
    assert len(routes) == 1
    for name, member in (("state", '"lease"'), ("peers", '"peer"')):
        wait_for(lambda n=name, m=member: m in (host.lib_dir / "weft" / n).read_text(), f"the {name} on disk")
    net.containers.remove(host.containers[0])
    if not with_store:
        net.etcd.kill()
    host.reboot()
    host.agent.restart()
    if with_store:
        host.agent.wait_ready()
        assert net.leases() == before
    wait_for(lambda: peer_routes(host) == routes and host.subnet_env() == env, "the host to be programmed as before")
    assert host.ip_json("link", "show", DEVICE)[0]["address"] == mac
    net.add_container(host, "c1b")
    net.ping_all()


def test_twenty_agents_at_once(fabric):
    """A network with room for exactly twenty, and then one more host."""
    config = {**CONFIG, "IPv6SubnetMin": "fc00:1:0:10::", "IPv6SubnetMax": f"fc00:1:0:{0x10 + AGENTS - 1:x}::"}
    net = fabric(hosts=AGENTS, config=config, family=6, agents=False)
    for host in net.hosts:
        net.start_agent(host, "--peer-hold=100ms", wait=False)
    for host in net.hosts:
        host.agent.wait_ready(timeout=60)
    leases = net.leases()
    assert set(leases) == {f"0.0.0.0-0&fc00:1:0:{0x10 + i:x}::-64" for i in range(AGENTS)}
    assert len(net.etcd.leases()) == AGENTS
    for host in net.hosts:
        assert leases[key_of(host)]["PublicIPv6"] == host.v6
        assert str(ipaddress.ip_interface(host.subnet_env()["FLANNEL_IPV6_SUBNET"]).network) == own_subnet(host)
    for host in net.hosts:
        others = {own_subnet(h) for h in net.hosts if h is not host}
        wait_for(lambda h=host, o=others: set(peer_routes(h)) == o, f"{host.name} to route to all others", timeout=30)

    late = net.lab.host("h21", net.segments[0])
    net.start_agent(late, "--peer-hold=100ms", wait=False)
    error = wait_for(lambda: late.agent.status()["lease"]["error"], "the one more to say why it has none")
    assert f"no subnet is free: network fc00:1::/48 has room for {AGENTS} subnets of length 64" in error, error
    gone = net.hosts[0]
    subnet = own_subnet(gone)
    key = key_of(gone)
    assert gone.agent.stop() == 0
    net.delete_lease(key)
    late.agent.wait_ready()
    assert own_subnet(late) == subnet
