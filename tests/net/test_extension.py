# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The extension backend: the network's config says by which commands hosts reach each other.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 fd77:1::/64 -- etcd
    c3 - h3 --+

The commands are flannel's own examples as far as they go, with all that a shell offers. What each was told is in
/run/told of its host, one line a command.
"""

import contextlib
import itertools
import pathlib

import pytest

from lab import Probe, wait_for

ALLOW = "--allow-extension"
WAIT_S = 30
MARK = itertools.count(4_000_001)       # seconds that nobody else sleeps


def told(name, *variables, data=False):
    """A piece of a command that writes down what it was told."""
    values = " ".join(f"{v}=${v}" for v in variables)
    return (f"read -r DATA; echo \"{name} {values} data=$DATA\" >> /run/told; " if data
            else f"echo \"{name} {values}\" >> /run/told; ")


PEER = ("SUBNET", "IPV6SUBNET", "PUBLIC_IP", "PUBLIC_IPV6")
HOST_GW = {
    "Type": "extension",
    "PreStartupCommand": told("pre", "NETWORK", "PUBLIC_IP") + "echo \"  data of $PUBLIC_IP\"",
    "PostStartupCommand": told("post", "NETWORK", "IPV6NETWORK", *PEER),
    "ShutdownCommand": told("shutdown", "SUBNET"),
    "SubnetAddCommand": told("add", *PEER, data=True) + "ip route replace $SUBNET via $PUBLIC_IP"
    " && { [ -z \"$IPV6SUBNET\" ] || ip -6 route replace $IPV6SUBNET via $PUBLIC_IPV6; }",
    "SubnetRemoveCommand": told("remove", *PEER, data=True) + "ip route del $SUBNET via $PUBLIC_IP"
    " && { [ -z \"$IPV6SUBNET\" ] || ip -6 route del $IPV6SUBNET via $PUBLIC_IPV6; }",
}
DEVICE = "IF=flannel-ext; "
VXLAN = {
    "Type": "extension",
    "PreStartupCommand": DEVICE + "ip link del $IF 2>/dev/null; ip link add $IF mtu 1450 type vxlan id 7 dev eth0"
    " dstport 8472 nolearning && cat /sys/class/net/$IF/address",
    "PostStartupCommand": DEVICE + "IP=`echo $SUBNET | cut -d / -f 1`; ip addr add $IP/32 dev $IF"
    " && ip link set $IF up",
    "ShutdownCommand": DEVICE + "ip link del $IF",
    "SubnetAddCommand": DEVICE + "IP=`echo $SUBNET | cut -d / -f 1`; read VTEP; ip route replace $SUBNET via $IP dev"
    " $IF onlink && ip neigh replace $IP lladdr $VTEP dev $IF nud permanent"
    " && bridge fdb replace $VTEP dev $IF self dst $PUBLIC_IP",
    "SubnetRemoveCommand": DEVICE + "read VTEP; ip route del $SUBNET dev $IF && bridge fdb del $VTEP dev $IF",
}


def config(backend, **members):
    return {"Network": "10.1.0.0/16", "Backend": {**HOST_GW, **backend}, **members}


def lines(host, name=""):
    with contextlib.suppress(FileNotFoundError):
        return [line for line in (host.run_dir / "told").read_text(encoding="utf-8").splitlines()
                if line.startswith(name)]
    return []


def lease_of(host):
    return host.agent.status()["lease"]


def peer_of(host, other):
    return next((p for p in host.agent.peers()["peers"] if p.get("public_ip") == other.v4), None)


def wait_state(host, other, state):
    return wait_for(lambda: (p := peer_of(host, other)) and p["state"] == state and p,
                    f"{other.name} to be {state} at {host.name}", WAIT_S)


def sleepers(seconds):
    """The processes of all the machine that sleep for so long."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", str(seconds).encode()]:
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize("family", [4, 46], ids=["v4", "dual stack"])
def test_three_hosts(fabric, family):
    dual = {"EnableIPv6": True, "IPv6Network": "fc00:1::/48"} if family == 46 else {}
    net = fabric(hosts=3, config=config({}, **dual), family=family, flags=[ALLOW])
    net.ping_all(WAIT_S)
    h1, h2, _ = net.hosts
    own, peer = lease_of(h1), lease_of(h2)
    v6 = {"network": "fc00:1::/48" if dual else "", "own": own["ipv6_subnet"] or "", "peer": peer["ipv6_subnet"] or "",
          "h1": h1.v6 if dual else "", "h2": h2.v6 if dual else ""}
    assert lines(h1, "pre") == [f"pre NETWORK=10.1.0.0/16 PUBLIC_IP={h1.v4}"]
    assert lines(h1, "post") == [
        f"post NETWORK=10.1.0.0/16 IPV6NETWORK={v6['network']} SUBNET={own['subnet']} IPV6SUBNET={v6['own']}"
        f" PUBLIC_IP={h1.v4} PUBLIC_IPV6={v6['h1']}"]
    assert [line.split()[0] for line in lines(h1)] == ["pre", "post", "add", "add"]
    assert (f"add SUBNET={peer['subnet']} IPV6SUBNET={v6['peer']} PUBLIC_IP={h2.v4} PUBLIC_IPV6={v6['h2']}"
            f" data=data of {h2.v4}") in lines(h1, "add")
    for lease in net.leases().values():
        assert lease["BackendType"] == "extension" and lease["BackendData"] == f"data of {lease['PublicIP']}"
    assert h1.subnet_env()["FLANNEL_MTU"] == "1500"
    status = h1.weft("status").stdout
    assert "PROBLEMS" not in status and " extension " in status
    assert h1.weft("plan").stdout.startswith("nothing to change")


