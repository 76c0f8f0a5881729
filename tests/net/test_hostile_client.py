# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A client that means harm, at a real controller: it is refused, others are served meanwhile, and neither the memory
nor the log of the controller grow with what it does.

    c1 - h1 --+
    c2 - h2 --+-- net1 192.168.77.0/24 -- etcd
          h3 -+        |
      (attacks)       ctl1
"""

import json
import os
import re
import resource
import socket
import ssl
from pathlib import Path

import pytest
from test_controller import FOREIGN_KEY, PORT, Controlled, ask

from lab import wait_for
from lab.agent import operator_binary
from lab.fabric import PREFIX

IDLE = 10000
PENDING = 1024          # the controller's limit of connections that ask for nothing
STREAMS = 256           # and of open streams of one identity
MEMORY_KB = 64 * 1024   # what an attack may cost; all that is sent and opened here would take far more
LOG_LINES = 40


def private_dirty_kb(pid):
    return int(re.search(r"^Private_Dirty:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))


class Attack:
    """Around what is done to the controller: others are served meanwhile, and it costs little."""

    def __init__(self, controlled):
        self.controlled = controlled
        self.net, self.node = controlled.net, controlled.controllers[0]
        self.attacker = self.net.hosts[2]
        self.attacker.agent.stop()
        self.sockets = []
        self.count = 0

    def __enter__(self):
        self.before_kb = private_dirty_kb(self.node.agent.pid)
        self.log_before = len(self.node.agent.log().splitlines())
        return self

    def __exit__(self, kind, *error):
        try:
            if kind is None:
                self.others_are_served()
                self.check_cost()
        finally:
            for connection in self.sockets:
                connection.close()

    def others_are_served(self):
        """A command is answered, and a change comes to the agents, while everything is still open."""
        hosts = self.net.hosts[:2]
        self.count += 1
        leases = hosts[0].run(operator_binary(), "lease", "list", *self.controlled.access, timeout=20).stdout
        assert all(h.v4 in leases for h in hosts), leases
        subnet = f"10.1.{200 + self.count}.0"
        self.net.put_lease(f"{subnet}-24", f"192.168.77.{100 + self.count}", f"02:99:00:00:00:{self.count:02x}")
        wait_for(lambda: all(h.ip("route", "show", f"{subnet}/24", "proto", "157").strip() for h in hosts),
                 "a change at the agents", timeout=20)

    def check_cost(self):
        cost_kb = private_dirty_kb(self.node.agent.pid) - self.before_kb
        lines = self.node.agent.log().splitlines()[self.log_before:]
        print(f"{cost_kb} kB, {len(lines)} lines")
        # A sanitizer keeps what was freed.
        assert cost_kb < MEMORY_KB or "ASAN_OPTIONS" in os.environ, f"{cost_kb} kB"
        assert len(lines) < LOG_LINES, "\n".join(lines)

    def connect(self):
        connection = self.attacker.socket()
        self.sockets.append(connection)
        connection.settimeout(20)
        connection.connect((self.node.v4, PORT))
        return connection

    def secure(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = self.connect()
        self.sockets.remove(plain)
        connection = context.wrap_socket(plain)
        self.sockets.append(connection)
        return connection

    def head(self, path, length, *more, token=True):
        lines = [f"POST {path} HTTP/1.1", "Host: weft", f"Content-Length: {length}", f"Weft-Identity: {'e' * 64}",
                 *more]
        if token:
            lines.append(f"Authorization: Bearer {self.controlled.token('join').strip()}")
        return "\r\n".join([*lines, "", ""]).encode()

    def post(self, path, body, **how):
        """Status, or None if the controller hung up without one."""
        connection = self.secure()
        try:
            connection.sendall(self.head(path, len(body), "Connection: close", **how) + body)
        except OSError:
            pass        # it does not want to hear the rest
        return status_of(connection)


def status_of(connection):
    try:
        answer = connection.recv(4096)
    except OSError:
        return None
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None


def is_open(connection):
    """Has the other side said neither that it is over nor anything else?"""
    connection.settimeout(0)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.fixture
def attack(lab, fabric):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Attack(Controlled(lab, fabric)) as made:
        yield made
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections(attack):
    """Ten thousand, of which none says a word."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < IDLE + 1000:
        pytest.skip("too few descriptors are allowed here")
    for _ in range(IDLE):
        attack.connect()
    wait_for(lambda: sum(map(is_open, attack.sockets)) <= PENDING, "all but a few to be cut", timeout=30)
    assert f"cut a connection of {attack.attacker.v4}" in attack.node.agent.log()


