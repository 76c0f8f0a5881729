# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The laboratory as a whole: its name, its record on disk, its removal, also after a crash.

Each laboratory has a directory /tmp/weft-lab/NAME with a record (state.json) of who owns it and
which nodes it has, and its namespaces are called weft-NAME-NODE. A laboratory whose owner is dead
and which was not made to be kept is swept away by the next one.
"""

import atexit
import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import shutil
import signal
import sys
import threading

from .consul import Consul
from .controller import Controller
from .errors import LabError
from .etcd import Etcd
from .etcd2 import Etcd2
from .host import Host
from .netns import NETNS_DIR, remove_netns
from .process import start_time
from .underlay import Router, Segment, SwitchRoom

BASE = pathlib.Path("/tmp/weft-lab")      # not below /run or /var/lib: hosts have their own
MEMORY = pathlib.Path("/dev/shm")


def netns_prefix(name):
    return f"weft-{name}"


def _fast_path(name):
    return MEMORY / f"weft-lab-{name}"


@contextlib.contextmanager
def _base_lock():
    BASE.mkdir(mode=0o755, exist_ok=True)
    found = BASE.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o22 or not BASE.is_dir():
        raise LabError(f"{BASE} belongs to somebody else: remove it")
    with open(BASE / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_state(name):
    """The record of a laboratory; None if there is no such laboratory, {} if it is unreadable."""
    directory = BASE / name
    if not directory.is_dir():
        return None
    try:
        return json.loads((directory / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def laboratories():
    """The names of all laboratories on this machine."""
    return sorted(p.name for p in BASE.iterdir() if p.is_dir()) if BASE.is_dir() else []


def owner_alive(state):
    """Is the process that made it still there?"""
    return start_time(state.get("pid", 0)) == state.get("started", -1)


def destroy(name):
    """Remove whatever there is of the laboratory NAME; nothing at all is fine."""
    prefix = netns_prefix(name) + "-"
    if NETNS_DIR.is_dir():
        names = [p.name for p in NETNS_DIR.iterdir() if p.name.startswith(prefix)]
        if names:
            remove_netns(names)
    shutil.rmtree(_fast_path(name), ignore_errors=True)
    shutil.rmtree(BASE / name, ignore_errors=True)


def sweep():
    """Remove what dead owners left; returns the names."""
    with _base_lock():
        return _sweep_locked()


def _sweep_locked():
    dead = []
    for name in laboratories():
        state = read_state(name)
        if state is not None and not state.get("keep") and not owner_alive(state):
            destroy(name)
            dead.append(name)
    return dead


class Lab:
    """One laboratory. Use it as a context manager, or call close()."""

    def __init__(self, name=None, keep=False):
        """name: for a laboratory that people see; keep: it outlives this process."""
        if os.geteuid() != 0:
            raise LabError("the laboratory makes network namespaces and must be run by root")
        for program in ("ip", "nsenter", "unshare"):
            if not shutil.which(program):
                raise LabError(f"{program} is not installed (Debian packages iproute2, util-linux)")
        self.keep = keep
        self.nodes = {}
        self.segments = {}
        self.etcds = []
        self._switches = None
        self._closed = False
        self._lock = threading.Lock()
        with _base_lock():
            _sweep_locked()
            self.name = name or self._free_name()
            self.directory = BASE / self.name
            try:
                self.directory.mkdir()
            except FileExistsError:
                raise LabError(f"a laboratory called {self.name} is up already;"
                               f" `python3 -m lab clean {self.name}` removes it") from None
            self.save()
        self.prefix = netns_prefix(self.name)
        atexit.register(self._at_exit)
        _exit_on_signals()

    @staticmethod
    def _free_name():
        while (BASE / (name := secrets.token_hex(3))).exists():
            pass
        return name

    def save(self):
        """Write the record."""
        state = {"pid": os.getpid(), "started": start_time(os.getpid()), "keep": self.keep,
                 "nodes": {n.name: {"kind": n.kind, "netns": n.netns,
                                    "holder": n.holder.pid if n.holder else None,
                                    "holder_started": n.holder.started if n.holder else None}
                           for n in list(self.nodes.values())}}
        with self._lock:
            new = self.directory / "state.json.new"
            new.write_text(json.dumps(state, indent=1), encoding="utf-8")
            new.rename(self.directory / "state.json")

    def register(self, node):
        if node.name in self.nodes:
            raise LabError(f"there is a node {node.name} already")
        self.nodes[node.name] = node

    def forget(self, node):
        self.nodes.pop(node.name, None)
        self.save()

    def fast_directory(self, bytes_needed):
        """A directory of this laboratory in memory if there is room for that, else on disk."""
        with contextlib.suppress(OSError):
            room = os.statvfs(MEMORY)
            if MEMORY.is_mount() and room.f_bavail * room.f_frsize >= bytes_needed:
                path = _fast_path(self.name)
                path.mkdir(mode=0o700, exist_ok=True)
                return path
        return self.directory

    # Making things

    def segment(self, name, v4=None, v6=None, mtu=1500):
        if self._switches is None:
            self._switches = SwitchRoom(self, "switches")
        self.segments[name] = Segment(self, self._switches, name, v4, v6, mtu)
        return self.segments[name]

    def router(self, name, *segments):
        return Router(self, name, *segments)

    def host(self, name, segment=None, v4="auto", v6="auto"):
        host = Host(self, name)
        if segment:
            host.attach(segment, v4, v6)
        return host

    def etcd(self, segment, members=1, api=3, **options):
        """A real etcd; api: the version of its API that is spoken; options: of Etcd."""
        etcd = (Etcd2 if api == 2 else Etcd)(self, segment, members, **options)
        self.etcds.append(etcd)
        return etcd

    def consul(self, segment, **options):
        """A real Consul server; options: of Consul."""
        return Consul(self, segment, **options)

    def controller(self, host, over=None, **options):
        """weft's own store on a host; options: of Controller."""
        return Controller(host, over, **options)

    @property
    def hosts(self):
        return [n for n in self.nodes.values() if isinstance(n, Host)]

    # The end

    def stop_agents(self):
        """SIGTERM to every agent; returns [(host, exit code)] of those that did not end with 0."""
        running = [h for h in self.hosts if h.agent.alive()]
        for host in running:
            host.agent.process.ask_to_end()
        bad = []
        for host in running:
            try:
                code = host.agent.process.wait_or_kill()
            except LabError:
                code = "killed: it ignored SIGTERM"
            if code != 0:
                bad.append((host.name, code))
        return bad

    def close(self):
        """Remove everything. Returns what stop_agents() does."""
        if self._closed:
            return []
        self._closed = True
        atexit.unregister(self._at_exit)
        bad = self.stop_agents()
        destroy(self.name)
        for node in self.nodes.values():
            for process in node.processes + ([node.holder] if node.holder else []):
                process.wait()
        return bad

    def _at_exit(self):
        if not self.keep:
            self.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


_signals_installed = False


def _exit_on_signals():
    """SIGTERM and SIGHUP end the program the orderly way, so that atexit runs."""
    global _signals_installed
    if _signals_installed or threading.current_thread() is not threading.main_thread():
        return
    _signals_installed = True
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) is signal.SIG_DFL:
            signal.signal(signum, lambda number, frame: sys.exit(128 + number))
