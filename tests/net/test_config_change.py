# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The config in the store, the underlay and the switches of the host change under running agents.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd        the probe runs between c1 and c2
"""

import contextlib

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

DEVICE = "flannel.12345"
VXLAN = {"Type": "vxlan", "VNI": 12345}
CONFIG = {"Network": "10.1.0.0/16", "Backend": VXLAN}


def config(network="10.1.0.0/16", **backend):
    return {"Network": network, "Backend": {**VXLAN, **backend}}


def device_mtu(host):
    return host.ip_json("link", "show", "dev", DEVICE)[0]["mtu"]


def route_devices(host):
    return [r["dev"] for r in host.ip_json("route", "show", "proto", "157")]


def wait_mtu(host, mtu):
    wait_for(lambda: device_mtu(host) == mtu and host.subnet_env()["FLANNEL_MTU"] == str(mtu)
             and host.agent.status()["backend"]["devices"][0]["mtu"] == mtu,
             f"MTU {mtu} on the device, in subnet.env and in the status of {host.name}")


def network_error(host):
    return host.agent.status()["network"]["error"]


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2, config=CONFIG, flags=["--scan-interval=1h", "--peer-hold=100ms"])
    made.ping_all()
    return made


@contextlib.contextmanager
def no_loss(net):
    """Whatever is done within, the containers and the agents' leases do not notice."""
    subnets = {h.agent.status()["lease"]["subnet"] for h in net.hosts}
    pids = [h.agent.pid for h in net.hosts]
    with Probe(*net.containers) as probe:
        yield
        net.ping_all()
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert {h.agent.status()["lease"]["subnet"] for h in net.hosts} == subnets
    assert [h.agent.pid for h in net.hosts if h.agent.alive()] == pids


def test_mtu_is_taken_over(net):
    with no_loss(net):
        for mtu, inner in ((1400, 1350), (None, 1450)):
            net.put_config(config(MTU=mtu) if mtu else CONFIG)
            for host in net.hosts:
                wait_mtu(host, inner)
                assert host.agent.status()["restart_needed"] == []


def test_direct_routing_is_taken_over(net):
    """On and off again; the entries that only the other way needs go."""
    with no_loss(net):
        for direct, device in ((True, "eth0"), (False, DEVICE)):
            net.put_config(config(DirectRouting=direct))
            for host in net.hosts:
                wait_for(lambda h=host, d=device: route_devices(h) == [d],
                         f"the route of {host.name} over {device}")
                wait_for(lambda h=host, d=direct: bool([
                    f for f in h.bridge_json("fdb", "show", "dev", DEVICE) if f.get("dst")
                ]) is not d, "the FDB entry")
                assert host.agent.status()["restart_needed"] == []


def test_what_needs_a_restart_is_said(net):
    """Another VNI would cut this host off from those that have not got it yet."""
    host = net.hosts[0]
    with no_loss(net):
        net.put_config(config(VNI=777, Port=4789))
        for one in net.hosts:
            wait_for(lambda h=one: h.agent.status()["restart_needed"], "the hint")
            assert one.agent.status()["restart_needed"] == ["Backend.VNI", "Backend.Port"]
        assert "Backend.VNI" in host.weft("status", check=False).stdout
        host.agent.wait_log("restart needed for changes of: Backend.VNI, Backend.Port")
        net.put_config(CONFIG)
        wait_for(lambda: not host.agent.status()["restart_needed"], "the hint to go")
        net.put_config(config(VNI=777))
        wait_for(lambda: host.agent.status()["restart_needed"] == ["Backend.VNI"], "the hint")
    for one in net.hosts:
        one.agent.restart().wait_ready()
        assert one.agent.status()["restart_needed"] == []
        assert one.ip_json("link", "show", "dev", "flannel.777")
    net.ping_all()
    values = net.leases().values()
    assert [v["BackendData"]["VNI"] for v in values] == [777, 777]


