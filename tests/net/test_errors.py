# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What can be wrong at a start: one line each, that names the thing and the remedy.

    h1 ---- net1 192.168.77.0/24 ---- etcd
"""

import re
import shutil

import pytest

from lab import Fabric, wait_for
from lab.agent import agent_binary, clean_environment

GOOD = {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12345}}


@pytest.fixture
def net(lab):
    return Fabric(lab, hosts=1, config=False, agents=False)


@pytest.fixture
def host(net):
    return net.hosts[0]


def weftd(host, *flags, env=None, stdin=None):
    """Run weftd where it must end by itself; (exit code, its standard error)."""
    done = host.run(agent_binary(), *flags, check=False, timeout=20, stdin=stdin,
                    env={**clean_environment(), **(env or {})})
    return done.returncode, done.stderr


def last_line(text):
    """The last line without time and level."""
    return re.sub(r"^\S+Z +[A-Z]+ +", "", text.strip().splitlines()[-1])


def complaint(host, *words, ready_words=()):
    """The agent stays up, says a line with all the words once, and readyz says it as well."""
    def lines():
        return [line for line in host.agent.log_since_start().splitlines()
                if re.search(" (ERROR|WARN) ", line) and all(w in line for w in words)]
    wait_for(lines, f"a line with {words}")
    wait_for(lambda: all(w in host.agent.request("/readyz")[1] for w in ready_words or words),
             f"readyz to say {words}")
    assert host.agent.request("/readyz")[0] == 503
    assert len(lines()) == 1, lines()
    assert host.agent.alive()
    shown = host.weft("status", check=False)
    assert shown.returncode == 1 and (ready_words or words)[0] in shown.stdout, shown


def test_no_etcd(net, host):
    net.put_config(GOOD)
    net.etcd.stop()
    net.start_agent(host, "--request-timeout=1s", wait=False)
    complaint(host, "store is not reached", net.etcd.endpoints, "--etcd-endpoints",
              ready_words=["store not reached", net.etcd.endpoints])
    net.etcd.restart()
    host.agent.wait_ready()


def test_etcd_that_does_not_answer(net, host):
    net.put_config(GOOD)
    net.etcd.pause()
    net.start_agent(host, "--request-timeout=1s", wait=False)
    complaint(host, "store is not reached", net.etcd.endpoints,
              ready_words=["store not reached", net.etcd.endpoints])
    net.etcd.resume()
    host.agent.wait_ready()


def test_no_config(net, host):
    net.start_agent(host, wait=False)
    complaint(host, "no network config at /coreos.com/network/config", "weft network set")
    assert "store not reached" not in host.agent.request("/readyz")[1]
    net.put_config(GOOD)
    host.agent.wait_ready()


@pytest.mark.parametrize("config, words", [
    ("{", ["config", "JSON"]),
    ({"Backend": {"Type": "vxlan"}}, ["config", "Network"]),
    ({"Network": "10.1.0.0/16", "SubnetLen": 40}, ["SubnetLen", "40"]),
    ({"Network": "10.1.0.0/16", "SubnetMin": "10.2.0.0"}, ["SubnetMin", "10.2.0.0"]),
    ({"Network": "10.1.0.0/16", "Backend": {"Type": "wombat"}}, ["wombat", "vxlan"]),
    ({"Network": "10.1.0.0/16", "Backend": {"Type": "ipsec"}}, ["ipsec", "not offered", "wireguard"]),
    ({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 99999999}}, ["VNI", "99999999"]),
    ({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "MTU": 100}}, ["MTU", "100"]),
    ({"Network": "192.168.0.0/16", "Backend": {"Type": "vxlan"}},
     ["192.168.77.11", "eth0", "192.168.0.0/16", "choose another"]),
], ids=["not JSON", "no Network", "SubnetLen", "SubnetMin", "unknown backend", "backend not offered", "VNI",
        "MTU", "own address inside"])
def test_bad_config(net, host, config, words):
    """The agent waits for a better one, and takes it over without a restart."""
    net.put_config(config)
    net.start_agent(host, wait=False)
    complaint(host, *words)
    net.put_config(GOOD)
    host.agent.wait_ready()


def test_network_overlaps_a_local_route(net, host):
    host.ip_batch("link add br7 type bridge", "addr add 10.1.5.1/24 dev br7", "link set br7 up")
    net.put_config(GOOD)
    net.start_agent(host, wait=False)
    complaint(host, "10.1.0.0/16", "10.1.5.0/24", "br7", "remove the route")
    assert net.leases() == {}
    host.ip("link", "del", "br7")
    host.agent.wait_ready()


@pytest.mark.parametrize("route", [
    "10.1.0.0/16 dev flannel.7",
    "10.1.44.0/24 via 10.1.44.0 dev flannel.7 onlink",
])
def test_network_overlaps_another_network(net, host, route):
    """Of a flannel with another VNI: its device is not the one that we take over."""
    host.ip_batch("link add flannel.7 type vxlan id 7 local 192.168.77.11 dev eth0 dstport 8472",
                  "link set flannel.7 up", f"route add {route}")
    net.put_config(GOOD)
    net.start_agent(host, wait=False)
    complaint(host, "10.1.0.0/16", route.split()[0], "flannel.7", "another network", "remove the device")
    assert net.leases() == {}
    host.ip("link", "del", "flannel.7")
    host.agent.wait_ready()


def test_no_lease_free(net, host):
    """All subnets have an owner: nobody's lease is touched, and the first that becomes free is taken."""
    net.put_config({**GOOD, "SubnetMin": "10.1.7.0", "SubnetMax": "10.1.8.0"})
    for number in (7, 8):
        net.put_lease(f"10.1.{number}.0-24", f"192.168.77.{90 + number}", f"0e:00:00:00:00:0{number}")
    before = net.leases()
    net.start_agent(host, "--peer-hold=100ms", wait=False)
    complaint(host, "no subnet is free", "10.1.0.0/16", "room for 2 subnets", "2 leases",
              "use a larger Network or SubnetLen")
    status = host.agent.status()
    assert status["lease"]["subnet"] is None and "no subnet is free" in status["lease"]["error"]
    assert net.leases() == before and net.etcd.leases() == []
    assert not (host.run_dir / "flannel" / "subnet.env").exists()
    net.delete_lease("10.1.8.0-24")
    host.agent.wait_ready()
    assert host.subnet_env()["FLANNEL_SUBNET"] == "10.1.8.1/24"


