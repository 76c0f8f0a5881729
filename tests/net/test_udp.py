# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft-udp, the packet path of the udp backend, told of peers by hand.

    flannel0 10.1.1.0/24 - h1 --+
    flannel0 10.1.2.0/24 - h2 --+-- net1 192.168.77.0/24
    flannel0 10.1.3.0/24 - h3 --+

Where flannel's side is wanted, h2 runs a loop that moves one packet a system call and verifies each
that comes from the wire.
"""

import contextlib
import ctypes
import hashlib
import itertools
import os
import platform
import random
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from lab import wait_for
from udp_host import (BEGIN, COMMIT, COUNTERS, PEERS, SANITIZED, STOP, UdpHost, config_message, mesh, message,
                      net_bytes, peers_message)

NETWORK6 = "fc00:1::/48"
PORT = 8285


def hosts_of(lab, count, *flags, start=True, v6=False):
    segment = lab.segment("net1", v4="192.168.77.0/24")
    hosts = [UdpHost(lab.host(f"h{i}", segment), f"10.1.{i}.0/24", f"fc00:1:0:{i}::/64" if v6 else None)
             for i in range(1, count + 1)]
    if start:
        for one in hosts:
            one.start(*flags, network6=NETWORK6 if v6 else None)
        mesh(hosts)
    return hosts


def with_loop(lab, *flags):
    """h1 with weft-udp, h2 with the loop."""
    one, other = hosts_of(lab, 2, start=False)
    one.start(*flags)
    one.tell({other.subnet: other.outer})
    other.start_loop({one.subnet: one.outer})
    return one, other


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(source, destination, payload=b"hello", ttl=64, ident=1, protocol=17, port=9999, **changes):
    """An IPv4 packet with UDP, right but for the changes (byte offset: value)."""
    if protocol == 17:
        payload = struct.pack("!HHHH", 5000, port, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, 0, ttl, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    data = bytearray(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload)
    for at, value in changes.items():
        data[int(at[1:])] = value
    return bytes(data)


def bound(end, port=9999, kind=socket.SOCK_DGRAM):
    sock = end.host.socket(kind=kind)
    sock.settimeout(10)
    sock.bind((end.address, port))
    return sock


def transfer(sender, receiver, size, port):
    """Bytes over TCP; they arrive as they were sent."""
    data = random.Random(size).randbytes(size)
    listener = bound(receiver, port, socket.SOCK_STREAM)
    listener.listen()
    got = hashlib.sha256()

    def receive():
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            while part := connection.recv(1 << 20):
                got.update(part)
    thread = threading.Thread(target=receive)
    thread.start()
    with sender.host.socket(kind=socket.SOCK_STREAM) as out:
        out.settimeout(20)
        out.connect((receiver.address, port))
        out.sendall(data)
    thread.join()
    listener.close()
    assert got.hexdigest() == hashlib.sha256(data).hexdigest()


def drops(end):
    return {name: value for name, value in end.counters().items() if name.startswith("drop_") and value}


def test_three_hosts(lab):
    hosts = hosts_of(lab, 3)
    for one in hosts:
        for other in hosts:
            if other is not one:
                ping = one.host.ping(other.address, count=2)
                assert ping.lost == 0 and "ttl=62" in ping.output       # counted down at each end, as by flannel
    transfer(hosts[0], hosts[1], 20_000_000, 6001)
    transfer(hosts[1], hosts[2], 3_000_001, 6002)
    sent, received = hosts[0].counters(), hosts[1].counters()
    assert sent["sent_datagrams"] > 10_000 and received["joined"] > 5_000
    # In bulk: what is read, sent, received and written at once are many packets.
    calls = sent["tun_reads"] + sent["send_calls"] + received["receive_calls"] + received["tun_writes"]
    assert calls / sent["sent_datagrams"] < 0.5, (sent, received)
    assert all(set(drops(h)) <= {"drop_to_many"} for h in hosts), [drops(h) for h in hosts]


@pytest.mark.parametrize("flags", [(), ("--without-feature=segment",), ("--without-feature=tcp-join,udp-join",),
                                   ("--source-port=same", "--workers=2")])
def test_against_the_loop(lab, flags):
    """All that weft-udp sends is valid packet by packet, and it takes what comes one by one."""
    one, other = with_loop(lab, *flags)
    transfer(one, other, 5_000_000, 6001)
    transfer(other, one, 5_000_000, 6002)
    sink = bound(other)
    with bound(one) as out:
        for size in [*range(1, 200, 13), 1400, 1444, 1445, 4000, 20_000, 65_507]:       # some are fragments
            data = random.Random(size).randbytes(size)
            out.sendto(data, (other.address, 9999))
            assert sink.recv(65536) == data
        out.setsockopt(socket.IPPROTO_UDP, 103, 100)     # UDP_SEGMENT
        out.sendto(bytes(range(250)) * 10, (other.address, 9999))
        assert b"".join(sink.recv(65536) for _ in range(25)) == bytes(range(250)) * 10
    for size in (0, 1, 56, 1444, 8000):
        assert one.host.ping(other.address, count=2, size=size).lost == 0
        assert other.host.ping(one.address, count=2, size=size).lost == 0
    one.host.run("ping", "-c", "1", "-W", "2", "-R", other.address)      # options in the header
    seen = other.stop_loop()
    assert seen["bad"] == 0 and seen["from_wire"] > 3000, seen
    if "--without-feature=segment" in flags:
        assert one.counters()["sent_datagrams"] - one.counters()["sends"] == 0


def test_path_that_takes_less(lab):
    """What the kernel does not send together it sends one by one, in fragments."""
    one, other = with_loop(lab)
    one.host.ip("link", "set", "eth0", "mtu", "1300")
    transfer(one, other, 1_000_000, 6001)
    counters = one.counters()
    assert counters["sent_singly"] > 0 and counters["drop_send_error"] == 0, counters
    assert other.stop_loop()["bad"] == 0


def test_ecn(lab):
    one, other = with_loop(lab)
    for end in (one, other):
        end.host.sysctl("net/ipv4/tcp_ecn", 1)
    transfer(one, other, 3_000_000, 6001)
    transfer(other, one, 3_000_000, 6002)
    assert other.stop_loop()["bad"] == 0


def test_ipv6_inside(lab):
    hosts = hosts_of(lab, 2, v6=True)
    assert hosts[0].host.ping(hosts[1].address6, count=2).lost == 0
    assert hosts[0].host.ping(hosts[1].address6, count=2, size=4000).lost == 0
    # Taken only where it is configured.
    hosts[1].tell({hosts[0].subnet: hosts[0].outer})
    hosts[1].control.ask(config_message(hosts[1].subnet))
    before = hosts[1].counters()["drop_version"]
    assert not hosts[0].host.can_reach(hosts[1].address6)
    assert hosts[1].counters()["drop_version"] > before


def test_what_is_refused(lab):
    one, other, third = hosts_of(lab, 3, start=False)
    one.start()
    one.tell({other.subnet: other.outer})
    inside = bound(one)
    inside.settimeout(0.2)

    def send(end, data):
        with end.host.socket(kind=socket.SOCK_DGRAM) as out:
            out.sendto(data, (one.outer, PORT))

    good = packet("10.1.2.7", one.address)
    send(other, good)
    assert inside.recv(100) == b"hello"
    cases = [
        ("drop_spoofed", third, good),                                       # another host's lease
        ("drop_spoofed", other, packet("10.1.9.7", one.address)),            # nobody's
        ("drop_spoofed", other, packet("8.8.8.8", one.address)),
        ("drop_spoofed", other, packet("10.1.1.7", one.address)),            # our own
        ("drop_not_ours", other, packet("10.1.2.7", "10.1.2.8")),
        ("drop_not_ours", other, packet("10.1.2.7", "224.0.0.1")),
        ("drop_not_ours", other, packet("10.1.2.7", one.outer)),
        ("drop_short", other, b""), ("drop_short", other, good[:19]),
        ("drop_length", other, good[:-1]),
        ("drop_version", other, b"\x50" + good[1:]), ("drop_version", other, b"\xffunk" * 40),
        ("drop_header", other, b"\x44" + good[1:]),
        ("drop_checksum", other, packet("10.1.2.7", one.address, x10=1)),
        ("drop_ttl_in", other, packet("10.1.2.7", one.address, ttl=1)),
        ("drop_ttl_in", other, packet("10.1.2.7", one.address, ttl=0)),
    ]
    for number, (reason, sender, data) in enumerate(cases):
        before = one.counters()
        send(sender, data)
        wait_for(lambda: one.counters()[reason] == before[reason] + 1,     # noqa: B023
                 f"case {number} to be counted as {reason}", timeout=3)
    send(other, good + b"behind the packet")
    assert inside.recv(100) == b"hello"
    with pytest.raises(TimeoutError):
        inside.recv(100)
    noise = random.Random(1)
    for _ in range(3000):
        send(other, noise.randbytes(noise.randrange(1, 200)))
    send(other, good)
    assert inside.recv(100) == b"hello" and one.process.alive()


def test_icmp_errors(lab):
    one, other = hosts_of(lab, 2, start=False)
    one.start()
    one.tell({other.subnet: other.outer})
    done = one.host.run("ping", "-c", "1", "-W", "2", "10.1.9.1", check=False).stdout
    assert f"From {one.address} icmp_seq=1 Destination Net Unreachable" in done
    done = one.host.run("ping", "-c", "1", "-W", "2", "-t", "1", other.address, check=False).stdout
    assert f"From {one.address} icmp_seq=1 Time to live exceeded" in done
    one.control.ask(config_message(one.subnet, mtu=1000))
    done = one.host.run("ping", "-c", "1", "-W", "2", "-M", "do", "-s", "1200", other.address, check=False)
    assert re.search(r"Frag needed and DF set \(mtu = 1000\)|message too long, mtu=1000", done.stdout + done.stderr)
    counters = one.counters()
    assert counters["drop_no_route"] == counters["drop_ttl_out"] == counters["drop_too_big"] == 1
    # Not more than so many.
    with one.host.socket(kind=socket.SOCK_DGRAM) as out:
        for _ in range(3000):
            out.sendto(b"x", ("10.1.9.1", 9))
    wait_for(lambda: one.counters()["drop_icmp_limit"] > 0, "the limit of ICMP errors")


def test_peers_come_and_go(lab):
    one, other, third = hosts_of(lab, 3)
    one.tell({other.subnet: other.outer}, flags=COMMIT, remove=True)
    assert not one.host.can_reach(other.address) and one.host.can_reach(third.address)
    one.tell({other.subnet: other.outer}, flags=COMMIT)
    assert one.host.can_reach(other.address)
    # A whole set in parts takes effect with its last one.
    one.tell({third.subnet: third.outer}, flags=BEGIN)
    assert one.host.can_reach(other.address)
    one.tell({"10.1.200.0/24": third.outer}, flags=COMMIT)
    assert not one.host.can_reach(other.address) and one.host.can_reach(third.address)
    # While packets flow, under 500 whole tables.
    ping = one.host.spawn("ping", "-n", "-i", "0.002", "-c", "500", "-W", "2", third.address, name="flow")
    many = {f"10.1.{i}.0/24": f"192.168.77.{i}" for i in range(100, 250)}
    while ping.alive():
        one.tell({third.subnet: third.outer, **many})
    assert " 0% packet loss" in ping.log(), ping.log()


def test_control_is_checked(lab):
    (one,) = hosts_of(lab, 1, start=False)
    one.start()
    ask = one.control.ask_raw
    for data, words in [
            (b"x", "length"), (message(COUNTERS)[:-1], "length"), (message(COUNTERS, version=9), "version 9"),
            (message(77), "unknown"), (message(PEERS), "cut short"), (message(PEERS, b"\xff" * 5), "flags"),
            (message(PEERS, struct.pack("!BI", 3, 1)), "peer is none"),
            (peers_message({"10.2.0.0/24": "192.168.77.9"}), "not in the network"),
            (peers_message({one.subnet: "192.168.77.9"}), "overlaps"),
            (peers_message({"10.1.9.0/24": "127.0.0.1"}), "cannot be sent to"),
            (peers_message({"10.1.9.0/24": "224.0.0.1"}), "cannot be sent to"),
            (peers_message({"10.1.9.0/24": "fd00::1"}), "another family"),
            (peers_message({"10.1.9.0/24": "192.168.77.9"}, port=0), "cannot be sent to"),
            (peers_message({"10.1.9.0/24": "192.168.77.9"}, flags=0), "no begin"),
            (config_message("fc00::/64"), "other family"), (config_message(one.subnet, mtu=100), "MTU"),
            (config_message(one.subnet) + b"x", "length"),
            (message(PEERS, struct.pack("!BI", 3, 1) + b"\0" + net_bytes("10.1.9.0/24")[:-1] + b"\x10" + bytes(19)),
             "none")]:
        code, text = ask(data)
        assert code > 0 and words in text.decode(), (data, code, text)
    noise = random.Random(2)
    for _ in range(2000):
        code, _ = ask(message(noise.randrange(1, 5), noise.randbytes(noise.randrange(200))))
    assert one.process.alive()
    extra = [wait_for(one.connect, "a connection") for _ in range(12)]      # more than it serves
    assert one.counters()["tun_reads"] >= 0
    for connection in extra:
        connection.close()


def test_nothing_is_left_to_it(lab):
    (one,) = hosts_of(lab, 1)
    pid = one.process.pid
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = path.read_text(encoding="ascii").splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, (path, name)
        assert status["Seccomp"] == ("0" if SANITIZED else "2") and status["NoNewPrivs"] == "1", path


SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}


def turn_ns(thread):
    """How long the scheduler lets it run before it looks at others; 0 where a kernel before 6.12 does not say."""
    attributes = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(SCHED_GETATTR[platform.machine()], thread, attributes, 48, 0) == 0
    return struct.unpack_from("=Q", attributes, 24)[0]


def test_short_turns(lab):
    """What waits for a worker does not wait for a whole turn of whoever computes."""
    if turn_ns(0) == 0:
        pytest.skip("this kernel tells no turns of the scheduler")
    (one,) = hosts_of(lab, 1)
    for thread in os.listdir(f"/proc/{one.process.pid}/task"):
        assert turn_ns(int(thread)) == 100_000 < turn_ns(0)


def test_another_takes_over(lab):
    """A new process takes device, sockets and peers, and no packet is lost."""
    one, other = hosts_of(lab, 2)
    for _ in range(3):
        ping = other.host.spawn("ping", "-n", "-i", "0.002", "-c", "600", "-W", "2", one.address, name="flow")
        wait_for(lambda: one.counters()["received_datagrams"] > 50, "packets to flow")
        before = one.process
        one.spawn()
        assert before.wait() == 0
        one.control = wait_for(one.connect, "the new one to listen")
        ping.wait()
        assert " 0% packet loss" in ping.log(), ping.log()
        assert one.counters()["received_datagrams"] > 50
    transfer(other, one, 2_000_000, 6001)
    stopped = one.control.ask(message(STOP))
    assert stopped == b"" and one.process.wait() == 0


def test_stops_when_the_device_is_gone(lab):
    (one,) = hosts_of(lab, 1)
    one.host.ip("link", "del", "flannel0")
    assert one.process.wait() == 1
    assert "device flannel0 is gone" in one.process.log()


def test_starts_that_fail(lab):
    (one,) = hosts_of(lab, 1)
    for flags, words in [(("--device=other", "--port=9"), "give another --socket"),
                         (("--socket=/run/other.sock",), "flannel0 is in use"),
                         (("--socket=/run/other.sock", "--device=other"), "port 8285"),
                         (("--workers=9",), "workers"), (("--device=a/b",), "--device"),
                         (("--address=",), "--address")]:
        process, control = one.process, one.control
        one.spawn(*flags)
        failed, one.process, one.control = one.process, process, control
        assert failed.wait() in (1, 2)
        assert words in failed.log().splitlines()[-1], failed.log()
    assert one.counters() is not None and one.process.alive()


@contextlib.contextmanager
def moved_about(process):
    """A process whose threads change processors a thousand times a second, as a busy scheduler moves them."""
    threads = [int(t) for t in os.listdir(f"/proc/{process.pid}/task")]
    allowed = sorted(os.sched_getaffinity(0))
    over = threading.Event()

    def move():
        for turn in itertools.count():
            if over.wait(0.001):
                return
            for thread in threads:
                os.sched_setaffinity(thread, {allowed[turn % len(allowed)]})
    mover = threading.Thread(target=move)
    mover.start()
    try:
        yield
    finally:
        over.set()
        mover.join()


@pytest.mark.parametrize("workers, moved", [(2, False), (2, True), (1, True)])
def test_order(lab, workers, moved):
    """Several flows at once, also through several queues: each arrives in the order in which it was sent."""
    one, other = hosts_of(lab, 2, f"--workers={workers}")
    flows, count = 6, 4000
    sinks = [bound(other, 9000 + i) for i in range(flows)]
    got = [[] for _ in range(flows)]

    def receive(index):
        sinks[index].settimeout(1.5)
        try:
            while True:
                got[index].append(struct.unpack_from("!I", sinks[index].recv(2000))[0])
        except TimeoutError:
            pass
    threads = [threading.Thread(target=receive, args=(i,)) for i in range(flows)]
    for sink in sinks:
        sink.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)     # SO_RCVBUFFORCE
    for thread in threads:
        thread.start()
    outs = [bound(one, 9000 + i) for i in range(flows)]
    with moved_about(one.process) if moved else contextlib.nullcontext():
        for number in range(count):
            for i, out in enumerate(outs):
                out.sendto(struct.pack("!I", number) + bytes(200 + 10 * i), (other.address, 9000 + i))
    for thread in threads:
        thread.join()
    for numbers in got:
        assert len(numbers) > 100 and numbers == sorted(set(numbers))   # what a full queue drops is missing
