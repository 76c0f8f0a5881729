# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft ip: what an operator sees of containers' addresses, and what he keeps from them.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 -- the store
"""

import ipaddress
import json

import pytest

from lab import Controller, wait_for
from lab.fabric import STORES
from lab.host import operator_binary

from ipam_client import RECORDS, add, addresses, delete, records, refused, wait_serving

FLAGS = ["--request-timeout=1s", "--dead-man=1s", "--ip-quarantine=0s", "--ip-leak-interval=500ms"]


@pytest.fixture(params=["etcd3", "controller"])
def net(request, fabric):
    made = fabric(hosts=2, containers=False, flags=FLAGS, store=request.param)
    for host in made.hosts:
        wait_serving(host)
    return made


def subnet(host):
    return ipaddress.ip_network(host.agent.status()["lease"]["subnet"])


class Operator:
    """Who may change the store: a controller wants its admin token for that."""

    def __init__(self, net):
        self.host = net.hosts[0]
        self.words = []
        if isinstance(net.store, Controller):
            token = net.store.host.lab.directory / "admin.token"
            token.touch(mode=0o600)
            token.write_text(net.store.token, encoding="ascii")
            self.words = [w for w in net.store.agent_flags() if not w.startswith("--token")] + [f"--token-file={token}"]

    def weft(self, *words, **kwargs):
        return self.host.weft(*words, *self.words, **kwargs)


def ip_command(host, *words, **kwargs):
    return host.weft("ip", *words, **kwargs)


def listed(host, *words):
    return {row["ip"]: row for row in json.loads(ip_command(host, "list", "--json", *words).stdout)["addresses"]}


def test_list_and_show(net):
    first, second = net.hosts
    a = add(first, "container-a", ns="default", pod="web-0", uid="u-1")
    b = add(second, "container-b", pod="solo")
    kept = add(second, "container-c", ns="default", pod="db-0", sticky=True)
    delete(second, "container-c")
    wait_for(lambda: records(net)[kept]["st"] == "sticky", "the address to be kept")
    assert set(listed(first)) == {a, b, kept}
    assert set(listed(first, f"--host={second.v4}")) == {b, kept}
    assert set(listed(first, "--pod=default/web-0")) == set(listed(first, "--pod=web-0")) == {a}
    assert set(listed(first, "--unused")) == {kept}
    assert listed(first, "--leaked") == {}
    row = listed(first)[a]
    want = {"state": "used", "host": first.v4, "cni_network": "cbr0", "container": "container-a", "interface": "eth0",
            "namespace": "default", "pod": "web-0", "uid": "u-1", "leaked": None, "subnet": str(subnet(first))}
    assert {k: row[k] for k in want} == want
    table = ip_command(second, "list").stdout.splitlines()
    assert len(table) == 4 and table[0].split()[:4] == ["ADDRESS", "STATE", "HOST", "POD"]
    assert any(line.split()[:4] == [a, "used", first.v4, "default/web-0"] for line in table)
    shown = ip_command(second, "show", a).stdout
    assert "default/web-0" in shown and "container-a" in shown and first.v4 in shown and "since" in shown
    nobody = str(subnet(first)[77])
    missing = ip_command(second, "show", nobody, check=False)
    assert missing.returncode == 3 and first.v4 in missing.stderr and nobody in missing.stderr
    assert ip_command(second, "show", "x", check=False).returncode == 2
    assert ip_command(second, "list", "--host=h1", check=False).returncode == 2


def test_leaked(net):
    """Records of a host that is no more, and of a host before it was started anew."""
    first, second = net.hosts
    a, b = add(first, "a"), add(second, "b")
    record = {k: v for k, v in records(net)[a].items() if not k.startswith("_")}
    old = str(subnet(first)[50])
    net.store.put(f"{RECORDS}{str(subnet(first)).replace('/', '-')}/{old}",
                  {**record, "ip": f"{old}/24", "cid": "old", "boot": "another"})
    net.store.put(f"{RECORDS}10.1.200.0-24/10.1.200.5", {**record, "ip": "10.1.200.5/24", "cid": "stray"})
    net.store.put(f"{RECORDS}10.1.200.0-24/10.1.200.6", "junk")
    leaked = listed(first, "--leaked")
    assert "10.1.200.5" in leaked and "nobody has a lease" in leaked["10.1.200.5"]["leaked"]
    assert a not in leaked and b not in leaked
    everything = ip_command(first, "list").stdout
    assert "unreadable" in everything and "10.1.200.6" in everything
    # Its agent finds what an earlier boot left.
    wait_for(lambda: old not in records(net) if not junk(net) else None, "the old record to go")


def junk(net):
    """So that what cannot be read is out of the way of those who read all."""
    net.store.delete(f"{RECORDS}10.1.200.0-24/10.1.200.6")


def test_reserve_and_release(net):
    host = net.hosts[0]
    admin = Operator(net)
    own = subnet(host)
    wanted, plain = str(own[2]), str(own[3])
    if admin.words:
        denied = ip_command(host, "reserve", wanted, check=False)
        assert denied.returncode == 1 and wanted in denied.stderr, "an agent's token is not enough"
    assert ip_command(admin, "reserve", wanted, "--pod=ns/lb-0").stdout == f"{wanted}: reserved\n"
    assert ip_command(admin, "reserve", wanted, "--pod=ns/lb-0").returncode == 0, "it is already"
    other = ip_command(admin, "reserve", wanted, "--pod=ns/other", check=False)
    assert other.returncode == 1 and "reserved for ns/lb-0" in other.stderr
    ip_command(admin, "reserve", plain)
    assert set(listed(admin, "--unused")) == {wanted, plain}
    a = add(host, "a")
    assert a == str(own[4])
    assert refused(host, "b", ips=[plain]) == 111
    assert add(host, "lb", ns="ns", pod="lb-0") == wanted
    used = ip_command(admin, "reserve", a, check=False)
    assert used.returncode == 1 and "used by container a" in used.stderr
    lent = ip_command(admin, "release", wanted, check=False)
    assert lent.returncode == 1 and "used for ns/lb-0 by container lb" in lent.stderr
    delete(host, "lb")
    wait_for(lambda: records(net)[wanted]["st"] == "reserved", "it to be reserved again")
    assert ip_command(admin, "release", wanted).stdout == f"{wanted}: released\n"
    ip_command(admin, "release", plain)
    assert ip_command(admin, "release", plain, check=False).returncode == 3
    wait_for(lambda: addresses(host)["subnets"][0]["reserved"] == 0, "the agent to hear of it")
    assert add(host, "b", ips=[plain]) == plain
    for bad in (own[0], own[1], own[255], "192.0.2.1", "fd00::1"):
        assert ip_command(admin, "reserve", str(bad), check=False).returncode == 1, bad


def test_status_tells(net):
    host = net.hosts[0]
    given = [add(host, f"c{i}") for i in range(3)]
    delete(host, "c0")

    def told():
        line = next(line for line in host.weft("status").stdout.splitlines() if line.startswith("addresses"))
        return line.split(None, 1)[1]
    # Without a quarantine it is free once the store has forgotten it.
    wait_for(lambda: told() == f"{subnet(host)}: 2 used, 251 free, 0 quarantined", "the address to be free again")
    assert len(set(given)) == 3


@pytest.mark.parametrize("store", [name for name in STORES if "consul" not in name])
def test_history(fabric, store):
    """Who had it, in order."""
    net = fabric(hosts=1, containers=False, flags=FLAGS, store=store)
    host = net.hosts[0]
    wait_serving(host)
    address = add(host, "first", ns="ns", pod="one")
    delete(host, "first")
    wait_for(lambda: address not in records(net), "the record to go")
    assert add(host, "second", ips=[address]) == address
    wait_for(lambda: address in records(net), "the record to be there")
    add(host, "unrelated")
    history = json.loads(ip_command(host, "history", address, "--json").stdout)["history"]
    assert [(e["event"], e.get("container")) for e in history] == \
        [("written", "first"), ("released", None), ("written", "second")]
    lines = ip_command(host, "history", address).stdout.splitlines()
    assert len(lines) == 3 and "ns/one" in lines[0] and "released" in lines[1] and "second" in lines[2]
    nobody = ip_command(host, "history", str(subnet(host)[99]))
    assert "nothing is remembered" in nobody.stdout


def test_watch(net):
    host = net.hosts[0]
    log = host.directory / "watch.log"
    process = host.spawn(operator_binary(), "ip", "watch", log=log, name="weft ip watch")

    def asked():
        """Every so often one more, until it says something: it tells of nothing before it is there."""
        cid = f"probe-{len(records(net))}"
        add(host, cid)
        return log.read_text(encoding="utf-8")

    wait_for(asked, "the first line")
    address = add(net.hosts[1], "watched", ns="ns", pod="p")
    delete(net.hosts[1], "watched")
    wait_for(lambda: f"released   {address}" in log.read_text(encoding="utf-8"), "the release to be told")
    text = log.read_text(encoding="utf-8")
    assert f"used       {address} pod=ns/p container=watched interface=eth0 host={net.hosts[1].v4}" in text
    process.kill()
