# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The demo as a person sees it, under a name of its own.

    c1 - h1 --+
    c2 - h2 --+-- 192.168.77.0/24 (-- etcd, if that is to be the store)
    c3 - h3 --+
"""

import os
import re
import secrets
import subprocess
import sys

import pytest

from lab import LabError, laboratory, run
from lab.netns import REPOSITORY


class Demo:
    """./demo without its first step, which installs packages and builds."""

    def __init__(self):
        self.name = f"t{secrets.token_hex(2)}"

    def __call__(self, *arguments):
        env = {**os.environ, "WEFT_DEMO_NAME": self.name}
        return subprocess.run([sys.executable, "-m", "lab.demo", *arguments], cwd=REPOSITORY,
                              env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def demo():
    started = Demo()
    yield started
    laboratory.destroy(started.name)


@pytest.mark.parametrize(("flags", "store", "line"), [
    ([], "h1 keeps it", "weft store check"), (["--store", "etcd3"], "etcd, by version 3", "etcd etcdctl get")])
def test_demo_from_up_to_down(demo, flags, store, line):
    up = demo("up", *flags)
    assert store in up.stdout and line in up.stdout
    assert up.returncode == 0, up.stdout + up.stderr
    subnets = re.findall(r"^(10\.1\.\d+\.0)/24 +192\.168\.77\.1[123] +vxlan", up.stdout, re.M)
    assert len(set(subnets)) == 3, up.stdout
    matrix = re.findall(r"^c[123] 10\.1\.\d+\.2 .*$", up.stdout, re.M)
    assert len(matrix) == 3 and all(len(re.findall(r"\d\.\d+\b(?!\.)", row.split(None, 2)[2])) == 2
                                    for row in matrix), up.stdout
    assert re.search(r"^ +\d+\.\d Gbit/s", up.stdout, re.M), up.stdout

    assert "ready" in demo("exec", "h1", "weft", "status").stdout
    assert demo("exec", "h1", "ip", "route").stdout.count("dev flannel.12345") == 2
    for host in ("h1", "h2"):
        assert len(demo("exec", host, "weft", "lease", "list").stdout.splitlines()) == 4
    if flags:
        etcd = demo("exec", "etcd", "etcdctl", "get", "--prefix", "--keys-only", "/coreos.com/network")
        assert "/coreos.com/network/config" in etcd.stdout
    else:
        assert "ok, revision" in demo("exec", "h1", "weft", "store", "check").stdout
    assert "lease" in demo("logs", "h3").stdout
    assert demo("exec", "h1", "false").returncode == 1      # the command's own exit code

    again = demo("up")
    assert again.returncode == 0 and "up already" in again.stdout
    assert demo("down").returncode == 0
    assert laboratory.read_state(demo.name) is None
    assert f"weft-{demo.name}-" not in run(["ip", "netns"]).stdout


def test_demo_says_what_is_wrong(demo):
    assert "etcd2" in demo("up", "--store", "zoo").stderr
    usage = demo("nonsense")
    assert usage.returncode == 2 and usage.stderr.startswith("usage: ./demo")
    not_up = demo("exec", "h1", "true")
    assert not_up.returncode == 1 and "sudo ./demo" in not_up.stderr
    assert demo("down").returncode == 0


def test_demo_survives_a_half_removed_demo(demo):
    """What an earlier demo left behind, with its processes gone, is no obstacle."""
    half = laboratory.Lab(demo.name, keep=True)
    half.host("h1", half.segment("net1", v4="192.168.77.0/24"))
    up = demo("up")
    assert up.returncode == 0, up.stdout + up.stderr
    assert "earlier demo" in up.stdout


def test_only_root(demo):
    done = run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                str(REPOSITORY / "demo")], check=False)
    assert done.returncode == 1
    assert done.stderr == "demo: it makes network namespaces, so run it as root: sudo ./demo\n"


def test_missing_build_is_named(lab, monkeypatch):
    monkeypatch.setenv("WEFT_BUILD", "/nonexistent")
    host = lab.host("h1", lab.segment("net1", v4="192.168.77.0/24"))
    with pytest.raises(LabError, match="/nonexistent/weftd is not there: build it first"):
        host.agent.start()