@pytest.mark.parametrize("bad, message", [
    ("{", "config"),
    ('{"Network":"10.1.0.0/99","Backend":{"Type":"vxlan","VNI":12345}}', "Network"),
    ('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":"a"}}', "VNI"),
    ('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan","VNI":12345,"MTU":60}}', "MTU"),
    (None, "deleted from the store"),
], ids=["no JSON", "no network", "no VNI", "MTU too small", "deleted"])
def test_bad_config_is_ignored_and_told(net, bad, message):
    """The last good one stays; a correction is taken over at once."""
    with no_loss(net):
        if bad:
            net.etcd.put(f"{PREFIX}/config", bad)
        else:
            net.etcd.delete(f"{PREFIX}/config")
        for host in net.hosts:
            wait_for(lambda h=host: network_error(h), "the error in the status")
            assert message in network_error(host)
            code, text = host.agent.request("/readyz")
            assert code == 503 and message in text, (code, text)
            errors = [line for line in host.agent.log().splitlines()
                      if " ERROR " in line and message in line]
            assert len(errors) == 1, errors
            assert network_error(host) in host.weft("status", check=False).stdout
        # New peers are programmed all the same.
        net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:11:22:33:44:55")
        wait_for(lambda: len(route_devices(net.hosts[0])) == 2, "the new peer")
        net.put_config(config(MTU=1400))
        for host in net.hosts:
            host.agent.wait_ready()
            assert network_error(host) == ""
            wait_mtu(host, 1350)


def test_network_that_does_not_hold_our_subnet(net):
    """The subnets stay under running containers; the agents say that they do not fit."""
    with no_loss(net):
        env = [h.subnet_env() for h in net.hosts]
        net.put_config(config(network="10.2.0.0/16"))
        for host in net.hosts:
            wait_for(lambda h=host: h.agent.status()["lease"]["state"] == "unfit", "unfit")
            status = host.agent.status()
            assert status["restart_needed"] == ["Network"] and not status["ready"]
            assert "10.2.0.0/16" in host.weft("status", check=False).stdout
        # A change of a peer makes every lease be judged by the new network.
        net.put_lease("10.2.200.0-24", "192.168.77.99", "0e:11:22:33:44:55")
        net.delete_lease("10.2.200.0-24")
        for one in net.hosts:
            one.agent.reload()
        net.ping_all()
        assert [h.subnet_env() for h in net.hosts] == env
        net.put_config(CONFIG)
        for host in net.hosts:
            host.agent.wait_ready()


def test_underlay_mtu_is_followed(net):
    host = net.hosts[0]
    for mtu in (1400, 1500):
        host.interfaces["eth0"].set_mtu(mtu)
        wait_mtu(host, mtu - 50)
    net.ping_all()


def test_forwarding_is_switched_on_and_can_be_left_alone(fabric):
    net = fabric(hosts=2, agents=False)
    for host, flags, expected in zip(net.hosts, ([], ["--no-ip-forward"]), "10"):
        assert host.sysctl("net/ipv4/ip_forward") == "0"
        net.start_agent(host, *flags)
        assert host.sysctl("net/ipv4/ip_forward") == expected


def test_hangup_reads_everything_again(net):
    """Also what no notification told: the config of a store that was changed behind the watch."""
    host = net.hosts[0]
    with no_loss(net):
        before = host.agent.status()["store"]["requests"]
        passes = host.agent.metric("weft_reconcile_passes_total")
        host.agent.reload()
        host.agent.wait_log("reading everything again")
        wait_for(lambda: host.agent.status()["store"]["requests"] >= before + 2,
                 "config and leases to be asked for again")
        wait_for(lambda: host.agent.metric("weft_reconcile_passes_total") > passes, "a pass")
        host.agent.wait_ready()
    assert host.agent.status()["repairs"]["total"] == 0


def device_names(host):
    return [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("flannel")]


def test_config_that_changed_while_the_agents_were_away(net):
    """One start is enough, and what the old config made is gone after it."""
    for host in net.hosts:
        wait_for((host.lib_dir / "weft/state").exists, "the cached state")
        host.agent.stop()
    net.put_config(config(VNI=777))
    for host in net.hosts:
        host.agent.restart().wait_ready()
        assert host.agent.status()["restart_needed"] == []
        assert device_names(host) == ["flannel.777"]
    net.ping_all()
    assert {lease["BackendData"]["VNI"] for lease in net.leases().values()} == {777}
