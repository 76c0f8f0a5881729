# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The meta plugin flannel: what it makes of subnet.env, and that it and the Go plugins release what the other attached.

        h1: /run/flannel/subnet.env -> flannel -> cni0 -- vethXXXXXXXX -- eth0 in p1, p2, ...
"""

import json

import pytest

from lab.cni import CniError, Runtime

SUBNET_ENV = """FLANNEL_NETWORK=10.5.0.0/16
FLANNEL_SUBNET=10.5.34.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""
CONF = {"cniVersion": "1.0.0", "name": "cbr0", "type": "flannel",
        "delegate": {"hairpinMode": True, "isDefaultGateway": True}}
# What flannel 1.9 writes for these two, key for key.
DELEGATE = ('{"cniVersion":"1.0.0","hairpinMode":true,"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.5.34.0/24"}]],'
            '"routes":[{"dst":"10.5.0.0/16"}],"type":"host-local"},"isDefaultGateway":true,"isGateway":true,"mtu":1450,'
            '"name":"cbr0","type":"bridge"}')


@pytest.fixture
def runtime(lab):
    runtime = Runtime(lab.host("h1"))
    write_env(runtime.host, SUBNET_ENV)
    return runtime


def write_env(host, text):
    (host.run_dir / "flannel").mkdir(exist_ok=True)
    (host.run_dir / "flannel/subnet.env").write_text(text)


def kept(host):
    directory = host.lib_dir / "cni/flannel"
    return {f.name: f.read_text() for f in directory.iterdir()} if directory.exists() else {}


def records(host, network="cbr0"):
    directory = host.lib_dir / "cni/networks" / network
    return {f.name: f.read_bytes() for f in directory.iterdir() if f.name[0].isdigit() or f.name.startswith("fd")} \
        if directory.exists() else {}


def veths(host):
    return [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("veth")]


def nothing_left(host):
    assert (kept(host), records(host), veths(host)) == ({}, {}, [])


def test_add_and_del(runtime):
    host, pod = runtime.host, runtime.pod("p1")
    result = runtime.add([CONF], "c1", pod)
    assert result["ips"] == [{"interface": 2, "address": "10.5.34.2/24", "gateway": "10.5.34.1"}]
    assert result["routes"] == [{"dst": "10.5.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.5.34.1"}]
    assert kept(host) == {"c1": DELEGATE}
    directory = host.lib_dir / "cni/flannel"
    assert (directory.stat().st_mode & 0o777, (directory / "c1").stat().st_mode & 0o777) == (0o700, 0o600)
    assert records(host) == {"10.5.34.2": b"c1\r\neth0"}
    assert runtime.pod_ip(pod, "link", "show", "dev", "eth0")[0]["mtu"] == 1450
    runtime.check([CONF], "c1", pod)
    # DEL does without the agent's file.
    (host.run_dir / "flannel/subnet.env").unlink()
    runtime.delete([CONF], "c1", pod)
    runtime.delete([CONF], "c1", pod)
    nothing_left(host)


@pytest.mark.parametrize("first", ("ours", "go"))
def test_both_ways_with_the_go_plugins(runtime, first):
    """Attached by one, detached by the other. flannel's plugin hands on the kept text, so Go's bridge gets that."""
    host, pod = runtime.host, runtime.pod("p1")
    delegate = json.loads(DELEGATE)
    if first == "ours":
        result = runtime.add([CONF], "c1", pod)
        text = kept(host)["c1"]
        runtime.must("CHECK", {**json.loads(text), "prevResult": {**result, "routes": result["routes"][1:]}}, "c1", pod)
        assert runtime.call("DEL", json.loads(text), "c1", pod, stdin=text).code == 0
        # As flannel's does.
        (host.lib_dir / "cni/flannel/c1").unlink()
    else:
        (host.lib_dir / "cni/flannel").mkdir(parents=True)
        (host.lib_dir / "cni/flannel/c1").write_text(DELEGATE)
        result = runtime.must("ADD", delegate, "c1", pod)
        assert records(host) == {"10.5.34.2": b"c1\r\neth0"}
        runtime.must("CHECK", {**CONF, "prevResult": result}, "c1", pod)
        runtime.must("DEL", CONF, "c1", pod)
    nothing_left(host)
    # Either goes on where the other stopped.
    runtime.add([CONF], "c2", pod)
    other = runtime.pod("p2")
    assert runtime.must("ADD", delegate, "c3", other)["ips"][0]["address"] == "10.5.34.4/24"
    third = runtime.pod("p3")
    assert runtime.must("ADD", CONF, "c4", third)["ips"][0]["address"] == "10.5.34.5/24"
    assert runtime.reach(pod, "10.5.34.4") and runtime.reach(third, "10.5.34.4")


