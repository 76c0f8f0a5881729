# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Junk beside good leases: told of one by one, and the good ones carry on without a lost packet.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd, with junk in it
"""

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

MAC = "0e:00:00:00:00:99"


_number = iter(range(100, 200))


def value(**members):
    """A good value but for members, of a host of its own."""
    return {"PublicIP": f"192.168.77.{next(_number)}", "PublicIPv6": None, "BackendType": "vxlan",
            "BackendData": {"VNI": 12345, "VtepMAC": MAC}, **members}


# key below subnets/, value, what the reason says
JUNK = {
    "a bad key": ("hello", value(), ""),
    "a key with host bits": ("10.1.200.77-24", value(), ""),
    "a length of 33": ("10.1.200.0-33", value(), ""),
    "not JSON": ("10.1.201.0-24", '{"PublicIP":"192.168.77.99",', ""),
    "not an object": ("10.1.202.0-24", "[1,2,3]", ""),
    "an empty value": ("10.1.203.0-24", " ", ""),
    "null PublicIP": ("10.1.204.0-24", value(PublicIP=None), "PublicIP"),
    "a number as PublicIP": ("10.1.205.0-24", value(PublicIP=17), "PublicIP"),
    "a multicast PublicIP": ("10.1.206.0-24", value(PublicIP="224.0.0.1"), "224.0.0.1"),
    "a loopback PublicIP": ("10.1.207.0-24", value(PublicIP="127.0.0.1"), "127.0.0.1"),
    "a subnet outside Network": ("10.2.5.0-24", value(), "10.1.0.0/16"),
    "the whole of IPv4": ("0.0.0.0-0", value(), ""),
    "the whole network": ("10.1.0.0-16", value(), "10.1.0.0/16"),
    "IPv6 on an IPv4 network": ("10.1.208.0-24&fc00:1:0:c8::-64",
                                value(PublicIPv6="fd77::99", BackendV6Data={"VNI": 12345,
                                                                            "VtepMAC": MAC}),
                                "IPv6"),
    "no VTEP MAC": ("10.1.209.0-24", value(BackendData={"VNI": 1}), "VtepMAC"),
    "a multicast MAC": ("10.1.210.0-24", value(BackendData={"VNI": 1,
                                                            "VtepMAC": "ff:ff:ff:ff:ff:ff"}),
                        "VtepMAC"),
    "a value of 1 MB": ("10.1.211.0-24", value(Padding="x" * 1_000_000), "larger than"),
    "a deep value": ("10.1.212.0-24", "[" * 20_000 + "]" * 20_000, "JSON"),
}


def kernel_state(host):
    """All that the agent programs, without what counts or ages."""
    return [sorted(host.ip(*what).splitlines()) for what in
            (("route", "show", "proto", "157"), ("neigh", "show", "nud", "permanent"),
             ("nexthop", "show"))] + \
        [sorted(str(e) for e in host.bridge_json("fdb", "show", "dev", "flannel.12345"))]


def put_junk(net, names=tuple(JUNK)):
    for name in names:
        key, junk, _ = JUNK[name]
        net.etcd.put(f"{PREFIX}/subnets/{key}", junk)


def trouble_of(host):
    """{key or subnet: (state, error)} of all peers that are not good."""
    return {(p.get("key") or p["subnet"].replace("/", "-")): (p["state"], p["error"])
            for p in host.agent.peers()["peers"] if p["state"] != "ok"}


def check_all_listed(host):
    wait_for(lambda: len(trouble_of(host)) >= len(JUNK), f"{host.name} to list all junk")
    trouble = trouble_of(host)
    status = host.weft("status", "--peers", check=False).stdout
    for name, (key, _, reason) in JUNK.items():
        assert key in trouble, (name, trouble)
        state, error = trouble[key]
        assert state in ("rejected", "failed") and error, (name, state, error)
        assert reason in error, (name, error)
        assert error[:40] in status, (name, error, status)
        assert key in status or key.replace("-", "/") in status or "&" in key, (name, status)
    counts = host.agent.status()["peers"]
    assert counts["rejected"] + counts["failed"] == len(JUNK), counts
    # Junk of others does not make this host unfit for work.
    assert host.agent.ready()


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2)
    made.ping_all()
    wait_for(lambda: all(len(h.ip_json("route", "show", "proto", "157")) == 1
                         for h in made.hosts), "both routes")
    return made


def test_junk_that_comes_while_watching(net):
    before = [kernel_state(h) for h in net.hosts]
    with Probe(*net.containers) as probe:
        put_junk(net)
        for host in net.hosts:
            check_all_listed(host)
        assert [kernel_state(h) for h in net.hosts] == before
        for key, _, _ in JUNK.values():
            net.delete_lease(key)
        for host in net.hosts:
            wait_for(lambda h=host: not trouble_of(h), "the junk to be forgotten")
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert [kernel_state(h) for h in net.hosts] == before


def test_junk_that_was_there_before(net):
    """The same from a snapshot: the agent starts, and it joins a network that is full of junk."""
    before = kernel_state(net.hosts[0])
    put_junk(net)
    with Probe(*net.containers) as probe:
        net.hosts[0].agent.restart().wait_ready()
        check_all_listed(net.hosts[0])
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert kernel_state(net.hosts[0]) == before


def test_new_host_among_junk(fabric):
    """Junk takes no room that it does not name, and a good lease among it is programmed."""
    net = fabric(hosts=2, agents=False)
    put_junk(net)
    for host in net.hosts:
        net.start_agent(host)
    for host in net.hosts:
        net.add_container(host)
    net.ping_all()
    for host in net.hosts:
        check_all_listed(host)


def test_good_lease_becomes_junk_and_good_again(net):
    """A peer whose value is spoilt loses its entries, and only that peer does."""
    host = net.hosts[0]
    net.put_lease("10.1.200.0-24", "192.168.77.99", MAC)
    wait_for(lambda: host.ip_json("route", "show", "10.1.200.0/24"), "the third host's route")
    with Probe(*net.containers) as probe:
        net.etcd.put(f"{PREFIX}/subnets/10.1.200.0-24", "spoilt")
        wait_for(lambda: "10.1.200.0-24" in trouble_of(host), "the spoilt value to be listed")
        net.put_lease("10.1.200.0-24", "192.168.77.99", MAC)
        wait_for(lambda: not trouble_of(host) and host.ip_json("route", "show", "10.1.200.0/24"),
                 "the third host to be good again")
    assert probe.result.lost == 0, probe.result


def test_our_own_subnet_claimed_by_another(net):
    """By part of it and by more than it; the key itself is in test_lease_loss.py."""
    host = net.hosts[0]
    own = host.agent.status()["lease"]["subnet"].split("/")[0]
    before = kernel_state(host)
    keys = [f"{own}-25", "10.1.0.0-17", "10.1.128.0-17"]
    with Probe(*net.containers) as probe:
        for i, key in enumerate(keys):
            net.put_lease(key, f"192.168.77.{90 + i}", f"0e:00:00:00:00:{90 + i}")
        wait_for(lambda: f"{own}-25" in trouble_of(host), "the claim to be listed")
        assert "our own" in trouble_of(host)[f"{own}-25"][1]
        assert own in host.weft("status").stdout
        wait_for(lambda: len(trouble_of(host)) == 3, "the larger claims to be listed")
        assert kernel_state(host) == before
    assert probe.result.lost == 0, probe.result
    assert host.agent.status()["lease"]["state"] == "held" and host.agent.ready()