def test_restart_leave_and_come_back(fabric):
    net = fabric(hosts=3, config=config({}), flags=[ALLOW, "--peer-hold=200ms"])
    h1, h2, _ = net.hosts
    net.ping_all(WAIT_S)
    # The routes that commands made are in nobody's way, and stay while the agent is away.
    with Probe(*net.containers[:2]) as probe:
        h1.agent.kill()
        h1.agent.restart()
        h1.agent.wait_ready()
        wait_for(lambda: len(lines(h1, "add")) == 4, "the commands to be run again", WAIT_S)
        assert h1.agent.stop() == 0
        h1.agent.restart()
        h1.agent.wait_ready()
        wait_for(lambda: len(lines(h1, "add")) == 6, "the commands to be run again", WAIT_S)
    assert probe.result.lost == 0, probe.result
    assert [line.split()[0] for line in lines(h1)] == [
        "pre", "post", "add", "add", "pre", "post", "add", "add", "shutdown", "pre", "post", "add", "add"]
    subnet = lease_of(h2)["subnet"]
    assert lines(h1, "shutdown") == [f"shutdown SUBNET={lease_of(h1)['subnet']}"]

    h2.agent.stop()
    (key,) = [key for key, lease in net.leases().items() if lease["PublicIP"] == h2.v4]
    net.delete_lease(key)
    wait_for(lambda: not h1.ip_json("route", "show", subnet), "the peer's route to go", WAIT_S)
    assert lines(h1, "remove") == [
        f"remove SUBNET={subnet} IPV6SUBNET= PUBLIC_IP={h2.v4} PUBLIC_IPV6= data=data of {h2.v4}"]
    h2.agent.restart()
    h2.agent.wait_ready()
    net.ping_all(WAIT_S)
    # Another address and other data: what was there goes before the new comes.
    net.put_lease("10.1.200.0-24", "192.168.77.99", None, BackendType="extension", BackendData="one")
    wait_for(lambda: "192.168.77.99" in str(h1.ip_json("route", "show", "10.1.200.0/24")), "its route", WAIT_S)
    net.put_lease("10.1.200.0-24", "192.168.77.98", None, BackendType="extension", BackendData="two")
    wait_for(lambda: "192.168.77.98" in str(h1.ip_json("route", "show", "10.1.200.0/24")), "its new route", WAIT_S)
    assert [(line.split()[0], line.rpartition("=")[2]) for line in lines(h1) if "10.1.200.0" in line] == [
        ("add", "one"), ("remove", "one"), ("add", "two")]


