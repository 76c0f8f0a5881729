# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Firewall rules: who sees whose address, that running connections keep theirs, and that what is flushed comes back.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 fd77:1::/64 -- etcd
    out ------+                                             knows nothing of the network

The rules themselves, one by one, are in tests/unit/test_masq.c and test_iptables_text.c; here are those of a whole
host, as nft and iptables list them.
"""

import contextlib
import re
import socket
import time

import pytest
from programmed import CONFIG, DUAL_CONFIG

from lab import wait_for

BACK_S = 1
PATH = "/usr/sbin:/usr/bin:/bin"
WAIT_S = 10
V4_ONLY = """\
table ip flannel-ipv4 {{
    chain postrtg {{
        type nat hook postrouting priority srcnat; policy accept;
        meta mark & 0x00004000 == 0x00004000 return
        ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return
        ip saddr != 10.1.0.0/16 ip daddr {own} return
        ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade{random}
        ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade{random}
    }}

    chain forward {{
        type filter hook forward priority filter; policy accept;
        ip saddr 10.1.0.0/16 accept
        ip daddr 10.1.0.0/16 accept
    }}
}}
"""
V6_TOO = """\
table ip6 flannel-ipv6 {{
    chain postrtg {{
        type nat hook postrouting priority srcnat; policy accept;
        meta mark & 0x00004000 == 0x00004000 return
        ip6 saddr fc00:1::/48 ip6 daddr fc00:1::/48 return
        ip6 saddr != fc00:1::/48 ip6 daddr {own6} return
        ip6 saddr fc00:1::/48 ip6 daddr != ff00::/8 masquerade{random}
        ip6 saddr != fc00:1::/48 ip6 daddr fc00:1::/48 masquerade{random}
    }}

    chain forward {{
        type filter hook forward priority filter; policy accept;
        ip6 saddr fc00:1::/48 accept
        ip6 daddr fc00:1::/48 accept
    }}
}}
"""
FORWARD_ONLY = """\
table ip flannel-ipv4 {
    chain forward {
        type filter hook forward priority filter; policy accept;
        ip saddr 10.1.0.0/16 accept
        ip daddr 10.1.0.0/16 accept
    }
}
"""


def ruleset(host):
    return host.run("nft", "list", "ruleset").stdout.expandtabs(4)


def rules_of(host):
    return host.agent.status()["firewall"]


def await_rules(host):
    wait_for(lambda: rules_of(host)["in_order"], "the rules to be in place", WAIT_S)


def make(fabric, lab, flags=("-ip-masq",), hosts=2, **kwargs):
    net = fabric(hosts=hosts, config=kwargs.pop("config", CONFIG), flags=flags, **kwargs)
    for host in net.hosts:
        await_rules(host)
    return net, lab.host("out", net.segments[0])


@contextlib.contextmanager
def connection(client, server, target, source=None, port=0, through=None):
    """A TCP connection: (client's end, server's end, whom the server sees). through: (address, port) leading to it."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with server.socket(family) as listener, client.socket(family) as caller:
        for end in (listener, caller):
            end.settimeout(WAIT_S)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((target, port))
        listener.listen()
        if source:
            caller.bind((source, 0))
        caller.connect(through or listener.getsockname()[:2])
        accepted, peer = listener.accept()
        with accepted:
            accepted.settimeout(WAIT_S)
            yield caller, accepted, peer[0]


def seen(*args, **kwargs):
    """Whom the server sees; bytes go both ways."""
    with connection(*args, **kwargs) as (caller, accepted, peer):
        exchange(caller, accepted)
        return peer


def exchange(caller, accepted):
    for sender, receiver in ((caller, accepted), (accepted, caller)):
        sender.sendall(b"x" * 1000)
        got = b""
        while len(got) < 1000:
            piece = receiver.recv(1000)
            assert piece, "the connection is closed"
            got += piece


@pytest.mark.parametrize("name, flags, config, family, expected", [
    ("v4", ["-ip-masq"], CONFIG, 4, V4_ONLY),
    ("v4 not random", ["-ip-masq", "-ip-masq-fully-random-disable"], CONFIG, 4, V4_ONLY),
    ("dual", ["-ip-masq"], DUAL_CONFIG, 46, V4_ONLY + V6_TOO),
    ("v6", ["-ip-masq"], {**DUAL_CONFIG, "EnableIPv4": False}, 46, V6_TOO),
    ("forward", [], CONFIG, 4, FORWARD_ONLY),
    ("none", ["-iptables-forward-rules=false"], CONFIG, 4, ""),
])
def test_rules(fabric, name, flags, config, family, expected):
    net = fabric(hosts=1, config=config, flags=[*flags, "-firewall=nftables"], family=family, containers=False)
    host = net.hosts[0]
    await_rules(host)
    lease = host.agent.status()["lease"]
    if flags and "masq" in flags[0]:
        expected = expected.format(own=lease["subnet"], own6=lease["ipv6_subnet"],
                                   random="" if "not random" in name else " fully-random")
    assert ruleset(host) == expected
    assert host.subnet_env()["FLANNEL_IPMASQ"] == ("true" if "-ip-masq" in flags else "false")
    assert "nothing is done" not in host.agent.log() and "not carried out" not in host.agent.log()


