# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft lease reserve and unreserve: a subnet that is one host's, whoever else starts and whatever is lost.

    h1 ... hN ----- net1 192.168.77.0/24 ----- etcd, or ctl1 with a database
"""

import json

import pytest

from lab import Probe, wait_for
from lab.agent import operator_binary
from lab.fabric import PREFIX

OK, FAILED, USAGE, NOT_FOUND = range(4)
OTHERS = 20
RESERVED = "10.1.17.0/24"
# Room for exactly all of them: who takes a reserved one leaves another without.
CONFIG = {"Network": "10.1.0.0/16", "SubnetLen": 24, "SubnetMin": "10.1.10.0",
          "SubnetMax": f"10.1.{10 + OTHERS}.0", "Backend": {"Type": "vxlan", "VNI": 12345}}


class Etcd:
    """The store is etcd, which also the agents ask."""

    def __init__(self, net):
        self.net = net
        net.put_config(CONFIG)

    def start(self, host):
        self.net.start_agent(host, wait=False)

    def weft(self, *words, code=OK):
        done = self.net.hosts[0].weft(*words, etcd=self.net.etcd, check=False)
        assert done.returncode == code, done
        return done


class Controller:
    """The store is a database, of which all but one process ask a controller."""

    def __init__(self, net):
        self.node = net.lab.host("ctl1", net.segments[0])
        self.node.agent.start(f"--listen={self.node.v4}:8889", "--insecure", "--store=sqlite:/var/lib/weft.db")
        self.node.agent.wait_log("controller: serves")
        self.remote = f"--remote={self.node.v4}:8889"
        self.net = net
        self.weft("network", "set", json.dumps(CONFIG))

    def start(self, host):
        host.agent.start("-iface=eth0", self.remote)

    def weft(self, *words, code=OK):
        done = self.net.hosts[0].run(operator_binary(), *words, self.remote, check=False)
        assert done.returncode == code, done
        return done


@pytest.mark.parametrize("kind", [Etcd, Controller])
def test_the_last_of_many(fabric, kind):
    net = fabric(hosts=OTHERS + 1, config=False, agents=False, store="etcd3" if kind is Etcd else None)
    store = kind(net)
    *others, host = net.hosts
    out = store.weft("lease", "reserve", RESERVED, f"--for={host.v4}").stdout
    assert out == f"{RESERVED}: reserved for {host.v4}\n"
    for other in others:
        store.start(other)
    for other in others:
        other.agent.wait_ready(timeout=90)
    taken = {other.agent.status()["lease"]["subnet"] for other in others}
    assert RESERVED not in taken and len(taken) == OTHERS
    # Who waits is no trouble to the others.
    peer = next(p for p in others[0].agent.peers()["peers"]
                if p["subnet"] == RESERVED)
    assert (peer["state"], peer["path"]) == ("ok", "none"), peer
    store.start(host)
    host.agent.wait_ready(timeout=90)
    assert host.agent.status()["lease"]["subnet"] == RESERVED
    rows = json.loads(store.weft("lease", "list", "--json").stdout)["leases"]
    assert len(rows) == OTHERS + 1
    assert [r["subnet"] for r in rows if r["reservation"]] == [RESERVED]
    wait_for(lambda: others[0].ip("route", "show", RESERVED, "proto", "157").strip(), "a route to it")


def test_a_running_host(fabric):
    """Its lease becomes a reservation and an ordinary lease again; not a packet is lost."""
    net = fabric(hosts=2)
    host, other = net.hosts
    subnet = host.agent.status()["lease"]["subnet"]
    key = f"{PREFIX}/subnets/{subnet.replace('/', '-')}"
    before = net.etcd.get(key)
    assert len(net.etcd.leases()) == 2

    def weft(*words, code=OK):
        done = other.weft(*words, etcd=net.etcd, check=False)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    with Probe(*net.containers) as probe:
        assert other.v4 not in weft("lease", "reserve", subnet, f"--for={host.v4}")
        wait_for(lambda: host.agent.status()["lease"]["expires_in_s"] == -1, "the agent to notice")
        assert net.etcd.get(key).value == before.value
        assert len(net.etcd.leases()) == 1      # its session is not left behind
        host.agent.restart()
        host.agent.wait_ready()
        assert host.agent.status()["lease"]["subnet"] == subnet
        assert host.agent.status()["lease"]["expires_in_s"] == -1
        assert "192.168.77.11" in weft("lease", "reserve", subnet, f"--for={other.v4}", code=FAILED)
        taken = other.agent.status()["lease"]["subnet"]
        assert taken in weft("lease", "reserve", "10.1.3.0/24", f"--for={other.v4}", code=FAILED)
        # No session to lose: what takes all sessions away leaves it alone.
        for lease in net.etcd.leases():
            net.etcd.ctl("lease", "revoke", f"{lease:x}" if isinstance(lease, int) else lease)
        assert net.etcd.get(key)
        assert "renews it" in weft("lease", "unreserve", subnet)
        wait_for(lambda: host.agent.status()["lease"]["expires_in_s"] > 0, "the agent to notice")
        assert host.agent.status()["lease"]["subnet"] == subnet
        wait_for(lambda: other.agent.status()["lease"]["state"] == "held", "the other one's to be back")
    assert probe.result.lost == 0, str(probe.result)
    assert "is an ordinary lease" in weft("lease", "unreserve", subnet, code=FAILED)
    weft("lease", "unreserve", "10.1.99.0/24", code=NOT_FOUND)


def test_a_host_that_is_away(fabric):
    """It comes after its session has long ended, and after a fresh install."""
    net = fabric(hosts=2, agents=False, containers=False)
    host, other = net.hosts
    net.start_agent(host)
    subnet = host.agent.status()["lease"]["subnet"]
    net.etcd.put(f"{PREFIX}/subnets/10.1.200.0-24", '{"PublicIP":"192.168.77.99","PublicIPv6":null}')
    other.weft("lease", "reserve", subnet, f"--for={host.v4}", etcd=net.etcd)
    assert host.agent.stop() == 0
    host.reboot()
    (host.lib_dir / "weft/state").unlink()
    net.start_agent(host)
    assert host.agent.status()["lease"]["subnet"] == subnet
    assert host.agent.status()["lease"]["expires_in_s"] == -1


@pytest.mark.parametrize("words, told", [
    (("reserve", "10.1.2.0/24"), "--for"),
    (("reserve", "10.1.2.0/24", "--for=here"), "here"),
    (("reserve", "10.1.2.0/24", "--for=192.0.2.1,192.0.2.2"), "--for"),
    (("reserve", "10.1.2.0/24,10.1.3.0/24", "--for=192.0.2.1"), "10.1.2.0/24,10.1.3.0/24"),
    (("unreserve", "10.1.2.0/24", "--for=192.0.2.1"), "takes no --for"),
])
def test_words(fabric, words, told):
    net = fabric(hosts=1, agents=False)
    done = net.hosts[0].weft("lease", *words, etcd=net.etcd, check=False)
    assert done.returncode == USAGE and told in done.stderr and done.stderr.count("\n") == 1, done


def test_dual_stack(fabric):
    config = {"EnableIPv6": True, "Network": "10.1.0.0/16", "IPv6Network": "fd10::/48",
              "Backend": {"Type": "vxlan", "VNI": 42}}
    net = fabric(hosts=2, family=46, config=config, agents=False)
    host, other = net.hosts
    done = other.weft("lease", "reserve", "10.1.5.0/24", f"--for={host.v4}", etcd=net.etcd, check=False)
    assert done.returncode == FAILED and "IPv6 subnet" in done.stderr
    other.weft("lease", "reserve", "10.1.5.0/24,fd10:0:0:5::/64", f"--for={host.v4},{host.v6}",
               etcd=net.etcd)
    for one in (other, host):
        net.start_agent(one)
    lease = host.agent.status()["lease"]
    assert (lease["subnet"], lease["ipv6_subnet"]) == ("10.1.5.0/24", "fd10:0:0:5::/64")


def test_version_2_of_the_api(lab):
    """There a session is the key's own time to live."""
    segment = lab.segment("net1", v4="192.168.77.0/24")
    flags = [*lab.etcd(segment, flags=["--enable-v2"]).agent_flags(), "--store=etcd2"]
    host = lab.host("h1", segment)

    def weft(*words):
        return host.run(operator_binary(), *words, *flags).stdout

    def row():
        (found,) = json.loads(weft("lease", "list", "--json"))["leases"]
        return found["subnet"], found["reservation"], (found["expires_in_s"] or 0) > 86000

    weft("network", "set", json.dumps(CONFIG))
    weft("lease", "reserve", RESERVED, f"--for={host.v4}")
    host.agent.start("-iface=eth0", *flags)
    host.agent.wait_ready()
    assert row() == (RESERVED, True, False)
    assert host.agent.status()["lease"]["subnet"] == RESERVED
    weft("lease", "unreserve", RESERVED)
    wait_for(lambda: host.agent.status()["lease"]["expires_in_s"] > 0, "the agent to notice")
    assert row() == (RESERVED, False, True)
    weft("lease", "reserve", RESERVED, f"--for={host.v4}")
    wait_for(lambda: host.agent.status()["lease"]["expires_in_s"] == -1, "the agent to notice")
    assert row() == (RESERVED, True, False)
    host.agent.restart()
    host.agent.wait_ready()
    assert host.agent.status()["lease"]["subnet"] == RESERVED
    assert row() == (RESERVED, True, False)
