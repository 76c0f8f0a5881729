# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft migrate: networks change their store under agents that run, and under others that join.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+        |
      h4 ... h23 ------+--- ctl1 with a database
"""

import base64
import collections
import json

import pytest
from many_leases import put_leases

from lab import Probe, wait_for
from lab.agent import clean_environment, operator_binary
from lab.fabric import DEFAULT_CONFIG, PREFIX

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE = range(5)
PORT = 8889
JOINERS = 20
MANY = 600
# Hosts of the laboratory get 10.1.0.0 to 10.2.255.0, those that are in the store only are elsewhere.
CONFIG = {"Network": "10.0.0.0/8", "SubnetLen": 24, "SubnetMin": "10.1.0.0", "SubnetMax": "10.2.255.0",
          "Backend": {"Type": "vxlan", "VNI": 12345}}


class Move:
    """A fabric on etcd, and a controller with an empty database to move to."""

    def __init__(self, fabric, **kwargs):
        self.net = fabric(**kwargs)
        self.node = self.net.lab.host("ctl1", self.net.segments[0])
        self.node.agent.start(f"--listen={self.node.v4}:{PORT}", "--insecure", f"--etcd-prefix={PREFIX}",
                              "--store=sqlite:/var/lib/weft.db")
        self.node.agent.wait_log("controller: serves")
        self.remote = f"--remote={self.node.v4}:{PORT}"
        self.to = f"--to-remote={self.node.v4}:{PORT}"

    def weft(self, *words, code=OK, timeout=60):
        """The command beside etcd."""
        done = self.node.weft(*words, etcd=self.net.etcd, check=False, timeout=timeout)
        assert done.returncode == code, done
        return done.stdout + done.stderr

    def migrate(self, *words, **how):
        return json.loads(self.weft("migrate", self.to, "--json", *words, **how))["networks"]

    def in_target(self):
        """{subnet: public IP} of the leases there."""
        done = self.node.run(operator_binary(), "lease", "list", self.remote, "--json")
        return {row["subnet"]: row["public_ip"] for row in json.loads(done.stdout)["leases"]}

    def in_source(self):
        return {key.replace("-", "/"): value["PublicIP"] for key, value in self.net.leases().items()}

    def config(self, where):
        """The config of the network, or its mark; None: there is none."""
        if where == "source":
            found = self.net.etcd.get(f"{PREFIX}/config")
            return found and found.json()
        done = self.node.run(operator_binary(), "network", "get", self.remote, "--json", check=False)
        return json.loads(done.stdout) if done.returncode == OK else None

    def frozen_at(self):
        """The revision of etcd at which the config became a mark, in spite of what was written later."""
        revision = self.net.etcd.get(f"{PREFIX}/config").mod_revision
        while True:
            answer = json.loads(self.net.etcd.ctl("get", f"{PREFIX}/config", f"--rev={revision}", "-w", "json")
                                .stdout)
            (pair,) = answer["kvs"]
            if b"Frozen" not in base64.b64decode(pair["value"]):
                return revision + 1
            revision = pair["mod_revision"] - 1

    def move_agent(self, host):
        host.agent.restart("-iface=eth0", f"--etcd-prefix={PREFIX}", self.remote)
        host.agent.wait_ready(timeout=60)


def lease(host):
    return host.agent.status()["lease"]


def twice(owners):
    return {ip: count for ip, count in collections.Counter(owners.values()).items() if count > 1}


def test_under_traffic_and_joins(fabric):
    """Nobody's subnet changes, no two hosts get one, and not a packet is lost."""
    move = Move(fabric, hosts=3, config=CONFIG)
    net = move.net
    put_leases(net.etcd, range(MANY))
    first = list(net.hosts)
    wait_for(lambda: all(h.agent.status()["peers"]["programmed"] == MANY + 2 for h in first), "all peers",
             timeout=60)
    subnets = {h: lease(h)["subnet"] for h in first}
    joiners = [net.lab.host(f"h{4 + i}", net.segments[0]) for i in range(JOINERS)]
    old, new = joiners[::2], joiners[1::2]
    with Probe(net.containers[0], net.containers[1]) as probe:
        for host in old[:5] + new[:5]:
            join(net, host, move.remote if host in new else None)
        running = move.node.spawn(operator_binary(), *net.etcd.agent_flags(), "migrate", move.to, "--json",
                                  env=clean_environment(), name="migrate")
        for host in old[5:] + new[5:]:
            join(net, host, move.remote if host in new else None)
        assert running.wait(60) == OK, running.log()
        for host in new:
            host.agent.wait_ready(timeout=60)
        # Who had asked etcd before has a lease; who came later has none, and says why.
        wait_for(lambda: all(lease(h)["state"] == "held" or "was moved to controller" in problems(h)
                             for h in old), "those who joined by etcd", timeout=30)
        late = [h for h in old if lease(h)["state"] != "held"]
        held = [h for h in old if h not in late]
        before = {h: lease(h)["subnet"] for h in [*first, *held, *new]}
        assert all(before[h] == subnets[h] for h in first)
        assert len(set(before.values())) == len(before), before
        for host in first:
            assert host.agent.ready() and "was moved to controller" in problems(host)
        for host in [*first, *old]:
            move.move_agent(host)
    print(f"{len(held)} had joined by etcd before the mark; {probe.result}")
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    # In the store's own order: no key was made behind the mark.
    frozen_at = move.frozen_at()
    assert [p.key for p in net.etcd.range(f"{PREFIX}/subnets/") if p.create_revision > frozen_at] == []
    source, target = move.in_source(), move.in_target()
    assert not twice(source) and not twice(target)
    assert {s: ip for s, ip in source.items() if target.get(s) != ip} == {}
    assert len(target) == MANY + 3 + JOINERS
    for host in [*first, *joiners]:
        assert target[lease(host)["subnet"]] == host.v4
        assert host not in before or lease(host)["subnet"] == before[host]
    assert move.config("target") == CONFIG
    assert move.config("source")["Frozen"]["State"] == "moved"
    wait_for(lambda: all(h.agent.status()["peers"]["programmed"] == MANY + 2 + JOINERS for h in first),
             "everybody to know everybody", timeout=60)
    net.ping_all()


