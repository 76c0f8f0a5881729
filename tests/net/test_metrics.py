# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What Prometheus is told, and that the dashboard and the alert rules ask for nothing else.

    h1 --+                    +-- etcd
    h2 --+-- net1 ------------+-- ctl, a controller before it
"""

import json
import re
import shutil
import ssl
import subprocess

import pytest

from lab import LabError, http, wait_for
from lab.controller import PORT
from lab.netns import REPOSITORY

RULES = REPOSITORY / "packaging/prometheus/weft.rules.yml"
RULES_TEST = REPOSITORY / "packaging/prometheus/weft.test.yml"
DASHBOARD = REPOSITORY / "packaging/grafana/weft.json"


def promtool(*args, text=None):
    """What it prints; LabError for any finding, lint of names and help included."""
    done = subprocess.run(["promtool", *map(str, args)], input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0 or "FAILED" in done.stdout + done.stderr:
        raise LabError(f"promtool {' '.join(map(str, args))}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def tool():
    if not shutil.which("promtool"):
        pytest.skip("no promtool: Debian's prometheus is not installed")


def scrape(controller, token=None):
    """(status, text) of the controller's /metrics."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return http.tcp_request(controller.host, controller.host.v4, PORT, "/metrics", tls=context, headers=headers)


def names_of(text):
    return set(re.findall(r"^# TYPE (\S+)", text, re.M))


def asked_names(expressions):
    """The metrics that PromQL asks for; those of a histogram by the histogram's name."""
    found = re.findall(r"\b((?:weft|process)_\w+)", " ".join(expressions))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def rule_expressions():
    return re.findall(r"^ +expr: (.+)$", RULES.read_text(encoding="utf-8"), re.M)


def dashboard_expressions():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return panels + [v["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]


def test_of_agents_and_controllers(fabric):
    """Names, help and kinds are as Prometheus wants them; every query is of a metric that is there."""
    net = fabric(hosts=2, store="controller-etcd3")
    net.ping_all()
    host, controller = net.hosts[0], net.store
    agents = host.agent.request("/metrics")[1]
    code, controllers = scrape(controller, controller.join_token)
    assert code == 200, controllers
    assert promtool("check", "metrics", text=agents) == ""
    assert promtool("check", "metrics", text=controllers) == ""
    asked = asked_names(rule_expressions()) | asked_names(dashboard_expressions())
    there = names_of(agents) | names_of(controllers)
    assert len(asked) > 25 and not asked - there, asked - there
    documents = "".join((REPOSITORY / "docs" / name).read_text(encoding="utf-8")
                        for name in ("api.md", "controller-api.md"))
    assert not {name for name in there if f"`{name}" not in documents}


def test_values_of_an_agent(fabric):
    net = fabric(hosts=2, flags=["--lease-ttl=5"])
    agent, peer = net.hosts[0].agent, net.containers[1]
    assert agent.metric("weft_backend_info", type="vxlan") == 1
    assert agent.metric("weft_netlink_batches_total") > 0
    before = agent.metric("weft_device_transmit_packets_total", backend="vxlan", device="flannel.12345")
    assert net.containers[0].ping(peer.v4, count=5).lost == 0
    sent = agent.metric("weft_device_transmit_packets_total", backend="vxlan", device="flannel.12345") - before
    assert 5 <= sent < 50
    answered = agent.metric("weft_store_latency_seconds_count")
    assert answered == agent.metric("weft_store_latency_seconds_bucket", le="+Inf") > 0
    assert agent.metric("weft_store_latency_seconds_sum") > 0
    renewals = net.etcd.metric("etcd_debugging_lease_renewed_total")
    wait_for(lambda: net.etcd.metric("etcd_debugging_lease_renewed_total") > renewals + 12, "leases to be renewed",
             timeout=60)             # of two hosts, each some 1.5 s: for longer than a lease lives
    assert 0 <= agent.metric("weft_lease_age_seconds") < 5
    net.etcd.pause()
    wait_for(lambda: agent.metric("weft_lease_age_seconds") > 5, "the lease to grow old")
    net.etcd.resume()
    wait_for(lambda: agent.metric("weft_lease_age_seconds") < 3, "it to be renewed", timeout=30)


def test_values_of_a_controller(fabric):
    net = fabric(hosts=2, store="controller-etcd3", containers=False)
    controller = net.store
    code, text = scrape(controller)
    assert code == 401 and "weft_" not in text
    values = http.parse_metrics(scrape(controller, controller.join_token)[1])
    assert http.sum_metric(values, "weft_controller_refused_total", {}) == 1
    assert http.sum_metric(values, "weft_controller_watchers", {}) >= 2
    assert http.sum_metric(values, "weft_controller_keys", {}) == 3          # the config and two leases
    assert http.sum_metric(values, "weft_controller_requests_total", {"kind": "txn"}) >= 2
    assert http.sum_metric(values, "weft_store_up", {}) == 1
    assert http.sum_metric(values, "weft_store_latency_seconds_count", {"op": "txn"}) >= 2


def test_ready_tells_of_a_broken_data_plane(fabric):
    """The only peer cannot be programmed: its route is another program's."""
    net = fabric(hosts=1, containers=False)
    host = net.hosts[0]
    host.ip("route", "add", "blackhole", "10.1.200.0/24")
    net.put_lease("10.1.200.0-24", "192.168.77.99", "0e:11:22:33:44:55")
    wait_for(lambda: host.agent.request("/readyz")[0] == 503, "the agent to be not ready")
    assert host.agent.request("/readyz")[1].startswith("data plane broken: no peer can be programmed: ")
    assert host.agent.metric("weft_ready") == 0
    host.ip("route", "del", "blackhole", "10.1.200.0/24")
    host.agent.wait_ready()


def test_ready_tells_of_a_store_that_is_away_for_long(fabric):
    net = fabric(hosts=1, containers=False, flags=["--store-grace=1s"])
    agent = net.hosts[0].agent
    net.etcd.kill()
    wait_for(lambda: agent.request("/readyz")[0] == 503, "the agent to be not ready", timeout=30)
    assert re.match(r"store not reached for [1-9]\d* s: ", agent.request("/readyz")[1])
    assert agent.request("/healthz")[0] == 200


def test_alert_rules():
    """Each is tried out, with its cause and without."""
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES_TEST)
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    tried = re.findall(r"alertname: (\w+)\n.*\n +exp_alerts:(.*)", RULES_TEST.read_text(encoding="utf-8"))
    for alert in alerts:
        assert {(alert, ""), (alert, " []")} <= set(tried), alert


def test_queries_of_the_dashboard(tmp_path):
    """promtool reads expressions only in rules."""
    queries = [q.replace("$__rate_interval", "5m").replace("$instance", ".*") for q in dashboard_expressions()
               if not q.startswith("label_values(")]
    rules = [{"record": f"q{i}", "expr": q} for i, q in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", path)
