# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What must hold between containers on a weft network, whatever runtime made them."""

import ipaddress
import itertools

from lab import wait_for

import image

IP_ICMP = 28            # the headers before what ping calls the size


def await_reachable(a, b):
    """Wait for the first answers: a new agent takes a moment to hear of the other's lease."""
    wait_for(lambda: a.can_reach(b.v4) and b.can_reach(a.v4), f"{a.name} and {b.name} to reach each other")


def check_own_subnet(container):
    """Its address is one of its host's lease, and its MTU the one of subnet.env."""
    env = container.host.subnet_env()
    gateway = ipaddress.ip_interface(env["FLANNEL_SUBNET"])
    assert container.address.network == gateway.network, container.name
    assert container.address.ip != gateway.ip
    assert container.mtu == int(env["FLANNEL_MTU"]), container.name


def check_pair(a, b):
    """From a to b: ping, the largest packet there is room for, a long stream, and a's address as b sees it."""
    assert ", 0% packet loss" in a.exec("ping", "-c", "3", "-i", "0.2", b.v4)
    assert a.ping(b.v4, size=a.mtu - IP_ICMP, dont_fragment=True).lost == 0
    too_long = a.ping(b.v4, count=1, size=a.mtu - IP_ICMP + 1, dont_fragment=True)
    assert too_long.received == 0 and f"mtu={a.mtu}" in too_long.output
    fetched = a.exec("sh", "-c", f"wget -q -O - http://{b.v4}/payload | sha256sum", timeout=60)
    assert fetched.split()[0] == image.PAYLOAD_SHA256
    caller = a.exec("wget", "-q", "-O", "-", f"http://{b.v4}/cgi-bin/caller")
    assert caller == a.v4, f"{b.name} sees {a.name} as {caller}: masqueraded"


def check_all(containers):
    """Everything above, of all of them, both ways."""
    for container in containers:
        check_own_subnet(container)
    for a, b in itertools.combinations(containers, 2):
        await_reachable(a, b)
    for a, b in itertools.permutations(containers, 2):
        check_pair(a, b)


def check_agent_may_go(host, probe):
    """Neither a restart nor a crash of the host's agent costs a packet of two containers."""
    with probe:
        for end in (host.agent.stop, host.agent.kill) * 3:
            end()
            host.agent.restart()
            host.agent.wait_ready()
            host.agent.wait_log("the kernel is as wanted")
    assert probe.result.lost == 0 and not probe.result.tcp_broken, str(probe.result)


def check_outside(container, outside):
    """A machine that knows nothing of the network answers: what leaves the network is masqueraded."""
    assert container.ping(outside.v4).lost == 0, f"{container.name} does not reach {outside.v4}"
