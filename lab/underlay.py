# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The network below: segments (bridges in one namespace, the switch room), routers, interfaces."""

import ipaddress
import secrets

from .errors import LabError
from .netns import Node

FIRST_HOST = 11     # hosts take .11 and up, etcd members .2 to .9, a router the last address
FIRST_SERVICE = 2


class SwitchRoom(Node):
    """The namespace that holds the bridges of all segments and the far ends of all cables."""

    kind = "switches"


class Segment:
    """One broadcast domain of the underlay with an IPv4 and/or an IPv6 prefix."""

    def __init__(self, lab, switches, name, v4=None, v6=None, mtu=1500):
        if not v4 and not v6:
            raise LabError(f"segment {name} has no prefix")
        self.lab = lab
        self.name = name
        self.switches = switches
        self.v4 = ipaddress.IPv4Network(v4) if v4 else None
        self.v6 = ipaddress.IPv6Network(v6) if v6 else None
        self.mtu = mtu
        self.gateway = None         # the router's Interface on this segment
        self.interfaces = []
        self._next = {"host": FIRST_HOST, "service": FIRST_SERVICE}
        switches.ip_batch(f"link add {name} mtu {mtu} type bridge mcast_snooping 0 forward_delay 0",
                          f"link set {name} up")

    def next_number(self, role):
        """The next free place for a host or a service: the last part of its addresses."""
        number = self._next[role]
        self._next[role] += 1
        return number

    def address(self, family, number):
        """The interface address at that place in the segment's prefix; None without the family."""
        network = self.v4 if family == 4 else self.v6
        if network is None:
            return None
        if number < 0:
            number += network.num_addresses - 1
        elif family == 6:
            number = int(str(number), 16)       # host .11 is also ::11
        place = network[number]
        return ipaddress.ip_interface(f"{place}/{network.prefixlen}")

    def set_gateway(self, interface):
        """The router of this segment: every node on it, now or later, routes through it."""
        self.gateway = interface
        for other in self.interfaces:
            if other is not interface:
                other.add_default_route()

    def __repr__(self):
        return f"<segment {self.name}>"


class Interface:
    """A cable from a node to a segment: the node's side is ifname, the switch's side is port."""

    def __init__(self, node, segment, v4, v6):
        self.node = node
        self.segment = segment
        self.v4 = v4                # ipaddress.IPv4Interface or None
        self.v6 = v6
        self.mtu = segment.mtu
        self.mac = f"02:{secrets.token_bytes(5).hex(':')}"      # of the hardware: it outlives a reboot
        self.ifname = f"eth{len(node.interfaces)}"
        self.port = f"{node.name}.{self.ifname[3:]}"
        if len(self.port) > 15:
            raise LabError(f"{node.name} is too long a name: its port would be {self.port}")
        self.plug()
        node.interfaces[self.ifname] = self
        segment.interfaces.append(self)
        if segment.gateway:
            self.add_default_route()

    def plug(self):
        """Make both ends and give the node's side its addresses (again after a reboot)."""
        switches = self.segment.switches
        switches.ip_batch(
            f"link add {self.port} mtu {self.mtu} type veth"
            f" peer name {self.ifname} address {self.mac} mtu {self.mtu} netns {self.node.netns}",
            f"link set {self.port} master {self.segment.name} up")
        lines = [f"addr add {a} dev {self.ifname}" + (" nodad" if a.version == 6 else "")
                 for a in (self.v4, self.v6) if a]
        self.node.ip_batch(*lines, f"link set {self.ifname} up")

    def add_default_route(self):
        gateway = self.segment.gateway
        for own, via in ((self.v4, gateway.v4), (self.v6, gateway.v6)):
            if own and via:
                self.node.ip(f"-{own.version}", "route", "append", "default", "via", str(via.ip),
                             "dev", self.ifname)

    def cut(self, silent=False):
        """Break the cable: the node loses its carrier; if silent, only the frames are lost."""
        if silent:
            self.segment.switches.ip("link", "set", self.port, "nomaster")
        else:
            self.segment.switches.ip("link", "set", self.port, "down")

    def restore(self):
        self.segment.switches.ip("link", "set", self.port, "master", self.segment.name, "up")

    def rate(self, rate):
        """Limit both directions, for example "100mbit"; None lifts the limit."""
        for node, device in ((self.segment.switches, self.port), (self.node, self.ifname)):
            if rate:
                node.run("tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", rate,
                         "burst", "64kb", "latency", "50ms")
            else:
                node.run("tc", "qdisc", "del", "dev", device, "root", check=False)

    def set_mtu(self, mtu):
        """Change the MTU at both ends."""
        self.mtu = mtu
        self.segment.switches.ip("link", "set", self.port, "mtu", str(mtu))
        self.node.ip("link", "set", self.ifname, "mtu", str(mtu))


class Router(Node):
    """Forwards between segments; its address is the last one of each."""

    kind = "router"

    def __init__(self, lab, name, *segments):
        super().__init__(lab, name)
        self.sysctl("net/ipv4/ip_forward", 1)
        self.sysctl("net/ipv6/conf/all/forwarding", 1)
        for segment in segments:
            interface = Interface(self, segment, segment.address(4, -1), segment.address(6, -1))
            segment.set_gateway(interface)