def test_device_name_is_taken(net, host):
    host.ip("link", "add", "flannel.12345", "type", "bridge")
    net.put_config(GOOD)
    net.start_agent(host, wait=False)
    complaint(host, "flannel.12345", "ip link del flannel.12345")
    host.ip("link", "del", "flannel.12345")
    host.agent.wait_ready()


def test_kernel_without_the_devices(net, host):
    """This kernel has vxlan, so this weftd's word for it is one that no kernel knows."""
    program = host.directory / "weftd"
    built = agent_binary().read_bytes()
    program.write_bytes(built.replace(b"vxlan\0", b"vxlen\0"))    # also as the end of a longer text
    program.chmod(0o755)
    host.agent.binary = program
    net.put_config({**GOOD, "Backend": {"Type": "vxlen", "VNI": 12345}})
    net.start_agent(host, wait=False)
    complaint(host, "making flannel.12345", "the kernel has no vxlen devices", "load its module",
              "modprobe vxlen")
    assert net.leases() == {} and not host.ip("link", "show", "type", "vxlan").strip()
    # With a kernel that has them it goes on by itself: here, with the weftd as it is.
    net.put_config(GOOD)
    host.agent.restart(binary=agent_binary()).wait_ready()


@pytest.mark.parametrize("flags, words", [
    (["-iface=eth7"], ["eth7", "eth0 (192.168.77.11"]),
    (["-iface=10.9.9.9"], ["10.9.9.9", "eth0 (192.168.77.11"]),
    (["-iface-regex=^wlan"], ["^wlan", "eth0 (192.168.77.11"]),
    ([], ["default route", "--iface"]),
], ids=["name", "address", "regex", "no default route"])
def test_wrong_interface(net, host, flags, words):
    net.put_config(GOOD)
    host.agent.start(*flags, etcd=net.etcd)
    complaint(host, *words)


