# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Agents of a controller: etcd is for the controllers alone, and one of them may go at any time.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+        |        |
                     ctl1     ctl2
"""

import json

import pytest

from lab import Probe, wait_for
from lab.agent import operator_binary
from lab.fabric import DEFAULT_CONFIG, PREFIX

PORT = 8889
FOREIGN_KEY, FOREIGN_SUBNET = "10.1.200.0-24", "10.1.200.0/24"
FAST = ["--dead-man=1s", "--request-timeout=1s", "--peer-hold=200ms"]


class Controlled:
    """A fabric whose agents know nothing of etcd."""

    def __init__(self, lab, fabric, controllers=1):
        self.net = fabric(hosts=3, agents=False, containers=False)
        self.controllers = [lab.host(f"ctl{i + 1}", self.net.segments[0]) for i in range(controllers)]
        for node in self.controllers:
            self.start_controller(node)
        self.remote = ",".join(f"{node.v4}:{PORT}" for node in self.controllers)
        for host in self.net.hosts:
            host.agent.start("-iface=eth0", f"--etcd-prefix={PREFIX}", f"--remote={self.remote}", *FAST)
        for host in self.net.hosts:
            host.agent.wait_ready()
            self.net.add_container(host)
        self.net.ping_all()

    def start_controller(self, node):
        node.agent.start(f"--listen={node.v4}:{PORT}", "--insecure", f"--etcd-prefix={PREFIX}", *FAST,
                         etcd=self.net.etcd)
        wait_for(lambda: "controller: serves" in node.agent.log().split("--- start ")[-1], "the controller")

    def watchers(self):
        return self.net.etcd.metric("etcd_debugging_mvcc_watcher_total")

    def put_foreign(self, mac="02:99:00:00:00:01"):
        self.net.put_lease(FOREIGN_KEY, "192.168.77.99", mac)

    def wait_foreign(self, present=True):
        wait_for(lambda: all(has_route(host) == present for host in self.net.hosts),
                 f"{FOREIGN_SUBNET} {'with' if present else 'without'} a route everywhere", timeout=20)


def has_route(host):
    return bool(host.ip("route", "show", FOREIGN_SUBNET, "proto", "157").strip())


def store(host):
    return host.agent.status()["store"]


@pytest.fixture
def controlled(lab, fabric):
    return Controlled(lab, fabric)


def test_etcd_sees_one_client(controlled):
    net = controlled.net
    leases = net.wait_leases(3)
    assert {value["PublicIP"] for value in leases.values()} == {h.v4 for h in net.hosts}
    assert controlled.watchers() == 1
    assert all(controlled.remote in store(h)["endpoint"] for h in net.hosts)
    controlled.put_foreign()
    controlled.wait_foreign()
    net.delete_lease(FOREIGN_KEY)
    controlled.wait_foreign(present=False)


def test_the_command_asks_a_controller(controlled):
    host = controlled.net.hosts[0]
    asked_itself = host.run(operator_binary(), "lease", "list", f"--remote={controlled.remote}").stdout
    as_the_agent = host.run(operator_binary(), "lease", "list").stdout
    assert asked_itself == as_the_agent
    assert all(h.v4 in as_the_agent for h in controlled.net.hosts), as_the_agent


def test_killed_and_started_again(controlled):
    """Changes of the time between are there afterwards, and no packet is lost."""
    net, node = controlled.net, controlled.controllers[0]
    subnets = [h.agent.status()["lease"]["subnet"] for h in net.hosts]
    with Probe(net.containers[0], net.containers[1]) as probe:
        node.agent.kill()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to notice")
        controlled.put_foreign()
        controlled.start_controller(node)
        controlled.wait_foreign()
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "all agents to be back")
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert [h.agent.status()["lease"]["subnet"] for h in net.hosts] == subnets
    net.ping_all()


def test_etcd_goes_and_comes_back(controlled):
    net = controlled.net
    with Probe(net.containers[0], net.containers[2]) as probe:
        net.etcd.kill()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to be told")
        assert all("2379" in store(h)["error"] for h in net.hosts), [store(h) for h in net.hosts]
        net.etcd.start()
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "all agents to be told again", timeout=20)
        controlled.put_foreign()
        controlled.wait_foreign()
    assert probe.result.lost == 0, str(probe.result)


def test_emptied_etcd(controlled):
    """The leases are written again, each host's own, and nothing is interrupted."""
    net = controlled.net
    before = net.wait_leases(3)
    with Probe(net.containers[0], net.containers[1]) as probe:
        net.etcd.restart(empty=True)
        net.put_config(net.config)
        wait_for(lambda: net.leases().keys() == before.keys(), "the same leases", timeout=30)
    assert probe.result.lost == 0, str(probe.result)


def test_nothing_but_weft(lab):
    """One command on the first host, one on each other: no etcd. The first host's weftd is killed under traffic."""
    segment = lab.segment("net1", v4="192.168.77.0/24")
    first, *others = hosts = [lab.host(f"h{i + 1}", segment) for i in range(3)]
    first.agent.start("-iface=eth0", f"--listen={first.v4}:{PORT}", "--agent", "--insecure", *FAST)
    remote = f"--remote={first.v4}:{PORT}"
    wait_for(lambda: "controller: serves" in first.agent.log(), "the controller")
    first.run(operator_binary(), "network", "set", remote, json.dumps(DEFAULT_CONFIG))
    for host in others:
        host.agent.start("-iface=eth0", remote, *FAST)
    containers = []
    for host in hosts:
        host.agent.wait_ready()
        containers.append(host.container(host.name.replace("h", "c")))
    wait_for(lambda: all(a.can_reach(b.addresses[0]) for a in containers for b in containers if a is not b),
             "all containers to reach each other")
    leases = others[0].run(operator_binary(), "lease", "list", "--json").stdout
    assert all(host.v4 in leases for host in hosts), leases
    database = first.lib_dir / "weft/weft.db"
    assert database.stat().st_mode & 0o777 == 0o600
    with Probe(containers[0], containers[1]) as probe:
        first.agent.kill()
        wait_for(lambda: not any(store(h)["up"] for h in others), "the others to notice")
        first.agent.restart()
        first.agent.wait_ready()
        wait_for(lambda: all(store(h)["up"] for h in hosts), "all to be back", timeout=20)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert others[0].run(operator_binary(), "lease", "list", "--json").stdout == leases


def test_second_controller_takes_over(lab, fabric):
    """And the agents go on where they were: none reads everything again."""
    controlled = Controlled(lab, fabric, controllers=2)
    first, second = controlled.controllers
    net = controlled.net
    assert all(first.v4 in store(h)["endpoint"] for h in net.hosts)
    with Probe(net.containers[0], net.containers[1]) as probe:
        first.agent.kill()
        controlled.put_foreign()
        controlled.wait_foreign()
        wait_for(lambda: all(second.v4 in store(h)["endpoint"] for h in net.hosts),
                 "all agents at the second one")
    assert probe.result.lost == 0, str(probe.result)
    assert all("read everything again" not in h.agent.log() for h in net.hosts)
    assert controlled.watchers() == 1
