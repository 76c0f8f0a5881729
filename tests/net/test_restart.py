# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""An agent that stops, crashes, is replaced or starts without a store changes nothing that is seen.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd        h1 is the one that restarts
    c3 - h3 --+
"""

import json
import os
import shutil

import pytest

from lab import Probe, wait_for
from lab.agent import agent_binary
from lab.fabric import PREFIX

DEVICE = "flannel.12345"


def device(host):
    return host.ip_json("link", "show", "dev", DEVICE)[0]


def own_subnet(host):
    return host.agent.status()["lease"]["subnet"]


def cached(host, name):
    """The lines of one of the agent's files on disk, parsed."""
    text = (host.lib_dir / "weft" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def wait_cached(host, peers):
    """Wait until what the next start needs is on disk."""
    wait_for(lambda: any("lease" in line for line in cached(host, "state")), "the lease on disk")
    wait_for(lambda: sum("peer" in line for line in cached(host, "peers")) == peers,
             f"{peers} peers on disk")


def peer_routes(host):
    return {r["dst"]: r["gateway"] for r in host.ip_json("route", "show", "proto", "157")}


def wipe_kernel(host):
    """All that an agent programs goes, as if the host had just booted."""
    host.ip("link", "del", DEVICE)
    wait_for(lambda: not peer_routes(host), "the routes to go with their device")


def stop(agent):
    assert agent.stop() == 0


def crash(agent):
    agent.kill()


@pytest.mark.parametrize("end", [stop, crash])
def test_restart_under_traffic(fabric, end):
    net = fabric(hosts=3)
    host = net.hosts[0]
    net.ping_all()
    before = own_subnet(host), device(host)["address"], peer_routes(host)
    probes = [Probe(net.containers[0], other).start() for other in net.containers[1:]]
    for _ in range(3):
        end(host.agent)
        host.agent.restart()
        host.agent.wait_ready()
        assert (own_subnet(host), device(host)["address"], peer_routes(host)) == before
    for probe in probes:
        result = probe.stop()
        print(f"three times {end.__name__} and start: {result}")
        assert result.lost == 0 and result.tcp_broken is None, str(result)
    assert len(net.leases()) == 3


def test_all_agents_restart_at_once(fabric):
    net = fabric(hosts=3)
    net.ping_all()
    before = [own_subnet(h) for h in net.hosts]
    with Probe(net.containers[0], net.containers[1]) as probe:
        for host in net.hosts:
            host.agent.kill()
        for host in net.hosts:
            host.agent.restart()
        for host in net.hosts:
            host.agent.wait_ready()
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None
    assert [own_subnet(h) for h in net.hosts] == before


def test_binary_is_replaced_under_traffic(fabric):
    """As a package manager does it: a new file under the old name, then a restart."""
    net = fabric(hosts=2, agents=False)
    host = net.hosts[0]
    program = net.lab.directory / "weftd"
    shutil.copy(agent_binary(), program)
    host.agent.binary = program
    for one in net.hosts:
        net.start_agent(one)
        net.add_container(one)
    net.ping_all()
    before = own_subnet(host)
    with Probe(*net.containers) as probe:
        replacement = program.with_suffix(".new")
        shutil.copy(agent_binary(), replacement)
        os.replace(replacement, program)
        assert os.readlink(f"/proc/{host.agent.pid}/exe").endswith(" (deleted)")
        host.agent.restart()
        host.agent.wait_ready()
        assert os.readlink(f"/proc/{host.agent.pid}/exe") == str(program)
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None
    assert own_subnet(host) == before


def test_a_start_finds_what_changed_meanwhile(fabric):
    """A host came, one went, one changed while the agent was down, which remembers none of them."""
    net = fabric(hosts=3)
    host, stays, changes = net.hosts
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: "10.1.200.0/24" in peer_routes(host), "the route to the fourth host")
    kept = {own_subnet(stays), own_subnet(changes)}
    with Probe(net.containers[0], net.containers[1]) as probe:
        stop(host.agent)
        for path in (host.lib_dir / "weft").glob("peers*"):
            path.unlink()
        net.delete_lease("10.1.200.0-24")
        net.put_lease("10.1.201.0-24", "192.168.77.98", "0e:11:22:33:44:66")
        stop(changes.agent)
        changes.ip_batch(f"link set {DEVICE} address 02:00:00:00:00:03")
        shutil.rmtree(changes.lib_dir / "weft")
        changes.agent.restart().wait_ready()
        host.agent.restart().wait_ready()
        wait_for(lambda: set(peer_routes(host)) == kept | {"10.1.201.0/24"},
                 "the routes of h1 to be those of its peers")
        net.ping_all()
    assert probe.result.lost == 0, str(probe.result)
    macs = {n["dst"]: n["lladdr"] for n in host.ip_json("neigh", "show", "dev", DEVICE)}
    assert macs[own_subnet(changes).split("/")[0]] == "02:00:00:00:00:03"
    assert {f["mac"] for f in host.bridge_json("fdb", "show", "dev", DEVICE) if f.get("dst")} \
        == {device(stays)["address"], "02:00:00:00:00:03", "0e:11:22:33:44:66"}


