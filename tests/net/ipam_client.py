# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What a CNI plugin says to the agent's address service, and what the store then has (docs/agent-ipam.md)."""

import json

from lab import wait_for
from lab.fabric import PREFIX

RECORDS = f"{PREFIX}/ipam/v1/ip/"


def call(host, verb, timeout=20, **body):
    """(status, parsed answer)."""
    status, text = host.agent.request(f"/agent/v1/ipam/{verb}", "POST", json.dumps(body), timeout=timeout)
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def add_raw(host, cid, ifname="eth0", name="cbr0", **more):
    return call(host, "add", name=name, cid=cid, **{"if": ifname}, **more)


def add(host, cid, **more):
    """The addresses, without their prefix lengths; of one family the address alone."""
    status, answer = add_raw(host, cid, **more)
    assert status == 200, (status, answer)
    ips = [ip["address"].partition("/")[0] for ip in answer["ips"]]
    return ips[0] if len(ips) == 1 else ips


def refused(host, cid, **more):
    """The CNI code."""
    status, answer = add_raw(host, cid, **more)
    assert status != 200, answer
    return answer["code"]


def delete(host, cid, ifname="eth0", name="cbr0", **more):
    status, answer = call(host, "del", name=name, cid=cid, **{"if": ifname}, **more)
    assert (status, answer) == (200, {}), (status, answer)


def check(host, cid, *ips, ifname="eth0", name="cbr0"):
    return call(host, "check", name=name, cid=cid, ips=list(ips), **{"if": ifname})


def status(host):
    """(status, parsed answer)."""
    code, text = host.agent.request("/agent/v1/ipam/status")
    return code, json.loads(text)


def addresses(host):
    return host.agent.status()["addresses"]


def records(net):
    """{address: its record, with "_key" and "_pair"}."""
    found = {}
    for pair in net.store.range(RECORDS):
        record = pair.json()
        found[record["ip"].partition("/")[0]] = {**record, "_key": pair.key, "_pair": pair}
    return found


def owners(net):
    """{address: container} of the used ones."""
    return {ip: record["cid"] for ip, record in records(net).items() if record["st"] == "used"}


def wait_owners(net, expected, timeout=20):
    wait_for(lambda: owners(net) == expected, f"the store's records to be {expected}", timeout)


def wait_serving(host, timeout=20):
    wait_for(lambda: status(host)[0] == 200, f"the agent of {host.name} to give addresses", timeout)
