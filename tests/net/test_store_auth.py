# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Agents whose store wants certificates and passwords, with tokens that live for a second.

    c1 - h1 --+
              +-- net1 192.168.77.0/24 -- etcd1, etcd2, etcd3 (TLS, client certificates, users)
    c2 - h2 --+
"""

import pathlib
import time

import pytest

from lab import Probe, wait_for
from lab.fabric import PREFIX

USER, PASSWORD = "weft", "a-Word-2-Keep"
TOKEN_TTL_S = 1
NEW_KEY, NEW_SUBNET = "10.1.200.0-24", "10.1.200.0/24"


def start_agent(net, host):
    """As an operator does who knows that all can read a command line."""
    flags = [f for f in net.etcd.agent_flags() if not f.startswith("-etcd-password")]
    host.agent.start("-iface=eth0", f"-etcd-prefix={PREFIX}", "--log-level=debug", "--dead-man=2s",
                     "--request-timeout=2s", *flags, env={"FLANNELD_ETCD_PASSWORD": PASSWORD})


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2, etcd=3, agents=False,
                  store_options={"tls": True, "client_certificates": True,
                                "flags": ["--auth-token=simple",
                                          f"--auth-token-ttl={TOKEN_TTL_S}"]})
    made.etcd.enable_auth(USER, PASSWORD, role_prefix=f"{PREFIX}/")
    for host in made.hosts:
        start_agent(made, host)
    for host in made.hosts:
        host.agent.wait_ready(timeout=30)
        made.add_container(host)
    return made


def logins(net):
    return net.etcd.metric("grpc_server_handled_total", grpc_method="Authenticate",
                           grpc_code="OK")


def lease_arrives(net, member, key, subnet):
    """A lease that another host writes reaches every host's kernel."""
    net.etcd.ctl("put", f"{PREFIX}/subnets/{key}", member=member, stdin=(
        '{"PublicIP":"192.168.77.99","PublicIPv6":null,"BackendType":"vxlan",'
        '"BackendData":{"VNI":12345,"VtepMAC":"0e:11:22:33:44:55"}}'))
    for host in net.hosts:
        wait_for(lambda h=host: h.ip("route", "show", subnet, "proto", "157").strip(),
                 f"the route to {subnet} at {host.name}", timeout=20)


def places_of_secrets(host):
    """All that others may come to read: {name: text}."""
    pid = host.agent.pid
    yield "log", host.agent.log()
    yield "status", host.agent.request("/agent/v1/status")[1]
    for path in host.lib_dir, host.run_dir:
        for file in (f for f in path.rglob("*") if f.is_file()):
            yield str(file), file.read_text(encoding="utf-8", errors="replace")
    for process in [pid, *children(pid)]:
        yield f"cmdline of {process}", pathlib.Path(f"/proc/{process}/cmdline").read_text(
            encoding="utf-8", errors="replace")


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def test_member_dies_under_auth_and_tls(net):
    net.ping_all()
    with Probe(*net.containers) as probe:
        # The time itself is what counts: the tokens of all agents run out, as none is used.
        time.sleep(TOKEN_TTL_S + 2)
        before = logins(net)
        for host in net.hosts:
            host.agent.reload()
        wait_for(lambda: logins(net) >= before + len(net.hosts), "each agent to log in anew")
        lease_arrives(net, net.etcd.members[1], NEW_KEY, NEW_SUBNET)

        used = [h.agent.status()["store"]["endpoint"] for h in net.hosts]
        dead = next(m for m in net.etcd.members if m.client_url == used[0])
        dead.kill()
        alive = next(m for m in net.etcd.members if m is not dead)
        wait_for(lambda: all(s["up"] and s["endpoint"] not in ("", dead.client_url)
                             for s in (h.agent.status()["store"] for h in net.hosts)),
                 "the agents to use another member", timeout=30)
        alive.wait_ready()
        lease_arrives(net, alive, "10.1.201.0-24", "10.1.201.0/24")
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    net.ping_all()
    for host in net.hosts:
        assert host.agent.ready()
        assert "10.1.201.0" in host.agent.log()
        for name, text in places_of_secrets(host):
            assert PASSWORD not in text, f"{host.name}: the password is in {name}"
