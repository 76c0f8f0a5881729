# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Twenty hosts that start at one moment on a network with room for exactly twenty.

    h1 ... h20 ----- net1 192.168.77.0/24 ----- etcd
"""

import ipaddress

from lab import wait_for

AGENTS = 20
CONFIG = {"Network": "10.1.0.0/16", "SubnetLen": 24, "SubnetMin": "10.1.10.0",
          "SubnetMax": f"10.1.{10 + AGENTS - 1}.0", "Backend": {"Type": "vxlan", "VNI": 12345}}
ALL_SUBNETS = {f"10.1.{10 + i}.0-24" for i in range(AGENTS)}


def test_twenty_subnets_for_twenty_hosts(fabric):
    net = fabric(hosts=AGENTS, config=CONFIG, agents=False)
    for host in net.hosts:
        net.start_agent(host, wait=False)
    for host in net.hosts:
        host.agent.wait_ready(timeout=60)
    leases = net.leases()
    assert set(leases) == ALL_SUBNETS
    assert {v["PublicIP"] for v in leases.values()} == {h.v4 for h in net.hosts}
    assert len(net.etcd.leases()) == AGENTS     # nobody left one behind that it did not get to use
    for host in net.hosts:
        assert host.agent.alive()
        subnet = ipaddress.ip_interface(host.subnet_env()["FLANNEL_SUBNET"]).network
        assert leases[str(subnet).replace("/", "-")]["PublicIP"] == host.v4
    wait_for(lambda: all(h.agent.status()["peers"]["programmed"] == AGENTS - 1
                         for h in net.hosts), "everybody to know everybody", timeout=30)

    # One more: it stays up without a subnet, says why, and gets the first one that becomes free.
    late = net.lab.host("h21", net.segments[0])
    net.hosts.append(late)
    net.start_agent(late, wait=False)
    wait_for(lambda: "no subnet is free" in late.agent.status()["lease"]["error"],
             "the message of the one without a subnet")
    error = late.agent.status()["lease"]["error"]
    assert "10.1.0.0/16" in error and str(AGENTS) in error and "SubnetLen" in error, error
    assert late.agent.alive() and not late.agent.ready()
    assert len(net.etcd.leases()) == AGENTS
    gone = net.hosts[0]
    subnet = gone.agent.status()["lease"]["subnet"]
    assert gone.agent.stop() == 0
    net.delete_lease(subnet.replace("/", "-"))
    late.agent.wait_ready()
    assert late.agent.status()["lease"]["subnet"] == subnet
    assert set(net.leases()) == ALL_SUBNETS
