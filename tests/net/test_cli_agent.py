# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft status, watch, plan and help: what they make of an agent's answers. The agent is made up."""

import json
import os
import socket
import subprocess
import threading

import pytest

from lab.agent import REPOSITORY, clean_environment, operator_binary

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE = range(5)
TIMEOUT_S = 30
COMPLETION = REPOSITORY / "packaging/bash-completion/weft"

LEASE = {"subnet": "10.1.5.0/24", "ipv6_subnet": None, "public_ip": "192.0.2.1",
         "public_ipv6": None, "state": "held", "error": "",
         "expires_in_s": 86001, "reservation": False, "session": "75"}
STATUS = {
    "version": "0.1.0", "pid": 42, "uptime_s": 7384, "ready": True, "reasons": [],
    "network": {"prefix": "/coreos.com/network", "network": "10.1.0.0/16", "ipv6_network": None,
                "subnet_len": 24, "error": ""},
    "lease": LEASE,
    "store": {"kind": "etcd3", "endpoint": "http://192.0.2.9:2379", "up": True, "since_s": 7380,
              "error": "", "requests": 9, "failures": 0, "events": 3, "watch_restarts": 0},
    "backend": {"type": "vxlan", "error": "", "devices": [
        {"name": "flannel.1", "mtu": 1450, "mac": "0a:11:22:33:44:55", "vni": 1, "port": 8472}]},
    "interface": {"name": "eth0", "ip": "192.0.2.1", "ipv6": None, "mtu": 1500},
    "peers": {"total": 2, "programmed": 2, "failed": 0, "held": 0, "rejected": 0, "ignored": 0},
    "repairs": {"total": 0, "by_kind": {"route": 0, "neighbour": 0}, "last": ""},
    "wars": [], "restart_needed": [],
    "netlink": {"messages": 1, "sends": 1, "failed": 0, "dumps": 6},
    "settings": {"store": "etcd3", "endpoints": ["http://127.0.0.1:1"], "prefix": "/of/the/agent",
                 "etcd_cafile": "", "etcd_certfile": "", "etcd_keyfile": "", "etcd_username": "",
                 "remote_cafile": "", "remote_certfile": "", "remote_keyfile": "", "pin": "",
                 "token_file": ""},
}


def peer(number, **others):
    return {"subnet": f"10.1.{number}.0/24", "ipv6_subnet": None, "public_ip": f"192.0.2.{number}",
            "public_ipv6": None, "backend_type": "vxlan", "state": "ok", "path": "vxlan", "why": "",
            "error": "", "mac": f"0a:00:00:00:00:{number:02x}", **others}


class FakeAgent:
    """Answers on a unix socket what answers says: path -> JSON, or bytes as they are."""

    def __init__(self, path):
        self.path = str(path)
        self.answers = {"/agent/v1/status": STATUS,
                        "/agent/v1/peers": {"peers": [peer(20), peer(7)]}}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.release = threading.Event()    # set: connections of "hold" are closed
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    return
                head += piece
            answer = self.answers.get(head.split()[1].decode(), b"")
            if isinstance(answer, bytes):
                connection.sendall(answer)
                if answer.endswith(b"\n") and b"Content-Length" not in answer:
                    self.release.wait(TIMEOUT_S)
                return
            body = json.dumps(answer).encode() + b"\n"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               b"Connection: close\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def close(self):
        self.release.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def agent(tmp_path):
    fake = FakeAgent(tmp_path / "weft.sock")
    yield fake
    fake.close()


def run(*words, env=None, **kwargs):
    """weft with these words to its end, in bytes."""
    kwargs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
    return subprocess.run([operator_binary(), *map(str, words)], timeout=TIMEOUT_S, check=False,
                          env={**clean_environment(), **(env or {})}, **kwargs)


