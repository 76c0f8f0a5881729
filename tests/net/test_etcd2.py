# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""An etcd of the first days of flannel, and the commands of its first guides, word for word.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 -- etcd --enable-v2
"""

import json

import pytest

from lab import Probe, wait_for

PREFIX = "/lab/network"
CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan","VNI":12345}}'
TTL_S = 86400


@pytest.fixture(params=["http", "https"])
def net(lab, fabric, request):
    """Hosts h1 and h2 that run no agent yet, and an etcd that has nothing."""
    made = fabric(hosts=2, store="etcd2", config=False, agents=False,
                  store_options={"tls": request.param == "https"})
    yield made


def start(net, host):
    host.agent.start("-iface=eth0", f"-etcd-prefix={PREFIX}", "--peer-hold=3s", etcd=net.store)


def has_route(host, subnet):
    return bool(host.ip("route", "show", subnet, "proto", "157").strip())


def test_the_commands_of_the_guides(net):
    """`etcdctl mk` begins the network, `ls` and `get` show the leases, `set`, `rm` change them."""
    etcd, (h1, h2) = net.store, net.hosts
    start(net, h1)
    wait_for(lambda: f"{PREFIX}/config" in h1.agent.request("/readyz")[1], "h1 to say that there is no config")
    assert etcd.ctl2("mk", f"{PREFIX}/config", CONFIG).stdout.strip() == CONFIG
    start(net, h2)
    for host in net.hosts:
        host.agent.wait_ready()
        net.add_container(host)
    net.ping_all()

    subnets = [h.agent.status()["lease"]["subnet"] for h in net.hosts]
    keys = [f"{PREFIX}/subnets/{s.replace('/', '-')}" for s in subnets]
    listed = etcd.ctl2("ls", PREFIX, "--recursive").stdout.split()
    assert sorted(listed) == sorted([f"{PREFIX}/config", f"{PREFIX}/subnets", *keys])
    value = json.loads(etcd.ctl2("get", keys[0]).stdout)
    mac = h1.ip_json("link", "show", "flannel.12345")[0]["address"]
    assert value == {"PublicIP": h1.v4, "PublicIPv6": None, "BackendType": "vxlan",
                     "BackendData": {"VNI": 12345, "VtepMAC": mac}}
    assert TTL_S - 60 < etcd.get(keys[0]).lease <= TTL_S

    # As flannel 0.5 writes a lease: no PublicIPv6 and no VNI, alive for a day.
    etcd.ctl2("set", "--ttl", str(TTL_S), f"{PREFIX}/subnets/10.5.200.0-24",
              '{"PublicIP":"192.168.77.99","BackendType":"vxlan","BackendData":{"VtepMAC":"0e:11:22:33:44:55"}}')
    wait_for(lambda: all(has_route(h, "10.5.200.0/24") for h in net.hosts), "the lease of a flannel at both")
    etcd.ctl2("rm", f"{PREFIX}/subnets/10.5.200.0-24")
    wait_for(lambda: not any(has_route(h, "10.5.200.0/24") for h in net.hosts), "it to go")

    assert h2.weft("network", "get", f"--etcd-prefix={PREFIX}", etcd=etcd).stdout.strip()
    with Probe(*net.containers) as probe:
        etcd.ctl2("rm", keys[0])
        wait_for(lambda: (pair := etcd.get(keys[0])) and pair.json() == value, "h1 to take its lease again")
    assert probe.result.lost == 0, str(probe.result)


def test_short_life(net):
    """A lease is kept alive by its host, and ends with it."""
    etcd, (h1, h2) = net.store, net.hosts
    etcd.ctl2("mk", f"{PREFIX}/config", CONFIG)
    for host in net.hosts:
        host.agent.start("-iface=eth0", f"-etcd-prefix={PREFIX}", "--peer-hold=100ms", "--lease-ttl=3", etcd=etcd)
        host.agent.wait_ready()
    subnet = h1.agent.status()["lease"]["subnet"]
    key = f"{PREFIX}/subnets/{subnet.replace('/', '-')}"
    first = etcd.get(key)
    wait_for(lambda: (pair := etcd.get(key)) and pair.mod_revision > first.mod_revision + 1, "two renewals", timeout=20)
    assert etcd.get(key).value == first.value and etcd.get(key).lease <= 3
    assert has_route(h2, subnet)
    h1.agent.kill()
    wait_for(lambda: etcd.get(key) is None, "the lease to end", timeout=20)
    wait_for(lambda: not has_route(h2, subnet), "h2 to let it go")
