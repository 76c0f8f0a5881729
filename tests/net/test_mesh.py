# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Each host measures latency and loss to each other one, from host to host and through the network.

    c1 - h1 --+
    c2 - h2 --+-- net1 (etcd)
    c3 - h3 --+
"""

import json
import time

import pytest
from many_leases import lease_address, put_leases

from lab import wait_for

PORT = 9099
WAYS = ("underlay", "overlay")
FLAGS = [f"--healthz-port={PORT}"]
SEEN_S = 60     # three in a row have to be lost


def mesh(host):
    """{public IP: what the host's agent measured}"""
    return {p["public_ip"]: p for p in host.agent.get("/agent/v1/mesh")["peers"]}


def states(host, peer, address=None):
    found = mesh(host).get(address or peer.v4)
    return tuple(found[way] and found[way]["state"] for way in WAYS) if found else None


def wait_states(host, peer, wanted, timeout=SEEN_S, address=None):
    wait_for(lambda: states(host, peer, address) in wanted, f"{host.name} to see {peer.name} as {wanted}", timeout)


def network_address(host):
    return host.agent.status()["lease"]["subnet"].split("/")[0]


def echoes_sent(host):
    """ICMP echo requests that left this host, as its kernel counts them."""
    lines = [line.split() for line in host.run("cat", "/proc/net/snmp").stdout.splitlines()
             if line.startswith("Icmp:")]
    return int(dict(zip(*lines))["OutEchos"])


def test_three_hosts(fabric):
    net = fabric(hosts=3, flags=FLAGS)
    h1, h2, h3 = net.hosts
    for host in net.hosts:
        for peer in net.hosts:
            if host is not peer:
                wait_states(host, peer, [("ok", "ok")])
    found = mesh(h1)
    assert set(found) == {h2.v4, h3.v4}
    assert found[h2.v4]["underlay"]["address"] == h2.v4
    assert found[h2.v4]["overlay"]["address"] == network_address(h2)
    for peer in found.values():
        for way in WAYS:
            assert 0 < peer[way]["min_us"] <= peer[way]["p90_us"] < 3e6 and peer[way]["rtt_us"] > 0
    assert h1.agent.metric("weft_mesh_peers", way="overlay", state="ok") == 2
    answered = h1.agent.metric("weft_mesh_rtt_seconds_count", way="underlay")
    assert 0 < answered <= h1.agent.metric("weft_mesh_probes_total", way="underlay")

    rows = h1.weft("mesh").stdout.splitlines()
    assert rows[0].split() == ["PEER", "PUBLIC", "IP", "STATE", "UNDERLAY", "P90", "LOST", "OVERLAY", "P90", "LOST"]
    assert {row.split()[1] for row in rows[1:]} == {h2.v4, h3.v4}
    assert all(row.split()[2] == "ok" for row in rows[1:])
    assert len(json.loads(h1.weft("mesh", "--json").stdout)["peers"]) == 2


def test_all_hosts(fabric):
    net = fabric(hosts=3, flags=FLAGS, containers=False)
    h1, h2, h3 = net.hosts
    for host in net.hosts:
        for peer in net.hosts:
            if host is not peer:
                wait_states(host, peer, [("ok", "ok")])
    rows = h2.weft("mesh", "--all").stdout.splitlines()
    assert rows[0].split()[3:] == [h2.v4, h1.v4, h3.v4]
    for number, row in enumerate(rows[1:]):
        cells = row.split()[1:]
        assert cells[number] == "-" and sum(cell.endswith("ms") for cell in cells) == 2, row
    answer = json.loads(h2.weft("mesh", "--all", "--json").stdout)
    assert answer["total"] == 6 and all(h["answered"] for h in answer["hosts"])
    assert {(p["from"], p["public_ip"]) for p in answer["pairs"]} == {
        (a.v4, b.v4) for a in net.hosts for b in net.hosts if a is not b}

    # Who does not answer is told of, and is no reason not to show the others.
    h3.agent.stop()
    result = h2.weft("mesh", "--all", check=False)
    assert result.returncode == 0 and "no answer" in result.stdout
    assert f"{h3.v4}, port {PORT}: " in result.stderr
    result = h2.weft("mesh", "--all", "--port=1", check=False)
    assert result.returncode == 4 and f"{h1.v4}, port 1: " in result.stderr
    # Over TCP there is this, and nothing of the rest.
    assert h1.run("curl", "-s", f"http://{h2.v4}:{PORT}/mesh").stdout.startswith('{"version"')
    assert "no such path" in h1.run("curl", "-s", f"http://{h2.v4}:{PORT}/agent/v1/mesh").stdout


def test_hostile_agent(fabric):
    """What stands at a peer's port in place of its agent: endless, no JSON, and lies."""
    net = fabric(hosts=2, containers=False)
    h1, h2 = net.hosts
    wait_states(h1, h2, [("ok", "ok")])
    server = (
        "import http.server, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "        try:\n"
        "            self.wfile.write(sys.argv[2].encode())\n"
        "            while sys.argv[3:]: self.wfile.write(sys.argv[3].encode() * 1000)\n"
        "        except OSError: pass\n"
        "http.server.HTTPServer(('', int(sys.argv[1])), H).serve_forever()\n")
    cases = [(7001, ["<html>"], "JSON"), (7002, ['{"peers":['], ""),
             (7003, ['{"peers":[{"subnet":"\\u001b[2J"}]}'], "subnet"),
             (7004, ['{"peers":[{}', ",{}"], "more than"), (7005, ['{"a":"', "xxxx"], "")]
    processes = [h2.spawn("python3", "-c", server, str(port), *words) for port, words, _ in cases]
    try:
        for port, _, why in cases:
            wait_for(lambda port=port: h1.run("curl", "-s", "-o", "/dev/null", "-m", "1",
                                              f"http://{h2.v4}:{port}/", check=False).returncode in (0, 28),
                     f"port {port} to be served")
            result = h1.weft("mesh", "--all", f"--port={port}", check=False)
            assert result.returncode == 4, (port, result)
            assert f"{h2.v4}, port {port}: " in result.stderr and why in result.stderr, (port, result.stderr)
            assert "\x1b" not in result.stderr + result.stdout
    finally:
        for process in processes:
            process.terminate()


def test_cut_off_and_back(fabric):
    net = fabric(hosts=3, flags=FLAGS, containers=False)
    h1, h2, h3 = net.hosts
    wait_states(h1, h3, [("ok", "ok")])
    h3.interfaces["eth0"].cut(silent=True)
    wait_states(h1, h3, [("unreachable", "unreachable")])
    assert states(h1, h2) == ("ok", "ok")
    # The worst is first, everywhere.
    first, = [row.split() for row in h1.weft("mesh").stdout.splitlines()[1:2]]
    assert first[1:3] == [h3.v4, "unreachable"] and first[3] == "lost"
    subnet = mesh(h1)[h3.v4]["subnet"]
    assert h1.agent.metric("weft_mesh_worst_peer_loss_ratio", way="overlay", peer=subnet) > 0
    assert h1.agent.metric("weft_mesh_peers", way="underlay", state="unreachable") == 1
    h3.interfaces["eth0"].restore()
    wait_states(h1, h3, [(a, b) for a in ("ok", "lossy") for b in ("ok", "lossy")])


def test_dual_stack(fabric):
    config = {"Network": "10.1.0.0/16", "EnableIPv6": True, "IPv6Network": "fc00:1::/48",
              "Backend": {"Type": "vxlan"}}
    net = fabric(hosts=2, family=46, config=config, containers=False)
    h1, h2 = net.hosts
    wait_states(h1, h2, [("ok", "ok")])
    wait_states(h1, h2, [("ok", "ok")], address=h2.v6)
    assert mesh(h1)[h2.v6]["overlay"]["address"] == h2.agent.status()["lease"]["ipv6_subnet"].split("/")[0]


def test_without_a_device(fabric):
    """host-gw has no address of its own in the peer's subnet: only the way between the hosts is measured."""
    net = fabric(hosts=2, config={"Network": "10.1.0.0/16", "Backend": {"Type": "host-gw"}}, containers=False)
    h1, h2 = net.hosts
    wait_states(h1, h2, [("ok", None)])
    row = h1.weft("mesh").stdout.splitlines()[1].split()
    assert row[1:3] == [h2.v4, "ok"] and row[-3:] == ["-", "-", "-"]


@pytest.mark.serial
def test_rate_with_many_peers(fabric):
    """200 peers of which nobody is there but by a local route: ten probes a second, and no more."""
    config = {"Network": "10.0.0.0/8", "SubnetMin": "10.64.0.0", "Backend": {"Type": "vxlan", "VNI": 12345}}
    net = fabric(hosts=1, config=config, containers=False)
    host, = net.hosts
    host.ip("route", "add", "local", "172.16.0.0/16", "dev", "lo")
    put_leases(net.etcd, range(200))
    wait_for(lambda: len(host.agent.peers()["peers"]) == 200, "all peers to be known")
    wait_for(lambda: sum(p["underlay"] is not None and p["underlay"]["sent"] > 0 for p in mesh(host).values()) > 50,
             "some to be measured", SEEN_S)
    start, before = time.monotonic(), echoes_sent(host)
    wait_for(lambda: echoes_sent(host) - before >= 60, "sixty more probes", SEEN_S)
    count, span = echoes_sent(host) - before, time.monotonic() - start
    assert count <= 10 * span + 1, (count, span)
    assert mesh(host)[lease_address(0)]["subnet"].startswith("10.64.0.")


def test_off(fabric):
    net = fabric(hosts=2, flags=["--mesh-probes=0"], containers=False)
    host = net.hosts[0]
    result = host.weft("mesh", check=False)
    assert result.returncode == 1 and "--mesh-probes=0" in result.stderr
    assert host.agent.get("/agent/v1/mesh")["peers"] == []
    assert "weft_mesh" not in host.run("curl", "-s", "--unix-socket", "/run/weft/weft.sock",
                                       "http://weft/metrics").stdout
    result = host.weft("mesh", "--all", check=False)
    assert result.returncode == 2 and "--port" in result.stderr