def weft(*words, agent=None, code=OK, env=None):
    flags = [f"--socket={agent.path}"] if agent else []
    done = run(*words, *flags, env=env, text=True)
    assert done.returncode == code, f"weft {words}: {done.returncode}: {done.stdout}{done.stderr}"
    assert "\x1b" not in done.stdout + done.stderr
    if code in (USAGE, NOT_FOUND, UNREACHABLE):
        assert done.stderr.startswith("weft: ") and done.stderr.count("\n") == 1
    return done


# status

def test_status_of_a_healthy_agent(agent):
    assert weft("status", agent=agent).stdout.splitlines() == [
        "weftd 0.1.0, pid 42, up 2h03m: ready",
        "",
        "network   10.1.0.0/16, a /24 for each host (/coreos.com/network)",
        "lease     10.1.5.0/24 for 192.0.2.1, held, would expire in 23h53m",
        "store     etcd3 http://192.0.2.9:2379, up for 2h03m",
        "backend   vxlan over eth0 (192.0.2.1, mtu 1500)",
        "devices   flannel.1, mtu 1450, mac 0a:11:22:33:44:55, vni 1, port 8472",
        "peers     2, 2 programmed",
        "drift     nothing had to be repaired",
        "",
        "PEER          PUBLIC-IP   STATE  PATH   MAC                REMARK",
        "10.1.7.0/24   192.0.2.7   ok     vxlan  0a:00:00:00:00:07  -",
        "10.1.20.0/24  192.0.2.20  ok     vxlan  0a:00:00:00:00:14  -",
    ]


def test_status_tells_of_the_firewall(agent):
    rules = {"way": "nftables", "masquerades": True, "accepts_forwarded": True, "rules": 7, "in_order": True,
             "error": "", "warning": "", "repairs": 2}

    def lines(**changed):
        agent.answers["/agent/v1/status"] = {**STATUS, "firewall": {**rules, **changed}}
        return weft("status", agent=agent).stdout.splitlines()
    assert "firewall  nftables, 7 rules: masquerades what leaves the network, accepts what is forwarded," \
           " repaired 2 times" in lines()
    assert "firewall  nftables, 2 rules: accepts what is forwarded" in lines(masquerades=False, rules=2, repairs=0)
    assert "firewall  no rules" in lines(masquerades=False, accepts_forwarded=False)
    assert "  firewall  nftables: out of? luck" in lines(error="nftables: out of\x1b luck")
    assert "  firewall  chain x drops" in lines(warning="chain x drops")
    assert "  firewall  another program keeps undoing our rules; find it, weft waits before it repairs again" \
        in lines(held_s=20)


def test_status_of_a_troubled_agent(agent):
    agent.answers["/agent/v1/status"] = {
        **STATUS, "ready": False,
        "reasons": ["lease lost: the key was deleted", "store not reached for 45 s: x"],
        "lease": {**LEASE, "state": "lost", "error": "the key was deleted"},
        "store": {**STATUS["store"], "up": False, "since_s": 45, "error": "connection refused"},
        "peers": {"total": 2, "programmed": 1, "failed": 1, "held": 0, "rejected": 1, "ignored": 0},
        "repairs": {"total": 3, "by_kind": {"route": 2, "neighbour": 1, "fdb": 0},
                    "last": "route 10.1.7.0/24", "last_age_s": 5},
        "wars": [{"object": "route 10.1.7.0/24\x1b[31m", "count": 6}],
        "restart_needed": ["Backend.VNI 1 -> 7"],
    }
    agent.answers["/agent/v1/peers"] = {"peers": [
        peer(7), peer(20, state="failed", error="Network is unreachable"),
        {"state": "rejected", "error": "not valid JSON", "key": "10.1.3.0-24", "path": "größer"}]}
    lines = weft("status", agent=agent, code=FAILED).stdout.splitlines()
    assert lines[0] == "weftd 0.1.0, pid 42, up 2h03m: not ready"
    assert lines[2:9] == [
        "PROBLEMS",
        "  not ready lease lost: the key was deleted",
        "            store not reached for 45 s: x",
        "  war       another program keeps undoing route 10.1.7.0/24?[31m (6 times);"
        " find it, weft waits before it repairs again",
        "  restart   restart weftd to take over: Backend.VNI 1 -> 7",
        "  peers     1 failed: could not be programmed; retried",
        "            1 rejected: break a rule and are not programmed"]
    assert "lease     10.1.5.0/24 for 192.0.2.1, lost" in lines
    assert "drift     3 repaired (2 route, 1 neighbour); last 5s ago: route 10.1.7.0/24" in lines
    # trouble first
    assert [line.split()[0] for line in lines[-3:]] == [
        "10.1.3.0-24", "10.1.20.0/24", "10.1.7.0/24"]
    assert lines[-2].endswith("Network is unreachable")
    # columns are letters, not bytes
    assert lines[-3].index("not valid JSON") == lines[-2].index("Network is unreachable")


