# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A real Consul: a server on a node of its own on the underlay, and agents in client mode on hosts.

    consul = lab.consul(segment)            # ready when it returns; tls=True, token="..."
    consul.endpoints, consul.agent_flags()  # as weftd and weft take them
    consul.put(k, v), .get(k), .delete(k), .range(prefix), .ctl("kv", "get", "x")
    consul.sessions(), .destroy(session)    # of all that is in its catalog
    consul.start(), .stop(), .kill(), .pause(), .resume(), .restart(empty=False)
    local = consul.join(host)               # a Consul agent on host at 127.0.0.1:8500; the same verbs

Keys are those of weft, with the slash in front that
Consul's own do not have.
"""

import base64
import json
import os
import shutil
import ssl
import urllib.parse

from . import http
from .errors import LabError
from .etcd import KeyValue, make_certificates
from .netns import REPOSITORY, Node
from .process import run, wait_for
from .underlay import Interface

PORT = 8500
ROOMY = 256 << 20       # bytes that must be free where the data goes
FETCH_S = 300


def consul_binary():
    """Debian's Consul, fetched at first; LabError where it cannot be had."""
    return run([REPOSITORY / "packaging/debian/fetch-consul"], timeout=FETCH_S).stdout.strip()


class ConsulProcess:
    """One agent of Consul, server or client, that runs on a node."""

    def __init__(self, consul, node, address, data, words):
        self.consul = consul
        self.node = node
        self.name = node.name
        self.address = address
        self.data = data
        self.process = None
        self._words = [str(w) for w in words]

    @property
    def endpoint(self):
        return f"{self.scheme}://{self.address}:{PORT}"

    @property
    def scheme(self):
        return "http"

    def start(self):
        """Start the process with the data that is there; does not wait."""
        if self.alive():
            raise LabError(f"Consul on {self.name} is running already")
        self.process = self.node.spawn(self.consul.binary, "agent", f"-node={self.name}", f"-data-dir={self.data}",
                                       "-dns-port=-1", "-hcl=disable_update_check = true", *self._words, name="consul")

    def alive(self):
        return self.process is not None and self.process.alive()

    def stop(self, timeout=20):
        """SIGTERM and wait. A client leaves its cluster by that, and its node goes with all sessions of it."""
        return self.process.terminate(timeout) if self.alive() else None

    def kill(self):
        """SIGKILL, as in a crash."""
        return self.process.kill() if self.alive() else None

    def pause(self):
        """SIGSTOP: one that hangs."""
        self.process.pause()

    def resume(self):
        self.process.resume()

    def restart(self):
        """Stop if it runs, start and wait until it answers."""
        self.stop()
        self.start()
        self.wait_ready()

    def request(self, url, method="GET", body=None, timeout=5):
        """(status, text) of an HTTP request to this agent, made on its own node; url: behind /v1."""
        if self.consul.token:
            url += ("&" if "?" in url else "?") + f"token={self.consul.token}"
        return http.tcp_request(self.node, self.address, PORT, f"/v1{url}", method, body, timeout,
                                self.tls_context())

    def tls_context(self):
        return None

    def healthy(self):
        """It knows a leader, who has read the log."""
        return self.request("/kv/none?consistent")[0] == 404

    def wait_ready(self, timeout=30):
        wait_for(lambda: not self.alive() or self.healthy(), f"Consul on {self.name} to answer", timeout)
        if not self.alive():
            raise LabError(f"Consul on {self.name} ended; its log:\n{self.process.log()[-2000:]}")


class ServerNode(Node):
    """What a server runs on; its interface is on the segment like any host's."""

    kind = "consul"

    def __init__(self, lab, name, segment):
        super().__init__(lab, name)
        number = segment.next_number("service")
        self.interface = Interface(self, segment, segment.address(4, number), segment.address(6, number))
        self.address = str((self.interface.v4 or self.interface.v6).ip)


class Server(ConsulProcess):
    """The one server of a cluster."""

    def __init__(self, consul, segment, name, data_root):
        node = ServerNode(consul.lab, name, segment)
        words = ["-server", "-bootstrap-expect=1", f"-bind={node.address}", f"-client=127.0.0.1 {node.address}",
                 "-hcl=performance { raft_multiplier = 1 }"]
        if consul.token:
            words.append('-hcl=acl { enabled = true default_policy = "deny" tokens { master = "%s" } }' % consul.token)
        if consul.tls:
            words += ["-http-port=-1", f"-https-port={PORT}",
                      '-hcl=ca_file = "%(d)s/ca.crt" cert_file = "%(d)s/server.crt" key_file = "%(d)s/server.key"'
                      % {"d": consul.tls}]
        else:
            words.append(f"-http-port={PORT}")
        super().__init__(consul, node, node.address, data_root / name, words)

    @property
    def scheme(self):
        return "https" if self.consul.tls else "http"

    def tls_context(self):
        return self.consul.tls_context()

    def wipe(self):
        """Lose all data; it must be down."""
        if self.alive():
            raise LabError(f"{self.name} must be stopped before its data is removed")
        shutil.rmtree(self.data, ignore_errors=True)


