# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Three hosts as everybody outside sees them: in etcd, in the kernel, in subnet.env, on the wire.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
    c3 - h3 --+
"""

import itertools
import re
import threading

from lab import wait_for
from lab.fabric import PREFIX

TCP_BYTES = 300_000
WAIT_S = 10


def own_mac(host):
    return host.ip_json("link", "show", "flannel.12345")[0]["address"]


def transfer(sender, receiver):
    """What receiver's container gets of bytes that sender's sends over TCP."""
    sent = bytes(range(256)) * (TCP_BYTES // 256)
    with receiver.socket() as listener, sender.socket() as client:
        for end in (listener, client):
            end.settimeout(WAIT_S)
        listener.bind((receiver.v4, 0))
        listener.listen()
        client.connect(listener.getsockname())
        accepted, peer = listener.accept()
        with accepted:
            accepted.settimeout(WAIT_S)
            thread = threading.Thread(target=client.sendall, args=(sent,))
            thread.start()
            got = bytearray()
            while len(got) < len(sent) and (piece := accepted.recv(65536)):
                got += piece
            thread.join()
    assert got == sent
    return peer[0]


def test_leases_and_devices(fabric):
    """Byte for byte what flannel would have written, in etcd, subnet.env and the kernel."""
    net = fabric(hosts=3, containers=False)
    pairs = {p.key: p for p in net.etcd.range(f"{PREFIX}/subnets/")}
    assert len(pairs) == 3
    assert sorted(p.lease for p in pairs.values()) == sorted(net.etcd.leases())
    keys = {p.value: key for key, p in pairs.items()}
    for host in net.hosts:
        mac = own_mac(host)
        value = (f'{{"PublicIP":"{host.v4}","PublicIPv6":null,"BackendType":"vxlan",'
                 f'"BackendData":{{"VNI":12345,"VtepMAC":"{mac}"}}}}')
        assert value in keys
        number = re.fullmatch(PREFIX + r"/subnets/10\.1\.(\d+)\.0-24", keys[value])[1]
        assert (host.run_dir / "flannel" / "subnet.env").read_bytes() == (
            f"FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.{number}.1/24\n"
            "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n").encode()

        device = host.ip_json("addr", "show", "flannel.12345")[0]
        assert device["mtu"] == 1450 and {"UP", "LOWER_UP"} <= set(device["flags"])
        expected = {"id": 12345, "local": host.v4, "link": "eth0", "port": 8472, "learning": False,
                    "ttl": 0, "udp_csum": True}
        data = device["linkinfo"]["info_data"]
        assert {name: data.get(name) for name in expected} == expected
        wait_for(lambda h=host, n=number: [
            (a["local"], a["prefixlen"]) for a in h.ip_json("addr", "show", "flannel.12345")[0]
            ["addr_info"] if a["family"] == "inet"] == [(f"10.1.{n}.0", 32)],
                 f"the address of {host.name}'s device")
        assert host.sysctl("net/ipv4/ip_forward") == "1"
        assert host.sysctl("net/ipv6/conf/flannel.12345/accept_ra") == "0"


def test_traffic_both_ways(fabric):
    net = fabric(hosts=3)
    net.ping_all()
    for one, other in itertools.permutations(net.containers, 2):
        # Nothing on the way changes the address that the other one sees.
        assert transfer(one, other) == one.v4
        assert one.ping(other.v4, count=1, size=1422, dont_fragment=True).lost == 0
        assert one.ping(other.v4, count=1, size=1423, dont_fragment=True).lost == 1


def test_plain_etcdctl_reads_and_writes(fabric):
    """An operator needs no tool of ours."""
    net = fabric(hosts=1, containers=False, flags=["--peer-hold=100ms"])
    etcd, (host,) = net.etcd, net.hosts
    key = etcd.ctl("get", "--prefix", "--keys-only", f"{PREFIX}/subnets/").stdout.split()[0]
    subnet = host.agent.status()["lease"]["subnet"]
    assert key == f"{PREFIX}/subnets/{subnet.replace('/', '-')}"
    assert own_mac(host) in etcd.ctl("get", "--print-value-only", key).stdout

    other = "10.1.7.0" if subnet != "10.1.7.0/24" else "10.1.8.0"
    etcd.ctl("put", f"{PREFIX}/subnets/{other}-24",
             '{"PublicIP":"192.168.77.99","PublicIPv6":null,"BackendType":"vxlan",'
             '"BackendData":{"VNI":12345,"VtepMAC":"0e:00:00:00:00:07"}}')
    wait_for(lambda: host.ip_json("route", "show", f"{other}/24"), "the route to the new lease")
    etcd.ctl("del", f"{PREFIX}/subnets/{other}-24")
    wait_for(lambda: not host.ip_json("route", "show", f"{other}/24"), "the route to go")

    etcd.ctl("put", f"{PREFIX}/config", '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan",'
             '"VNI":12345,"MTU":1400}}')
    wait_for(lambda: host.subnet_env()["FLANNEL_MTU"] == "1350", "the MTU of the new config")
    assert '"MTU":1400' in etcd.ctl("get", "--print-value-only", f"{PREFIX}/config").stdout
