# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft-udp on a host of the laboratory, told of peers by hand, and the loop that it is compared with."""

import ipaddress
import json
import os
import pathlib
import socket
import struct

from lab import LabError, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
HELLO, CONFIG, PEERS, COUNTERS, HANDOVER, STOP, ANSWER = 1, 2, 3, 4, 5, 6, 0x80
BEGIN, COMMIT = 1, 2
NETWORK = "10.1.0.0/16"
# A sanitizer looks at the whole process at its end, with calls that a confined one may not make.
SANITIZED = any(name in os.environ for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"))


def build():
    return pathlib.Path(os.environ.get("WEFT_BUILD") or REPOSITORY / "build")


def ip_bytes(text):
    if text is None:
        return bytes(17)
    ip = ipaddress.ip_address(text)
    return bytes([ip.version]) + ip.packed.ljust(16, b"\0")


def net_bytes(text):
    if text is None:
        return bytes(18)
    net = ipaddress.ip_network(text)
    return ip_bytes(net.network_address) + bytes([net.prefixlen])


def message(kind, body=b"", version=1):
    return struct.pack("!IHH", 8 + len(body), version, kind) + body


def config_message(own, network=NETWORK, mtu=1472, own6=None, network6=None):
    body = struct.pack("!H", mtu)
    for net, subnet in ((network, own), (network6, own6)):
        address = str(ipaddress.ip_network(subnet).network_address) if subnet else None
        body += net_bytes(net) + net_bytes(subnet) + ip_bytes(address)
    return message(CONFIG, body)


def peers_message(peers, flags=BEGIN | COMMIT, remove=False, port=8285):
    body = b"".join(bytes([remove]) + net_bytes(subnet) + ip_bytes(host) + struct.pack("!H", port)
                    for subnet, host in peers.items())
    return message(PEERS, struct.pack("!BI", flags, len(peers)) + body)


class Control:
    """One connection to a weft-udp."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        # Through /proc/self/fd, for a socket's path may be only 108 bytes long.
        directory = os.open(path.parent, os.O_PATH)
        try:
            self.socket.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError:
            self.socket.close()
            raise
        finally:
            os.close(directory)

    def close(self):
        self.socket.close()

    def ask_raw(self, data):
        """(code, rest) of the answer; None when the other hung up."""
        self.socket.send(data)
        answer = self.socket.recv(65536)
        if not answer:
            return None
        length, version, kind, code = struct.unpack_from("!IHHI", answer)
        assert length == len(answer) and version == 1 and kind == ANSWER, answer
        return code, answer[12:]

    def ask(self, data):
        code, rest = self.ask_raw(data)
        if code:
            raise LabError(rest.decode())
        return rest

    def counters(self):
        rest, values = self.ask(message(COUNTERS)), {}
        while rest:
            length = rest[0]
            values[rest[1:1 + length].decode()] = struct.unpack_from("!Q", rest, 1 + length)[0]
            rest = rest[9 + length:]
        return values


class UdpHost:
    """A host with a subnet, on which either weft-udp or the loop carries packets."""

    def __init__(self, host, subnet, subnet6=None, device="flannel0", wrap=()):
        self.host, self.subnet, self.subnet6, self.device = host, subnet, subnet6, device
        self.address = subnet and str(ipaddress.ip_network(subnet).network_address)
        self.address6 = subnet6 and str(ipaddress.ip_network(subnet6).network_address)
        self.wrap = list(wrap)
        self.outer = host.v4 if "eth0" in host.interfaces else None
        self.process = None
        self.control = None

    @property
    def socket_path(self):
        return self.host.run_dir / "udp.sock"

    def start(self, *flags, network6=None, mtu=1472, configure=True, confined=not SANITIZED):
        """weft-udp with its device up; told of no peers yet."""
        self.spawn(*flags, confined=confined)
        self.control = wait_for(self.connect, "weft-udp to listen")
        self.bring_up(mtu, network6)
        if configure:
            self.control.ask(config_message(self.subnet, mtu=mtu, own6=self.subnet6, network6=network6))
        return self

    def spawn(self, *flags, confined=not SANITIZED):
        if not confined:
            named = [f for f in flags if f.startswith("--without-feature=")]
            flags = [f for f in flags if f not in named] + [",".join(named or ["--without-feature="]) + ",sandbox"]
            flags[-1] = flags[-1].replace("=,", "=")
        self.process = self.host.spawn(*self.wrap, str(build() / "weft-udp"), f"--address={self.outer}",
                                       f"--device={self.device}", "--socket=/run/udp.sock", *flags)

    def connect(self):
        if not self.process.alive():
            raise AssertionError(f"weft-udp ended: {self.process.log()}")
        return Control(self.socket_path)

    def bring_up(self, mtu=1472, network6=None):
        self.host.ip("link", "set", self.device, "mtu", str(mtu), "up")
        if self.subnet:
            self.host.ip("addr", "add", f"{self.address}/32", "dev", self.device)
            self.host.ip("route", "add", NETWORK, "dev", self.device)
        if self.subnet6:
            self.host.ip("addr", "add", f"{self.address6}/128", "dev", self.device, "nodad")
            self.host.ip("route", "add", network6, "dev", self.device)

    def start_loop(self, peers, mtu=1472, verify=True):
        """The loop in place of weft-udp; peers: {subnet: host}."""
        self.process = self.host.spawn(str(build() / "tests/bench/udp_loop"), *(["-v"] if verify else []), self.device,
                                       self.outer, "8285", *[f"{s}={h}" for s, h in peers.items()])
        wait_for(lambda: self.host.ip("link", "show", "dev", self.device, check=False), "the loop's device")
        self.bring_up(mtu)
        return self

    def tell(self, peers, **options):
        self.control.ask(peers_message(peers, **options))

    def counters(self):
        return self.control.counters()

    def stop_loop(self):
        """What it counted."""
        assert self.process.terminate() == 0
        return json.loads(self.process.log().splitlines()[-1])


def mesh(hosts):
    """Tell all of all."""
    for one in hosts:
        one.tell({subnet: other.outer for other in hosts if other is not one
                  for subnet in (other.subnet, other.subnet6) if subnet})