class Local(ConsulProcess):
    """An agent in client mode on a host, as Consul is meant to be run."""

    def __init__(self, consul, host):
        super().__init__(consul, host, "127.0.0.1", host.directory / "consul-data",
                         [f"-bind={host.v4 or host.v6}", "-client=127.0.0.1", f"-http-port={PORT}",
                          f"-retry-join={consul.server.address}", "-retry-interval=1s"])


class Consul:
    """The cluster, and its data as an operator with Consul's own program sees it."""

    def __init__(self, lab, segment, tls=False, token=None, name="consul"):
        self.lab = lab
        self.binary = consul_binary()
        self.token = token
        self.locals = []
        data_root = lab.fast_directory(ROOMY) / f"{name}-data"
        data_root.mkdir()
        self.tls = lab.directory / f"{name}-tls" if tls else None
        self.server = Server(self, segment, name, data_root)
        self.members = [self.server]
        if tls:
            make_certificates(self.tls, [self.server.address])
        self.start()

    def tls_context(self):
        if not self.tls:
            return None
        return ssl.create_default_context(cafile=str(self.tls / "ca.crt"))

    @property
    def endpoints(self):
        """As the flag --consul-endpoints takes them."""
        return self.server.endpoint

    def agent_flags(self):
        """The flags with which weftd and weft reach it: by the local agents once there are any."""
        flags = ["--store=consul"]
        if not self.locals:
            flags.append(f"--consul-endpoints={self.endpoints}")
        if self.tls:
            flags.append(f"--consul-cafile={self.tls / 'ca.crt'}")
        return flags

    def join(self, host):
        """Start a Consul agent on this host and wait until it answers."""
        local = Local(self, host)
        self.locals.append(local)
        local.start()
        local.wait_ready()
        return local

    # The server

    def start(self):
        self.server.start()
        self.server.wait_ready()

    def wait_ready(self, timeout=30):
        self.server.wait_ready(timeout)

    def stop(self):
        self.server.stop()

    def kill(self):
        self.server.kill()

    def pause(self):
        self.server.pause()

    def resume(self):
        self.server.resume()

    def restart(self, empty=False):
        """Kill it, lose all data if empty, start, wait."""
        self.kill()
        if empty:
            self.server.wipe()
        self.start()

    # The data

    def ctl(self, *argv, check=True, timeout=30, stdin=None):
        """Consul's own program on the server's node; CompletedProcess."""
        env = {**os.environ, "CONSUL_HTTP_ADDR": self.endpoints, "CONSUL_HTTP_TOKEN": self.token or ""}
        if self.tls:
            env["CONSUL_CACERT"] = str(self.tls / "ca.crt")
        return self.server.node.run(self.binary, *argv, check=check, timeout=timeout, stdin=stdin, env=env)

    def _ask(self, url, method="GET", body=None):
        code, text = self.server.request(url, method, body)
        if code == 404 and url.startswith("/kv/"):
            return []
        if code != 200:
            raise LabError(f"Consul: {method} {url}: {code} {text.strip()[:200]}")
        return json.loads(text)

    def put(self, key, value, lease=None):
        """value: text, or anything that is written as JSON; lease: a session, that locks the key."""
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        if not self._ask(_path(key) + (f"?acquire={lease}" if lease else ""), "PUT", text):
            raise LabError(f"Consul: {key} is locked by another session")

    def delete(self, key, prefix=False):
        """How many keys went."""
        count = len(self.range(key) if prefix else self._get(key, ""))
        self._ask(_path(key) + ("?recurse" if prefix else ""), "DELETE")
        return count

    def range(self, prefix):
        """Every pair below prefix, as KeyValues in key order; lease is the session, "" for a key without one."""
        return self._get(prefix, "&recurse")

    def get(self, key):
        """The KeyValue of one key, or None."""
        return next(iter(self._get(key, "")), None)

    def _get(self, key, how):
        return [KeyValue("/" + pair["Key"], base64.b64decode(pair["Value"] or "").decode(errors="replace"),
                         pair["ModifyIndex"], pair["CreateIndex"], pair["LockIndex"], pair.get("Session", ""))
                for pair in self._ask(f"{_path(key)}?consistent{how}")]

    def sessions(self):
        """All of them, as Consul tells them: a list of dicts."""
        return self._ask("/session/list")

    def destroy(self, session):
        """End a session; what is locked by it goes."""
        self._ask(f"/session/destroy/{session}", "PUT")


def _path(key):
    return "/kv/" + urllib.parse.quote(key.removeprefix("/"))
