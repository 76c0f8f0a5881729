# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Addresses of containers: what the agent gives, what the store has of it, who is refused.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 -- etcd
"""

import concurrent.futures
import ipaddress
import json
import subprocess
from pathlib import Path

import pytest

from lab import wait_for

from ipam_client import (RECORDS, add, add_raw, addresses, call, check, delete, owners, records, refused, status,
                         wait_owners, wait_serving)

FLAGS = ["--request-timeout=1s", "--dead-man=1s", "--ip-quarantine=0s"]


@pytest.fixture
def net(fabric):
    made = fabric(hosts=2, containers=False, flags=FLAGS)
    for host in made.hosts:
        wait_serving(host)
    return made


def subnet(host):
    return ipaddress.ip_network(host.agent.status()["lease"]["subnet"])


def test_add_del_add(net):
    """What a plugin is told, what the record says, and that the address comes back last."""
    host = net.hosts[0]
    own = subnet(host)
    code, answer = add_raw(host, "cid-1", ns="default", pod="web-0", uid="u-1")
    assert code == 200
    assert answer == {"ips": [{"address": f"{own[2]}/24", "gateway": str(own[1])}], "routes": [{"dst": "10.1.0.0/16"}],
                      "mtu": 1450, "subnets": [str(own)], "networks": ["10.1.0.0/16"]}
    record = records(net)[str(own[2])]
    assert record["_key"] == f"{RECORDS}{str(own).replace('/', '-')}/{own[2]}"
    assert record["_pair"].lease != 0, "it goes with its host"
    want = {"v": 1, "ip": f"{own[2]}/24", "net": "cbr0", "cid": "cid-1", "if": "eth0", "ns": "default", "pod": "web-0",
            "uid": "u-1", "node": host.v4, "st": "used"}
    assert {k: record[k] for k in want} == want
    assert add(host, "cid-1") == str(own[2]), "the same again"
    assert add(host, "cid-1", ifname="eth1") == str(own[3])
    assert check(host, "cid-1", f"{own[2]}/24")[0] == 200
    assert check(host, "cid-1", str(own[3]))[0] == 500
    assert check(host, "cid-2", str(own[3]))[0] == 500
    delete(host, "cid-1")
    delete(host, "cid-1")
    delete(host, "never-there")
    assert check(host, "cid-1", str(own[2]))[0] == 500
    wait_owners(net, {str(own[3]): "cid-1"})
    assert add(host, "cid-2") == str(own[4]), "what was given back is given last"
    assert add(net.hosts[1], "cid-1") in map(str, subnet(net.hosts[1]).hosts())


def test_253_at_once(net):
    """All addresses of a /24 but three, each once; then none is left, and one that comes back is given again."""
    host = net.hosts[0]
    own = subnet(host)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        given = list(pool.map(lambda i: add(host, f"cid-{i}"), range(253)))
    assert sorted(map(ipaddress.ip_address, given)) == list(own.hosts())[1:]
    code, answer = add_raw(host, "cid-253")
    assert (code, answer["code"]) == (409, 110)
    assert answer["msg"].startswith("failed to allocate for range 0: no IP addresses available in range set: "
                                    f"{own[2]}-{own[254]} (used 253, quarantined 0"), answer["msg"]
    assert status(host)[1]["code"] == 50
    assert owners(net) == {ip: f"cid-{i}" for i, ip in enumerate(given)}
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda i: delete(host, f"cid-{i}"), range(0, 253, 2)))
    wait_owners(net, {ip: f"cid-{i}" for i, ip in enumerate(given) if i % 2})
    assert add(host, "cid-254") in given[::2]


def test_requested(net):
    host = net.hosts[0]
    own = subnet(host)
    assert add(host, "a", ips=[f"{own[9]}/24"]) == str(own[9])
    code, answer = add_raw(host, "b", ips=[str(own[9])])
    assert (code, answer["code"]) == (409, 111)
    assert answer["msg"].startswith(f"requested IP address {own[9]} is not available in range set {own[2]}-{own[254]}")
    assert "container a" in answer["details"]
    for other in (own[0], own[1], own[255], subnet(net.hosts[1])[9], "192.0.2.1", "fd00::1"):
        assert refused(host, "c", ips=[str(other)]) == 111, other
    assert owners(net) == {str(own[9]): "a"}
    assert refused(host, "a", ips=[str(own[10])]) == 111, "it has another one"


def test_bad_requests(net):
    host = net.hosts[0]
    for body in ("", "[]", "{", '{"name":"n"}', '{"name":"n","cid":"c","if":"a/b"}',
                 '{"name":"../x","cid":"c","if":"e"}',
                 '{"name":"n","cid":"c","if":"e","ips":["x"]}', '{"name":"n","cid":"c","if":"e","mode":"often"}',
                 '{"name":"n","cid":"c","if":"e","net":"other"}', '{"name":"n","cid":"c","if":"e","sticky":true}',
                 '{"name":"n","cid":"c","if":"e","ips":["10.1.2.3","10.1.2.4"]}'):
        code, text = host.agent.request("/agent/v1/ipam/add", "POST", body)
        assert code == 400 and json.loads(text)["code"] == 7, (body, code, text)
    assert host.agent.request("/agent/v1/ipam/add", "POST", "x" * 70000)[0] == 413
    assert host.agent.request("/agent/v1/ipam/add")[0] == 405
    assert host.agent.request("/agent/v1/ipam/none")[0] == 404
    assert call(host, "gc", name="cbr0")[1]["code"] == 7, "without a list nothing is said of what is alive"
    assert owners(net) == {}


def test_collection(net):
    host = net.hosts[0]
    kept = add(host, "a"), add(host, "c", name="other")
    add(host, "b")
    add(host, "a", ifname="eth1")
    assert call(host, "gc", name="cbr0", keep=[{"cid": "a", "if": "eth0"}]) == (200, {"released": 2})
    wait_owners(net, {kept[0]: "a", kept[1]: "c"})
    assert call(host, "gc", name="cbr0", keep=[]) == (200, {"released": 1})
    wait_owners(net, {kept[1]: "c"})


def test_quarantine(fabric):
    """An address rests; while only resting ones are left none is given."""
    net = fabric(hosts=1, containers=False,
                 config={"Network": "10.1.0.0/16", "SubnetLen": 29, "Backend": {"Type": "vxlan"}},
                 flags=["--ip-quarantine=1h"])
    host = net.hosts[0]
    wait_serving(host)
    own = subnet(host)
    given = [add(host, f"c{i}") for i in range(5)]
    assert given == [str(own[i]) for i in range(2, 7)]
    delete(host, "c3")
    wait_owners(net, {ip: f"c{i}" for i, ip in enumerate(given) if i != 3})
    assert refused(host, "d") == 110
    assert addresses(host)["subnets"][0]["quarantined"] == 1
    assert refused(host, "d", ips=[given[3]]) == 111
    assert add(host, "c3", ips=[given[3]]) == given[3], "its own container may have it again at once"
    delete(host, "c0")
    host.agent.kill()
    host.agent.restart()
    wait_serving(host)
    assert refused(host, "d") == 110, "the quarantine survives the agent"
    wait_owners(net, {ip: f"c{i}" for i, ip in enumerate(given) if i != 0})
    host.agent.kill()
    host.agent.restart()
    wait_serving(host)
    assert refused(host, "d") == 110, "and when the store has forgotten the address, too"


def test_prefix_trap(net):
    """Addresses of which one begins another's text are not taken for each other."""
    host = net.hosts[0]
    own = subnet(host)
    for last in (110, 11, 12):
        assert add(host, f"c{last}", ips=[str(own[last])]) == str(own[last])
    delete(host, "c11")
    wait_owners(net, {str(own[110]): "c110", str(own[12]): "c12"})
    host.agent.restart()
    wait_serving(host)
    assert add(host, "d", ips=[str(own[11])]) == str(own[11])
    assert add(host, "c110") == str(own[110])


