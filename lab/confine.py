# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Run a program under the capabilities and the system calls that a unit file allows, without systemd as init.

    python3 -m lab.confine UNIT PROGRAM [ARGUMENT...]

CapabilityBoundingSet=, NoNewPrivileges= and SystemCallFilter= are carried out, by prctl and libseccomp; which
calls a set like @system-service has, systemd-analyze says. What a unit says of files and devices is not.
"""

import ctypes
import os
import pathlib
import re
import subprocess
import sys

PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38
CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_NET_BIND_SERVICE": 10, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13,
                "CAP_SYS_PTRACE": 19}
ALLOW, EPERM_INSTEAD = 0x7fff0000, 0x00050001


def unit_values(path, name):
    return re.findall(rf"^{name}=(.*)$", pathlib.Path(path).read_text(encoding="utf-8"), re.M)


def expand(name):
    """The calls of a set, those of sets in it too."""
    if not name.startswith("@"):
        return {name}
    out = subprocess.run(["systemd-analyze", "syscall-filter", name], text=True, capture_output=True, check=True).stdout
    members = [line.strip() for line in out.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return set().union(*(expand(member) for member in members))


def allowed_calls(unit):
    """Lines of SystemCallFilter= one after the other, as systemd.exec(5) has it."""
    allowed = expand("@default")
    for value in unit_values(unit, "SystemCallFilter"):
        calls = set().union(*(expand(word) for word in value.lstrip("~").split()))
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return sorted(allowed | {"execve"})


def drop_capabilities(libc, unit):
    kept = {CAPABILITIES[name] for name in unit_values(unit, "CapabilityBoundingSet")[0].split()}
    for number in range(64):
        if libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1 and number not in kept:
            if libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), f"capability {number} is not dropped")


def filter_calls(calls):
    seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(EPERM_INSTEAD))
    for call in calls:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0 and seccomp.seccomp_rule_add_array(context, ALLOW, number, 0, None) != 0:
            raise OSError(f"no filter for {call}")
    if seccomp.seccomp_load(context) != 0:
        raise OSError("the filter is not loaded")


def main(unit, *command):
    libc = ctypes.CDLL(None, use_errno=True)
    calls = allowed_calls(unit)
    drop_capabilities(libc, unit)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    filter_calls(calls)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
