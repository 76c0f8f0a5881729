# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The records of containers' addresses, as an operator lists them, and what is left of containers that are gone."""

import json

from lab import wait_for

BRIDGE = "cni0"


def listed(host):
    """{address: row} of `weft ip list --json`: the whole network's."""
    rows = json.loads(host.weft("ip", "list", "--json").stdout)["addresses"]
    return {row["ip"]: row for row in rows}


def check_record(runtime, container, asked):
    """The address that a container has is a record, which a host that is asked knows the container by."""
    row = wait_for(lambda: listed(asked).get(container.v4), f"a record of {container.name} ({container.v4})")
    assert (row["state"], row["cni_network"], row["interface"]) == ("used", "weft", "eth0"), row
    assert (row["host"], row["container"]) == (container.host.v4, runtime.container_id(container.id)), row
    assert (row["namespace"], row["pod"]) == runtime.pod(container.id), row
    assert row["leaked"] is None, row


def _names(host, directory):
    return host.run("find", directory, "-mindepth", 1, check=False).stdout.split()


def _spoof_elements(host):
    """What the table against spoofing lets pass."""
    done = host.run("nft", "-j", "list", "table", "bridge", "weft-cni", check=False)
    if done.returncode:
        return []
    return [e for item in json.loads(done.stdout)["nftables"] for e in item.get("set", {}).get("elem", [])]


def _published(host):
    """The rules of portmap that are one container's."""
    return [line for line in host.run("iptables-save").stdout.splitlines() if "CNI-DN-" in line or "dnat name" in line]


def links(host):
    return {link["ifname"] for link in host.ip_json("link", "show")}


def of_containers(host, own_links):
    """Everything on a host that is of a container; own_links: those before the first one."""
    code, text = host.agent.request("/agent/v1/ipam/status")
    status = json.loads(text)
    return {
        "links": sorted(links(host) - own_links - {BRIDGE}),
        "namespaces": _names(host, "/run/netns"),
        "unapplied releases": _names(host, "/run/weft/ipam-del.d"),
        "results": _names(host, "/var/lib/cni/results"),
        "published ports": _published(host),
        "set elements": _spoof_elements(host),
        "records": [ip for ip, row in listed(host).items() if row["host"] == host.v4],
        "addresses": [] if code == 200 and status["used"] == status["quarantined"] == 0 else [text],
    }


def await_nothing(host, own_links):
    """Wait until that is nothing, addresses in quarantine included."""
    last = {}

    def nothing():
        last.clear()
        last.update({k: v for k, v in of_containers(host, own_links).items() if v})
        return not last

    try:
        wait_for(nothing, f"nothing to be left on {host.name}", timeout=30)
    except Exception:
        assert not last, f"left on {host.name}: {last}"
        raise
