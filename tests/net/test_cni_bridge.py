# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The plugin weft in bridge mode does what the reference plugin bridge does, and leaves nothing behind.

        h1 (weft, and Debian's bridge beside it)
         |- cni0 -- vethXXXXXXXX -- eth0 in p1, p2, ...
"""

import json
import os
import re

import pytest

from lab import wait_for
from lab.cni import GO, CniError, Runtime

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
V4 = {"ranges": [[{"subnet": "10.66.0.0/24"}]], "routes": [{"dst": "10.0.0.0/8"}]}
DUAL = {"ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd00:66::/64"}]]}
MAC = re.compile(r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$")


def conf_of(version="1.0.0", ipam=None, **more):
    return {"cniVersion": version, "name": "net", "type": "weft", "bridge": "cni0", "isGateway": True,
            "isDefaultGateway": True, "mtu": 1400, "ipam": {"type": "host-local", **(ipam or V4)}, **more}


@pytest.fixture
def runtime(lab):
    return Runtime(lab.host("h1"))


def veths(host):
    return [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("veth")]


def addresses(host, network="net"):
    directory = host.lib_dir / "cni/networks" / network
    return sorted(f.name for f in directory.iterdir() if re.match(r"[0-9a-f]+[.:]", f.name)) if directory.exists() \
        else []


def nothing_left(host, network="net"):
    assert veths(host) == []
    assert addresses(host, network) == []


def without_names(value):
    """A result without what is random: names of host ends, MACs."""
    if isinstance(value, dict):
        return {k: "MAC" if k == "mac" and MAC.match(v) else "veth" if k == "name" and v.startswith("veth") else
                without_names(v) for k, v in value.items()}
    return [without_names(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("version", VERSIONS)
def test_result_of_each_version(runtime, version):
    pod = runtime.pod("p1")
    result = runtime.add([conf_of(version)], "c1", pod)
    routes = [{"dst": "10.0.0.0/8"}, {"dst": "0.0.0.0/0", "gw": "10.66.0.1"}]
    if version in ("0.1.0", "0.2.0"):
        assert result == {"cniVersion": version, "dns": {},
                          "ip4": {"ip": "10.66.0.2/24", "gateway": "10.66.0.1", "routes": routes}}
    else:
        assert result["interfaces"][0]["mac"] != result["interfaces"][1]["mac"]
        family = {} if version >= "1" else {"version": "4"}
        mtu = {"mtu": 1400} if version == "1.1.0" else {}
        assert without_names(result) == {
            "cniVersion": version, "dns": {}, "routes": routes,
            "interfaces": [{"name": "cni0", "mac": "MAC", **mtu}, {"name": "veth", "mac": "MAC", **mtu},
                           {"name": "eth0", "mac": "MAC", "sandbox": pod, **mtu}],
            "ips": [{**family, "interface": 2, "address": "10.66.0.2/24", "gateway": "10.66.0.1"}]}
    runtime.delete([conf_of(version)], "c1", pod)
    nothing_left(runtime.host)


@pytest.mark.parametrize("version", VERSIONS[:-1])
@pytest.mark.parametrize("ipam", (V4, DUAL), ids=("v4", "dual"))
def test_same_as_the_reference(runtime, version, ipam):
    """Result, addresses, routes and MTU of a container, beside those that Debian's plugin gives."""
    seen = []
    for kind, network in (("bridge", "go"), ("weft", "ours")):
        pod = runtime.pod(network)
        conf = conf_of(version, ipam, type=kind, name=network)
        result = runtime.add([conf], "c1", pod)
        links = runtime.pod_ip(pod, "addr", "show", "dev", "eth0")[0]
        addrs = sorted((a["family"], a["local"], a["prefixlen"], a["scope"], a.get("broadcast"))
                       for a in links["addr_info"] if a["scope"] == "global")
        routes = [sorted(json.dumps({k: v for k, v in r.items() if k != "flags"}, sort_keys=True)
                         for r in runtime.pod_ip(pod, *family, "route", "show") if not r["dst"].startswith("fe80"))
                  for family in ((), ("-6",))]
        host_end = runtime.host.ip_json("link", "show", "master", "cni0")[0]
        seen.append((json.loads(json.dumps(without_names(result)).replace(pod, "POD")), addrs, routes, links["mtu"],
                     host_end["mtu"], host_end["operstate"], host_end["linkinfo"]["info_slave_data"]["hairpin"]))
        runtime.delete([conf], "c1", pod)
        nothing_left(runtime.host, network)
        runtime.host.ip("link", "del", "cni0")
    assert seen[0] == seen[1]


def test_version_and_about(runtime):
    out = runtime.call("VERSION", {"type": "weft"}, stdin='{"cniVersion":"1.0.0"}')
    assert out.code == 0 and out.json == {"cniVersion": "1.1.0", "supportedVersions": list(VERSIONS)}
    out = runtime.call("VERSION", {"type": "weft"}, env={"CNI_COMMAND": None})
    assert (out.code, out.text) == (0, "")
    assert "CNI protocol versions supported: 0.1.0, 0.2.0" in out.stderr


def test_errors_are_those_of_the_reference(runtime):
    """Code and message, ours beside the reference's, of calls that neither can serve."""
    pod = runtime.pod("p1")
    good = conf_of()
    calls = [
        (dict(command="NOPE", conf=good, cid="c1", netns=pod), None),
        (dict(command="ADD", conf=good, cid="", netns="", ifname="eth0"), None),
        (dict(command="ADD", conf=good, cid="c1", netns="", ifname=""), None),
        (dict(command="CHECK", conf=good, cid="c1", netns=""), None),
        (dict(command="ADD", conf=good, cid="c/1", netns=pod), None),
        (dict(command="ADD", conf=good, cid="c1", netns=pod, ifname="a/b"), "code"),
        (dict(command="ADD", conf=good, cid="c1", netns=pod, stdin="{"), "code"),
        (dict(command="ADD", conf={**good, "name": ""}, cid="c1", netns=pod), None),
        (dict(command="ADD", conf={**good, "name": "a/b"}, cid="c1", netns=pod), "code"),
        (dict(command="ADD", conf={**good, "cniVersion": "9.9.9"}, cid="c1", netns=pod), "code"),
        (dict(command="CHECK", conf={**good, "cniVersion": "0.3.1"}, cid="c1", netns=pod), None),
        (dict(command="ADD", conf={**good, "hairpinMode": True, "promiscMode": True}, cid="c1", netns=pod), None),
        (dict(command="ADD", conf={**good, "bridge": "lo"}, cid="c1", netns=pod), "lo"),
        (dict(command="ADD", conf={**good, "ipam": {"type": "host-local"}}, cid="c1", netns=pod), None),
        (dict(command="ADD", conf={**good, "ipam": {"type": "none-such"}}, cid="c1", netns=pod), "code"),
        (dict(command="ADD", conf={**good, "ipam": {"type": "host-local", "subnet": "10.1.2.3/24"}}, cid="c1",
              netns=pod), None),
        (dict(command="ADD", conf={**good, "ipam": {"type": "host-local", "subnet": "10.1.2.0/31"}}, cid="c1",
              netns=pod), None),
        (dict(command="ADD", conf=good, cid="c1", netns=pod, args="IgnoreUnknown=1;IP=10.66.0.1"), "gateway"),
        (dict(command="ADD", conf=good, cid="c1", netns=pod, args="IgnoreUnknown=1;IP=10.9.0.1"), None),
        (dict(command="ADD", conf=good, cid="c1", netns=pod, args="FOO=1"), None),
        (dict(command="ADD", conf=good, cid="c1", netns=pod, args="FOO"), None),
        (dict(command="ADD", conf=good, cid="c1", netns="/none/such"), "code"),
        (dict(command="ADD", conf=good, cid="c1", netns="/etc/passwd"), "code"),
    ]
    for words, how in calls:
        outcomes = []
        for kind in ("bridge", "weft"):
            command = words["command"]
            more = {k: v for k, v in words.items() if k not in ("command", "conf")}
            out = runtime.call(command, {**words["conf"], "type": kind}, **more)
            assert out.code == 1, (words, out)
            outcomes.append(out.json)
            # The reference leaves its veth behind when what follows fails; ours does not.
            for name in veths(runtime.host):
                assert kind == "bridge", words
                runtime.host.ip("link", "del", name)
        assert outcomes[0]["code"] == outcomes[1]["code"], (words, outcomes)
        if how is None:
            assert outcomes[0]["msg"] == outcomes[1]["msg"], words
        elif how != "code":
            assert how in outcomes[0]["msg"] and how in outcomes[1]["msg"], (words, outcomes)
    runtime.host.ip("link", "del", "cni0")


def test_nothing_is_left_of_an_add_that_fails(runtime):
    pod = runtime.pod("p1")
    failing = {
        "no address": conf_of(ipam={"ranges": [[{"subnet": "10.66.0.0/24", "rangeStart": "10.66.0.1",
                                                 "rangeEnd": "10.66.0.1"}]]}),
        "a route that cannot be": conf_of(ipam={**V4, "routes": [{"dst": "10.0.0.0/8", "gw": "172.31.0.1"}]}),
        "an ipam plugin that is missing": conf_of(ipam={"type": "none-such"}),
    }
    for why, conf in failing.items():
        with pytest.raises(CniError):
            runtime.add([conf], "c1", pod)
        assert veths(runtime.host) == [], why
        assert addresses(runtime.host) == [], why
        assert [link["ifname"] for link in runtime.pod_ip(pod, "link", "show")] == ["lo"], why


def test_second_add_changes_nothing(runtime):
    pod = runtime.pod("p1")
    runtime.add([conf_of()], "c1", pod)
    out = runtime.call("ADD", conf_of(), "c1", pod)
    assert out.json["code"] == 999 and "already exists" in out.json["msg"]
    other = runtime.pod("p2")
    out = runtime.call("ADD", conf_of(), "c1", other)
    assert out.json["msg"] == "failed to allocate for range 0: 10.66.0.2 has been allocated to c1, " \
                              "duplicate allocation is not allowed"
    assert addresses(runtime.host) == ["10.66.0.2"] and len(veths(runtime.host)) == 1
    runtime.check([conf_of()], "c1", pod)
    runtime.delete([conf_of()], "c1", pod)
    nothing_left(runtime.host)


def test_del_of_what_is_gone(runtime):
    conf, pod = conf_of(), runtime.pod("p1")
    runtime.must("DEL", conf, "never", pod)
    runtime.add([conf], "c1", pod)
    runtime.delete([conf], "c1", pod)
    runtime.delete([conf], "c1", pod)
    # Without a namespace the host's end goes by what ADD told of it.
    result = runtime.add([conf], "c2", pod)
    runtime.must("DEL", {**conf, "prevResult": result}, "c2", "")
    nothing_left(runtime.host)
    # A namespace that is gone took the pair along; the address is given back all the same.
    runtime.add([conf], "c3", pod)
    runtime.host.run("ip", "netns", "del", "p1")
    runtime.delete([conf], "c3", pod)
    wait_for(lambda: veths(runtime.host) == [], "the pair of a removed namespace to go")
    assert addresses(runtime.host) == []


def test_del_takes_only_what_the_result_names(runtime):
    conf, pod = conf_of(), runtime.pod("p1")
    result = runtime.add([conf], "c1", pod)
    result["interfaces"][1]["mac"] = "02:00:00:00:00:01"
    runtime.must("DEL", {**conf, "prevResult": result}, "c1", "")
    assert len(veths(runtime.host)) == 1


def test_check_sees_what_is_missing(runtime):
    conf, pod = conf_of(ipam=DUAL), runtime.pod("p1")
    runtime.add([conf], "c1", pod)
    runtime.check([conf], "c1", pod)
    port = veths(runtime.host)[0]
    breakages = {
        "address": (("nsenter", f"--net={pod}", "ip", "addr", "del", "10.66.0.2/24", "dev", "eth0"),
                    ("nsenter", f"--net={pod}", "ip", "addr", "add", "10.66.0.2/24", "dev", "eth0")),
        "route": (("nsenter", f"--net={pod}", "ip", "route", "del", "default"),
                  ("nsenter", f"--net={pod}", "ip", "route", "add", "default", "via", "10.66.0.1")),
        "port": (("ip", "link", "set", port, "nomaster"), ("ip", "link", "set", port, "master", "cni0")),
        "record": (("mv", "/var/lib/cni/networks/net", "/var/lib/cni/networks/away"),
                   ("sh", "-c", "rm -r /var/lib/cni/networks/net; mv /var/lib/cni/networks/away "
                    "/var/lib/cni/networks/net")),
    }
    for what, (harm, repair) in breakages.items():
        runtime.host.run(*harm)
        with pytest.raises(CniError):
            runtime.check([conf], "c1", pod)
        runtime.host.run(*repair)
        if what == "address":
            runtime.host.run("nsenter", f"--net={pod}", "ip", "route", "replace", "default", "via", "10.66.0.1")
        runtime.check([conf], "c1", pod)
    with pytest.raises(CniError, match="prevResult missing"):
        runtime.must("CHECK", conf, "c1", pod)


def test_own_namespace_is_refused(runtime):
    out = runtime.call("ADD", conf_of(), "c1", "/proc/self/ns/net")
    assert out.json["code"] == 8 and veths(runtime.host) == []
    assert runtime.host.ip_json("link", "show", "type", "bridge") == []


def test_options(runtime):
    host, pod = runtime.host, runtime.pod("p1")
    conf = conf_of(hairpinMode=True, portIsolation=True, runtimeConfig={"mac": "02:11:22:33:44:55",
                                                                       "ips": ["10.66.0.77/24"]})
    result = runtime.add([conf], "c1", pod, args="IgnoreUnknown=1;MAC=02:00:00:00:00:09;K8S_POD_NAME=x;WHAT=1")
    assert result["interfaces"][2]["mac"] == "02:11:22:33:44:55"
    assert result["ips"][0]["address"] == "10.66.0.77/24"
    assert runtime.pod_ip(pod, "link", "show", "dev", "eth0")[0]["address"] == "02:11:22:33:44:55"
    port = host.ip_json("link", "show", "master", "cni0")[0]["linkinfo"]["info_slave_data"]
    assert port["hairpin"] and port["isolated"]
    assert host.sysctl("net/ipv4/ip_forward") == "1"
    before = host.ip_json("link", "show", "dev", "cni0")[0]["address"]
    other = runtime.pod("p2")
    runtime.add([conf_of(promiscMode=True)], "c2", other)
    cni0 = host.ip_json("link", "show", "dev", "cni0")[0]
    assert "PROMISC" in cni0["flags"] and cni0["address"] == before
    runtime.delete([conf], "c1", pod)
    assert host.ip_json("link", "show", "dev", "cni0")[0]["address"] == before
    runtime.delete([conf_of()], "c2", other)
    nothing_left(host)
    out = runtime.call("ADD", conf_of(vlan=7), "c1", pod)
    assert out.json["code"] == 2 and "vlan" in out.json["msg"] and veths(host) == []


def test_without_ipam_the_interface_is_only_up(runtime):
    pod = runtime.pod("p1")
    conf = {k: v for k, v in conf_of(isGateway=False, isDefaultGateway=False).items() if k != "ipam"}
    conf["ipam"] = {}
    result = runtime.add([conf], "c1", pod)
    assert "ips" not in result and "UP" in runtime.pod_ip(pod, "link", "show", "dev", "eth0")[0]["flags"]
    runtime.delete([conf], "c1", pod)
    nothing_left(runtime.host)


def test_containers_reach_one_another_at_once(runtime):
    """The port forwards when ADD returns, and an IPv6 address needs no waiting."""
    pods = [runtime.pod(f"p{i}") for i in (1, 2)]
    results = [runtime.add([conf_of(ipam=DUAL)], f"c{i}", pod) for i, pod in enumerate(pods)]
    for ip in results[0]["ips"]:
        assert runtime.reach(pods[1], ip["address"].split("/")[0])
        assert runtime.reach(pods[1], ip["gateway"])
    flags = [a for a in runtime.pod_ip(pods[0], "-6", "addr", "show", "dev", "eth0")[0]["addr_info"]
             if a["scope"] == "global"]
    assert flags[0].get("nodad") and not flags[0].get("tentative")


def test_enabledad_waits(runtime):
    pod = runtime.pod("p1")
    runtime.add([conf_of(ipam=DUAL, enabledad=True)], "c1", pod)
    flags = [a for a in runtime.pod_ip(pod, "-6", "addr", "show", "dev", "eth0")[0]["addr_info"]
             if a["scope"] == "global"]
    assert not flags[0].get("nodad") and not flags[0].get("tentative")


def test_bridge_of_a_former_subnet(runtime):
    """After a new lease: an error while a container of the old subnet is there, the new address when none is."""
    host, old, new = runtime.host, conf_of(), conf_of(ipam={"ranges": [[{"subnet": "10.67.0.0/24"}]]})
    pods = [runtime.pod(f"p{i}") for i in (1, 2)]
    runtime.add([old], "c1", pods[0])
    out = runtime.call("ADD", new, "c2", pods[1])
    assert out.json["code"] == 999 and out.json["msg"] == \
        'failed to set bridge addr: "cni0" already has an IP address different from 10.67.0.1/24'
    assert len(veths(host)) == 1 and addresses(host) == ["10.66.0.2"]

    def bridge_addresses():
        return [a["local"] for a in host.ip_json("addr", "show", "dev", "cni0")[0]["addr_info"]
                if a["family"] == "inet"]
    assert bridge_addresses() == ["10.66.0.1"]
    runtime.add([{**new, "forceAddress": True}], "c2", pods[1])
    assert bridge_addresses() == ["10.67.0.1"]
    runtime.delete([new], "c2", pods[1])
    runtime.delete([old], "c1", pods[0])
    runtime.add([old], "c1", pods[0])
    assert bridge_addresses() == ["10.66.0.1"]


def test_masquerading_is_one_set(lab):
    """Pings out of the subnet come from the host's address, those within it do not; DEL leaves no element."""
    host = lab.host("h1", lab.segment("net1", v4="192.168.77.0/24"))
    outside = lab.host("h2", lab.hosts[0].interfaces["eth0"].segment)
    runtime = Runtime(host)
    conf = conf_of(ipMasq=True)
    pods = [runtime.pod(f"p{i}") for i in (1, 2)]
    results = [runtime.add([conf], f"c{i}", pod) for i, pod in enumerate(pods)]
    assert runtime.reach(pods[0], outside.interfaces["eth0"].v4.ip)     # which has no way back to 10.66/16
    assert runtime.reach(pods[1], results[0]["ips"][0]["address"].split("/")[0])

    def elements():
        sets = json.loads(host.run("nft", "-j", "list", "sets").stdout)["nftables"]
        return sorted(e for s in sets for e in s.get("set", {}).get("elem", ()))
    assert elements() == ["10.66.0.2", "10.66.0.3"]
    rules = json.loads(host.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    assert sum("rule" in r for r in rules) == 1
    runtime.delete([conf], "c1", pods[1])
    assert elements() == ["10.66.0.2"]
    runtime.must("DEL", {**conf, "prevResult": results[0]}, "c0", "")
    assert elements() == []


def test_parallel(runtime):
    """Many at once, the first of which makes the bridge: all succeed, with addresses of their own."""
    host, count = runtime.host, 24
    for i in range(count):
        runtime.pod(f"p{i}")
    script = "".join(
        f"CNI_CONTAINERID=c{i} CNI_NETNS=/run/netns/p{i} {runtime.ours}/weft < /run/conf > /run/out{i} & "
        for i in range(count)) + "wait"
    (host.run_dir / "conf").write_text(json.dumps(conf_of(ipMasq=True)))
    host.run("sh", "-c", script, timeout=60, env={"PATH": os.environ["PATH"], "CNI_COMMAND": "ADD",
                                                  "CNI_IFNAME": "eth0", "CNI_PATH": str(runtime.ours)})
    results = [json.loads((host.run_dir / f"out{i}").read_text()) for i in range(count)]
    assert all("ips" in r for r in results), results
    assert len({r["ips"][0]["address"] for r in results}) == count
    assert sum("rule" in r for r in json.loads(host.run("nft", "-j", "list", "ruleset").stdout)["nftables"]) == 1


def test_deadline(runtime):
    """Somebody holds host-local's lock: the plugin gives up in its time, with the code for another try."""
    host, pod = runtime.host, runtime.pod("p1")
    directory = host.lib_dir / "cni/networks/net"
    directory.mkdir(parents=True)
    holder = host.spawn("flock", "/var/lib/cni/networks/net/lock", "sleep", "infinity", name="holder")
    wait_for(lambda: host.run("flock", "-n", "/var/lib/cni/networks/net/lock", "true", check=False).returncode,
             "the lock to be held")
    out = runtime.call("ADD", conf_of(timeout=1), "c1", pod)
    assert out.json["code"] == 11, out
    assert veths(host) == []
    holder.kill()


def test_chain_with_the_reference_plugins(lab):
    """portmap, bandwidth, firewall and tuning of Debian behind ours: what they need of the result is there."""
    if not (GO / "portmap").exists():
        pytest.skip("containernetworking-plugins is not installed")
    host = lab.host("h1", lab.segment("net1", v4="192.168.77.0/24"))
    runtime = Runtime(host)
    pod = runtime.pod("p1")
    chain = [conf_of("0.4.0", name="net"), {"type": "portmap"}, {"type": "bandwidth"}, {"type": "firewall"},
             {"type": "tuning", "sysctl": {"net.core.somaxconn": "99"}}]
    capabilities = {"portmap": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
                    "bandwidth": {"bandwidth": {"ingressRate": 8000000, "ingressBurst": 8000000,
                                                "egressRate": 8000000, "egressBurst": 8000000}}}
    chain = [{"cniVersion": "0.4.0", "name": "net", **c, "runtimeConfig": capabilities.get(c["type"], {})}
             for c in chain]
    result = runtime.add(chain, "c1", pod)
    assert [i["name"] for i in result["interfaces"]][0] == "cni0" and len(result["interfaces"]) == 4
    server = host.spawn("nsenter", f"--net={pod}", "python3", "-m", "http.server", "80", "--directory", "/run",
                        name="server")
    address = host.interfaces["eth0"].v4.ip
    wait_for(lambda: host.run("curl", "-sf", "-m", 2, f"http://{address}:8080/", check=False).returncode == 0,
             "the published port to answer")
    runtime.delete(chain, "c1", pod)
    server.kill()
    nothing_left(host)


def bridge_elements(host):
    """{set: its elements} of the table of antispoof."""
    listed = json.loads(host.run("nft", "-j", "list", "ruleset", "bridge").stdout)["nftables"]
    return {s["set"]["name"]: s["set"].get("elem", []) for s in listed if "set" in s}


def test_antispoof(runtime):
    """Neither another's IP nor another's MAC, in IPv4, IPv6 or ARP; its own work. Nothing is left of one that went."""
    host, conf = runtime.host, conf_of(ipam=DUAL, antispoof=True)
    pods = [runtime.pod(f"p{i}") for i in range(3)]
    results = [runtime.add([conf], f"c{i}", pod) for i, pod in enumerate(pods)]
    own = [[ip["address"].split("/")[0] for ip in r["ips"]] for r in results]
    for target in own[1]:
        assert runtime.reach(pods[0], target)

    def inside(*words):
        return host.run("nsenter", f"--net={pods[0]}", *words, check=False)

    def reach_from(source, target):
        return inside("ping", "-n", "-c", 1, "-W", 1, "-I", source, target).returncode == 0
    # An address that is nobody's, so that only the rules can stand in the way.
    inside("ip", "addr", "add", "10.66.0.200/24", "dev", "eth0")
    inside("ip", "-6", "addr", "add", "fd00:66::200/64", "dev", "eth0", "nodad")
    assert reach_from(own[0][0], own[1][0]) and reach_from(own[0][1], own[1][1])
    assert not reach_from("10.66.0.200", own[1][0])
    assert not reach_from("fd00:66::200", own[1][1])
    # ARP: who is asked for its MAC by the false address does not learn that one.
    def known():
        return {n["dst"] for n in host.ip_json("neigh", "show") if "lladdr" in n}
    for source in ("10.66.0.200", own[0][0]):
        inside("ip", "neigh", "flush", "dev", "eth0")
        reach_from(source, "10.66.0.1")
        assert (source in known()) == (source == own[0][0])
    inside("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    assert not runtime.reach(pods[0], own[1][0])
    inside("ip", "link", "set", "eth0", "address", results[0]["interfaces"][2]["mac"])
    assert runtime.reach(pods[0], own[1][0])
    assert {name: len(e) for name, e in bridge_elements(host).items()} == \
        {"ports": 3, "macs": 3, "addrs4": 3, "addrs6": 3}
    rules = json.loads(host.run("nft", "-j", "list", "ruleset", "bridge").stdout)["nftables"]
    assert sum("rule" in r for r in rules) == 6
    runtime.delete([conf], "c0", pods[0])
    assert {len(e) for e in bridge_elements(host).values()} == {2}
    host.run("ip", "netns", "del", "p1")
    wait_for(lambda: len(veths(host)) == 1, "the pair of a removed namespace to go")
    runtime.delete([conf], "c1", pods[1])
    assert {len(e) for e in bridge_elements(host).values()} == {1}
    runtime.delete([conf], "c2", pods[2])
    assert {len(e) for e in bridge_elements(host).values()} == {0}
    # One that does not ask for it is not held to it.
    plain = conf_of(ipam=DUAL)
    runtime.add([plain], "c0", pods[0])
    other = runtime.pod("p9")
    result = runtime.add([plain], "c9", other)
    inside("ip", "addr", "add", "10.66.0.200/24", "dev", "eth0")
    assert reach_from("10.66.0.200", result["ips"][0]["address"].split("/")[0])
