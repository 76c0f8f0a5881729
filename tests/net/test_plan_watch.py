# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What an agent tells of itself over its socket: the lease, a plan that changes nothing, events as they come.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd        h1 is the one that is asked
"""

import itertools
import json
import socket

import pytest
from programmed import CONFIG, ONLY_ON_NOTICE, V4, Peer, repairs, settled_state, state_of

from lab import LabError, wait_for
from lab.agent import clean_environment, operator_binary
from lab.fabric import PREFIX

NEW_KEY, NEW_SUBNET = "10.1.200.0-24", "10.1.200.0/24"
STRAY = "10.1.250.0"
FAILED, UNREACHABLE = 1, 4


def ask(host, path):
    code, text = host.agent.request(f"/agent/v1/{path}")
    assert code == 200, (code, text)
    return json.loads(text)


# lease

def test_lease(fabric):
    net = fabric(hosts=1, config=False, agents=False)
    (host,) = net.hosts
    net.start_agent(host, wait=False)
    wait_for(lambda: ask(host, "lease")["state"] == "none", "the agent to answer")
    assert ask(host, "lease")["subnet"] is None
    net.put_config(CONFIG)
    host.agent.wait_ready()
    lease = ask(host, "lease")
    (pair,) = net.etcd.range(f"{PREFIX}/subnets/")
    key = pair.key.removeprefix(f"{PREFIX}/subnets/")
    assert lease.pop("expires_in_s") in range(86400 - 3600, 86401)
    assert lease == {"subnet": key.replace("-", "/"), "ipv6_subnet": None, "public_ip": host.v4, "public_ipv6": None,
                     "state": "held", "error": "", "reservation": False, "session": str(net.etcd.leases()[0])}
    assert {**lease, "expires_in_s": 0} == {**ask(host, "status")["lease"], "expires_in_s": 0}
    net.put_lease(key, "192.168.77.99", "0e:00:00:00:00:99")
    wait_for(lambda: ask(host, "lease")["state"] == "foreign", "the other owner to be seen")
    assert "192.168.77.99" in ask(host, "lease")["error"]
    net.etcd.put(pair.key, pair.value)
    wait_for(lambda: ask(host, "lease")["reservation"], "what has no etcd lease to be a reservation")
    reserved = ask(host, "lease")
    assert (reserved["state"], reserved["session"], reserved["expires_in_s"]) == ("held", "0", -1)


# plan

def test_nothing_to_plan_before_there_is_a_config(fabric):
    net = fabric(hosts=1, config=False, agents=False)
    (host,) = net.hosts
    net.start_agent(host, wait=False)
    wait_for(lambda: ask(host, "status"), "the agent to answer")
    code, text = host.agent.request("/agent/v1/plan")
    assert code == 503 and "nothing to plan yet" in json.loads(text)["error"]
    done = host.weft("plan", check=False)
    assert done.returncode == FAILED and "nothing to plan yet" in done.stderr and not done.stdout


# What is undone until the agent leaves it alone, and the plan that comes of it.
UNDONE = {
    "create": ("ip route del {p.subnet}", "route", "{p.subnet}"),
    "replace": ("ip neigh replace {p.gateway} lladdr 02:00:00:00:00:01 dev {f.device} nud permanent",
                "neighbour", "{p.gateway}"),
    "delete": (f"ip neigh add {STRAY} lladdr 02:00:00:00:00:02 dev {{f.device}} nud permanent",
               "neighbour", STRAY),
}


def wage_war(host, before, command):
    """Undo one thing until it is left alone: then the kernel is not as it should be for a while."""
    for _ in range(7):
        host.run("sh", "-ec", command)
        wait_for(lambda: state_of(host) == before or host.agent.status()["wars"], "a repair, or none")
        if host.agent.status()["wars"]:
            assert state_of(host) != before
            return
    raise LabError("no war was declared")


@pytest.mark.parametrize("verb", UNDONE)
def test_plan_of_what_is_held_back(fabric, verb):
    net = fabric(hosts=2, config=CONFIG, flags=ONLY_ON_NOTICE)
    host = net.hosts[0]
    (before,) = settled_state(net)
    peer = Peer(net.hosts[1])
    assert ask(host, "plan") == {"changes": [], "total": 0}
    assert host.weft("plan").stdout.startswith("nothing to change")

    command, kind, thing = (text.format(f=V4, p=peer) for text in UNDONE[verb])
    wage_war(host, before, command)
    undone, counted = state_of(host), repairs(host)
    dumps, revision = host.agent.status()["netlink"]["dumps"], net.etcd.revision()
    plan = ask(host, "plan")
    assert plan["total"] == len(plan["changes"]) == 1, plan
    (change,) = plan["changes"]
    assert (change["verb"], change["kind"]) == (verb, kind) and thing in change["object"].split(), plan
    assert json.loads(host.weft("plan", "--json").stdout) == plan
    heading, line = host.weft("plan").stdout.splitlines()
    assert heading.split() == ["VERB", "KIND", "OBJECT"]
    assert line.split() == [verb, kind, *change["object"].split()]
    # Three times asked and looked, and nothing was changed.
    assert host.agent.status()["netlink"]["dumps"] > dumps
    assert state_of(host) == undone and repairs(host) == counted and net.etcd.revision() == revision


# watch

class Watcher:
    """`weft watch` on a host; what it prints goes to a file line by line."""

    def __init__(self, host, *flags):
        self.path = host.directory / f"watch{'-'.join(flags)}.out"
        self.process = host.spawn(operator_binary(), "watch", *flags, log=self.path, env=clean_environment())

    def lines(self):
        return self.path.read_text(encoding="utf-8").splitlines()

    def events(self, name):
        """The members of all events of that name so far, in order."""
        events = [json.loads(line) for line in self.lines()]
        return [e for e in events if e["event"] == name]

    def wait(self, name, **members):
        """Wait for an event with these members, and return it."""
        def seen():
            return [e for e in self.events(name) if members.items() <= e.items()]
        return wait_for(seen, f"the event {name} with {members}; so far: {self.lines()[-5:]}")[0]


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2, config=CONFIG, flags=[*ONLY_ON_NOTICE, "--peer-hold=100ms", "--request-timeout=1s"])
    settled_state(made)
    return made


@pytest.fixture
def watcher(net):
    made = Watcher(net.hosts[0], "--json")
    made.wait("heartbeat")
    return made


def test_watch_peers(net, watcher):
    for name, mac in (("peer-added", "0e:00:00:00:00:01"), ("peer-changed", "0e:00:00:00:00:02")):
        assert not watcher.events(name)
        net.put_lease(NEW_KEY, "192.168.77.99", mac, BackendData={"VNI": 123, "VtepMAC": mac})
        event = watcher.wait(name, subnet=NEW_SUBNET)
        assert (event["public_ip"], event["mac"], event["path"]) == ("192.168.77.99", mac, "vxlan")
        wait_for(lambda m=mac: m in str(net.hosts[0].bridge_json("fdb", "show", "dev", V4.device)),
                 "the change to be programmed")
    net.delete_lease(NEW_KEY)
    watcher.wait("peer-removed", subnet=NEW_SUBNET, public_ip="192.168.77.99")
    assert [len(watcher.events(f"peer-{what}")) for what in ("added", "changed", "removed")] == [1, 1, 1]
    assert not watcher.events("repair")


def test_watch_lease_and_config(net, watcher):
    host = net.hosts[0]
    subnet = host.agent.status()["lease"]["subnet"]
    net.delete_lease(subnet.replace("/", "-"))
    watcher.wait("lease", state="lost", subnet=subnet)
    held = watcher.wait("lease", state="held", subnet=subnet)
    assert {**held, "expires_in_s": 0} == {**ask(host, "lease"), "expires_in_s": 0, "event": "lease",
                                           "time": held["time"]}
    net.put_config({**CONFIG, "Note": "x"})
    assert json.loads(watcher.wait("config")["config"])["Note"] == "x"
    net.etcd.put(f"{PREFIX}/config", "{")
    wait_for(lambda: [e for e in watcher.events("config") if "JSON" in e.get("error", "")], "the bad config")


def test_watch_repair_and_war(net, watcher):
    host, peer = net.hosts[0], Peer(net.hosts[1])
    before = state_of(host)
    host.ip("route", "del", peer.subnet)
    event = watcher.wait("repair")
    assert peer.subnet in event["object"] and not watcher.events("war")
    wage_war(host, before, f"ip route del {peer.subnet}")
    assert peer.subnet in watcher.wait("war")["object"]
    assert len(watcher.events("repair")) == repairs(host) and len(watcher.events("war")) == 1


def test_watch_store(net, watcher):
    net.etcd.kill()
    assert watcher.wait("store", up=False)["error"]
    net.etcd.start()
    watcher.wait("store", up=True, error="")


def test_watch_for_people(net):
    """A line an event, without the heartbeats; it ends with its agent, and says so."""
    host = net.hosts[0]
    watcher = Watcher(host)
    counter = itertools.count(1)

    def told():
        net.put_lease(NEW_KEY, "192.168.77.99", f"0e:00:00:00:00:{next(counter) % 256:02x}")
        return watcher.lines()

    # It shows no heartbeat, so there have to be events until it is heard.
    line = wait_for(told, "a line of an event", interval=0.1)[0].split()
    assert line[1].startswith("peer-") and line[0].endswith("Z") and f"subnet={NEW_SUBNET}" in line
    assert host.agent.stop() == 0
    assert watcher.process.wait() == UNREACHABLE
    assert "the agent ended the stream" in watcher.lines()[-1] and "heartbeat" not in str(watcher.lines())


def test_watch_over_the_socket(net):
    """The heartbeat comes with the answer, so that a client knows at once that it is heard."""
    host = net.hosts[0]
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(5)
        opened.connect(str(host.agent.socket_path))
        opened.sendall(b"GET /agent/v1/watch HTTP/1.1\r\nHost: weft\r\n\r\n")
        seen = b""

        def heard(text):
            nonlocal seen
            while text not in seen:
                piece = opened.recv(65536)
                assert piece, seen
                seen += piece

        heard(b'"event":"heartbeat"}\n')
        head = seen.partition(b"\r\n\r\n")[0].lower()
        assert b" 200 " in head and b"content-type: application/x-ndjson" in head, head
        net.put_lease(NEW_KEY, "192.168.77.99", "0e:00:00:00:00:01")
        heard(b'"event":"peer-added","subnet":"10.1.200.0/24"')
