# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The underlay interface goes and comes back, or another one takes its place, under a running agent.

    c1 - h1 --+  (and a second cable from h1 to net1 where the agent moves to it)
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd

The probe runs between c1 and c2 all the time. What is lost while there is no interface is printed.
"""

import contextlib
import ipaddress

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

DEVICE = "flannel.12345"


def device(host):
    found = host.ip_json("link", "show", "type", "vxlan")
    return found[0] if found else None


def underlay_of(host):
    """(interface, source address) that the device has in the kernel."""
    link = device(host)
    return link and (link["linkinfo"]["info_data"].get("link"), link["linkinfo"]["info_data"]["local"])


def ifindex(host, name):
    return host.ip_json("link", "show", name)[0]["ifindex"]


def pair_of(net, subnet):
    return net.etcd.get(f"{PREFIX}/subnets/{subnet.replace('/', '-')}")


@contextlib.contextmanager
def moved(net, what, address=None):
    """Whatever is done within: subnet, MAC and etcd lease of h1 stay, its peers follow, traffic goes on."""
    host, peer = net.hosts
    subnet, mac, pid = host.agent.status()["lease"]["subnet"], device(host)["address"], host.agent.pid
    before = pair_of(net, subnet)
    with Probe(*net.containers) as probe:
        yield
        expected = {**before.json(), "PublicIP": address or host.v4}
        wait_for(lambda: pair_of(net, subnet).json() == expected, "the lease to tell the address")
        host.agent.wait_ready(30)
        wait_for(lambda: device(host) and device(host)["address"] == mac, "the device with its MAC")
        wait_for(lambda: [f["dst"] for f in peer.bridge_json("fdb", "show", "dev", DEVICE)]
                 == [expected["PublicIP"]], "the peer to follow")
        net.ping_all(30)
    print(f"{what}: {probe.result}")
    assert probe.result.tcp_broken is None, probe.result
    after = pair_of(net, subnet)
    assert after.lease == before.lease and len(net.leases()) == len(net.etcd.leases()) == 2
    assert after.value == before.value or address
    assert host.agent.pid == pid and host.agent.alive()
    assert host.agent.status()["lease"]["subnet"] == subnet == str(
        ipaddress.ip_interface(host.subnet_env()["FLANNEL_SUBNET"]).network)


@pytest.mark.parametrize("gap", [False, True], ids=["at once", "after a while"])
@pytest.mark.parametrize("new_address", [None, "192.168.77.211"], ids=["same address", "other address"])
def test_deleted_and_made_anew(fabric, gap, new_address):
    net = fabric(hosts=2)
    host = net.hosts[0]
    cable, old = host.interfaces["eth0"], ifindex(host, "eth0")
    with moved(net, "eth0 made anew", new_address):
        host.ip("link", "del", "eth0")
        if gap:
            wait_for(lambda: 'no interface "eth0"' in host.agent.request("/readyz")[1], "the agent to say so")
            assert 'no interface "eth0"' in host.weft("status", check=False).stdout
        if new_address:
            cable.v4 = ipaddress.ip_interface(f"{new_address}/24")
        cable.plug()
        assert ifindex(host, "eth0") != old
        wait_for(lambda: underlay_of(host) == ("eth0", host.v4), "the device on the new interface")


def start_by_regex(net, pattern):
    """Agents on both hosts; h1 has a second cable to the segment, and chooses by the pattern."""
    host, peer = net.hosts
    host.attach(net.segments[0], v4=None if "11" in pattern else "192.168.77.111")
    host.agent.start(f"--iface-regex={pattern}", etcd=net.etcd)
    host.agent.wait_ready()
    net.start_agent(peer)
    for one in net.hosts:
        net.add_container(one)
    net.ping_all()
    assert underlay_of(host) == ("eth0", host.v4)


def test_regex_that_moves_to_another_interface(fabric):
    """The first match goes, and the next one has another address."""
    net = fabric(hosts=2, agents=False)
    start_by_regex(net, "^eth")
    host = net.hosts[0]
    with moved(net, "moved to eth1", "192.168.77.111"):
        host.ip("link", "del", "eth0")
        wait_for(lambda: underlay_of(host) == ("eth1", "192.168.77.111"), "the device on the other interface")
        assert host.agent.status()["interface"]["name"] == "eth1"


def test_regex_whose_address_moves_to_another_interface(fabric):
    """One of addresses: it is followed, and for the others nothing has changed."""
    net = fabric(hosts=2, agents=False)
    start_by_regex(net, r"^192\.168\.77\.11$")
    host = net.hosts[0]
    with moved(net, "address moved to eth1"):
        host.ip_batch(f"addr del {host.v4}/24 dev eth0", f"addr add {host.v4}/24 dev eth1")
        wait_for(lambda: underlay_of(host) == ("eth1", host.v4), "the device on the other interface")
        assert host.agent.status()["interface"]["name"] == "eth1"
