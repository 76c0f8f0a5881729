# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Kernels that lack nexthop objects or strict dumps: the same network by other means.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+
"""

import pytest

from lab import Probe, wait_for

DEVICE = "flannel.12345"
FEATURES = ["nexthop", "strict", "nexthop,strict"]


def peer_routes(host):
    return {r["dst"]: r["gateway"] for r in host.ip_json("route", "show", "proto", "157")}


def uses_nexthops(host):
    """Do its routes stand on nexthop objects? None: some do."""
    over = {"nhid" in r for r in host.ip_json("route", "show", "proto", "157")}
    return over.pop() if len(over) == 1 else None


def repair(host, what, *command):
    """Undo something of the host and wait until it is as before."""
    def state():
        neighbours = {n["dst"]: n["lladdr"] for n in host.ip_json("neigh", "show", "dev", DEVICE)}
        fdb = {f["mac"]: f["dst"] for f in host.bridge_json("fdb", "show", "dev", DEVICE)
               if f.get("dst")}
        link = host.ip_json("link", "show", "dev", DEVICE)[0]
        return peer_routes(host), neighbours, fdb, link["address"], "UP" in link["flags"]

    before, counted = state(), host.agent.status()["repairs"]["total"]
    host.run(*command)
    wait_for(lambda: state() == before and host.agent.status()["repairs"]["total"] > counted,
             f"the repair of the {what}", timeout=2)


@pytest.mark.parametrize("features", FEATURES)
def test_without(fabric, features):
    net = fabric(hosts=3, flags=[f"--without-feature={features}", "--scan-interval=1h"])
    host = net.hosts[0]
    net.ping_all()
    wait_for(lambda: len(peer_routes(host)) == 2, "the routes")
    assert uses_nexthops(host) is ("nexthop" not in features)
    assert bool(host.ip_json("nexthop", "show")) is ("nexthop" not in features)

    host.ip_batch("neigh add 192.168.77.77 lladdr 02:00:00:00:00:07 dev eth0 nud permanent",
                  "route add 10.1.201.0/24 via 192.168.77.12 dev eth0 proto 157 table 99")
    subnet, gateway = next(iter(peer_routes(host).items()))
    entry = next(f for f in host.bridge_json("fdb", "show", "dev", DEVICE) if f.get("dst"))
    repair(host, "route", "ip", "route", "del", subnet)
    repair(host, "neighbour", "ip", "neigh", "del", gateway, "dev", DEVICE)
    repair(host, "FDB entry", "bridge", "fdb", "del", entry["mac"], "dev", DEVICE,
           "dst", entry["dst"])
    repair(host, "device", "ip", "link", "del", DEVICE)
    # Kernels that do not filter dumps show these as well.
    assert host.ip_json("neigh", "show", "192.168.77.77")
    assert host.ip_json("route", "show", "table", "99")
    net.ping_all()

    with Probe(net.containers[0], net.containers[1]) as probe:
        host.agent.kill()
        host.agent.restart()
        host.agent.wait_ready()
        net.ping_all()
    print(f"without {features}: {probe.result}")
    assert probe.result.lost == 0, str(probe.result)

    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: "10.1.200.0/24" in peer_routes(host), "a new lease")
    net.delete_lease("10.1.200.0-24")
    wait_for(lambda: len(peer_routes(host)) == 2, "the lease to go", timeout=15)
    assert not [f for f in host.bridge_json("fdb", "show", "dev", DEVICE)
                if f["mac"] == "0e:11:22:33:44:55"]


def test_from_one_form_of_route_to_the_other(fabric):
    """An agent that comes after a newer or older kernel's takes over the routes without a gap."""
    net = fabric(hosts=3)
    host = net.hosts[0]
    net.ping_all()
    routes = peer_routes(host)
    flags = list(host.agent.flags)
    with Probe(net.containers[0], net.containers[1]) as probe:
        for extra, expected in ((["--without-feature=nexthop"], False), ([], True)):
            host.agent.restart(*flags, *extra)
            host.agent.wait_ready()
            wait_for(lambda e=expected: uses_nexthops(host) is e,
                     "the routes to have the other form")
            assert peer_routes(host) == routes
        net.ping_all()
    print(probe.result)
    assert probe.result.lost == 0, str(probe.result)
