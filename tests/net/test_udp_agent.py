# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The udp backend as the agent drives it: weft-udp outlives it, comes back when it dies, ends when it is not wanted.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
"""

import os
import shutil
import signal
import socket
from pathlib import Path

from lab import Probe, wait_for
from lab.agent import build_directory

UDP = {"Network": "10.1.0.0/16", "Backend": {"Type": "udp"}}
HOSTGW = {"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}}
PORT = 8285


def engine_pid(host):
    return host.agent.status()["backend"].get("engine_pid", 0)


def is_running(pid):
    """As weft-udp; a process that nobody has waited for yet is not."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "weft-udp\n" and \
            ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_another(host, pid):
    return wait_for(lambda: (now := engine_pid(host)) not in (0, pid) and now, "another weft-udp to be up", timeout=10)


def test_what_is_told_of_it(fabric):
    net = fabric(hosts=2, config=UDP)
    host, peer = net.hosts
    net.ping_all()
    assert {key: set(lease) for key, lease in net.leases().items()} == {
        key: {"PublicIP", "PublicIPv6"} for key in net.leases()}        # as flannel's
    status = host.agent.status()["backend"]
    assert status["type"] == "udp" and status["engine"].startswith("user space, ") and status["error"] == ""
    assert f"engine    {status['engine']}\n" in host.weft("status").stdout
    assert [p["path"] for p in host.agent.peers()["peers"]] == ["udp"]
    (route,) = host.ip_json("route", "show", "proto", "157")
    assert (route["dst"], route["dev"]) == ("10.1.0.0/16", "flannel0")
    # It is its own: another session, no parent's descriptors, nothing allowed.
    pid = engine_pid(host)
    assert os.getsid(pid) == pid
    assert "/run/weft" in Path(f"/proc/{pid}/cmdline").read_text()
    wait_for(lambda: host.agent.metric("weft_udp_received_datagrams_total"), "counters in the metrics", timeout=10)
    assert host.agent.metric("weft_udp_up") == 1
    before = host.agent.metric("weft_udp_drops_total", reason="spoofed")
    with peer.socket(kind=socket.SOCK_DGRAM) as sock:       # from 10.1.9.9, which the peer has no lease of
        sock.sendto(bytes.fromhex("450000140000000040fd5be20a0109090a010101"), (host.v4, PORT))
    wait_for(lambda: host.agent.metric("weft_udp_drops_total", reason="spoofed") == before + 1,
             "the spoofed packet to be counted", timeout=10)


def test_killed(fabric):
    """It is back within a second, with all peers."""
    net = fabric(hosts=2, config=UDP)
    host = net.hosts[0]
    net.ping_all()
    before = engine_pid(host)
    probe = Probe(*net.containers).start()
    os.kill(before, signal.SIGKILL)
    wait_another(host, before)
    net.ping_all()
    result = probe.stop()
    assert result.max_gap_ms < 1000 and result.tcp_broken is None, str(result)
    assert not is_running(before)
    host.agent.wait_ready()
    assert host.weft("plan").stdout.startswith("nothing to change")


def test_hanging(fabric):
    """One that does not answer, and keeps others from its place, is killed."""
    net = fabric(hosts=2, config=UDP)
    host = net.hosts[0]
    net.ping_all()
    before = engine_pid(host)
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: engine_pid(host) not in (0, before), "another weft-udp to be up", timeout=90)
    assert not is_running(before)
    net.ping_all()


def test_peers_while_the_agent_is_away(fabric):
    """What changed meanwhile the agent tells when it is back; until then weft-udp goes on as it was."""
    net = fabric(hosts=3, config=UDP)
    host, _, third = net.hosts
    net.ping_all()
    pid = engine_pid(host)
    (key,) = [k for k, lease in net.leases().items() if lease["PublicIP"] == third.v4]
    third.agent.stop()
    host.agent.kill()
    net.delete_lease(key)
    assert net.containers[0].can_reach(net.containers[2].v4)
    host.agent.restart().wait_ready()
    wait_for(lambda: not net.containers[0].can_reach(net.containers[2].v4), "the peer that left to be forgotten")
    assert net.containers[0].can_reach(net.containers[1].v4) and engine_pid(host) == pid
    third.agent.restart().wait_ready()
    net.ping_all()
    # While the agent is there it is a change of one peer.
    third.agent.stop()
    net.delete_lease(key)
    wait_for(lambda: not net.containers[0].can_reach(net.containers[2].v4), "the peer that left to be forgotten")
    assert net.containers[0].can_reach(net.containers[1].v4) and engine_pid(host) == pid


def test_peers_that_nobody_knows_any_more(fabric):
    """Without store and cache the agent takes no peer from weft-udp."""
    net = fabric(hosts=2, config=UDP)
    host = net.hosts[0]
    net.ping_all()
    pid = engine_pid(host)
    wait_for(lambda: host.run("ls", "/var/lib/weft/peers", check=False).returncode == 0, "the cache to be written")
    net.etcd.pause()
    host.agent.kill()
    host.run("rm", "/var/lib/weft/peers")
    host.agent.restart()
    wait_for(lambda: engine_pid(host) == pid, "weft-udp to be found")
    wait_for(lambda: host.agent.metric("weft_udp_sent_datagrams_total"), "it to be asked, after it was told")
    assert net.containers[0].can_reach(net.containers[1].v4)
    assert host.agent.status()["peers"]["total"] == 0
    net.etcd.resume()
    host.agent.wait_ready()
    net.ping_all()


