# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What the agent meets at its edges: its command line, a rival, damaged files, a service manager.

    h1 --- net1 --- etcd
"""

import shutil
import socket

import pytest

from lab import wait_for
from lab.agent import agent_binary, clean_environment
from lab.fabric import PREFIX

CONFIG = '{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}'


def run_agent(host, *flags, env=None, stdin=None):
    """To its end: exit code and what it printed."""
    done = host.run(agent_binary(), *flags, check=False, stdin=stdin,
                    env={**clean_environment(), **(env or {})})
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def host(lab):
    return lab.host("h1")


@pytest.mark.parametrize("flags, env, message", [
    (["--etcd-endpoint=x"], {},
     "weftd: unknown flag --etcd-endpoint; did you mean --etcd-endpoints?"),
    (["--peer-hold", "3"], {},
     'weftd: --peer-hold: "3" is not a duration such as 250ms, 3s or 1h30m'),
    (["start"], {}, 'weftd: "start" is not a flag; weftd takes no other words'),
    ([], {"FLANNELD_IP_MASK": "true"},
     "weftd: variable FLANNELD_IP_MASK names no flag; did you mean FLANNELD_IP_MASQ?"),
    ([], {"FLANNELD_HEALTHZ_PORT": "http"},
     'weftd: FLANNELD_HEALTHZ_PORT: "http" is not a number from 0 to 65535'),
])
def test_bad_usage_is_one_line_and_exit_code_2(host, flags, env, message):
    assert run_agent(host, *flags, env=env) == (2, "", message + "\n")


def test_help_and_version_are_on_standard_error(host):
    code, out, err = run_agent(host, "--help", "--no-such-flag")
    assert (code, out) == (0, "") and err.startswith("Usage: weftd")
    assert max(map(len, err.splitlines())) <= 100
    code, out, err = run_agent(host, "-version")
    assert (code, out) == (0, "") and len(err.splitlines()) == 1


def test_check_config(host):
    code, out, err = run_agent(host, "--check-config=-", stdin=CONFIG)
    assert (code, err) == (0, "") and "255 subnets of length /24" in out
    code, out, err = run_agent(host, "--check-config=-", stdin=CONFIG.replace("10.1.0.0/16", "x"))
    assert (code, out) == (1, "") and "Network" in err and len(err.splitlines()) == 1


def test_second_agent_is_refused_by_pid(fabric):
    net = fabric(hosts=1)
    host = net.hosts[0]
    code, _, err = run_agent(host, *net.etcd.agent_flags(), "--run-dir=/run/2", "--state-dir=/run/2")
    assert code == 1
    assert f"another weftd (pid {host.agent.pid}) runs in this network namespace" in err
    assert host.agent.alive() and host.agent.ready()
    # The lock dies with its holder, however that ends.
    host.agent.kill()
    host.agent.restart().wait_ready()


def test_running_flanneld_is_refused_by_pid(fabric):
    net = fabric(hosts=2, agents=False)
    first, second = net.hosts
    program = net.lab.directory / "flanneld"
    shutil.copy(shutil.which("sleep"), program)
    rival = first.spawn(program, "1000")
    wait_for(lambda: first.run("cat", f"/proc/{rival.pid}/comm").stdout == "flanneld\n", "its name")
    code, _, err = run_agent(first, *net.etcd.agent_flags())
    assert code == 1
    assert f"flanneld (pid {rival.pid}) runs in this network namespace: stop it first" in err
    net.start_agent(second)  # another host is no business of this flanneld
    rival.terminate()
    net.start_agent(first)


def test_damaged_files_are_put_aside(fabric):
    net = fabric(hosts=2)
    host = net.hosts[0]
    state = host.lib_dir / "weft"
    for name in ("state", "peers"):
        wait_for(lambda name=name: (state / name).exists(), f"the file {name}")
    subnet = host.agent.status()["lease"]["subnet"]
    host.agent.stop()
    for path in state.glob("*.previous"):
        path.unlink()
    (state / "state").write_text((state / "state").read_text()[:-4])
    (state / "peers").write_bytes(bytes(range(256)))
    host.agent.restart().wait_ready()
    assert host.agent.status()["lease"]["subnet"] == subnet
    assert {"state.bad", "peers.bad"} <= {p.name for p in state.iterdir()}
    log = host.agent.log_since_start()
    for name in ("state", "peers"):
        assert log.count(f"/{name}: line") == 1 and "ignored and kept as .bad" in log, log
    net.ping_all()


def test_files_of_a_newer_version_are_ignored(fabric):
    net = fabric(hosts=1)
    host = net.hosts[0]
    state = host.lib_dir / "weft" / "state"
    wait_for(state.exists, "the state file")
    host.agent.stop()
    state.write_text(state.read_text().replace('"schema":1', '"schema":2', 1))
    host.agent.restart().wait_ready()
    assert "schema 2 is of a newer weftd, this one knows 1: ignored" in host.agent.log_since_start()


def test_watchdog_and_reload_are_told(fabric):
    net = fabric(hosts=1, agents=False)
    host = net.hosts[0]
    said = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(host.run_dir / "notify"))
        manager.setblocking(False)

        def heard(*texts):
            try:
                while True:
                    said.extend(manager.recv(4096).decode().splitlines())
            except BlockingIOError:
                return [s for s in said if s in texts]

        net.start_agent(host, env={"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "200000"})
        wait_for(lambda: len(heard("WATCHDOG=1")) >= 5, "a fed watchdog")
        wait_for(lambda: heard("READY=1"), "READY=1")
        said.clear()
        host.agent.reload()
        wait_for(lambda: heard("RELOADING=1", "READY=1") == ["RELOADING=1", "READY=1"], "a reload")


def test_reload_before_the_first_lease_is_no_readiness(fabric):
    net = fabric(hosts=1, agents=False)
    host = net.hosts[0]
    net.etcd.delete(f"{PREFIX}/config")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(host.run_dir / "notify"))
        manager.settimeout(10)
        host.agent.start("--iface=eth0", etcd=net.etcd, env={"NOTIFY_SOCKET": "/run/notify"})
        host.agent.wait_log("no network config")
        host.agent.reload()
        host.agent.wait_log("reading everything again")
        net.put_config(CONFIG)
        said = []
        while "READY=1" not in said:
            said.extend(manager.recv(4096).decode().splitlines())
        assert host.subnet_env()["FLANNEL_NETWORK"] == "10.1.0.0/16"
        assert "RELOADING=1" not in said


def test_wrong_interface_is_told_with_what_there_is(fabric):
    net = fabric(hosts=1, agents=False)
    host = net.hosts[0]
    host.agent.start("--iface=eth7", etcd=net.etcd)
    host.agent.wait_log('--iface: no interface "eth7" (there are: lo (127.0.0.1')
    assert f"eth0 ({host.v4}" in host.agent.log()
    wait_for(lambda: 'no interface "eth7"' in host.agent.request("/readyz")[1], "it in /readyz")
