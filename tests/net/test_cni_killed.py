# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The plugin killed at each of its steps: a DEL, which every runtime sends then, works, and nothing is left.

The steps are the system calls that change something or say so to somebody. strace delivers the signal as one begins,
so no program is built otherwise than the one that is shipped.

        h1: weft -> cni0 -- vethXXXXXXXX -- eth0 in p1;  flannel keeps its file, host-local its records
"""

import json
import os
import pathlib

import pytest

from lab.cni import Runtime

CALLS = ("sendto", "openat", "open", "write", "linkat", "ftruncate", "unlink", "unlinkat", "setns", "flock")
STEPS_MAX = 60      # of one system call in one run; far more than there are
SUBNET_ENV = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"
FLANNEL = {"cniVersion": "1.0.0", "name": "cbr0", "type": "flannel", "delegate": {"isDefaultGateway": True}}
WEFT = {"cniVersion": "1.0.0", "name": "cbr0", "type": "weft", "isDefaultGateway": True, "antispoof": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.5.34.0/24"}]]}}


@pytest.fixture
def runtime(lab):
    if not pathlib.Path("/usr/bin/strace").exists():
        pytest.skip("strace is not installed")
    host = lab.host("h1")
    (host.run_dir / "flannel").mkdir()
    (host.run_dir / "flannel/subnet.env").write_text(SUBNET_ENV)
    return Runtime(host)


def killed(runtime, command, conf, pod, call, step):
    """Whether the run was killed: False when it has fewer such steps."""
    env = {"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_NETNS": pod,
           "CNI_IFNAME": "eth0", "CNI_PATH": str(runtime.ours)}
    done = runtime.host.run("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                            f"inject={call}:signal=KILL:when={step}", runtime.find(conf["type"]),
                            stdin=json.dumps(conf), env=env, check=False)
    return done.returncode not in (0, 1)


def left(host):
    links = [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("veth")]
    files = [str(f) for d in ("cni/networks/cbr0", "cni/flannel") if (host.lib_dir / d).exists()
             for f in (host.lib_dir / d).iterdir() if f.name not in ("lock", "last_reserved_ip.0")]
    return links + files


@pytest.mark.parametrize("conf", (FLANNEL, WEFT), ids=("flannel", "weft"))
@pytest.mark.parametrize("command", ("ADD", "DEL"))
def test_killed_at_each_step(runtime, conf, command):
    pod, walked = runtime.pod("p1"), 0
    for call in CALLS:
        for step in range(1, STEPS_MAX):
            if command == "DEL":
                runtime.must("ADD", conf, "c1", pod)
            if not killed(runtime, command, conf, pod, call, step):
                runtime.must("DEL", conf, "c1", pod)
                break
            walked += 1
            runtime.must("DEL", conf, "c1", pod)
            assert left(runtime.host) == [], (call, step)
        else:
            raise AssertionError(f"{call}: more than {STEPS_MAX} steps")
    assert walked > 15
    assert runtime.must("ADD", conf, "c1", pod)["ips"]
