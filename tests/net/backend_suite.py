# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What every backend must do, once for all of them: a table of types and the checks that each row passes.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 fd77:1::/64 -- etcd
    c3 - h3 --+

A new type is one row of TYPES. Nothing here needs pytest: test_backends.py runs the rows that this
machine's kernel has the devices for, and tests/vm/backends.py those of them that need another kernel.
"""

import array
import ctypes
import dataclasses
import fcntl
import ipaddress
import itertools
import json
import re
import shutil
import socket
import struct
import subprocess
import threading

from lab import Probe, wait_for
from lab.agent import build_directory
from lab.netns import inside

WAIT_S = 20
TCP_BYTES = 1_000_000
DATAGRAM_BYTES = 30_000         # many fragments
FLAGS = ["--scan-interval=1h", "--peer-hold=200ms"]     # every repair is one on notification
FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
NETWORKS = {4: {"Network": "10.1.0.0/16"},
            6: {"EnableIPv4": False, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"},
            46: {"Network": "10.1.0.0/16", "EnableIPv6": True, "IPv6Network": "fc00:1::/48"}}


@dataclasses.dataclass(frozen=True)
class Type:
    """One Backend.Type and what it makes of a peer, as a person would type it."""

    backend: dict
    families: tuple                             # of networks: 4, 6, 46
    overhead: dict                              # bytes, for each IP version
    devices: dict = dataclasses.field(default_factory=dict)     # for each IP version, if it has any
    make_device: str = ""
    make_peer: tuple = ()                       # the last two make a nexthop and a route
    after_up: str = ""
    kernel_device: str = ""                     # a kind of device that not every kernel has
    user_space: str = ""                        # a program that has it then
    moves: bool = False                         # a host with another address keeps its device
    one_overhead: bool = False                  # of IPv4, if the network has it, for packets of both
    says_type: bool = True                      # in the lease
    lease: str = ""                             # the leases' BackendType, if it is not the type
    way: dict = dataclasses.field(default_factory=dict)         # overhead of the way to peers, if it is another


ROUTE = ("ip nexthop add id {id} via {gateway} dev {device} proto 157{onlink}",
         "ip -{v} route add {subnet} nhid {id} proto 157")
DIRECT = ("ip nexthop add id {id} via {peer} dev eth0 proto 157",
          "ip -{v} route add {subnet} nhid {id} proto 157")
# In this order, for a device that has no key yet takes no packets.
WIREGUARD = {"overhead": {4: 80, 6: 80}, "moves": True, "kernel_device": "wireguard", "user_space": "wireguard-go",
             "make_device": "{make}; ip link set {device} mtu {mtu};"
                            " wg set {device} listen-port {port} private-key /var/lib/weft/wireguard.key",
             "make_peer": ("wg set {device} peer {peer_key} allowed-ips {subnets} endpoint {endpoint}:{port}",),
             "after_up": "ip -{v} route add {network} dev {device} proto 157{scope}"}
TYPES = {
    "vxlan": Type({"Type": "vxlan", "VNI": 123}, (4, 6, 46), {4: 50, 6: 70},
                  {4: "flannel.123", 6: "flannel-v6.123"},
                  "ip link add {device} address {mac} mtu {mtu} txqueuelen 0 type vxlan id 123 local {own}"
                  " dev eth0 dstport 8472 nolearning",
                  ("ip neigh add {first} lladdr {peer_mac} dev {device} nud permanent",
                   "bridge fdb append {peer_mac} dev {device} dst {peer} self permanent", *ROUTE)),
    "host-gw": Type({"Type": "host-gw"}, (4, 6, 46), {4: 0, 6: 0}, make_peer=ROUTE),
    "ipip": Type({"Type": "ipip"}, (4,), {4: 20}, {4: "flannel.ipip"},
                 "ip link add {device} mtu {mtu} txqueuelen 0 type ipip local {own} nopmtudisc",
                 ROUTE, kernel_device="ipip", moves=True),
    "udp": Type({"Type": "udp"}, (4, 6, 46), {4: 28, 6: 48}, {4: "flannel0", 6: "flannel0"},
                "{udp} --address={own} --device={device} --socket=/run/by-hand.sock </dev/null >/dev/null 2>&1 &"
                " while ! ip link set {device} mtu {mtu}; do sleep .01; done",
                one_overhead=True, says_type=False,
                after_up="ip -{v} route add {network} dev {device} scope global proto 157"),
    # All hosts of the suite share a segment; test_auto.py has others.
    "auto": Type({"Type": "auto", "VNI": 124}, (4, 6, 46), {4: 50, 6: 70},
                 {4: "flannel.124", 6: "flannel-v6.124"},
                 "ip link add {device} address {mac} mtu {mtu} txqueuelen 0 type vxlan id 124 local {own}"
                 " dev eth0 dstport 8472 nolearning", make_peer=DIRECT, lease="vxlan", way={4: 0, 6: 0}),
    "wireguard": Type({"Type": "wireguard"}, (4, 6, 46), devices={4: "flannel-wg", 6: "flannel-wg-v6"}, **WIREGUARD),
    **{f"wireguard-{mode}": Type({"Type": "wireguard", "Mode": mode}, families,
                                 devices={4: "flannel-wg", 6: "flannel-wg"}, **WIREGUARD)
       for mode, families in {"auto": (6, 46), "ipv4": (4, 46), "ipv6": (46,)}.items()},
}
ROWS = [(name, family) for name, kind in TYPES.items() for family in kind.families]


def versions(family):
    return [int(digit) for digit in str(family)]


class Suite:
    """One row: a network of three hosts, and the checks on it."""

    def __init__(self, make_fabric, name, family, flags=()):
        self.type = TYPES[name]
        self.name = name
        self.family = family
        self.versions = versions(family)
        self.net = make_fabric(hosts=3, family=family, flags=[*FLAGS, *flags], agents=False, config={
            **NETWORKS[family], "Backend": self.type.backend})
        for host in self.net.hosts:
            self.net.start_agent(host, wait=False)
        for host in self.net.hosts:
            host.agent.wait_ready(WAIT_S)
            self.net.add_container(host)
        self.net.ping_all(WAIT_S)

    def run(self):
        """All of them, in an order in which each finds what it needs."""
        for check in (self.check_status, self.check_traffic, self.check_too_large, self.check_restart,
                      self.check_rotation, self.check_drift, self.check_other_address, self.check_made_by_hand):
            check()
            print(f"{self.name} {self.family}: {check.__name__}")

    # ---- what the agent says ----

    def check_status(self):
        for host in self.net.hosts:
            wait_for(lambda h=host: [p["state"] for p in h.agent.peers()["peers"]] == ["ok", "ok"],
                     f"{host.name}'s peers to be programmed", WAIT_S)
            status = host.agent.status()
            assert status["backend"]["type"] == self.type.backend["Type"] and status["backend"]["error"] == ""
            assert [d["name"] for d in status["backend"]["devices"]] == self.devices()
            if self.type.user_space:
                assert status["backend"]["engine"] == self.engine()
            assert int(host.subnet_env()["FLANNEL_MTU"]) == self.container_mtu()
            assert host.weft("plan").stdout == "nothing to change: the kernel is as it should be\n"
        said = {lease.get("BackendType") for lease in self.net.leases().values()}
        assert said == {(self.type.lease or self.type.backend["Type"]) if self.type.says_type else None}

    def devices(self):
        return list(dict.fromkeys(self.type.devices[v] for v in self.versions if v in self.type.devices))

    def engine(self):
        in_kernel = not self.type.user_space or kernel_has(self.type.kernel_device)
        return "kernel" if in_kernel else self.type.user_space

    def container_mtu(self):
        return 1500 - max(self.overhead(v) for v in self.versions)

    def overhead(self, version):
        return self.type.overhead[self.versions[0] if self.type.one_overhead else version]

    # ---- packets ----

    def check_traffic(self):
        for one, other in itertools.permutations(self.net.containers, 2):
            for version in self.versions:
                a, b = ((c.v4 if version == 4 else c.v6) for c in (one, other))
                check_tcp(one, a, other, b)
                check_datagram(one, a, other, b)

    def check_too_large(self):
        """The largest packet passes whole; one that fits the container's link, but not the way, is told of."""
        one, other = self.net.containers[:2]
        mtu = self.container_mtu()
        for version in self.versions:
            target, headers = (other.v4, 28) if version == 4 else (other.v6, 48)
            assert one.ping(target, count=1, size=mtu - headers, dont_fragment=True, timeout=5).lost == 0
        links = [link for c in (one, other) for link in ((c.host, c.port), (c, "eth0"), (c.host, "cni0"))]
        for node, device in links:
            node.ip("link", "set", device, "mtu", "1600")
        for version in self.versions:
            target, headers = (other.v4, 28) if version == 4 else (other.v6, 48)
            way = 1500 - self.type.way.get(version, self.overhead(version))
            ping = one.ping(target, count=1, size=way + 1 - headers, dont_fragment=True)
            assert ping.lost == 1, f"IPv{version}: {way + 1} bytes passed"
            told = re.search(r"mtu ?= ?(\d+)", ping.output)
            assert told and int(told[1]) == way, f"IPv{version}: not told of an MTU of {way}: {ping.output}"
            assert one.ping(target, count=1, size=way - headers, dont_fragment=True, timeout=5).lost == 0
        for node, device in links:
            node.ip("link", "set", device, "mtu", str(mtu))
        for version in self.versions:
            one.ip(f"-{version}", "route", "flush", "cache")

    def probes(self):
        return [Probe(*self.net.containers[:2], family=v).start() for v in self.versions]

    def check_restart(self):
        host = self.net.hosts[0]
        before = self.state(host)
        probes = self.probes()
        for end in (host.agent.kill, host.agent.stop):
            end()
            host.agent.restart()
            host.agent.wait_ready(WAIT_S)
            wait_for(lambda: self.state(host) == before, "the kernel to be as before the restart", WAIT_S)
        for probe in probes:
            result = probe.stop()
            assert result.lost == 0 and result.tcp_broken is None, str(result)

    def check_rotation(self):
        """Another key under traffic. Now and then a wireguard-go loses what it has in hand."""
        if not self.type.user_space:
            return
        host, probes = self.net.hosts[0], self.probes()
        done = json.loads(host.weft("wg", "rotate", "--json").stdout)
        assert {host.run("wg", "show", device, "public-key").stdout.strip() for device in self.devices()} == {
            done["public_key"]}
        for other in self.net.hosts[1:]:
            wait_for(lambda o=other: done["public_key"] in (text := json.dumps(self.state(o)["wireguard"]))
                     and done["old_public_key"] not in text, f"{other.name} to have the new key alone", WAIT_S)
        for probe in probes:
            result = probe.stop()
            print(f"rotation, in {done['took_ms']} ms: {result}")
            assert max(d.lost for d in result.directions) <= 3 and result.tcp_broken is None, str(result)

    # ---- drift ----

    def drifts(self):
        for v in self.versions:
            routes = f"ip -{v} route show proto 157 | while read -r dst rest; do ip -{v} route del $dst; done"
            yield f"IPv{v} routes deleted", routes
            if self.has_nexthops():
                yield f"IPv{v} routes and nexthops deleted", f"{routes}; ip nexthop flush proto 157"
        if self.has_nexthops():
            yield "nexthops flushed", "ip nexthop flush proto 157"
        for device in self.devices():
            yield from self.wireguard_drifts(device)
            yield f"{device} down", f"ip link set {device} down"
            yield f"{device} deleted", f"ip link del {device}"
            yield f"{device}'s MTU changed", f"ip link set {device} mtu 1300"
        yield "underlay down and up", "ip link set eth0 down; ip link set eth0 up"

    def has_nexthops(self):
        return any("nexthop" in command for command in self.type.make_peer)

    def wireguard_drifts(self, device):
        if not self.type.user_space:
            return
        # Neither is undone more than five times, which would be a war.
        peer, other = (f"$(wg show {device} peers | sort | {end} -n 1)" for end in ("head", "tail"))
        key = "wg genkey > /run/key; wg set"
        yield f"{device}'s peer removed", f"wg set {device} peer {peer} remove"
        yield (f"{device}'s peers removed",
               f"for p in $(wg show {device} peers); do wg set {device} peer $p remove; done")
        yield f"a peer on {device}", f"wg set {device} peer $(wg genkey | wg pubkey) allowed-ips 10.1.77.0/24"
        yield f"no address of {device}'s peer", f"wg set {device} peer {peer} allowed-ips ''"
        yield f"another address of {device}'s peer", f"wg set {device} peer {other} allowed-ips 10.9.9.0/24"
        yield (f"{device}'s peer with the other's address",
               f"wg set {device} peer {peer} allowed-ips"
               f" $(wg show {device} allowed-ips | grep -F {other} | cut -f 2 | tr ' ' ,)")
        yield (f"a preshared key of {device}'s peer",
               f"wg genpsk > /run/key; wg set {device} peer {other} preshared-key /run/key")
        yield f"{device}'s port", f"wg set {device} listen-port 1234"
        yield f"{device}'s key", f"{key} {device} private-key /run/key"

    def check_drift(self):
        host = self.net.hosts[0]
        addresses = host.interfaces["eth0"]
        before = self.state(host)
        for what, command in self.drifts():
            # Made while the agent sleeps, which would otherwise be faster than the second command.
            host.agent.pause()
            host.run("sh", "-ec", command)
            if what.startswith("underlay") and addresses.v6:
                host.ip("addr", "replace", str(addresses.v6), "dev", "eth0", "nodad")
            assert self.state(host) != before or what.startswith("underlay"), f"no drift: {what}"
            host.agent.resume()
            wait_for(lambda: self.state(host) == before, f"the repair of: {what}", WAIT_S)
            host.agent.wait_ready(WAIT_S)
        self.net.ping_all(WAIT_S)

    # ---- a peer that comes back elsewhere ----

    def check_other_address(self):
        host, gone = self.net.hosts[0], self.net.hosts[2]
        subnets = self.subnets(gone)
        devices = self.device_numbers(gone)
        gone.agent.stop()
        (key,) = [key for key, lease in self.net.leases().items()
                  if (gone.v4 or gone.v6) in (lease["PublicIP"], lease["PublicIPv6"])]
        self.net.delete_lease(key)
        wait_for(lambda: not any(self.routes_to(host, subnet) for subnet in subnets.values()),
                 "the routes to the host that left to go", WAIT_S)
        wait_for(lambda: not any(subnet in json.dumps(self.state(host)["wireguard"]) for subnet in subnets.values()),
                 "the peer that left to go", WAIT_S)
        cable = gone.interfaces["eth0"]
        if cable.v4:
            gone.ip("addr", "del", str(cable.v4), "dev", "eth0")
            cable.v4 = ipaddress.ip_interface("192.168.77.203/24")
            gone.ip("addr", "add", str(cable.v4), "dev", "eth0")
        if cable.v6:
            gone.ip("addr", "del", str(cable.v6), "dev", "eth0")
            cable.v6 = ipaddress.ip_interface("fd77:1::203/64")
            gone.ip("addr", "add", str(cable.v6), "dev", "eth0", "nodad")
        gone.agent.restart()
        gone.agent.wait_ready(WAIT_S)
        assert self.subnets(gone) == subnets
        assert (self.device_numbers(gone) == devices) == (self.type.moves or not devices)
        self.net.ping_all(WAIT_S)
        for other in self.net.hosts[:2]:
            wait_for(lambda o=other: {p["public_ip"] or p["public_ipv6"] for p in o.agent.peers()["peers"]
                                      if p["state"] == "ok"} >= {gone.v4 or gone.v6},
                     f"{other.name} to have the new address", WAIT_S)
            state = json.dumps(self.state(other))
            assert "77.13" not in state and "fd77:1::13" not in state, "something of the old address stayed"

    def device_numbers(self, host):
        return [host.ip_json("link", "show", device)[0]["ifindex"] for device in self.devices()]

    def subnets(self, host):
        lease = host.agent.status()["lease"]
        return {v: lease["subnet" if v == 4 else "ipv6_subnet"] for v in self.versions}

    @staticmethod
    def routes_to(host, subnet):
        return host.ip_json("-6" if ":" in subnet else "-4", "route", "show", subnet)

    # ---- kernel objects ----

    def state(self, host):
        """All in the host's kernel but numbers that are the kernel's own affair."""
        wanted = self.devices()
        links = [link for link in host.ip_json("addr", "show") if link["ifname"] in ["eth0", *wanted]]
        devices = [link["ifname"] for link in links if link["ifname"] != "eth0"]
        state = {
            "links": [without(link, "ifindex", "link_index", "link_netnsid", "addr_info") for link in links],
            "features": [features(host, link["ifname"]) for link in links],
            "addresses": [{**a, "dev": link["ifname"]} for link in links for a in link["addr_info"]],
            "routes": [without(r, "nhid", "nh_info", "pref") for v in (4, 6)
                       for r in host.ip_json(f"-{v}", "route", "show", "table", "all")
                       if r.get("dev") in ["eth0", *wanted]],
            "nexthops": [without(n, "id") for n in host.ip_json("nexthop", "show")],
            "neighbours": [n for v in (4, 6) for device in devices
                           for n in host.ip_json(f"-{v}", "neigh", "show", "dev", device, "nud", "permanent")],
            "fdb": [f for device in devices for f in host.bridge_json("fdb", "show", "dev", device)],
            "rules": host.ip_json("rule", "show") + host.ip_json("-6", "rule", "show"),
            "nft tables": nft_tables(host),
            "wireguard": wireguard_peers(host) if self.type.user_space else [],
        }
        return {name: sorted(json.dumps(o, sort_keys=True) for o in objects) for name, objects in state.items()}

    def check_made_by_hand(self):
        """Nothing of ours is in the way: the same commands typed in give the same kernel, object by object."""
        host = self.net.hosts[0]
        wait_for(lambda: all("tentative" not in a for link in host.ip_json("addr", "show")
                             for a in link["addr_info"]), "addresses to be settled", WAIT_S)
        state, commands = self.state(host), list(self.commands(host))
        self.net.containers.remove(host.containers[0])
        assert host.agent.stop() == 0
        host.reboot()
        host.run("sh", "-ec", "\n".join(commands))
        wait_for(lambda: all("tentative" not in a for link in host.ip_json("addr", "show")
                             for a in link["addr_info"]), "addresses to be settled", WAIT_S)
        made = self.state(host)
        for name, objects in state.items():
            ours, theirs = set(map(str, objects)), set(map(str, made[name]))
            assert objects == made[name], f"{name}: weft's {ours - theirs}\nby hand {theirs - ours}"

    def commands(self, host):
        """What a person would type on a host that has nothing yet."""
        own = self.subnets(host)
        nexthops = itertools.count(1)
        made = set()
        for v in self.versions:
            device = self.type.devices.get(v)
            values = {"v": v, "device": device or "eth0", "mtu": 1500 - self.overhead(v),
                      "own": host.v4 if v == 4 else host.v6, "onlink": " onlink" if device else "",
                      "make": (f"{self.type.user_space} {device}" if self.engine() == self.type.user_space
                               else f"ip link add {device} type {self.type.kernel_device}"),
                      "port": 51821 if device == "flannel-wg-v6" else 51820, "scope": " scope link" if v == 4 else "",
                      "network": NETWORKS[self.family].get("Network" if v == 4 else "IPv6Network"),
                      "udp": build_directory() / "weft-udp"}
            yield f"echo 1 > /proc/sys/net/{FORWARDING[v]}"
            if device:
                values["mac"] = self.mac(host, device)
                if device not in made:
                    yield self.type.make_device.format(**values)
                made.add(device)
                yield f"ip addr add {own[v].split('/')[0]} dev {device}{' nodad' if v == 6 else ''}"
                yield f"echo 0 > /proc/sys/net/ipv6/conf/{device}/accept_ra"
                if self.type.user_space:    # else a TUN gets an address at random
                    yield f"echo 1 > /proc/sys/net/ipv6/conf/{device}/addr_gen_mode"
                yield f"ip link set {device} up"
                yield self.type.after_up.format(**values)
            for peer in self.net.hosts[1:]:
                subnet = self.subnets(peer)[v]
                public = peer.v4 if v == 4 else peer.v6
                first = subnet.split("/")[0]
                values.update(subnet=subnet, first=first, peer=public, id=next(nexthops),
                              gateway=first if self.name == "vxlan" else public,
                              peer_mac=self.mac(peer, device) if device else "",
                              **self.wireguard_values(peer, device))
                for command in self.type.make_peer:
                    yield command.format(**values)

        if shutil.which("nft"):         # not in a virtual machine, and neither is nftables there
            yield "nft '" + "\n".join(self.nft_commands()) + "'"

    def nft_commands(self):
        for v in self.versions:
            network = self.net.config["Network" if v == 4 else "IPv6Network"]
            ip = "ip" if v == 4 else "ip6"
            table = f"{ip} flannel-ipv{v}"
            yield f"add table {table}"
            yield f"add chain {table} forward {{ type filter hook forward priority 0; }}"
            for side in ("saddr", "daddr"):
                yield f"add rule {table} forward {ip} {side} {network} accept"

    def wireguard_values(self, peer, device):
        if not self.type.user_space:
            return {}
        by_v6 = not peer.v4 or self.type.backend.get("Mode") == "ipv6" or device == "flannel-wg-v6"
        return {"peer_key": peer.run("wg", "show", device, "public-key").stdout.strip(),
                "endpoint": f"[{peer.v6}]" if by_v6 else peer.v4,
                "subnets": ",".join(s for v, s in self.subnets(peer).items() if self.type.devices[v] == device)}

    @staticmethod
    def mac(host, device):
        return host.ip_json("link", "show", device)[0].get("address")