def test_status_that_is_ready_in_spite_of_trouble(agent):
    agent.answers["/agent/v1/status"] = {
        **STATUS, "store": {**STATUS["store"], "up": False, "since_s": 5,
                            "error": "timed out", "endpoint": ""}}
    out = weft("status", agent=agent).stdout
    assert ": ready\n\nPROBLEMS\n  store     not reached for 5s: timed out; traffic goes on" in out
    assert "\nstore     etcd3, not reached for 5s\n" in out


def test_status_before_the_first_lease(agent):
    agent.answers["/agent/v1/status"] = {
        **STATUS, "ready": False, "reasons": ["no network config"], "interface": None,
        "lease": {**LEASE, "subnet": None, "public_ip": None, "state": "none"},
        "backend": {"type": None, "devices": [], "error": ""},
        "network": {**STATUS["network"], "network": None, "subnet_len": 0}}
    out = weft("status", agent=agent, code=FAILED).stdout
    assert "lease     none yet\n" in out and "network   none (/coreos.com/network)\n" in out
    assert "backend   none\n" in out


def test_status_of_many_peers(agent):
    agent.answers["/agent/v1/peers"] = {"peers": [peer(n) for n in range(100, 0, -1)]}
    agent.answers["/agent/v1/status"] = {
        **STATUS, "peers": {**STATUS["peers"], "total": 100, "programmed": 100}}
    lines = weft("status", agent=agent).stdout.splitlines()
    assert lines[-1] == "... and 80 more; --peers lists all"
    lines = weft("status", "--peers", agent=agent).stdout.splitlines()
    assert [line.split()[0] for line in lines[-100:]] == [f"10.1.{n}.0/24" for n in range(1, 101)]


def test_status_for_programs(agent):
    assert json.loads(weft("status", "--json", agent=agent).stdout) == STATUS
    with_peers = json.loads(weft("status", "--json", "--peers", agent=agent).stdout)
    assert with_peers == {**STATUS, "peer_list": [peer(7), peer(20)]}


@pytest.mark.parametrize("answer, told", [
    (b"HTTP/1.1 503 X\r\nContent-Length: 20\r\n\r\n{\"error\":\"too busy\"}", "too busy"),
    (b"HTTP/1.1 403 X\r\nContent-Length: 2\r\n\r\nno", "403"),
])
def test_agent_that_refuses(agent, answer, told):
    agent.answers["/agent/v1/status"] = answer
    assert told in weft("status", agent=agent, code=FAILED).stderr


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot JSON\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{}",
    b"nonsense", b"",
])
def test_agent_that_makes_no_sense(agent, answer):
    agent.answers["/agent/v1/status"] = answer
    weft("status", agent=agent, code=UNREACHABLE)


@pytest.mark.parametrize("answer", [
    {}, {"lease": 5, "peers": []}, [], "x", {"wars": [1], "reasons": [None]}])
def test_status_of_another_shape_does_no_harm(agent, answer):
    agent.answers["/agent/v1/status"] = answer
    weft("status", agent=agent, code=FAILED)


