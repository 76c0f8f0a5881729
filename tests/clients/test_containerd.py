# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""containerd on a weft network, its containers started by ctr with the reference CNI plugins.

    h1: weftd, containerd -- cni0 -- web --+
    h2: weftd, containerd -- cni0 -- web --+-- net1 -- etcd, outside
"""

from lab import Probe

import reach
from runtimes import Containerd


def test_containers_of_two_hosts_reach_each_other(cluster):
    _, runtimes = cluster(Containerd)
    reach.check_all([r.run("web") for r in runtimes])


def test_what_leaves_the_network_is_masqueraded(cluster, lab):
    net, runtimes = cluster(Containerd, hosts=1)
    outside = lab.host("outside", net.segments[0])
    reach.check_outside(runtimes[0].run("web"), outside)


def test_agent_restarts_and_crashes_without_a_loss(cluster):
    net, runtimes = cluster(Containerd)
    a, b = [r.run("web") for r in runtimes]
    reach.await_reachable(a, b)
    reach.check_agent_may_go(net.hosts[0], Probe(a, b))
    reach.check_all([a, b])