@pytest.mark.parametrize("version", [4, 6])
def test_who_sees_whom(fabric, lab, version):
    net, out = make(fabric, lab, config=DUAL_CONFIG, family=46)
    (h1, h2), (c1, c2) = net.hosts, net.containers
    ip = f"v{version}"
    of = {node: getattr(node, ip) for node in (h1, h2, c1, c2, out)}
    subnet = "subnet" if version == 4 else "ipv6_subnet"
    vtep = {h: h.agent.status()["lease"][subnet].split("/")[0] for h in net.hosts}
    assert seen(c1, out, of[out]) == of[h1], "leaving the network: masqueraded"
    assert seen(c1, c2, of[c2]) == of[c1], "inside of it: not"
    assert seen(c1, h1, of[h1]) == of[c1], "to the own host: not"
    assert seen(h1, c2, of[c2]) == vtep[h1], "host to another's container"
    assert seen(h1, c2, of[c2], source=of[h1]) == vtep[h1], "from its public address as well: masqueraded"
    assert seen(h1, c1, of[c1], source=of[h1]) == of[h1], "to its own: not"
    # From outside, through h1: its own containers see who it is, those of others see h1.
    out.ip(f"-{version}", "route", "add", net.config["Network" if version == 4 else "IPv6Network"], "via", of[h1])
    assert seen(out, c1, of[c1]) == of[out]
    assert seen(out, c2, of[c2]) == vtep[h1]


def test_excluded(fabric, lab):
    """It has a route back, and so sees who it is."""
    net, out = make(fabric, lab, hosts=1,
                    flags=["-ip-masq", "-ip-masq-exclude=172.16.0.0/12,192.168.77.0/24,fd77::/16"])
    h1, c1 = net.hosts[0], net.containers[0]
    out.ip("route", "add", "10.1.0.0/16", "via", h1.v4)
    assert seen(c1, out, out.v4) == c1.v4
    assert seen(out, c1, c1.v4) == out.v4
    assert "ip saddr 10.1.0.0/16 ip daddr 192.168.77.0/24 return" in ruleset(h1)
    assert "fd77" not in ruleset(h1)


def test_hairpin(fabric, lab):
    """What kube-proxy (here: two rules of another table) marks for itself is left to it, so that a container reaches
    itself by the host's port."""
    net, _ = make(fabric, lab)
    h1, c1 = net.hosts[0], net.containers[0]
    own = rules_of(h1)["repairs"]
    port = next(p["ifname"] for p in h1.bridge_json("link", "show") if p.get("master") == "cni0")
    h1.run("bridge", "link", "set", "dev", port, "hairpin", "on")
    h1.run("nft", "-f", "-", stdin=f"""
        table ip service {{
            chain in {{ type nat hook prerouting priority dstnat;
                ip daddr {h1.v4} tcp dport 8080 meta mark set mark or 0x4000 dnat to {c1.v4}:80; }}
            chain out {{ type nat hook postrouting priority srcnat + 10; mark and 0x4000 != 0 masquerade; }}
        }}""")
    bridge = h1.subnet_env()["FLANNEL_SUBNET"].split("/")[0]
    assert seen(c1, c1, c1.v4, port=80, through=(h1.v4, 8080)) == bridge
    assert rules_of(h1)["repairs"] == own


def tracked(host, text):
    lines = host.run("conntrack", "-L", "-o", "id", check=False).stdout.splitlines()
    return sorted(re.search(r"id=\d+", line)[0] for line in lines if text in line)


