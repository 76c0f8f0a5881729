# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The files for systemd and its neighbours, and agents that are as confined as these say.

    h1, h2 --- net1 --- etcd
"""

import configparser
import os
import re
import shutil
import subprocess

import pytest

from lab import wait_for
from lab.agent import build_directory
from lab.confine import CAPABILITIES, allowed_calls, unit_values
from lab.netns import REPOSITORY

PACKAGING = REPOSITORY / "packaging"
UNITS = {"weftd": 2.9, "weft-controller": 1.5}
DOCUMENT = REPOSITORY / "docs/systemd.md"
KEPT = sum(1 << CAPABILITIES[name] for name in ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"))


@pytest.fixture(autouse=True)
def tool():
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze: Debian's systemd is not installed")


def unit_file(tmp_path, name):
    """The unit as it is installed, but of the programs that were built here."""
    text = (PACKAGING / f"systemd/{name}.service.in").read_text(encoding="utf-8")
    path = tmp_path / f"{name}.service"
    path.write_text(text.replace("@sbindir@", str(build_directory())), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", UNITS)
def test_units_are_good(tmp_path, name):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit_file(tmp_path, name)], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0 and name not in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_units_are_as_tight_as_told(tmp_path, name):
    out = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit_file(tmp_path, name)],
                         text=True, capture_output=True, check=True).stdout
    score = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", out)[1])
    assert score == UNITS[name]
    assert f"**{score}**" in DOCUMENT.read_text(encoding="utf-8")


def test_capabilities_and_calls_of_the_agent():
    unit = PACKAGING / "systemd/weftd.service.in"
    assert unit_values(unit, "CapabilityBoundingSet") == ["CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE"]
    calls = allowed_calls(unit)
    assert {"sendmsg", "capset", "execve", "seccomp"} <= set(calls)
    assert not {"mount", "bpf", "init_module", "reboot", "ptrace", "setns", "keyctl", "setuid"} & set(calls)


def read_ini(path):
    parser = configparser.ConfigParser(strict=True, delimiters="=", interpolation=None)
    parser.optionxform = str
    parser.read_string(path.read_text(encoding="utf-8"))
    return {section: dict(parser[section]) for section in parser.sections()}


def test_others_keep_off_our_devices():
    host = PACKAGING / "host"
    assert read_ini(host / "10-weft.network") == {"Match": {"Name": "flannel*"}, "Link": {"Unmanaged": "yes"}}
    assert read_ini(host / "10-weft.link") == {"Match": {"OriginalName": "flannel*"},
                                               "Link": {"NamePolicy": "", "MACAddressPolicy": "none"}}
    assert read_ini(host / "10-weft.conf") == {"keyfile": {"unmanaged-devices+": "interface-name:flannel*"}}


def test_user_and_places_are_made(tmp_path):
    """By the programs that make them, in a tree of its own."""
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", PACKAGING / "host/sysusers.conf"], check=True,
                   capture_output=True)
    users = (tmp_path / "etc/passwd").read_text(encoding="utf-8")
    assert re.search(r"^weft:x:\d+:\d+:weft controller:/var/lib/weft-controller:", users, re.M)
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}", PACKAGING / "host/tmpfiles.conf"], check=True,
                   capture_output=True)
    assert all((tmp_path / "run" / name).stat().st_mode & 0o7777 == 0o755
               for name in ("weft", "flannel", "flannel/networks"))


def test_all_of_it_is_installed(tmp_path):
    subprocess.run(["meson", "install", "--no-rebuild", f"--destdir={tmp_path}", "-C", build_directory()], check=True,
                   capture_output=True)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("systemd/system/weftd.service", "systemd/system/weft-controller.service",
                 "systemd/network/10-weft.network", "systemd/network/10-weft.link",
                 "NetworkManager/conf.d/10-weft.conf", "sysusers.d/weft.conf",
                 "tmpfiles.d/weft.conf", "modules-load.d/weft.conf"):
        assert any(path.endswith(f"/lib/{name}") for path in found), name


def capabilities(process):
    """{"CapEff": number, ...} of a process."""
    with open(f"/proc/{process}/status", encoding="ascii") as status:
        found = re.findall(r"^(Cap\w+|NoNewPrivs):\t(\w+)$", status.read(), re.M)
    return {name: int(value, 16) for name, value in found}


def test_agent_gives_up_what_it_does_not_need(fabric):
    """Every thread of it, and its children cannot get it back."""
    net = fabric(hosts=1, containers=False)
    pid = net.hosts[0].agent.pid
    for task in os.listdir(f"/proc/{pid}/task"):
        have = capabilities(f"{pid}/task/{task}")
        assert have["CapEff"] == have["CapPrm"] == have["CapBnd"] == KEPT, have
        assert have["CapInh"] == have["CapAmb"] == 0 and have["NoNewPrivs"] == 1, have


def test_controller_has_none(lab):
    segment = lab.segment("net1", v4="192.168.77.0/24")
    controller = lab.controller(lab.host("ctl", segment))
    pid = controller.host.agent.pid
    assert len(os.listdir(f"/proc/{pid}/task")) > 1          # the database's
    for task in os.listdir(f"/proc/{pid}/task"):
        have = capabilities(f"{pid}/task/{task}")
        assert have["CapEff"] == have["CapPrm"] == have["CapBnd"] == 0, have


def test_what_flags_ask_for_is_kept(fabric):
    net = fabric(hosts=2, agents=False)
    (net.hosts[0].lib_dir / "theirs").mkdir()
    os.chown(net.hosts[0].lib_dir / "theirs", 12345, 12345)
    net.start_agent(net.hosts[0], "--healthz-port=80", "--state-dir=/var/lib/theirs")
    assert capabilities(net.hosts[0].agent.pid)["CapEff"] == KEPT | 1 << 1
    wait_for((net.hosts[0].lib_dir / "theirs/state").exists, "what is kept for the next start")
    net.start_agent(net.hosts[1], "--keep-capabilities")
    assert capabilities(net.hosts[1].agent.pid)["CapEff"] > KEPT | 1 << 21


@pytest.mark.parametrize("backend", [{"Type": "vxlan", "Port": 443}, {"Type": "udp", "Port": 443},
                                     {"Type": "wireguard", "ListenPort": 443}], ids=lambda backend: backend["Type"])
def test_port_below_1024(fabric, backend):
    """Which the agent knows of only when it has given up what it does not need."""
    net = fabric(hosts=2, config={"Network": "10.1.0.0/16", "Backend": backend})
    net.ping_all()


@pytest.mark.parametrize("backend", ["vxlan", "host-gw", "udp"])
def test_confined_as_the_unit_says(fabric, monkeypatch, backend):
    """Capabilities and system calls, of the agent and of what it starts."""
    monkeypatch.setenv("WEFT_CONFINED", "1")
    net = fabric(hosts=2, config={"Network": "10.1.0.0/16", "Backend": {"Type": backend}})
    pid = net.hosts[0].agent.pid
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        assert re.search(r"^Seccomp:\t2$", status.read(), re.M)
    net.ping_all()
    net.hosts[0].agent.restart()
    net.hosts[0].agent.wait_ready()
    net.ping_all()
    assert net.hosts[0].sysctl("net/ipv4/ip_forward") == "1"
    net.hosts[1].agent.reload()
    wait_for(lambda: "reading everything again" in net.hosts[1].agent.log(), "the agent to reload")
    net.hosts[1].agent.wait_ready()
