# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Agents of a controller: etcd is for the controllers alone, and one of them may go at any time.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+        |        |
                     ctl1     ctl2
"""

import json
import re
import stat

import pytest

from lab import Probe, wait_for
from lab.agent import agent_binary, operator_binary
from lab.fabric import DEFAULT_CONFIG, PREFIX

PORT = 8889
FOREIGN_KEY, FOREIGN_SUBNET = "10.1.200.0-24", "10.1.200.0/24"
FAST = ["--dead-man=1s", "--request-timeout=1s", "--peer-hold=3s"]


def join_of(node):
    """What the log of a controller says to those who join: (remote, pin)."""
    line = re.search(r"agents join by: weftd --remote=(\S+) --token-file=FILE --pin=(sha256:[0-9a-f]{64});",
                     node.agent.log_since_start())
    assert line, node.agent.log_tail()
    return line.groups()


class Controlled:
    """A fabric whose agents know nothing of etcd; insecure: by plain HTTP and without a token."""

    def __init__(self, lab, fabric, controllers=1, insecure=False):
        self.insecure = insecure
        self.net = fabric(hosts=3, agents=False, containers=False)
        self.controllers = [lab.host(f"ctl{i + 1}", self.net.segments[0]) for i in range(controllers)]
        for node in self.controllers:
            if node is not self.controllers[0]:
                (node.run_dir / "token").write_text(self.token())
            self.start_controller(node)
        self.remote = ",".join(f"{node.v4}:{PORT}" for node in self.controllers)
        self.access = [f"--remote={self.remote}", *([] if insecure else self.credentials())]
        for host in self.net.hosts:
            self.give_token(host)
            host.agent.start("-iface=eth0", f"--etcd-prefix={PREFIX}", *self.access, *FAST)
        for host in self.net.hosts:
            host.agent.wait_ready()
            self.net.add_container(host)
        self.net.ping_all()

    def token(self, name="token"):
        """The one that the first controller made; the others are given it. "join": the agents'."""
        return (self.controllers[0].lib_dir / f"weft/controller.{name}").read_text()

    def give_token(self, host, text=None):
        if not self.insecure:
            (host.run_dir / "token").write_text(text or self.token("join"))

    def credentials(self):
        pins = [join_of(node)[1] for node in self.controllers]
        return ["--token-file=/run/token", f"--pin={','.join(pins)}"]

    def start_controller(self, node):
        how = ["--insecure"] if self.insecure else []
        if not self.insecure and node is not self.controllers[0]:
            how = ["--token-file=/run/token"]
        node.agent.start(f"--listen={node.v4}:{PORT}", *how, f"--etcd-prefix={PREFIX}", *FAST,
                         etcd=self.net.etcd)
        wait_for(lambda: "controller: serves" in node.agent.log().split("--- start ")[-1], "the controller")

    def watchers(self):
        return self.net.etcd.metric("etcd_debugging_mvcc_watcher_total")

    def put_foreign(self, mac="02:99:00:00:00:01"):
        self.net.put_lease(FOREIGN_KEY, "192.168.77.99", mac)

    def wait_foreign(self, present=True):
        wait_for(lambda: all(has_route(host) == present for host in self.net.hosts),
                 f"{FOREIGN_SUBNET} {'with' if present else 'without'} a route everywhere", timeout=20)


def has_route(host):
    return bool(host.ip("route", "show", FOREIGN_SUBNET, "proto", "157").strip())


def store(host):
    return host.agent.status()["store"]


@pytest.fixture
def controlled(lab, fabric):
    return Controlled(lab, fabric)


def test_etcd_sees_one_client(controlled):
    net = controlled.net
    leases = net.wait_leases(3)
    assert {value["PublicIP"] for value in leases.values()} == {h.v4 for h in net.hosts}
    assert controlled.watchers() == 1
    assert all(store(h)["endpoint"] == f"https://{controlled.remote}" for h in net.hosts)
    controlled.put_foreign()
    controlled.wait_foreign()
    net.delete_lease(FOREIGN_KEY)
    controlled.wait_foreign(present=False)