def join(net, host, remote):
    if remote:
        host.agent.start("-iface=eth0", f"--etcd-prefix={PREFIX}", remote)
    else:
        net.start_agent(host, wait=False)


def problems(host):
    return host.agent.status()["network"]["error"]


def test_frozen_for_a_while(fabric):
    """An agent keeps what it has, gets back nothing that it lost, and goes on when the migration is undone."""
    move = Move(fabric, hosts=2)
    net = move.net
    host, other = net.hosts
    subnet, key = lease(host)["subnet"], lease(host)["subnet"].replace("/", "-")
    original = net.etcd.get(f"{PREFIX}/config").value
    dry = move.migrate("--dry-run")
    assert [(n["name"], n["state"], n["leases"], n["problem"]) for n in dry] == [("", "not begun", 2, "")]
    assert net.etcd.get(f"{PREFIX}/config").value == original and move.config("target") is None
    mark = {"Network": "frozen by weft: being moved to there", "Frozen": {
        "Id": "1", "State": "copying", "Store": "there", "Config": original}}
    with Probe(*net.containers) as probe:
        net.etcd.put(f"{PREFIX}/config", json.dumps(mark))
        wait_for(lambda: "being moved to there" in problems(host), "the agent to notice")
        assert host.agent.ready() and lease(host)["state"] == "held"
        assert "being moved" in host.weft("status").stdout
        net.delete_lease(key)
        wait_for(lambda: lease(host)["state"] == "lost" and "being moved" in lease(host)["error"], "the loss")
        assert key not in net.leases()
        # Started anew it serves from its cache, and takes nothing either.
        host.agent.restart()
        wait_for(lambda: "being moved" in lease(host)["error"], "the agent's word", timeout=15)
        assert lease(host)["subnet"] == subnet and key not in net.leases()
        assert "--abort" in move.weft("network", "set", json.dumps(DEFAULT_CONFIG), code=FAILED)
        assert "frozen" in move.weft("migrate", "--abort", "--network=other", code=NOT_FOUND)
        assert "the source is open" in move.weft("migrate", "--abort")
        assert net.etcd.get(f"{PREFIX}/config").value == original
        wait_for(lambda: lease(host)["state"] == "held", "the lease to be back")
        host.agent.wait_ready()
    assert lease(host)["subnet"] == subnet and problems(host) == ""
    assert probe.result.lost == 0, str(probe.result)
    assert "nothing" in move.weft("migrate", "--abort", code=NOT_FOUND)