def test_running_connections(fabric, lab):
    """A flush, a reload and a restart: connections masqueraded or not go on, and are tracked as before."""
    net, out = make(fabric, lab)
    (h1, _), (c1, c2) = net.hosts, net.containers
    with connection(c1, out, out.v4) as (outer, outer_end, peer), connection(c1, c2, c2.v4) as (inner, inner_end, _):
        assert peer == h1.v4
        exchange(outer, outer_end)
        before = tracked(h1, f"dst={out.v4}")
        assert before

        def go_on(what):
            await_rules(h1)
            exchange(outer, outer_end)
            exchange(inner, inner_end)
            assert tracked(h1, f"dst={out.v4}") == before, what
        h1.agent.reload()
        h1.agent.wait_log("reading everything again")
        go_on("reload")
        changes = h1.agent.metric("weft_firewall_changes_total")
        assert h1.agent.stop() == 0
        assert "masquerade" in ruleset(h1)
        exchange(outer, outer_end)
        h1.agent.restart()
        h1.agent.wait_ready()
        go_on("restart")
        assert changes == 1 and h1.agent.metric("weft_firewall_changes_total") == 0, "nothing is applied that is there"
        repairs = rules_of(h1)["repairs"]
        h1.run("nft", "flush", "ruleset")
        exchange(outer, outer_end)
        wait_for(lambda: rules_of(h1)["repairs"] > repairs, "the repair", WAIT_S)
        go_on("flush")
    assert "again and again" not in h1.agent.log()


FLUSHES = {"ruleset": "nft flush ruleset", "tables": "nft flush table ip flannel-ipv4",
           "deleted": "nft delete table ip flannel-ipv4",
           "one rule": "nft add rule ip flannel-ipv4 forward drop"}


@pytest.mark.parametrize("flush", FLUSHES)
def test_flushed(fabric, lab, flush):
    net, out = make(fabric, lab, hosts=1)
    host, container = net.hosts[0], net.containers[0]
    before = ruleset(host)
    repairs = rules_of(host)["repairs"]
    host.run("sh", "-ec", FLUSHES[flush])
    started = time.monotonic()
    wait_for(lambda: ruleset(host) == before, "the rules to be back", WAIT_S)
    print(f"back after at most {(time.monotonic() - started) * 1000:.0f} ms; {BACK_S} s are promised")
    wait_for(lambda: rules_of(host)["in_order"] and rules_of(host)["repairs"] == repairs + 1, "to be told of", WAIT_S)
    assert seen(container, out, out.v4) == host.v4
    assert "repaired the tables flannel-ipv4 and flannel-ipv6 of nftables" in host.agent.log()
    plan = host.weft("plan").stdout
    assert "nothing to change" in plan


def test_war_is_told_and_planned(fabric, lab):
    net, _ = make(fabric, lab, hosts=1)
    host = net.hosts[0]

    def flush_until_war():
        if "held_s" in rules_of(host):
            return True
        if rules_of(host)["in_order"]:
            host.run("nft", "flush", "ruleset")
        return False
    wait_for(flush_until_war, "a war", 30, interval=0.1)
    assert "another program keeps undoing our rules" in host.weft("status", check=False).stdout
    plan = host.weft("plan").stdout
    missing = "postrtg ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade"
    assert re.search(rf"^create +rule +{missing}", plan, re.M), plan
    assert host.agent.log().count("again and again") == 1


def test_several_networks(fabric, lab):
    """Each has its own; what one network sends the other is masqueraded, but to the own host's containers."""
    net = fabric(hosts=2, config=False, agents=False, containers=False)
    for name, number in (("a", 1), ("b", 2)):
        net.store.put(f"/coreos.com/network/{name}/config",
                      {"Network": f"10.{number}.0.0/16", "Backend": {"Type": "vxlan", "VNI": number}})
    for host in net.hosts:
        net.start_agent(host, "-networks=a,b", "-ip-masq")
        await_rules(host)
    h1, h2 = net.hosts
    a1, b1, b2 = h1.container("a1", network="a"), h1.container("b1", network="b"), h2.container("b2", network="b")
    assert seen(a1, b1, b1.v4) == a1.v4
    assert seen(b1, b2, b2.v4) == b1.v4
    assert seen(a1, b2, b2.v4).startswith("10.2."), "h1's own address in b"
    assert rules_of(h1)["rules"] == 1 + 2 * 2 + 2 * 2 + 2 * 2


# ---- iptables

JUMPS = {"filter": '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
         "nat": '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG'}


def saved(host, kind="nft", command="iptables"):
    """What iptables-save prints of us, by table."""
    found, table = {}, None
    for line in host.run(f"{command}-{kind}-save").stdout.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif "FLANNEL" in line:
            found.setdefault(table, []).append(line)
    return found


