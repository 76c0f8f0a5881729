# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Container runtimes on a weft network with weft's own CNI plugins and the reference's portmap behind them.

    h1: weftd, podman / ctr / CRI -- cni0 -- web --+
    h2: weftd, podman / ctr / CRI -- cni0 -- web --+-- net1 -- etcd, outside
"""

import pytest

from lab import LabError, Probe, wait_for

import reach
import remains
from own_plugins import CriPlugins, CtrPlugins, PodmanPlugins

FLAGS = ("-ip-masq", "-ip-quarantine=1s")
RUNTIMES = pytest.mark.parametrize("runtime", (PodmanPlugins, CtrPlugins, CriPlugins), ids=("podman", "ctr", "cri"))
PUBLISHING = pytest.mark.parametrize("runtime", (PodmanPlugins, CriPlugins), ids=("podman", "cri"))


@pytest.fixture
def nodes(cluster):
    """A function: (Fabric, [Runtime]), nothing attached yet; own_links of each runtime are those of its host then."""
    def make(runtime, hosts=2):
        net, runtimes = cluster(runtime, hosts=hosts, flags=FLAGS)
        for each in runtimes:
            each.own_links = remains.links(each.host)
        return net, runtimes
    return make


def await_nothing(*runtimes):
    for each in runtimes:
        remains.await_nothing(each.host, each.own_links)


@RUNTIMES
def test_containers_of_two_hosts_reach_each_other_and_are_records(nodes, runtime):
    net, runtimes = nodes(runtime)
    containers = [r.run("web") for r in runtimes]
    reach.check_all(containers)
    for asked in net.hosts:
        for each, container in zip(runtimes, containers):
            remains.check_record(each, container, asked)


@RUNTIMES
def test_restart_and_removal_leave_nothing(nodes, runtime):
    net, runtimes = nodes(runtime)
    one, two = runtimes
    before, other = one.run("web"), two.run("web")
    container = one.restart("web")
    assert container.pid != before.pid
    reach.check_all([container, other])
    remains.check_record(one, container, net.hosts[1])
    wait_for(lambda: [r["ip"] for r in remains.listed(net.hosts[1]).values() if r["host"] == one.host.v4]
             == [container.v4], "the record of before the restart to go")
    for each in runtimes:
        each.remove("web")
    await_nothing(*runtimes)


@PUBLISHING
def test_a_published_port_answers_until_its_container_goes(nodes, runtime):
    net, runtimes = nodes(runtime)
    one, two = runtimes
    one.run("web", port=8080)
    client = two.run("client")
    words = ("timeout", "5", "wget", "-q", "-O", "-", f"http://{net.hosts[0].v4}:8080/cgi-bin/caller")
    assert client.exec(*words)
    one.remove("web")
    with pytest.raises(LabError):
        client.exec(*words)
    two.remove("client")
    await_nothing(*runtimes)


@RUNTIMES
def test_what_leaves_the_network_is_masqueraded(nodes, lab, runtime):
    net, runtimes = nodes(runtime, hosts=1)
    outside = lab.host("outside", net.segments[0])
    reach.check_outside(runtimes[0].run("web"), outside)


@RUNTIMES
def test_agent_restarts_and_crashes_without_a_loss(nodes, runtime):
    net, runtimes = nodes(runtime)
    a, b = [r.run("web") for r in runtimes]
    reach.await_reachable(a, b)
    reach.check_agent_may_go(net.hosts[0], Probe(a, b))
    reach.check_all([a, b])
    remains.check_record(runtimes[0], a, net.hosts[1])


@RUNTIMES
def test_removed_while_the_agent_is_down(nodes, runtime):
    net, runtimes = nodes(runtime)
    one, host, other = runtimes[0], net.hosts[0], net.hosts[1]
    stays, goes = one.run("stays"), one.run("goes")
    remains.check_record(one, goes, other)
    host.agent.kill()
    one.remove("goes")
    assert list((host.run_dir / "weft/ipam-del.d").iterdir()), "the release was not kept for the agent"
    assert goes.v4 in remains.listed(other)
    host.agent.restart()
    host.agent.wait_ready()
    wait_for(lambda: goes.v4 not in remains.listed(other), f"the record of {goes.v4} to go")
    remains.check_record(one, stays, other)
    one.remove("stays")
    await_nothing(one)


@RUNTIMES
def test_no_container_starts_while_the_agent_is_down(nodes, runtime):
    net, (one,) = nodes(runtime, hosts=1)
    host = net.hosts[0]
    host.agent.stop()
    with pytest.raises(LabError, match="weft.sock"):
        one.run("early")
    host.agent.restart()
    host.agent.wait_ready()
    one.remove("early")
    await_nothing(one)
    one.run("late")


def test_containerd_crashes_and_its_pods_are_removed_afterwards(nodes):
    _, runtimes = nodes(CriPlugins)
    a, b = [r.run("web") for r in runtimes]
    reach.await_reachable(a, b)
    with Probe(a, b) as probe:
        runtimes[0].crash()
    assert probe.result.lost == 0 and not probe.result.tcp_broken, str(probe.result)
    for each in runtimes:
        each.remove("web")
    await_nothing(*runtimes)
