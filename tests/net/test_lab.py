# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The laboratory itself, without weft: what the other tests measure with must be true first.

    c1 - h1 ---- net1 ---- h2 - c2          hand-made VXLAN or routes between the hosts
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from lab import LabError, Probe, WaitTimeout, laboratory, run, wait_for
from lab.process import start_time

OUTAGE_S = 0.1
INTERVAL_MS = 5


def pair_of_hosts(lab, mtu=1500, v6=None):
    segment = lab.segment("net1", v4="192.168.77.0/24", v6=v6)
    hosts = [lab.host("h1", segment), lab.host("h2", segment)]
    for i, host in enumerate(hosts, 1):
        values = {"FLANNEL_SUBNET": f"10.1.{i}.1/24", "FLANNEL_MTU": mtu}
        if v6:
            values["FLANNEL_IPV6_SUBNET"] = f"fc00:0:0:{i}::1/64"
        host.write_subnet_env(**values)
        host.forward()
    return hosts, [h.container(f"c{i}") for i, h in enumerate(hosts, 1)]


def connect_by_routes(hosts):
    for i, (host, peer) in enumerate(zip(hosts, reversed(hosts)), 1):
        host.ip("route", "add", f"10.1.{3 - i}.0/24", "via", peer.v4)


def test_hosts_are_separate_machines(lab):
    (h1, h2), _ = pair_of_hosts(lab)
    assert h1.run("cat", "/proc/sys/kernel/hostname").stdout.strip() == "h1"
    h1.run("sh", "-c", "echo one > /run/mark; echo two > /var/lib/mark")
    assert (h1.run_dir / "mark").read_text() == "one\n"
    assert (h1.lib_dir / "mark").read_text() == "two\n"
    assert h2.run("ls", "/run/mark", "/var/lib/mark", check=False).returncode != 0
    assert not os.path.exists("/run/mark")
    assert h1.run("ls", "/sys/class/net").stdout.split() == ["cni0", "eth0", "lo", "v-c1"]


def test_build_below_var_lib_is_seen_by_hosts(lab, monkeypatch):
    """A host has a /var/lib of its own, but programs built below the real one still run there."""
    with tempfile.TemporaryDirectory(dir="/var/lib", prefix="weft-test-") as directory:
        with open(os.path.join(directory, "mark"), "w", encoding="ascii") as f:
            f.write("seen")
        monkeypatch.setenv("WEFT_BUILD", directory)
        host = lab.host("h1", lab.segment("net1", v4="192.168.77.0/24"))
        assert host.run("cat", f"{directory}/mark").stdout == "seen"
        assert host.run("ls", "/var/lib").stdout.split() == [os.path.basename(directory)]
        lab.close()
        assert os.path.exists(os.path.join(directory, "mark"))


def test_vxlan_made_by_hand(lab):
    hosts, (c1, c2) = pair_of_hosts(lab, mtu=1450)
    macs = ["02:00:00:00:00:01", "02:00:00:00:00:02"]
    for i, host in enumerate(hosts):
        host.ip_batch(f"link add flannel.1 address {macs[i]} type vxlan id 1 local {host.v4}"
                      " dev eth0 dstport 8472 nolearning",
                      f"addr add 10.1.{i + 1}.0/32 dev flannel.1", "link set flannel.1 up")
    for i, host in enumerate(hosts):
        other = 1 - i
        host.run("bridge", "fdb", "append", macs[other], "dev", "flannel.1", "dst",
                 hosts[other].v4, "self", "permanent")
        host.ip_batch(f"neigh replace 10.1.{other + 1}.0 lladdr {macs[other]} dev flannel.1"
                      " nud permanent",
                      f"route add 10.1.{other + 1}.0/24 via 10.1.{other + 1}.0"
                      " dev flannel.1 onlink")
    assert c1.ping(c2.v4).lost == 0
    assert c1.ping(c2.v4, count=1, size=1422, dont_fragment=True).lost == 0
    assert c1.ping(c2.v4, count=1, size=1423, dont_fragment=True).lost == 1
    entries = hosts[0].bridge_json("fdb", "show", "dev", "flannel.1")
    assert [e["dst"] for e in entries if e["mac"] == macs[1]] == [hosts[1].v4]


def test_probe_reports_no_loss_where_there_is_none(lab):
    hosts, (c1, c2) = pair_of_hosts(lab, v6="fd77::/64")
    connect_by_routes(hosts)
    for host, peer in zip(hosts, reversed(hosts)):
        host.ip("route", "add", f"fc00:0:0:{peer.name[1]}::/64", "via", peer.v6)
    with Probe(c1, c2) as probe4, Probe(c1, c2, family=6) as probe6:
        time.sleep(0.5)                     # the length of the measurement
    for result in (probe4.result, probe6.result):
        assert result.lost == 0 and result.max_gap_ms == 0, result
        assert result.tcp_broken is None, result
        assert result.sent > 50, result     # 200 if nothing else ran


