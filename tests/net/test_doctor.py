# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft doctor: each finding by a fault that is made on purpose, and nothing where nothing is wrong.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 -- etcd
    h3 --+        doctor runs on h1
"""

import json
import pathlib
import re
import sys

import pytest
from test_cli_agent import STATUS, FakeAgent, peer

from lab import wait_for
from lab.agent import REPOSITORY

OK, WARNING, ERROR = 0, 10, 11
HOSTGW = {"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}}
CHECKS = re.findall(r'^\t\{ "([a-z-]+)", DOCTOR_', (REPOSITORY / "src/cli/doctor.c").read_text(encoding="utf-8"), re.M)


def doctor(host, *flags):
    """(exit code, lines)."""
    done = host.weft("doctor", *flags, check=False, timeout=60)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def expect(host, code, *patterns):
    """Exactly these lines, and all of each."""
    got, lines = doctor(host)
    assert len(lines) == len(patterns) and all(map(re.fullmatch, patterns, lines)), "\n".join(lines)
    assert got == code


def line(severity, check, what, why, mend=None):
    """A pattern; what may be one, all else is as it is."""
    return f"{severity} {check}: {what}; {re.escape(why)}" + (f"; mend: {re.escape(mend)}" if mend else "")


def subnet_of(host):
    return host.agent.status()["lease"]["subnet"]


def cover(host, path, files):
    """Other files in place of a directory of the kernel's, for this host alone."""
    directory = host.run_dir / "covers"
    directory.mkdir(exist_ok=True)
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text, encoding="ascii")
    host.run("mount", "--bind", "/run/covers", path)


def odd_host(net, *flags):
    """A peer that is there for those who ask it, and not quite right; of a backend without a device."""
    host = net.hosts[1]
    script = str(pathlib.Path(__file__).parent / "odd_host.py")
    process = host.spawn("/usr/bin/python3", script, "eth0", "192.168.77.99", *flags, name="odd")
    wait_for(lambda: "ready" in process.log(), "the odd host")
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:11:22:33:44:55", BackendType="host-gw", BackendData=None)
    wait_for(lambda: net.hosts[0].agent.status()["peers"]["programmed"] == 2, "it to be a peer")


# ---- nothing ----

@pytest.mark.parametrize("config, family", [(None, 4), (HOSTGW, 4), (None, 46)])
def test_nothing_is_wrong(fabric, config, family):
    net = fabric(hosts=3, config=config, family=family)
    net.ping_all()
    for host in net.hosts:
        assert doctor(host) == (OK, [f"nothing found by {len(CHECKS)} checks"])
    assert json.loads(net.hosts[0].weft("doctor", "--json").stdout) == {"findings": [], "checks": len(CHECKS)}


def test_every_check_has_its_fault_here():
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    document = (REPOSITORY / "docs/doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", document, re.M) == CHECKS
    assert len(CHECKS) == len(set(CHECKS)) > 25
    assert not [check for check in CHECKS if f'"{check}"' not in text]


# ---- what the agent says ----

def test_agent_is_gone(fabric):
    net = fabric(hosts=1, containers=False)
    net.hosts[0].agent.kill()
    expect(net.hosts[0], ERROR,
           line("error", "agent", "the agent of this host does not answer: .*",
                "traffic goes on as it was, and nothing is learnt or repaired", "systemctl start weftd"))


def test_store_is_gone(fabric):
    """For a while that is a warning, and then a reason."""
    net = fabric(hosts=1, containers=False, flags=["--store-grace=6s"])
    host = net.hosts[0]
    net.etcd.kill()
    wait_for(lambda: not host.agent.status()["store"]["up"], "the agent to notice")
    expect(host, WARNING,
           line("warning", "store", r"the store \(etcd3\) is not reached for \d s: .*2379.*",
                "new hosts are not learnt, and in a day the lease ends", "weft status"))
    wait_for(lambda: not host.agent.ready(), "the grace to be over", timeout=20)
    expect(host, ERROR, line("error", "not-ready", r"store not reached for \d+ s: .*",
                             "what needs the network on this host waits", "weft status"))


def test_another_program_undoes(fabric):
    net = fabric(hosts=2, containers=False)
    host, other = net.hosts[0], subnet_of(net.hosts[1])

    def undo():
        host.ip("route", "del", other, check=False)
        return host.agent.status()["wars"]

    wait_for(undo, "a war to be declared")
    expect(host, ERROR, line("error", "war", f"another program keeps undoing route {other}.*",
                             "packets are lost whenever it is undone", "weft watch"),
           line("error", "peer-port", ".*", "its containers are not reached"))