def test_the_command_asks_a_controller(controlled):
    host = controlled.net.hosts[0]
    asked_itself = host.run(operator_binary(), "lease", "list", *controlled.access).stdout
    as_the_agent = host.run(operator_binary(), "lease", "list").stdout
    assert asked_itself == as_the_agent
    assert all(h.v4 in as_the_agent for h in controlled.net.hosts), as_the_agent


def test_killed_and_started_again(controlled):
    """Changes of the time between are there afterwards, and no packet is lost."""
    net, node = controlled.net, controlled.controllers[0]
    subnets = [h.agent.status()["lease"]["subnet"] for h in net.hosts]
    with Probe(net.containers[0], net.containers[1]) as probe:
        node.agent.kill()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to notice")
        controlled.put_foreign()
        controlled.start_controller(node)
        controlled.wait_foreign()
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "all agents to be back")
    print(probe.result)
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert [h.agent.status()["lease"]["subnet"] for h in net.hosts] == subnets
    net.ping_all()


def test_etcd_goes_and_comes_back(controlled):
    net = controlled.net
    with Probe(net.containers[0], net.containers[2]) as probe:
        net.etcd.kill()
        wait_for(lambda: not any(store(h)["up"] for h in net.hosts), "all agents to be told")
        assert all("2379" in store(h)["error"] for h in net.hosts), [store(h) for h in net.hosts]
        net.etcd.start()
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "all agents to be told again", timeout=20)
        controlled.put_foreign()
        controlled.wait_foreign()
    assert probe.result.lost == 0, str(probe.result)


def test_emptied_etcd(controlled):
    """The leases are written again, each host's own, and nothing is interrupted."""
    net = controlled.net
    before = net.wait_leases(3)
    with Probe(net.containers[0], net.containers[1]) as probe:
        net.etcd.restart(empty=True)
        net.put_config(net.config)
        wait_for(lambda: net.leases().keys() == before.keys(), "the same leases", timeout=30)
    assert probe.result.lost == 0, str(probe.result)


def lasting(host):
    """All leases as the host is told them, without what a second changes."""
    listed = json.loads(host.run(operator_binary(), "lease", "list", "--json").stdout)["leases"]
    return [{name: value for name, value in lease.items() if name != "expires_in_s"} for lease in listed]


def test_nothing_but_weft(lab):
    """One command on the first host, the line that it tells on each other: no etcd, TLS and a token as they come.

    The first host's weftd is killed under traffic.
    """
    segment = lab.segment("net1", v4="192.168.77.0/24")
    first, *others = hosts = [lab.host(f"h{i + 1}", segment) for i in range(3)]
    first.agent.start("-iface=eth0", f"--listen={first.v4}:{PORT}", "--agent", *FAST)
    wait_for(lambda: "controller: serves" in first.agent.log(), "the controller")
    joined = remote, pin = join_of(first)
    assert remote == f"{first.v4}:{PORT}"
    token = (first.lib_dir / "weft/controller.join").read_text()
    first.run(operator_binary(), "network", "set", f"--remote={remote}", f"--pin={pin}",
              "--token-file=/var/lib/weft/controller.token", json.dumps(DEFAULT_CONFIG))
    for host, how in zip(others, ("--token-file=/run/token", f"--token={token.strip()}"), strict=True):
        (host.run_dir / "token").write_text(token)
        host.agent.start("-iface=eth0", f"--remote={remote}", f"--pin={pin}", how, *FAST)
    containers = []
    for host in hosts:
        host.agent.wait_ready()
        containers.append(host.container(host.name.replace("h", "c")))
    wait_for(lambda: all(a.can_reach(b.addresses[0]) for a in containers for b in containers if a is not b),
             "all containers to reach each other")
    leases = lasting(others[0])
    assert {lease["public_ip"] for lease in leases} == {host.v4 for host in hosts}
    for lease in leases:
        assert "WeftOwner" in first.run(operator_binary(), "lease", "show", lease["subnet"]).stdout
    database = first.lib_dir / "weft/weft.db"
    assert database.stat().st_mode & 0o777 == 0o600
    with Probe(containers[0], containers[1]) as probe:
        first.agent.kill()
        wait_for(lambda: not any(store(h)["up"] for h in others), "the others to notice")
        first.agent.restart()
        first.agent.wait_ready()
        wait_for(lambda: all(store(h)["up"] for h in hosts), "all to be back", timeout=20)
        first.agent.reload()
        first.agent.wait_log("controller: read the certificate again")
    assert join_of(first) == joined
    assert probe.result.lost == 0 and probe.result.tcp_broken is None, str(probe.result)
    assert lasting(others[0]) == leases


