# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weftd starts where flannel ran: it takes over device, MAC, lease and routes under traffic.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd      both as flannel left them
"""

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

DEVICE = "flannel.12345"
MACS = ("0a:00:00:00:00:01", "0a:00:00:00:00:02")


def subnet_of(host):
    return f"10.1.{100 + int(host.name[1:])}"


def as_flannel_leaves(net, host, mac, peer, peer_mac):
    """The requests that flannel makes, the lease that it writes, and its subnet.env."""
    own, other = subnet_of(host), subnet_of(peer)
    host.ip_batch(f"link add {DEVICE} address {mac} mtu 1450 type vxlan id 12345 local {host.v4}"
                  " dev eth0 dstport 8472 nolearning",
                  f"addr add {own}.0/32 dev {DEVICE}", f"link set {DEVICE} up",
                  f"neigh replace {other}.0 lladdr {peer_mac} dev {DEVICE} nud permanent",
                  f"route replace {other}.0/24 via {other}.0 dev {DEVICE} proto boot onlink",
                  # A host that is gone, which flannel never clears away.
                  f"neigh replace 10.1.9.0 lladdr 0a:00:00:00:00:09 dev {DEVICE} nud permanent",
                  f"route replace 10.1.9.0/24 via 10.1.9.0 dev {DEVICE} proto boot onlink")
    for lladdr, dst in ((peer_mac, peer.v4), ("0a:00:00:00:00:09", "192.168.77.9")):
        host.run("bridge", "fdb", "append", lladdr, "dev", DEVICE, "dst", dst, "self", "permanent")
    host.forward()
    host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET=f"{own}.1/24",
                          FLANNEL_MTU=1450, FLANNEL_IPMASQ="false")
    net.put_lease(f"{own}.0-24", host.v4, mac, lease=net.etcd.grant(86400))


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2, agents=False)
    h1, h2 = made.hosts
    as_flannel_leaves(made, h1, MACS[0], h2, MACS[1])
    as_flannel_leaves(made, h2, MACS[1], h1, MACS[0])
    for host in made.hosts:
        made.add_container(host)
    made.ping_all()
    return made


def flannel_routes(host):
    return [r["dst"] for r in host.ip_json("route", "show", "proto", "boot")]


def check_taken_over(host, mac, index):
    (device,) = host.ip_json("link", "show", DEVICE)
    assert (device["address"], device["ifindex"]) == (mac, index)
    wait_for(lambda: flannel_routes(host) == [], f"{host.name}: flannel's routes to be ours")
    own = [r["dst"] for r in host.ip_json("route", "show", "proto", "157")]
    assert len(own) == 1 and own[0] != "10.1.9.0/24"
    wait_for(lambda: len(host.bridge_json("fdb", "show", "dev", DEVICE)) == 1,
             f"{host.name}: the entries of the host that is gone to go")


def index_of(host):
    return host.ip_json("link", "show", DEVICE)[0]["ifindex"]


def test_one_host_after_the_other(net):
    """The first one while the other one is still flannel's, then the other one."""
    before = {p.key: p.value for p in net.etcd.range(f"{PREFIX}/subnets/")}
    leases = sorted(net.etcd.leases())
    indexes = [index_of(h) for h in net.hosts]
    env = [(h.run_dir / "flannel" / "subnet.env").read_text() for h in net.hosts]
    with Probe(*net.containers) as probe:
        for host, mac, index in zip(net.hosts, MACS, indexes):
            net.start_agent(host)
            check_taken_over(host, mac, index)
        for host in net.hosts:
            host.agent.restart().wait_ready()
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert {p.key: p.value for p in net.etcd.range(f"{PREFIX}/subnets/")} == before
    assert sorted(net.etcd.leases()) == leases      # flannel's own, kept alive
    assert [(h.run_dir / "flannel" / "subnet.env").read_text() for h in net.hosts] == env


def test_lease_of_flannel_under_another_mac(net):
    """flannel's lease names another MAC than the device has, as after its device was made anew."""
    host, peer = net.hosts
    net.put_lease(f"{subnet_of(host)}.0-24", host.v4, "0a:00:00:00:00:77",
                  lease=net.etcd.grant(86400))
    net.start_agent(host)
    net.start_agent(peer)
    key = f"{subnet_of(host)}.0-24"
    wait_for(lambda: net.leases()[key]["BackendData"]["VtepMAC"] == MACS[0], "the true MAC")
    assert host.ip_json("link", "show", DEVICE)[0]["address"] == MACS[0]
    assert set(net.leases()) == {key, f"{subnet_of(peer)}.0-24"}
    net.ping_all()


def test_flannel_between_two_lives_of_weft(net):
    """flannel got another subnet meanwhile, and containers live in it: what weft remembers is out of date."""
    host = net.hosts[0]
    for one in net.hosts:
        net.start_agent(one)
    wait_for(lambda: '"lease"' in (host.lib_dir / "weft/state").read_text(), "the lease on disk")
    old = f"{subnet_of(host)}.0-24"
    host.agent.stop()
    host.ip("link", "del", "cni0")
    net.delete_lease(old)
    net.put_lease("10.1.77.0-24", host.v4, MACS[0], lease=net.etcd.grant(86400))
    host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET="10.1.77.1/24",
                          FLANNEL_MTU=1450, FLANNEL_IPMASQ="false")
    host.agent.restart().wait_ready()
    assert host.agent.status()["lease"]["subnet"] == "10.1.77.0/24"
    assert host.subnet_env()["FLANNEL_SUBNET"] == "10.1.77.1/24"
    assert old not in net.leases()
    assert [p for p in host.agent.peers()["peers"] if p["state"] != "ok"] == []


def test_incompatible_device_is_replaced(net):
    """Another VNI: the device cannot be kept, its MAC cannot, but the subnet is."""
    net.put_config({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12345,
                                                          "Port": 4789}})
    for host in net.hosts:
        net.start_agent(host)
    net.ping_all()
    for host in net.hosts:
        (device,) = host.ip_json("link", "show", DEVICE)
        assert device["linkinfo"]["info_data"]["port"] == 4789
        assert host.subnet_env()["FLANNEL_SUBNET"] == f"{subnet_of(host)}.1/24"
    assert set(net.leases()) == {f"{subnet_of(h)}.0-24" for h in net.hosts}
