# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The client/server mode of flannel 0.5 to 0.7, weft on either side of it.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd (for the controller alone)
    c3 - h3 --+        |
                      srv: a controller of weft, or a server of flannel
"""

import json
import pathlib
import signal
import sys

import pytest

from lab import Probe, wait_for
from lab.agent import operator_binary
from lab.fabric import DEFAULT_CONFIG, PREFIX

PORT = 8888
FLANNEL = pathlib.Path(__file__).with_name("flannel_v1.py")
FAST = ["--dead-man=1s", "--request-timeout=1s", "--peer-hold=200ms"]
CONFIG = {"Network": "10.1.0.0/16", "SubnetMin": "10.1.1.0", "SubnetMax": "10.1.255.0", "SubnetLen": 24,
          "Backend": DEFAULT_CONFIG["Backend"]}


class OldClient:
    """flannel 0.7 on a host, with a network of its own there."""

    def __init__(self, host, server, mac="02:77:00:00:00:07"):
        self.host, self.mac, self.server = host, mac, server
        self.start()
        wait_for(lambda: (host.run_dir / "flannel/subnet.env").exists(), "the lease of the old client")
        host.forward()

    def start(self):
        self.process = self.host.spawn(sys.executable, FLANNEL, "client", f"{self.server.v4}:{PORT}", "/run/flannel",
                                       self.host.v4, self.mac, "flannel.12345", name="old-client")

    def state(self):
        return json.loads((self.host.run_dir / "flannel/state.json").read_text())


class OldServer:
    """flanneld --listen of 0.7, on its host."""

    def __init__(self, host, ttl=86400):
        self.host, self.ttl = host, ttl
        self.start()

    def start(self):
        before = self.log().count("serving")
        self.process = self.host.spawn(sys.executable, FLANNEL, "server", f"{self.host.v4}:{PORT}", "/run/leases",
                                       json.dumps(CONFIG), self.ttl, name="old-server")
        wait_for(lambda: self.log().count("serving") > before, "the old server")

    def stop(self):
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def log(self):
        path = self.host.directory / "old-server.log"
        return path.read_text() if path.exists() else ""

    def index(self):
        return json.loads((self.host.run_dir / "leases").read_text())["index"]

    def leases(self):
        return json.loads((self.host.run_dir / "leases").read_text())["leases"]


def start_agent(host, server, *flags):
    host.agent.start("-iface=eth0", f"--etcd-prefix={PREFIX}", f"--remote={server.v4}:{PORT}", *FAST, *flags)


def subnet(host):
    return host.agent.status()["lease"]["subnet"]


def is_programmed(host, other):
    return bool(host.ip("route", "show", other, "proto", "157").strip())


@pytest.fixture
def mixed(lab, fabric):
    """Two agents of weft and a client of flannel, at a controller of weft. Returns (fabric, controller, client)."""
    net = fabric(hosts=3, agents=False, containers=False)
    server = lab.host("srv", net.segments[0])
    server.agent.start(f"--listen={server.v4}:{PORT}", "--insecure", f"--etcd-prefix={PREFIX}", *FAST, etcd=net.etcd)
    wait_for(lambda: "controller: serves" in server.agent.log(), "the controller")
    for host in net.hosts[:2]:
        start_agent(host, server)
    old = OldClient(net.hosts[2], server)
    for host in net.hosts[:2]:
        host.agent.wait_ready()
    for host in net.hosts:
        net.add_container(host)
    return net, server, old


def test_an_old_client_in_a_network_of_weft(mixed):
    net, _, old = mixed
    net.ping_all()
    leases = net.wait_leases(3)
    assert {value["PublicIP"] for value in leases.values()} == {h.v4 for h in net.hosts}
    wait_for(lambda: set(old.state()["peers"]) == {subnet(h) for h in net.hosts[:2]}, "the old client's peers")
    # One comes, another goes.
    net.put_lease("10.1.200.0-24", "192.168.77.99", "02:99:00:00:00:01")
    wait_for(lambda: "10.1.200.0/24" in old.state()["peers"], "the new peer at the old client")
    wait_for(lambda: is_programmed(net.hosts[0], "10.1.200.0/24"), "the new peer at an agent")
    net.delete_lease("10.1.200.0-24")
    wait_for(lambda: "10.1.200.0/24" not in old.state()["peers"], "the peer to go")
    assert net.etcd.metric("etcd_debugging_mvcc_watcher_total") == 1


def test_the_controller_is_away(mixed):
    """The old client's cursor is good for the controller's next life."""
    net, server, old = mixed
    net.ping_all()
    lease = old.state()["lease"]["Subnet"]
    with Probe(net.containers[0], net.containers[2]) as probe:
        server.agent.kill()
        net.put_lease("10.1.200.0-24", "192.168.77.99", "02:99:00:00:00:01")
        server.agent.restart()
        wait_for(lambda: "10.1.200.0/24" in old.state()["peers"], "the new peer", timeout=20)
    assert probe.result.lost == 0, str(probe.result)
    old.process.signal(signal.SIGKILL)
    old.process.wait()
    (old.host.run_dir / "flannel/state.json").unlink()
    old.start()
    wait_for(lambda: (old.host.run_dir / "flannel/state.json").exists(), "its next life")
    assert old.state()["lease"]["Subnet"] == lease
    net.wait_leases(4)


@pytest.fixture
def old(lab, fabric):
    """A function (ttl) that makes three agents of weft at a server of flannel. Returns (fabric, server)."""
    def make(ttl=86400):
        net = fabric(hosts=3, etcd=1, agents=False, containers=False)
        server = OldServer(lab.host("srv", net.segments[0]), ttl)
        for host in net.hosts:
            start_agent(host, server.host, *([f"--lease-ttl={ttl}"] if ttl < 86400 else []))
        for host in net.hosts:
            host.agent.wait_ready()
            net.add_container(host)
        return net, server
    return make


def test_agents_of_an_old_server(old):
    net, server = old()
    net.ping_all()
    leases = server.leases()
    assert {value["attrs"]["PublicIP"] for value in leases.values()} == {h.v4 for h in net.hosts}
    assert {subnet(h) for h in net.hosts} == set(leases)
    host = net.hosts[0]
    access = [f"--remote={server.host.v4}:{PORT}", f"--etcd-prefix={PREFIX}"]
    listed = host.run(operator_binary(), "lease", "list", *access).stdout
    assert all(h.v4 in listed and subnet(h) in listed for h in net.hosts), listed
    refused = host.run(operator_binary(), "network", "set", json.dumps({**CONFIG, "SubnetLen": 25}), *access,
                       check=False)
    assert refused.returncode != 0 and "etcd" in refused.stderr, refused
    # Restarted, an agent has the same subnet.
    before = subnet(host)
    host.agent.restart()
    host.agent.wait_ready()
    assert subnet(host) == before
    assert server.leases().keys() == leases.keys()


def test_networks_of_an_old_server_are_not_followed(old):
    net, server = old()
    net.hosts[0].agent.restart(*net.hosts[0].agent.flags, "--watch-networks")
    net.hosts[0].agent.wait_log("name them by --networks")


def test_an_old_server_goes_and_comes_back(old):
    net, server = old()
    net.ping_all()
    subnets = [subnet(h) for h in net.hosts]
    with Probe(net.containers[0], net.containers[1]) as probe:
        server.stop()
        wait_for(lambda: not any(h.agent.status()["store"]["up"] for h in net.hosts), "all to notice")
        server.start()
        wait_for(lambda: all(h.agent.status()["store"]["up"] for h in net.hosts), "all to be back", timeout=20)
    assert probe.result.lost == 0, str(probe.result)
    assert [subnet(h) for h in net.hosts] == subnets
    # The watch goes on as well: a client that comes is seen, and sees the others.
    client = OldClient(server.host, server.host)
    lease = client.state()["lease"]["Subnet"]
    wait_for(lambda: all(is_programmed(h, lease) for h in net.hosts), "the newcomer", timeout=20)
    wait_for(lambda: set(client.state()["peers"]) == set(subnets), "what the newcomer sees")


def test_leases_of_an_old_server_are_renewed(old):
    """A life and more would have been over by the end."""
    net, server = old(ttl=6)
    net.ping_all()
    subnets = {subnet(h) for h in net.hosts}
    start = server.index()
    wait_for(lambda: server.index() > start + 18, "eighteen renewals", timeout=60)
    assert set(server.leases()) == subnets == {subnet(h) for h in net.hosts}
    assert all("LOST" not in h.agent.log() and "expired" not in h.agent.log() for h in net.hosts)
    # One that ends is gone everywhere.
    gone = subnet(net.hosts[2])
    net.hosts[2].agent.kill()
    wait_for(lambda: not any(is_programmed(h, gone) for h in net.hosts[:2]), "the lease to end", timeout=20)
    net.hosts[2].agent.restart()
    net.hosts[2].agent.wait_ready()
    assert subnet(net.hosts[2]) == gone
