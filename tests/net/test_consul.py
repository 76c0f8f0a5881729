# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Consul as the store, as it is meant to be run: a server, and an agent in client mode on each host, which weftd asks.

    c1 - h1 (Consul's agent) --+
    c2 - h2 (Consul's agent) --+-- net1 192.168.77.0/24 -- consul (server)
    c3 - h3 (Consul's agent) --+        |
                                      (ctl1)
"""

import contextlib
import json

import pytest

from lab import Probe, wait_for
from lab.agent import clean_environment, operator_binary
from lab.fabric import DEFAULT_CONFIG, PREFIX

FAST = ["--dead-man=1s", "--request-timeout=1s", "--peer-hold=3s"]
FOREIGN_KEY, FOREIGN_SUBNET = "10.1.200.0-24", "10.1.200.0/24"
KEYS = PREFIX.removeprefix("/")      # as Consul has them
CONTROLLER_PORT = 8889
TOKEN = "11111111-2222-3333-4444-555555555555"
WAIT_S = 40


class Consuled:
    """A fabric over Consul; by local agents, or by the server itself."""

    def __init__(self, lab, fabric, hosts=3, local=True, agents=True, **options):
        self.net = net = fabric(hosts=hosts, store="consul", store_options=options, config=False, agents=False,
                                flags=FAST)
        self.consul = net.store
        self.locals = [self.consul.join(host) for host in net.hosts] if local else []
        net.put_config(DEFAULT_CONFIG)
        if agents:
            self.start_agents()

    def start_agents(self, **kwargs):
        for host in self.net.hosts:
            self.net.start_agent(host, wait=False, **kwargs)
        self.populate()

    def populate(self):
        for host in self.net.hosts:
            host.agent.wait_ready()
            self.net.add_container(host)
        self.net.ping_all()

    def pairs(self):
        return self.consul.range(f"{PREFIX}/subnets/")

    def pair_of(self, host):
        return self.consul.get(f"{PREFIX}/subnets/{lease(host)['subnet'].replace('/', '-')}")

    def wait_foreign(self, mac):
        """A lease that is put now reaches every host."""
        self.net.put_lease(FOREIGN_KEY, "192.168.77.99", mac)
        for host in self.net.hosts:
            wait_for(lambda h=host: mac_of_foreign(h) == [mac], f"the new lease at {host.name}", WAIT_S)

    def logs(self):
        return "".join(host.agent.log() for host in self.net.hosts)


@pytest.fixture
def made(lab):
    """What Consul said is shown when the test fails."""
    yield
    for node in list(lab.nodes.values()):
        log = node.directory / "consul.log"
        if log.exists():
            print(f"--- Consul on {node.name}\n{log.read_text(errors='replace')[-1500:]}")


@pytest.fixture
def consuled(made, lab, fabric):
    return Consuled(lab, fabric)


def lease(host):
    return host.agent.status()["lease"]


def store(host):
    return host.agent.status()["store"]


def has_foreign(host):
    return bool(host.ip("route", "show", FOREIGN_SUBNET, "proto", "157"))


def mac_of_foreign(host):
    return [n["lladdr"] for n in host.ip_json("neigh", "show", FOREIGN_SUBNET.split("/", maxsplit=1)[0])]


@contextlib.contextmanager
def undisturbed(net):
    """No packet is lost meanwhile, and every host ends with the subnet that it began with."""
    subnets = [lease(h)["subnet"] for h in net.hosts]
    with Probe(net.containers[0], net.containers[1]) as probe:
        yield
        wait_for(lambda: all(lease(h)["state"] == "held" for h in net.hosts), "all leases to be held", WAIT_S)
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert [lease(h)["subnet"] for h in net.hosts] == subnets
    net.ping_all()


class Watcher:
    """`weft watch` on a host."""

    def __init__(self, host):
        self.path = host.directory / "watch.out"
        self.process = host.spawn(operator_binary(), "watch", "--json", log=self.path, env=clean_environment())
        wait_for(lambda: self.events("heartbeat"), "weft watch to watch")

    def events(self, *names):
        found = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        return [e for e in found if e["event"] in names]


def test_keys_are_flannels(consuled):
    """By Consul's own program, byte for byte what flannel has in etcd; locked by sessions that no agent takes along."""
    consul, net = consuled.consul, consuled.net
    assert json.loads(consul.ctl("kv", "get", f"{KEYS}/config").stdout) == DEFAULT_CONFIG
    sessions = {s["ID"]: s for s in consul.sessions()}
    assert len(consuled.pairs()) == len(net.hosts) == len(sessions)
    for host in net.hosts:
        mac = host.ip_json("link", "show", "flannel.12345")[0]["address"]
        key = lease(host)["subnet"].replace("/", "-")
        assert consul.ctl("kv", "get", f"{KEYS}/subnets/{key}").stdout == (
            f'{{"PublicIP":"{host.v4}","PublicIPv6":null,"BackendType":"vxlan",'
            f'"BackendData":{{"VNI":12345,"VtepMAC":"{mac}"}}}}\n')
        session = sessions.pop(consuled.pair_of(host).lease)
        assert (session["Node"], session["Behavior"], session["TTL"]) == ("weft", "delete", "86400s"), session
        assert not session.get("NodeChecks") and session["LockDelay"] == 0, session
        assert store(host)["endpoint"] == "http://127.0.0.1:8500"
    listed = net.hosts[0].weft("lease", "list").stdout
    assert all(h.v4 in listed for h in net.hosts), listed


def test_plain_consul_writes(consuled):
    """An operator needs no tool of ours."""
    consul, hosts = consuled.consul, consuled.net.hosts
    consuled.wait_foreign("0e:00:00:00:00:07")
    consul.ctl("kv", "delete", f"{KEYS}/subnets/{FOREIGN_KEY}")
    for host in hosts:
        wait_for(lambda h=host: not has_foreign(h), "the route to go")
    config = {**DEFAULT_CONFIG, "Backend": {**DEFAULT_CONFIG["Backend"], "MTU": 1400}}
    consul.ctl("kv", "put", f"{KEYS}/config", json.dumps(config))
    for host in hosts:
        wait_for(lambda h=host: h.subnet_env()["FLANNEL_MTU"] == "1350", "the MTU of the new config")


@pytest.mark.parametrize("how", ["deleted", "session ended"])
def test_lease_lost_and_regained(consuled, how):
    consul, host = consuled.consul, consuled.net.hosts[0]
    before = consuled.pair_of(host)
    with undisturbed(consuled.net):
        if how == "deleted":
            consul.delete(before.key)
        else:
            consul.destroy(before.lease)
        after = wait_for(lambda: consul.get(before.key), "the lease to be written again", WAIT_S)
        assert after.create_revision > before.mod_revision and after.value == before.value
        assert after.lease in [s["ID"] for s in consul.sessions()]
    wait_for(lambda: lease(host)["state"] == "held", "the lease to be held")


@pytest.mark.parametrize("how", ["stopped", "killed", "hung"])
def test_server_goes_and_comes_back(consuled, how):
    """Agents notice within the dead-man timer, nobody loses a packet, and what is put afterwards is seen by all."""
    consul, net = consuled.consul, consuled.net
    with undisturbed(net):
        {"stopped": consul.stop, "killed": consul.kill, "hung": consul.pause}[how]()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to notice", WAIT_S)
        assert all(store(h)["error"] and lease(h)["state"] == "held" for h in net.hosts)
        consul.resume() if how == "hung" else consul.start()
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "the store to be reached", WAIT_S)
        consuled.wait_foreign("0e:11:22:33:44:55")
    assert len(consuled.pairs()) == len(net.hosts) + 1


def test_changes_while_nobody_could_watch(consuled):
    """What was put and deleted meanwhile is told, though Consul has no history."""
    net = consuled.net
    consuled.wait_foreign("0e:00:00:00:00:07")
    with undisturbed(net):
        for local in consuled.locals:
            local.pause()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to notice", WAIT_S)
        net.delete_lease(FOREIGN_KEY)
        for number in range(5):
            net.put_lease("10.1.202.0-24", "192.168.77.97", f"0e:11:22:33:44:7{number}")
        for local in consuled.locals:
            local.resume()
        for host in net.hosts:
            wait_for(lambda h=host: "0e:11:22:33:44:74" in h.ip("neigh", "show", "10.1.202.0"),
                     "the lease that came", WAIT_S)
            wait_for(lambda h=host: not has_foreign(h), "the lease to go", WAIT_S)


def test_emptied_server(consuled):
    """The leases are written again, each host's own, once there is a config again."""
    net = consuled.net
    before = {p.key: p.value for p in consuled.pairs()}
    with undisturbed(net):
        consuled.consul.restart(empty=True)
        net.put_config(DEFAULT_CONFIG)
        wait_for(lambda: {p.key: p.value for p in consuled.pairs()} == before, "the same leases", WAIT_S)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_local_agent_restarts(consuled, how):
    """Consul's agent on a host is upgraded: it leaves its cluster, or crashes. No host's lease changes by that."""
    net, (local, *_) = consuled.net, consuled.locals
    watchers = [Watcher(host) for host in net.hosts]
    before = consuled.pairs()
    with undisturbed(net):
        local.stop() if how == "stopped" else local.kill()
        wait_for(lambda: not store(net.hosts[0])["up"], "its agent to notice", WAIT_S)
        local.start()
        wait_for(lambda: store(net.hosts[0])["up"], "its agent to be back", WAIT_S)
        consuled.wait_foreign("0e:11:22:33:44:55")
        net.delete_lease(FOREIGN_KEY)
        for watcher in watchers:
            wait_for(lambda w=watcher: w.events("peer-removed"), "the end of what is watched")
    for watcher in watchers:
        changes = watcher.events("lease", "peer-added", "peer-changed", "peer-removed")
        assert {e.get("subnet") for e in changes} == {FOREIGN_SUBNET}, changes
    assert consuled.pairs() == before


def test_agent_restarts(consuled):
    """weftd finds its lease again, by the session that it kept on disk."""
    net = consuled.net
    before = consuled.pairs()
    with undisturbed(net):
        for host in net.hosts:
            host.agent.restart()
            host.agent.wait_ready()
    assert [(p.key, p.value, p.lease) for p in consuled.pairs()] == [(p.key, p.value, p.lease) for p in before]
    assert len(consuled.consul.sessions()) == len(net.hosts)


def test_behind_a_controller(made, lab, fabric):
    """Consul has one client, and agents know nothing of it; it may be away and come back."""
    consuled = Consuled(lab, fabric, local=False, agents=False)
    net, consul = consuled.net, consuled.consul
    node = lab.host("ctl1", net.segments[0])
    node.agent.start(f"--listen={node.v4}:{CONTROLLER_PORT}", "--insecure", f"--etcd-prefix={PREFIX}", *FAST,
                     etcd=consul)
    node.agent.wait_log("controller: serves")
    for host in net.hosts:
        host.agent.start("-iface=eth0", f"--etcd-prefix={PREFIX}", f"--remote={node.v4}:{CONTROLLER_PORT}", *FAST)
    consuled.populate()
    assert {p.json()["PublicIP"] for p in consuled.pairs()} == {h.v4 for h in net.hosts}
    with undisturbed(net):
        consul.kill()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to be told", WAIT_S)
        consul.start()
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "all agents to be told again", WAIT_S)
        consuled.wait_foreign("0e:11:22:33:44:55")
        before = consuled.pair_of(net.hosts[0])
        consul.destroy(before.lease)
        wait_for(lambda: (now := consul.get(before.key)) and now.lease != before.lease, "the lease again", WAIT_S)
    listed = net.hosts[0].weft("lease", "list").stdout
    assert all(h.v4 in listed for h in net.hosts), listed


def test_tls_and_token(made, lab, fabric):
    """By https, with Consul's access control; the token is nowhere to be seen."""
    consuled = Consuled(lab, fabric, hosts=2, local=False, agents=False, tls=True, token=TOKEN)
    net, host = consuled.net, consuled.net.hosts[0]
    net.start_agent(host, wait=False)
    wait_for(lambda: "denied" in store(host)["error"], "the agent to say that it may not")
    host.agent.stop()
    consuled.start_agents(env={"CONSUL_HTTP_TOKEN": TOKEN})
    assert store(host)["endpoint"] == consuled.consul.endpoints
    (host.run_dir / "token").write_text(TOKEN + "\n")
    host.agent.env = None
    host.agent.restart(*host.agent.flags, "--consul-token-file=/run/token")
    host.agent.wait_ready()
    net.ping_all()
    # With the agent's settings, as it does in front of etcd.
    listed = host.weft("lease", "list").stdout
    assert all(h.v4 in listed for h in net.hosts), listed
    other = net.hosts[1]
    done = other.weft("lease", "list", check=False)
    assert done.returncode != 0 and "denied" in done.stderr, done.stderr
    assert all(h.v4 in other.weft("lease", "list", env={"CONSUL_HTTP_TOKEN": TOKEN}).stdout for h in net.hosts)
    seen = consuled.logs() + done.stderr + "".join(json.dumps(h.agent.status()) for h in net.hosts)
    assert TOKEN not in seen