def test_no_agent(tmp_path):
    path = tmp_path / "weft.sock"
    for command in ("status", "watch", "plan"):
        assert "is weftd running" in weft(command, f"--socket={path}", code=UNREACHABLE).stderr
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.close()
    assert "start weftd" in weft("status", f"--socket={path}", code=UNREACHABLE).stderr


# plan

def test_plan(agent):
    agent.answers["/agent/v1/plan"] = {"changes": [], "total": 0}
    assert weft("plan", agent=agent).stdout == "nothing to change: the kernel is as it should be\n"
    change = {"verb": "create", "kind": "route", "object": "10.1.7.0/24 dev flannel.1"}
    agent.answers["/agent/v1/plan"] = {"changes": [change], "total": 5}
    assert weft("plan", agent=agent).stdout.splitlines() == [
        "VERB    KIND   OBJECT", "create  route  10.1.7.0/24 dev flannel.1", "... and 4 more"]
    assert json.loads(weft("plan", "--json", agent=agent).stdout) == {
        "changes": [change], "total": 5}


# watch

EVENTS = rb"""
{"time":"2026-01-02T03:04:05.006Z","event":"heartbeat"}
{"time":"2026-01-02T03:04:05.006Z","event":"peer-added","subnet":"10.1.2.0/24","mac":null,"x":""}
{"time":"2026-01-02T03:04:06.007Z","event":"war","object":"route \u001b[31m","count":3}
""".lstrip()
ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