def test_second_controller_takes_over(lab, fabric):
    """And the agents go on where they were: none reads everything again."""
    controlled = Controlled(lab, fabric, controllers=2)
    first, second = controlled.controllers
    net = controlled.net
    assert all(first.v4 in store(h)["endpoint"] for h in net.hosts)
    with Probe(net.containers[0], net.containers[1]) as probe:
        first.agent.kill()
        controlled.put_foreign()
        controlled.wait_foreign()
        wait_for(lambda: all(second.v4 in store(h)["endpoint"] for h in net.hosts),
                 "all agents at the second one")
    assert probe.result.lost == 0, str(probe.result)
    assert all("read everything again" not in h.agent.log() for h in net.hosts)
    assert controlled.watchers() == 1


def test_insecure(lab, fabric):
    """Plain HTTP and no token, for those who say so."""
    controlled = Controlled(lab, fabric, insecure=True)
    assert all(store(h)["endpoint"] == f"http://{controlled.remote}" for h in controlled.net.hosts)
    assert "--pin" not in controlled.controllers[0].agent.log_since_start()
    assert not (controlled.controllers[0].lib_dir / "weft").exists()


def test_the_same_identity_after_a_restart(controlled):
    """And after SIGHUP: nothing is made anew, and agents go on."""
    net, node = controlled.net, controlled.controllers[0]
    files = [node.lib_dir / "weft" / f"controller.{name}" for name in ("key", "crt", "token")]
    before = [path.read_bytes() for path in files]
    joined = join_of(node)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    with Probe(net.containers[0], net.containers[1]) as probe:
        node.agent.stop()
        controlled.start_controller(node)
        wait_for(lambda: all(store(h)["up"] for h in net.hosts), "all agents to be back", timeout=20)
        node.agent.reload()
        node.agent.wait_log("controller: read the certificate again")
        controlled.put_foreign()
        controlled.wait_foreign()
    assert probe.result.lost == 0, str(probe.result)
    assert join_of(node) == joined and [path.read_bytes() for path in files] == before


def test_reload_of_a_broken_certificate(controlled):
    net, node = controlled.net, controlled.controllers[0]
    certificate = node.lib_dir / "weft/controller.crt"
    certificate.write_text("rubbish")
    node.agent.reload()
    node.agent.wait_log("controller: keep the former certificate")
    assert "controller.crt" in node.agent.log_tail()
    host = net.hosts[0]
    host.run(operator_binary(), "lease", "list", *controlled.access)
    controlled.put_foreign()
    controlled.wait_foreign()


def refused(controlled, host, *access):
    """What weft says of a controller that it cannot use."""
    done = host.run(operator_binary(), "lease", "list", *access, check=False)
    assert done.returncode != 0 and not done.stdout, done.stdout
    assert f"https://{controlled.remote}" in done.stderr, done.stderr
    return done.stderr


def test_wrong_token(controlled):
    net, host = controlled.net, controlled.net.hosts[2]
    token, pin = controlled.token("join").strip(), controlled.access[2]
    remote = f"--remote={controlled.remote}"
    host.agent.stop()
    controlled.give_token(host, "0" * 64)
    assert "refuses our token; --token-file or --token" in refused(controlled, host, *controlled.access)
    assert "asks for a token; --token-file or --token" in refused(controlled, host, remote, pin)
    host.agent.restart()
    wait_for(lambda: "refuses our token" in str(host.agent.status()), "the agent to say so")
    log = controlled.controllers[0].agent.log()
    assert f"refuse a request from {host.v4}: it has another token" in log
    assert token not in log + host.agent.log() and "0" * 64 not in log + host.agent.log()
    controlled.give_token(host)
    host.agent.restart()
    host.agent.wait_ready()
    net.ping_all()


