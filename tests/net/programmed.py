# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What an agent has made in its host's kernel, for one family, as `ip -j` and `bridge -j` show it."""

import dataclasses
import json
import time

from lab import LabError, wait_for

REPAIR_S = 1
CONFIG = {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 123}}
DUAL_CONFIG = {**CONFIG, "EnableIPv6": True, "IPv6Network": "fc00:1::/48"}
ONLY_ON_NOTICE = ["--scan-interval=1h"]     # so that every repair is one on notification


@dataclasses.dataclass(frozen=True)
class Family:
    """IPv4 or IPv6: the names by which its half of a host is found."""

    flag: str               # of ip
    device: str
    lease_member: str       # of the agent's answers
    inet: str               # of ip's answers
    local: str
    host_bits: int

    def subnet(self, host):
        return host.agent.status()["lease"][self.lease_member]

    def address(self, host):
        """Of its underlay."""
        return host.v4 if self is V4 else host.v6


V4 = Family("-4", "flannel.123", "subnet", "inet", "local", 32)
V6 = Family("-6", "flannel-v6.123", "ipv6_subnet", "inet6", "local6", 128)


class Peer:
    """What a host has for another one."""

    def __init__(self, host, family=V4):
        self.subnet = family.subnet(host)
        self.gateway = self.subnet.split("/")[0]
        self.mac = link_of(host, family)["address"]
        self.ip = family.address(host)


def link_of(host, family=V4):
    return host.ip_json("link", "show", "dev", family.device)[0]


def state_of(host, family=V4):
    """All that is ours on the host, without the numbers that a new device changes."""
    link = link_of(host, family)
    data = link["linkinfo"]["info_data"]
    addresses = host.ip_json("addr", "show", "dev", family.device)[0]["addr_info"]
    routes = [{k: v for k, v in r.items() if k not in ("nhid", "nh_info")}
              for r in host.ip_json(family.flag, "route", "show", "proto", "157")]
    nexthops = [{k: v for k, v in n.items() if k != "id"}
                for n in host.ip_json(family.flag, "nexthop", "show")]
    neighbours = host.ip_json(family.flag, "neigh", "show", "dev", family.device, "nud", "permanent")
    fdb = [f for f in host.bridge_json("fdb", "show", "dev", family.device) if f.get("dst")]
    return {
        "device": [link["address"], link["mtu"], "UP" in link["flags"], data["id"],
                   data[family.local], data["link"], data["port"], data["learning"]],
        "addresses": sorted((a["local"], a["prefixlen"]) for a in addresses
                            if a["family"] == family.inet and a["scope"] == "global"),
        **{name: sorted(json.dumps(o, sort_keys=True) for o in objects)
           for name, objects in (("routes", routes), ("nexthops", nexthops),
                                 ("neighbours", neighbours), ("fdb", fdb))},
    }


def settled_state(net, families=(V4,)):
    """The states of h1, one for each family, when all peers are programmed."""
    host = net.hosts[0]
    wait_for(lambda: host.agent.status()["peers"]["programmed"] == len(net.hosts) - 1,
             "all peers to be programmed")
    for family in families:
        wait_for(lambda f=family: len(state_of(host, f)["addresses"]) == 1,
                 f"the address of {family.device}")
    return [state_of(host, family) for family in families]


def repairs(host):
    return host.agent.status()["repairs"]["total"]


def await_repair(host, before, counted, what, families=(V4,)):
    """Wait until h1 is as before and says that it repaired something; the time it took in ms."""
    began = time.monotonic()

    def repaired():
        return repairs(host) > counted and [state_of(host, f) for f in families] == before

    try:
        wait_for(repaired, f"{host.name} to repair: {what}", timeout=REPAIR_S, interval=0.005)
    except LabError:
        assert [state_of(host, f) for f in families] == before, f"not repaired: {what}"
        raise
    return (time.monotonic() - began) * 1000
