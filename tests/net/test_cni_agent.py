# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Containers whose addresses the agent gives: records in etcd, by weft alone and by weft-ipam under Debian's bridge.

        etcd -- h1, h2 (weftd): weft -> cni0 -- vethXXXXXXXX -- eth0 in p1, p2, ...
"""

import json

import pytest

from ipam_client import records
from lab import DEFAULT_CONFIG, wait_for
from lab.cni import Runtime

WEFT = {"cniVersion": "1.0.0", "name": "cbr0", "type": "weft", "isDefaultGateway": True}
UNDER_BRIDGE = {"cniVersion": "1.0.0", "name": "cbr0", "type": "bridge", "isDefaultGateway": True,
                "ipam": {"type": "weft-ipam"}}


def veths(host):
    return [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("veth")]


def owners(net):
    return sorted((r["cid"], r["if"]) for r in records(net).values() if r["st"] == "used")


def waiting(host):
    directory = host.run_dir / "weft/ipam-del.d"
    return sorted(f.name for f in directory.iterdir()) if directory.exists() else []


@pytest.fixture
def world(fabric):
    """(the fabric, a runtime on its first host); no containers of its own."""
    net = fabric(hosts=2, containers=0)
    return net, Runtime(net.hosts[0])


@pytest.mark.parametrize("conf", (WEFT, UNDER_BRIDGE), ids=("weft", "under-bridge"))
def test_address_is_a_record(world, conf):
    net, runtime = world
    host, pod = net.hosts[0], runtime.pod("p1")
    result = runtime.add([conf], "c1", pod, args="IgnoreUnknown=1;K8S_POD_NAMESPACE=ns1;K8S_POD_NAME=web;K8S_POD_UID=u")
    address = result["ips"][0]["address"].split("/")[0]
    wait_for(lambda: owners(net) == [("c1", "eth0")], "the record in the store")
    record = next(iter(records(net).values()))
    assert (record["ip"].split("/")[0], record["ns"], record["pod"], record["uid"]) == (address, "ns1", "web", "u")
    assert DEFAULT_CONFIG["Network"] in [r["dst"] for r in result["routes"]]
    # Debian's bridge wants a gateway of every route when it checks; what it would ask of ours is asked here.
    runtime.must("CHECK", {**conf, "prevResult": result, "type": "weft" if conf == WEFT else "weft-ipam"}, "c1", pod)
    result["ips"][0]["address"] = "10.1.2.250/24"
    out = runtime.call("CHECK", {**conf, "prevResult": result, "type": "weft-ipam"}, "c1", pod)
    assert out.json["code"] == 999 and address in out.json["details"], out
    runtime.delete([conf], "c1", pod)
    runtime.delete([conf], "c1", pod)
    wait_for(lambda: owners(net) == [], "the record to go")
    assert veths(host) == []


def test_reach_over_the_fabric(world):
    net, runtime = world
    other = Runtime(net.hosts[1])
    pods = runtime.pod("p1"), other.pod("p1")
    first = runtime.add([WEFT], "c1", pods[0])
    second = other.add([WEFT], "c1", pods[1])
    assert runtime.reach(pods[0], second["ips"][0]["address"].split("/")[0])
    assert other.reach(pods[1], first["ips"][0]["address"].split("/")[0])
    link = runtime.pod_ip(pods[0], "link", "show", "dev", "eth0")[0]
    port = net.hosts[0].ip_json("link", "show", "dev", veths(net.hosts[0])[0])[0]
    assert link["mtu"] == port["mtu"] == 1450


def test_agent_down(world):
    """ADD says try again; DEL succeeds, and the agent applies it when it is back."""
    net, runtime = world
    host, pod = net.hosts[0], runtime.pod("p1")
    runtime.add([WEFT], "c1", pod)
    wait_for(lambda: owners(net) == [("c1", "eth0")], "the record in the store")
    host.agent.kill()
    for conf in (WEFT, UNDER_BRIDGE):
        out = runtime.call("ADD", conf, "c2", runtime.pod(f"p-{conf['type']}"))
        assert out.json["code"] == 11 and "agent" in out.json["msg"], out
        if conf == WEFT:
            assert len(veths(host)) == 1
    out = runtime.call("STATUS", {**WEFT, "cniVersion": "1.1.0"})
    assert out.json["code"] == 50
    runtime.delete([WEFT], "c1", pod)
    assert waiting(host) == ["cbr0_c1_eth0"]
    host.agent.restart()
    wait_for(lambda: owners(net) == [] and waiting(host) == [], "the agent to apply what waited")


def test_status_gc_and_requested(world):
    net, runtime = world
    host = net.hosts[0]
    new = {**WEFT, "cniVersion": "1.1.0"}
    runtime.must("STATUS", new)
    pods = [runtime.pod(f"p{i}") for i in range(3)]
    first = runtime.add([new], "c0", pods[0])["ips"][0]["address"]
    wanted = first.rsplit(".", 1)[0] + ".77"
    result = runtime.add([new], "c1", pods[1], args=f"IgnoreUnknown=1;IP={wanted}")
    assert result["ips"][0]["address"].split("/")[0] == wanted
    out = runtime.call("ADD", new, "c2", pods[2], args=f"IgnoreUnknown=1;IP={wanted}")
    assert out.json["code"] == 111 and len(veths(host)) == 2
    runtime.must("GC", new)
    assert owners(net) == [("c0", "eth0"), ("c1", "eth0")]
    runtime.must("GC", {**new, "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]})
    wait_for(lambda: owners(net) == [("c1", "eth0")], "what is not valid any more to go")


def test_ranges_that_say_otherwise(world):
    net, runtime = world
    conf = {**WEFT, "ipam": {"type": "weft-ipam", "ranges": [[{"subnet": "172.31.0.0/24"}]]}}
    out = runtime.call("ADD", conf, "c1", runtime.pod("p1"))
    assert out.json["code"] == 7 and "ranges" in out.json["msg"] and veths(net.hosts[0]) == []
    wait_for(lambda: owners(net) == [], "the address to be given back")


@pytest.mark.parametrize("answer", (b"", b"HTTP/1.1 200 OK\r\n\r\n", b"junk\r\n\r\n",
                                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                                    b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
                                    b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nnope",
                                    b"HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n"
                                    b'{"ips":[{"address":"999.0.0.1/24"}]}'))
def test_hostile_answers(lab, answer):
    """Whatever listens on the socket: an error that says so, nothing left. A fake, for no agent says such things."""
    host = lab.host("h1")
    runtime = Runtime(host)
    (host.run_dir / "answer").write_bytes(answer)
    host.spawn("python3", "-c", """
import socket
s = socket.socket(socket.AF_UNIX)
s.bind('/run/fake.sock')
s.listen()
while True:
    c, _ = s.accept()
    c.recv(65536)
    c.sendall(open('/run/answer', 'rb').read())
    c.close()
""", name="fake")
    wait_for((host.run_dir / "fake.sock").exists, "the fake agent")
    conf = {**WEFT, "ipam": {"type": "weft-ipam", "agent": "/run/fake.sock", "waiting": "/run/waiting"}}
    out = runtime.call("ADD", conf, "c1", runtime.pod("p1"))
    assert out.code == 1 and "agent" in json.dumps(out.json), out
    assert veths(host) == []