def test_commands_of_flannels_documentation(fabric):
    """A tunnel of their own. The agent's restart makes it anew, and the end of the agent removes it."""
    net = fabric(hosts=3, config=config(VXLAN), flags=[ALLOW])
    net.ping_all(WAIT_S)
    h1, h2, _ = net.hosts
    mac = h2.ip_json("link", "show", "flannel-ext")[0]["address"]
    assert mac in [lease["BackendData"] for lease in net.leases().values()]
    h1.agent.kill()
    h1.agent.restart()
    h1.agent.wait_ready()
    net.ping_all(WAIT_S)
    assert h1.agent.stop() == 0
    assert not h1.ip_json("link", "show", "type", "vxlan")


@pytest.mark.parametrize("name", ["flannel-ext", "ext0"])
def test_device_that_is_kept(fabric, name):
    """Commands that bear what they made before lose no packet, whatever their device is called."""
    kept = {member: text.replace("IF=flannel-ext", f"IF={name}") for member, text in {
        **VXLAN, "ShutdownCommand": "", "PreStartupCommand": VXLAN["PreStartupCommand"].replace(
            "ip link del $IF 2>/dev/null; ip link add", "[ -e /sys/class/net/$IF ] || ip link add").replace(
            "nolearning &&", "nolearning;"),
        "PostStartupCommand": VXLAN["PostStartupCommand"].replace("addr add", "addr replace")
        + " && ip route replace $NETWORK dev $IF"}.items()}
    net = fabric(hosts=2, config=config(kept), flags=[ALLOW])
    net.ping_all(WAIT_S)
    host = net.hosts[0]
    before = host.ip_json("link", "show", name)[0]["ifindex"]
    with Probe(*net.containers) as probe:
        for end in (host.agent.kill, host.agent.stop):
            end()
            host.agent.restart()
            host.agent.wait_ready()
            wait_state(host, net.hosts[1], "ok")
    assert probe.result.lost == 0, probe.result
    assert host.ip_json("link", "show", name)[0]["ifindex"] == before


