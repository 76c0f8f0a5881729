# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A host loses its lease, or another one claims it: containers keep their addresses and traffic.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
        (h3 --+)
"""

import contextlib

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

FOREIGN = ("192.168.77.99", "0e:00:00:00:00:99")


def own_key(host):
    return host.agent.status()["lease"]["subnet"].replace("/", "-")


def pair(net, key):
    return net.etcd.get(f"{PREFIX}/subnets/{key}")


def public_ip_at(net, key):
    found = pair(net, key)
    return found.json()["PublicIP"] if found else None


def lease_state(host):
    return host.agent.status()["lease"]["state"]


@contextlib.contextmanager
def unharmed(net, hosts=2):
    """No packet is lost meanwhile, and every host ends with the subnet it began with."""
    before = [h.agent.status()["lease"]["subnet"] for h in net.hosts[:hosts]]
    with Probe(*net.containers[:2]) as probe:
        yield
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert [h.agent.status()["lease"]["subnet"] for h in net.hosts[:hosts]] == before


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2)
    made.ping_all()
    return made


@pytest.mark.parametrize("how", ["deleted", "revoked"])
def test_lease_goes_under_a_running_agent(net, how):
    host = net.hosts[0]
    key = own_key(host)
    before = pair(net, key)
    with unharmed(net):
        if how == "deleted":
            net.delete_lease(key)
        else:
            net.etcd.revoke(before.lease)
        now = wait_for(lambda: pair(net, key), "the lease to be back")
        host.agent.wait_ready()
    assert now.value == before.value
    assert now.lease in net.etcd.leases()
    wait_for(lambda: len(net.etcd.leases()) == 2, "no etcd lease to be left behind")
    wait_for(lambda: f"lease {key.replace('-', '/')} is held" in
             host.agent.log().partition("deleted from the store")[2], "the log to tell both")
    assert net.hosts[1].agent.status()["peers"]["held"] == 0


def test_all_leases_deleted_at_once(net):
    before = {k: v.value for k, v in ((p.key, p) for p in net.etcd.range(f"{PREFIX}/subnets/"))}
    with unharmed(net):
        assert net.etcd.delete(f"{PREFIX}/subnets/", prefix=True) == 2
        wait_for(lambda: {p.key: p.value for p in net.etcd.range(f"{PREFIX}/subnets/")} == before,
                 "all leases to be back")
        for host in net.hosts:
            host.agent.wait_ready()


def test_lease_overwritten_by_another(net):
    """The other one is named, nothing is written over it, and traffic goes on."""
    host, peer = net.hosts
    key = own_key(host)
    value = pair(net, key).value
    with unharmed(net):
        net.put_lease(key, *FOREIGN)
        wait_for(lambda: lease_state(host) == "foreign", "h1 to see it")
        wait_for(lambda: any(p["state"] == "rejected" and FOREIGN[0] in str(p)
                             for p in peer.agent.peers()["peers"]), "h2 to name it")
        code, reasons = host.agent.request("/readyz")
        assert code == 503 and key.replace("-", "/") in reasons
        assert FOREIGN[0] in reasons and FOREIGN[1] in reasons, reasons
        shown = host.weft("status", check=False)
        assert shown.returncode == 1 and FOREIGN[0] in shown.stdout
        # It tries again and again, and never writes.
        wait_for(lambda: host.agent.status()["store"]["up"], "the store")
        assert public_ip_at(net, key) == FOREIGN[0]
        net.delete_lease(key)
        wait_for(lambda: pair(net, key) and pair(net, key).value == value, "the lease to be back")
        host.agent.wait_ready()


def test_junk_at_our_own_key(net):
    host = net.hosts[0]
    key = own_key(host)
    with unharmed(net):
        net.etcd.put(f"{PREFIX}/subnets/{key}", "spoilt")
        wait_for(lambda: lease_state(host) == "foreign", "h1 to see it")
        assert "delete the key" in host.agent.status()["lease"]["error"]
        assert pair(net, key).value == "spoilt"
        net.delete_lease(key)
        host.agent.wait_ready()
    assert public_ip_at(net, key) == host.v4


def test_reservation(fabric):
    """A key without an etcd lease is a reservation: used, written without one, kept for ever."""
    net = fabric(hosts=1, agents=False, containers=False)
    (host,) = net.hosts
    net.etcd.put(f"{PREFIX}/subnets/10.1.42.0-24", {"PublicIP": host.v4, "Note": "rack 7"})
    net.start_agent(host)
    assert own_key(host) == "10.1.42.0-24"
    found = pair(net, "10.1.42.0-24")
    assert found.lease == 0 and net.etcd.leases() == []
    assert found.json()["BackendType"] == "vxlan" and found.json()["Note"] == "rack 7"
    assert host.agent.status()["lease"]["reservation"]
    host.agent.restart().wait_ready()
    assert pair(net, "10.1.42.0-24") == found


def test_two_hosts_with_one_public_ip(fabric):
    """The first one keeps its traffic; the second one stays up, takes nothing and names it."""
    net = fabric(hosts=3, agents=False)
    h1, h2, second = net.hosts
    for host in (h1, h2):
        net.start_agent(host)
        net.add_container(host)
    net.ping_all()
    key = own_key(h1)
    with unharmed(net):
        net.start_agent(second, f"-public-ip={h1.v4}", wait=False)
        wait_for(lambda: lease_state(second) == "foreign", "the second one to see the first")
        code, reasons = second.agent.request("/readyz")
        assert code == 503 and h1.v4 in reasons and key.replace("-", "/") in reasons, reasons
        assert len(net.leases()) == len(net.etcd.leases()) == 2
    assert second.agent.alive()
    # The first one leaves for good, and the second one takes over.
    assert h1.agent.stop() == 0
    net.delete_lease(key)
    second.agent.wait_ready()


def test_stored_lease_with_the_address_of_another(net):
    """As two hosts with one address write them: the one in use stays, the other one is listed."""
    h1, h2 = net.hosts
    with unharmed(net):
        net.put_lease("10.1.200.0-24", h1.v4, FOREIGN[1])
        for host, reason in ((h1, "our own"), (h2, own_key(h1).replace("-", "/"))):
            def listed(host=host, reason=reason):
                return [p for p in host.agent.peers()["peers"]
                        if p["state"] == "rejected" and reason in p["error"]]
            wait_for(listed, f"{host.name} to list it")
        assert not h2.ip_json("route", "show", "10.1.200.0/24")


def test_expiry(fabric):
    """An agent that was stopped for longer than its lease lives gets the same subnet again."""
    net = fabric(hosts=2, flags=["--lease-ttl=2", "--peer-hold=60s"])
    net.ping_all()
    host = net.hosts[0]
    key = own_key(host)
    before = pair(net, key)
    with unharmed(net):
        host.agent.pause()
        wait_for(lambda: pair(net, key) is None, "the lease to expire", timeout=20)
        wait_for(lambda: net.hosts[1].agent.status()["peers"]["held"] == 1, "h2 to hold its peer")
        host.agent.resume()
        wait_for(lambda: pair(net, key), "the lease to be back")
        host.agent.wait_ready()
        wait_for(lambda: net.hosts[1].agent.status()["peers"]["held"] == 0, "h2 to hold it no more")
    now = pair(net, key)
    assert now.value == before.value and now.lease != before.lease
    wait_for(lambda: len(net.etcd.leases()) == 2, "no etcd lease to be left behind")


def test_lease_lives_on_by_renewal(fabric):
    """Longer than its TTL, and no other host hears of it."""
    net = fabric(hosts=2, containers=False, flags=["--lease-ttl=2"])
    before = {p.key: p for p in net.etcd.range(f"{PREFIX}/subnets/")}
    renewals = net.etcd.metric("etcd_debugging_lease_renewed_total")
    wait_for(lambda: net.etcd.metric("etcd_debugging_lease_renewed_total") >= renewals + 8,
             "some renewals", timeout=20)
    assert {p.key: p for p in net.etcd.range(f"{PREFIX}/subnets/")} == before
    for host in net.hosts:
        assert lease_state(host) == "held"
        assert host.agent.status()["store"]["events"] <= 3


def test_public_ip_changes_while_running(net):
    """The subnet stays, the value follows, and so do the peers."""
    host, peer = net.hosts
    key, new_ip = own_key(host), "192.168.77.211"
    before = pair(net, key)
    host.ip_batch(f"addr add {new_ip}/24 dev eth0", f"addr del {host.v4}/24 dev eth0",
                  f"addr replace {new_ip}/24 dev eth0")
    wait_for(lambda: public_ip_at(net, key) == new_ip, "the lease to have the new address")
    now = pair(net, key)
    assert now.lease == before.lease and now.json()["BackendData"] == before.json()["BackendData"]
    assert len(net.leases()) == len(net.etcd.leases()) == 2
    wait_for(lambda: [f["dst"] for f in peer.bridge_json("fdb", "show", "dev", "flannel.12345")]
             == [new_ip], "the peer to follow")
    device = wait_for(lambda: next(iter(host.ip_json("link", "show", "flannel.12345")), None),
                      "the device")
    wait_for(lambda: host.ip_json("link", "show", "flannel.12345")[0]["linkinfo"]["info_data"]
             ["local"] == new_ip, "the device to send from the new address")
    assert host.ip_json("link", "show", "flannel.12345")[0]["address"] == device["address"]
    net.ping_all()
    assert own_key(host) == key
    host.agent.wait_ready()
