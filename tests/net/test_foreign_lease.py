# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A lease that a host of flannel wrote is programmed exactly as flannel would program it.

    h1 (agent) ----+---- net1 192.168.77.0/24 ---- etcd
    h2 (by hand) --+     the foreign host, 192.168.77.99, is in etcd only
"""

import pytest

from lab import wait_for

DEVICE = "flannel.12345"
KEY = "10.1.200.0-24"
SUBNET = "10.1.200.0/24"
MAC = "0e:11:22:33:44:55"
IP = "192.168.77.99"

# What `ip -j -d` and `bridge -j` say of flannel's own entries; test_literals holds them true.
ROUTE = {"type": "unicast", "dst": SUBNET, "gateway": "10.1.200.0", "dev": DEVICE,
         "protocol": "boot", "scope": "global", "flags": ["onlink"]}
NEIGHBOUR = {"dst": "10.1.200.0", "lladdr": MAC, "state": ["PERMANENT"]}
FDB = {"mac": MAC, "dst": IP, "flags": ["self"], "state": "permanent"}


def entries(host, subnet=SUBNET):
    """(routes, neighbours, FDB entries) that the host has for one peer."""
    gateway = subnet.split("/")[0]
    neighbours = [n for n in host.ip_json("neigh", "show", "dev", DEVICE) if n["dst"] == gateway]
    macs = {n.get("lladdr") for n in neighbours}
    fdb = [f for f in host.bridge_json("fdb", "show", "dev", DEVICE) if f["mac"] in macs]
    return host.ip_json("route", "show", subnet), neighbours, fdb


def all_macs(host):
    return {f["mac"] for f in host.bridge_json("fdb", "show", "dev", DEVICE)}


def as_flannel_shows(routes):
    """Our routes without what may differ: whose they are, and that a nexthop object is shared."""
    return [{**{k: v for k, v in r.items() if k not in ("nhid", "nh_info")}, "protocol": "boot"}
            for r in routes]


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2, agents=False, flags=["--peer-hold=100ms"])
    made.start_agent(made.hosts[0])
    return made


def test_literals(net):
    """The requests that flannel makes, made by hand on h2, show as the literals above."""
    host = net.hosts[1]
    host.ip_batch(f"link add {DEVICE} type vxlan id 12345 local {host.v4} dev eth0 dstport 8472"
                  " nolearning", f"link set {DEVICE} up",
                  f"neigh replace 10.1.200.0 lladdr {MAC} dev {DEVICE} nud permanent",
                  f"route replace {SUBNET} via 10.1.200.0 dev {DEVICE} proto boot onlink")
    host.run("bridge", "fdb", "append", MAC, "dev", DEVICE, "dst", IP, "self", "permanent")
    assert entries(host) == ([ROUTE], [NEIGHBOUR], [FDB])


@pytest.mark.parametrize("value", [
    '{"PublicIP":"%s","PublicIPv6":null,"BackendType":"vxlan",'
    '"BackendData":{"VNI":12345,"VtepMAC":"%s"}}',
    '{"PublicIP":"%s","BackendType":"vxlan","BackendData":{"VNI":12345,"VtepMAC":"%s"}}',
    # The VNI of a peer is not compared, the order of members means nothing.
    '{ "BackendData": {"VtepMAC": "%s", "VNI": 1}, "BackendType": "vxlan", "PublicIP": "%s" }',
], ids=["flannel", "before PublicIPv6", "another order"])
def test_lease_is_programmed(net, value):
    host = net.hosts[0]
    words = (MAC, IP) if value.index("VtepMAC") < value.index("PublicIP\"") else (IP, MAC)
    net.etcd.put(f"/coreos.com/network/subnets/{KEY}", value % words)
    routes, neighbours, fdb = wait_for(
        lambda: found if all(found := entries(host)) else None, "the foreign host's entries")
    assert {r["protocol"] for r in routes} == {"157"}
    assert as_flannel_shows(routes) == [ROUTE]
    assert neighbours == [NEIGHBOUR]
    assert fdb == [FDB]
    (peer,) = host.agent.peers()["peers"]
    assert (peer["subnet"], peer["public_ip"], peer["mac"], peer["state"]) == (SUBNET, IP, MAC, "ok")

    net.delete_lease(KEY)
    wait_for(lambda: not any(entries(host)) and MAC not in all_macs(host), "the entries to go")
    assert host.ip_json("nexthop", "show") == []


def test_changed_lease_leaves_nothing_of_the_old_one(net):
    host = net.hosts[0]
    net.put_lease(KEY, IP, MAC)
    wait_for(lambda: all(entries(host)), "the foreign host's entries")
    net.put_lease(KEY, "192.168.77.98", "0e:11:22:33:44:66")
    wait_for(lambda: MAC not in all_macs(host), "the old entries to go")
    routes, neighbours, fdb = entries(host)
    assert as_flannel_shows(routes) == [ROUTE]
    assert neighbours == [{**NEIGHBOUR, "lladdr": "0e:11:22:33:44:66"}]
    assert fdb == [{**FDB, "mac": "0e:11:22:33:44:66", "dst": "192.168.77.98"}]


def test_other_backend_is_ignored_with_a_warning(net):
    host = net.hosts[0]
    net.put_lease(KEY, IP, MAC)
    wait_for(lambda: all(entries(host)), "the foreign host's entries")
    net.put_lease(KEY, IP, MAC, BackendType="host-gw")
    wait_for(lambda: not any(entries(host)) and MAC not in all_macs(host), "the entries to go")
    status = host.agent.status()
    assert status["ready"] and status["peers"]["ignored"] == 1, status
    (peer,) = host.agent.peers()["peers"]
    assert peer["state"] == "ignored" and "host-gw" in peer["error"], peer
    assert "host-gw" in host.weft("status").stdout
    warnings = [line for line in host.agent.log().splitlines() if "host-gw" in line]
    assert len(warnings) == 1 and " WARN " in warnings[0] and SUBNET in warnings[0], warnings
    net.put_lease(KEY, IP, MAC)
    wait_for(lambda: all(entries(host)), "the entries to come back")
