# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""etcd dies, hangs, loses its data, its history or its quorum: nothing happens to the containers.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd, or etcd1, etcd2, etcd3
    c3 - h3 --+

The probe runs between c1 and c2 all the time. An outage lasts three dead-man timers of one second;
in the long variant a minute, with the timers that agents have by default.
"""

import contextlib
import dataclasses
import time

import pytest

from lab import Probe, http, wait_for
from lab.fabric import PREFIX

HEALTH_PORT = 8090
NEW_KEY, NEW_SUBNET = "10.1.200.0-24", "10.1.200.0/24"
GRACE_S = 30        # the store may be away for this long before an agent calls itself not ready


@dataclasses.dataclass(frozen=True)
class Outage:
    """How long it lasts, and the agents' timers."""

    seconds: int
    flags: tuple


SHORT = Outage(3, ("--dead-man=1s", "--request-timeout=1s"))
LONG = Outage(60, ())


@pytest.fixture(params=[pytest.param(SHORT, id="short"),
                        pytest.param(LONG, id="long", marks=pytest.mark.long)])
def outage(request):
    return request.param


def store(host):
    return host.agent.status()["store"]


def own_lease(host):
    return host.agent.status()["lease"]


def has_route(host, subnet):
    return bool(host.ip("route", "show", subnet, "proto", "157").strip())


def health(host, path):
    return http.tcp_request(host, "127.0.0.1", HEALTH_PORT, path)


def make(fabric, outage, members=1):
    net = fabric(hosts=3, etcd=members, flags=[*outage.flags, f"--healthz-port={HEALTH_PORT}",
                                               "--healthz-ip=127.0.0.1", "--peer-hold=500ms"])
    net.ping_all()
    return net


@contextlib.contextmanager
def undisturbed(net, what):
    """Traffic, subnets and own programming of all hosts are the same all the time."""
    subnets = [own_lease(h)["subnet"] for h in net.hosts]
    with Probe(net.containers[0], net.containers[1]) as probe:
        yield
        wait_for(lambda: all(own_lease(h)["state"] == "held" for h in net.hosts),
                 "all leases to be held again", timeout=40)
    print(f"{what}: {probe.result}")
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert [own_lease(h)["subnet"] for h in net.hosts] == subnets
    net.ping_all()


def sit_out(net, outage):
    """Wait until the outage is over, and see that all agents tell the truth all the while."""
    began = time.monotonic()
    wait_for(lambda: not any(store(h)["up"] for h in net.hosts),
             "all agents to notice that the store is away", timeout=outage.seconds + 20)
    print(f"noticed after {time.monotonic() - began:.1f} s")

    def over():
        for host in net.hosts:
            status = host.agent.status()
            assert not status["store"]["up"] and status["store"]["error"], status["store"]
            assert status["lease"]["state"] == "held", status["lease"]
            assert health(host, "/healthz")[0] == 200
            code, text = health(host, "/readyz")
            assert status["ready"] == (code == 200), (status["reasons"], code, text)
            away_s = status["store"]["since_s"]
            assert away_s >= GRACE_S or code == 200, (away_s, text)
            assert away_s < GRACE_S + 1 or (code == 503 and "store" in text), (away_s, code, text)
        return time.monotonic() - began > outage.seconds

    wait_for(over, "the end of the outage", timeout=outage.seconds + 20, interval=0.2)


def await_store(net, timeout=40):
    """Wait until the store is reached and watched again, and a new lease reaches every host."""
    began = time.monotonic()
    wait_for(lambda: all(store(h)["up"] for h in net.hosts), "the store to be reached", timeout)
    print(f"reached again after {time.monotonic() - began:.1f} s")
    net.put_lease(NEW_KEY, "192.168.77.99", "0e:11:22:33:44:55")
    for host in net.hosts:
        wait_for(lambda h=host: has_route(h, NEW_SUBNET), f"the new lease at {host.name}", timeout)
        wait_for(lambda h=host: health(h, "/readyz")[0] == 200, f"{host.name} to be ready")


def test_killed_and_started_again(fabric, outage):
    net = make(fabric, outage)
    with undisturbed(net, "etcd killed"):
        net.etcd.kill()
        sit_out(net, outage)
        net.etcd.start()
        await_store(net)
        assert len(net.leases()) == 4


