# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Docker on a weft network.

    h1: weftd, dockerd -- docker0 -- web --+
    h2: weftd, dockerd -- docker0 -- web --+-- net1 -- etcd, outside
    h3: weftd, dockerd -- docker0 -- web --+
"""

from lab import Probe, wait_for

import reach
from runtimes import Docker


def test_containers_of_three_hosts_reach_each_other(cluster):
    _, runtimes = cluster(Docker, hosts=3)
    reach.check_all([r.run("web") for r in runtimes])


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


def test_dockerd_restarts_and_its_containers_are_back(cluster):
    _, (one, two) = cluster(Docker)
    one.run("web", "--restart", "always")
    b = two.run("web")
    assert one.stop_daemon() == 0
    one.start_daemon()
    a = wait_for(lambda: one.find("web"), "the container to run again", timeout=30)
    reach.check_all([a, b])