def test_missing_capability(net, host):
    net.put_config(GOOD)
    done = host.run("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin",
                    agent_binary(), "-iface=eth0", *net.etcd.agent_flags(), check=False,
                    timeout=20, env=clean_environment())
    assert done.returncode == 1, done
    (line,) = [x for x in done.stderr.splitlines() if " ERROR " in x]
    assert "CAP_NET_ADMIN" in line and "flannel.12345" in line, done.stderr
    assert net.leases() == {} and net.etcd.leases() == []


def test_second_agent(net, host):
    net.put_config(GOOD)
    net.start_agent(host)
    code, error = weftd(host, "-iface=eth0", *net.etcd.agent_flags())
    assert code == 1
    assert last_line(error) == f"weftd: another weftd (pid {host.agent.pid}) runs in this" \
                               " network namespace: stop it first"
    assert host.agent.ready()


def test_running_flanneld(net, host):
    net.put_config(GOOD)
    program = host.directory / "flanneld"
    shutil.copy(shutil.which("sleep"), program)
    flanneld = host.spawn(program, "1000")
    wait_for(lambda: host.run("cat", f"/proc/{flanneld.pid}/comm").stdout == "flanneld\n",
             "the imitation to run")
    code, error = weftd(host, "-iface=eth0", *net.etcd.agent_flags())
    assert code == 1
    assert last_line(error) == f"weftd: flanneld (pid {flanneld.pid}) runs in this network" \
                               " namespace: stop it first"
    flanneld.kill()
    net.start_agent(host)


@pytest.mark.parametrize("flags, env, words", [
    (["--nonsense"], {}, ["--nonsense"]),
    (["-iface"], {}, ["iface"]),
    (["--healthz-port=many"], {}, ["--healthz-port", "many"]),
    (["--etcd-endpoints=ftp://x"], {}, ["ftp://x"]),
    (["--etcd-cafile=/nonexistent"], {}, ["/nonexistent"]),
    (["--kube-subnet-mgr"], {}, ["kube-subnet-mgr"]),
    (["argument"], {}, ["argument"]),
    ([], {"FLANNELD_HEALTHZ_PORT": "many"}, ["FLANNELD_HEALTHZ_PORT", "many"]),
    ([], {"FLANNELD_NONSENSE": "1"}, ["FLANNELD_NONSENSE"]),
], ids=str)
def test_bad_flag_or_variable(host, flags, env, words):
    code, error = weftd(host, *flags, env=env)
    assert code in (1, 2), error
    assert code == 2 or "etcd" in flags[0], error
    assert len(error.splitlines()) == 1 or "etcd" in flags[0], error
    line = last_line(error)
    assert line.startswith("weftd: ") and all(w in line for w in words), error


@pytest.mark.parametrize("config, code, words", [
    ('{"Network":"10.1.0.0/16","Backend":{"Type":"vxlan"}}', 0, ["10.1.0.0/16", "255", "vxlan"]),
    ('{"Network":"10.1.0.0/16","SubnetLen":17}', 1, ["SubnetLen", "17"]),
    ('{"Network":"10.1.0.0/16","Backend":{"Type":"wombat"}}', 1, ["wombat"]),
    ("{", 1, ["JSON"]),
], ids=["good", "SubnetLen", "backend", "not JSON"])
def test_check_config(host, config, code, words):
    path = host.directory / "net-conf.json"
    path.write_text(config, encoding="ascii")
    for where, stdin in (("-", config), (path, None)):
        done = host.run(agent_binary(), f"--check-config={where}", check=False, stdin=stdin,
                        env=clean_environment())
        assert done.returncode == code, done
        said = done.stdout if code == 0 else done.stderr
        assert all(w in said for w in words), done
        assert code == 0 or (len(said.splitlines()) == 1 and done.stdout == ""), done


def test_check_config_of_a_missing_file(host):
    code, error = weftd(host, "--check-config=/nonexistent/net-conf.json")
    assert code == 1
    assert error == "weftd: /nonexistent/net-conf.json: No such file or directory\n"
