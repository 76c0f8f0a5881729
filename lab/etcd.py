# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A real etcd of one or three members, each on a node of its own on the underlay."""

import base64
import dataclasses
import json
import os
import shutil
import ssl

from . import http
from .errors import LabError
from .netns import Node
from .process import run, wait_for
from .underlay import Interface

CLIENT_PORT = 2379
PEER_PORT = 2380
ROOMY = 1 << 30     # bytes that must be free where the data goes: a member preallocates 128 MB


@dataclasses.dataclass(frozen=True)
class KeyValue:
    """One pair of a store; lease is 0 for a key without one, version None where the store has none."""

    key: str
    value: str
    mod_revision: int
    create_revision: int
    version: int
    lease: int

    def json(self):
        return json.loads(self.value)


class Member(Node):
    """One etcd process on its own node; its interface is on the segment like any host's."""

    kind = "etcd"

    def __init__(self, etcd, name, segment):
        super().__init__(etcd.lab, name)
        self.etcd = etcd
        number = segment.next_number("service")
        self.interface = Interface(self, segment, segment.address(4, number),
                                   segment.address(6, number))
        self.address = str((self.interface.v4 or self.interface.v6).ip)
        self.data = etcd.data_root / name
        self.process = None

    def _url(self, port, scheme=None):
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{scheme or self.etcd.scheme}://{host}:{port}"

    @property
    def client_url(self):
        return self._url(CLIENT_PORT)

    @property
    def peer_url(self):
        return self._url(PEER_PORT, "http")

    def start(self):
        """Start the process with the data that is there; does not wait."""
        if self.alive():
            raise LabError(f"{self.name} is running already")
        cluster = ",".join(f"{m.name}={m.peer_url}" for m in self.etcd.members)
        words = ["etcd", "--name", self.name, "--data-dir", self.data,
                 "--logger", "zap", "--log-outputs", "stderr",
                 "--listen-client-urls", self.client_url,
                 "--advertise-client-urls", self.client_url,
                 "--listen-peer-urls", self.peer_url,
                 "--initial-advertise-peer-urls", self.peer_url,
                 "--initial-cluster", cluster, "--initial-cluster-state", "new",
                 "--initial-cluster-token", f"{self.lab.prefix}-{self.etcd.generation}"]
        if len(self.etcd.members) == 1:     # nobody to agree with: be up in a fifth of a second
            words += ["--heartbeat-interval", "20", "--election-timeout", "200"]
        if self.etcd.tls:
            words += ["--cert-file", self.etcd.tls / "server.crt",
                      "--key-file", self.etcd.tls / "server.key"]
            if self.etcd.client_certificates:
                words += ["--trusted-ca-file", self.etcd.tls / "ca.crt", "--client-cert-auth"]
        self.process = self.spawn(*words, *self.etcd.flags, name="etcd")

    def alive(self):
        return self.process is not None and self.process.alive()

    def stop(self, timeout=20):
        """SIGTERM and wait; without quorum etcd takes up to 10 s."""
        return self.process.terminate(timeout) if self.alive() else None

    def kill(self):
        """SIGKILL, as in a crash."""
        return self.process.kill() if self.alive() else None

    def pause(self):
        """SIGSTOP: a member that hangs."""
        self.process.pause()

    def resume(self):
        self.process.resume()

    def wipe(self):
        """Lose all data; the member must be down."""
        if self.alive():
            raise LabError(f"{self.name} must be stopped before its data is removed")
        shutil.rmtree(self.data, ignore_errors=True)

    def restart(self, empty=False):
        """Stop if it runs, lose all data if empty, start and wait until it answers."""
        self.stop()
        if empty:
            self.wipe()
        self.start()
        self.wait_ready()

    def request(self, url, method="GET", body=None, timeout=5, headers=None):
        """(status, text) of an HTTP request to the client port, made on the member's own node."""
        return http.tcp_request(self, self.address, CLIENT_PORT, url, method, body, timeout,
                                self.etcd.tls_context(), headers)

    def healthy(self):
        code, text = self.request("/health")
        return code == 200 and json.loads(text).get("health") == "true"

    def wait_ready(self, timeout=20):
        def ready_or_ended():
            return not self.alive() or self.healthy()
        wait_for(ready_or_ended, f"etcd member {self.name} to answer", timeout)
        if not self.alive():
            raise LabError(f"etcd member {self.name} ended; its log:\n{self.process.log()[-2000:]}")


