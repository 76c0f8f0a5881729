# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Hosts that write leases through a controller, and a ledger of its answers to hold its store against after a crash.

    ledger = Ledger()
    with Writers(connect, ledger, seed) as writers:     # connect() gives a socket to the controller
        writers.wait_acknowledged(500)
        ...                                             # kill it
    ...                                                 # start it again
    ledger.settle(Api(connect))                         # LostWrite: what was answered is not what is there

A write is acknowledged (it was answered), refused (a compare did not hold) or open (the answer never came: it may
have been done). Several hosts want the same few subnets, so that most claims meet another one.
"""

import http.client
import json
import random
import socket
import threading

from lab import LabError, wait_for
from lab.fabric import PREFIX
from many_leases import lease_address, lease_key, lease_mac

LEASES = f"{PREFIX}/subnets/"
HOSTS = 8
SUBNETS = 48
TTL_S = 3600
TIMEOUT_S = 30


class LostWrite(AssertionError):
    """The store is not what its answers said."""


class Refused(LabError):
    """The controller said no, and did nothing."""

    def __init__(self, status, code, text):
        super().__init__(f"{status} {code}: {text}")
        self.code = code
        self.text = text


class Unanswered(LabError):
    """No answer came, or one that says as much: it may have been done."""


class Connection(http.client.HTTPConnection):
    """One to the controller, over the sockets that connect() gives."""

    def __init__(self, connect):
        super().__init__("controller", timeout=TIMEOUT_S)
        self._connect = connect

    def connect(self):
        self.sock = self._connect()
        self.sock.settimeout(TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Api:
    """Version 2 of the controller's API over one connection at a time."""

    def __init__(self, connect):
        self._connection = Connection(connect)

    def close(self):
        self._connection.close()

    def post(self, path, **request):
        """The answer's lines, parsed."""
        try:
            self._connection.request("POST", f"/v2/{path}", json.dumps(request))
            response = self._connection.getresponse()
            lines = [json.loads(line) for line in response.read().splitlines()]
        except (OSError, http.client.HTTPException, ValueError) as e:
            self.close()
            raise Unanswered(f"{path}: {e!r}") from None
        if response.status == 200:
            return lines
        error = lines[0]["error"]
        if response.status == 504:
            raise Unanswered(f"{path}: {error['text']}")
        raise Refused(response.status, error["code"], error["text"])

    def txn(self, compare, write):
        """(did it succeed, the store's revision then)"""
        answer = self.post("txn", compares=[compare], writes=[write])[0]
        return answer["succeeded"], answer["header"]["revision"]

    def put(self, key, value):
        """Whatever is there; the revision."""
        return self.post("txn", compares=[], writes=[{"key": key, "value": value}])[0]["header"]["revision"]

    def range(self, prefix):
        """({key: pair}, revision), of all keys that begin with it."""
        *pairs, last = self.post("range", prefix=prefix)
        if "header" not in last:
            raise Unanswered(f"the range of {prefix} was cut short")
        return {line["pair"]["key"]: line["pair"] for line in pairs}, last["header"]["revision"]

    def open_session(self, ttl_s):
        return self.post("session/open", ttl_s=ttl_s)[0]["session"]

    def keep_alive(self, session):
        return self.post("session/keep-alive", session=session)[0]["ttl_s"]

    def session_left(self, session):
        """Its whole seconds; None: there is no such session."""
        try:
            return self.post("session/query", session=session)[0]["ttl_s"]
        except Refused as e:
            if e.code != "no-session":
                raise
            return None


class Write:
    """One write of a lease under one compare: of its absence (expected None), or of the revision it was written at.

    A state of a key is None or (value, revision); the revision of an open write is not known (None).
    """

    def __init__(self, key, expected, value, session=0):
        self.key = key
        self.expected = expected
        self.value = value          # None: it is deleted
        self.session = session
        self.revision = None        # of its answer

    def compare(self):
        return {"key": self.key, **({"exists": False} if self.expected is None else {"mod": self.expected})}

    def write(self):
        return {"key": self.key, **({"delete": True} if self.value is None
                                    else {"value": self.value, "session": self.session})}

    def fits(self, state):
        return state is None if self.expected is None else state is not None and state[1] == self.expected

    def result(self):
        return None if self.value is None else (self.value, self.revision)


