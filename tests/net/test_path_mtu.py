# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What the path to each peer carries is measured, told, and with MTU "auto" followed.

    c1 - h1 --+                 +-- h3 - c3
    c2 - h2 --+-- net1 -- r -- net2         r's link to net2 has a smaller MTU
    etcd -----+
"""

import pytest

from lab import wait_for

VXLAN = {"Type": "vxlan", "VNI": 77}
NARROW = 1400
PATIENCE_S = 90     # a search loses a dozen probes, each for a second and more on a busy machine
FLAGS = ["--probe-mtu", "--probe-mtu-interval=2s"]
# A router that tells nobody what it drops.
BLACK_HOLE = """table inet hole {
    chain out {
        type filter hook output priority 0;
        icmp type destination-unreachable drop
        icmpv6 type packet-too-big drop
    }
}
"""


def config(family, **backend):
    net = {"Network": "10.1.0.0/16", "Backend": {**VXLAN, **backend}}
    if family == 6:
        net.update({"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"})
        del net["Network"]
    return net


def make(fabric, family=4, flags=FLAGS, hole=False, mtu=NARROW, **backend):
    net = fabric(hosts=[2, 1], family=family, config=config(family, **backend), flags=flags, agents=False)
    if hole:
        net.router.run("nft", "-f", "-", stdin=BLACK_HOLE)
    link(net, mtu)
    for host in net.hosts:
        net.start_agent(host)
    return net


def link(net, mtu):
    net.router.interfaces["eth1"].set_mtu(mtu)


def address(host):
    return host.v4 or host.v6


def path_mtus(host):
    return {p["public_ip"] or p["public_ipv6"]: p["path_mtu"] for p in host.agent.peers()["peers"]}


def wait_path_mtus(host, **wanted):
    wait_for(lambda: path_mtus(host) == wanted, f"{host.name} to measure {wanted}", PATIENCE_S)


def device_mtu(host, family=4):
    return host.ip_json("link", "show", "flannel.77" if family == 4 else "flannel-v6.77")[0]["mtu"]


def env_mtu(host):
    text = (host.run_dir / "flannel/subnet.env").read_text()
    return int(dict(line.split("=") for line in text.split())["FLANNEL_MTU"])


def wait_mtu(host, mtu):
    wait_for(lambda: (device_mtu(host), env_mtu(host)) == (mtu, mtu), f"{host.name} to have MTU {mtu}", PATIENCE_S)


def warnings(host):
    return [line for line in host.agent.log().splitlines() if " WARN " in line and "carries packets of" in line]


@pytest.mark.parametrize("family, hole", [(4, False), (4, True), (6, True)])
def test_narrow_path_is_told(fabric, family, hole):
    net = make(fabric, family, hole=hole)
    h1, h2, h3 = net.hosts
    wait_path_mtus(h1, **{address(h2): 1500, address(h3): NARROW})
    wait_path_mtus(h3, **{address(h1): NARROW, address(h2): NARROW})
    assert device_mtu(h1, family) == (1450 if family == 4 else 1430)    # told, not followed
    lines = warnings(h1)
    assert len(lines) == 1 and f" {NARROW} " in lines[0] and "1500" in lines[0] and '"auto"' in lines[0], lines
    assert h1.agent.metric("weft_path_mtu_bytes") == NARROW
    assert h1.agent.metric("weft_path_mtu_narrow_peers") == 1
    assert h3.agent.metric("weft_path_mtu_narrow_peers") == 2
    status = h1.weft("status", "--peers").stdout
    assert f"path MTU {NARROW}" in status and "path MTU 1500" in status
    assert f"a path carries packets of {NARROW} bytes, and ours have up to 1500" in status

    # Once a peer, however often it is measured; and it is measured again.
    link(net, 1500)
    wait_path_mtus(h1, **{address(h2): 1500, address(h3): 1500})
    assert len(warnings(h1)) == 1 and "a path carries" not in h1.weft("status").stdout


def test_configured_mtu_is_enough(fabric):
    """Who configured what the path carries is not warned."""
    net = make(fabric, MTU=NARROW)
    h1, h2, h3 = net.hosts
    wait_path_mtus(h1, **{h2.v4: 1500, h3.v4: NARROW})
    assert not warnings(h1) and h1.agent.metric("weft_path_mtu_narrow_peers") == 0
    assert device_mtu(h1) == NARROW - 50


@pytest.mark.parametrize("hole", [False, True])
def test_auto(fabric, hole):
    """The narrowest path gives the MTU, --probe-mtu or not: down at once, up later, and a restart keeps it."""
    net = make(fabric, flags=["--probe-mtu-interval=4s"], hole=hole, MTU="auto")
    hosts = h1, _, h3 = net.hosts
    for host in hosts:
        wait_mtu(host, NARROW - 50)
    assert not warnings(h1)
    assert h1.agent.status()["path_mtu"] == {"narrowest": NARROW, "needed": NARROW, "auto": True}

    # What the agent had it has at once, before anything is measured.
    h1.agent.restart()
    h1.agent.wait_ready()
    assert (device_mtu(h1), env_mtu(h1)) == (NARROW - 50, NARROW - 50)
    assert "MTU 1450" not in h1.agent.log_since_start()

    link(net, 1500)
    for host in hosts:
        wait_mtu(host, 1450)
    link(net, 1300)
    for host in hosts:
        wait_mtu(host, 1250)
    # The only one with such a path goes.
    h3.agent.stop()
    (key,) = [k for k, v in net.leases().items() if v["PublicIP"] == h3.v4]
    net.delete_lease(key)
    wait_mtu(h1, 1450)

    # A number in place of "auto" is flannel's, and taken over live.
    net.put_config(config(4, MTU=1200))
    wait_mtu(h1, 1150)


def test_auto_without_probes(fabric):
    net = make(fabric, flags=["--mesh-probes=0"], MTU="auto")
    h1 = net.hosts[0]
    h1.agent.wait_log('MTU "auto": without probes')
    assert (device_mtu(h1), env_mtu(h1)) == (1450, 1450)