def test_stale_delete(net):
    """A DEL that comes after its address was given to another container takes nothing from that."""
    host = net.hosts[0]
    address = add(host, "old", pod="web-0", ns="default")
    delete(host, "old")
    wait_owners(net, {})
    assert add(host, "new", ips=[address], pod="web-0", ns="default") == address
    delete(host, "old", ips=[f"{address}/24"])
    delete(host, "old")
    assert check(host, "new", address)[0] == 200
    assert owners(net) == {address: "new"}
    delete(host, "new", name="renamed", ips=[f"{address}/24"])
    wait_owners(net, {})


def test_sticky_and_reserved(net):
    """A sticky address stays its pod's on this host, over restarts; a reserved one is given to nobody else."""
    host = net.hosts[0]
    own = subnet(host)
    address = add(host, "a", ns="ns", pod="db-0", sticky=True)
    delete(host, "a")
    wait_for(lambda: records(net)[address]["st"] == "sticky", "the record to be kept")
    assert records(net)[address]["_pair"].lease == 0, "for longer than its host may be away"
    assert refused(host, "x", ips=[address]) == 111
    host.agent.restart()
    wait_serving(host)
    assert refused(host, "x", ips=[address]) == 111
    assert add(host, "other", ns="ns", pod="db-1") != address
    assert add(host, "b", ns="ns", pod="db-0") == address
    wait_for(lambda: records(net)[address]["st"] == "used", "the record to be used again")
    reserved = str(own[4])
    key = f"{RECORDS}{str(own).replace('/', '-')}/{reserved}"
    net.etcd.put(key, {"v": 1, "ip": f"{reserved}/24", "ns": "ns", "pod": "lb-0", "t": 1, "st": "reserved"})
    assert reserved not in [add(host, f"n{i}") for i in range(3)]
    assert refused(host, "x", ips=[reserved]) == 111
    assert add(host, "lb", ns="ns", pod="lb-0") == reserved
    delete(host, "lb")
    wait_for(lambda: records(net)[reserved]["st"] == "reserved", "the reservation to be back")


