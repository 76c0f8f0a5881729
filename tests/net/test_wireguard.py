# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What WireGuard has that other backends have not: a process, keys, handshakes.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
"""

import json
import os
import signal
import stat

import pytest
from backend_suite import kernel_has, wireguard_peers

from lab import Probe, wait_for
from lab.agent import agent_binary
from lab.netns import netns_processes

CONFIG = {"Network": "10.1.0.0/16", "Backend": {"Type": "wireguard"}}
FLAGS = ["--scan-interval=1h", "--peer-hold=200ms"]
WAIT_S = 30


def with_psk(host):
    return {**CONFIG, "Backend": {"Type": "wireguard", "PSK": host.run("wg", "genpsk").stdout.strip()}}


def wireguard_go(host):
    """The processes that run the host's devices."""
    def name(pid):
        try:
            return os.readlink(f"/proc/{pid}/exe").rsplit("/", 1)[1]
        except OSError:
            return ""
    return [pid for pid, _ in netns_processes([host.netns]) if name(pid) == "wireguard-go"]


def key_file(host):
    return host.lib_dir / "weft" / "wireguard.key"


def public_key(host, device="flannel-wg"):
    return host.run("wg", "show", device, "public-key").stdout.strip()


def peer_keys(host):
    return sorted(host.run("wg", "show", "flannel-wg", "peers").stdout.split())


def lease_keys(net):
    return {lease["PublicIP"]: lease["BackendData"]["PublicKey"] for lease in net.leases().values()}


def check_no_secrets(net, *secrets):
    """Neither logs nor what the agent answers nor any command line has them."""
    for host in net.hosts:
        said = [host.agent.log(), *(host.agent.request(f"/agent/v1/{path}")[1] for path in ("status", "peers", "plan")),
                host.weft("status", "--peers").stdout]
        for pid, _ in netns_processes([host.netns]):
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as line:
                said.append(line.read())
        for secret in secrets:
            assert not any(secret in text for text in said)


# ---- the process ----

if not kernel_has("wireguard"):     # else there is none
    def test_process_that_was_killed_comes_back(fabric):
        net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
        net.ping_all(WAIT_S)
        host = net.hosts[0]
        before = wireguard_peers(host)
        (pid,) = wireguard_go(host)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: wireguard_go(host) not in ([], [pid]) and wireguard_peers(host) == before,
                 "another process with the same peers", WAIT_S)
        net.ping_all(WAIT_S)
        host.agent.wait_ready()
        assert host.weft("plan").stdout == "nothing to change: the kernel is as it should be\n"

    def test_process_outlives_the_agent(fabric):
        net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
        net.ping_all(WAIT_S)
        host = net.hosts[0]
        pids = wireguard_go(host)
        for end in (host.agent.stop, host.agent.kill):
            end()
            assert wireguard_go(host) == pids
            net.ping_all(WAIT_S)
            host.agent.restart()
            host.agent.wait_ready()
            assert wireguard_go(host) == pids
            assert host.agent.status()["backend"]["engine"] == "wireguard-go"
        assert "backend   wireguard by wireguard-go over eth0" in host.weft("status").stdout

    def test_program_that_is_missing_is_told_of(fabric):
        net = fabric(hosts=1, config=CONFIG, agents=False)
        (host,) = net.hosts
        without = host.directory / "weftd-without"
        without.write_text(f'#!/bin/sh\nPATH=/nowhere exec {agent_binary()} "$@"\n', encoding="utf-8")
        without.chmod(0o755)
        host.agent.binary = without
        net.start_agent(host, wait=False)
        text = "load the module (modprobe wireguard), or install wireguard-go"
        wait_for(lambda: text in host.agent.request("/readyz")[1], "the agent to say so", WAIT_S)
        assert len([line for line in host.agent.log().splitlines() if text in line]) == 1
        host.agent.restart(binary=agent_binary()).wait_ready()

    def test_tun_of_nobody_is_left_alone(fabric):
        net = fabric(hosts=1, config=CONFIG, agents=False)
        (host,) = net.hosts
        host.ip("tuntap", "add", "flannel-wg", "mode", "tun")
        net.start_agent(host, wait=False)
        wait_for(lambda: "nobody answers at /var/run/wireguard/flannel-wg.sock" in host.agent.request("/readyz")[1],
                 "the agent to say so", WAIT_S)
        host.ip("link", "del", "flannel-wg")
        host.agent.wait_ready()