def without(members, *names):
    return {k: v for k, v in members.items() if k not in names}


def check_tcp(sender, source, receiver, target):
    """Bytes arrive as they were sent, from the address that sent them."""
    sent = bytes(range(256)) * (TCP_BYTES // 256)
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with receiver.socket(family) as listener, sender.socket(family) as client:
        for end in (listener, client):
            end.settimeout(WAIT_S)
        listener.bind((target, 0))
        listener.listen()
        client.connect(listener.getsockname()[:2])
        accepted, peer = listener.accept()
        with accepted:
            accepted.settimeout(WAIT_S)
            thread = threading.Thread(target=client.sendall, args=(sent,))
            thread.start()
            got = bytearray()
            while len(got) < len(sent) and (piece := accepted.recv(1 << 16)):
                got += piece
            thread.join()
    assert got == sent and peer[0] == source, f"TCP {source} -> {target}: {len(got)} bytes from {peer[0]}"


def check_datagram(sender, source, receiver, target):
    """One large datagram, which travels in fragments. UDP may lose: it is sent until one arrives."""
    sent = bytes(range(256)) * (DATAGRAM_BYTES // 256)
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with receiver.socket(family, socket.SOCK_DGRAM) as to, sender.socket(family, socket.SOCK_DGRAM) as client:
        to.bind((target, 0))
        to.settimeout(1)

        def arrives():
            client.sendto(sent, to.getsockname()[:2])
            try:
                got, peer = to.recvfrom(1 << 16)
            except socket.timeout:
                return False
            return got == sent and peer[0] == source
        wait_for(arrives, f"a datagram of {len(sent)} bytes, {source} -> {target}", WAIT_S)


# ---- what iproute2 does not show ----

SIOCETHTOOL = 0x8946
ETHTOOL_GFEATURES = 0x3a
FEATURE_BLOCKS = 4


def features(host, device):
    """The offloads of a device, as ethtool -k has them: "available requested active never-changed", in bits."""
    request = array.array("I", [ETHTOOL_GFEATURES, FEATURE_BLOCKS] + [0] * 4 * FEATURE_BLOCKS)
    buffer = (ctypes.c_uint32 * len(request))(*request)
    with host.socket(kind=socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", device.encode(), ctypes.addressof(buffer)))
    return [device, *(f"{word:08x}" for word in buffer[2:])]


NETLINK_NETFILTER = 12
NFT_MSG_GETTABLE = 10 << 8 | 1
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3


def nft_tables(host):
    """The raw answers to "which tables are there"; none as well where the kernel has no nftables."""
    found = []
    try:
        netlink = inside(host.netns, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER))
    except OSError:
        return found
    with netlink as sock:
        sock.settimeout(WAIT_S)
        sock.send(struct.pack("=IHHIIBBH", 20, NFT_MSG_GETTABLE, NLM_F_REQUEST_DUMP, 1, 0, 0, 0, 0))
        while True:
            data = sock.recv(1 << 16)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return found
                found.append(data[16:length].hex())
                data = data[(length + 3) & ~3:]


def wireguard_peers(host):
    """Devices and peers as `wg` shows them, without what changes with each packet."""
    fields = [line.split("\t") for line in host.run("wg", "show", "all", "dump").stdout.splitlines()]
    return [f[:5] + f[8:] for f in fields]


def kernel_has(kind):
    """Does this machine's kernel make devices of the kind? Asked in a namespace that is gone at once."""
    if not kind:
        return True
    command = ["unshare", "--net", "ip", "link", "add", "probe0", "type", kind]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
