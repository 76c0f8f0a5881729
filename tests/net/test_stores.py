# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The whole fabric on every store but plain etcd, which the other tests have.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- the store: etcd, the controller ctl, both, or none but h1's own weftd
    c3 - h3 --+
"""

import contextlib
import json
import re

import pytest

from lab import Controller, Probe, wait_for
from lab.fabric import PREFIX, STORES

NEW_KEY, NEW_SUBNET = "10.1.200.0-24", "10.1.200.0/24"
FLAGS = ["--dead-man=1s", "--request-timeout=1s", "--peer-hold=3s"]


@pytest.fixture(params=[name for name in STORES if name != "etcd3"])
def net(request, fabric):
    made = fabric(hosts=3, store=request.param, flags=FLAGS)
    made.ping_all()
    return made


def own(host):
    return host.agent.status()["lease"]


def others(net):
    """The hosts whose agents are not the store itself."""
    return [h for h in net.hosts if getattr(net.store, "host", None) is not h]


def is_guarded(net):
    """By a controller with tokens, which tells by a mark whose a lease is; that of its own host has one as well."""
    return isinstance(net.store, Controller)


def has_route(host, subnet):
    return bool(host.ip("route", "show", subnet, "proto", "157").strip())


@contextlib.contextmanager
def unharmed(net):
    """No packet is lost meanwhile, and every host ends with the subnet it began with."""
    before = [own(h)["subnet"] for h in net.hosts]
    with Probe(net.containers[1], net.containers[2]) as probe:
        yield
        wait_for(lambda: all(own(h)["state"] == "held" for h in net.hosts), "all leases to be held", timeout=40)
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert [own(h)["subnet"] for h in net.hosts] == before
    net.ping_all()


def await_store(net):
    """A lease that is put now reaches every host, and goes from there."""
    wait_for(lambda: all(h.agent.status()["store"]["up"] for h in net.hosts), "the store to be reached", timeout=40)
    net.put_lease(NEW_KEY, "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: all(has_route(h, NEW_SUBNET) for h in net.hosts), "the new lease at all hosts", timeout=40)
    assert net.delete_lease(NEW_KEY) == 1
    wait_for(lambda: not any(has_route(h, NEW_SUBNET) for h in net.hosts), "the lease to go", timeout=40)


def test_leases_and_changes(net):
    """The keys and values are the same on every store; a foreign lease comes and goes."""
    leases = net.wait_leases(3)
    for host in net.hosts:
        value = leases[own(host)["subnet"].replace("/", "-")]
        mac = host.ip_json("link", "show", "flannel.12345")[0]["address"]
        mark = value.pop("WeftOwner", None)     # flannel passes over members that it does not know
        assert re.fullmatch("[0-9a-f]{32}", mark) if is_guarded(net) else mark is None
        assert value == {"PublicIP": host.v4, "PublicIPv6": None, "BackendType": "vxlan",
                         "BackendData": {"VNI": 12345, "VtepMAC": mac}}
    assert all(pair.lease for pair in net.store.range(f"{PREFIX}/subnets/")), "each tied to the life of its host"
    for host in (net.hosts[0], net.hosts[2]):       # the first may be the store itself
        shown = json.loads(host.weft("lease", "list", "--json").stdout)["leases"]
        assert {row["public_ip"] for row in shown} == {h.v4 for h in net.hosts}
    with unharmed(net):
        await_store(net)


def test_lease_is_lost_and_regained(net):
    host = net.hosts[1]
    key = own(host)["subnet"].replace("/", "-")
    before = net.leases()[key]
    with unharmed(net):
        assert net.delete_lease(key) == 1
        wait_for(lambda: net.leases().get(key) == before, "the lease to be back")
        host.agent.wait_ready()


def test_store_dies(net):
    """It is killed, away for longer than the agents wait, and started again with what it had."""
    before = net.leases()
    with unharmed(net):
        net.store.kill()
        wait_for(lambda: not any(h.agent.status()["store"]["up"] for h in others(net)), "all agents to notice",
                 timeout=20)
        assert all(h.agent.status()["store"]["error"] for h in others(net))
        net.store.start()
        await_store(net)
    assert net.leases() == before


def test_store_hangs(net):
    with unharmed(net):
        net.store.pause()
        wait_for(lambda: not any(h.agent.status()["store"]["up"] for h in others(net)), "all agents to notice",
                 timeout=20)
        net.store.resume()
        await_store(net)


def test_store_forgets(net):
    """All is lost at once, the config too: the same leases are written again."""
    before = net.leases()
    with unharmed(net):
        (net.etcd or net.store).restart(empty=True)
        net.put_config(net.config)
        wait_for(lambda: net.leases() == before, "the same leases", timeout=40)
        await_store(net)


def test_first_host_reboots(fabric):
    """The one that keeps the store: the others talk on, and all is as it was when it is back."""
    net = fabric(hosts=3, store="weft", flags=FLAGS)
    before = net.leases()
    first = net.hosts[0]
    with unharmed(net):
        net.containers = net.containers[1:]
        first.reboot()
        wait_for(lambda: not any(h.agent.status()["store"]["up"] for h in others(net)), "the others to notice")
        net.store.start()
        first.agent.wait_ready()
        net.add_container(first)
        await_store(net)
    assert net.leases() == before
