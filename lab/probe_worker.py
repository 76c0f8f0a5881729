# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""One end of the loss probe, a program of its own inside a container (started by probe.py).

It sends a numbered datagram every few milliseconds, notes those that arrive, and holds one end of
a TCP stream. It obeys lines on standard input (go, stop, drain N) and answers on standard output:
ready, flowing, sent N, and at last one JSON object.
"""

import json
import os
import select
import socket
import struct
import sys
import time

CHUNK = b"stream--" * 8
QUIET_S = 0.4       # drain: this long without an arrival, and what is missing is lost


class End:
    """The state of this end; all times are CLOCK_MONOTONIC, the same on the whole machine."""

    def __init__(self, own, peer, port, interval_ms, listens):
        family = socket.AF_INET6 if ":" in own else socket.AF_INET
        self.interval = interval_ms / 1000
        self.listens = listens
        self.peer = (peer, port)
        self.udp = socket.socket(family, socket.SOCK_DGRAM)
        self.udp.bind((own, port))
        self.udp.setblocking(False)
        self.listener = self.stream = None
        if listens:
            self.listener = socket.create_server((own, port), family=family)
            self.listener.setblocking(False)
        self.sent_at = []
        self.received = []
        self.sending = False
        self.flowing = False
        self.next_send = 0.0
        self.last_data = None       # when the stream last delivered something
        self.stall = 0.0
        self.broken = None
        self.expected = None
        self.last_arrival = 0.0

    def go(self):
        if not self.listens:
            self.stream = socket.create_connection(self.peer, timeout=10)
            self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.stream.setblocking(False)
        self.sending = True
        self.next_send = time.monotonic()

    def send_due(self, now):
        if not self.sending or now < self.next_send:
            return
        self.next_send += self.interval
        if self.next_send < now:        # this process was kept waiting: skip, do not burst
            self.next_send = now + self.interval
        sequence = len(self.sent_at)
        self.sent_at.append(now)
        try:
            self.udp.sendto(struct.pack("!I", sequence), self.peer)
        except OSError:
            pass                        # not delivered is what the other end will say
        if not self.listens and not self.broken:
            try:
                self.stream.send(CHUNK)
            except BlockingIOError:
                pass                    # the stream stalls; the other end measures it
            except OSError as e:
                self.broken = str(e)

    def receive_datagrams(self, now):
        while True:
            try:
                data = self.udp.recv(64)
            except BlockingIOError:
                return
            except OSError:
                continue                # an ICMP error of an earlier datagram
            self.received.append(struct.unpack("!I", data[:4])[0])
            self.last_arrival = now

    def receive_stream(self, now):
        if self.stream is None:
            self.stream = self.listener.accept()[0]
            self.stream.setblocking(False)
            return
        try:
            data = self.stream.recv(65536)
        except BlockingIOError:
            return
        except OSError as e:
            self.broken = str(e)
            return
        if not data:
            self.broken = self.broken or ("closed by the other end" if self.sending else None)
            self.stream.close()
            self.listener = self.stream = None
            return
        if self.last_data is not None:
            self.stall = max(self.stall, now - self.last_data)
        self.last_data = now

    def end_stream(self, now):
        if self.listens and self.last_data is not None:
            self.stall = max(self.stall, now - self.last_data)

    def drained(self, now):
        if self.expected is None:
            return False
        return len(set(self.received)) >= self.expected or now - self.last_arrival > QUIET_S

    def result(self):
        return {"sent_at": [round(t, 5) for t in self.sent_at], "received": self.received,
                "stall_ms": self.stall * 1000 if self.listens else None, "broken": self.broken}


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def obey(end, line, now):
    """Do what the parent asks."""
    word, _, argument = line.partition(" ")
    if word == "go":
        end.go()
    elif word == "stop":
        end.sending = False
        end.end_stream(now)
        say(f"sent {len(end.sent_at)}")
    elif word == "drain":
        end.expected = int(argument)
        end.last_arrival = now


def main():
    own, peer, port, interval_ms, role = sys.argv[1:]
    end = End(own, peer, int(port), float(interval_ms), role == "listen")
    commands = b""
    say("ready")
    while True:
        now = time.monotonic()
        end.send_due(now)
        if end.drained(now):
            say(json.dumps(end.result()))
            return 0
        waiting = [sys.stdin.fileno(), end.udp]
        if end.listens and (end.stream or end.listener) and not end.broken:
            waiting.append(end.stream or end.listener)
        timeout = max(0.0, end.next_send - time.monotonic()) if end.sending else 0.02
        readable = select.select(waiting, [], [], timeout)[0]
        now = time.monotonic()
        if end.udp in readable:
            end.receive_datagrams(now)
        if end.listens and ((end.stream or end.listener) in readable):
            end.receive_stream(now)
        if not end.flowing and end.received and (end.last_data or not end.listens):
            end.flowing = True
            say("flowing")
        if sys.stdin.fileno() in readable:
            data = os.read(sys.stdin.fileno(), 4096)
            if not data:
                return 1                # the parent is gone
            commands += data
            *lines, commands = commands.split(b"\n")
            for line in lines:
                obey(end, line.decode(), now)


if __name__ == "__main__":
    sys.exit(main())