def test_wrong_pin(controlled):
    host = controlled.net.hosts[2]
    wrong = "sha256:" + "00112233" * 8
    host.agent.stop()
    assert wrong in refused(controlled, host, f"--remote={controlled.remote}", "--token-file=/run/token",
                            f"--pin={wrong}")
    # Nor does a token go to whom nobody vouches for.
    refused(controlled, host, f"--remote={controlled.remote}", "--token-file=/run/token")
    done = host.run(operator_binary(), "lease", "list", f"--remote=http://{controlled.remote}",
                    "--token-file=/run/token", check=False)
    assert done.returncode == 2 and "is not https://" in done.stderr, done.stderr
    assert "refuse a request" not in controlled.controllers[0].agent.log()


def test_mutual(controlled):
    """A client must show a certificate that the given CA signed, here: that it is."""
    net, node, host = controlled.net, controlled.controllers[0], controlled.net.hosts[0]
    for name in ("ca", "client"):
        node.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={name}", "-days", "1", "-keyout", f"/run/{name}.key", "-out", f"/run/{name}.crt",
                 *([] if name == "ca" else ["-CA", "/run/ca.crt", "-CAkey", "/run/ca.key"]))
    for name in ("client.crt", "client.key"):
        (host.run_dir / name).write_bytes((node.run_dir / name).read_bytes())
    net.hosts[0].agent.stop()
    node.agent.restart(*node.agent.flags, "--remote-cafile=/run/ca.crt")
    node.agent.wait_log("controller: serves")
    assert "--remote-certfile=FILE" in node.agent.log_since_start()
    refused(controlled, host, *controlled.access)
    shown = ["--remote-certfile=/run/client.crt", "--remote-keyfile=/run/client.key"]
    host.run(operator_binary(), "lease", "list", *controlled.access, *shown)
    # As it does with the agent's settings.
    host.agent.restart(*host.agent.flags, *shown)
    host.agent.wait_ready()
    host.run(operator_binary(), "lease", "list")


def test_join_line(lab, fabric):
    """The token is shown once, on standard output, and not if that is the log."""
    net = fabric(hosts=1, agents=False, containers=False)
    node, host = lab.host("ctl1", net.segments[0]), net.hosts[0]
    listen = [f"--listen={node.v4}:{PORT}", f"--etcd-prefix={PREFIX}", *net.etcd.agent_flags()]

    def start(number):
        shown = node.run_dir / f"shown{number}"
        process = node.spawn("sh", "-c", f'exec "$0" "$@" >/run/{shown.name} 2>/run/log{number}',
                             agent_binary(), *listen)
        wait_for(lambda: "controller: serves" in (node.run_dir / f"log{number}").read_text(), "the controller")
        return process, shown.read_text(), (node.run_dir / f"log{number}").read_text()

    process, shown, log = start(1)
    token = (node.lib_dir / "weft/controller.join").read_text().strip()
    assert re.fullmatch(rf"weftd --remote={node.v4}:{PORT} --token={token} --pin=sha256:[0-9a-f]{{64}}\n", shown), shown
    assert token not in log and "/var/lib/weft/controller.join" in log
    host.agent.start("-iface=eth0", f"--etcd-prefix={PREFIX}", *shown.split()[1:], *FAST)
    host.agent.wait_ready()
    process.terminate()
    process, shown, log = start(2)
    assert shown == "" and token not in log and "agents join by" in log
    process.terminate()
    (node.lib_dir / "weft/controller.token").unlink()
    node.agent.start(*listen)
    node.agent.wait_log("controller: serves")
    new_token = (node.lib_dir / "weft/controller.join").read_text().strip()
    assert new_token != token and new_token not in node.agent.log()