# ---- keys ----

def test_key_is_secret_and_stays(fabric):
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS, agents=False)
    config = with_psk(net.hosts[0])
    net.put_config(config)
    for host in net.hosts:
        net.start_agent(host)
        net.add_container(host)
    net.ping_all(WAIT_S)
    keys = [key_file(host).read_text(encoding="ascii").strip() for host in net.hosts]
    assert [stat.S_IMODE(key_file(host).stat().st_mode) for host in net.hosts] == [0o600, 0o600]
    check_no_secrets(net, *keys, *(bytes(map(ord, k)).hex() for k in keys), config["Backend"]["PSK"])
    host = net.hosts[0]
    before = public_key(host)
    net.containers.remove(host.containers[0])
    host.agent.stop()
    host.reboot()
    net.start_agent(host)
    net.add_container(host)
    assert public_key(host) == before == lease_keys(net)[host.v4]
    net.ping_all(WAIT_S)


def test_key_that_others_may_read_is_refused(fabric):
    net = fabric(hosts=1, config=CONFIG, flags=FLAGS)
    (host,) = net.hosts
    host.agent.stop()
    key_file(host).chmod(0o644)
    host.agent.restart()
    wait_for(lambda: "chmod 600" in host.agent.request("/readyz")[1], "the agent to say so", WAIT_S)
    key_file(host).chmod(0o600)
    host.agent.wait_ready()


def test_other_key_takes_the_place_of_the_old_one(fabric):
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
    net.ping_all(WAIT_S)
    host, peer = net.hosts
    old = public_key(peer)
    peer.agent.stop()
    key_file(peer).unlink()
    peer.agent.restart().wait_ready()
    wait_for(lambda: peer_keys(host) == [public_key(peer)] != [old], "the new key, and it alone", WAIT_S)
    net.ping_all(WAIT_S)


@pytest.mark.serial
def test_rotation_under_traffic(fabric):
    """Nothing is lost, but for one datagram now and then that a wireguard-go has in hand at the very moment."""
    net = fabric(hosts=3, config=CONFIG, flags=FLAGS)
    net.ping_all(WAIT_S)
    host, peer, third = net.hosts
    keys = {public_key(host)}
    probes = [Probe(*net.containers[:2]).start(), Probe(net.containers[2], net.containers[0]).start()]
    for rotated in (host, host, peer):
        done = json.loads(rotated.weft("wg", "rotate", "--json").stdout)
        assert done["public_key"] == public_key(rotated) == lease_keys(net)[rotated.v4]
        assert done["public_key"] not in keys
        keys.add(done["public_key"])
        for other in net.hosts:
            wanted = sorted(lease_keys(net)[h.v4] for h in net.hosts if h is not other)
            wait_for(lambda o=other, w=wanted: peer_keys(o) == w, f"{other.name} to have the new key alone", WAIT_S)
    for probe in probes:
        result = probe.stop()
        print(result)
        assert max(d.lost for d in result.directions) <= 3 and result.tcp_broken is None, str(result)
    net.ping_all(WAIT_S)
    host.agent.stop()
    host.agent.restart().wait_ready()
    assert public_key(host) in keys and public_key(host) == lease_keys(net)[host.v4]
    check_no_secrets(net, *(key_file(h).read_text(encoding="ascii").strip() for h in net.hosts))


def test_rotation_without_the_store(fabric):
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
    net.ping_all(WAIT_S)
    host = net.hosts[0]
    before = public_key(host), key_file(host).read_text(encoding="ascii")
    net.etcd.pause()    # it is not known yet
    done = host.weft("wg", "rotate", check=False)
    assert done.returncode == 1 and "the old one is back" in done.stderr
    assert (public_key(host), key_file(host).read_text(encoding="ascii")) == before
    net.ping_all(WAIT_S)
    net.etcd.resume()
    wait_for(lambda: lease_keys(net)[host.v4] == before[0], "the lease to have the old key", WAIT_S)
    net.etcd.stop()
    wait_for(lambda: not host.agent.status()["store"]["up"], "the store's end to be known", WAIT_S)
    done = host.weft("wg", "rotate", check=False)
    assert done.returncode == 1 and "the store is not reached" in done.stderr
    assert public_key(host) == before[0]
    net.ping_all(WAIT_S)


