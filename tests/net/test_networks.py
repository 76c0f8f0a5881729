# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Several networks in one process: each with its own config, lease, devices and env file, none in another's way.

    ca1 cb1 - h1 --+
    ca2 cb2 - h2 --+-- net1 192.168.77.0/24 -- etcd        caN is in network a, cbN in network b
    ca3 cb3 - h3 --+
"""

import json
import socket
import time

import pytest

from lab import LabError, Probe, wait_for
from lab.fabric import PREFIX

CONFIGS = {"a": {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 11}},
           "b": {"Network": "10.2.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12}},
           "c": {"Network": "10.3.0.0/16", "Backend": {"Type": "vxlan", "VNI": 13}}}
WATCH = ("-watch-networks", "-peer-hold=300ms")
MOST = 64


class Networks:
    """Hosts with agents in several networks, and containers in each."""

    def __init__(self, fabric, names, flags, hosts=3, configs=CONFIGS):
        self.net = fabric(hosts=hosts, config=False, agents=False, containers=False)
        self.etcd = self.net.etcd
        self.hosts = self.net.hosts
        self.containers = {}
        for name in names:
            self.put(name, configs[name])
        for host in self.hosts:
            self.net.start_agent(host, *flags, wait=False)
        for name in names:
            self.populate(name)

    def put(self, name, config):
        self.etcd.put(f"{PREFIX}/{name}/config", config)

    def delete(self, name):
        self.etcd.delete(f"{PREFIX}/{name}/config")

    def populate(self, name):
        """A container of this network on each host."""
        for host in self.hosts:
            wait_ready(host, name)
        self.containers[name] = [host.container(f"c{name}{host.name[1:]}", network=name)
                                 for host in self.hosts]

    def leases(self, name):
        return {pair.key.rpartition("/")[2] for pair in self.etcd.range(f"{PREFIX}/{name}/subnets/")}

    def ping_all(self, name):
        pairs = [(a, b) for a in self.containers[name] for b in self.containers[name] if a is not b]
        for a, b in pairs:
            wait_for(lambda a=a, b=b: a.can_reach(b.v4), f"{a.name} to reach {b.name}")

    def probes(self, name):
        first, *others = self.containers[name]
        return [Probe(first, other).start() for other in others]


def status(host, name=None):
    return host.agent.get("/agent/v1/status" + (f"?network={name}" if name else ""))


def wait_ready(host, name):
    def is_ready():
        try:
            return status(host, name).get("ready")
        except LabError:
            return False
    wait_for(is_ready, f"{host.name} to be ready in {name}", timeout=20)


def names_of(host):
    return sorted(n["name"] for n in status(host)["networks"])


def device(name, configs=CONFIGS):
    return f"flannel.{configs[name]['Backend']['VNI']}"


def devices(host):
    return {link["ifname"] for link in host.ip_json("link", "show")
            if link["ifname"].startswith("flannel")}


def routes(host):
    """{destination: (gateway or nexthop's gateway, device)} of what has weft's mark."""
    return {r["dst"]: (r.get("gateway"), r["dev"])
            for r in host.ip_json("route", "show", "proto", "157")}


def check_no_loss(probes):
    for probe in probes:
        result = probe.stop()
        assert result.lost == 0 and result.tcp_broken is None, str(result)


def test_two_networks(fabric):
    nets = Networks(fabric, "ab", ["-networks=a,b"])
    for name in "ab":
        nets.ping_all(name)
        assert len(nets.leases(name)) == 3
    for host in nets.hosts:
        assert devices(host) == {"flannel.11", "flannel.12"}
        for name in "ab":
            env = host.subnet_env(name)
            assert env["FLANNEL_NETWORK"] == CONFIGS[name]["Network"]
            own = status(host, name)["lease"]["subnet"]
            assert env["FLANNEL_SUBNET"].split("/")[0].rpartition(".")[0] == own.rpartition(".")[0]
            assert own.replace("/", "-") in nets.leases(name)
            kept = host.lib_dir / "weft" / "networks" / name / "state"
            wait_for(lambda kept=kept: kept.exists() and '"lease"' in kept.read_text(encoding="utf-8"),
                     f"{kept} to hold the lease")
        assert len(routes(host)) == 4
        assert not (host.run_dir / "flannel" / "subnet.env").exists()
        assert names_of(host) == ["a", "b"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_under_traffic(fabric, end):
    nets = Networks(fabric, "ab", ["-networks=a,b"])
    host = nets.hosts[0]
    for name in "ab":
        nets.ping_all(name)
    before = routes(host), [host.subnet_env(name) for name in "ab"]
    probes = nets.probes("a") + nets.probes("b")
    for _ in range(3):
        getattr(host.agent, end)()
        host.agent.restart()
        for name in "ab":
            wait_ready(host, name)
        assert (routes(host), [host.subnet_env(name) for name in "ab"]) == before
    check_no_loss(probes)


def test_a_network_comes_and_goes(fabric):
    """Under traffic of another one, which must not notice."""
    nets = Networks(fabric, "ab", WATCH)
    host = nets.hosts[0]
    for name in "ab":
        nets.ping_all(name)
    probes = nets.probes("a")
    nets.put("c", CONFIGS["c"])
    nets.populate("c")
    nets.ping_all("c")
    leases, env = nets.leases("b"), host.subnet_env("b")
    nets.delete("b")
    for each in nets.hosts:
        wait_for(lambda each=each: devices(each) == {"flannel.11", "flannel.13"}, "b to be removed")
        assert not [dst for dst in routes(each) if dst.startswith("10.2.")]
        assert len(routes(each)) == 4
        wait_for(lambda each=each: names_of(each) == ["a", "c"], "the status to forget b")
        assert not (each.lib_dir / "weft" / "networks" / "b").exists()
    assert nets.leases("b") == leases, "the leases are left to expire"
    assert host.subnet_env("b") == env, "the file stays"
    nets.ping_all("c")
    # It comes back with what its containers know.
    nets.put("b", CONFIGS["b"])
    nets.ping_all("b")
    assert nets.leases("b") == leases and host.subnet_env("b") == env
    check_no_loss(probes)


def test_as_many_as_a_host_can_be_in(fabric):
    """By a controller, which counts what each host has open there. One too many comes when another one goes."""
    net = fabric(hosts=1, config=False, agents=False, containers=False, store="controller")
    host, controller = net.hosts[0], net.store
    for i in range(MOST):
        controller.put(f"{PREFIX}/n{i}/config",
                       {"Network": f"10.{i}.0.0/16", "Backend": {"Type": "vxlan", "VNI": 100 + i}})
    net.start_agent(host, *WATCH, wait=False)
    wait_for(lambda: [n["reasons"] for n in status(host)["networks"]] == [[]] * MOST, "all to be ready", timeout=30)
    assert "put off a client" not in controller.host.agent.log()
    controller.put(f"{PREFIX}/late/config", {"Network": "10.200.0.0/16", "Backend": {"Type": "vxlan", "VNI": 99}})
    host.agent.wait_log(f"network late: a host can be in {MOST} networks")
    controller.delete(f"{PREFIX}/n7/config")
    wait_ready(host, "late")
    assert "n7" not in names_of(host) and len(names_of(host)) == MOST


def test_status_tells_trouble_of_networks_that_are_ready(fabric):
    nets = Networks(fabric, "ab", ["-networks=a,b"], hosts=1)
    host = nets.hosts[0]
    assert "PROBLEMS" not in host.weft("status").stdout
    nets.put("b", {"Network": "frozen by weft: being moved", "Frozen": {
        "Id": "1", "State": "copying", "Store": "there", "Config": json.dumps(CONFIGS["b"])}})
    wait_for(lambda: status(host, "b")["network"]["error"], "the agent to notice")
    why = status(host, "b")["network"]["error"]
    told = host.weft("status").stdout
    assert "being moved to there" in why and f"PROBLEMS\n  network   b: {why}\n" in told, told


def test_a_config_that_is_written_anew_disturbs_nobody(fabric):
    hold_s = 3
    nets = Networks(fabric, "a", ["-watch-networks", f"-peer-hold={hold_s}s"], hosts=2)
    nets.ping_all("a")
    probes = nets.probes("a")
    nets.delete("a")
    deleted = time.monotonic()
    for host in nets.hosts:
        host.agent.wait_log("network a: its config is gone from the store")
    nets.put("a", {**CONFIGS["a"], "Backend": {**CONFIGS["a"]["Backend"], "DirectRouting": True}})
    for host in nets.hosts:
        wait_for(lambda host=host: not status(host, "a")["network"]["error"], "the config to be taken")
        host.agent.wait_log("network a: its config is in the store again")
    # What must not happen now would happen then.
    wait_for(lambda: time.monotonic() > deleted + hold_s + 0.5, "the hold to be over")
    for host in nets.hosts:
        assert devices(host) == {"flannel.11"} and names_of(host) == ["a"]
    check_no_loss(probes)
    nets.ping_all("a")


def test_direct_routes_of_two_networks(fabric):
    """All stand on nexthops on eth0 with the same gateways, and yet each network's are its own."""
    configs = {name: {**config, "Backend": {**config["Backend"], "DirectRouting": True}}
               for name, config in CONFIGS.items()}
    nets = Networks(fabric, "ab", WATCH, configs=configs)
    for name in "ab":
        nets.ping_all(name)
    host = nets.hosts[0]
    before = routes(host)
    assert len(before) == 4 and {dev for _, dev in before.values()} == {"eth0"}
    assert len(host.ip_json("nexthop", "show")) == 4
    probes = nets.probes("a")
    host.agent.kill()
    host.agent.restart()
    wait_ready(host, "a")
    wait_ready(host, "b")
    assert routes(host) == before
    nets.delete("b")
    wait_for(lambda: devices(host) == {"flannel.11"}, "b to be removed")
    assert routes(host) == {dst: at for dst, at in before.items() if dst.startswith("10.1.")}
    assert len(host.ip_json("nexthop", "show")) == 2
    check_no_loss(probes)


def test_a_network_that_went_while_the_agent_was_down(fabric):
    nets = Networks(fabric, "ab", WATCH, hosts=2)
    host = nets.hosts[0]
    nets.ping_all("a")
    host.agent.stop()
    nets.delete("b")
    assert "flannel.12" in devices(host)
    probes = nets.probes("a")
    host.agent.restart()
    wait_for(lambda: devices(host) == {"flannel.11"}, "b to be removed")
    assert names_of(host) == ["a"] and len(routes(host)) == 1
    check_no_loss(probes)


def test_without_the_store(fabric):
    """A start without it serves all networks of the last life; an empty store ends none."""
    # A host that was away itself does not see that the store is another one: a peer slower than --peer-hold is dropped.
    nets = Networks(fabric, "ab", ["-watch-networks"], hosts=2)
    host = nets.hosts[0]
    for name in "ab":
        nets.ping_all(name)
        kept = host.lib_dir / "weft" / "networks" / name
        wait_for(lambda kept=kept: '"peer"' in (kept / "peers").read_text(encoding="utf-8"), "peers on disk")
    before = routes(host)
    probes = nets.probes("a") + nets.probes("b")
    nets.etcd.kill()
    host.agent.stop()
    host.agent.restart()
    wait_for(lambda: [n["lease"]["state"] for n in status(host)["networks"]] == ["cached"] * 2,
             "both networks to be served from the disk")
    assert routes(host) == before
    nets.etcd.restart(empty=True)
    host.agent.wait_log("network a: not in the store, which has no network at all")
    assert names_of(host) == ["a", "b"] and routes(host) == before
    check_no_loss(probes)
    for name in "ab":
        nets.put(name, CONFIGS[name])
    for name in "ab":
        wait_ready(host, name)
        nets.ping_all(name)


def test_a_broken_config_disturbs_nobody(fabric):
    nets = Networks(fabric, "a", ["-networks=a,b"], hosts=2)
    host = nets.hosts[0]
    nets.ping_all("a")
    assert "no network config" in status(host, "b")["network"]["error"]
    probes = nets.probes("a")
    nets.put("b", {"Network": "10.2.0.0/16", "Backend": {"Type": "vxlan", "VNI": "x"}})
    wait_for(lambda: "VNI" in " ".join(status(host, "b")["reasons"]), "the status to name the bad member")
    code, text = host.agent.request("/readyz")
    assert code == 503 and "network b: " in text and "network a: " not in text
    assert host.agent.request("/readyz?network=a")[0] == 200
    assert host.agent.request("/readyz?network=b")[0] == 503
    nets.put("b", CONFIGS["b"])
    nets.populate("b")
    nets.ping_all("b")
    assert host.agent.request("/readyz")[0] == 200
    check_no_loss(probes)


@pytest.mark.parametrize("config, words", [
    ({"Network": "10.2.0.0/16", "Backend": {"Type": "vxlan", "VNI": 11}}, "VNI 11 is network a's"),
    ({"Network": "10.1.128.0/17", "Backend": {"Type": "vxlan", "VNI": 12}}, "overlaps 10.1.0.0/16 of network a"),
    ({"Network": "10.2.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12, "GBP": True}}, "UDP port 8472 is network a's"),
], ids=["vni", "network", "port"])
def test_clash(fabric, config, words):
    nets = Networks(fabric, "a", WATCH, hosts=2)
    host = nets.hosts[0]
    nets.ping_all("a")
    probes = nets.probes("a")
    before = routes(host)
    nets.put("b", config)
    wait_for(lambda: words in " ".join(status(host, "b")["reasons"]), "b to be refused")
    assert "network b: " in status(host, "b")["backend"]["error"]
    assert not nets.leases("b") and devices(host) == {"flannel.11"} and routes(host) == before
    # Whose it was first keeps it over a restart, whoever is read first.
    host.agent.restart()
    wait_ready(host, "a")
    wait_for(lambda: words in " ".join(status(host, "b")["reasons"]), "b to be refused again")
    assert devices(host) == {"flannel.11"} and routes(host) == before
    nets.put("b", CONFIGS["b"])
    nets.populate("b")
    nets.ping_all("b")
    check_no_loss(probes)


def test_api_and_cli(fabric):
    nets = Networks(fabric, "ab", ["-networks=a,b"])
    host = nets.hosts[0]
    own = {name: status(host, name)["lease"]["subnet"] for name in "ab"}

    assert {lease["network"]: lease["subnet"] for lease in host.agent.get("/agent/v1/lease")["leases"]} == own
    peers = host.agent.get("/agent/v1/peers")["peers"]
    assert sorted(peer["network"] for peer in peers) == ["a", "a", "b", "b"]
    assert {peer["network"] for peer in host.agent.get("/agent/v1/peers?network=b")["peers"]} == {"b"}
    for path in ("status", "lease", "peers", "plan", "watch"):
        code, text = host.agent.request(f"/agent/v1/{path}?network=c")
        assert code == 404 and "in no network of this name" in text
    assert host.agent.metric("weft_lease_held", network="a") == 1
    assert host.agent.metric("weft_peers", network="b", state="programmed") == 2
    assert host.agent.metric("weft_ready") == 2

    # The firewall's rules come a moment after the network is ready.
    wait_for(lambda: host.agent.get("/agent/v1/plan") == {"changes": [], "total": 0, "errors": {}},
             "nothing to be left to do")
    assert host.agent.get("/agent/v1/plan?network=a") == {"changes": [], "total": 0}

    text = host.weft("status").stdout
    lines = [line.split() for line in text.splitlines()]
    for name in "ab":
        assert [name, CONFIGS[name]["Network"], own[name], "held", device(name), "2/2", "yes"] in lines
    assert "PROBLEMS" not in text
    assert own["a"] in host.weft("status", "--network=a").stdout
    assert own["b"] not in host.weft("status", "--network=a").stdout
    assert len([line for line in host.weft("status", "--peers").stdout.splitlines() if " ok " in line]) == 4
    assert "no network of this name" in host.weft("status", "--network=c", check=False).stderr
    assert "--network" in host.weft("plan", "--network=../x", check=False).stderr
    # The store's commands take the prefix from the agent.
    assert own["a"] in host.weft("lease", "list", "--network=a").stdout
    assert own["a"] not in host.weft("lease", "list", "--network=b").stdout
    assert "10.2.0.0/16" in host.weft("network", "get", "--network=b").stdout
    listed = json.loads(host.weft("network", "list", "--json").stdout)["networks"]
    assert sorted(network["name"] for network in listed) == ["a", "b"]
    host.weft("lease", "rm", own["b"], "--network=b")
    wait_for(lambda: own["b"].replace("/", "-") in nets.leases("b"), "the lease to be taken again")


def test_drift_is_repaired_by_its_network_only(fabric):
    nets = Networks(fabric, "ab", ["-networks=a,b"])
    host = nets.hosts[0]
    for name in "ab":
        wait_for(lambda name=name: len(host.agent.get(f"/agent/v1/peers?network={name}")["peers"]) == 2
                 and len(routes(host)) == 4, f"the peers of {name}")
    passes = {name: host.agent.metric("weft_reconcile_passes_total", network=name) for name in "ab"}
    gone = next(dst for dst in routes(host) if dst.startswith("10.2."))
    host.ip("route", "del", gone)
    wait_for(lambda: gone in routes(host), "the route to be put back")
    assert host.agent.metric("weft_repairs_total", network="b", kind="route") == 1
    assert host.agent.metric("weft_repairs_total", network="a") == 0
    assert f"network b: repaired route {gone}" in host.agent.log_since_start()
    assert host.agent.metric("weft_reconcile_passes_total", network="a") == passes["a"]


def test_a_network_is_removed_by_the_command(fabric):
    """Its agents run, and must not write their leases anew."""
    nets = Networks(fabric, "ab", ["-watch-networks"])
    host = nets.hosts[0]
    refused = host.weft("network", "rm", "--network=b", check=False)
    assert "still has 3 leases" in refused.stderr
    host.weft("network", "rm", "--network=b", "--force")
    for each in nets.hosts:
        wait_for(lambda each=each: devices(each) == {"flannel.11"}, "b to be removed")
    assert nets.leases("b") == set()
    assert len(nets.leases("a")) == 3


def test_behind_a_controller(fabric):
    """The controller's own host is in the networks as well."""
    net = fabric(hosts=3, config=False, agents=False, containers=False)
    first, *others = net.hosts
    first.agent.start("-iface=eth0", f"--listen={first.v4}:8889", "--agent", "--insecure", *WATCH)
    wait_for(lambda: "controller: serves" in first.agent.log(), "the controller")
    for host in others:
        host.agent.start("-iface=eth0", f"--remote={first.v4}:8889", *WATCH)
    remote = f"--remote={first.v4}:8889"
    for name in "ab":
        first.weft(remote, "network", "set", json.dumps(CONFIGS[name]), f"--network={name}")
    containers = {name: [] for name in "ab"}
    for name in "ab":
        for host in net.hosts:
            wait_ready(host, name)
            containers[name].append(host.container(f"c{name}{host.name[1:]}", network=name))
        for one, other in [(0, 1), (1, 2), (2, 0)]:
            wait_for(lambda a=containers[name][one], b=containers[name][other]: a.can_reach(b.v4),
                     f"{name}{one} to reach {name}{other}")
    first.weft(remote, "network", "rm", "--network=b", "--force")
    for host in net.hosts:
        wait_for(lambda host=host: devices(host) == {"flannel.11"}, "b to be removed")


def test_ready_is_told_in_spite_of_a_broken_network(fabric):
    net = fabric(hosts=1, config=False, agents=False)
    host = net.hosts[0]
    net.etcd.put(f"{PREFIX}/b/config", "{")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(host.run_dir / "notify"))
        manager.settimeout(10)
        net.start_agent(host, "-networks=a,b", env={"NOTIFY_SOCKET": "/run/notify"}, wait=False)
        host.agent.wait_log("network a: no network config")
        net.etcd.put(f"{PREFIX}/a/config", CONFIGS["a"])
        said = []
        while "READY=1" not in said:
            said.extend(manager.recv(4096).decode().splitlines())
    assert any(line.startswith("STATUS=network b: config: ") for line in said)


def test_networks_without_devices(fabric):
    """Two by plain routes, through the same gateways, beside one by VXLAN: one goes, the others lose nothing."""
    configs = {**CONFIGS, "b": {"Network": "10.2.0.0/16", "Backend": {"Type": "host-gw"}},
               "c": {"Network": "10.3.0.0/16", "Backend": {"Type": "host-gw"}}}
    nets = Networks(fabric, "abc", WATCH, configs=configs)
    for name in "abc":
        nets.ping_all(name)
    for host in nets.hosts:
        assert devices(host) == {"flannel.11"}
        by_device = [device for _, device in routes(host).values()]
        assert by_device.count("eth0") == 4 and by_device.count("flannel.11") == 2
    probes = nets.probes("a") + nets.probes("b")
    nets.delete("c")
    wait_for(lambda: all(len(routes(h)) == 4 and not any(dst.startswith("10.3.") for dst in routes(h))
                         for h in nets.hosts), "the routes of c to go")
    check_no_loss(probes)
    for name in "ab":
        nets.ping_all(name)


VXLAN_11 = CONFIGS["a"]["Backend"]
HOSTGW = {"Type": "host-gw"}


def with_backends(**backends):
    return {name: {"Network": CONFIGS[name]["Network"], "Backend": backend} for name, backend in backends.items()}


def restart_with(nets, configs, ready):
    """All agents go, then the configs change, and the agents are back."""
    for host in nets.hosts:
        host.agent.stop()
    for name, config in configs.items():
        nets.put(name, config)
    for host in nets.hosts:
        host.agent.restart()
        for name in ready:
            wait_ready(host, name)


def device_addresses(host, name):
    (link,) = host.ip_json("-4", "address", "show", "dev", name)
    return {address["local"] for address in link["addr_info"]}


def test_a_device_passes_to_another_network(fabric):
    """b comes to the device before a, whose it was, cleans up behind itself."""
    nets = Networks(fabric, "abc", WATCH)
    for name in "abc":
        nets.ping_all(name)
    probes = nets.probes("c")
    restart_with(nets, with_backends(a={"Type": "vxlan", "VNI": "x"}, b=VXLAN_11), ready="bc")
    for host in nets.hosts:
        wait_for(lambda host=host: devices(host) == {"flannel.11", "flannel.13"}, "b's former device to go")
    nets.ping_all("b")
    probes += nets.probes("b")
    nets.put("a", with_backends(a=HOSTGW)["a"])
    for host in nets.hosts:
        wait_ready(host, "a")
        assert devices(host) == {"flannel.11", "flannel.13"}
        assert device_addresses(host, "flannel.11") == {status(host, "b")["lease"]["subnet"].split("/")[0]}
    for name in "abc":
        nets.ping_all(name)
    check_no_loss(probes)


def test_a_device_that_another_network_once_had_stays(fabric):
    """The disk of a network that is routed plainly now still knows the MAC, which is the same for the same name."""
    nets = Networks(fabric, "a", WATCH, configs=CONFIGS, hosts=2)
    nets.ping_all("a")
    restart_with(nets, with_backends(a=HOSTGW), ready="a")
    for host in nets.hosts:
        wait_for(lambda host=host: devices(host) == set(), "a's device to go")
    nets.put("b", with_backends(b=VXLAN_11)["b"])
    nets.populate("b")
    for name in "ab":
        nets.ping_all(name)
    probes = nets.probes("a") + nets.probes("b")
    for host in nets.hosts:
        (before,) = host.ip_json("link", "show", "dev", "flannel.11")
        host.agent.restart()
        for name in "ab":
            wait_ready(host, name)
        (after,) = host.ip_json("link", "show", "dev", "flannel.11")
        assert after["ifindex"] == before["ifindex"]
    check_no_loss(probes)
