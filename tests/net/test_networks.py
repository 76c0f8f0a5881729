# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Several networks in one process: each with its own config, lease, devices and env file, none in another's way.

    ca1 cb1 - h1 --+
    ca2 cb2 - h2 --+-- net1 192.168.77.0/24 -- etcd        caN is in network a, cbN in network b
    ca3 cb3 - h3 --+
"""

import json

import pytest

from lab import LabError, Probe, wait_for
from lab.fabric import PREFIX

CONFIGS = {"a": {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 11}},
           "b": {"Network": "10.2.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12}},
           "c": {"Network": "10.3.0.0/16", "Backend": {"Type": "vxlan", "VNI": 13}}}
WATCH = ("-watch-networks", "-peer-hold=300ms")


class Networks:
    """Hosts with agents in several networks, and containers in each."""

    def __init__(self, fabric, names, flags, hosts=3, configs=CONFIGS):
        self.net = fabric(hosts=hosts, config=False, agents=False, containers=False)
        self.etcd = self.net.etcd
        self.hosts = self.net.hosts
        self.containers = {}
        for name in names:
            self.put(name, configs[name])
        for host in self.hosts:
            self.net.start_agent(host, *flags, wait=False)
        for name in names:
            self.populate(name)

    def put(self, name, config):
        self.etcd.put(f"{PREFIX}/{name}/config", config)

    def delete(self, name):
        self.etcd.delete(f"{PREFIX}/{name}/config")

    def populate(self, name):
        """A container of this network on each host."""
        for host in self.hosts:
            wait_ready(host, name)
        self.containers[name] = [host.container(f"c{name}{host.name[1:]}", network=name)
                                 for host in self.hosts]

    def leases(self, name):
        return {pair.key.rpartition("/")[2] for pair in self.etcd.range(f"{PREFIX}/{name}/subnets/")}

    def ping_all(self, name):
        pairs = [(a, b) for a in self.containers[name] for b in self.containers[name] if a is not b]
        for a, b in pairs:
            wait_for(lambda a=a, b=b: a.can_reach(b.v4), f"{a.name} to reach {b.name}")

    def probes(self, name):
        first, *others = self.containers[name]
        return [Probe(first, other).start() for other in others]


def status(host, name=None):
    return host.agent.get("/agent/v1/status" + (f"?network={name}" if name else ""))


def wait_ready(host, name):
    def is_ready():
        try:
            return status(host, name).get("ready")
        except LabError:
            return False
    wait_for(is_ready, f"{host.name} to be ready in {name}", timeout=20)


def names_of(host):
    return sorted(n["name"] for n in status(host)["networks"])


def device(name, configs=CONFIGS):
    return f"flannel.{configs[name]['Backend']['VNI']}"


def devices(host):
    return {link["ifname"] for link in host.ip_json("link", "show")
            if link["ifname"].startswith("flannel")}


def routes(host):
    """{destination: (gateway or nexthop's gateway, device)} of what has weft's mark."""
    return {r["dst"]: (r.get("gateway"), r["dev"])
            for r in host.ip_json("route", "show", "proto", "157")}


def check_no_loss(probes):
    for probe in probes:
        result = probe.stop()
        assert result.lost == 0 and result.tcp_broken is None, str(result)


def test_two_networks(fabric):
    nets = Networks(fabric, "ab", ["-networks=a,b"])
    for name in "ab":
        nets.ping_all(name)
        assert len(nets.leases(name)) == 3
    for host in nets.hosts:
        assert devices(host) == {"flannel.11", "flannel.12"}
        for name in "ab":
            env = host.subnet_env(name)
            assert env["FLANNEL_NETWORK"] == CONFIGS[name]["Network"]
            own = status(host, name)["lease"]["subnet"]
            assert env["FLANNEL_SUBNET"].split("/")[0].rpartition(".")[0] == own.rpartition(".")[0]
            assert own.replace("/", "-") in nets.leases(name)
            kept = host.lib_dir / "weft" / "networks" / name / "state"
            wait_for(lambda kept=kept: kept.exists() and '"lease"' in kept.read_text(encoding="utf-8"),
                     f"{kept} to hold the lease")
        assert len(routes(host)) == 4
        assert not (host.run_dir / "flannel" / "subnet.env").exists()
        assert names_of(host) == ["a", "b"]