def test_config_wants_a_restart(fabric):
    net = fabric(hosts=1, containers=False)
    net.put_config({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}})
    wait_for(lambda: net.hosts[0].agent.status()["restart_needed"], "the agent to hear of it")
    expect(net.hosts[0], WARNING,
           line("warning", "restart", "weftd runs with another config: Backend.VNI",
                "this host does not work as the network's config says", "systemctl restart weftd"))


def ask_of(fabric, tmp_path, peers=(), **status):
    """What doctor says on h1 of an agent that is made up."""
    net = fabric(hosts=2, containers=False, agents=False)
    fake = FakeAgent(tmp_path / "weft.sock")
    fake.answers["/agent/v1/status"] = {**STATUS, "network": {}, "interface": None, **status}
    fake.answers["/agent/v1/peers"] = {"peers": list(peers)}
    done = net.hosts[0].weft("doctor", f"--socket={fake.path}", check=False)
    fake.close()
    return done.returncode, done.stdout.rstrip("\n")


def test_another_version_runs(fabric, tmp_path):
    code, said = ask_of(fabric, tmp_path, version="0.0.9", backend={"type": "", "devices": []})
    assert re.fullmatch(line("warning", "version", r"weftd 0\.0\.9 runs, and weft is [0-9.]+",
                             "what was installed is not what runs", "systemctl restart weftd"), said), said
    assert code == WARNING


MISSING = [m for m in ("ipip", "wireguard", "vxlan") if not pathlib.Path("/sys/module", m).exists()]
if MISSING:                 # else there is nothing to be told of
    def test_module_is_missing(fabric, tmp_path):
        code, said = ask_of(fabric, tmp_path, backend={"type": MISSING[0], "devices": []})
        what = f"the module {MISSING[0]} is not loaded, and its device is not there"
        assert re.fullmatch(line("error", "module", what,
                                 "the backend's device cannot be made", f"modprobe {MISSING[0]}"), said), said
        assert code == ERROR


# ---- leases ----

def test_two_leases_of_one_address(fabric):
    net = fabric(hosts=2, containers=False)
    other = subnet_of(net.hosts[1])
    net.put_lease("10.1.9.0-24", "192.168.77.12", "0e:11:22:33:44:55")
    wait_for(lambda: len(net.hosts[0].agent.peers()["peers"]) == 2, "the second lease")
    first, second = sorted(["10.1.9.0/24", other])
    expect(net.hosts[0], ERROR,
           line("error", "duplicate-ip", f"192.168.77.12 is the public address of {first} and of {second}",
                "packets for one of the hosts go to the other", "weft lease list"))


def test_another_lease_of_our_address(fabric):
    net = fabric(hosts=1, containers=False)
    first, second = sorted(["10.1.9.0/24", f"{subnet_of(net.hosts[0])} (this host)"])
    net.put_lease("10.1.9.0-24", "192.168.77.11", "0e:11:22:33:44:55")
    wait_for(lambda: net.hosts[0].agent.peers()["peers"], "the lease")
    _, lines = doctor(net.hosts[0])
    what = f"192.168.77.11 is the public address of {first} and of {second}"
    assert re.fullmatch(line("error", "duplicate-ip", re.escape(what), "packets for one of the hosts go to the other",
                             "weft lease list"), lines[0]), lines


