# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""`weft cleanup`: a host on which the agent was is as one on which it never was, but for what is told to stay.

    c1 - h1 --+
         h2 --+-- net1 192.168.77.0/24 fd77:1::/64 -- etcd
"""

import pytest
from programmed import DUAL_CONFIG

from lab import wait_for


def state(host):
    """What the kernel has, of all that a cleanup could touch."""
    def routes(flag):
        return sorted(r["dst"] for r in host.ip_json(flag, "route", "show") if r["dev"] not in ("cni0",))
    return {"links": sorted(link["ifname"] for link in host.ip_json("link", "show")),
            "routes": routes("-4") + routes("-6"), "nexthops": host.ip("nexthop", "show"),
            "nft": host.run("nft", "list", "ruleset").stdout,
            "legacy": host.run("iptables-legacy-save").stdout if "filter" in host.run(
                "cat", "/proc/net/ip_tables_names", check=False).stdout else "",
            "files": sorted(str(p.relative_to(host.run_dir)) for p in host.run_dir.rglob("*")
                            if p.is_file() or p.is_socket())}


BACKENDS = {"vxlan": {"Type": "vxlan", "VNI": 5}, "host-gw": {"Type": "host-gw"}, "udp": {"Type": "udp"}}


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_goes(fabric, backend):
    family = {"vxlan": 46, "host-gw": 46, "udp": 4}[backend]
    config = {**DUAL_CONFIG, "EnableIPv6": family == 46, "Backend": BACKENDS[backend]}
    net = fabric(hosts=2, config=config, family=family, agents=False)
    host = net.hosts[0]
    host.run("nft", "add", "table", "inet", "others")
    host.ip("link", "add", "flannelbr", "type", "bridge")
    host.ip("route", "add", "172.30.0.0/24", "via", "192.168.77.250")
    before = state(host)
    for each in net.hosts:
        net.start_agent(each, "-ip-masq")
    wait_for(lambda: host.agent.status()["peers"]["programmed"] == 1 and host.agent.status()["firewall"]["in_order"],
             "the peer and the rules")
    wait_for(lambda: all("tentative" not in a for link in host.ip_json("addr", "show") for a in link["addr_info"]),
             "addresses to be settled")
    refused = host.weft("cleanup", check=False)
    assert refused.returncode == 1 and refused.stderr.startswith("weftd: stop it first: "), refused.stderr
    assert host.agent.stop() == 0
    there = state(host)
    assert there != before

    told = host.weft("cleanup", "--dry-run").stdout.splitlines()
    assert state(host) == there, "a dry run changes nothing"
    done = host.weft("cleanup").stdout.splitlines()
    print("\n".join(done))
    assert [line.replace("removed", "would remove", 1) for line in done] == told
    after = state(host)
    after["files"] = [f for f in after["files"] if "ipam" not in f]
    assert {**after, "files": None} == {**before, "files": None}
    assert "flannel/subnet.env" not in after["files"] and not [f for f in after["files"] if f.startswith("weft/")]
    removed = [line.split()[1] for line in done if line.startswith("removed ")]
    assert {"rule", "route", "/run/flannel/subnet.env"} <= set(removed)
    assert ("process" in removed) == (backend == "udp")
    kept = [line for line in done if line.startswith("kept ")]
    assert any("the lease in the store" in line for line in kept) and any("/var/lib/weft" in line for line in kept)
    # Nothing is left to remove; and a start gives the same subnet.
    assert not [line for line in host.weft("cleanup").stdout.splitlines() if not line.startswith("kept ")]
    subnet = net.store.range("/coreos.com/network/subnets/")
    net.start_agent(host, "-ip-masq")
    assert len(net.store.range("/coreos.com/network/subnets/")) == len(subnet)


def test_of_flannel_with_iptables(fabric):
    """Its chains, its device and its file, on a host that never had weft."""
    net = fabric(hosts=1, agents=False, containers=False)
    host = net.hosts[0]
    host.run("iptables-nft-restore", "--noflush", stdin="""*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.1.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
""")
    host.ip("link", "add", "flannel.1", "type", "vxlan", "id", "1", "dstport", "8472", "dev", "eth0")
    host.write_subnet_env(FLANNEL_NETWORK="10.1.0.0/16", FLANNEL_SUBNET="10.1.2.1/24")
    done = host.weft("cleanup").stdout
    assert "removed rule FLANNEL-FWD -s 10.1.0.0/16" in done and "removed link flannel.1" in done
    assert "FLANNEL" not in host.run("iptables-nft-save").stdout
    assert not (host.run_dir / "flannel" / "subnet.env").exists()
    assert "flannel.1" not in host.ip("link", "show")


def test_usage(fabric):
    net = fabric(hosts=1, agents=False, containers=False)
    host = net.hosts[0]
    assert host.weft("--json", "cleanup", check=False).returncode == 2
    assert "no --dry-run" in host.weft("status", "--dry-run", check=False).stderr
