# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Addresses of containers while things break: the store, the agent, the machine, the lease; and on every store.

    h1 --+
    h2 --+-- net1 192.168.77.0/24 -- the store
"""

import concurrent.futures
import ipaddress
import json
import os

import pytest

from lab import wait_for
from lab.fabric import PREFIX, STORES

from ipam_client import (RECORDS, add, addresses, check, delete, owners, records, refused, status, wait_owners,
                         wait_serving)

FLAGS = ["--request-timeout=1s", "--dead-man=1s", "--ip-quarantine=0s"]


def made(fabric, **more):
    net = fabric(hosts=2, containers=False, flags=FLAGS, **more)
    for host in net.hosts:
        wait_serving(host)
    return net


@pytest.fixture
def net(fabric):
    return made(fabric)


def subnet(host):
    return ipaddress.ip_network(host.agent.status()["lease"]["subnet"])


def settled(host):
    state = addresses(host)
    return state["unwritten"] == 0 and not state["error"]


@pytest.mark.parametrize("store", STORES)
def test_every_store(fabric, store):
    """Given, written with the mark of its host, given back, and known again after the agent was killed."""
    net = made(fabric, store=store)
    first, second = net.hosts
    given = {add(second, f"c{i}", mode="best" if i else "async"): f"c{i}" for i in range(4)}
    given[add(first, "other")] = "other"
    wait_owners(net, given)
    record = records(net)[next(iter(given))]
    assert record["node"] == second.v4
    if store not in ("etcd2", "controller-etcd2"):      # where several keys share no session
        assert record["_pair"].lease
        assert len({r["_pair"].lease for r in records(net).values() if r["node"] == second.v4}) == 1
    second.agent.kill()
    second.agent.restart()
    wait_serving(second)
    ip = next(ip for ip, cid in given.items() if cid == "c1")
    assert add(second, "c1") == ip
    delete(second, "c1")
    del given[ip]
    wait_owners(net, given)
    sticky = add(second, "s", ns="n", pod="p", sticky=True)
    delete(second, "s")
    wait_for(lambda: records(net)[sticky]["st"] == "sticky" and settled(second), "the address to be kept")
    assert add(second, "s2", ns="n", pod="p") == sticky
    assert add(second, "strict", mode="strict") not in given
    wait_for(lambda: settled(second), "all to be written")


@pytest.mark.parametrize("store", ["etcd3", "controller"])
def test_store_down(fabric, store):
    """best and async serve on; strict says to try again, and leaves nothing; all is written when the store is back."""
    net = made(fabric, store=store)
    host = net.hosts[0]
    before = {add(host, f"old{i}"): f"old{i}" for i in range(3)}
    gone = next(ip for ip, cid in before.items() if cid == "old1")
    net.store.kill()
    best = {add(host, f"best{i}", mode="best"): f"best{i}" for i in range(10)}
    queued = {add(host, f"async{i}", mode="async"): f"async{i}" for i in range(10)}
    assert refused(host, "strict", mode="strict") == 11
    assert status(host)[0] == 200
    assert json.loads(host.agent.request("/agent/v1/ipam/status?mode=strict")[1])["code"] == 50
    delete(host, "old1")
    assert addresses(host)["subnets"][0]["used"] == 22
    net.store.start()
    wait_for(lambda: settled(host), "all to be written", timeout=40)
    wait_owners(net, {ip: cid for ip, cid in {**before, **best, **queued}.items() if ip != gone})
    assert add(host, "strict", mode="strict") not in {**before, **best, **queued}


def test_store_hangs_during_adds(net):
    """It does not answer for a while in the midst of a hundred ADDs: none fails, and none is given twice."""
    host = net.hosts[0]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(add, host, f"c{i}") for i in range(50)]
        net.etcd.members[0].pause()
        jobs += [pool.submit(add, host, f"c{i}") for i in range(50, 100)]
        given = [job.result() for job in jobs]
        net.etcd.members[0].resume()
    assert len(set(given)) == 100
    wait_owners(net, {ip: f"c{i}" for i, ip in enumerate(given)}, timeout=40)


def test_killed_in_the_midst(net):
    """kill -9 at many points of ADDs and DELs under way: what was said is true after the restart."""
    host = net.hosts[0]
    known, asked = {}, 0
    for life in range(8):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            adds = {f"c{asked + i}": pool.submit(add, host, f"c{asked + i}", mode=("best", "async", "strict")[i % 3])
                    for i in range(12)}
            dels = {cid: pool.submit(delete, host, cid) for cid in list(known)[::3]}
            asked += 12
            # The kill comes when so many of this life's records are in the store: each life a step later.
            names = set(adds)
            wait_for(lambda: sum(cid in names for cid in owners(net).values()) >= min(life + 1, 12), "some records")
            host.agent.kill()
            results = {cid: job.exception() or job.result() for cid, job in adds.items()}
            deleted = {cid for cid, job in dels.items() if job.exception() is None}
        host.agent.restart()
        wait_serving(host)
        for cid in deleted:
            known.pop(cid)
        for cid in dels:
            if cid not in deleted:
                delete(host, cid)       # as a runtime does again
                known.pop(cid)
        for cid, ip in results.items():
            if isinstance(ip, str):
                known[cid] = ip
                assert check(host, cid, ip)[0] == 200, f"{cid} was given {ip}"
            else:
                delete(host, cid)
    assert len(set(known.values())) == len(known)
    wait_for(lambda: settled(host), "all to be written", timeout=40)
    wait_owners(net, {ip: cid for cid, ip in known.items()})
    assert addresses(host)["subnets"][0]["used"] == len(known)


@pytest.mark.parametrize("state", ["journal alone", "journal and store", "release in journal alone", "store alone",
                                   "torn"])
def test_killed_at(net, state):
    """What is known again from each state that a killed agent can leave."""
    host = net.hosts[0]
    kept = add(host, "kept")
    journal = host.run_dir / "weft" / "ipam.journal"
    expected = {kept: "kept"}
    if state == "journal alone":
        net.etcd.members[0].kill()
        expected[add(host, "new")] = "new"
    elif state == "journal and store":
        expected[add(host, "new")] = "new"
    elif state == "release in journal alone":
        add(host, "new")
        net.etcd.members[0].kill()
        delete(host, "new")
    host.agent.kill()
    if state == "store alone":
        journal.unlink()
    elif state == "torn":
        os.truncate(journal, journal.stat().st_size - 9)       # in the midst of the last line
    if not net.etcd.members[0].alive():
        net.etcd.members[0].start()
    host.agent.restart()
    wait_serving(host)
    wait_owners(net, expected, timeout=40)
    for ip, cid in expected.items():
        assert add(host, cid) == ip
    assert add(host, "another") not in expected


def test_reboot(net):
    """No container survives it: the records of the former boot go, but for what is kept."""
    host = net.hosts[0]
    given = {add(host, f"c{i}"): f"c{i}" for i in range(3)}
    sticky = add(host, "s", ns="n", pod="p", sticky=True)
    wait_for(lambda: settled(host), "all to be written")
    wait_owners(net, {**given, sticky: "s"})
    host.agent.kill()
    for ip, record in records(net).items():        # another boot id: the laboratory's hosts share the machine's own
        old = {k: v for k, v in record.items() if not k.startswith("_")} | {"boot": "11111111-2222-3333-4444-555555555"}
        net.etcd.put(record["_key"], old, lease=record["_pair"].lease)
    (host.run_dir / "weft" / "ipam.journal").unlink()
    host.agent.restart()
    wait_serving(host)
    wait_owners(net, {})
    wait_for(lambda: records(net)[sticky]["st"] == "sticky", "the sticky one to be kept")
    assert records(net)[sticky]["_pair"].lease == 0
    assert add(host, "s2", ns="n", pod="p") == sticky
    assert addresses(host)["subnets"][0]["used"] == 1


def test_del_while_the_agent_is_down(net):
    """Plugins leave a file each; it is applied before the next ADD, and at once when the agent is there."""
    host = net.hosts[0]
    directory = host.run_dir / "weft" / "ipam-del.d"
    given = [add(host, f"c{i}") for i in range(4)]

    def leave(name, text):
        (directory / f".{name}").write_text(text, encoding="utf-8")
        (directory / f".{name}").rename(directory / name)

    def body(cid):
        return json.dumps({"net": "", "name": "cbr0", "cid": cid, "if": "eth0"})

    host.agent.kill()
    leave("1", body("c0"))
    leave("2", body("c0"))
    leave("3", body("never"))
    leave("4", "junk")
    leave("5", body("c2"))
    (directory / ".6").write_text(body("c1"), encoding="utf-8")
    host.agent.restart()
    wait_serving(host)
    assert check(host, "c0", given[0])[0] == 500, "before the first ADD is served"
    wait_owners(net, {given[1]: "c1", given[3]: "c3"})
    wait_for(lambda: [p.name for p in directory.iterdir()] == [".6"], "the files to go")
    assert "ipam-del.d/4" in host.agent.log()
    (directory / ".6").rename(directory / "6")
    wait_owners(net, {given[3]: "c3"})
    wait_for(lambda: not list(directory.iterdir()), "the file to go")


def test_lease_lost_and_taken(net):
    """Another host has the subnet: no address is given, none of its records is touched, all is well when it is back."""
    host = net.hosts[0]
    own = subnet(host)
    key = str(own).replace("/", "-")
    given = {add(host, "a"): "a"}
    wait_for(lambda: settled(host), "all to be written")
    before = net.etcd.get(f"{PREFIX}/subnets/{key}")
    net.put_lease(key, "192.168.77.99", "0e:00:00:00:00:99")
    theirs = {"v": 1, "ip": f"{own[200]}/24", "net": "n", "cid": "x", "if": "eth0", "node": "192.168.77.99",
              "boot": "b", "t": 1, "st": "used"}
    net.etcd.put(f"{RECORDS}{key}/{own[200]}", theirs)
    wait_for(lambda: host.agent.status()["lease"]["state"] == "foreign", "the agent to see it")
    for mode in ("best", "strict", "async"):
        assert refused(host, "b", mode=mode) == 11
    assert status(host)[1]["code"] == 50
    assert add_is_kept(host, given)
    delete(host, "never")
    assert owners(net)[str(own[200])] == "x"
    net.delete_lease(key)
    wait_for(lambda: host.agent.status()["lease"]["state"] == "held", "the lease to be regained", timeout=40)
    wait_serving(host)
    given[add(host, "b", mode="strict")] = "b"
    wait_owners(net, given)     # the other's record has gone
    assert before.json()["PublicIP"] == net.etcd.get(f"{PREFIX}/subnets/{key}").json()["PublicIP"]


def add_is_kept(host, given):
    return all(check(host, cid, ip)[0] == 200 for ip, cid in given.items())


def test_session_ends(net):
    """The records go with the session, as after a partition: they are written again, in another."""
    host = net.hosts[0]
    given = {add(host, f"c{i}"): f"c{i}" for i in range(3)}
    session = next(iter(records(net).values()))["_pair"].lease
    net.etcd.revoke(session)
    given[add(host, "d", mode="strict")] = "d"
    wait_owners(net, given)
    assert session not in {r["_pair"].lease for r in records(net).values()}


def test_records_deleted_by_others(fabric):
    """An operator, or a script, removes records of containers that live: they are written again."""
    net = fabric(hosts=1, containers=False, flags=[*FLAGS, "--ip-leak-interval=500ms"])
    host = net.hosts[0]
    wait_serving(host)
    given = {add(host, f"c{i}"): f"c{i}" for i in range(3)}
    wait_for(lambda: settled(host), "all to be written")
    assert net.etcd.delete(RECORDS, prefix=True) == 3
    wait_owners(net, given)


def test_agent_of_another_host_writes_none(fabric):
    """Through a controller with tokens each record has the mark of its host, which owns it also after a restart."""
    net = made(fabric, store="controller")
    first, second = net.hosts
    mine = add(first, "a", mode="strict")
    owner = net.leases()[str(subnet(first)).replace("/", "-")]["WeftOwner"]
    assert records(net)[mine]["WeftOwner"] == owner
    other = add(second, "b", mode="strict")
    assert records(net)[other]["WeftOwner"] != owner
    first.agent.restart()
    wait_serving(first)
    delete(first, "a")
    wait_for(lambda: settled(first) and mine not in records(net), "the record to go")