def test_two_leases_of_one_subnet(fabric):
    net = fabric(hosts=2, containers=False)
    other = subnet_of(net.hosts[1])
    net.put_lease(other.replace("/24", "-25"), "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: len(net.hosts[0].agent.peers()["peers"]) == 2, "the second lease")
    expect(net.hosts[0], ERROR,
           line("error", "duplicate-subnet", f"{other} of 192.168.77.12 overlaps {other.replace('/24', '/25')} of"
                " 192.168.77.99", "two hosts give containers the same addresses", "weft lease list"))


def test_a_lease_that_is_not_good(fabric):
    net = fabric(hosts=1, containers=False)
    net.put_lease("10.1.9.0-24", "0.0.0.0", "0e:11:22:33:44:55")
    wait_for(lambda: net.hosts[0].agent.peers()["peers"], "the lease")
    expect(net.hosts[0], WARNING,
           line("warning", "lease-rejected", "the lease 10.1.9.0-24 is not good: PublicIP is none: .*",
                "nobody reaches that host", "weft lease list"))


def test_a_peer_that_cannot_be_programmed(fabric):
    net = fabric(hosts=2, containers=False)
    host = net.hosts[0]
    host.ip("route", "add", "blackhole", "10.1.9.0/24")
    net.put_lease("10.1.9.0-24", "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: host.agent.status()["peers"]["failed"] == 1, "the peer to fail")
    expect(host, ERROR,
           line("error", "peer-failed", "10.1.9.0/24 of 192.168.77.99 cannot be programmed: route 10.1.9.0/24 is in the"
                " way and not weft's; remove it with 'ip route del'", "that host is not reached from here",
                "weft status --peers"))


# ---- this host ----

def test_forwarding_is_off_and_mended(fabric):
    net = fabric(hosts=1, containers=False)
    host = net.hosts[0]
    host.sysctl("net/ipv4/ip_forward", 0)
    expect(host, ERROR, line("error", "ip-forward", "IPv4 is not forwarded", "containers reach nobody beyond this host",
                             "sysctl -w net.ipv4.ip_forward=1"))
    (finding,) = json.loads(host.weft("doctor", "--json", check=False).stdout)["findings"]
    assert finding["fixable"] and not finding["mended"] and finding["id"] == "ip-forward"
    assert host.sysctl("net/ipv4/ip_forward") == "0"
    assert doctor(host, "--fix") == (OK, ["mended ip-forward: IPv4 is not forwarded; containers reach nobody beyond"
                                          " this host; done: sysctl -w net.ipv4.ip_forward=1"])
    assert host.sysctl("net/ipv4/ip_forward") == "1"


@pytest.mark.parametrize("device", ["eth0", "flannel.12345"])
def test_strict_reverse_path_filter(fabric, device):
    net = fabric(hosts=1, containers=False)
    host = net.hosts[0]
    host.sysctl(f"net/ipv4/conf/{device}/rp_filter", 1)
    key = f"net.ipv4.conf.{device.replace('.', '/')}.rp_filter"
    expect(host, WARNING, line("warning", "rp-filter", f"the reverse path filter of {device} is strict",
                               "packets whose way back is another interface are dropped without a word",
                               f"sysctl -w {key}=2"))
    assert doctor(host, "--fix")[0] == OK and host.sysctl(f"net/ipv4/conf/{device}/rp_filter") == "2"


def program(host, name):
    """One that sleeps, by another's name."""
    path = host.run_dir / name
    path.symlink_to("/bin/sleep")
    process = host.spawn(f"/run/{name}", "600")
    wait_for(lambda: pathlib.Path(f"/proc/{process.pid}/comm").read_text(encoding="ascii").strip() == name, name)


def test_bridge_netfilter(fabric):
    net = fabric(hosts=1, containers=False)
    host = net.hosts[0]
    program(host, "kubelet")
    why = "answers of a service to a pod on the same host come from the wrong address"
    if pathlib.Path("/proc/sys/net/bridge").exists():
        host.sysctl("net/bridge/bridge-nf-call-iptables", 0)
        expect(host, WARNING, line("warning", "bridge-nf", "packets that are bridged pass by the firewall", why,
                                   "sysctl -w net.bridge.bridge-nf-call-iptables=1"))
    else:
        expect(host, WARNING, line("warning", "bridge-nf", "the module br_netfilter is not loaded", why,
                                   "modprobe br_netfilter"))


if pathlib.Path("/proc/sys/net/netfilter").exists():        # else nothing is tracked
    def test_conntrack_is_almost_full(fabric):
        net = fabric(hosts=1, containers=False)
        cover(net.hosts[0], "/proc/sys/net/netfilter", {"nf_conntrack_count": "80\n", "nf_conntrack_max": "100\n"})
        expect(net.hosts[0], WARNING, line("warning", "conntrack", "80 of 100 connections are tracked",
                                           "when it is full new connections are dropped",
                                           "sysctl -w net.netfilter.nf_conntrack_max=400"))


def test_neighbours_are_almost_too_many(fabric):
    net = fabric(hosts=2)
    net.ping_all()
    cover(net.hosts[0], "/proc/sys/net/ipv4/neigh", {"default/gc_thresh3": "1\n"})
    expect(net.hosts[0], WARNING, line("warning", "neighbours", r"\d neighbours are known, and there is room for 1",
                                       "when it is full hosts and containers stop being reached",
                                       "sysctl -w net.ipv4.neigh.default.gc_thresh3=4"))


def test_bridge_with_a_larger_mtu(fabric):
    net = fabric(hosts=1)
    net.hosts[0].ip("link", "set", "cni0", "mtu", "1500")
    expect(net.hosts[0], WARNING,
           line("warning", "bridge-mtu", "the MTU of cni0 is 1500, and 1450 is what gets through",
                "large packets of containers are cut or lost", "ip link set cni0 mtu 1450"))


def test_wrong_checksums(fabric):
    net = fabric(hosts=2, containers=False)
    code = """
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
for _ in range(3):
    s.sendto(struct.pack(">HHHH", 9, 9, 12, 1) + b"text", ("192.168.77.11", 0))
"""
    net.hosts[1].run("/usr/bin/python3", "-c", code)
    wait_for(lambda: " 3 " in net.hosts[0].run("grep", "^Udp:", "/proc/net/snmp").stdout.splitlines()[1],
             "them to arrive")
    expect(net.hosts[0], WARNING,
           line("warning", "checksums",
                "3 packets came with wrong checksums, and flannel.12345 leaves checksums to the card",
                "a network card that computes checksums of what is encapsulated wrongly looks like this",
                "ethtool -K flannel.12345 tx-checksum-ip-generic off"))


# ---- other programs ----

def test_firewalld(fabric):
    """Of this host; the one of another network namespace is not."""
    net = fabric(hosts=2, containers=False)
    program(net.hosts[0], "firewalld")
    expect(net.hosts[0], WARNING,
           line("warning", "firewalld", "firewalld runs here, and may not know flannel.12345",
                "it drops what is forwarded and what comes to the backend",
                "firewall-cmd --permanent --zone=trusted --add-interface=flannel.12345"
                " && firewall-cmd --permanent --add-port=8472/udp && firewall-cmd --reload"))
    expect(net.hosts[1], OK, f"nothing found by {len(CHECKS)} checks")


def state_file(host, directory, prefix, text):
    """What a manager keeps of our device."""
    index = host.ip_json("link", "show", "flannel.12345")[0]["ifindex"]
    path = host.run_dir / directory
    path.mkdir(parents=True)
    (path / f"{prefix}{index}").write_text(text, encoding="ascii")


def test_network_manager(fabric):
    net = fabric(hosts=1, containers=False)
    state_file(net.hosts[0], "NetworkManager/devices", "", "[device]\nmanaged=true\n")
    expect(net.hosts[0], WARNING,
           line("warning", "networkmanager", "NetworkManager manages flannel.12345",
                "it takes addresses and routes away at its restart",
                "nmcli device set flannel.12345 managed no"))


@pytest.mark.parametrize("state, code", [("configured", WARNING), ("unmanaged", OK)])
def test_networkd(fabric, state, code):
    net = fabric(hosts=1, containers=False)
    state_file(net.hosts[0], "systemd/netif/links", "", f"# private\nADMIN_STATE={state}\nOPER_STATE=carrier\n")
    found = line("warning", "networkd", "systemd-networkd manages flannel.12345",
                 "it takes addresses and routes away at its restart",
                 "printf '[Match]\\nName=flannel.12345\\n[Link]\\nUnmanaged=yes\\n' >"
                 " /etc/systemd/network/10-weft.network && networkctl reload")
    expect(net.hosts[0], code, found if code else f"nothing found by {len(CHECKS)} checks")


def test_udev(fabric):
    net = fabric(hosts=1, containers=False)
    (net.hosts[0].run_dir / "99-default.link").write_text("[Link]\nMACAddressPolicy=persistent\n", encoding="ascii")
    state_file(net.hosts[0], "udev/data", "n", "I:1\nE:ID_NET_LINK_FILE=/run/99-default.link\nV:1\n")
    expect(net.hosts[0], OK,
           line("note", "udev-mac", "udev has set up flannel.12345 by /run/99-default.link, which gives MAC addresses",
                "a MAC address that changes makes all other hosts lose this one",
                "printf '[Match]\\nOriginalName=flannel.12345\\n[Link]\\nMACAddressPolicy=none\\n' >"
                " /etc/systemd/network/10-weft.link"))


# ---- the way to the others ----

def test_a_host_is_down(fabric):
    net = fabric(hosts=3, containers=False)
    other = subnet_of(net.hosts[1])
    net.hosts[1].interfaces["eth0"].cut(silent=True)
    expect(net.hosts[0], ERROR,
           line("error", "peer-underlay", f"192.168.77.12, the host of {other}, does not answer",
                "that host is down, or the network between is", "ping 192.168.77.12"))


def test_nobody_listens_at_the_port(fabric):
    net = fabric(hosts=2, containers=False)
    other = subnet_of(net.hosts[1])
    net.hosts[1].agent.kill()
    net.hosts[1].ip("link", "del", "flannel.12345")
    expect(net.hosts[0], ERROR,
           line("error", "peer-port", f"nobody listens at UDP port 8472 of 192.168.77.12, the host of {other}",
                "its containers are not reached", "systemctl restart weftd"))


def test_the_port_is_shut(fabric):
    """Somebody swallows what comes there, as a firewall does."""
    net = fabric(hosts=2, containers=False)
    host, other = net.hosts[1], subnet_of(net.hosts[1])
    host.agent.kill()
    host.ip("link", "del", "flannel.12345")
    code = """
import socket, time
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(("", 8472))
print("ready", flush=True)
time.sleep(600)
"""
    sink = host.spawn(sys.executable, "-c", code, name="sink")
    wait_for(lambda: "ready" in sink.log(), "the port to be taken")
    expect(net.hosts[0], ERROR,
           line("error", "peer-port", f"192.168.77.12, the host of {other}, answers, and not through UDP port 8472:"
                " let it pass both ways", "its containers are not reached"))


def test_the_path_takes_less_than_the_network(fabric):
    net = fabric(hosts=2, containers=False)
    other = subnet_of(net.hosts[1])
    if pathlib.Path("/proc/sys/net/bridge").exists():       # else the bridge that is the segment cuts what is too large
        net.segments[0].switches.sysctl("net/bridge/bridge-nf-call-iptables", 0)
    net.hosts[1].interfaces["eth0"].set_mtu(1400)
    expect(net.hosts[0], ERROR,
           line("error", "peer-mtu", f"192.168.77.12, the host of {other}, is not reached by packets of 1450 bytes:"
                " give all interfaces on the way the same MTU", "connections open and then hang"))


def test_some_packets_are_lost(fabric):
    net = fabric(hosts=2, config=HOSTGW, containers=False)
    odd_host(net, "--answers=2")
    expect(net.hosts[0], WARNING,
           line("warning", "peer-loss", "of 5 packets to 192.168.77.99, the host of 10.1.200.0/24, 3 were lost",
                "connections are slow", "mtr 192.168.77.99"))


def test_a_host_is_slow(fabric):
    net = fabric(hosts=2, config=HOSTGW, containers=False)
    odd_host(net, "--delay-s=0.23")
    expect(net.hosts[0], OK,
           line("note", "peer-latency", r"192.168.77.99, the host of 10.1.200.0/24, takes more than \d00 ms to answer",
                "connections are slow", "mtr 192.168.77.99"))


@pytest.mark.parametrize("off, words", [(90, "90 s ahead of"), (-40, "40 s behind")])
def test_a_clock_is_wrong(fabric, off, words):
    net = fabric(hosts=2, config=HOSTGW, containers=False)
    odd_host(net, f"--clock-s={off}")
    expect(net.hosts[0], WARNING,
           line("warning", "peer-clock", f"the clock of 192.168.77.99, the host of 10.1.200.0/24, is {words} ours",
                "certificates and logs of the two do not agree", "timedatectl set-ntp true"))


def test_a_tunnel_without_a_port(fabric, tmp_path):
    """The host answers, the first address of its subnet does not. The agent is made up: not all kernels have ipip."""
    device = {"name": "eth0", "mtu": 1480, "port": 0}
    code, said = ask_of(fabric, tmp_path, [peer(9, public_ip="192.168.77.12")],
                        backend={"type": "ipip", "devices": [device]})
    assert re.fullmatch(line("error", "peer-overlay", "192.168.77.12, the host of 10.1.9.0/24, answers, and not through"
                             " the ipip tunnel: let its protocol pass both ways", "its containers are not reached"),
                        said), said
    assert code == ERROR