class Etcd:
    """The cluster, and its data as an operator with etcdctl sees it."""

    def __init__(self, lab, segment, members=1, tls=False, client_certificates=False, flags=(),
                 name="etcd"):
        self.lab = lab
        self.name = name
        self.flags = [str(f) for f in flags]
        self.scheme = "https" if tls else "http"
        self.client_certificates = client_certificates
        self.user = None            # (name, password) once enable_auth() was called
        self.generation = 1
        self.tls = None
        self.data_root = lab.fast_directory(ROOMY) / f"{name}-data"
        self.data_root.mkdir()
        names = [name] if members == 1 else [f"{name}{i + 1}" for i in range(members)]
        self.members = []
        for member_name in names:
            self.members.append(Member(self, member_name, segment))
        if tls:
            self.tls = make_certificates(lab.directory / f"{name}-tls",
                                         [m.address for m in self.members])
        self.start()

    @property
    def endpoints(self):
        """As the flag -etcd-endpoints takes them."""
        return ",".join(m.client_url for m in self.members)

    def agent_flags(self):
        """The flags with which weftd and weft reach this cluster."""
        flags = [f"-etcd-endpoints={self.endpoints}"]
        if self.tls:
            flags.append(f"-etcd-cafile={self.tls / 'ca.crt'}")
        if self.client_certificates:
            flags += [f"-etcd-certfile={self.tls / 'client.crt'}",
                      f"-etcd-keyfile={self.tls / 'client.key'}"]
        if self.user:
            flags += [f"-etcd-username={self.user[0]}", f"-etcd-password={self.user[1]}"]
        return flags

    def tls_context(self):
        if not self.tls:
            return None
        context = ssl.create_default_context(cafile=str(self.tls / "ca.crt"))
        if self.client_certificates:
            context.load_cert_chain(self.tls / "client.crt", self.tls / "client.key")
        return context

    # All members at once

    def start(self):
        for member in self.members:
            member.start()
        for member in self.members:
            member.wait_ready()

    def wait_ready(self, timeout=20):
        """Wait until the members that run have a leader and answer."""
        for member in self.members:
            if member.alive():
                member.wait_ready(timeout)

    def stop(self):
        for member in self.members:
            if member.alive():
                member.process.ask_to_end()
        for member in self.members:
            if member.process:
                member.process.wait_or_kill(20)

    def kill(self):
        for member in self.members:
            member.kill()

    def pause(self):
        for member in self.members:
            member.pause()

    def resume(self):
        for member in self.members:
            member.resume()

    def restart(self, empty=False):
        """Kill all, lose all data if empty (the cluster gets another id), start, wait."""
        self.kill()
        if empty:
            self.generation += 1
            for member in self.members:
                member.wipe()
        self.start()

    # The data

    def ctl(self, *argv, check=True, member=None, timeout=30, stdin=None):
        """etcdctl (API 3) against this cluster; CompletedProcess."""
        words = ["etcdctl", f"--endpoints={member.client_url if member else self.endpoints}"]
        if self.tls:
            words.append(f"--cacert={self.tls / 'ca.crt'}")
        if self.client_certificates:
            words += [f"--cert={self.tls / 'client.crt'}", f"--key={self.tls / 'client.key'}"]
        if self.user:
            words.append(f"--user={self.user[0]}:{self.user[1]}")
        runner = member or next((m for m in self.members if m.alive()), self.members[0])
        return runner.run(*words, *argv, check=check, timeout=timeout, stdin=stdin,
                          env={**os.environ, "ETCDCTL_API": "3"})

    def put(self, key, value, lease=None):
        """value: text, or anything that is written as JSON; lease: an id as grant() returns."""
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        words = ["put"] + ([f"--lease={lease:x}"] if lease else [])
        self.ctl(*words, key, stdin=text)

    def delete(self, key, prefix=False):
        """How many keys went."""
        return int(self.ctl("del", *(["--prefix"] if prefix else []), key).stdout.strip())

    def range(self, prefix, serializable=False):
        """Every pair below prefix, as KeyValues in key order."""
        return self._get(prefix, "--prefix", *(["--consistency=s"] if serializable else []))

    def get(self, key):
        """The KeyValue of one key, or None."""
        return next(iter(self._get(key)), None)

    def _get(self, key, *flags):
        answer = json.loads(self.ctl("get", "-w", "json", *flags, key).stdout)
        return [KeyValue(base64.b64decode(kv["key"]).decode(errors="replace"),
                         base64.b64decode(kv.get("value", "")).decode(errors="replace"),
                         kv["mod_revision"], kv["create_revision"], kv["version"],
                         kv.get("lease", 0)) for kv in answer.get("kvs", [])]

    def revision(self):
        answer = json.loads(self.ctl("get", "-w", "json", "\x01no-such-key").stdout)
        return answer["header"]["revision"]

    def compact(self, revision=None):
        """Forget history up to revision, or up to now."""
        self.ctl("compact", "--physical", str(revision or self.revision()))

    def grant(self, ttl):
        """A new etcd lease; its id."""
        return json.loads(self.ctl("lease", "grant", "-w", "json", str(ttl)).stdout)["ID"]

    def revoke(self, lease):
        self.ctl("lease", "revoke", f"{lease:x}")

    def leases(self):
        """The ids of all live etcd leases."""
        answer = json.loads(self.ctl("lease", "list", "-w", "json").stdout)
        return [entry["id"] for entry in answer.get("leases") or []]

    def metric(self, name, **labels):
        """The sum over the living members of one of etcd's own metrics (etcdctl counts too)."""
        total = 0
        for member in self.members:
            if member.alive():
                code, text = member.request("/metrics")
                if code != 200:
                    raise LabError(f"{member.name}: GET /metrics: {code}")
                total += http.sum_metric(http.parse_metrics(text), name, labels)
        return total

    def enable_auth(self, user="root", password="secret", role_prefix=None):
        """Users from now on; user "root" may do all, another one only what is below role_prefix."""
        self.ctl("user", "add", "root:" + ("secret" if user != "root" else password))
        self.ctl("user", "grant-role", "root", "root")
        if user != "root":
            self.ctl("role", "add", user)
            self.ctl("role", "grant-permission", user, "--prefix=true", "readwrite", role_prefix)
            self.ctl("user", "add", f"{user}:{password}")
            self.ctl("user", "grant-role", user, user)
        self.ctl("auth", "enable")
        self.user = (user, password)