def test_broken_off_and_gone_on(fabric):
    """The target goes away in the middle; the next run finishes, and does nothing more when all is done."""
    move = Move(fabric, hosts=1, config=CONFIG)
    net = move.net
    put_leases(net.etcd, range(MANY))
    move.node.agent.pause()
    running = move.node.spawn(operator_binary(), *net.etcd.agent_flags(), "migrate", move.to,
                              "--to-request-timeout=2s", env=clean_environment(), name="migrate")
    assert running.wait(30) == UNREACHABLE, running.log()
    move.node.agent.resume()
    assert move.config("source") == CONFIG      # it was not even begun
    running = move.node.spawn(operator_binary(), *net.etcd.agent_flags(), "migrate", move.to,
                              env=clean_environment(), name="migrate")
    wait_for(lambda: move.in_target(), "some leases")
    running.kill()
    assert move.config("source")["Frozen"]["State"] in ("copying", "opening", "moved")
    (done,) = move.migrate()
    assert done["state"] == "moved" and done["leases"] == MANY + 1
    assert move.in_source() == move.in_target()
    assert move.config("target") == CONFIG
    (again,) = move.migrate()
    assert (again["state"], again["copied"], again["late"]) == ("moved", 0, 0)
    assert "target may be open" in move.weft("migrate", "--abort", code=FAILED)


