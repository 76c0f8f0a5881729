# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The main job: hosts lease subnets in etcd, and their containers talk over VXLAN.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+
"""

import re

from lab import Probe


def test_leases_device_and_traffic(fabric):
    net = fabric(hosts=3)
    leases = net.wait_leases(3)
    for key, value in leases.items():
        assert re.fullmatch(r"10\.1\.\d+\.0-24", key)
        data = value.pop("BackendData")
        assert value.pop("PublicIP") in {h.v4 for h in net.hosts}
        assert value == {"PublicIPv6": None, "BackendType": "vxlan"}
        assert data["VNI"] == 12345
        assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", data["VtepMAC"])
    for host in net.hosts:
        device = host.ip_json("link", "show", "flannel.12345")[0]
        assert device["mtu"] == 1450
        assert device["linkinfo"]["info_data"]["id"] == 12345
        own = next(v for v in net.leases().values() if v["PublicIP"] == host.v4)
        assert device["address"] == own["BackendData"]["VtepMAC"]
        env = host.subnet_env()
        assert env["FLANNEL_NETWORK"] == "10.1.0.0/16" and env["FLANNEL_MTU"] == "1450"
        subnet = env["FLANNEL_SUBNET"]
        assert subnet.replace(".1/24", ".0-24") in leases
    net.ping_all()
    c1, c2 = net.containers[:2]
    assert c1.ping(c2.v4, count=1, size=1422, dont_fragment=True).lost == 0
    assert c1.ping(c2.v4, count=1, size=1423, dont_fragment=True).lost == 1


def test_agent_restarts_under_traffic(fabric):
    """Stopped, killed, started again: the data plane and the subnet stay."""
    net = fabric(hosts=2)
    net.ping_all()
    agent = net.hosts[0].agent
    before = net.leases()
    with Probe(*net.containers) as probe:
        assert agent.stop() == 0
        agent.restart().wait_ready()
        agent.kill()
        agent.restart().wait_ready()
    print(probe.result)
    assert probe.result.lost == 0, probe.result
    assert probe.result.tcp_broken is None, probe.result
    assert net.leases() == before