def test_defaults_and_the_users_own_words(runtime):
    host = runtime.host
    write_env(host, "FLANNEL_NETWORK=10.5.0.0/16,10.7.0.0/16,10.5.0.0/16\nFLANNEL_SUBNET=10.5.34.1/24\n"
              "FLANNEL_IPV6_NETWORK=fd00:10:5::/56\nFLANNEL_IPV6_SUBNET=fd00:10:5:22::1/64\nFLANNEL_MTU=1450\n"
              "FLANNEL_IPMASQ=false\nJUNK\n")
    conf = {**CONF, "cniVersion": "0.3.1", "delegate": {"mtu": 1300},
            "ipam": {"routes": [{"dst": "172.16.0.0/12"}], "ranges": [[{"subnet": "1.2.3.0/24"}]]},
            "runtimeConfig": {"mac": "02:00:00:00:00:07"}}
    pod = runtime.pod("p1")
    result = runtime.add([conf], "c1", pod)
    assert result["interfaces"][2]["mac"] == "02:00:00:00:00:07"
    assert json.loads(kept(host)["c1"]) == {
        "cniVersion": "0.3.1", "name": "cbr0", "type": "bridge", "isGateway": True, "mtu": 1300, "ipMasq": True,
        "runtimeConfig": {"mac": "02:00:00:00:00:07"},
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.5.34.0/24"}], [{"subnet": "fd00:10:5:22::/64"}]],
                 "routes": [{"dst": d} for d in ("172.16.0.0/12", "10.5.0.0/16", "10.7.0.0/16", "fd00:10:5::/56")]}}
    runtime.delete([conf], "c1", pod)
    nothing_left(host)


def test_errors(runtime):
    host, pod = runtime.host, runtime.pod("p1")
    for more, words in (({"delegate": {"name": "x"}}, "must not have 'name'"),
                        ({"delegate": {"ipam": {}}}, "must not have 'ipam'"),
                        ({"delegate": {"type": 7}}, "'type'"), ({"delegate": []}, "'delegate'"),
                        ({"dataDir": "relative"}, "dataDir"), ({"subnetFile": "/none/such"}, "/none/such")):
        out = runtime.call("ADD", {**CONF, **more}, "c1", pod)
        assert out.code == 1 and words in out.json["msg"], (more, out)
    for text, words in (("", "FLANNEL_NETWORK, FLANNEL_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ"),
                        (SUBNET_ENV.replace("FLANNEL_MTU=1450\n", ""), "missing FLANNEL_MTU"),
                        (SUBNET_ENV.replace("1450", "x"), "FLANNEL_MTU=x"),
                        (SUBNET_ENV.replace("10.5.34.1/24", "10.5.34.1"), "FLANNEL_SUBNET=10.5.34.1")):
        write_env(host, text)
        out = runtime.call("ADD", CONF, "c1", pod)
        assert out.code == 1 and words in out.json["msg"], (text, out)
    nothing_left(host)


def test_failed_add_keeps_nothing(runtime):
    host, pod = runtime.host, runtime.pod("p1")
    out = runtime.call("ADD", {**CONF, "delegate": {"bridge": "lo"}}, "c1", pod)
    assert out.code == 1
    nothing_left(host)
    # A second ADD of what is attached fails, and the first's file stays.
    runtime.add([CONF], "c1", pod)
    assert runtime.call("ADD", CONF, "c1", pod).code == 1
    assert kept(host) == {"c1": DELEGATE} and list(records(host)) == ["10.5.34.2"]
    runtime.delete([CONF], "c1", pod)
    nothing_left(host)