def test_upgraded(fabric):
    """Another build takes over from the one that runs, and no packet is lost."""
    net = fabric(hosts=2, config=UDP)
    host = net.hosts[0]
    net.ping_all()
    before = engine_pid(host)
    directory = net.lab.directory / "upgrade"
    directory.mkdir()
    for name in ("weftd", "weft-udp"):
        shutil.copy(build_directory() / name, directory / name)
    probe = Probe(*net.containers).start()
    host.agent.restart(binary=directory / "weftd").wait_ready()
    after = wait_another(host, before)
    net.ping_all()
    result = probe.stop()
    assert result.lost == 0 and result.tcp_broken is None, str(result)
    assert os.readlink(f"/proc/{after}/exe") == str(directory / "weft-udp")
    wait_for(lambda: not is_running(before), "the one before to end")
    # One that cannot take over leaves the one that runs alone.
    (directory / "weft-udp").unlink()
    (directory / "weft-udp").write_text("#!/bin/false\n")
    (directory / "weft-udp").chmod(0o755)
    host.agent.restart().wait_ready()
    assert "the one that runs goes on" in host.agent.log() and engine_pid(host) == after
    net.ping_all()


def test_another_port(fabric):
    net = fabric(hosts=2, config=UDP)
    net.ping_all()
    before = [engine_pid(h) for h in net.hosts]
    net.put_config({**UDP, "Backend": {"Type": "udp", "Port": 8286}})
    for host in net.hosts:
        wait_for(lambda h=host: h.agent.status()["restart_needed"] == ["Backend.Port"], "the need of a restart")
    net.ping_all()
    for host in net.hosts:
        host.agent.restart().wait_ready()
    net.ping_all()
    for host, pid in zip(net.hosts, before):
        assert engine_pid(host) != pid and not is_running(pid)
        assert "8286" in host.run("ss", "-Hlun", "sport", "=", "8286").stdout


def test_other_backend_and_back(fabric):
    net = fabric(hosts=2, config=UDP)
    net.ping_all()
    pids = [engine_pid(h) for h in net.hosts]
    net.put_config(HOSTGW)
    for host, pid in zip(net.hosts, pids):
        wait_for(lambda h=host: h.agent.status()["restart_needed"] == ["Backend.Type"], "the need of a restart")
        host.agent.restart().wait_ready()
        wait_for(lambda p=pid: not is_running(p), "weft-udp to end")
        wait_for(lambda h=host: not h.ip("link", "show", "flannel0", check=False), "its device to go")
    net.ping_all()
    net.put_config(UDP)
    for host in net.hosts:
        wait_for(lambda h=host: h.agent.status()["restart_needed"] == ["Backend.Type"], "the need of a restart")
        host.agent.restart().wait_ready()
    net.ping_all()


def test_why_it_is_not_up(fabric):
    """A port that another program has is named, and taken once it is free."""
    net = fabric(hosts=1, config=UDP, agents=False)
    (host,) = net.hosts
    with host.socket(kind=socket.SOCK_DGRAM) as sock:
        sock.bind((host.v4, PORT))
        net.start_agent(host, wait=False)
        wait_for(lambda: "Address already in use" in host.agent.request("/readyz")[1], "the reason in /readyz")
        assert f"{host.v4} port {PORT}" in host.agent.status()["backend"]["error"]
        assert "Address already in use" in host.weft("status", check=False).stdout
    host.agent.wait_ready()
    assert host.agent.status()["backend"]["error"] == ""


def test_mixed_with_leases_of_any_type(fabric):
    """COMPAT: flannel's udp takes every lease for one of its own."""
    net = fabric(hosts=2, config=UDP)
    host = net.hosts[0]
    net.put_lease("10.1.77.0-24", "192.168.77.77", "02:00:00:00:00:77")
    net.store.put("/coreos.com/network/subnets/10.1.78.0-24", {"PublicIP": "192.168.77.78"})
    net.store.put("/coreos.com/network/subnets/10.1.79.0-24", {"PublicIP": "127.0.0.1"})
    wait_for(lambda: len(host.agent.peers()["peers"]) == 4, "the leases to be seen")
    states = {p["subnet"]: p["state"] for p in host.agent.peers()["peers"]}
    assert states["10.1.77.0/24"] == states["10.1.78.0/24"] == "ok" and states["10.1.79.0/24"] != "ok"
    net.ping_all()


def test_nothing_of_the_dead_stays(fabric):
    """Each death is waited for: no zombie stays, and no socket."""
    net = fabric(hosts=1, config=UDP)
    (host,) = net.hosts
    fds = len(os.listdir(f"/proc/{host.agent.pid}/fd"))
    for _ in range(3):
        pid = engine_pid(host)
        os.kill(pid, signal.SIGKILL)
        wait_another(host, pid)
        wait_for(lambda p=pid: not Path(f"/proc/{p}").exists(), "the dead process to be waited for", timeout=10)
    host.agent.wait_ready()
    wait_for(lambda: len(os.listdir(f"/proc/{host.agent.pid}/fd")) <= fds, "descriptors to be closed")
