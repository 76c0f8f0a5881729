# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Networks that Docker has by weft's plugin, beside its own docker0.

    h1: weftd --docker-plugin, dockerd -- web (10.1.x.0/24) -- c1 --+
    h2: weftd --docker-plugin, dockerd -- web (10.1.y.0/24) -- c2 --+-- net1 -- etcd
"""

import ipaddress
import json
import pathlib

import pytest

from lab import Fabric, Probe, wait_for

import machine
import reach
from runtimes import Docker

NETWORK = "web"


class PluginDocker(Docker):
    """Docker as its package starts it, with a network of weft's."""

    def start(self):
        self.start_daemon()
        self._import_image()
        self.create()
        return self

    def start_daemon(self):
        self.start_plain_daemon()

    def create(self, name=NETWORK, *options):
        return self.command("network", "create", "-d", "weft", "--ipam-driver", "weft", *options, name)

    def options(self):
        return ("--network", NETWORK)

    def refused(self, *argv):
        """What a command says that must fail."""
        done = self.host.run(machine.INSIDE, "docker", *argv, check=False, timeout=60)
        assert done.returncode != 0, f"docker {' '.join(argv)} went well: {done.stdout}"
        return done.stderr

    def links(self):
        """Names of the plugin's devices on the host."""
        found = json.loads(self.host.run("ip", "-j", "link").stdout)
        return sorted(link["ifname"] for link in found if link["ifname"].startswith(("weft-", "vethw", "vethc")))


@pytest.fixture
def cluster(lab):
    """A function that makes a network whose agents are plugins, and starts Docker on each host."""
    def make(hosts=2, start=True):
        net = Fabric(lab, hosts=hosts, containers=False, flags=["--docker-plugin", "--ip-masq"])
        for host in net.hosts:
            machine.prepare(host)
            docker = PluginDocker(host)
            lab.runtimes.append(docker)
            docker.start() if start else docker.start_daemon()
        return net, list(lab.runtimes)
    return make


def records(host):
    """{address: record} of the containers that the store knows."""
    text = host.weft("ip", "list", "--json").stdout
    return {row["ip"]: row for row in json.loads(text)["addresses"]}


def owner_file(host):
    subnet = ipaddress.ip_interface(host.subnet_env()["FLANNEL_SUBNET"]).network
    return f"/run/weft/subnet-owner/{subnet.network_address}-{subnet.prefixlen}"


def test_containers_of_two_hosts_reach_each_other(cluster):
    net, runtimes = cluster()
    containers = [r.run("web") for r in runtimes]
    reach.check_all(containers)
    known = records(net.hosts[0])
    for runtime, container in zip(runtimes, containers):
        settings = json.loads(runtime.command("inspect", "-f", "{{json .NetworkSettings.Networks}}", "web"))[NETWORK]
        record = known[container.v4]
        assert record["host"] == runtime.host.v4
        assert record["cni_network"] == "docker-" + settings["NetworkID"]
        assert record["container"] == settings["EndpointID"]
        assert settings["IPAddress"] == container.v4
        assert container.link["address"] == settings["MacAddress"]


def test_what_is_removed_leaves_nothing(cluster):
    net, (one, two) = cluster()
    a = one.run("c1")
    b = two.run("c2")
    reach.await_reachable(a, b)
    assert len(one.links()) == 2, "a bridge and the host's end of a pair"
    one.command("rm", "-f", "c1")
    one.names.remove("c1")
    wait_for(lambda: a.v4 not in records(net.hosts[1]), "the record to be released")
    assert b.v4 in records(net.hosts[1])
    assert len(one.links()) == 1
    assert owner_file(one.host) in one.shell(f"ls {owner_file(one.host)}").stdout
    one.command("network", "rm", NETWORK)
    assert not one.links()
    assert one.host.run("test", "-e", owner_file(one.host), check=False).returncode != 0
    assert not json.loads(one.shell("cat /var/lib/weft/docker-networks").stdout)["networks"]
    one.create("again")
    assert len(one.links()) == 1


def test_daemons_restart(cluster):
    """Neither knows anything anew from the other."""
    net, (one, two) = cluster()
    b = two.run("c2")
    one.run("kept", "--restart", "always")
    assert one.stop_daemon() == 0
    one.start_daemon()
    a = wait_for(lambda: one.find("kept"), "the container to run again", timeout=30)
    reach.check_all([a, b])
    reach.check_agent_may_go(one.host, Probe(a, b))
    one.host.agent.stop()
    one.host.run("ip", "link", "del", next(name for name in one.links() if name.startswith("weft-")))
    one.host.agent.restart()
    one.host.agent.wait_ready()
    one.command("restart", "-t", "1", "kept")
    c = one.run("new")
    reach.check_all([one.find("kept"), c, b])
    one.command("rm", "-f", "kept", "new")
    one.names.clear()
    known = wait_for(lambda: found if set(found := records(one.host)) == {b.v4} else None, "all records but one to go")
    assert known[b.v4]["host"] == two.host.v4


