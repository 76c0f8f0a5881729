# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A laboratory: hosts, containers, etcd and agents as network namespaces of one machine.

The demo, the tests and the benchmarks all stand on this package. It needs root, iproute2, Debian's
etcd and nothing else outside the standard library. Nothing it makes can reach the outside: every
interface lives in a namespace of the laboratory, and all of it goes away with Lab.close(), at exit,
or, after a crash, when the next Lab is made (or with `python3 -m lab clean`).

The short way, a running network (see fabric.py):

    with Lab() as lab:
        net = Fabric(lab, hosts=3)          # etcd, three hosts, config in etcd, agents, containers
        net.ping_all()                      # raises LabError with the pairs that cannot talk
        h1, h2, h3 = net.hosts
        c1 = net.containers[0]              # on h1
        h1.agent.status()                   # GET /agent/v1/status on the agent's socket
        net.etcd.range("/coreos.com/network/subnets/")

The long way, piece by piece:

    lab = Lab()                             # unique name, owned by this process
    seg = lab.segment("net1", v4="192.168.77.0/24", v6="fd77::/64", mtu=1500)
    seg2 = lab.segment("net2", v4="192.168.78.0/24")
    lab.router("r1", seg, seg2)             # last address of each; hosts get a default route
    h1 = lab.host("h1", seg)                # eth0 with the next free address (.11, .12, ...)
    h2 = lab.host("h2", seg, v4="192.168.77.42", v6=None)
    h1.attach(seg2)                         # a second interface, eth1

    h1.run("ip", "route")                   # inside all of h1's namespaces; CompletedProcess (text)
    h1.spawn("sleep", "9")                  # a Process: pid, alive(), wait(), terminate(), kill()
    h1.ip("route", "show")                  # `ip -n NETNS ...`, its output as text
    h1.ip_json("route", "show")             # the same with -j -d, parsed
    h1.bridge_json("fdb", "show")
    h1.sysctl("net/ipv4/ip_forward")        # read; with a second argument, write
    h1.run_dir, h1.lib_dir                  # what h1 sees as /run and /var/lib, as Paths
    h1.reboot()                             # fresh /run and kernel state, /var/lib kept
    h1.interfaces["eth0"]                   # an Interface: v4, v6 (ipaddress objects), segment
        .cut(), .cut(silent=True), .restore(), .rate("100mbit"), .rate(None), .set_mtu(1400)

    c = h1.container("c1")                  # on bridge cni0, address from h1's subnet.env
    c = h1.container("c2", network="a")     # on bridge cni-a, address from h1's networks/a.env
    c.v4, c.v6                              # .2, .3, ... of the subnet; str or None
    c.ping(other.v4, count=3, size=1422, dont_fragment=True)   # Ping: sent, received, lost, output
    c.can_reach(other.v4)                   # bool, one ping

    etcd = lab.etcd(seg, members=1)         # 1 or 3, each a node of its own; tls=True
    etcd.endpoints                          # "http://192.168.77.2:2379[,...]"
    etcd.put(k, v), etcd.get(k), etcd.delete(k), etcd.range(prefix), etcd.compact(), etcd.ctl(...)
    etcd.leases()                           # ids of all live etcd leases
    etcd.metric("grpc_server_handled_total", grpc_method="Range")
    etcd.enable_auth("root", "secret"), etcd.agent_flags()
    etcd.members[0].stop(), .kill(), .pause(), .resume(), .wipe(), .start(), .wait_ready()
    etcd.stop(), .kill(), .pause(), .resume(), .restart(empty=False)        # all members

    lab.etcd(seg, api=2)                    # the same by version 2 of the API: put, get, range, delete, ctl2
    ctl = lab.controller(h1, over=etcd, agent=False)    # weftd --listen; without over its own database
    ctl.put(k, v), ctl.get(k), ctl.delete(k), ctl.range(prefix), ctl.call("/v2/range", prefix=k)
    ctl.agent_flags(), ctl.token, ctl.join, ctl.stop(), .kill(), .pause(), .resume(), .restart(empty=False)
    consul = lab.consul(seg)                # a server, and agents in client mode on hosts; see consul.py

    h1.agent.start("-iface=eth0", etcd=etcd, env={...})     # weftd; flags of etcd are added
    h1.agent.wait_ready(), .status(), .get("/readyz"), .metrics(), .log(), .wait_log("text")
    h1.agent.stop() -> exit code, .kill(), .restart(), .reload(), .alive(), .pid
    h1.weft("lease", "list", etcd=etcd)     # the operator's command on that host

    probe = Probe(c1, c2); probe.start(); ...; result = probe.stop()
    result.lost, result.max_gap_ms, result.tcp_stall_ms      # see probe.py

    wait_for(lambda: condition, "what is awaited", timeout=10)   # the only way to wait

WEFT_BUILD names the build directory whose weftd and weft are run (default: build/). With
WEFT_CONFINED=1 each agent runs under the capabilities and system calls of its unit (confine.py).
"""

from .agent import Agent
from .controller import Controller
from .errors import LabError, WaitTimeout
from .etcd import Etcd, KeyValue
from .etcd2 import Etcd2
from .fabric import DEFAULT_CONFIG, Fabric
from .host import Container, Host
from .laboratory import Lab
from .netns import Node
from .probe import Probe, ProbeResult
from .process import Process, run, wait_for
from .underlay import Interface, Segment

__all__ = ["Agent", "Container", "Controller", "DEFAULT_CONFIG", "Etcd", "Etcd2", "Fabric", "Host",
           "Interface", "KeyValue", "Lab", "LabError", "Node", "Probe", "ProbeResult", "Process", "Segment",
           "WaitTimeout", "run", "wait_for"]