def test_many_networks(fabric):
    """All below the prefix; one that is in the way keeps the others from being begun."""
    move = Move(fabric, hosts=1)
    net = move.net
    blue = {"Network": "10.2.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}
    net.etcd.put(f"{PREFIX}/blue/config", blue)
    net.etcd.put(f"{PREFIX}/blue/subnets/10.2.3.0-24", '{"PublicIP":"192.0.2.3","PublicIPv6":null}')
    net.etcd.put(f"{PREFIX}/red/config", "junk")
    table = move.weft("migrate", move.to, code=FAILED)
    assert "network red" in table and "nothing was changed" in table
    assert move.config("source") == DEFAULT_CONFIG
    net.etcd.put(f"{PREFIX}/red/config", '{"Network":"10.3.0.0/16"}')
    (one,) = move.migrate("--network=blue")
    assert (one["name"], one["state"], one["leases"], one["reservations"]) == ("blue", "moved", 1, 1)
    assert move.config("source") == DEFAULT_CONFIG
    table = move.weft("migrate", move.to).splitlines()
    assert [line.split()[:2] for line in table[1:4]] == [["blue", "moved"], ["(none)", "moved"],
                                                         ["red", "moved"]], table
    assert "23h" in table[2] and "start the agents" in table[4]
    listed = move.node.run(operator_binary(), "network", "list", move.remote, "--json").stdout
    assert {n["name"]: n["error"] for n in json.loads(listed)["networks"]} == {"": "", "blue": "", "red": ""}
    listed = json.loads(move.weft("network", "list", "--json"))["networks"]
    assert all("was moved to controller" in n["error"] for n in listed), listed


def test_a_target_that_refuses(fabric):
    """With the token of agents, who may not write a config: the source goes on as if nothing had been tried."""
    net = fabric(hosts=1)
    controller = net.lab.controller(net.lab.host("ctl1", net.segments[0]))
    to = [f"--to-{flag.lstrip('-')}" for flag in controller.agent_flags()]
    done = net.hosts[0].weft("migrate", *to, etcd=net.etcd, check=False)
    assert done.returncode == FAILED and "wants an admin token; nothing was changed" in done.stderr, done
    assert net.etcd.get(f"{PREFIX}/config").json() == DEFAULT_CONFIG
    net.hosts[0].weft("migrate", *to, f"--to-token={controller.token}", "--to-token-file=", etcd=net.etcd)
    assert controller.get(f"{PREFIX}/config").json() == DEFAULT_CONFIG


def test_back_to_etcd(fabric):
    """From a controller's database to etcd, which is emptied of what was moved before."""
    move = Move(fabric, hosts=1)
    net, host = move.net, move.net.hosts[0]
    subnet = lease(host)["subnet"]
    move.migrate()
    move.move_agent(host)
    back = [move.remote, f"--to-etcd-endpoints={net.etcd.endpoints}", "--json"]
    done = move.node.run(operator_binary(), "migrate", *back, check=False)
    assert done.returncode == FAILED and "network rm --force" in done.stderr
    move.weft("network", "rm", "--force")
    done = move.node.run(operator_binary(), "migrate", *back)
    assert json.loads(done.stdout)["networks"][0]["state"] == "moved"
    assert move.in_source() == {subnet: host.v4} and move.config("source") == DEFAULT_CONFIG
    host.agent.restart("-iface=eth0", f"--etcd-prefix={PREFIX}", *net.etcd.agent_flags())
    host.agent.wait_ready()
    assert lease(host)["subnet"] == subnet


def test_from_version_2_of_the_api(lab):
    """One etcd has both: what is moved is not in the same place for all that. Some ask it by a controller."""
    segment = lab.segment("net1", v4="192.168.77.0/24")
    etcd = lab.etcd(segment, flags=["--enable-v2"])
    host = lab.host("h1", segment)
    old, new = [*etcd.agent_flags(), "--store=etcd2"], etcd.agent_flags()
    host.run(operator_binary(), "network", "set", json.dumps(DEFAULT_CONFIG), *old)
    host.agent.start("-iface=eth0", *old)
    host.agent.wait_ready()
    subnet = lease(host)["subnet"]
    node, second, third = lab.host("ctl1", segment), lab.host("h2", segment), lab.host("h3", segment)
    node.agent.start(f"--listen={node.v4}:{PORT}", "--insecure", *old)
    node.agent.wait_log("controller: serves")
    remote = f"--remote={node.v4}:{PORT}"
    second.agent.start("-iface=eth0", remote)
    second.agent.wait_ready()
    done = host.run(operator_binary(), "migrate", *old, f"--to-etcd-endpoints={etcd.endpoints}", "--json")
    (moved,) = json.loads(done.stdout)["networks"]
    assert (moved["state"], moved["copied"]) == ("moved", 2)
    assert 86000 < moved["expires_in_s"] <= 86400
    wait_for(lambda: "was moved to etcd3" in problems(host), "the agent to notice")
    assert host.agent.ready()
    third.agent.start("-iface=eth0", remote)
    wait_for(lambda: "was moved to etcd3" in problems(third), "the one that comes late")
    subnets = {host: subnet, second: lease(second)["subnet"]}
    for one in (host, second, third):
        one.agent.restart("-iface=eth0", *new)
        one.agent.wait_ready()
    assert all(lease(one)["subnet"] == subnets[one] for one in subnets)
    pairs = etcd.range(f"{PREFIX}/subnets/")
    assert {p.json()["PublicIP"] for p in pairs} == {host.v4, second.v4, third.v4}
    assert len(pairs) == len(etcd.leases()) == 3


@pytest.mark.parametrize("words, told", [
    ((), "say where to move to"),
    (("--to-remote=a:1", "--to-pin=x"), "(--to-...)"),
    (("--to-etcd-username=u", "--to-store=etcd3"), "WEFT_TO_ETCD_PASSWORD"),
])
def test_words(lab, words, told):
    host = lab.host("h1", lab.segment("net1", v4="192.168.77.0/24"))
    done = host.weft("migrate", "--etcd-endpoints=http://192.0.2.1:1", *words, check=False)
    assert done.returncode == USAGE and told in done.stderr and done.stderr.count("\n") == 1, done
    done = host.weft("lease", "list", "--to-store=etcd3", check=False)
    assert done.returncode == USAGE and "takes no --to-store" in done.stderr