def make_certificates(directory, addresses):
    """An authority, a server certificate for these addresses and a client's, in directory."""
    directory.mkdir()
    names = ",".join(f"IP:{a}" for a in addresses) + ",IP:127.0.0.1,DNS:localhost"

    def openssl(*argv):
        run(["openssl", *argv])

    def key(name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout",
                "-out", directory / f"{name}.key")

    key("ca")
    openssl("req", "-x509", "-new", "-key", directory / "ca.key", "-subj", "/CN=laboratory",
            "-days", "2", "-out", directory / "ca.crt")
    for name, usage in (("server", "serverAuth,clientAuth"), ("client", "clientAuth")):
        key(name)
        extensions = directory / f"{name}.ext"
        extensions.write_text(f"extendedKeyUsage={usage}\n"
                              + (f"subjectAltName={names}\n" if name == "server" else ""),
                              encoding="ascii")
        # etcd's gateway refuses a client's common name once it has users.
        openssl("req", "-new", "-key", directory / f"{name}.key", "-subj", f"/O={name}",
                "-out", directory / f"{name}.csr")
        openssl("x509", "-req", "-in", directory / f"{name}.csr", "-CA", directory / "ca.crt",
                "-CAkey", directory / "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", extensions, "-out", directory / f"{name}.crt")
    return directory
