# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A network on the kernel of the virtual machine; the arguments are flags of the agents.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+
"""

import sys

from lab import Fabric, Lab, wait_for

WAIT = 60   # an emulated processor is slow


def peer_routes(host):
    return host.ip_json("route", "show", "proto", "157")


def main(flags):
    nexthops = "--without-feature=nexthop" not in flags
    with Lab() as lab:
        net = Fabric(lab, hosts=3, flags=flags, agents=False)
        for host in net.hosts:
            net.start_agent(host, wait=False)
        for host in net.hosts:
            host.agent.wait_ready(WAIT)
            net.add_container(host)
        net.wait_leases(3, WAIT)
        net.ping_all(WAIT)
        for host in net.hosts:
            wait_for(lambda h=host: len(peer_routes(h)) == 2, f"the routes of {host.name}", WAIT)
            assert all(("nhid" in route) is nexthops for route in peer_routes(host)), peer_routes(host)
            assert bool(host.ip_json("nexthop", "show")) is nexthops, host.name
            print(host.weft("status").stdout)   # its exit code says ready

        host = net.hosts[0]
        host.ip("link", "del", "flannel.12345")
        wait_for(lambda: len(peer_routes(host)) == 2, "the repair of the device", WAIT)
        net.ping_all(WAIT)

        bad = lab.stop_agents()
        assert not bad, f"agents that did not end with 0: {bad}"


if __name__ == "__main__":
    main(sys.argv[1:])
