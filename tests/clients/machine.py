# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What a laboratory's host needs beyond a network before container runtimes run on it, and its removal.

A host has /run and /var/lib of its own already. Here it also gets its own /etc, and a control group,
weft-NAME-hN, that is the root of all groups for whatever runs in it, by a control group namespace. So
the runtimes' own defaults hold on every host, and what they start is known by that group, from which
it is ended and removed, whatever became of the runtime that started it.
"""

import os
import pathlib
import re
import signal

from lab import wait_for
from lab.laboratory import BASE, owner_alive, read_state
from lab.process import kill_exactly, start_time

CGROUP = pathlib.Path("/sys/fs/cgroup")
OWN_CGROUP = re.compile(r"weft-([0-9a-f]{6})-h\d+")
INSIDE = "/run/inside"          # on a host: runs a command as one of its control group
SERVICES = "init"               # the group of what is in no container: in version 2 inner groups have no processes

# The first round of mounts is for moving into the group, of which the second one then sees no more.
SCRIPT = """
set -e
directory=$1 group=$2
shift 2
cp -a /etc "$directory/etc"
mount --bind "$directory/etc" /etc
mount_all='
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    while [ $# -gt 0 ]; do              # name, type and options of each hierarchy
        mkdir -p "/sys/fs/cgroup/$1"
        mount -t "$2" -o "$3" cgroup "/sys/fs/cgroup/$1"
        shift 3
    done'
sh -ec "$mount_all" sh "$@"
for procs in /sys/fs/cgroup/$group/cgroup.procs /sys/fs/cgroup/*/$group/cgroup.procs; do
    [ ! -e "$procs" ] || echo $$ > "$procs"
done
: > /run/cgroups
unshare --cgroup=/run/cgroups -- sh -ec "umount -R /sys/fs/cgroup; $mount_all" sh "$@"
cat > /run/inside <<'END'
#!/bin/sh
for procs in /sys/fs/cgroup/init/cgroup.procs /sys/fs/cgroup/*/init/cgroup.procs; do
    [ ! -e "$procs" ] || echo $$ > "$procs"
done
exec nsenter --cgroup=/run/cgroups -- "$@"
END
chmod 755 /run/inside
"""


def hierarchies():
    """[(name below CGROUP or "", type, options)] of the control groups mounted on this machine.

    Version 2 beside version 1 is left out: it holds no controllers that runtimes ask for, and crun refuses both.
    """
    found = []
    for line in pathlib.Path("/proc/self/mounts").read_text(encoding="ascii").splitlines():
        _, target, kind, options = line.split()[:4]
        if kind in ("cgroup", "cgroup2") and pathlib.Path(target).is_relative_to(CGROUP):
            name = str(pathlib.Path(target).relative_to(CGROUP)).replace(".", "")
            words = [w for w in options.split(",") if w not in ("rw", "relatime", "xattr")
                     and not w.startswith("release_agent=")]
            if "name=systemd" in words:
                words.insert(0, "none")
            found.append((name, kind, ",".join(words) or "rw"))
    version_1 = [h for h in found if h[1] == "cgroup"]
    return version_1 or found


def _groups(name):
    """The directories of one host's control groups."""
    return [CGROUP / h[0] / name for h in hierarchies()]


def _make_group(group):
    group.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):     # version 1 gives a new group none
        if (group / name).exists() and not (group / name).read_text(encoding="ascii").strip():
            (group / name).write_text((group.parent / name).read_text(encoding="ascii"), encoding="ascii")


def prepare(host):
    """Give a host its own /etc and its own control groups."""
    for group in _groups(host.netns):
        _make_group(group)
        _make_group(group / SERVICES)
    host.run("sh", "-c", SCRIPT, "sh", host.directory, host.netns, *[word for h in hierarchies() for word in h])


def _group_processes(groups):
    """[(pid, start time)] of everything in these control groups and below."""
    pids = set()
    for group in groups:
        for directory, _, _ in os.walk(group):
            try:
                pids.update(pathlib.Path(directory, "cgroup.procs").read_text(encoding="ascii").split())
            except OSError:
                continue
    return [(int(pid), started) for pid in pids if (started := start_time(int(pid))) is not None]


def _remove_groups(groups):
    """Remove them from the bottom up; True when none is left."""
    for group in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                continue
    return not any(g.exists() for g in groups)


def remove(name):
    """End what runs in the control groups of this name, and remove them; nothing at all is fine."""
    groups = _groups(name)

    def all_gone():
        for pid, started in _group_processes(groups):
            kill_exactly(pid, started, signal.SIGKILL)
        return _remove_groups(groups)

    wait_for(all_gone, f"the control groups {name} to be empty", timeout=20)


def sweep():
    """End and remove what a run that crashed left in control groups. The next Lab removes the rest."""
    names = {p.name for h in hierarchies() for p in (CGROUP / h[0]).glob("weft-*-h*")}
    for name in names:
        match = OWN_CGROUP.fullmatch(name)
        state = read_state(match[1]) if match else None
        if match and (state is None or not owner_alive(state)):
            remove(name)


def _belongs(pid, marks):
    """Does this process know of the laboratory: in its mounts, its control groups or its words?"""
    for file in ("mountinfo", "cgroup", "cmdline"):
        try:
            text = pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if any(mark in text for mark in marks):
            return True
    return False


def leftovers(name):
    """What is still there of the laboratory of this name: lines for people, empty if it is all gone."""
    marks = (f"{BASE}/{name}/", f"weft-{name}-")
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid() and start_time(int(pid)) is not None and _belongs(pid, marks):
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found.append(f"process {pid}: {words}")
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        if any(mark in line for mark in marks):
            found.append(f"mount: {line}")
    found += [str(p) for p in (BASE / name, *pathlib.Path("/run/netns").glob(f"weft-{name}-*")) if p.exists()]
    found += [str(g) for h in hierarchies() for g in (CGROUP / h[0]).glob(f"weft-{name}-*")]
    return found