def test_restarted_empty(fabric, outage):
    """Another etcd at the same address, without config and leases; these come back by themselves
    once there is a config again."""
    net = make(fabric, outage)
    with undisturbed(net, "etcd emptied"):
        net.etcd.kill()
        sit_out(net, outage)
        net.etcd.restart(empty=True)
        for host in net.hosts:
            wait_for(lambda h=host: f"{PREFIX}/config" in health(h, "/readyz")[1],
                     f"{host.name} to say that there is no config", timeout=40)
            assert health(host, "/readyz")[0] == 503
        net.put_config(net.config)
        net.wait_leases(3, timeout=40)
        await_store(net)


def test_history_compacted_meanwhile(fabric, outage):
    """What was put and deleted while nobody could watch is seen by a snapshot."""
    net = make(fabric, outage)
    net.put_lease("10.1.201.0-24", "192.168.77.98", "0e:11:22:33:44:66")
    for host in net.hosts:
        wait_for(lambda h=host: has_route(h, "10.1.201.0/24"), "the lease that will go")
    with undisturbed(net, "etcd away and compacted"):
        net.etcd.members[0].interface.cut(silent=True)
        net.etcd.kill()
        net.etcd.start()
        sit_out(net, outage)
        net.delete_lease("10.1.201.0-24")
        for number in range(5):
            net.put_lease("10.1.202.0-24", "192.168.77.97", f"0e:11:22:33:44:7{number}")
        net.etcd.compact()
        net.etcd.members[0].interface.restore()
        await_store(net)
        for host in net.hosts:
            wait_for(lambda h=host: has_route(h, "10.1.202.0/24"), "the lease that came meanwhile")
            wait_for(lambda h=host: not has_route(h, "10.1.201.0/24"), "the lease to go")
            macs = [n["lladdr"] for n in host.ip_json("neigh", "show", "10.1.202.0")]
            assert macs == ["0e:11:22:33:44:74"]


def test_hung(fabric, outage):
    """Connections stay open and nothing is ever answered."""
    net = make(fabric, outage)
    with undisturbed(net, "etcd hung"):
        net.etcd.pause()
        sit_out(net, outage)
        net.etcd.resume()
        await_store(net)


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_without_quorum(fabric, outage, how):
    """The member that is left answers, and can do nothing."""
    net = make(fabric, outage, members=3)
    with undisturbed(net, f"quorum lost ({how})"):
        for member in net.etcd.members[1:]:
            member.pause() if how == "pause" else member.kill()
        sit_out(net, outage)
        for member in net.etcd.members[1:]:
            member.resume() if how == "pause" else member.start()
        net.etcd.wait_ready(40)
        await_store(net)


def test_one_of_three_killed_while_watching(fabric, outage):
    """The watch goes on at another member, and what is put meanwhile is seen."""
    net = make(fabric, outage, members=3)
    used = store(net.hosts[0])["endpoint"]
    victim = next(m for m in net.etcd.members if m.client_url == used)
    left = next(m for m in net.etcd.members if m is not victim)
    with undisturbed(net, "one of three killed"):
        victim.kill()
        began = time.monotonic()
        wait_for(lambda: net.etcd.ctl("put", f"{PREFIX}/subnets/{NEW_KEY}", stdin=(
            '{"PublicIP":"192.168.77.99","BackendType":"vxlan",'
            '"BackendData":{"VNI":12345,"VtepMAC":"0e:11:22:33:44:55"}}'),
            member=left, check=False).returncode == 0, "the two others to accept a lease")
        put = time.monotonic()
        for host in net.hosts:
            wait_for(lambda h=host: has_route(h, NEW_SUBNET), f"the new lease at {host.name}", 20)
        print(f"put after {put - began:.1f} s, seen {time.monotonic() - put:.1f} s later")
        for host in net.hosts:
            wait_for(lambda h=host: store(h)["up"], "the store to be reached")
            assert store(host)["endpoint"] != used
        end = began + outage.seconds
        wait_for(lambda: time.monotonic() > end, "the end of the outage",
                 timeout=outage.seconds + 5)
        victim.start()
        victim.wait_ready()
        net.etcd.ctl("del", f"{PREFIX}/subnets/{NEW_KEY}", member=left)
        for host in net.hosts:
            wait_for(lambda h=host: not has_route(h, NEW_SUBNET), "the lease to go")
