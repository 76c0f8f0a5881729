# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""How much an agent logs, changed while it runs.

    h1 --- net1 --- etcd
"""

import json

from lab import wait_for


def lines_of(agent, level="DEBUG"):
    """The subsystems of its lines of that level."""
    return [line.split()[2].rstrip(":") for line in agent.log().splitlines() if f" {level} " in line]


def test_one_part_at_run_time(fabric):
    net = fabric(hosts=1, containers=False)
    host = net.hosts[0]
    assert lines_of(host.agent) == []
    out = host.weft("log", "reconcile=debug").stdout
    assert "reconcile   debug" in out and "store       info" in out
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: "reconcile: created route 10.1.200.0/24" in host.agent.log(), "the route to be logged")
    assert set(lines_of(host.agent)) == {"reconcile"}
    host.weft("log", "reconcile=info", "fabric=error")
    before = len(lines_of(host.agent))
    net.put_lease("10.1.201.0-24", "192.168.77.98", "0e:11:22:33:44:56")
    wait_for(lambda: host.agent.status()["peers"]["programmed"] == 2, "the second peer")
    assert len(lines_of(host.agent)) == before
    levels = json.loads(host.weft("log", "--json").stdout)["levels"]
    assert levels["fabric"] == "error" and levels["reconcile"] == levels["agent"] == "info"
    host.weft("log", "debug")
    assert host.agent.metric("weft_log_lines_total", level="debug") > 0
    assert {"api"} <= set(lines_of(host.agent))


def test_what_is_refused(fabric):
    net = fabric(hosts=1, containers=False)
    host = net.hosts[0]
    done = host.weft("log", "stoer=debug", check=False)
    assert done.returncode == 1
    assert 'no such part of weft: "stoer"; there are: agent, api, ' in done.stderr
    done = host.weft("log", "loud", check=False)
    assert done.returncode == 1 and 'no such level: "loud"; there are: error, warn, info, debug' in done.stderr
    assert host.weft("log", "a b", check=False).returncode == 2
    assert host.agent.request("/agent/v1/log?set=debug")[0] == 200
    assert host.agent.get("/agent/v1/log")["levels"]["agent"] == "info"         # to GET is to look
    assert host.agent.request("/agent/v1/status", "POST")[0] == 405


def test_json_lines(fabric):
    net = fabric(hosts=1, containers=False, flags=["--log-format=json", "--log-level=debug"])
    lines = [json.loads(line) for line in net.hosts[0].agent.log().splitlines() if line.startswith("{")]
    assert {"fabric", "reconcile", "store"} <= {line["subsystem"] for line in lines}
    assert all(set(line) == {"time", "level", "subsystem", "msg"} for line in lines)


def test_what_limits_left_out_is_told(fabric):
    """Leases that break a rule by the dozen: a few are logged each, and then how many were not."""
    net = fabric(hosts=1, containers=False)
    agent = net.hosts[0].agent
    for i in range(30):
        net.put_lease(f"10.1.{100 + i}.0-24", "0.0.0.0", "0e:11:22:33:44:55")
    wait_for(lambda: agent.status()["peers"]["rejected"] == 30, "the leases to be rejected")
    assert agent.metric("weft_log_left_out_total") >= 20
    wait_for(lambda: "more lines were left out: \"" in agent.log(), "it to be told", timeout=40)
