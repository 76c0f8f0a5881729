# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Minutes of everything at once: after each round every kernel is as wanted, and at the end nothing has grown.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd, with up to 600 leases of hosts that are in it only
    c3 - h3 --+

The probe between c1 and c2 loses nothing at all: h1 and h2 have only such kernel entries spoilt as c1 and c2 do not
need, and their agents are restarted and killed. h3 has its device and whole tables spoilt; its agent runs from the
first moment to the last. What the probe between c1 and c3 loses is printed.

SOAK_SECONDS: how long, after the warm-up (300); SOAK_SEED: the seed of an earlier run, which it prints.
"""

import collections
import os
import random
import socket
import time

import pytest
from many_leases import delete_leases, put_leases
from soak import DEVICE, World, assert_nothing_grew, await_files, measure_quiet, settle

from lab import LabError, Probe, run, wait_for
from lab.agent import clean_environment, operator_binary
from lab.fabric import PREFIX

CONFIG = {"Network": "10.0.0.0/8", "SubnetLen": 24, "SubnetMin": "10.1.0.0", "SubnetMax": "10.1.255.0",
          "Backend": {"Type": "vxlan", "VNI": 12345}}
FLAGS = ["--dead-man=1s", "--request-timeout=1s", "--peer-hold=500ms"]
MOST_LEASES = 600
MOST_SHARE = 0.45           # of all peers that go at once
AT_ONCE = 20                # entries that are spoilt at once
# An object that is repaired more than five times within a minute is left alone for a while: that is for other tests.
DRIFTS_A_MINUTE = 3

JUNK = {"hello": "{}", "10.200.1.77-24": "{}", "10.200.2.0-33": "{}", "10.200.3.0-24": '{"PublicIP":"172.17.0.1",',
        "10.200.4.0-24": "[1,2,3]", "10.200.5.0-24": '{"PublicIP":null,"BackendType":"vxlan"}',
        "10.200.6.0-24": '{"PublicIP":"224.0.0.1","BackendType":"vxlan","BackendData":{"VNI":1}}',
        "10.200.7.0-24": "[" * 20_000 + "]" * 20_000, "0.0.0.0-0": "{}", "11.2.3.0-24": "{}",
        "10.200.8.0-24": '{"PublicIP":"172.17.0.2","BackendType":"vxlan","Padding":"' + "x" * 300_000 + '"}'}

# Kernel drift. {subnet}, {gateway}, {mac}, {address}, {nexthop}: of the entries chosen; kinds: what has to be repaired.
NARROW = {
    "routes deleted": ("ip", "route del {subnet}", "route"),
    "routes sent elsewhere": ("ip", "route replace {subnet} dev cni0 proto 157", "route"),
    "neighbours deleted": ("ip", f"neigh del {{gateway}} dev {DEVICE}", "neighbour"),
    "neighbours changed":
        ("ip", f"neigh replace {{gateway}} lladdr 02:00:00:00:00:01 dev {DEVICE} nud permanent", "neighbour"),
    "fdb entries deleted": ("bridge", f"fdb del {{mac}} dev {DEVICE} dst {{address}} self", "fdb"),
    "fdb entries changed":
        ("bridge", f"fdb replace {{mac}} dev {DEVICE} dst 192.168.77.250 self permanent", "fdb"),
    "nexthops deleted": ("ip", "nexthop del id {nexthop}", "nexthop route"),
    "stray neighbours": ("ip", f"neigh add 10.250.0.1 lladdr 02:00:00:00:00:02 dev {DEVICE} nud permanent", "stray"),
    "stray fdb entries": ("bridge", f"fdb append 02:00:00:00:00:03 dev {DEVICE} dst 192.168.77.250 self", "stray"),
}
# Of h3 only.
WIDE = {
    "neighbours flushed": ("ip", f"neigh flush dev {DEVICE} nud permanent", "neighbour"),
    "nexthops flushed": ("ip", "nexthop flush proto 157", "nexthop route"),
    "address deleted": ("ip", f"addr del {{own}}/32 dev {DEVICE}", "device"),
    "stray address": ("ip", f"addr add 10.1.250.0/32 dev {DEVICE}", "device"),
    "MAC changed": ("ip", f"link set {DEVICE} address 02:00:00:00:00:02", "device"),
    "MTU changed": ("ip", f"link set {DEVICE} mtu 1280", "device"),
    "device down": ("ip", f"link set {DEVICE} down", "device"),
    "device down and up": ("ip", f"link set {DEVICE} down\nlink set {DEVICE} up", "device"),
    "device deleted": ("ip", f"link del {DEVICE}", "device"),
    "device replaced": (
        "ip", f"link del {DEVICE}\nlink add {DEVICE} type vxlan id 777 dstport 4789 dev eth0", "device"),
}


class Soak:
    """The events. One that something is left to do after appends it to at_end, which the round's end calls."""

    def __init__(self, net, rng):
        self.net = net
        self.rng = rng
        self.world = World(net)
        self.at_end = []
        self.spoilt = collections.defaultdict(list)     # (host name, kind): when
        self.counts = collections.Counter()

    # In the store

    def leases_come(self, most=MOST_LEASES // 2):
        free = [n for n in range(2 * MOST_LEASES) if n not in self.world.foreign]
        room = min(most, MOST_LEASES - len(self.world.foreign))
        self._put(self.rng.sample(free, self.rng.randint(room // 2, room)))

    def leases_change(self):
        self._put(self._some_leases())

    def _put(self, numbers):
        mac_byte = self.rng.randrange(256)
        put_leases(self.net.etcd, numbers, mac_byte=mac_byte)
        self.world.foreign.update(dict.fromkeys(numbers, mac_byte))

    def leases_go(self):
        """Not most of them: whoever loses more than half of his peers takes that for a fault of the store."""
        await_files(self.world)
        self._lose(self.rng.uniform(0.1, MOST_SHARE))

    def _lose(self, share):
        peers = len(self.world.foreign) + len(self.net.hosts) - 1
        gone = self._some_leases()[:max(2, int(peers * share))]
        delete_leases(self.net.etcd, gone)
        for number in gone:
            del self.world.foreign[number]

    def _some_leases(self):
        there = sorted(self.world.foreign)
        return self.rng.sample(there, self.rng.randint(len(there) // 2, len(there)))

    def junk_comes(self):
        self._put_junk(self.rng.sample(sorted(JUNK), 4))

    def all_junk_comes(self):
        self._put_junk(JUNK)

    def _put_junk(self, keys):
        for key in keys:
            self.net.etcd.put(f"{PREFIX}/subnets/{key}", JUNK[key])
            self.world.junk.add(key)

    def junk_goes(self):
        for key in sorted(self.world.junk):
            self.net.delete_lease(key)
        self.world.junk.clear()

    def config_changes(self):
        self.world.mtu = self.rng.choice([None, 1300, 1400, 1450])
        self.world.direct = self.rng.random() < 0.5
        self.net.put_config(self.world.config())

    def compaction(self):
        self.net.etcd.put("/elsewhere", "x")        # there has to be something new to forget
        self.net.etcd.compact()

    # Of the store; it is back at the round's end at the latest

    def etcd_restarts(self):
        if self.rng.random() < 0.5:
            self.net.etcd.stop()
        else:
            self.net.etcd.kill()
        self._now_or_later(self.net.etcd.start)

    def etcd_hangs(self):
        self.net.etcd.pause()
        if self.rng.random() < 0.5:
            wait_for(lambda: not self.net.hosts[2].agent.status()["store"]["up"], "h3 to miss the store", 20)
        self.at_end.append(self.net.etcd.resume)

    def _now_or_later(self, action):
        if self.rng.random() < 0.5:
            action()
        else:
            self.at_end.append(action)

    # On a host

    def drift(self, name=None, host=None):
        """Spoil some entries, or a whole table or device of h3, unless that was done often of late."""
        host = host or self.rng.choice(self.net.hosts)
        drifts = {**NARROW, **WIDE} if host is self.net.hosts[2] else NARROW
        name = name or self.rng.choice(sorted(drifts))
        program, template, kinds = drifts[name]
        rng = random.Random(self.rng.random())      # what comes later does not depend on the time
        now = time.monotonic()
        times = [self.spoilt[host.name, kind] for kind in kinds.split()]
        if any(len([t for t in of_kind if now - t < 61]) >= DRIFTS_A_MINUTE for of_kind in times):
            return
        for of_kind in times:
            of_kind.append(now)
        lines = dict.fromkeys(template.format(**entry) for entry in self._victims(host, rng))
        # -force: an entry that is not there, or not yet, is no reason to stop.
        run([program, "-n", host.netns, "-force", "-batch", "-"], check=False, stdin="\n".join(lines) + "\n")
        self.counts[name] += 1

    def _victims(self, host, rng):
        """Some of a host's peers with what the kernel has for them; none that traffic of c1 and c2 goes through."""
        spared = {self.world.own[h.name].subnet for h in self.net.hosts[:2]} if host is not self.net.hosts[2] else ()
        peers = [p for p in self.world.peers(host) if p.subnet not in spared]
        nexthops = {n.get("gateway"): n["id"] for n in host.ip_json("nexthop", "show")}
        return [{"subnet": p.subnet, "gateway": p.gateway, "mac": p.mac, "address": p.address,
                 "nexthop": nexthops.get(p.address if self.world.is_direct(p) else p.gateway, 1),
                 "own": self.world.own[host.name].gateway}
                for p in rng.sample(peers, min(len(peers), rng.randint(1, AT_ONCE)))]

    def agent_goes(self):
        """Stopped or killed; the containers do not notice, however long it is away."""
        agent = self.rng.choice(self.net.hosts[:2]).agent
        if agent.alive():
            if self.rng.random() < 0.5 and self._answers(agent):
                assert agent.stop() == 0
            else:
                agent.kill()
            self._now_or_later(agent.restart)

    def hangup(self):
        agent = self.rng.choice(self.net.hosts).agent
        if self._answers(agent):
            agent.reload()

    @staticmethod
    def _answers(agent):
        """Before that a signal ends it as any program."""
        try:
            return agent.alive() and agent.request("/healthz")[0] == 200
        except (LabError, OSError):
            return False

    def clients(self):
        """Those that end, those that stay for a while, and those that vanish in the middle."""
        host = self.rng.choice(self.net.hosts)
        host.weft(self.rng.choice(["status", "plan"]), check=False)
        watcher = host.spawn(operator_binary(), "watch", "--json", log=os.devnull, env=clean_environment())
        self._now_or_later(watcher.kill)
        for request in ("", "GET /agent/v1/st", "GET /agent/v1/watch HTTP/1.1\r\nHost: weft\r\n\r\n",
                        "GET /agent/v1/plan HTTP/1.1\r\nHost: weft\r\n\r\n"):
            opened = socket.socket(socket.AF_UNIX)
            try:
                opened.connect(str(host.agent.socket_path))
                opened.sendall(request.encode())
            except OSError:
                pass                    # its agent is away
            self._now_or_later(opened.close)

    # Rounds

    def end_round(self):
        while self.at_end:
            self.at_end.pop()()
        self.net.etcd.wait_ready()
        settle(self.world)

    def round(self):
        """Some events in the store, perhaps an outage of it, some on the hosts meanwhile; then all is as wanted."""
        events = self.rng.sample([self.leases_come, self.leases_change, self.leases_go, self.junk_comes,
                                  self.junk_goes, self.config_changes, self.compaction], k=self.rng.randint(0, 3))
        if self.rng.random() < 0.4:
            events.append(self.rng.choice([self.etcd_restarts, self.etcd_hangs]))
        events += self.rng.choices([self.drift, self.agent_goes, self.hangup, self.clients],
                                   weights=[4, 1, 1, 1], k=self.rng.randint(1, 6))
        self._do(events)

    def _do(self, events):
        names = " ".join(event.__name__ for event in events)
        print(f"{names}; {len(self.world.foreign)} leases before", flush=True)
        self.counts.update(event.__name__ for event in events)
        for event in events:
            event()
        self.end_round()

    def warm_up(self):
        """Each event once, so that all memory that an agent keeps for good is got."""
        self._do([self.leases_come, self.all_junk_comes, self.compaction, self.clients])
        for name in WIDE:
            self.spoilt.clear()
            self.drift(name, self.net.hosts[2])
            settle(self.world)
        self._do([self.leases_change, self.config_changes, self.etcd_restarts, self.hangup])
        self._do([self.etcd_hangs, self.agent_goes, self.drift, self.hangup])
        self.spoilt.clear()

    def come_to_rest(self):
        """As many peers as ever, then only each other, with the config of the beginning."""
        put_leases(self.net.etcd, range(MOST_LEASES))
        delete_leases(self.net.etcd, sorted(set(self.world.foreign) - set(range(MOST_LEASES))))
        self.world.foreign = dict.fromkeys(range(MOST_LEASES), 0x10)
        settle(self.world)
        while self.world.foreign:
            self._lose(MOST_SHARE)
            settle(self.world)
        self.junk_goes()
        self.world.mtu, self.world.direct = None, False
        self.net.put_config(self.world.config())
        settle(self.world)
        await_files(self.world)


@pytest.mark.soak
@pytest.mark.serial
def test_soak(fabric):
    seconds, seed = int(os.environ.get("SOAK_SECONDS") or 300), os.environ.get("SOAK_SEED") or str(time.time_ns())
    print(f"\nSOAK_SECONDS={seconds} SOAK_SEED={seed}", flush=True)
    net = fabric(hosts=3, config=CONFIG, flags=FLAGS)
    net.ping_all()
    soak = Soak(net, random.Random(seed))
    c1, c2, c3 = net.containers
    with Probe(c1, c2, interval_ms=10) as unharmed, Probe(c1, c3, interval_ms=10) as harmed:
        soak.warm_up()
        soak.come_to_rest()
        before = {h.name: measure_quiet(h) for h in net.hosts}
        oldest, end, rounds = net.hosts[2].agent.pid, time.monotonic() + seconds, 0
        while time.monotonic() < end:
            soak.round()
            rounds += 1
        soak.come_to_rest()
        assert_nothing_grew(soak.world, before)
    print(f"{rounds} rounds: {', '.join(f'{n} {name}' for name, n in sorted(soak.counts.items()))}")
    print(f"unharmed: {unharmed.result}\nharmed: {harmed.result}", flush=True)
    assert unharmed.result.lost == 0 and unharmed.result.tcp_broken is None, str(unharmed.result)
    assert harmed.result.tcp_broken is None, str(harmed.result)
    assert net.hosts[2].agent.alive() and net.hosts[2].agent.pid == oldest
    assert all(h.agent.ready() for h in net.hosts)
    net.ping_all()