def test_rotation_of_another_backend(fabric):
    net = fabric(hosts=1, config={"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}})
    done = net.hosts[0].weft("wg", "rotate", check=False)
    assert done.returncode == 1 and "the backend is host-gw, which has no WireGuard key" in done.stderr
    status, _ = net.hosts[0].agent.request("/agent/v1/wireguard/rotate")
    assert status == 405


# ---- handshakes ----

def test_preshared_key_of_a_running_network(fabric):
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
    net.ping_all(WAIT_S)
    config = with_psk(net.hosts[0])
    net.put_config(config)
    psk = config["Backend"]["PSK"]
    for host in net.hosts:
        wait_for(lambda h=host: psk in h.run("wg", "show", "flannel-wg", "preshared-keys").stdout,
                 f"{host.name} to take the key", WAIT_S)
        assert host.agent.status()["restart_needed"] == []
    net.ping_all(WAIT_S)
    check_no_secrets(net, psk)


def test_wrong_preshared_key_is_told_of(fabric):
    """The other host is made by hand, with another key."""
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS, agents=False)
    host, other = net.hosts
    net.put_config(with_psk(host))
    net.start_agent(host)
    net.add_container(host)
    make = "ip link add flannel-wg type wireguard" if kernel_has("wireguard") else "wireguard-go flannel-wg"
    other.run("sh", "-ec", f"{make}; wg genkey > /run/key; wg genpsk > /run/psk;"
                           " wg set flannel-wg listen-port 51820 private-key /run/key"
                           f" peer {public_key(host)} preshared-key /run/psk allowed-ips 10.1.0.0/16;"
                           " ip link set flannel-wg up; ip addr add 10.1.99.0/32 dev flannel-wg")
    net.etcd.put("/coreos.com/network/subnets/10.1.99.0-24", json.dumps({
        "PublicIP": other.v4, "BackendType": "wireguard",
        "BackendData": {"PublicKey": public_key(other), "Port": 51820}}))
    wait_for(lambda: "handshake_age_s" in host.agent.peers()["peers"][0],
             "the peer to be programmed, and looked at", WAIT_S)
    (peer,) = host.agent.peers()["peers"]
    assert peer["state"] == "ok" and peer["handshake_age_s"] is None and peer["error"] == ""
    assert "no handshake yet" in host.weft("status").stdout

    def told():
        host.can_reach("10.1.99.0")
        (now,) = host.agent.peers()["peers"]
        return now["state"] == "silent" and "PSK the same here and there" in now["error"]
    wait_for(told, "the agent to see that nobody answers", 60)
    assert host.agent.status()["peers"]["silent"] == 1
    assert "1 silent: do not answer the handshakes of WireGuard" in host.weft("status").stdout
    psk = host.run("wg", "show", "flannel-wg", "preshared-keys").stdout.split()[1]
    other.run("sh", "-ec", f"echo {psk} > /run/psk; wg set flannel-wg peer {public_key(host)} preshared-key /run/psk")

    def well():
        host.can_reach("10.1.99.0")
        (now,) = host.agent.peers()["peers"]
        return now["state"] == "ok" and now["error"] == "" and now["handshake_age_s"] is not None
    wait_for(well, "the peer to be well", 60)
    assert "handshake " in host.weft("status").stdout and host.agent.status()["peers"]["silent"] == 0


def test_junk_in_a_lease_hurts_nobody_else(fabric):
    net = fabric(hosts=2, config=CONFIG, flags=FLAGS)
    net.ping_all(WAIT_S)
    host = net.hosts[0]
    junk = {"101": {}, "102": {"PublicKey": "x"}, "103": {"PublicKey": "A" * 43 + "="}, "104": {"PublicKey": 7},
            "105": {"PublicKey": public_key(net.hosts[1])}, "106": {"PublicKey": public_key(host)}}
    for number, data in junk.items():
        net.etcd.put(f"/coreos.com/network/subnets/10.1.{number}.0-24", json.dumps({
            "PublicIP": f"192.168.77.{number}", "BackendType": "wireguard", "BackendData": data}))
    wait_for(lambda: len([p for p in host.agent.peers()["peers"] if p["state"] in ("failed", "rejected")]) == len(junk),
             "each of them to be told of", WAIT_S)
    assert peer_keys(host) == [public_key(net.hosts[1])]
    net.ping_all(WAIT_S)