def test_dual_stack(fabric):
    """Both families or none."""
    net = fabric(hosts=1, containers=False, family=46, flags=FLAGS,
                 config={"Network": "10.1.0.0/16", "EnableIPv6": True, "IPv6Network": "fd00:10::/48",
                         "Backend": {"Type": "vxlan"}})
    host = net.hosts[0]
    wait_serving(host)
    v4, v6 = (ipaddress.ip_network(s) for s in status(host)[1]["subnets"])
    assert add(host, "a") == [str(v4[2]), str(v6[2])]
    assert set(owners(net)) == {str(v4[2]), str(v6[2])}
    # One half is another's: the other half is not kept either when that very address was asked for.
    key = f"{RECORDS}{str(v6).replace('/', '-')}/{v6[9]}"
    net.etcd.put(key, {"v": 1, "ip": f"{v6[9]}/64", "ns": "", "t": 1, "st": "reserved"})
    assert refused(host, "b", ips=[str(v4[9]), str(v6[9])]) == 111
    assert set(owners(net)) == {str(v4[2]), str(v6[2])}
    # Not asked for, another one is found.
    net.etcd.put(key.replace(str(v6[9]), str(v6[3])), {"v": 1, "ip": f"{v6[3]}/64", "t": 1, "st": "reserved"})
    got = add(host, "c")
    assert got == [str(v4[3]), str(v6[4])], got
    delete(host, "a")
    delete(host, "c")
    wait_owners(net, {})


