# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""How often an agent asks the store and the kernel. Counts do not depend on the machine; times do.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 -- etcd       all other leases are in etcd only
"""

import pytest
from many_leases import lease_key, put_leases

from lab import wait_for
from lab.fabric import PREFIX

PER_PEER = 4            # neighbour, FDB entry, nexthop, route


def etcd_calls(etcd, **labels):
    """How many calls etcd was asked for, streams included, which it counts as handled at their end."""
    return int(etcd.metric("grpc_server_started_total", **labels))


def kernel_counts(host):
    return host.agent.status()["netlink"]


def settle(host, peers):
    """Wait until that many peers are programmed and no notification is left to be looked at."""
    wait_for(lambda: host.agent.status()["peers"]["programmed"] == peers,
             f"{peers} peers to be programmed", timeout=30)
    last = {}

    def quiet():
        now = (kernel_counts(host), host.agent.metric("weft_reconcile_passes_total"))
        same, last["seen"] = last.get("seen") == now, now
        return same

    wait_for(quiet, f"{host.name} to be quiet", interval=0.3)


@pytest.fixture
def net(fabric):
    """The store alone; hosts without agents."""
    config = {"Network": "10.0.0.0/8", "SubnetLen": 24, "SubnetMin": "10.1.0.0",
              "SubnetMax": "10.1.255.0", "Backend": {"Type": "vxlan", "VNI": 12345}}
    return fabric(hosts=2, config=config, agents=False, flags=["--scan-interval=1h",
                                                               "--peer-hold=100ms"])


def test_a_thousand_leases_at_start(net):
    """Four messages each and some for the device; some 120 kB of them a send."""
    host = net.hosts[0]
    put_leases(net.etcd, range(1000))
    net.start_agent(host)
    settle(host, 1000)
    counts = kernel_counts(host)
    print(f"1,000 leases: {counts['messages']} messages in {counts['sends']} sends,"
          f" {counts['dumps']} dumps")
    assert len(host.ip_json("route", "show", "proto", "157")) == 1000
    assert 4000 <= counts["messages"] <= 4040
    assert counts["sends"] <= 40


def test_an_agent_that_starts_again_changes_nothing(net):
    host = net.hosts[0]
    put_leases(net.etcd, range(300))
    net.start_agent(host)
    settle(host, 300)
    first = kernel_counts(host)["messages"]
    assert first >= 300 * PER_PEER
    revision, leases = net.etcd.revision(), net.etcd.leases()
    writes = {m: etcd_calls(net.etcd, grpc_method=m)
              for m in ("Put", "Txn", "DeleteRange", "LeaseGrant", "LeaseRevoke")}
    host.agent.restart()
    host.agent.wait_ready()
    settle(host, 300)
    again = kernel_counts(host)
    print(f"start: {first} messages; start again: {again['messages']}")
    assert again["messages"] <= 20
    assert {m: etcd_calls(net.etcd, grpc_method=m) for m in writes} == writes
    assert (net.etcd.revision(), net.etcd.leases()) == (revision, leases)


def calls_at_start(net, host):
    before = etcd_calls(net.etcd)
    net.start_agent(host)
    wait_for(lambda: host.agent.status()["store"]["up"], "the watch")
    wait_for(lambda: host.agent.status()["addresses"]["ready"], "the records of addresses to be read")
    return etcd_calls(net.etcd) - before


def test_calls_to_etcd_at_start(net):
    """As many for ten leases as for a thousand, for a new host and for one that has its lease."""
    new, again = [], []
    for host, leases in zip(net.hosts, (10, 1000)):
        put_leases(net.etcd, range(leases))
        new.append(calls_at_start(net, host))
        settle(host, leases)
        assert host.agent.stop() == 0
        again.append(calls_at_start(net, host))
        assert host.agent.stop() == 0
        net.etcd.delete(f"{PREFIX}/subnets/10.1.", prefix=True)
    print(f"10 and 1,000 leases: {new} calls of a new host, {again} of one that starts again")
    assert new[0] == new[1] <= 8 and again[0] == again[1] <= new[0]


@pytest.fixture
def watching(net):
    """h1 with its agent, ten leases programmed."""
    put_leases(net.etcd, range(10))
    host = net.hosts[0]
    net.start_agent(host)
    settle(host, 10)
    return host


def difference(host, before):
    now = kernel_counts(host)
    return {name: now[name] - before[name] for name in before}


def test_kernel_calls_of_an_event(net, watching):
    """Four messages and one send for a lease that comes or goes; no pass, no dump afterwards."""
    passes = watching.agent.metric("weft_reconcile_passes_total")
    for what, change, peers in (
            ("comes", lambda: put_leases(net.etcd, [10]), 11),
            ("goes", lambda: net.delete_lease(lease_key(10)), 10)):
        before = kernel_counts(watching)
        change()
        settle(watching, peers)
        made = difference(watching, before)
        print(f"a lease {what}: {made}")
        assert made == {"messages": PER_PEER, "sends": 1, "failed": 0, "dumps": 0}, what
    assert watching.agent.metric("weft_reconcile_passes_total") == passes


def test_events_are_gathered(net, watching):
    """A hundred leases of one transaction make a handful of sends."""
    before = kernel_counts(watching)
    put_leases(net.etcd, range(100, 200))
    settle(watching, 110)
    made = difference(watching, before)
    print(f"a hundred leases at once: {made}")
    assert made["messages"] == 100 * PER_PEER and made["failed"] == made["dumps"] == 0
    assert made["sends"] <= 5


def test_kernel_calls_of_a_changed_address(net, watching):
    """Another MAC on the same host: what stays is not touched."""
    before = kernel_counts(watching)
    put_leases(net.etcd, [3], mac_byte=0x77)
    wait_for(lambda: "0e:77:00:00:00:03" in {n.get("lladdr") for n in watching.ip_json("neigh")},
             "the new MAC")
    settle(watching, 10)
    made = difference(watching, before)
    print(f"another MAC: {made}")
    assert made["messages"] <= 3 and made["sends"] == 1 and made["dumps"] == 0


def test_no_kernel_call_for_an_event_that_changed_nothing(net, watching):
    before, events = kernel_counts(watching), watching.agent.status()["store"]["events"]
    for _ in range(3):
        put_leases(net.etcd, range(10))
    wait_for(lambda: watching.agent.status()["store"]["events"] >= events + 30, "30 events")
    settle(watching, 10)
    assert difference(watching, before) == dict.fromkeys(before, 0)


def test_a_renewal_is_no_event(net):
    """Leases of four seconds are renewed several times; nobody else hears of it."""
    for host in net.hosts:
        net.start_agent(host, "--lease-ttl=4", wait=False)
    for host in net.hosts:
        host.agent.wait_ready()
        settle(host, 1)
    events = [h.agent.status()["store"]["events"] for h in net.hosts]
    kernel = [kernel_counts(h) for h in net.hosts]
    revision = net.etcd.revision()
    renewals = etcd_calls(net.etcd, grpc_method="LeaseKeepAlive")
    calls = etcd_calls(net.etcd)
    wait_for(lambda: etcd_calls(net.etcd, grpc_method="LeaseKeepAlive") >= renewals + 6,
             "six renewals", timeout=20, interval=0.1)
    assert etcd_calls(net.etcd) - calls <= 8    # the renewals, and one that came in between
    assert net.etcd.revision() == revision
    assert [h.agent.status()["store"]["events"] for h in net.hosts] == events
    assert [kernel_counts(h) for h in net.hosts] == kernel
    assert len(net.leases()) == 2
