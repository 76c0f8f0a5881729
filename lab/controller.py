# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft's own controller on a host, over its own database or over another store, as its agents see it."""

import base64
import json
import re
import ssl

from . import http
from .errors import LabError
from .etcd import KeyValue
from .process import wait_for

PORT = 8889


def join_words(log):
    """What the log of a start says to those who join by TLS: (HOST:PORT, pin); None: nothing yet."""
    secure = re.search(r"agents join by: weftd --remote=(\S+) --token-file=FILE --pin=(sha256:[0-9a-f]{64});", log)
    return secure.groups() if secure else None


class Controller:
    """A weftd with --listen on `host`; with agent: it is that host's agent as well.

    over    the store behind it; None: its own database
    """

    def __init__(self, host, over=None, agent=False, insecure=False, flags=(), token=None):
        self.host = host
        self.over = over
        self.is_agent = agent
        self.insecure = insecure
        self.remote = f"{host.v4}:{PORT}"
        self._given_token = token
        self.flags = [f"--listen={self.remote}", *(["--agent"] if agent else []),
                      *(["--insecure"] if insecure else []), *[str(f) for f in flags]]
        if token:
            (host.run_dir / "token").write_text(token, encoding="ascii")
            self.flags.append("--token-file=/run/token")
        self.start()

    def start(self):
        """Start it, with the data that is there, and wait until it serves."""
        if not self.host.agent.flags:
            self.host.agent.start(*self.flags, etcd=self.over)
        else:
            self.host.agent.restart()
        wait_for(lambda: not self.alive() or "controller: serves" in self.host.agent.log_since_start(),
                 f"the controller on {self.host.name} to serve")
        if not self.alive():
            raise LabError(f"the controller on {self.host.name} ended; its log:\n{self.host.agent.log_tail()}")

    def alive(self):
        return self.host.agent.alive()

    def stop(self):
        return self.host.agent.stop()

    def kill(self):
        """SIGKILL, as in a crash."""
        return self.host.agent.kill()

    def pause(self):
        self.host.agent.pause()

    def resume(self):
        self.host.agent.resume()

    def restart(self, empty=False):
        """Kill it, lose all data if empty (it stays who it is), start, wait."""
        if self.alive():
            self.kill()
        if empty and self.over:
            raise LabError("the data are in the store behind the controller: empty that")
        if empty:
            for path in self.state.glob("weft.db*"):
                path.unlink()
        self.start()

    @property
    def state(self):
        """Its --state-dir, as a Path of this machine."""
        return self.host.lib_dir / "weft"

    @property
    def token(self):
        return self._given_token or (self.state / "controller.token").read_text(encoding="ascii").strip()

    @property
    def join_token(self):
        """The agents' token, which follows from the admin's."""
        return (self.state / "controller.join").read_text(encoding="ascii").strip()

    @property
    def join(self):
        """What it tells those who join: (HOST:PORT, pin)."""
        words = join_words(self.host.agent.log_since_start())
        if not words:
            raise LabError(f"the controller on {self.host.name} does not say how to join:\n"
                           f"{self.host.agent.log_tail()}")
        return words

    def agent_flags(self):
        """The flags with which weftd and weft reach it from any host of the laboratory."""
        return access_flags([self])

    # The data, as any client sees them

    def call(self, path, timeout=5, **members):
        """The lines of its answer to a request of docs/controller-api.md, parsed."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {} if self.insecure else {"Authorization": f"Bearer {self.token}"}
        code, text = http.tcp_request(self.host, self.host.v4, PORT, path, "POST", json.dumps(members), timeout,
                                      None if self.insecure else context, headers)
        if code != 200:
            raise LabError(f"POST {path} to {self.remote}: {code} {text.strip()}")
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    def put(self, key, value):
        """value: text, or anything that is written as JSON."""
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        self.call("/v2/txn", compares=[], writes=[{"key": key, "value": text}])

    def delete(self, key):
        """How many keys went: 0 or 1."""
        there = self.get(key) is not None
        self.call("/v2/txn", compares=[], writes=[{"key": key, "delete": True}])
        return int(there)

    def range(self, prefix):
        """Every pair below prefix, as KeyValues in key order."""
        return self._pairs(prefix=prefix)

    def get(self, key):
        """The KeyValue of one key, or None."""
        return next(iter(self._pairs(key=key)), None)

    def _pairs(self, **of):
        pairs = [line["pair"] for line in self.call("/v2/range", **of) if "pair" in line]
        return [KeyValue(_text(pair, "key"), _text(pair, "value"), pair["mod"], pair["create"], None,
                         pair["session"]) for pair in pairs]


def access_flags(controllers):
    """The flags with which weftd and weft reach any of these."""
    remote = "--remote=" + ",".join(c.remote for c in controllers)
    if controllers[0].insecure:
        return [remote]
    file = controllers[0].host.lab.directory / "token"
    if not file.exists():       # once: agents that are starting read it
        new = file.with_suffix(".new")
        new.write_text(controllers[0].join_token, encoding="ascii")
        new.rename(file)
    return [remote, f"--token-file={file}", "--pin=" + ",".join(c.join[1] for c in controllers)]


def _text(pair, name):
    return pair[name] if name in pair else base64.b64decode(pair[f"{name}64"]).decode(errors="replace")