def is_secure_open(connection):
    connection.settimeout(0.001)
    try:
        return bool(connection.recv(1))
    except (TimeoutError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


@pytest.mark.long
def test_slow_heads(attack):
    """Heads that come byte by byte: each has 30 s for all of it, whatever comes meanwhile."""
    slow = [attack.secure() for _ in range(100)]
    text = iter(attack.head("/v2/range", 2))

    def drip():
        byte = bytes([next(text)])
        for connection in slow:
            try:
                connection.send(byte)
            except OSError:
                pass
        return not any(map(is_secure_open, slow))

    attack.others_are_served()
    wait_for(drip, "all of them to be cut", timeout=60, interval=1)


def test_half_open_watches(attack):
    """Watches that nobody reads, and clients that vanish without a word."""
    status, lines = ask(attack.controlled, attack.attacker, "/v2/range", {"prefix": f"{PREFIX}/"})
    assert status == 200
    revision = lines[-1]["header"]["revision"]
    body = json.dumps({"prefixes": [{"prefix": f"{PREFIX}/"}], "from": revision + 1}).encode()
    statuses = []
    for _ in range(2 * STREAMS):
        connection = attack.secure()
        connection.sendall(attack.head("/v2/watch", len(body)) + body)
        statuses.append(status_of(connection))
    assert statuses == [200] * STREAMS + [429] * STREAMS, statuses
    text = "x" * 60000
    for number in range(100):
        attack.net.etcd.put(f"{PREFIX}/large", f"{number} {text}")
    attack.others_are_served()


def test_oversized_bodies(attack):
    """The limit is 2 MiB; of a client without a token nothing is kept at all."""
    assert attack.post("/v2/range", b" " * (2 * 1024 * 1024 + 1)) == 413
    assert attack.post("/v2/range", b" " * (64 * 1024 * 1024)) in (413, None)
    assert attack.post("/v2/range", b" " * (64 * 1024 * 1024), token=False) in (401, None)
    large = [attack.secure() for _ in range(50)]
    for connection in large:        # announced, and sent as far as it is taken
        try:
            connection.sendall(attack.head("/v2/range", 1 << 40, token=False) + b" " * 300000)
        except OSError:
            pass
    endless = attack.secure()
    endless.sendall(attack.head("/v2/range", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
    with pytest.raises(OSError):
        for _ in range(2000):
            endless.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


PATHS = ["/", "//", "/v2/range/", "/v2/../v2/range", "/v2/%2e%2e/range", "/v2/range%00", "/v2/range\\",
         "/v2/token/../range", "/../../../../etc/passwd", "/v2/range;x", "/V2/RANGE", "/v2//range",
         "/healthz/../v2/range", "/v2/" + "x" * 4000]


def test_path_tricks(attack):
    for path in PATHS:
        status = attack.post(path, b"{}")
        assert status in (400, 403, 404, 414, 431, None), f"{path[:60]}: {status}"
    for key in (f"{PREFIX}/../x", f"{PREFIX}", "/", "", f"{PREFIX}/.weft/tokens/x", f"{PREFIX}/subnets/../config"):
        body = json.dumps({"compares": [{"key": key, "exists": False}],
                           "writes": [{"key": key, "value": "{}", "session": 0}]}).encode()
        assert attack.post("/v2/txn", body) in (400, 403), key


def test_bad_bodies(attack):
    """Bytes that are no text, JSON that is deep or wide or none."""
    deep = 1000000
    bodies = [b"\xff\xfe", b'{"prefix":"\xc0\xaf"}', b'{"prefix":"\xed\xa0\x80"}', b'{"prefix":"\\ud800"}',
              b"\0" * 1000, b"[" * deep, b'{"a":' * 200000, b"[" * deep + b"]" * deep, b'{"ttl_s":1e999}',
              b'{"ttl_s":' + b"9" * 100000 + b"}",
              b'{"x":"' + b"\\u0000" * 100 + b'"}', b"{" + b",".join(b'"%d":0' % n for n in range(100000)) + b"}"]
    for body in bodies:
        for path in ("/v2/range", "/v2/txn", "/v2/watch", "/v2/session/open", "/v2/token/create"):
            status = attack.post(path, body)
            assert status in (400, 403), f"{path} {body[:20]}: {status}"


def test_flood(attack):
    """Requests as fast as they go: some are put off, and only those of this client."""
    connection, statuses = attack.secure(), []
    body = json.dumps({"key": f"{PREFIX}/config"}).encode()
    for _ in range(100):
        connection.sendall((attack.head("/v2/range", len(body)) + body) * 20)
        answers = b""
        while len(re.findall(rb"HTTP/1.1 (\d+)", answers)) < 20:
            answers += connection.recv(65536)
        statuses += [int(word) for word in re.findall(rb"HTTP/1.1 (\d+)", answers)]
    assert set(statuses) == {200, 429} and statuses[0] == 200, set(statuses)
    assert statuses.count(200) >= 500, statuses.count(200)
    assert f"put off a client at {attack.attacker.v4}" in attack.node.agent.log()


def test_forged_leases(attack):
    """One after the other, for every host and every session; see also test_controller.py."""
    before = attack.net.leases()
    status, lines = ask(attack.controlled, attack.attacker, "/v2/range", {"prefix": f"{PREFIX}/subnets/"})
    assert status == 200
    for pair in (line["pair"] for line in lines if "pair" in line):
        for _ in range(30):
            forged = {"key": pair["key"], "value": pair["value"], "session": pair["session"]}
            request = {"compares": [{"key": pair["key"], "mod": pair["mod"]}], "writes": [forged]}
            assert attack.post("/v2/txn", json.dumps(request).encode()) == 403
    assert attack.net.leases() == before and FOREIGN_KEY not in before