def expected(own, network="10.1.0.0/16", groups="224.0.0.0/4", random=" --random-fully"):
    masq, forward = '-m comment --comment "flanneld masq" -j', '-m comment --comment "flanneld forward" -j'
    return {"filter": [":FLANNEL-FWD - [0:0]", JUMPS["filter"],
                       f"-A FLANNEL-FWD -s {network} {forward} ACCEPT",
                       f"-A FLANNEL-FWD -d {network} {forward} ACCEPT"],
            "nat": [":FLANNEL-POSTRTG - [0:0]", JUMPS["nat"],
                    f"-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {masq} RETURN",
                    f"-A FLANNEL-POSTRTG -s {network} -d {network} {masq} RETURN",
                    f"-A FLANNEL-POSTRTG ! -s {network} -d {own} {masq} RETURN",
                    f"-A FLANNEL-POSTRTG -s {network} ! -d {groups} {masq} MASQUERADE{random}",
                    f"-A FLANNEL-POSTRTG ! -s {network} -d {network} {masq} MASQUERADE{random}"]}


@pytest.mark.parametrize("kind", ["nft", "legacy"])
@pytest.mark.parametrize("random", [" --random-fully", ""])
def test_iptables(fabric, kind, random):
    """Asked for, of both families; a kind that is in use is the one."""
    flags = ["-ip-masq", "-firewall=iptables", *([] if random else ["-ip-masq-fully-random-disable"])]
    net = fabric(hosts=1, config=DUAL_CONFIG, family=46, agents=False, flags=flags)
    host = net.hosts[0]
    if kind == "legacy":
        host.run("iptables-legacy", "-L", "FORWARD")
    net.start_agent(host)
    await_rules(host)
    lease = host.agent.status()["lease"]
    assert saved(host, kind) == expected(lease["subnet"], random=random)
    assert saved(host, kind, "ip6tables") == expected(lease["ipv6_subnet"], "fc00:1::/48", "ff00::/8", random)
    assert rules_of(host)["kind"] == kind and "flannel-ipv" not in ruleset(host)


