# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""No IPv4 anywhere, which flannel cannot do with etcd.

    c1 - h1 --+
    c2 - h2 --+-- net1 fd77:1::/64 -- etcd
    c3 - h3 --+
"""

import re

from lab import wait_for
from lab.fabric import PREFIX

CONFIG = {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fc00:1::/48",
          "Backend": {"Type": "vxlan", "VNI": 123}}
DEVICE = "flannel-v6.123"


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