def test_a_container_given_back_while_the_agent_was_away(cluster):
    net, (one,) = cluster(hosts=1)
    a = one.run("c1")
    one.host.agent.stop()
    remover = one.host.spawn(machine.INSIDE, "docker", "rm", "-f", "c1", name="remover")
    one.names.clear()
    wait_for(lambda: not pathlib.Path(f"/proc/{a.pid}").exists(), "the container to end")
    one.host.agent.restart()
    one.host.agent.wait_ready()
    wait_for(lambda: not remover.alive(), "docker rm to end", timeout=60)
    wait_for(lambda: a.v4 not in records(one.host), "the record to be released")
    one.command("network", "rm", NETWORK)


def test_an_address_may_be_asked_for(cluster):
    net, (one,) = cluster(hosts=1)
    subnet = ipaddress.ip_interface(one.host.subnet_env()["FLANNEL_SUBNET"]).network
    address = str(subnet.network_address + 77)
    one.command("network", "rm", NETWORK)
    one.host.run("ip", "route", "add", "10.0.0.0/8", "dev", "eth0")    # Docker would ask for another pool for ever
    assert f"add --subnet {subnet}" in one.refused("network", "create", "-d", "weft", "--ipam-driver", "weft", NETWORK)
    one.create(NETWORK, "--subnet", str(subnet))        # without it Docker takes no --ip
    assert one.run("fixed", "--ip", address).v4 == address
    assert "is not available" in one.refused("run", "--network", NETWORK, "--ip", address, "weft-client-test", "true")
    one.command("restart", "-t", "1", "fixed")      # not held up by the time that addresses rest
    assert one.find("fixed").v4 == address


def test_what_would_not_be_had_is_refused(cluster):
    net, (one,) = cluster(hosts=1)
    assert "belongs to Docker's network" in one.refused(
        "network", "create", "-d", "weft", "--ipam-driver", "weft", "second")
    one.command("network", "rm", NETWORK)
    create = ("network", "create", "-d", "weft")
    for words, why in (
            ((), "make the network with --ipam-driver weft"),
            (("--ipam-driver", "weft", "--subnet", "10.9.0.0/24"), "leave it out"),
            (("--ipam-driver", "weft", "--internal"), "--internal"),
            (("--ipam-driver", "weft", "--opt", "x=y"), "--opt x"),
            (("--ipam-driver", "weft", "--ipam-opt", "net=blue"), "has one network, without a name")):
        assert why in one.refused(*create, *words, "second"), words
    assert not one.links()
    one.create()
    assert "are not published" in one.refused("run", "--network", NETWORK, "-p", "8080:80", "weft-client-test", "true")
    assert set(records(one.host)) == set()


def test_one_subnet_has_one_owner(cluster):
    net, (one,) = cluster(hosts=1, start=False)
    gateway = one.host.subnet_env()["FLANNEL_SUBNET"]
    one.host.run("ip", "addr", "add", gateway, "dev", "docker0")
    assert "belongs to docker0" in one.refused("network", "create", "-d", "weft", "--ipam-driver", "weft", NETWORK)
    one.host.run("ip", "addr", "del", gateway, "dev", "docker0")
    one.create()
    done = one.host.weft("docker-opts", "-f", "/run/flannel/subnet.env", check=False)
    assert done.returncode == 1 and "belongs to Docker's network" in done.stderr


def test_another_lease_is_told(cluster):
    net, (one,) = cluster(hosts=1)
    host = one.host
    host.agent.stop()
    net.delete_lease(next(iter(net.leases())))
    host.run("sh", "-c", "rm -r /var/lib/weft/state /var/lib/weft/peers /run/flannel/subnet.env")
    net.put_config({**net.config, "SubnetMin": "10.1.250.0"})
    host.agent.restart()
    host.agent.wait_ready()
    host.agent.wait_log("the lease is 10.1.25")
    assert "docker network rm it" in one.refused("run", "--network", NETWORK, "weft-client-test", "true")
    assert "docker network rm it" in host.weft("status").stdout
    one.command("network", "rm", NETWORK)
    one.create()
    assert one.run("web").v4.startswith("10.1.25")


def test_cleanup_takes_the_bridge_away(cluster):
    net, (one,) = cluster(hosts=1)
    assert len(one.links()) == 1
    owner = owner_file(one.host)
    one.host.agent.stop()
    told = one.host.weft("cleanup").stdout
    assert one.links() == []
    assert f"removed {owner}" in told
