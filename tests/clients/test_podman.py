# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""podman on a weft network, with each of its two makers of networks.

    h1: weftd, podman -- podman1 -- web --+
    h2: weftd, podman -- podman1 -- web --+-- net1 -- etcd, outside
"""

import pytest

from lab import Probe

import reach
from runtimes import Podman

BACKENDS = pytest.mark.parametrize("backend", ("netavark", "cni"))


@BACKENDS
def test_containers_of_two_hosts_reach_each_other(cluster, backend):
    _, runtimes = cluster(Podman, backend=backend)
    reach.check_all([r.run("web") for r in runtimes])


@BACKENDS
def test_what_leaves_the_network_is_masqueraded(cluster, lab, backend):
    net, runtimes = cluster(Podman, hosts=1, backend=backend)
    outside = lab.host("outside", net.segments[0])
    reach.check_outside(runtimes[0].run("web"), outside)


@BACKENDS
def test_agent_restarts_and_crashes_without_a_loss(cluster, backend):
    net, runtimes = cluster(Podman, backend=backend)
    a, b = [r.run("web") for r in runtimes]
    reach.await_reachable(a, b)
    reach.check_agent_may_go(net.hosts[0], Probe(a, b))
    reach.check_all([a, b])
