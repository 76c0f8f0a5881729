# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Hosts and the containers on them."""

import dataclasses
import ipaddress
import re
import shutil

from .agent import Agent, clean_environment, operator_binary
from .errors import LabError
from .netns import Node
from .underlay import Interface

BRIDGE = "cni0"


def bridge_of(network):
    """Where the containers of a network sit; None: of the only one."""
    return BRIDGE if network is None else f"cni-{network}"


@dataclasses.dataclass(frozen=True)
class Ping:
    """The outcome of one ping command."""

    sent: int
    received: int
    output: str

    @property
    def lost(self):
        return self.sent - self.received


class PingingNode(Node):
    """A node that people and tests ping from."""

    def ping(self, target, count=3, interval=0.2, size=56, dont_fragment=False, timeout=1):
        """Send count echo requests; never raises for lost ones."""
        words = ["ping", "-n", "-c", count, "-i", interval, "-s", size, "-W", timeout]
        if dont_fragment:
            words += ["-M", "do"]
        done = self.run(*words, str(target), check=False, timeout=count * (interval + timeout) + 10)
        match = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
        if not match:
            why = (done.stderr or done.stdout).strip()
            raise LabError(f"ping {target} from {self.name}: {why}")
        return Ping(int(match[1]), int(match[2]), done.stdout + done.stderr)

    def can_reach(self, target, timeout=1):
        """One echo request; False as well when there is no route."""
        try:
            return self.ping(target, count=1, timeout=timeout).lost == 0
        except LabError:
            return False


class Container(PingingNode):
    """A namespace behind a host's bridge, with addresses of the host's subnets."""

    kind = "container"

    def __init__(self, host, name, v4, v6, mtu, bridge=BRIDGE):
        super().__init__(host.lab, name)
        self.host = host
        self.v4 = str(v4.ip) if v4 else None
        self.v6 = str(v6.ip) if v6 else None
        self.port = f"v-{name}"
        host.ip_batch(f"link add {self.port} mtu {mtu} type veth"
                      f" peer name eth0 mtu {mtu} netns {self.netns}",
                      f"link set {self.port} master {bridge} up")
        lines = [f"addr add {a} dev eth0" + (" nodad" if a.version == 6 else "")
                 for a in (v4, v6) if a]
        lines.append("link set eth0 up")
        lines += [f"-{a.version} route add default via {a.network[1]} dev eth0"
                  for a in (v4, v6) if a]
        self.ip_batch(*[line for line in lines if not line.startswith("-")])
        for line in lines:
            if line.startswith("-"):
                self.ip(*line.split())

    @property
    def addresses(self):
        return [a for a in (self.v4, self.v6) if a]


class Host(PingingNode):
    """A machine of the laboratory: it runs an agent and containers."""

    kind = "host"
    machine = True

    def __init__(self, lab, name):
        self.containers = []
        self.agent = Agent(self)
        self._next_container = 2
        super().__init__(lab, name)

    def attach(self, segment, v4="auto", v6="auto", number=None):
        """Another interface, on segment; v4/v6: "auto", None or an address. Returns it."""
        if number is None and "auto" in (v4, v6):
            number = segment.next_number("host")
        chosen = [_choose(segment, 4, v4, number), _choose(segment, 6, v6, number)]
        return Interface(self, segment, *chosen)

    @property
    def v4(self):
        """The IPv4 address of eth0, as text; None without."""
        return _text(self.interfaces["eth0"].v4)

    @property
    def v6(self):
        return _text(self.interfaces["eth0"].v6)

    def subnet_env(self, network=None):
        """What the agent wrote to /run/flannel/subnet.env, as a dict; LabError without one.

        network: of one of several, /run/flannel/networks/NETWORK.env.
        """
        path = self.run_dir / "flannel" / ("subnet.env" if network is None
                                           else f"networks/{network}.env")
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError as e:
            raise LabError(f"{self.name} has no {path.name}: {e.strerror}") from None
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def write_subnet_env(self, **values):
        """Write /run/flannel/subnet.env by hand, for set-ups without an agent."""
        path = self.run_dir / "flannel" / "subnet.env"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{k}={v}\n" for k, v in values.items()), encoding="ascii")

    def make_bridge(self, network=None):
        """The bridge that containers sit on, with the addresses and MTU of subnet.env.

        network: another bridge, from the file of one of several networks.
        Returns ([v4 or None, v6 or None] as interface addresses, MTU).
        """
        env = self.subnet_env(network)
        bridge = bridge_of(network)
        mtu = env.get("FLANNEL_MTU", "1500")
        own = [_interface(env.get("FLANNEL_SUBNET")), _interface(env.get("FLANNEL_IPV6_SUBNET"))]
        if not self.ip("-o", "link", "show", "dev", bridge, check=False):
            self.ip_batch(f"link add {bridge} mtu {mtu} type bridge mcast_snooping 0"
                          " forward_delay 0", f"link set {bridge} up",
                          *[f"addr add {a} dev {bridge}" + (" nodad" if a.version == 6 else "")
                            for a in own if a])
        return own, mtu

    def container(self, name, network=None):
        """A new container with the next free addresses of this host's subnets (in that network)."""
        own, mtu = self.make_bridge(network)
        number = self._next_container
        self._next_container += 1
        addresses = [ipaddress.ip_interface(f"{a.network[number]}/{a.network.prefixlen}")
                     if a else None for a in own]
        container = Container(self, name, *addresses, mtu, bridge_of(network))
        self.containers.append(container)
        return container

    def forward(self):
        """Switch forwarding on, for set-ups without an agent."""
        self.sysctl("net/ipv4/ip_forward", 1)
        self.sysctl("net/ipv6/conf/all/forwarding", 1)

    def weft(self, *argv, etcd=None, check=True, timeout=30, stdin=None, env=None):
        """The operator's command on this host, against etcd or the agent's socket."""
        flags = etcd.agent_flags() if etcd else []
        return self.run(operator_binary(), *flags, *argv, check=check, timeout=timeout,
                        stdin=stdin, env={**clean_environment(), **(env or {})})

    def reboot(self):
        """Power off and on: processes, containers, kernel state and /run gone, /var/lib kept."""
        self.agent.forget_process()
        for container in self.containers:
            container.remove()
        self.containers.clear()
        self.remove(keep_files=True)
        shutil.rmtree(self.run_dir)
        self._next_container = 2
        self._create()
        for interface in self.interfaces.values():
            interface.segment.switches.ip("link", "del", interface.port, check=False)
            interface.plug()
            if interface.segment.gateway:
                interface.add_default_route()


def _choose(segment, family, wanted, number):
    if wanted == "auto":
        return segment.address(family, number)
    if wanted is None:
        return None
    network = segment.v4 if family == 4 else segment.v6
    return ipaddress.ip_interface(f"{wanted}/{network.prefixlen}" if "/" not in wanted else wanted)


def _text(interface):
    return str(interface.ip) if interface else None


def _interface(text):
    return ipaddress.ip_interface(text) if text else None