def test_nothing_of_iptables_is_run_while_nothing_changes(fabric, tmp_path):
    """Its programs are counted; that of the old kind, which is in use and tells nothing, is run once a look."""
    net = fabric(hosts=1, config=CONFIG, agents=False, containers=False)
    host = net.hosts[0]
    runs = tmp_path / "runs"
    runs.touch()
    for name in ("iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "iptables-nft-restore"):
        wrapper = tmp_path / name
        wrapper.write_text(f"#!/bin/sh\necho {name} >> {runs}\nPATH={PATH} exec {name} \"$@\"\n")
        wrapper.chmod(0o755)
    host.run("iptables-nft", "-P", "FORWARD", "DROP")
    host.run("iptables-legacy", "-L", "FORWARD")
    net.start_agent(host, "-ip-masq", "-iptables-resync=1", env={"PATH": f"{tmp_path}:{PATH}"})
    await_rules(host)
    wait_for(lambda: host.agent.metric("weft_firewall_looks_total") > 5, "it to be quiet", WAIT_S)
    before, looks = runs.read_text().split(), host.agent.metric("weft_firewall_looks_total")
    wait_for(lambda: host.agent.metric("weft_firewall_looks_total") > looks + 3, "some looks", WAIT_S)
    after = runs.read_text().split()
    assert set(after[len(before):]) == {"iptables-legacy-save"}
    assert before.count("iptables-nft-restore") == 1


DROPS = {"nft": ["iptables-nft -P FORWARD DROP"],
         "legacy": ["iptables-legacy -P FORWARD DROP"],
         "docker": ["iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN",
                    "iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -j DOCKER-USER"]}


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("first", ["weft", "drop"])
def test_forward_policy_drop(fabric, lab, drop, first):
    """Docker's or kube-proxy's, before and after the agent: rules of that iptables let the network pass, and nftables
    has none of ours."""
    net = fabric(hosts=2, config=CONFIG, agents=False)
    host, kind = net.hosts[0], drop if drop == "legacy" else "nft"
    out = lab.host("out", net.segments[0])

    def do_drop():
        for command in DROPS[drop]:
            host.run("sh", "-ec", command)
    if first == "drop":
        do_drop()
    for each in net.hosts:
        net.start_agent(each, "-ip-masq", "-iptables-resync=1")
        await_rules(each)
        net.add_container(each)
    if first == "weft":
        assert rules_of(host)["way"] == "nftables"
        # The kernel tells nothing of the old kind, of which nobody had anything: it is found at the next look.
        do_drop()
        if kind == "legacy":
            host.agent.reload()
    wait_for(lambda: rules_of(host)["way"] == "iptables" and rules_of(host)["in_order"], "iptables to be used",
             WAIT_S)
    status = rules_of(host)
    assert status["kind"] == kind and "drops what it does not know" in status["why"] and not status["warning"]
    assert "flannel-ipv4" not in ruleset(host)
    assert saved(host, kind) == expected(host.agent.status()["lease"]["subnet"])
    c1, c2 = net.containers
    assert seen(c1, c2, c2.v4) == c1.v4
    assert seen(c1, out, out.v4) == host.v4
    assert f"by iptables of kind {kind}" in host.agent.log()
    assert status["repairs"] == 0


IPTABLES_FLUSHES = {"all": "iptables-{kind} -F; iptables-{kind} -t nat -F; iptables-{kind} -X FLANNEL-FWD",
                    "nft": "nft flush ruleset", "jump": "iptables-{kind} -D FORWARD -m comment --comment"
                    " 'flanneld forward' -j FLANNEL-FWD", "rule": "iptables-{kind} -I FLANNEL-FWD -j DROP"}


# nft does not reach the old kind.
@pytest.mark.parametrize("kind, flush", [(kind, flush) for kind in ("nft", "legacy") for flush in IPTABLES_FLUSHES
                                         if (kind, flush) != ("legacy", "nft")])
def test_iptables_flushed(fabric, lab, kind, flush):
    net = fabric(hosts=1, config=CONFIG, agents=False, flags=["-ip-masq", "-iptables-resync=1"])
    host, out = net.hosts[0], lab.host("out", net.segments[0])
    host.run(f"iptables-{kind}", "-P", "FORWARD", "DROP")
    net.start_agent(host)
    await_rules(host)
    container = net.add_container(host)
    before = saved(host, kind)
    with connection(container, out, out.v4) as (caller, accepted, peer):
        assert peer == host.v4
        host.run("sh", "-ec", IPTABLES_FLUSHES[flush].format(kind=kind))
        wait_for(lambda: saved(host, kind) == before, "the rules to be back", WAIT_S)
        exchange(caller, accepted)
    wait_for(lambda: rules_of(host)["in_order"] and rules_of(host)["repairs"] > 0, "to be told of", WAIT_S)
    # All is in place again, but the policy itself is nobody's affair but its owner's.
    assert seen(container, out, out.v4) == host.v4


def test_left_by_flannel(fabric):
    """Chains of iptables go when nftables is used, and come when iptables is; so do tables the other way round."""
    net = fabric(hosts=1, config=CONFIG, agents=False, containers=False)
    host = net.hosts[0]
    host.run("iptables-nft-restore", "--noflush", stdin="""*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FORWARD -j ACCEPT
-A FLANNEL-FWD -s 10.9.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -s 10.9.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE
COMMIT
""")
    host.run("iptables-legacy", "-N", "FLANNEL-FWD")
    net.start_agent(host, "-ip-masq")
    await_rules(host)
    assert rules_of(host)["way"] == "nftables"
    assert saved(host) == {} and saved(host, "legacy") == {}
    assert host.run("iptables-nft", "-S", "FORWARD").stdout.splitlines()[1:] == ["-A FORWARD -j ACCEPT"]
    before = ruleset(host)
    assert "flannel-ipv4" in before
    assert host.agent.stop() == 0
    net.start_agent(host, "-ip-masq", "-firewall=iptables")
    await_rules(host)
    # Its old kind is in use on this host, since there was a chain.
    assert saved(host) == {} and saved(host, "legacy") == expected(host.agent.status()["lease"]["subnet"])
    assert "flannel-ipv4" not in ruleset(host)


def test_asked_for_by_the_config(fabric):
    """EnableNFTables: nftables although a chain of iptables drops, which is told."""
    net = fabric(hosts=1, config={**CONFIG, "EnableNFTables": True}, agents=False, containers=False)
    host = net.hosts[0]
    host.run("iptables-nft", "-P", "FORWARD", "DROP")
    net.start_agent(host)
    await_rules(host)
    assert rules_of(host)["way"] == "nftables" and "EnableNFTables" in rules_of(host)["why"]
    assert "FORWARD chain of iptables drops" in host.weft("status").stdout


def test_drops_of_others_are_told(fabric):
    net = fabric(hosts=1, config=CONFIG, containers=False, flags=["-iptables-resync=1"])
    host = net.hosts[0]
    await_rules(host)
    host.run("nft", "-f", "-", stdin="table inet fw { chain f { type filter hook forward priority 0; policy drop; }; }")
    host.agent.reload()
    host.agent.wait_log("firewall: chain inet fw f drops what it does not know")
    assert "chain inet fw f drops" in host.weft("status").stdout
