# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft where the store changes while it works, or holds very many leases. The store is made up."""

import base64
import http.server
import json
import subprocess
import threading

import pytest

from lab.agent import clean_environment, operator_binary

OK, FAILED = 0, 1
TIMEOUT_S = 60
PREFIX = "/coreos.com/network"
HEADER = {"cluster_id": "1", "member_id": "2", "revision": "9", "raft_term": "2"}


def encode(text):
    return base64.b64encode(text.encode()).decode()


class FakeStore:
    """etcd's JSON gateway with some pairs, in which no transaction ever succeeds.

    current: what a failed transaction finds under the compared key; None: nothing. ttl: what a session
    still has. together: how many questions for sessions were under way at once, at the most.
    """

    def __init__(self):
        self.pairs = {}             # key -> (value, session)
        self.current = None
        self.revision = 5           # of all pairs; another's after the first transaction
        self.ttl = 100
        self.questions = self.together = self.now = 0
        self.lock = threading.Lock()
        self.all_asked = threading.Event()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = json.dumps(store.answer(self.path, request)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, path, request):
        if path.endswith("/kv/range"):
            return self.range(request)
        if path.endswith("/kv/txn"):
            self.revision = 8
            kvs = [self.pair("x", self.current, 0, 8)] if self.current else []
            return {"header": HEADER, "responses": [{"response_range": {"header": HEADER, "kvs": kvs}}]}
        if path.endswith("/lease/timetolive"):
            return self.session(request)
        return {"header": HEADER}

    @staticmethod
    def pair(key, value, session, revision):
        return {"key": encode(key), "value": encode(value), "create_revision": "3", "version": "1",
                "mod_revision": str(revision), "lease": str(session)}

    def range(self, request):
        key, end = (base64.b64decode(request.get(name, "")).decode() for name in ("key", "range_end"))
        kvs = [self.pair(k, value, session, self.revision) for k, (value, session) in sorted(self.pairs.items())
               if (key <= k < end if end else k == key)]
        return {"header": HEADER, "kvs": kvs, "count": str(len(kvs))}

    def session(self, request):
        with self.lock:
            self.questions += 1
            self.now += 1
            self.together = max(self.together, self.now)
            if self.now > 1:
                self.all_asked.set()
        self.all_asked.wait(1)      # one alone is one too few at once
        with self.lock:
            self.now -= 1
        return {"header": HEADER, "ID": request["ID"], "TTL": str(self.ttl), "grantedTTL": "200"}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def store():
    fake = FakeStore()
    yield fake
    fake.close()


def weft(store, *words, code=OK):
    done = subprocess.run([operator_binary(), f"--etcd-endpoints={store.url}", *words],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                          env=clean_environment())
    assert done.returncode == code, f"weft {words}: {done}"
    return done


@pytest.mark.parametrize("before", [None, '{"Network":"10.1.0.0/16"}'])
def test_config_that_another_changes_meanwhile(store, before):
    if before:
        store.pairs[f"{PREFIX}/config"] = (before, 0)
    store.current = '{"Network":"10.3.0.0/16"}'
    done = weft(store, "network", "set", '{"Network":"10.2.0.0/16"}', code=FAILED)
    assert "somebody else changed it" in done.stderr and not done.stdout


@pytest.mark.parametrize("key, value", [("10.1.3.0-24", '{"PublicIP":"192.0.2.3"}'), ("junk", "x")])
def test_lease_that_is_written_meanwhile(store, key, value):
    store.pairs[f"{PREFIX}/subnets/{key}"] = (value, 0)
    store.current = '{"PublicIP":"192.0.2.4"}'
    assert "wrote it anew" in weft(store, "lease", "rm", key, code=FAILED).stderr


def test_session_that_is_gone(store):
    store.pairs[f"{PREFIX}/subnets/10.1.3.0-24"] = ('{"PublicIP":"192.0.2.3"}', 77)
    store.ttl = -1
    assert json.loads(weft(store, "lease", "list", "--json").stdout)["leases"][0]["expires_in_s"] == 0


def test_expiry_of_very_many_leases(store):
    for i in range(1100):
        store.pairs[f"{PREFIX}/subnets/10.{i // 250}.{i % 250}.0-24"] = (
            json.dumps({"PublicIP": f"192.{i // 250}.{i % 250}.1"}), 77 + i)
    lines = weft(store, "lease", "list").stdout.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["1m40s"] * 1000 + ["?"] * 100
    assert store.questions == 1000      # each is a request of its own
    assert 1 < store.together <= 32