def test_file_goes_only_with_the_interface(runtime):
    """flannel's removes it also when the delegate's DEL fails, and the next DEL then finds nothing to do."""
    host, pod = runtime.host, runtime.pod("p1")
    runtime.add([CONF], "c1", pod)
    networks = host.lib_dir / "cni/networks/cbr0"
    networks.rename(host.lib_dir / "cni/away")
    networks.write_text("in the way")
    with pytest.raises(CniError):
        runtime.must("DEL", CONF, "c1", pod)
    assert kept(host) == {"c1": DELEGATE}
    networks.unlink()
    (host.lib_dir / "cni/away").rename(networks)
    runtime.must("DEL", CONF, "c1", pod)
    nothing_left(host)


@pytest.mark.parametrize("damage", ("", "{", None), ids=("empty", "torn", "missing"))
def test_kept_file_lost(runtime, damage):
    host, pod = runtime.host, runtime.pod("p1")
    runtime.add([CONF], "c1", pod)
    file = host.lib_dir / "cni/flannel/c1"
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage)
    runtime.must("DEL", CONF, "c1", pod)
    nothing_left(host)


def test_two_attachments_of_one_container(runtime):
    """Each network's file is kept; flannel's plugin overwrites the first with the second."""
    host, pod = runtime.host, runtime.pod("p1")
    second = {**CONF, "name": "other", "delegate": {"bridge": "cni1"}, "subnetFile": "/run/flannel/other.env"}
    (host.run_dir / "flannel/other.env").write_text(SUBNET_ENV.replace("10.5.", "10.6."))
    runtime.add([CONF], "c1", pod)
    runtime.add([second], "c1", pod, ifname="eth1")
    assert sorted(kept(host)) == ["c1", "c1-eth1"]
    runtime.check([CONF], "c1", pod)
    runtime.check([second], "c1", pod, ifname="eth1")
    runtime.delete([second], "c1", pod, ifname="eth1")
    assert sorted(kept(host)) == ["c1"] and records(host, "other") == {}
    runtime.check([CONF], "c1", pod)
    runtime.delete([CONF], "c1", pod)
    nothing_left(host)


def test_other_delegates_are_real_programs(runtime):
    host, pod = runtime.host, runtime.pod("p1")
    conf = {**CONF, "delegate": {"type": "ptp"}}
    result = runtime.add([conf], "c1", pod)
    assert [i["name"] for i in result["interfaces"]][1] == "eth0" and len(result["interfaces"]) == 2
    assert runtime.reach(pod, "10.5.34.1")
    runtime.delete([conf], "c1", pod)
    nothing_left(host)
    # An IPAM plugin of another kind, too.
    static = {**CONF, "ipam": {"type": "static", "addresses": [{"address": "10.5.34.99/24", "gateway": "10.5.34.1"}]}}
    assert runtime.add([static], "c2", pod)["ips"][0]["address"] == "10.5.34.99/24"
    runtime.delete([static], "c2", pod)
    nothing_left(host)
    out = runtime.call("ADD", {**CONF, "delegate": {"type": "none-such"}}, "c3", pod)
    assert 'failed to find plugin "none-such"' in out.json["msg"]
    runtime.must("DEL", CONF, "c9", pod)


def test_status_and_gc(runtime):
    host, pods = runtime.host, [runtime.pod(f"p{i}") for i in range(3)]
    conf = {**CONF, "cniVersion": "1.1.0"}
    runtime.must("STATUS", conf, env={"CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": ""})
    for i, pod in enumerate(pods):
        runtime.add([conf], f"c{i}", pod)
    runtime.must("GC", conf)
    assert len(records(host)) == 3      # no list says nothing
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        runtime.must("GC", {**conf, key: [{"containerID": "c0", "ifname": "eth0"},
                                          {"containerID": "c1", "ifname": "eth0"}]})
        assert sorted(records(host)) == ["10.5.34.2", "10.5.34.3"]
    runtime.must("GC", {**conf, "cni.dev/valid-attachments": [{"containerID": "c0", "ifname": "eth1"}]})
    assert records(host) == {}
    write_env(host, "")
    out = runtime.call("STATUS", conf)
    assert out.json["code"] == 50
    assert runtime.call("STATUS", {**conf, "cniVersion": "1.0.0"}).json["code"] == 1
