# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The agent under a service manager, as packaging/systemd/weftd.service has it.

    h1 --- net1 --- etcd
"""

import re
import socket

import pytest

from lab import wait_for
from lab.agent import agent_binary
from lab.netns import REPOSITORY

UNIT = REPOSITORY / "packaging/systemd/weftd.service.in"


def unit_values(name):
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.M)


@pytest.mark.parametrize("backend", ["vxlan", "udp"])
def test_capabilities_of_the_unit_suffice(fabric, backend):
    """A wrapper drops all capabilities but the unit's; the agent, and what it starts, must do its work with these."""
    net = fabric(hosts=2, agents=False, config={"Network": "10.1.0.0/16", "Backend": {"Type": backend}})
    kept = ",".join(c.removeprefix("CAP_").lower().join(("+", ""))
                    for c in unit_values("CapabilityBoundingSet")[0].split())
    wrapper = net.lab.directory / "weftd-as-service"
    wrapper.write_text(f"#!/bin/sh\nexec setpriv --no-new-privs --bounding-set=-all,{kept}"
                       f" {agent_binary()} \"$@\"\n", encoding="ascii")
    wrapper.chmod(0o755)
    for host in net.hosts:
        host.agent.binary = wrapper
        net.start_agent(host)
        net.add_container(host)
    bounded = net.hosts[0].run("sed", "-n", "s/^CapBnd:\t//p",
                               f"/proc/{net.hosts[0].agent.pid}/status").stdout.strip()
    assert bin(int(bounded, 16)).count("1") == len(kept.split(","))
    net.ping_all()
    assert net.hosts[0].sysctl("net/ipv4/ip_forward") == "1"


def test_the_packet_process_outlives_the_unit():
    assert unit_values("KillMode") == ["process"]


def test_readiness_is_told_to_the_service_manager(fabric):
    """READY=1 comes once the subnet is known, and not while the store has no config."""
    net = fabric(hosts=1, agents=False, config=False)
    host = net.hosts[0]
    assert unit_values("Type") == ["notify"]
    said = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(host.run_dir / "notify"))
        manager.setblocking(False)

        def heard(text):
            try:
                while True:
                    said.extend(manager.recv(4096).decode().splitlines())
            except BlockingIOError:
                return text in said

        net.start_agent(host, env={"NOTIFY_SOCKET": "/run/notify"}, wait=False)
        wait_for(lambda: heard(None) or any(s.startswith("STATUS=") for s in said),
                 "a STATUS= line")
        assert "READY=1" not in said
        net.put_config({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan"}})
        wait_for(lambda: heard("READY=1"), "READY=1")
        assert host.subnet_env()["FLANNEL_NETWORK"] == "10.1.0.0/16"
        assert host.agent.stop() == 0
        wait_for(lambda: heard("STOPPING=1"), "STOPPING=1")
