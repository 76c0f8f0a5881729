# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The alloc backend: a lease and subnet.env, and nothing in the kernel. Somebody else carries the packets.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 fd77:1::/64, MTU 1400 -- etcd
"""

import pytest

from lab import wait_for

V4 = {"Network": "10.1.0.0/16", "Backend": {"Type": "alloc"}}
DUAL = {**V4, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"}


@pytest.fixture(params=[(V4, 4), (DUAL, 46)], ids=["v4", "dual stack"])
def net(fabric, request):
    config, family = request.param
    made = fabric(hosts=2, config=config, family=family, agents=False, mtu=1400)
    for host in made.hosts:
        made.start_agent(host, "--scan-interval=100ms")
    return made


def key_of(host):
    lease = host.agent.status()["lease"]
    return "&".join(lease[name].replace("/", "-") for name in ("subnet", "ipv6_subnet")
                    if lease[name])


def assert_nothing_is_programmed(host):
    """Nor tried: not one change was sent to the kernel, in some passes."""
    passes = host.agent.metric("weft_reconcile_passes_total")
    wait_for(lambda: host.agent.metric("weft_reconcile_passes_total") >= passes + 3, "three passes")
    assert [link["ifname"] for link in host.ip_json("link")] == ["lo", "eth0"]
    assert not host.ip_json("nexthop", "show")
    for family in "46":
        assert not host.ip_json(f"-{family}", "route", "show", "proto", "157")
        assert not host.ip_json(f"-{family}", "neigh", "show", "nud", "permanent")
    assert host.agent.metric("weft_netlink_batches_total") == 0


def test_lease_and_file_and_no_more(net):
    leases = net.leases()
    for host in net.hosts:
        # flannel's has no BackendType either, and neither kind of data.
        assert leases[key_of(host)] == {"PublicIP": host.v4, "PublicIPv6": host.v6}
        env = host.subnet_env()
        assert env["FLANNEL_MTU"] == "1400" and env["FLANNEL_NETWORK"] == "10.1.0.0/16"
        assert ("FLANNEL_IPV6_SUBNET" in env) is (host.v6 is not None)
        assert_nothing_is_programmed(host)
    host.interfaces["eth0"].set_mtu(1300)
    wait_for(lambda: host.subnet_env()["FLANNEL_MTU"] == "1300", "subnet.env to follow the interface")


def test_status(net):
    """The peers are known, and why no packet goes to them."""
    host, peer = net.hosts
    wait_for(lambda: host.agent.status()["peers"]["total"] == 1, "the peer")
    status = host.agent.status()
    assert status["ready"] and status["backend"] == {
        "type": "alloc", "devices": [], "engine": None, "error": ""}
    shown = host.weft("status").stdout
    assert ": ready\n" in shown and "PROBLEMS" not in shown
    assert f"backend   alloc over eth0 ({','.join(a for a in (host.v4, host.v6) if a)}, mtu 1400)" in shown
    assert "devices" not in shown
    (row,) = [line for line in shown.splitlines() if peer.v4 in line]
    assert row.split()[2:4] == ["ok", "none"] and row.endswith("the alloc backend carries no packets")
    plan = host.weft("plan").stdout
    assert plan.startswith("nothing to change")


@pytest.mark.parametrize("lost", ["nothing", "state", "subnet.env"])
def test_same_subnet_after_restart(net, lost):
    """There is no MAC to know it by: the address and either of the two files on disk do."""
    host = net.hosts[0]
    leases, env = net.leases(), host.subnet_env()
    files = {"state": host.lib_dir / "weft" / "state", "subnet.env": host.run_dir / "flannel" / "subnet.env"}
    wait_for(files["state"].exists, "the state file")
    host.agent.kill()
    if lost in files:
        files[lost].unlink()
    host.agent.restart().wait_ready()
    assert net.leases() == leases and host.subnet_env() == env
    assert_nothing_is_programmed(host)