def test_probe_reports_a_route_gone_for_100_ms(lab):
    """The control of every "no packet was lost" elsewhere."""
    hosts, (c1, c2) = pair_of_hosts(lab)
    connect_by_routes(hosts)
    with Probe(c1, c2, interval_ms=INTERVAL_MS) as probe:
        hosts[0].ip("route", "del", "10.1.2.0/24")
        time.sleep(OUTAGE_S)                # the length of the outage
        hosts[0].ip("route", "add", "10.1.2.0/24", "via", hosts[1].v4)
        time.sleep(OUTAGE_S)
    there, back = probe.result.directions
    expected = OUTAGE_S * 1000 / INTERVAL_MS
    assert there.lost >= expected / 2, probe.result
    assert there.max_gap_ms >= OUTAGE_S * 1000, probe.result
    assert back.lost == 0, probe.result
    assert probe.result.tcp_stall_ms >= OUTAGE_S * 1000, probe.result


@pytest.mark.parametrize("silent", [False, True])
def test_cut_link_loses_both_ways_until_restored(lab, silent):
    hosts, (c1, c2) = pair_of_hosts(lab)
    connect_by_routes(hosts)
    eth0 = hosts[1].interfaces["eth0"]
    with Probe(c1, c2) as probe:
        eth0.cut(silent=silent)
        carrier = "LOWER_UP" in hosts[1].ip_json("link", "show", "eth0")[0]["flags"]
        assert carrier == silent
        assert not c1.can_reach(c2.v4, timeout=0.2)
        eth0.restore()
        wait_for(lambda: c1.can_reach(c2.v4), "the link to carry again")
    there, back = probe.result.directions
    assert there.lost >= 5, probe.result
    if silent:      # with the carrier goes h2's neighbour entry, and what waits for it is kept
        assert back.lost >= 5, probe.result
    assert probe.result.tcp_broken is None, probe.result


def test_probe_says_when_nothing_gets_through(lab):
    _, (c1, c2) = pair_of_hosts(lab)
    with pytest.raises(LabError, match="c1|c2"):
        Probe(c1, c2).start(timeout=0.5)


def seconds_to_send(sender, receiver, count):
    """How long count bytes of TCP take from one container to the other."""
    with receiver.socket() as listener, sender.socket() as client:
        listener.settimeout(10)
        client.settimeout(10)
        listener.bind((receiver.v4, 0))
        listener.listen()
        begin = time.monotonic()
        client.connect(listener.getsockname())
        thread = threading.Thread(target=client.sendall, args=(bytes(count),))
        thread.start()
        with listener.accept()[0] as accepted:
            accepted.settimeout(10)
            while count > 0:
                count -= len(accepted.recv(65536))
        thread.join()
        return time.monotonic() - begin


def test_rate_and_mtu_of_a_link(lab):
    hosts, (c1, c2) = pair_of_hosts(lab)
    connect_by_routes(hosts)
    eth0 = hosts[1].interfaces["eth0"]
    eth0.set_mtu(1400)
    assert hosts[1].ip_json("link", "show", "eth0")[0]["mtu"] == 1400
    assert c1.ping(c2.v4, count=1, size=1472).lost == 1
    eth0.set_mtu(1500)
    assert c1.ping(c2.v4, count=1, size=1472).lost == 0
    eth0.rate("4mbit")
    assert seconds_to_send(c1, c2, 400_000) > 0.5     # 0.8 s less what the bucket lets through
    assert "tbf" in hosts[1].run("tc", "qdisc", "show", "dev", "eth0").stdout
    eth0.rate(None)
    assert "tbf" not in hosts[1].run("tc", "qdisc", "show", "dev", "eth0").stdout
    assert seconds_to_send(c1, c2, 400_000) < 0.5


def test_router_joins_two_segments(lab):
    segments = [lab.segment(f"net{i}", v4=f"192.168.{76 + i}.0/24", v6=f"fd77:{i}::/64")
                for i in (1, 2)]
    h1 = lab.host("h1", segments[0])
    lab.router("r", *segments)
    h2 = lab.host("h2", segments[1])
    assert h1.ping(h2.v4).lost == 0
    assert h1.ping(h2.v6).lost == 0
    assert h1.ip_json("route", "get", h2.v4)[0]["gateway"] == "192.168.77.254"


def test_reboot_keeps_var_lib_only(lab):
    hosts, (c1, c2) = pair_of_hosts(lab)
    h1 = hosts[0]
    h1.run("sh", "-c", "echo a > /run/mark; echo b > /var/lib/mark")
    old = h1.spawn("sleep", "1000")
    h1.reboot()
    assert not old.alive()
    assert h1.run("sh", "-c", "cat /var/lib/mark; ls /run").stdout.split()[:2] == ["b", "lock"]
    assert not (h1.run_dir / "mark").exists()
    assert [i["ifname"] for i in h1.ip_json("link")] == ["lo", "eth0"]
    assert h1.v4 == "192.168.77.11"
    wait_for(lambda: h1.can_reach(hosts[1].v4), "h1 to be on the network again")


