# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The usual topology in one go: underlay, a store, hosts with agents, containers.

        h1 ---+              +--- h4        segments net1, net2, ... with a router between them
        h2 ---+ net1 -- r -- + net2         (only when there are two or more);
        h3 ---+    |         +--- h5        each host hN runs an agent and holds container cN
                 etcd
"""

import json

from .errors import LabError
from .process import wait_for

PREFIX = "/coreos.com/network"
DEFAULT_CONFIG = {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12345}}
STORES = {
    "weft": "h1 keeps it: its agent is the controller as well",
    "controller": "a controller on a host of its own, ctl",
    "etcd3": "etcd, by version 3 of its API",
    "etcd2": "etcd, by version 2 of its API",
    "consul": "a Consul server, without agents of Consul on the hosts",
    "controller-etcd3": "the controller ctl before etcd",
    "controller-etcd2": "the controller ctl before an etcd of version 2",
    "controller-consul": "the controller ctl before Consul",
}


class Fabric:
    """A network of hosts.

    hosts       how many, or a list: how many on each segment ([2, 1] makes two segments and r)
    config      the network config that goes to etcd; None: DEFAULT_CONFIG; False: none is put
    family      of the underlay: 4, 6 or 46
    store       where the leases are: one of STORES, or None: the caller sees to it. It is `net.store`; the
                etcd or Consul itself, if there is one, is `net.etcd`
    etcd        how many members
    store_options   of the etcd or the Consul
    flags       of every agent, beside the store's and -iface=eth0
    agents      False: do not start the agents (start_agent() does, one by one)
    containers  False: none are made (add_container() does)
    """

    def __init__(self, lab, hosts=3, config=None, family=4, etcd=1, flags=(), agents=True,
                 containers=True, mtu=1500, store="etcd3", store_options=None):
        self.lab = lab
        self.flags = [str(f) for f in flags]
        self.config = DEFAULT_CONFIG if config is None else config
        layout = [hosts] if isinstance(hosts, int) else list(hosts)
        self.segments = [self._segment(i + 1, family, mtu) for i in range(len(layout))]
        self.router = lab.router("r", *self.segments) if len(layout) > 1 else None
        self.hosts = []
        self.containers = []
        for segment, count in zip(self.segments, layout):
            for _ in range(count):
                self.hosts.append(lab.host(f"h{len(self.hosts) + 1}", segment))
        self.etcd = self._servers((store or "").removeprefix("controller-"), etcd, store_options or {})
        self.store = self.etcd if store in (None, "etcd3", "etcd2", "consul") else self._controller(store)
        if self.config is not False:
            self.put_config(self.config)
        if agents:
            for host in self.hosts:
                self.start_agent(host, wait=False)
            for host in self.hosts:
                host.agent.wait_ready()
        if agents and containers:
            for host in self.hosts:
                self.add_container(host)

    def _segment(self, number, family, mtu):
        return self.lab.segment(f"net{number}",
                                v4=f"192.168.{76 + number}.0/24" if "4" in str(family) else None,
                                v6=f"fd77:{number}::/64" if "6" in str(family) else None, mtu=mtu)

    def _servers(self, kind, members, options):
        """etcd or Consul; None for weft's own stores."""
        if kind == "consul":
            return self.lab.consul(self.segments[0], **options)
        if kind.startswith("etcd"):
            return self.lab.etcd(self.segments[0], members, int(kind[-1]), **options)
        return None

    def _controller(self, store):
        """h1's agent, or one on a host of its own."""
        flags = [f"-etcd-prefix={PREFIX}", *self.flags]
        if store == "weft":
            return self.lab.controller(self.hosts[0], agent=True, flags=["-iface=eth0", *flags])
        return self.lab.controller(self.lab.host("ctl", self.segments[0]), self.etcd, flags=flags)

    def put_config(self, config):
        self.store.put(f"{PREFIX}/config", config)

    def put_lease(self, key, public_ip, mac, lease=None, **members):
        """Write a lease as a vxlan host of flannel does; members are added or replace others."""
        value = {"PublicIP": public_ip, "PublicIPv6": None, "BackendType": "vxlan",
                 "BackendData": {"VNI": 12345, "VtepMAC": mac}, **members}
        self.store.put(f"{PREFIX}/subnets/{key}", value, **({"lease": lease} if lease else {}))

    def delete_lease(self, key):
        """How many went: 0 or 1."""
        return self.store.delete(f"{PREFIX}/subnets/{key}")

    def host(self, name):
        return self.lab.nodes[name]

    def start_agent(self, host, *flags, env=None, wait=True):
        """Start one agent with the flags of this fabric and some more.

        The one of a host that keeps the store as well was started with that.
        """
        if getattr(self.store, "host", None) is not host:
            host.agent.start("-iface=eth0", f"-etcd-prefix={PREFIX}", *self.flags, *flags,
                             etcd=self.store, env=env)
        if wait:
            host.agent.wait_ready()
        return host.agent

    def add_container(self, host, name=None):
        """A container on host; the first one of hN is cN."""
        if name is None:
            name = "c" + host.name.removeprefix("h")
            if name in self.lab.nodes:
                name += f"-{len(host.containers) + 1}"
        container = host.container(name)
        self.containers.append(container)
        return container

    def leases(self):
        """{key below subnets/: the lease's value, parsed (text if it is not JSON)}."""
        found = {}
        for pair in self.store.range(f"{PREFIX}/subnets/"):
            try:
                found[pair.key.removeprefix(f"{PREFIX}/subnets/")] = pair.json()
            except json.JSONDecodeError:
                found[pair.key.removeprefix(f"{PREFIX}/subnets/")] = pair.value
        return found

    def wait_leases(self, count, timeout=15):
        """Wait until exactly that many leases are in the store; returns them."""
        return wait_for(lambda: found if len(found := self.leases()) == count else None,
                        f"{count} leases in the store", timeout)

    def unreachable(self, timeout=1):
        """[(container, container, address)] of all pairs that one ping does not cross."""
        return [(a, b, address) for a in self.containers for b in self.containers if a is not b
                for address in b.addresses if not a.can_reach(address, timeout)]

    def ping_all(self, timeout=10):
        """Wait until every container reaches every address of every other one."""
        try:
            wait_for(lambda: not self.unreachable(), "all containers to reach each other", timeout)
        except LabError:
            pairs = ", ".join(f"{a.name} -> {b.name} ({address})"
                              for a, b, address in self.unreachable())
            raise LabError(f"no ping gets through: {pairs or 'sometimes'}") from None
