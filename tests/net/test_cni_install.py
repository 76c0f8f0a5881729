# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""`weft cni install`, from a tree as `make install` lays it out, and a container attached with what it put there."""

import json
import shutil

import pytest

from ipam_client import records
from lab import wait_for
from lab.agent import operator_binary
from lab.cni import GO, Runtime, plugin_binary
from lab.netns import REPOSITORY


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/weft").mkdir(parents=True)
    shutil.copy(operator_binary(), tmp_path / "bin/weft")
    shutil.copy(plugin_binary(), tmp_path / "lib/weft/weft-cni")
    shutil.copy(REPOSITORY / "packaging/cni/10-weft.conflist", tmp_path / "lib/weft/10-weft.conflist")
    return tmp_path


def install(host, tree, *flags, **more):
    return host.run(tree / "bin/weft", "cni", "install", tree / "to/bin", tree / "to/conf", *flags, **more)


def test_files(lab, tree):
    host, to = lab.host("h1"), tree / "to"
    program = plugin_binary().read_bytes()
    assert sorted(install(host, tree).stdout.split()) == sorted(
        str(to / name) for name in ("bin/weft", "bin/weft-ipam", "bin/flannel", "conf/10-weft.conflist"))
    for name in ("weft", "weft-ipam", "flannel"):
        assert (to / "bin" / name).read_bytes() == program
        assert (to / "bin" / name).stat().st_mode & 0o777 == 0o755
    # An earlier version of ours is replaced, flannel included; another's flannel and a changed conflist are not.
    for name in ("weft", "weft-ipam", "flannel"):
        (to / "bin" / name).write_bytes(b"older")
    install(host, tree)
    assert (to / "bin/flannel").read_bytes() == program
    (to / "bin/flannel").write_bytes(b"another's")
    (to / "conf/10-weft.conflist").write_text("{}")
    done = install(host, tree)
    assert "another program" in done.stderr and "was changed" in done.stderr
    assert (to / "bin/flannel").read_bytes() == b"another's" and (to / "conf/10-weft.conflist").read_text() == "{}"
    assert len(json.loads(install(host, tree, "--force", "--json").stdout)["installed"]) == 4
    assert (to / "bin/flannel").read_bytes() == program
    assert sorted(f.name for f in (to / "bin").iterdir()) == ["flannel", "weft", "weft-ipam"]
    (tree / "lib/weft/weft-cni").unlink()
    done = install(host, tree, check=False)
    assert done.returncode == 1 and "weft-cni" in done.stderr


def test_its_configuration_attaches(fabric, tree):
    if not (GO / "portmap").exists():
        pytest.skip("containernetworking-plugins is not installed")
    net = fabric(hosts=1, containers=0)
    host = net.hosts[0]
    install(host, tree)
    conflist = json.loads((tree / "to/conf/10-weft.conflist").read_text())
    runtime = Runtime(host)
    runtime.path = [tree / "to/bin", GO]
    chain = [{**plugin, "cniVersion": conflist["cniVersion"], "name": conflist["name"]}
             for plugin in conflist["plugins"]]
    pods = [runtime.pod(f"p{i}") for i in range(2)]
    results = [runtime.add(chain, f"c{i}", pod) for i, pod in enumerate(pods)]
    assert runtime.reach(pods[0], results[1]["ips"][0]["address"].split("/")[0])
    runtime.check(chain[:1], "c0", pods[0])
    for i, pod in enumerate(pods):
        runtime.delete(chain, f"c{i}", pod)
    wait_for(lambda: not any(r["st"] == "used" for r in records(net).values()), "the records to go")
