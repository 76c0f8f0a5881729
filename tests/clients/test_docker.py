# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Docker on a weft network.

    h1: weftd, dockerd -- docker0 -- web --+
    h2: weftd, dockerd -- docker0 -- web --+-- net1 -- etcd, outside
    h3: weftd, dockerd -- docker0 -- web --+
"""

import pytest

from lab import Fabric, Probe, wait_for

import machine
import reach
from runtimes import Docker


def test_containers_of_three_hosts_reach_each_other(cluster):
    _, runtimes = cluster(Docker, hosts=3)
    reach.check_all([r.run("web") for r in runtimes])


def test_a_docker_that_was_there_before_weft(lab):
    """Having switched forwarding on itself, it made the FORWARD chain drop what it does not know."""
    net = Fabric(lab, hosts=2, agents=False)
    for host in net.hosts:
        machine.prepare(host)
        docker = Docker(host)
        lab.runtimes.append(docker)
        docker.start_plain_daemon()
        assert docker.stop_daemon() == 0
        assert "-P FORWARD DROP" in host.run("iptables", "-S", "FORWARD").stdout
        net.start_agent(host)
        docker.start()
    reach.check_all([docker.run("web") for docker in lab.runtimes])


def test_what_leaves_the_network_is_masqueraded(cluster, lab):
    net, runtimes = cluster(Docker, hosts=1)
    outside = lab.host("outside", net.segments[0])
    reach.check_outside(runtimes[0].run("web"), outside)


def test_a_published_port_answers_on_the_host(cluster):
    net, (one, two) = cluster(Docker)
    one.run("web", "-p", "8080:80")
    client = two.run("client")
    url = f"http://{net.hosts[0].v4}:8080/cgi-bin/caller"
    assert client.exec("wget", "-q", "-O", "-", url)


def test_agent_restarts_and_crashes_without_a_loss(cluster):
    net, runtimes = cluster(Docker)
    a, b = [r.run("web") for r in runtimes]
    reach.await_reachable(a, b)
    reach.check_agent_may_go(net.hosts[0], Probe(a, b))
    reach.check_all([a, b])


@pytest.mark.parametrize("crash", (False, True), ids=("stop", "crash"))
def test_dockerd_restarts_and_its_containers_are_back(cluster, crash):
    _, (one, two) = cluster(Docker)
    before = one.run("web", "--restart", "always")
    b = two.run("web")
    if crash:
        one.daemon.kill()
    else:
        assert one.stop_daemon() == 0
    one.start_daemon()
    a = wait_for(lambda: one.find("web"), "the container to run again", timeout=30)
    assert a.pid != before.pid
    reach.check_all([a, b])
