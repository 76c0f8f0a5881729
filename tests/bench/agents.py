# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Very many agents of one controller, as the controller sees them: each reads the leases, opens a session, creates its
own lease and watches, over real connections. Then one lease is changed again and again, and each watcher notes when it
hears of it.

usage: agents.py HOST PORT PREFIX AGENTS CHANGES FILE [TOKEN]

With a token each speaks TLS, and shows an identity of its own.

Writes JSON to the file: seconds until all have joined, and the delays of all changes at all watchers in milliseconds.
Then the connections stay until it is ended.
"""

import asyncio
import hashlib
import json
import resource
import ssl
import sys
import time
from pathlib import Path

AT_ONCE = 500           # connections that are being made


class Identity:
    """Whom the controller takes an agent for; token None: nobody asks."""

    def __init__(self, token, number):
        self.tls, self.head, self.mark = None, "", {}
        if token:
            secret = f"{number:032d}"
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
            self.head = f"Authorization: Bearer {token}\r\nWeft-Identity: {secret}\r\n"
            self.mark = {"WeftOwner": hashlib.sha256(f"weft owner\n{secret}".encode()).hexdigest()[:32]}


def request(identity, path, body):
    text = json.dumps(body).encode()
    head = f"POST /v2/{path} HTTP/1.1\r\nHost: controller\r\n{identity.head}Content-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


class Connection:
    """Keep-alive HTTP/1.1, one request after the other."""

    def __init__(self, host, port, identity):
        self.address, self.identity = (host, port), identity
        self.reader = self.writer = None

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection(*self.address, limit=2 ** 20, ssl=self.identity.tls)
        return self

    async def __aexit__(self, *error):
        self.writer.close()

    async def ask(self, path, body):
        """The whole body of the answer."""
        self.writer.write(request(self.identity, path, body))
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"{path}: {head!r}")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return await self.reader.readexactly(int(line[15:]))
        parts = []
        while (size := int(await self.reader.readline(), 16)) > 0:
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return b"".join(parts)


class Agents:
    def __init__(self, host, port, prefix, count, token):
        self.address, self.prefix, self.count, self.token = (host, port), prefix, count, token
        self.first = {}         # what the first agent has to know to change its lease
        self.gate = asyncio.Semaphore(AT_ONCE)
        self.watching = 0
        self.all_watch = asyncio.Event()
        self.sent = {}          # marker of a change: when it was sent
        self.heard = []         # delays in milliseconds
        self.expected = 0       # of them
        self.all_heard = asyncio.Event()

    def key(self, number):
        return f"{self.prefix}/subnets/10.{number >> 8}.{number & 255}.0-24"

    def value(self, number, identity, marker=0):
        mac = f"02:00:{marker >> 8:02x}:{marker & 255:02x}:{number >> 8:02x}:{number & 255:02x}"
        return json.dumps({"PublicIP": f"192.168.{number >> 8}.{number & 255}", "PublicIPv6": None,
                           "BackendType": "vxlan", "BackendData": {"VNI": 1, "VtepMAC": mac}, **identity.mark})

    async def agent(self, number):
        identity = Identity(self.token, number)
        async with self.gate:
            async with Connection(*self.address, identity) as connection:
                leases = await connection.ask("range", {"prefix": f"{self.prefix}/subnets/"})
                header = json.loads(leases[leases.rindex(b'{"header"'):])["header"]
                opened = json.loads(await connection.ask("session/open", {"ttl_s": 3600}))
                session, proof = opened["session"], {"proof": opened["proof"]} if self.token else {}
                done = json.loads(await connection.ask("txn", {
                    "compares": [{"key": self.key(number), "exists": False}],
                    "writes": [{"key": self.key(number), "value": self.value(number, identity), "session": session}],
                    **proof}))
                if not done["succeeded"]:
                    raise SystemExit(f"{self.key(number)}: exists already")
            if number == 0:
                self.first = {"mod": done["header"]["revision"], "session": session}
            watch = await asyncio.open_connection(*self.address, limit=2 ** 20, ssl=identity.tls)
        await self.watch(*watch, identity, header)

    async def watch(self, reader, writer, identity, header):
        writer.write(request(identity, "watch", {
            "prefixes": [{"prefix": f"{self.prefix}/subnets/"}], "from": header["revision"] + 1,
            "cluster_id": header["cluster_id"], "heartbeat_ms": 60000}))
        await reader.readuntil(b'{"up"')
        self.watching += 1
        if self.watching == self.count:
            self.all_watch.set()
        while data := await reader.read(2 ** 16):
            if self.sent:
                self.hear(data)

    def hear(self, data):
        now = time.monotonic()
        for marker, sent in self.sent.items():
            if marker in data:
                self.heard.append((now - sent) * 1000)
                if len(self.heard) == self.expected:
                    self.all_heard.set()

    async def change(self, count):
        identity = Identity(self.token, 0)
        async with Connection(*self.address, identity) as connection:
            for i in range(1, count + 1):
                # Only one is under way: a piece of a stream tells which.
                self.sent = {f"02:00:{i >> 8:02x}:{i & 255:02x}:00:00".encode(): time.monotonic()}
                self.expected = i * self.count
                self.all_heard.clear()
                done = json.loads(await connection.ask("txn", {
                    "compares": [{"key": self.key(0), "mod": self.first["mod"]}],
                    "writes": [{"key": self.key(0), "value": self.value(0, identity, i),
                                "session": self.first["session"]}]}))
                self.first["mod"] = done["header"]["revision"]
                await asyncio.wait_for(self.all_heard.wait(), 60)


async def main(host, port, prefix, count, changes, file, token=None):
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * int(count) + 100,) * 2)
    agents = Agents(host, int(port), prefix, int(count), token)
    begun = time.monotonic()
    tasks = [asyncio.create_task(agents.agent(i)) for i in range(int(count))]
    joined = asyncio.create_task(agents.all_watch.wait())
    await asyncio.wait([joined, *tasks], return_when=asyncio.FIRST_COMPLETED)
    seconds = time.monotonic() - begun
    for task in tasks:
        if task.done():
            task.result()
    await agents.change(int(changes))
    Path(file + ".new").write_text(json.dumps({"join_s": seconds, "delays_ms": sorted(agents.heard)}), encoding="ascii")
    Path(file + ".new").rename(file)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
