# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A node: a named network namespace, and commands, files and sockets inside it.

A node may also be a whole machine: then a small holder process keeps a mount namespace, in which
/run and /var/lib are the node's own, and a host name. Commands enter all of them with nsenter.
"""

import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import threading

from .errors import LabError
from .process import Process, kill_exactly, run, start_time, wait_for

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
NETNS_DIR = pathlib.Path("/run/netns")
CLONE_NEWNET = 0x40000000

# What the holder runs once it is in its namespaces. A fresh namespace inherits some settings from
# the machine it is on; those that matter are set here, so that a laboratory is the same anywhere.
HOLDER_SCRIPT = """
set -e
root=$1 name=$2
shift 2
for path; do                    # what lies below /run or /var/lib and must be seen all the same
    own=$root/run${path#/run}
    [ "$own" != "$root/run$path" ] || own=$root/lib${path#/var/lib}
    mkdir -p "$own"
    mount --bind "$path" "$own"
done
mount --rbind "$root/run" /run
mount --rbind "$root/lib" /var/lib
mount -t sysfs sysfs /sys
echo "$name" > /proc/sys/kernel/hostname
: > "$root/ready"
exec sleep infinity
"""
SYSCTLS = {"net/ipv4/ip_forward": "0", "net/ipv4/conf/all/rp_filter": "0",
           "net/ipv4/conf/default/rp_filter": "0",
           "net/ipv6/conf/all/forwarding": "0", "net/ipv6/conf/all/disable_ipv6": "0",
           "net/ipv6/conf/default/disable_ipv6": "0",
           "net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0",
           "net/ipv6/conf/all/accept_ra": "0", "net/ipv6/conf/default/accept_ra": "0"}

_libc = ctypes.CDLL(None, use_errno=True)


def inside(netns, function):
    """Call function in a thread of its own that has joined the named network namespace.

    What it opens (sockets, /proc/sys/net) belongs to that namespace and may be used afterwards.
    """
    outcome = {}

    def body():
        try:
            fd = os.open(NETNS_DIR / netns, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if _libc.setns(fd, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot join namespace {netns}")
            finally:
                os.close(fd)
            outcome["value"] = function()
        except BaseException as e:      # handed to the caller's thread, whatever it is
            outcome["error"] = e

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]


def hidden_paths():
    """The repository and the build, if a host's own /run or /var/lib would hide them."""
    paths = {REPOSITORY, pathlib.Path(os.environ.get("WEFT_BUILD") or REPOSITORY).resolve()}
    return sorted(str(p) for p in paths
                  if p.is_dir() and str(p).startswith(("/run/", "/var/lib/")))


def netns_processes(names):
    """[(pid, start time)] of every process in any of the named network namespaces."""
    inodes = set()
    for name in names:
        try:
            inodes.add(os.stat(NETNS_DIR / name).st_ino)
        except OSError:
            continue
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            inode = os.stat(f"/proc/{entry}/ns/net").st_ino
        except OSError:
            continue
        started = start_time(int(entry)) if inode in inodes else None
        if started is not None:
            found.append((int(entry), started))
    return found


def remove_netns(names):
    """End every process in the named namespaces and remove them; those already gone are fine."""
    def all_gone():
        left = netns_processes(names)
        for pid, started in left:
            kill_exactly(pid, started, signal.SIGKILL)
        return not left

    wait_for(all_gone, f"the processes in {', '.join(names)} to end", timeout=15)
    present = [n for n in names if (NETNS_DIR / n).exists()]
    if present:
        run(["ip", "-batch", "-"], stdin="".join(f"netns del {n}\n" for n in present))


class Node:
    """One namespace of the laboratory; the base of hosts, containers, routers and etcd members."""

    kind = "node"
    machine = False     # True: with its own /run, /var/lib and host name

    def __init__(self, lab, name):
        self.lab = lab
        self.name = name
        self.netns = f"{lab.prefix}-{name}"
        self.directory = lab.directory / name
        self.processes = []
        self.interfaces = {}
        self.holder = None
        lab.register(self)
        self.directory.mkdir()
        self._create()

    # The machine itself

    @property
    def run_dir(self):
        """What the node sees as /run."""
        return self.directory / "run"

    @property
    def lib_dir(self):
        """What the node sees as /var/lib."""
        return self.directory / "lib"

    def _create(self):
        run(["ip", "netns", "add", self.netns])
        self.ip("link", "set", "lo", "up")
        inside(self.netns, lambda: [self._write_sysctl(k, v) for k, v in SYSCTLS.items()])
        if self.machine:
            self._create_holder()
        self.lab.save()

    def _create_holder(self):
        for directory in (self.run_dir, self.lib_dir, self.run_dir / "lock"):
            directory.mkdir(exist_ok=True)
        (self.directory / "ready").unlink(missing_ok=True)
        self.holder = Process(["nsenter", f"--net={NETNS_DIR / self.netns}", "--", "unshare",
                               "--mount", "--uts", "--propagation", "private", "--", "sh", "-c",
                               HOLDER_SCRIPT, "sh", self.directory, self.name,
                               *hidden_paths()],
                              self.directory / "holder.log", name=f"{self.name} holder")
        wait_for(lambda: (self.directory / "ready").exists() or not self.holder.alive(),
                 f"{self.name} to be made", interval=0.002)
        if not self.holder.alive():
            raise LabError(f"cannot make {self.name}: {self.holder.log().strip()}")

    def remove(self, keep_files=False):
        """End everything on the node and take it away."""
        remove_netns([self.netns])
        if self.holder:
            self.holder.wait()
            self.holder = None
        self.processes.clear()
        if not keep_files:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.lab.forget(self)

    # Commands

    def enter(self):
        """The words before a command that make it run inside the node."""
        return enter_words(self.netns, self.holder.pid if self.holder else None)

    def run(self, *argv, check=True, timeout=30, stdin=None, env=None):
        """Run a command inside the node to its end."""
        return run(self.enter() + list(argv), check=check, timeout=timeout, stdin=stdin, env=env)

    def spawn(self, *argv, log=None, env=None, name=None):
        """Start a long-lived process inside the node."""
        name = name or os.path.basename(str(argv[0]))
        process = Process(self.enter() + list(argv), log or self.directory / f"{name}.log",
                          env=env, name=f"{self.name} {name}")
        self.processes.append(process)
        return process

    def ip(self, *argv, check=True):
        """The output of `ip -n NETNS ...`."""
        return run(["ip", "-n", self.netns, *argv], check=check).stdout

    def ip_batch(self, *lines):
        """Run many ip commands in one go; the first failure raises."""
        run(["ip", "-n", self.netns, "-batch", "-"], stdin="\n".join(lines) + "\n")

    def ip_json(self, *argv):
        """The parsed output of `ip -j -d ...`; an empty list if it prints nothing."""
        return json.loads(self.ip("-j", "-d", *argv).strip() or "[]")

    def bridge_json(self, *argv):
        """The parsed output of `bridge -j ...`."""
        out = run(["bridge", "-n", self.netns, "-j", *argv]).stdout
        return json.loads(out.strip() or "[]")

    # Files and sockets of the namespace

    @staticmethod
    def _write_sysctl(name, value):
        with open(f"/proc/sys/{name}", "w", encoding="ascii") as f:
            f.write(str(value))

    def sysctl(self, name, value=None):
        """Read (or, with a value, write) net/... by its path below /proc/sys."""
        if value is not None:
            inside(self.netns, lambda: self._write_sysctl(name, value))
            return str(value)

        def read():
            with open(f"/proc/sys/{name}", encoding="ascii") as f:
                return f.read().strip()
        return inside(self.netns, read)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """A socket of this process that lives in the node's network namespace."""
        return inside(self.netns, lambda: socket.socket(family, kind))

    def __repr__(self):
        return f"<{self.kind} {self.name}>"


def enter_words(netns, holder_pid):
    """The words before a command that make it run in a namespace, or on a holder's machine."""
    if holder_pid:
        return ["nsenter", "-t", str(holder_pid), "-m", "-r", "-u", "-n", "--"]
    return ["nsenter", f"--net={NETNS_DIR / netns}", "--"]