def test_etcd_survives_what_the_tests_do_to_it(lab):
    etcd = lab.etcd(lab.segment("net1", v4="192.168.77.0/24"))
    member = etcd.members[0]
    lease = etcd.grant(60)
    etcd.put("/t/a", {"x": 1}, lease=lease)
    etcd.put("/t/b", "plain")
    assert [(p.key, p.value, p.lease) for p in etcd.range("/t/")] == \
        [("/t/a", '{"x":1}', lease), ("/t/b", "plain", 0)]
    assert etcd.leases() == [lease]
    assert etcd.metric("grpc_server_handled_total", grpc_method="Put", grpc_code="OK") == 2
    member.pause()
    with pytest.raises((LabError, OSError)):
        member.request("/health", timeout=0.3)
    member.resume()
    member.wait_ready()
    member.kill()
    assert member.process.returncode == -signal.SIGKILL
    member.start()
    member.wait_ready()
    assert etcd.get("/t/b").value == "plain"
    etcd.compact()
    etcd.revoke(lease)
    assert etcd.get("/t/a") is None
    etcd.restart(empty=True)
    assert etcd.range("/t/") == []


def test_etcd_with_three_members_tls_and_users(lab):
    segment = lab.segment("net1", v4="192.168.77.0/24")
    host = lab.host("h1", segment)
    etcd = lab.etcd(segment, members=3, tls=True, client_certificates=True)
    etcd.enable_auth("weft", "open sesame", "/t/")
    etcd.members[0].kill()
    etcd.wait_ready()
    etcd.put("/t/a", "x")
    assert etcd.get("/t/a").value == "x"
    with pytest.raises(LabError, match="permission denied"):
        etcd.put("/other", "x")
    ca = etcd.tls / "ca.crt"
    url = f"{etcd.members[1].client_url}/health"
    anonymous = host.run("curl", "-sS", "--cacert", ca, url, check=False)
    assert anonymous.returncode != 0        # no client certificate
    assert host.run("curl", "-sS", "--cacert", ca, "--cert", etcd.tls / "client.crt", "--key",
                    etcd.tls / "client.key", url).stdout.startswith('{"health":"true"')


def test_killed_owner_is_swept_away(lab):
    """A laboratory whose process was killed outright is gone once the next one starts."""
    program = ("from lab import Lab\nimport sys, time\n"
               "lab = Lab()\nhost = lab.host('h1', lab.segment('net1', v4='192.168.77.0/24'))\n"
               "sleeper = host.spawn('sleep', '1000')\n"
               "print(lab.name, sleeper.pid, flush=True)\ntime.sleep(1000)\n")
    repository = os.path.dirname(os.path.dirname(laboratory.__file__))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                          cwd=repository) as owner:
        name, sleeper = owner.stdout.readline().split()
        assert laboratory.read_state(name)["nodes"].keys() == {"switches", "h1"}
        owner.kill()
        owner.wait()
    assert start_time(int(sleeper)) is not None     # orphaned, still running
    wait_for(lambda: name in laboratory.sweep() or laboratory.read_state(name) is None,
             "the dead laboratory to be swept")
    assert start_time(int(sleeper)) is None
    assert not [p for p in os.listdir("/run/netns") if p.startswith(f"weft-{name}-")]
    assert lab.name in laboratory.laboratories()    # the living one stays


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signalled_owner_cleans_up(signum):
    # A job in the background of a shell ignores SIGINT, and all that it starts.
    program = ("from lab import Lab\nimport signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
               "lab = Lab()\nlab.host('h1', lab.segment('net1', v4='192.168.77.0/24'))\n"
               "print(lab.name, flush=True)\ntime.sleep(1000)\n")
    repository = os.path.dirname(os.path.dirname(laboratory.__file__))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, cwd=repository) as owner:
        name = owner.stdout.readline().strip()
        owner.send_signal(signum)
        try:
            assert owner.wait(10) != 0
        finally:
            owner.kill()
    assert laboratory.read_state(name) is None
    assert not [p for p in os.listdir("/run/netns") if p.startswith(f"weft-{name}-")]


def test_waiting_is_bounded_and_says_for_what():
    def never():
        raise LabError("no such thing")
    with pytest.raises(WaitTimeout, match="still waiting for: the moon .*no such thing"):
        wait_for(never, "the moon", timeout=0.05)
    with pytest.raises(LabError, match="exit code 3: sorry"):
        run(["sh", "-c", "echo sorry >&2; exit 3"])