def test_watch(agent):
    agent.answers["/agent/v1/watch"] = ENDLESS + EVENTS
    with subprocess.Popen([operator_binary(), "watch", f"--socket={agent.path}"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=clean_environment()) as watching:
        # As they come: the stream has not ended yet.
        for line in ("03:04:05.006Z  peer-added     subnet=10.1.2.0/24\n",
                     "03:04:06.007Z  war            object=route ?[31m count=3\n"):
            assert watching.stdout.readline() == line
        agent.release.set()
        assert watching.wait(TIMEOUT_S) == UNREACHABLE
        assert watching.stdout.read() == ""
        assert "ended the stream" in watching.stderr.read()


def test_watch_for_programs(agent):
    agent.answers["/agent/v1/watch"] = ENDLESS + EVENTS
    agent.release.set()
    done = run("watch", "--json", f"--socket={agent.path}")
    assert done.stdout == EVENTS and done.returncode == UNREACHABLE


def test_watch_whose_reader_goes(agent):
    agent.answers["/agent/v1/watch"] = ENDLESS + EVENTS * 50
    read, write = os.pipe()
    os.close(read)
    done = run("watch", f"--socket={agent.path}", stdout=write)
    os.close(write)
    assert done.returncode == FAILED and done.stderr == b""


@pytest.mark.parametrize("stream", [b"not JSON\n", b"x" * 300000 + b"\n"], ids=["junk", "long"])
def test_watch_of_nonsense(agent, stream):
    agent.answers["/agent/v1/watch"] = ENDLESS + stream
    weft("watch", agent=agent, code=UNREACHABLE)


# the agent's settings

def test_store_commands_take_the_agents_settings(agent, tmp_path):
    done = weft("network", "get", agent=agent, code=UNREACHABLE)
    assert "127.0.0.1:1:" in done.stderr
    done = weft("network", "get", agent=agent, code=UNREACHABLE,
                env={"FLANNELD_ETCD_ENDPOINTS": "http://127.0.0.1:2"})
    assert "127.0.0.1:2:" in done.stderr    # what the user says goes first
    agent.answers["/agent/v1/status"] = {
        **STATUS, "settings": {**STATUS["settings"], "etcd_username": "root"}}
    assert "password of root" in weft("network", "get", agent=agent, code=USAGE).stderr
    agent.answers["/agent/v1/status"] = {
        **STATUS, "settings": {"store": "memory", "prefix": "/of/the/agent"}}
    assert "/of/the/agent/config" in weft("network", "get", agent=agent, code=NOT_FOUND).stderr
    done = weft("network", "get", "--etcd-prefix=/mine", agent=agent, code=NOT_FOUND)
    assert "/mine/config" in done.stderr
    done = weft("network", "get", "--etcd-prefix=/mine//", "--network=x", agent=agent, code=NOT_FOUND)
    assert "/mine/x/config" in done.stderr
    # Another store than the agent's has nothing of its settings.
    done = weft("network", "get", f"--store=sqlite:{tmp_path}/weft.db", agent=agent, code=NOT_FOUND)
    assert "/coreos.com/network/config" in done.stderr


# the command line

@pytest.mark.parametrize("words, told", [
    (["leases"], "no such command"), (["lease"], "say what to do"),
    (["lease", "list", "x"], "one word too many"),
    (["lease", "show"], "needs SUBNET"), (["lease", "list", "--force"], "takes no --force"),
    (["status", "--socke=x"], "did you mean --socket"), (["help", "nonsense"], "no such command"),
    (["help", "lea"], "no such command"),
    (["network", "get", "--etcd-endpoints=ftp://x"], "--etcd-endpoints"),
    (["--json=maybe", "status"], "json"),
    (["status", "--", "--json"], "one word too many: --json"),
    (["lease", "show", "--", "x", "--json"], "one word too many: --json"),
])
def test_wrong_usage(words, told):
    assert told in weft(*words, code=USAGE).stderr


def test_flags_stand_anywhere(agent):
    for words in (["--json", "status"], ["status", "-json"], ["-json=true", "status", "--"]):
        assert json.loads(run(f"--socket={agent.path}", *words).stdout) == STATUS


def test_help_and_version():
    overview = weft("help").stdout
    lines = [line.removeprefix("  weft ") for line in overview.splitlines()
             if line.startswith("  weft ")]
    assert len(lines) == 34
    for line in lines:
        name = [word for word in line.split("  ")[0].split() if word.islower() and word.replace("-", "").isalpha()]
        assert weft("help", *name).stdout.startswith(f"weft {' '.join(name)}")
        assert weft(*name, "--help").stdout.startswith(f"weft {' '.join(name)}")
    assert len(weft("help", "lease").stdout.splitlines()) == 5
    assert weft("version").stdout == weft("--version").stdout
    assert weft("--help").stdout == overview
    assert weft("lease", "--help").stdout == weft("help", "lease").stdout


# completion: a bash that asks the function as its line editor would

@pytest.mark.parametrize("line, want", [
    (["weft", ""], ["cleanup", "cni", "docker-opts", "doctor", "help", "ip", "lease", "log", "mesh", "migrate",
                    "network", "plan", "status", "store", "token", "version", "watch", "wg"]),
    (["weft", "s"], ["status", "store"]),
    (["weft", "store", ""], ["backup", "check", "restore"]),
    (["weft", "store", "check", "--d"], ["--db="]),
    (["weft", "lease", ""], ["list", "reserve", "rm", "show", "unreserve"]),
    (["weft", "help", "network", "r"], ["rm"]),
    (["weft", "--json", "network", "s"], ["set"]),
    (["weft", "status", "--"], ["--json", "--peers", "--network=", "--socket="]),
    (["weft", "network", "rm", "--f"], ["--force"]),
    (["weft", "lease", "show", "--etcd-pr"], ["--etcd-prefix="]),
    (["weft", "lease", "reserve", "10.1.2.0/24", "--fo"], ["--for="]),
    (["weft", "migrate", "--to-etcd-pr"], ["--to-etcd-prefix="]),
    (["weft", "watch", ""], []),
])
def test_completion(line, want):
    script = """
        compopt() { :; }    # knows no completion under way
        source "$1"; shift
        PATH=$1:$PATH; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _weft
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", COMPLETION, operator_binary().parent, *line],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=True,
                          env=clean_environment())
    assert done.stdout.split() == want and not done.stderr