def test_health_without_a_token(controlled):
    net, node = controlled.net, controlled.controllers[0]

    def ask(path):
        return net.hosts[0].run("curl", "-sk", "-w", " %{http_code}", f"https://{node.v4}:{PORT}{path}").stdout

    assert ask("/healthz") == ask("/readyz") == "ok\n 200"
    assert ask("/v2/range").endswith(" 401")
    net.etcd.kill()
    wait_for(lambda: ask("/readyz").endswith(" 503"), "it to notice")
    assert "2379" in ask("/readyz") and ask("/healthz") == "ok\n 200"


# ---- whose is a lease ----

def ask(controlled, host, path, request, identity="f" * 64):
    """A request as a client of one's own would make it, with the token that agents have."""
    token = controlled.token("join").strip()
    answer = host.run("curl", "-sk", "-w", "\n%{http_code}", "-H", f"Authorization: Bearer {token}",
                      "-H", f"Weft-Identity: {identity}", "-d", json.dumps(request),
                      f"https://{controlled.controllers[0].v4}:{PORT}{path}").stdout
    text, status = answer.rsplit("\n", 1)
    return int(status), [json.loads(line) for line in text.splitlines()]


def lease_of(controlled, host):
    status, lines = ask(controlled, host, "/v2/range", {"prefix": f"{PREFIX}/subnets/"})
    assert status == 200, lines
    [pair] = [line["pair"] for line in lines if "pair" in line and f'"{host.v4}"' in line["pair"]["value"]]
    return pair


def test_forged_lease(controlled):
    """Who has the token and nothing else cannot change, delete or outlive what other hosts wrote."""
    net, attacker = controlled.net, controlled.net.hosts[2]
    victim = lease_of(controlled, net.hosts[0])
    key = victim["key"]
    forged = json.dumps({"PublicIP": attacker.v4, "BackendType": "vxlan",
                         "BackendData": {"VNI": 1, "VtepMAC": "02:66:66:66:66:66"}})
    compares = [{"key": key, "mod": victim["mod"]}]
    for write in ({"key": key, "value": forged, "session": victim["session"]}, {"key": key, "delete": True},
                  {"key": key, "value": victim["value"], "session": victim["session"]}):
        status, [answer] = ask(controlled, attacker, "/v2/txn", {"compares": compares, "writes": [write]})
        assert status == 403 and answer["error"]["code"] == "denied" and key in answer["error"]["text"], answer
    for what in ("close", "keep-alive"):
        status, [answer] = ask(controlled, attacker, f"/v2/session/{what}", {"session": victim["session"]})
        assert status == 403 and answer["error"]["code"] == "denied", answer
    done = attacker.run(operator_binary(), "lease", "rm", key.rsplit("/", 1)[1], check=False)
    assert done.returncode != 0 and key in done.stderr, done.stderr
    done = attacker.run(operator_binary(), "network", "set", json.dumps({**net.config, "Network": "10.9.0.0/16"}),
                        check=False)
    assert done.returncode != 0 and f"{PREFIX}/config" in done.stderr and "admin" in done.stderr, done.stderr
    assert lease_of(controlled, net.hosts[0]) == victim
    assert f"refuse a write of {attacker.v4}: key {key}" in controlled.controllers[0].agent.log()
    net.ping_all()


def test_lease_after_restarts(controlled):
    """A host knows its lease for its own by what it keeps on disk, whatever else it forgets."""
    net, host = controlled.net, controlled.net.hosts[0]
    before = lease_of(controlled, host)
    identity = host.lib_dir / "weft/identity"
    assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    assert identity.read_text().strip() not in before["value"] + host.agent.log()
    host.agent.kill()
    for path in (host.lib_dir / "weft").iterdir():
        if path != identity:
            path.unlink()
    controlled.controllers[0].agent.restart()
    host.agent.restart()
    host.agent.wait_ready()
    after = lease_of(controlled, host)
    assert after["key"] == before["key"] and after["session"] == before["session"]
    net.ping_all()
    # Without it the lease is another's, until an admin removes it.
    host.agent.kill()
    identity.unlink()
    host.agent.restart()
    wait_for(lambda: "is another host's" in host.agent.log_since_start(), "the agent to say why")
    admin = controlled.controllers[0]
    admin.run(operator_binary(), "lease", "rm", before["key"].rsplit("/", 1)[1], f"--remote={controlled.remote}",
              controlled.access[2], "--token-file=/var/lib/weft/controller.token", f"--etcd-prefix={PREFIX}")
    host.agent.wait_ready()
    wait_for(lambda: lease_of(controlled, host)["value"] != before["value"], "a lease with another mark")
    net.ping_all()