def test_restart_keeps(net):
    """An orderly restart changes nothing, and needs no store."""
    host = net.hosts[0]
    given = {add(host, f"c{i}"): f"c{i}" for i in range(5)}
    session = {r["_pair"].lease for r in records(net).values()}
    host.agent.restart()
    wait_serving(host)
    assert {add(host, cid): cid for cid in given.values()} == given
    add(host, "new")
    assert {r["_pair"].lease for r in records(net).values()} == session, "the session is used on"
    assert len(records(net)) == 6


@pytest.fixture
def namespaces():
    """Paths of two; who may look at a process of more capabilities than its own?"""
    plain = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "sleep", "1000"]
    made = [subprocess.Popen(words) for words in (plain, ["unshare", "--net", *plain])]
    try:
        for process in made:
            wait_for(lambda p=process: Path(f"/proc/{p.pid}/comm").read_text() == "sleep\n", "the namespace")
        yield [f"/proc/{process.pid}/ns/net" for process in made]
    finally:
        for process in made:
            process.kill()
            process.wait()


def test_leak(net, namespaces):
    """A container that has gone without a DEL is missed twice, and its address is free again.

    What says that one is there still, or was never seen, keeps it.
    """
    host = net.hosts[0]
    host.agent.restart(*host.agent.flags, "--ip-leak-interval=300ms")
    wait_serving(host)
    (host.run_dir / "netns").mkdir(exist_ok=True)       # the agent's /run
    given = {}
    for cid in ("gone", "replaced", "cached", "stays", "covered"):
        (host.run_dir / "netns" / cid).symlink_to(namespaces[0])
    (host.run_dir / "netns" / "uncovered").touch()      # as it is where its mount is not seen
    for cid in ("gone", "replaced", "cached", "stays", "covered", "uncovered"):
        given[cid] = add(host, cid, netns=f"/run/netns/{cid}")
    given["unseen"] = add(host, "unseen", netns="/run/netns/unseen", host_if="veth-unseen")
    host.ip("link", "add", "veth-x", "type", "veth", "peer", "name", "veth-y")
    given["pair"] = add(host, "pair", host_if="veth-x")
    (host.run_dir / "hidden").mkdir()
    (host.run_dir / "hidden" / "x").touch()
    given["hidden"] = add(host, "hidden", netns="/run/hidden/x")
    results = host.lib_dir / "cni" / "results"
    results.mkdir(parents=True)
    (results / "cbr0-cached-eth0").touch()
    wait_owners(net, {ip: cid for cid, ip in given.items()})
    # Its end of the pair must have been seen once: the looks come every 300 ms.
    first = host.agent.metric("weft_store_requests_total")
    wait_for(lambda: host.agent.metric("weft_store_requests_total") >= first + 3, "some looks")
    for cid in ("gone", "replaced", "cached"):
        (host.run_dir / "netns" / cid).rename(host.run_dir / f"kept-{cid}")     # so that its inode is not used again
    (host.run_dir / "netns" / "replaced").symlink_to(namespaces[1])
    (host.run_dir / "netns" / "covered").rename(host.run_dir / "kept-covered")
    (host.run_dir / "netns" / "covered").touch()
    (host.run_dir / "netns" / "uncovered").unlink()
    (host.run_dir / "netns" / "uncovered").symlink_to(namespaces[0])
    (host.run_dir / "hidden").rename(host.run_dir / "shown")    # where it is cannot be seen any more
    host.ip("link", "del", "veth-x")
    wait_owners(net, {given[cid]: cid for cid in ("cached", "stays", "covered", "uncovered", "unseen", "hidden")})
    assert addresses(host)["leaks"] == 3
    assert host.agent.metric("weft_addresses", state="used") == 6
    assert host.agent.metric("weft_address_leaks_total") == 3
    (results / "cbr0-cached-eth0").unlink()
    wait_owners(net, {given[cid]: cid for cid in ("stays", "covered", "uncovered", "unseen", "hidden")})
