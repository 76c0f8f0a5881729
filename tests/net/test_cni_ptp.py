# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The plugin weft in mode ptp: a pair and a host route for each container, beside what Debian's ptp gives.

        h1: vethXXXXXXXX (10.66.0.1/32) -- eth0 in p1,   vethYYYYYYYY (10.66.0.1/32) -- eth0 in p2
"""

import json
import re

import pytest

from lab.cni import CniError, Runtime

V4 = {"ranges": [[{"subnet": "10.66.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
DUAL = {"ranges": [[{"subnet": "10.66.0.0/24"}], [{"subnet": "fd00:66::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}


def conf_of(ipam, version="1.0.0", **more):
    return {"cniVersion": version, "name": "net", "type": "weft", "mode": "ptp", "mtu": 1400,
            "ipam": {"type": "host-local", **ipam}, **more}


@pytest.fixture
def runtime(lab):
    return Runtime(lab.host("h1"))


def veths(host):
    return [link["ifname"] for link in host.ip_json("link", "show") if link["ifname"].startswith("veth")]


def text_of(value, pod):
    text = re.sub(r"veth[0-9a-f]{8}", "veth", json.dumps(value, sort_keys=True))
    return re.sub(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", "MAC", text).replace(pod, "POD")


@pytest.mark.parametrize("ipam", (V4, DUAL), ids=("v4", "dual"))
def test_same_as_the_reference(runtime, ipam):
    host, seen = runtime.host, []
    for kind in ("ptp", "weft"):
        pod = runtime.pod(kind)
        conf = conf_of(ipam, type=kind, name=kind)
        result = runtime.add([conf], "c1", pod)
        host_routes = [r for f in ((), ("-6",)) for r in host.ip_json(*f, "route", "show") if "66" in r["dst"]]
        gateways = sorted(a["local"] for a in host.ip_json("addr", "show", "dev", veths(host)[0])[0]["addr_info"]
                          if a["scope"] == "global")
        # The reference gives routes in another order than the kernel lists them, and ours none of its metrics.
        routes = sorted((r["dst"], str(r.get("gateway")), str(r.get("scope")))
                        for f in ((), ("-6",)) for r in runtime.pod_ip(pod, *f, "route", "show")
                        if not r["dst"].startswith("fe80"))
        host_routes = sorted((r["dst"], str(r.get("scope"))) for r in host_routes)
        seen.append((text_of(result, pod), host_routes, gateways, routes))
        runtime.delete([conf], "c1", pod)
        assert veths(host) == []
    assert seen[0] == seen[1]


def test_reach_check_and_del(runtime):
    host, conf = runtime.host, conf_of(DUAL)
    pods = [runtime.pod(f"p{i}") for i in (1, 2)]
    results = [runtime.add([conf], f"c{i}", pod) for i, pod in enumerate(pods)]
    for ip in results[0]["ips"]:
        assert runtime.reach(pods[1], ip["address"].split("/")[0]) and runtime.reach(pods[1], ip["gateway"])
    runtime.check([conf], "c0", pods[0])
    host.run("nsenter", f"--net={pods[0]}", "ip", "route", "del", "default")
    with pytest.raises(CniError):
        runtime.check([conf], "c0", pods[0])
    runtime.must("DEL", {**conf, "prevResult": results[0]}, "c0", "")
    assert len(veths(host)) == 1
    runtime.delete([conf], "c1", pods[1])
    runtime.delete([conf], "c1", pods[1])
    assert veths(host) == []
    out = runtime.call("ADD", {**conf, "ipam": {}}, "c3", pods[0])
    assert out.json["code"] == 7
    bad = conf_of({**V4, "routes": [{"dst": "10.0.0.0/8", "gw": "172.31.0.1"}]})
    assert runtime.call("ADD", bad, "c3", pods[0]).code == 1 and veths(host) == []
    out = runtime.call("ADD", {**conf, "mode": "none"}, "c3", pods[0])
    assert out.json["code"] == 7 and '"ptp"' in out.json["msg"]