class Ledger:
    """What must be in the store, by its own answers."""

    def __init__(self):
        self._lock = threading.Condition()
        self._settled = {}          # key: (value, revision)
        self._sessions = set()
        self._acknowledged = {}     # key: [Write], since it was settled
        self._open = {}
        self.revision = 0
        self.acknowledged = 0
        self.refused = 0
        self.open = 0
        self.open_done = 0          # of these: found in the store

    def note_session(self, session):
        with self._lock:
            self._sessions.add(session)

    def note_acknowledged(self, write, revision):
        with self._lock:
            write.revision = revision
            self._acknowledged.setdefault(write.key, []).append(write)
            self.revision = max(self.revision, revision)
            self.acknowledged += 1
            self._lock.notify_all()

    def note_refused(self):
        with self._lock:
            self.refused += 1

    def note_open(self, write):
        with self._lock:
            self._open.setdefault(write.key, []).append(write)
            self.open += 1

    def wait_acknowledged(self, count, timeout):
        """Until so many are acknowledged in all."""
        with self._lock:
            return self._lock.wait_for(lambda: self.acknowledged >= count, timeout)

    def _with_open(self, key, states):
        """And those that open writes may have made of them."""
        states = list(states)
        for state in states:        # it grows meanwhile
            states += [w.result() for w in self._open.get(key, [])
                       if w.fits(state) and w.result() not in states]
        return states

    def _possible(self, key):
        """The states in which a key may be now; a write whose compare cannot have held is a subnet of two owners."""
        states = self._with_open(key, [self._settled.get(key)])
        for write in sorted(self._acknowledged.get(key, []), key=lambda w: w.revision):
            if not any(write.fits(state) for state in states):
                raise LostWrite(f"{key}: a write was acknowledged that does not fit: {write.value} expected"
                                f" {write.expected}, and there was {states}")
            states = self._with_open(key, [write.result()])
        return states

    def settle(self, api, timeout=30):
        """Hold the store against the ledger, and go on from what is there."""
        pairs, revision = wait_for(lambda: api.range(LEASES), "the leases", timeout)
        if revision < self.revision:
            raise LostWrite(f"the store is at revision {revision}, and {self.revision} was acknowledged")
        for key in {*pairs, *self._settled, *self._acknowledged, *self._open}:
            self._settle_key(key, pairs.get(key))
        for session in self._sessions:
            if api.session_left(session) is None:
                raise LostWrite(f"the session {session} was acknowledged and is not there")
        self._settled = {key: (pair["value"], pair["mod"]) for key, pair in pairs.items()}
        self._acknowledged.clear()
        self._open.clear()
        self._sessions.clear()      # the leases that are tied to them stay in the ledger
        self.revision = revision

    def _settle_key(self, key, pair):
        states = self._possible(key)
        found = (pair["value"], pair["mod"]) if pair else None
        if found not in states:
            if not found or (found[0], None) not in states:
                raise LostWrite(f"{key}: there is {found}, and it must be {' or '.join(map(str, states))}")
        self.open_done += any(w.value == (found and found[0]) for w in self._open.get(key, []))

    def owned_by(self, address):
        """{key: revision} of what this host has."""
        return {key: revision for key, (value, revision) in self._settled.items()
                if json.loads(value)["PublicIP"] == address}

    def __str__(self):
        return (f"{self.acknowledged} writes acknowledged, {self.refused} refused to the slower of two hosts,"
                f" {self.open} open of which {self.open_done} were done")


class Host(threading.Thread):
    """Claims, changes and gives up subnets, one write after the other, until it gets no answer or is told to end."""

    def __init__(self, number, connect, ledger, seed):
        super().__init__(daemon=True)
        self._number = number
        self._address = lease_address(number)
        self._api = Api(connect)
        self._ledger = ledger
        self._random = random.Random(f"{seed}-{number}")
        self._own = ledger.owned_by(self._address)
        self._session = 0
        self._serial = 0
        self.ends = False
        self.failure = None

    def run(self):
        try:
            self._session = self._api.open_session(TTL_S)
            self._ledger.note_session(self._session)
            while not self.ends:
                self._write_one()
        except Unanswered:
            pass                    # what was asked for is noted
        except Exception as e:      # shown by Writers
            self.failure = e
        finally:
            self._api.close()

    def _value(self):
        self._serial += 1
        return json.dumps({"PublicIP": self._address, "PublicIPv6": None, "BackendType": "vxlan",
                           "BackendData": {"VNI": 12345, "VtepMAC": lease_mac(self._number)},
                           "Serial": f"{self._session:x}-{self._serial}"}, separators=(",", ":"))

    def _choose(self):
        key = LEASES + lease_key(self._random.randrange(SUBNETS))
        if self._own and self._random.random() < 0.7:
            key = self._random.choice(sorted(self._own))
        expected = self._own.get(key)
        gives_up = expected is not None and self._random.random() < 0.6
        return Write(key, expected, None if gives_up else self._value(), self._session)

    def _write_one(self):
        write = self._choose()
        try:
            succeeded, revision = self._api.txn(write.compare(), write.write())
        except Unanswered:
            self._ledger.note_open(write)
            raise
        if not succeeded:
            self._ledger.note_refused()
            return
        self._ledger.note_acknowledged(write, revision)
        if write.value is None:
            del self._own[write.key]
        else:
            self._own[write.key] = revision


class Writers:
    """Some hosts that write at the same time."""

    def __init__(self, connect, ledger, seed):
        self._ledger = ledger
        self._hosts = [Host(number, connect, ledger, seed) for number in range(HOSTS)]
        self._before = ledger.acknowledged

    def __enter__(self):
        for host in self._hosts:
            host.start()
        return self

    def __exit__(self, kind, *ignored):
        for host in self._hosts:
            host.ends = True
        for host in self._hosts:
            host.join(2 * TIMEOUT_S)
        failures = [host.failure for host in self._hosts if host.failure]
        if failures and kind is None:
            raise failures[0]

    def wait_acknowledged(self, count, timeout=60):
        """Until so many more writes are acknowledged."""
        if not self._ledger.wait_acknowledged(self._before + count, timeout):
            failures = [str(host.failure) for host in self._hosts if host.failure]
            raise LabError(f"only {self._ledger.acknowledged - self._before} of {count} writes were acknowledged in"
                           f" {timeout} s; {failures}")
