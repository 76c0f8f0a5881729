# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""`weft docker-opts`: the file that Docker starts with, and what is said when Docker runs with another lease.

    h1 -- net1 192.168.77.0/24 -- etcd
"""

from programmed import CONFIG

from lab import wait_for


def options_of(host, *flags, **kwargs):
    done = host.weft("docker-opts", *flags, "-d", "/run/docker_opts.env", **kwargs)
    return (host.run_dir / "docker_opts.env").read_text(encoding="ascii"), done


def test_options(fabric):
    net = fabric(hosts=1, config=CONFIG, containers=False, flags=["-ip-masq"])
    host = net.hosts[0]
    bip = host.subnet_env()["FLANNEL_SUBNET"]
    words = f" --bip={bip} --ip-masq=false --mtu=1450"
    lines = f'DOCKER_OPT_BIP="--bip={bip}"\nDOCKER_OPT_IPMASQ="--ip-masq=false"\nDOCKER_OPT_MTU="--mtu=1450"\n'
    text, done = options_of(host)
    assert text == lines + f'DOCKER_OPTS="{words}"\n' and done.stdout + done.stderr == ""
    assert options_of(host, "-i")[0] == lines
    assert options_of(host, "-c", "-m", "-k", "X", env={"X": "-D"})[0] == f'X="-D  --bip={bip} --mtu=1450"\n'
    assert options_of(host, "-f", "/nonexistent")[0] == 'DOCKER_OPTS=""\n'
    # As /dev/stdout, which is not to become a file.
    link = host.run_dir / "stdout"
    link.symlink_to("/proc/self/fd/1")
    assert host.weft("docker-opts", "-i", "-d", "/run/stdout").stdout == lines and link.is_symlink()
    assert host.weft("docker-opts", "-z", check=False).returncode == 2
    host.write_subnet_env(FLANNEL_IPMASQ="perhaps")
    bad = host.weft("docker-opts", check=False)
    assert bad.returncode == 1 and bad.stderr == 'weft: FLANNEL_IPMASQ: "perhaps" is neither true nor false\n'


def test_own_subnet_by_a_gateway(fabric):
    net = fabric(hosts=1, config=CONFIG, agents=False, containers=False)
    host = net.hosts[0]
    host.write_subnet_env(FLANNEL_SUBNET="10.1.200.1/24")
    host.ip("route", "add", "10.1.200.0/24", "via", "192.168.77.250")
    text, done = options_of(host, "-c", check=False)
    assert done.returncode == 1 and "to a gateway" in done.stderr and "--bip=10.1.200.1/24" in text
    host.ip("route", "replace", "10.1.200.0/24", "dev", "eth0")
    assert options_of(host)[1].returncode == 0


def test_another_lease(fabric):
    """Docker runs with the lease before; then it is restarted."""
    net = fabric(hosts=1, config=CONFIG, containers=False)
    host = net.hosts[0]
    own = host.subnet_env()["FLANNEL_SUBNET"]
    assert host.agent.status()["docker"] == ""
    host.ip_batch("link add docker0 type bridge", "link set docker0 up", "addr add 10.1.251.1/24 dev docker0")
    wait_for(lambda: host.agent.status()["docker"], "the agent to see it")
    said = host.weft("status").stdout
    assert "docker    Docker runs with 10.1.251.1 on docker0, which is not of our lease" in said, said
    assert "Docker runs with 10.1.251.1" in host.agent.log()
    _, done = options_of(host)
    assert done.returncode == 0
    assert f"docker0 has 10.1.251.1, and by the lease it is to have {own.split('/', maxsplit=1)[0]}" in done.stderr
    host.ip_batch("addr flush dev docker0", f"addr add {own} dev docker0")
    wait_for(lambda: not host.agent.status()["docker"], "the agent to see that it is over")
    assert "Docker runs with our lease again" in host.agent.log()
    assert options_of(host)[1].stderr == ""
    # A bridge of Docker's own, outside of the network, is no affair of ours.
    host.ip_batch("addr flush dev docker0", "addr add 172.17.0.1/16 dev docker0")
    host.agent.reload()
    host.agent.wait_log("reading everything again")
    assert host.agent.status()["docker"] == ""
