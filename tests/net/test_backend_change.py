# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Backend.Type changes: running agents say that they must be restarted, and then nothing of the former one stays.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
"""

import pytest
from backend_suite import kernel_has

from lab import wait_for

VXLAN = {"Type": "vxlan", "VNI": 123}
HOSTGW = {"Type": "host-gw"}


def config(backend):
    return {"Network": "10.1.0.0/16", "Backend": backend}


def tunnels(host):
    return [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("flannel")]


def wait_carried_by(net, backend):
    for host in net.hosts:
        wait_for(lambda h=host: [p["state"] for p in h.agent.peers()["peers"]] == ["ok"], f"{host.name}'s peer")
        assert tunnels(host) == (["flannel.123"] if backend is VXLAN else [])
        (route,) = host.ip_json("route", "show", "proto", "157")
        assert route["dev"] == ("flannel.123" if backend is VXLAN else "eth0")
        wait_for(lambda h=host: len(h.ip_json("nexthop", "show")) == 1, f"{host.name} to have one nexthop")
        assert host.weft("plan").stdout.startswith("nothing to change")
    net.ping_all()


@pytest.mark.parametrize("first, second", [(VXLAN, HOSTGW), (HOSTGW, VXLAN)], ids=["to host-gw", "to vxlan"])
def test_there_and_back(fabric, first, second):
    net = fabric(hosts=2, config=config(first))
    net.ping_all()
    subnets = {key: lease["PublicIP"] for key, lease in net.leases().items()}
    for backend in (second, first):
        net.put_config(config(backend))
        for host in net.hosts:
            wait_for(lambda h=host: h.agent.status()["restart_needed"] == ["Backend.Type"],
                     f"{host.name} to ask for a restart")
        net.ping_all()      # until then all is as it was
        for host in net.hosts:
            host.agent.restart().wait_ready()
        wait_carried_by(net, backend)
        assert {key: lease["PublicIP"] for key, lease in net.leases().items()} == subnets
        assert {lease["BackendType"] for lease in net.leases().values()} == {backend["Type"]}


def leave_as_flannel(net, host, peer, kind):
    """What flannel made for another backend: a device with the subnet's first address, and a peer's route on it."""
    own, other = (f"10.1.{100 + int(h.name[1:])}" for h in (host, peer))
    settings = {"vxlan": "flannel.1 type vxlan id 1 dev eth0 dstport 8472 nolearning local " + host.v4,
                "ipip": "flannel.ipip type ipip local " + host.v4}[kind]
    device = settings.split()[0]
    gateway = f"{other}.0" if kind == "vxlan" else peer.v4
    host.ip_batch(f"link add {settings}", f"addr add {own}.0/32 dev {device}", f"link set {device} up",
                  f"route add {other}.0/24 via {gateway} dev {device} onlink")
    host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET=f"{own}.1/24",
                          FLANNEL_MTU=1450, FLANNEL_IPMASQ="false")


@pytest.mark.parametrize("kind", ["vxlan", "ipip"] if kernel_has("ipip") else ["vxlan"])
def test_flannel_ran_with_another_backend(fabric, kind):
    net = fabric(hosts=2, config=config(HOSTGW), agents=False)
    h1, h2 = net.hosts
    leave_as_flannel(net, h1, h2, kind)
    leave_as_flannel(net, h2, h1, kind)
    for host in net.hosts:
        net.start_agent(host)
        net.add_container(host)
    wait_carried_by(net, HOSTGW)
    assert {h.subnet_env()["FLANNEL_SUBNET"] for h in net.hosts} == {"10.1.101.1/24", "10.1.102.1/24"}


@pytest.mark.parametrize("backend", ["wireguard", "udp"])
def test_flannel_ran_without_a_tunnel(fabric, backend):
    """Its routes to the peers would go before the one to the network, and packets past WireGuard unencrypted."""
    net = fabric(hosts=2, config=config({"Type": backend}), agents=False)
    h1, h2 = net.hosts
    for host, peer in ((h1, h2), (h2, h1)):
        host.ip_batch(f"route add 10.1.10{peer.name[1:]}.0/24 via {peer.v4} dev eth0",
                      f"route add 10.1.99.0/24 via {peer.v4} dev eth0")
        host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET=f"10.1.10{host.name[1:]}.1/24",
                              FLANNEL_MTU=1500, FLANNEL_IPMASQ="false")
    for host in net.hosts:
        net.start_agent(host)
        net.add_container(host)
    for host in net.hosts:
        wait_for(lambda h=host: [r["dst"] for r in h.ip_json("route", "show", "dev", "eth0", "proto", "boot")] ==
                 ["10.1.99.0/24"], f"{host.name} to have no route to its peer past the device")     # nobody's stays
    net.ping_all()


def test_what_is_left_is_found_among_many(fabric):
    """A host can be in 64 networks."""
    net = fabric(hosts=2, config=config(HOSTGW), agents=False)
    host, peer = net.hosts
    host.ip_batch(*(f"link add flannel.{vni} type vxlan id {vni} dev eth0 dstport 8472 nolearning"
                    for vni in range(101, 165)))
    others = tunnels(host)
    leave_as_flannel(net, host, peer, "vxlan")
    net.start_agent(host)
    wait_for(lambda: tunnels(host) == others, "the one that is left to go")


def test_another_networks_device_stays(fabric):
    """flannel's name alone does not make a device this network's."""
    net = fabric(hosts=1, config=config(HOSTGW), agents=False)
    (host,) = net.hosts
    host.ip_batch("link add flannel.7 type vxlan id 7 dev eth0 dstport 8472", "addr add 10.9.5.0/32 dev flannel.7",
                  "link add flannel.8 type bridge", "addr add 10.1.101.0/32 dev flannel.8")
    host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET="10.1.101.1/24",
                          FLANNEL_MTU=1450, FLANNEL_IPMASQ="false")
    net.start_agent(host)
    assert tunnels(host) == ["flannel.7", "flannel.8"]
    assert host.agent.status()["lease"]["subnet"] == "10.1.101.0/24"


if not kernel_has("ipip"):      # else there is nothing to be told of
    def test_kernel_without_the_device(fabric):
        """One line with the module and what to do, and the agent waits for the module or another config."""
        net = fabric(hosts=1, config=config({"Type": "ipip"}), agents=False)
        (host,) = net.hosts
        net.start_agent(host, wait=False)
        text = "making flannel.ipip: the kernel has no ipip devices; load its module (modprobe ipip)"
        wait_for(lambda: text in host.agent.request("/readyz")[1], "the agent to say so")
        assert text in host.weft("status", check=False).stdout
        assert len([line for line in host.agent.log().splitlines() if text in line]) == 1
        net.put_config(config(HOSTGW))
        host.agent.wait_ready()
