# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""IPv4 and IPv6 side by side, each with a device of its own over its own underlay family.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 fd77:1::/64 -- etcd
    c3 - h3 --+
"""

import re

from lab import Probe, wait_for
from lab.fabric import PREFIX

CONFIG = {"Network": "10.1.0.0/16", "EnableIPv6": True, "IPv6Network": "fc00:1::/48",
          "IPv6SubnetLen": 64, "Backend": {"Type": "vxlan", "VNI": 123}}
DEVICES = ("flannel.123", "flannel-v6.123")


def mac_of(host, device):
    return host.ip_json("link", "show", device)[0]["address"]


def test_dual_stack(fabric):
    net = fabric(hosts=3, config=CONFIG, family=46)
    net.ping_all()
    pairs = {p.value: p.key.removeprefix(f"{PREFIX}/subnets/")
             for p in net.etcd.range(f"{PREFIX}/subnets/")}
    for host in net.hosts:
        macs = [mac_of(host, device) for device in DEVICES]
        assert macs[0] != macs[1]
        value = (f'{{"PublicIP":"{host.v4}","PublicIPv6":"{host.v6}","BackendType":"vxlan",'
                 f'"BackendData":{{"VNI":123,"VtepMAC":"{macs[0]}"}},'
                 f'"BackendV6Data":{{"VNI":123,"VtepMAC":"{macs[1]}"}}}}')
        assert value in pairs, pairs
        v4, v6 = re.fullmatch(r"(10\.1\.\d+\.)0-24&(fc00:1:0:[0-9a-f]*:?:)-64", pairs[value]).groups()
        assert (host.run_dir / "flannel" / "subnet.env").read_text() == (
            f"FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET={v4}1/24\n"
            f"FLANNEL_IPV6_NETWORK=fc00:1::/48\nFLANNEL_IPV6_SUBNET={v6}1/64\n"
            "FLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n")
        links = [host.ip_json("link", "show", device)[0] for device in DEVICES]
        assert [link["mtu"] for link in links] == [1450, 1430]
        assert [link["linkinfo"]["info_data"].get("local") or
                link["linkinfo"]["info_data"]["local6"] for link in links] == [host.v4, host.v6]
        assert host.sysctl("net/ipv6/conf/all/forwarding") == "1"
    c1, c2 = net.containers[:2]
    for address, headers in ((c2.v4, 28), (c2.v6, 48)):
        assert c1.ping(address, count=1, size=1430 - headers, dont_fragment=True).lost == 0
        assert c1.ping(address, count=1, size=1431 - headers, dont_fragment=True).lost == 1


def test_foreign_lease_on_both_devices(fabric):
    """Literal entries of a host of flannel, and one of a host without IPv6."""
    net = fabric(hosts=1, config=CONFIG, family=46, containers=False, flags=["--peer-hold=100ms"])
    (host,) = net.hosts
    data = [{"VNI": 123, "VtepMAC": f"0e:00:00:00:00:0{i}"} for i in (4, 6)]
    key = "10.1.200.0-24&fc00:1:0:c8::-64"
    net.put_lease(key, "192.168.77.99", None, PublicIPv6="fd77:1::99", BackendData=data[0],
                  BackendV6Data=data[1])
    wait_for(lambda: host.ip_json("-6", "route", "show", "fc00:1:0:c8::/64"), "the IPv6 route")
    (route,) = host.ip_json("-6", "route", "show", "fc00:1:0:c8::/64")
    assert {k: route[k] for k in ("dst", "gateway", "dev", "protocol", "flags")} == {
        "dst": "fc00:1:0:c8::/64", "gateway": "fc00:1:0:c8::", "dev": "flannel-v6.123",
        "protocol": "157", "flags": ["onlink"]}
    assert [n for n in host.ip_json("-6", "neigh", "show", "dev", "flannel-v6.123")
            if "PERMANENT" in n["state"]] == [
        {"dst": "fc00:1:0:c8::", "lladdr": "0e:00:00:00:00:06", "state": ["PERMANENT"]}]
    assert host.bridge_json("fdb", "show", "dev", "flannel-v6.123") == [
        {"mac": "0e:00:00:00:00:06", "dst": "fd77:1::99", "flags": ["self"], "state": "permanent"}]
    assert host.bridge_json("fdb", "show", "dev", "flannel.123") == [
        {"mac": "0e:00:00:00:00:04", "dst": "192.168.77.99", "flags": ["self"],
         "state": "permanent"}]
    net.delete_lease(key)
    wait_for(lambda: not host.bridge_json("fdb", "show", "dev", "flannel-v6.123")
             and not host.ip_json("-6", "route", "show", "fc00:1:0:c8::/64")
             and not host.ip_json("route", "show", "10.1.200.0/24"), "the entries to go")

    net.put_lease("10.1.201.0-24", "192.168.77.98", "0e:00:00:00:00:07")
    wait_for(lambda: host.ip_json("route", "show", "10.1.201.0/24"), "the IPv4-only peer's route")
    assert host.agent.status()["peers"]["rejected"] == 0


def test_restart_under_traffic_of_both_families(fabric):
    net = fabric(hosts=2, config=CONFIG, family=46)
    net.ping_all()
    before = net.leases()
    with Probe(*net.containers) as v4, Probe(*net.containers, family=6) as v6:
        net.hosts[0].agent.kill()
        net.hosts[0].agent.restart().wait_ready()
    for probe in (v4, v6):
        print(probe.result)
        assert probe.result.lost == 0 and probe.result.tcp_broken is None, probe.result
    assert net.leases() == before


def test_underlay_mtu_is_followed(fabric):
    """Each device has what its underlay family leaves; containers use both, so they get the smaller."""
    net = fabric(hosts=2, config=CONFIG, family=46, flags=["--scan-interval=1h"])
    net.ping_all()
    host = net.hosts[0]
    for mtu in (1400, 1500):
        host.interfaces["eth0"].set_mtu(mtu)
        wait_for(lambda m=mtu: [host.ip_json("link", "show", d)[0]["mtu"] for d in DEVICES] == [m - 50, m - 70]
                 and host.subnet_env()["FLANNEL_MTU"] == str(m - 70)
                 and [d["mtu"] for d in host.agent.status()["backend"]["devices"]] == [m - 50, m - 70],
                 f"devices, subnet.env and status to follow MTU {mtu}")
        net.ping_all()
    c1, c2 = net.containers
    for address, headers in ((c2.v4, 28), (c2.v6, 48)):
        assert c1.ping(address, count=1, size=1430 - headers, dont_fragment=True).lost == 0
    assert host.agent.status()["repairs"]["total"] == 0