def test_not_without_the_flag(fabric):
    net = fabric(hosts=2, config=config({}), agents=False)
    host = net.hosts[0]
    net.start_agent(host, wait=False)
    refusal = wait_for(lambda: host.agent.status()["backend"]["error"], "the refusal")
    assert "backend extension" in refusal and "start weftd with --allow-extension" in refusal
    assert "--allow-extension" in host.weft("status", check=False).stdout
    assert not lines(host) and not net.leases()
    # It goes on by itself when the config is another one.
    net.put_config({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan"}})
    host.agent.wait_ready()


def test_one_peer_fails_another_is_slow_a_third_spams(fabric):
    """Each is told of by itself, and none delays who is well. Nothing that they started stays."""
    seconds = next(MARK)
    add = ("case $PUBLIC_IP in *.97) [ -e /run/mended ] || { echo no such tunnel; exit 5; };;"
           f" *.98) sleep {seconds} & sleep {seconds};; *.99) yes spam;; esac; " + HOST_GW["SubnetAddCommand"])
    net = fabric(hosts=2, config=config({"SubnetAddCommand": add}), agents=False)
    for number, address in enumerate((97, 98, 99), 200):
        net.put_lease(f"10.1.{number}.0-24", f"192.168.77.{address}", None, BackendType="extension", BackendData="x")
    for host in net.hosts:
        net.start_agent(host, ALLOW, "--extension-timeout=2s")
        net.add_container(host)
    net.ping_all(WAIT_S)
    h1, h2 = net.hosts

    def errors():
        return {p["public_ip"].split(".")[3]: p["error"] for p in h1.agent.peers()["peers"] if p["state"] == "failed"}

    wait_for(lambda: set(errors()) == {"97", "98", "99"}, "three to fail", WAIT_S)
    said = errors()
    assert said["97"] == "SubnetAddCommand: it failed with exit status 5: no such tunnel"
    assert said["98"] == "SubnetAddCommand: it did not end within 2000 ms and was killed"
    assert said["99"].startswith("SubnetAddCommand: it wrote more than 1048576 bytes and was killed: spam?spam")
    assert wait_state(h1, h2, "ok")["path"] == "extension"
    counts = h1.agent.status()["peers"]
    assert (counts["total"], counts["failed"], counts["programmed"]) == (4, 3, 1)
    assert "no such tunnel" in h1.weft("status").stdout
    (h1.run_dir / "mended").touch()
    wait_for(lambda: "97" not in errors(), "the failed one to be tried again", WAIT_S)
    assert h1.ip_json("route", "show", "10.1.200.0/24")
    for host in net.hosts:
        assert host.agent.stop(timeout=20) == 0
    wait_for(lambda: not sleepers(seconds), "all that the commands started to be gone", WAIT_S)


def test_a_crashed_agent_leaves_no_command(fabric):
    seconds = next(MARK)
    net = fabric(hosts=1, config=config({"SubnetAddCommand": f"exec sleep {seconds}"}), agents=False)
    net.put_lease("10.1.200.0-24", "192.168.77.99", None, BackendType="extension", BackendData="x")
    net.start_agent(net.hosts[0], ALLOW)
    wait_for(lambda: len(sleepers(seconds)) == 1, "the command to run", WAIT_S)
    assert net.hosts[0].agent.peers()["peers"][0]["state"] == "pending"
    net.hosts[0].agent.kill()
    wait_for(lambda: not sleepers(seconds), "the command to end", WAIT_S)


def test_the_start_fails_until_it_does_not(fabric):
    """PreStartupCommand before there is a lease, PostStartupCommand before there is a peer."""
    guard = "[ -e /run/{0} ] || {{ echo no {0}; exit 1; }}; "
    net = fabric(hosts=2, agents=False, config=config({
        "PreStartupCommand": guard.format("pre") + HOST_GW["PreStartupCommand"],
        "PostStartupCommand": guard.format("post") + HOST_GW["PostStartupCommand"]}))
    h1, h2 = net.hosts
    (h2.run_dir / "pre").touch(), (h2.run_dir / "post").touch()
    net.start_agent(h2, ALLOW)
    net.start_agent(h1, ALLOW, wait=False)
    wait_for(lambda: h1.agent.status()["backend"]["error"]
             == "PreStartupCommand: it failed with exit status 1: no pre", "the first failure", WAIT_S)
    assert not h1.agent.ready() and len(net.leases()) == 1
    (h1.run_dir / "pre").touch()
    wait_for(lambda: h1.agent.status()["backend"]["error"]
             == "PostStartupCommand: it failed with exit status 1: no post", "the second failure", WAIT_S)
    assert peer_of(h1, h2)["state"] == "pending" and not lines(h1, "add")
    (h1.run_dir / "post").touch()
    h1.agent.wait_ready(WAIT_S)
    for host in net.hosts:
        net.add_container(host)
    net.ping_all(WAIT_S)
    assert h1.agent.status()["backend"]["error"] == ""


@pytest.mark.parametrize("output, error", [("head -c 5000 /dev/zero | tr '\\0' x", "it wrote more than 4096 bytes"),
                                           ("printf '\\377'", "it is not UTF-8 text")])
def test_output_that_cannot_be_data(fabric, output, error):
    net = fabric(hosts=1, config=config({"PreStartupCommand": output}), agents=False)
    net.start_agent(net.hosts[0], ALLOW, wait=False)
    said = wait_for(lambda: net.hosts[0].agent.status()["backend"]["error"], "the refusal", WAIT_S)
    assert said.startswith("PreStartupCommand: ") and error.replace("it is", "is") in said
    assert not net.leases()


def test_hostile_leases(fabric):
    """What another host says of itself is read by commands, and is part of none."""
    net = fabric(hosts=1, config=config({}), flags=[ALLOW], containers=False)
    host = net.hosts[0]
    data = "$(touch /run/owned); `touch /run/owned` ' \" \n second"
    leases = {"10.1.200.0-24": {"BackendType": "extension", "BackendData": data},
              "10.1.201.0-24": {"BackendType": "extension", "BackendData": {"VtepMAC": "x"}},
              "10.1.202.0-24": {"BackendType": "vxlan", "BackendData": {"VtepMAC": "0e:00:00:00:00:99"}},
              "10.1.203.0-24": {"BackendType": "extension", "BackendData": None}}
    for number, (key, members) in enumerate(leases.items()):
        net.put_lease(key, f"192.168.77.9{number}", None, **members)
    wait_for(lambda: len(lines(host, "add")) == 2, "two to be added", WAIT_S)
    states = wait_for(lambda: (s := {p["subnet"]: (p["state"], p["error"]) for p in host.agent.peers()["peers"]})
                      and "pending" not in str(s) and len(s) == 4 and s, "all to be judged", WAIT_S)
    assert states == {"10.1.200.0/24": ("ok", ""), "10.1.203.0/24": ("ok", ""),
                      "10.1.201.0/24": ("failed", "its BackendData is not a string, which the commands could read"),
                      "10.1.202.0/24": ("ignored", "its backend is \"vxlan\", ours is extension")}
    assert {line.rpartition(" data=")[2] for line in lines(host, "add")} == {data.split("\n")[0].rstrip(), ""}
    assert not (host.run_dir / "owned").exists()
    # Where it becomes another backend's it is not ours any more.
    net.put_lease("10.1.203.0-24", "192.168.77.93", "0e:00:00:00:00:98")
    wait_for(lambda: not host.ip_json("route", "show", "10.1.203.0/24"), "its route to go", WAIT_S)


def test_commands_get_no_secrets(fabric):
    net = fabric(hosts=1, config=config({"PostStartupCommand": "env > /run/environment"}), agents=False)
    host = net.hosts[0]
    net.start_agent(host, ALLOW, env={"WEFT_VMODULE": "hush", "FLANNELD_VMODULE": "hush",
                                      "CONSUL_HTTP_TOKEN": "hush", "OTHER": "thing"})
    wait_for(lambda: "PUBLIC_IP=" in (host.run_dir / "environment").read_text(encoding="utf-8"), "the command", WAIT_S)
    environment = (host.run_dir / "environment").read_text(encoding="utf-8")
    assert "hush" not in environment and "OTHER=thing\n" in environment and "\nPATH=" in f"\n{environment}"


def test_changed_commands(fabric):
    """Those of peers are taken over for the next peer; those of the start wait for a restart, as status says."""
    net = fabric(hosts=1, config=config({}), flags=[ALLOW], containers=False)
    host = net.hosts[0]
    net.put_config(config({"SubnetAddCommand": told("new-add", "SUBNET"), "PostStartupCommand": "true"}))
    wait_for(lambda: host.agent.status()["restart_needed"] == ["Backend.PostStartupCommand"], "the change", WAIT_S)
    net.put_lease("10.1.200.0-24", "192.168.77.99", None, BackendType="extension", BackendData="x")
    wait_for(lambda: lines(host, "new-add") == ["new-add SUBNET=10.1.200.0/24"], "the new command", WAIT_S)


def test_network_that_leaves(lab, fabric):
    """Of several networks one is removed from the store: its peers are removed, then ShutdownCommand is run."""
    net = fabric(hosts=2, config=False, agents=False)
    net.store.put("/coreos.com/network/a/config", config({}))
    net.store.put("/coreos.com/network/b/config", {"Network": "10.2.0.0/16", "Backend": {"Type": "host-gw"}})
    for host in net.hosts:
        net.start_agent(host, ALLOW, "--watch-networks", "--peer-hold=200ms")
    h1 = net.hosts[0]
    wait_for(lambda: len(lines(h1, "add")) == 1, "the peer's command", WAIT_S)
    net.store.delete("/coreos.com/network/a/config")
    wait_for(lambda: lines(h1, "shutdown"), "the command of the end", WAIT_S)
    assert [line.split()[0] for line in lines(h1)][-2:] == ["remove", "shutdown"]
    wait_for(lambda: [n["name"] for n in h1.agent.status()["networks"]] == ["b"], "the network to be gone", WAIT_S)
    assert not h1.ip_json("route", "show", "root", "10.1.0.0/16")