@pytest.mark.parametrize("etcd_lost_its_data", [False, True])
def test_start_without_a_store(fabric, etcd_lost_its_data):
    """From what is on disk: device, routes, subnet.env, traffic; and nothing changes afterwards."""
    net = fabric(hosts=3)
    host = net.hosts[0]
    wait_cached(host, peers=2)
    before = own_subnet(host), device(host)["address"], peer_routes(host), host.subnet_env()
    net.etcd.kill()
    host.agent.kill()
    wipe_kernel(host)
    shutil.rmtree(host.run_dir / "flannel")
    host.agent.restart()
    wait_for(lambda: peer_routes(host) == before[2], "the routes from the cache")
    net.ping_all()
    code, text = host.agent.request("/readyz")
    assert code == 503 and "cached" in text, (code, text)
    status = host.agent.status()
    assert status["lease"]["state"] == "cached" and not status["store"]["up"], status
    assert host.agent.request("/healthz")[0] == 200
    assert (own_subnet(host), device(host)["address"], peer_routes(host),
            host.subnet_env()) == before
    with Probe(net.containers[0], net.containers[2]) as probe:
        net.etcd.restart(empty=etcd_lost_its_data)
        if etcd_lost_its_data:
            net.put_config(net.config)
        for one in net.hosts:
            one.agent.wait_ready(30)
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None
    assert (own_subnet(host), device(host)["address"], peer_routes(host),
            host.subnet_env()) == before
    assert len(net.wait_leases(3)) == 3


def test_start_while_the_store_hangs(fabric):
    """It takes connections and answers nothing; the cache does not wait for the request's end."""
    net = fabric(hosts=3)
    host = net.hosts[0]
    wait_cached(host, peers=2)
    routes = peer_routes(host)
    net.etcd.pause()
    host.agent.kill()
    wipe_kernel(host)
    host.agent.restart(*host.agent.flags, "--request-timeout=1m")
    wait_for(lambda: peer_routes(host) == routes, "the routes from the cache")
    net.ping_all()
    assert host.agent.status()["lease"]["state"] == "cached"
    net.etcd.resume()
    host.agent.wait_ready()
    assert peer_routes(host) == routes


@pytest.mark.parametrize("with_store", [True, False], ids=["with etcd", "without etcd"])
def test_reboot(fabric, with_store):
    """/var/lib is kept, all else is new: the same subnet, and the same MAC, which is not derived."""
    net = fabric(hosts=2, agents=False)
    host = net.hosts[0]
    host.ip("link", "add", DEVICE, "address", "0a:00:00:00:0b:0c", "type", "vxlan", "id", "12345",
            "dstport", "8472", "local", host.v4, "dev", "eth0", "nolearning")
    for one in net.hosts:
        net.start_agent(one)
        net.add_container(one)
    net.ping_all()
    subnet, env = own_subnet(host), host.subnet_env()
    assert device(host)["address"] == "0a:00:00:00:0b:0c"
    wait_cached(host, peers=1)
    net.containers.remove(host.containers[0])
    if not with_store:
        net.etcd.kill()
    host.reboot()
    assert not (host.run_dir / "flannel").exists()
    host.agent.restart()
    if with_store:
        host.agent.wait_ready()
    wait_for(lambda: peer_routes(host) and host.subnet_env(), "the host to be programmed")
    assert (own_subnet(host), host.subnet_env()) == (subnet, env)
    assert device(host)["address"] == "0a:00:00:00:0b:0c"
    net.add_container(host, "c1b")
    net.ping_all()
    if with_store:
        assert len(net.leases()) == 2


def test_state_of_a_newer_version_is_ignored(fabric):
    """After a downgrade: said once, and everything comes from the store."""
    net = fabric(hosts=2)
    host = net.hosts[0]
    wait_cached(host, peers=1)
    subnet = own_subnet(host)
    stop(host.agent)
    for name in ("state", "peers"):
        path = host.lib_dir / "weft" / name
        lines = path.read_text(encoding="utf-8").splitlines()
        head = json.loads(lines[0])
        head["schema"] += 1
        path.write_text("\n".join([json.dumps(head, separators=(",", ":")), *lines[1:], ""]),
                        encoding="utf-8")
    host.agent.restart()
    host.agent.wait_ready()
    told = [line for line in host.agent.log_since_start().splitlines() if "schema" in line]
    assert len(told) == 2 and all(" WARN " in line and "ignored" in line for line in told), told
    assert own_subnet(host) == subnet
    net.ping_all()
    assert f"{PREFIX}/subnets/{subnet.replace('/', '-')}" in [
        p.key for p in net.etcd.range(f"{PREFIX}/subnets/")]