def test_upgrade(controlled):
    """An agent that had the admin's token keeps its lease when it gets its own, also one without a mark."""
    net, host = controlled.net, controlled.net.hosts[1]
    marked = lease_of(controlled, host)
    unmarked = {name: value for name, value in json.loads(marked["value"]).items() if name != "WeftOwner"}
    host.agent.stop()
    net.etcd.put(marked["key"], unmarked, lease=marked["session"])
    for token in (controlled.token(), None):
        controlled.give_token(host, token)
        host.agent.restart()
        host.agent.wait_ready()
        wait_for(lambda: lease_of(controlled, host)["value"] == marked["value"], "the mark")
        host.agent.stop()
    host.agent.restart()
    net.etcd.put(marked["key"], unmarked, lease=marked["session"])
    wait_for(lambda: lease_of(controlled, host)["value"] == marked["value"], "the mark, by the agent's own right")
    host.agent.wait_ready()
    net.ping_all()


def test_tokens(controlled):
    """weft token: one for a host that joins, which is cut off when it is revoked."""
    net, node, host = controlled.net, controlled.controllers[0], controlled.net.hosts[2]
    remote, pin = controlled.access[0], controlled.access[2]

    def token(*words, by=node, file="/var/lib/weft/controller.token", check=True):
        return by.run(operator_binary(), "token", *words, remote, pin, f"--token-file={file}", check=check)

    assert "no tokens" in token("list").stdout
    made = token("create", "--ttl=2h").stdout
    assert re.fullmatch(r"[0-9a-f]{16}\.[0-9a-f]{64}\n", made), made
    identity = made.split(".")[0]
    [row] = token("list").stdout.splitlines()[1:]
    assert row.split()[:2] == [identity, "agents"] and re.search(r" in (2h00m|1h59m)", row), row
    assert made.strip() not in node.agent.log()
    host.agent.stop()
    controlled.give_token(host, made)
    host.agent.restart()
    host.agent.wait_ready()
    net.ping_all()
    denied = token("create", by=host, file="/run/token", check=False)
    assert denied.returncode == 1 and "admin token" in denied.stderr and not denied.stdout, denied.stderr
    assert token("revoke", "0" * 16, check=False).returncode == 3
    assert token("revoke", identity).stdout == f"{identity}: revoked\n"
    wait_for(lambda: "refuses our token" in store(host)["error"], "the agent to be told", timeout=20)
    net.ping_all()      # what the kernel has stays
    other = json.loads(token("create", "--admin", "--ttl=0", "--json").stdout)
    (host.run_dir / "other").write_text(other["token"])
    assert other["expires"] == 0 and other["admin"]
    controlled.give_token(host, token("create", by=host, file="/run/other").stdout)
    host.agent.restart()
    host.agent.wait_ready()
    done = host.run(operator_binary(), "token", "list", "--etcd-endpoints=http://127.0.0.1:1", check=False)
    assert done.returncode == 2 and "--remote" in done.stderr, done.stderr


def test_another_token(controlled):
    """The admin's token is read again on SIGHUP, and the agents' follows from it."""
    net, node, host = controlled.net, controlled.controllers[0], controlled.net.hosts[0]
    path, before = node.lib_dir / "weft/controller.token", controlled.token("join")
    path.write_text("short")
    node.agent.reload()
    node.agent.wait_log("keep the former token and certificate")
    host.run(operator_binary(), "lease", "list", *controlled.access)
    path.write_text("0123456789abcdef" * 4)
    node.agent.reload()
    wait_for(lambda: controlled.token("join") != before, "another token for agents")
    wait_for(lambda: all("refuses our token" in store(h)["error"] for h in net.hosts), "all agents to be told",
             timeout=20)
    for each in net.hosts:
        controlled.give_token(each)
        each.agent.restart()
        each.agent.wait_ready()
    net.ping_all()
