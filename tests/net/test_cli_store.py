# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""weft network and weft lease against a real etcd, without an agent.

    h1 ---- net1 ---- etcd
"""

import json

import pytest

OK, FAILED, USAGE, NOT_FOUND, UNREACHABLE = range(5)
PREFIX = "/coreos.com/network"
VXLAN = {"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan"}}
ATTRS = {"PublicIP": "192.0.2.3", "PublicIPv6": None, "BackendType": "vxlan",
         "BackendData": {"VNI": 1, "VtepMAC": "0a:00:00:00:00:03"}}


class Bench:
    """A host with the command, and the store that it speaks to."""

    def __init__(self, lab):
        segment = lab.segment("net1", v4="192.168.77.0/24")
        self.etcd = lab.etcd(segment)
        self.host = lab.host("h1", segment)

    def weft(self, *words, code=OK, stdin=None, env=None, flags=True):
        done = self.host.weft(*words, etcd=self.etcd if flags else None, check=False, stdin=stdin,
                              env=env)
        assert done.returncode == code, f"weft {words}: {done}"
        if code == OK:
            assert not done.stderr or done.stderr.startswith("weft: note: ")
        else:
            assert done.stderr.startswith("weft: ") and done.stderr.count("\n") == 1
        return done

    def out(self, *words, **kwargs):
        return self.weft(*words, **kwargs).stdout

    def json(self, *words, **kwargs):
        return json.loads(self.out(*words, "--json", **kwargs))

    def config(self, network=""):
        found = self.etcd.get(f"{PREFIX}{network}/config")
        return found and found.value

    def put_lease(self, key, value, session=None):
        self.etcd.put(f"{PREFIX}/subnets/{key}", value, lease=session)


@pytest.fixture
def bench(lab):
    return Bench(lab)


def test_network_set_get_rm(bench):
    assert "/coreos.com/network/config" in bench.weft("network", "get", code=NOT_FOUND).stderr
    text = json.dumps(VXLAN)
    assert bench.out("network", "set", text).splitlines() == [
        "/coreos.com/network/config: created", '+ Network: "10.1.0.0/16"',
        '+ Backend.Type: "vxlan"']
    assert bench.config() == text       # to the byte: flannel and etcdctl users see what they wrote
    first = bench.etcd.get(f"{PREFIX}/config").mod_revision
    assert bench.out("network", "set", text) == "/coreos.com/network/config: unchanged\n"
    assert bench.etcd.get(f"{PREFIX}/config").mod_revision == first
    done = bench.weft("network", "set", "-", stdin='{"Network":"10.2.0.0/16","SubnetLen":25}\n\n')
    assert done.stdout.splitlines() == [
        "/coreos.com/network/config: changed", '  Network: "10.1.0.0/16" -> "10.2.0.0/16"',
        "+ SubnetLen: 25", '- Backend: {"Type":"vxlan"}']
    assert bench.config() == '{"Network":"10.2.0.0/16","SubnetLen":25}'
    assert bench.json("network", "get") == {"Network": "10.2.0.0/16", "SubnetLen": 25}
    assert bench.out("network", "rm") == "/coreos.com/network: deleted\n"
    assert bench.config() is None
    bench.weft("network", "rm", code=NOT_FOUND)


def test_network_set_from_a_file(bench, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(VXLAN, indent=2) + "\n")
    assert bench.json("network", "set", path) == {"changed": True, "config": VXLAN}
    assert bench.json("network", "set", path) == {"changed": False, "config": VXLAN}
    done = bench.weft("network", "set", tmp_path / "no-such-file", code=NOT_FOUND)
    assert "no-such-file" in done.stderr
    path.write_text(" " * 70000)
    assert "longer than" in bench.weft("network", "set", path, code=FAILED).stderr


@pytest.mark.parametrize("text, told", [
    ('{"Network":"10.1.0.0/33"}', "10.1.0.0/33"),
    ("{", "not valid JSON"),
    ('{"Network":"10.1.0.0/16","SubnetLen":15}', "SubnetLen"),
])
def test_bad_config_is_not_stored(bench, text, told):
    bench.etcd.put(f"{PREFIX}/config", "before")
    assert told in bench.weft("network", "set", text, code=FAILED).stderr
    assert bench.config() == "before"


def test_several_networks(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.weft("network", "set", '{"Network":"10.2.0.0/16"}', "--network=blue")
    bench.etcd.put(f"{PREFIX}/red/config", "junk\x1b[31m")
    assert bench.config("/blue") == '{"Network":"10.2.0.0/16"}'
    networks = bench.json("network", "list")["networks"]
    assert [(n["name"], n["config"] and n["config"]["Network"], n["error"] != "")
            for n in networks] == [
        ("blue", "10.2.0.0/16", False), ("", "10.1.0.0/16", False), ("red", None, True)]
    assert "--network=blue" in bench.weft("network", "list", "--network=blue", code=USAGE).stderr
    table = bench.out("network", "list")
    assert "not valid JSON" in table and "\x1b" not in table
    shown = bench.weft("network", "get", "--network=red")
    assert "\x1b" not in shown.stdout and "agents refuse this config" in shown.stderr
    bench.weft("network", "rm", "--network=blue")
    assert bench.config("/blue") is None and bench.config()
    bench.weft("network", "get", "--network=a/b", code=USAGE)


@pytest.mark.parametrize("name, other, taken, wanted", [
    ("blue", "", "10.1.0.0/16", "10.1.128.0/17"), ("", "blue", "10.1.128.0/17", "10.1.0.0/16"),
    ("blue", "red", "10.1.0.0/16", "10.0.0.0/8")])
def test_networks_that_overlap(bench, name, other, taken, wanted):
    bench.weft("network", "set", json.dumps({"Network": taken}), f"--network={other}")
    told = bench.weft("network", "set", json.dumps({"Network": wanted}), f"--network={name}", code=FAILED).stderr
    assert f"{wanted} overlaps {taken} of the network at {PREFIX}{other and '/' + other}/config" in told
    assert bench.config(name and "/" + name) is None
    # Written by another hand it can still be changed in all else.
    bench.etcd.put(f"{PREFIX}{name and '/' + name}/config", json.dumps({"Network": wanted}))
    bench.weft("network", "set", json.dumps({"Network": wanted, "SubnetLen": 26}), f"--network={name}")


def test_networks_that_overlap_in_ipv6(bench):
    dual = {"Network": "10.1.0.0/16", "EnableIPv6": True, "IPv6Network": "fd00::/48"}
    bench.weft("network", "set", json.dumps(dual))
    told = bench.weft("network", "set", json.dumps({**dual, "Network": "10.2.0.0/16"}), "--network=blue",
                      code=FAILED).stderr
    assert "fd00::/48 overlaps fd00::/48" in told


def test_host_without_ipv6_on_a_dual_stack_network(bench):
    dual = {"Network": "10.1.0.0/16", "EnableIPv6": True, "IPv6Network": "fd00::/48"}
    bench.weft("network", "set", json.dumps(dual))
    bench.put_lease("10.1.3.0-24", ATTRS)
    assert "PROBLEM" not in bench.out("lease", "list")


def test_network_rm_with_leases(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    session = bench.etcd.grant(600)
    bench.put_lease("10.1.3.0-24", ATTRS, session)
    bench.put_lease("junk", "junk")
    done = bench.weft("network", "rm", code=FAILED)
    assert "2 leases" in done.stderr and "--force" in done.stderr
    assert bench.config()
    bench.weft("network", "rm", "--force")
    assert bench.etcd.range(f"{PREFIX}/") == []
    assert bench.etcd.leases() == []


def test_network_rm_with_keys_that_are_no_text(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.put_lease("10.1.3.0-24", ATTRS, bench.etcd.grant(600))
    bench.put_lease("bad\x01key", "{}")
    bench.put_lease("bad\udcffkey", "{}")
    bench.put_lease("k" * 3000, "{}")
    bench.weft("network", "rm", "--force")
    assert bench.etcd.range(f"{PREFIX}/") == []
    assert bench.etcd.leases() == []


def test_leases_that_no_longer_fit_are_told(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.put_lease("10.1.3.0-24", ATTRS)
    done = bench.weft("network", "set", '{"Network":"10.9.0.0/16"}')
    assert "1 of 1 leases do not fit" in done.stderr
    assert not bench.weft("network", "set", json.dumps(VXLAN)).stderr


def test_backend_that_agents_do_not_have_is_told(bench):
    """It is stored all the same: the network may be flannel's."""
    for kind, told in (("ipsec", '"ipsec" is not offered; use wireguard'), ("wombat", '"wombat" is unknown')):
        config = {"Network": "10.1.0.0/16", "Backend": {"Type": kind}}
        done = bench.weft("network", "set", json.dumps(config))
        assert "note: agents refuse this config: Backend.Type" in done.stderr and told in done.stderr
        assert told in bench.weft("network", "get").stderr
        assert bench.etcd.get(f"{PREFIX}/config").json() == config
    for kind in ("host-gw", "ipip", "wireguard", "alloc"):
        config = {"Network": "10.1.0.0/16", "Backend": {"Type": kind}}
        assert not bench.weft("network", "set", json.dumps(config)).stderr
        assert not bench.weft("network", "get").stderr


def test_lease_list(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    assert bench.out("lease", "list") == "no leases below /coreos.com/network\n"
    session = bench.etcd.grant(7200)
    bench.put_lease("10.1.10.0-24", {**ATTRS, "PublicIP": "192.0.2.10"})
    bench.put_lease("10.1.3.0-24", ATTRS, session)
    lines = bench.out("lease", "list").splitlines()
    assert lines[0].split() == ["SUBNET", "PUBLIC-IP", "BACKEND", "EXPIRES", "DATA"]
    assert lines[1].split()[:3] == ["10.1.3.0/24", "192.0.2.3", "vxlan"]    # sorted by address
    assert lines[1].split()[3].startswith("1h5") or lines[1].split()[3] == "2h00m"
    assert lines[1].split()[4] == '{"VNI":1,"VtepMAC":"0a:00:00:00:00:03"}'
    assert lines[2].split()[:4] == ["10.1.10.0/24", "192.0.2.10", "vxlan", "never"]
    assert len(lines) == 3
    first, second = bench.json("lease", "list")["leases"]
    assert 7000 < first["expires_in_s"] <= 7200 and first["session"] == str(session)
    assert second["reservation"] and second["expires_in_s"] is None
    assert first["backend_data"] == ATTRS["BackendData"]


def test_bad_leases_are_listed(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.put_lease("10.1.3.0-24", ATTRS)
    bench.put_lease("10.1.4.0-24", '{"PublicIP":null}')
    bench.put_lease("jun\x1b[31mk", "{}")
    bench.put_lease("10.1.5.0-24", "x" * 100000)
    bench.put_lease("10.2.0.0-24", {"PublicIP": "192.0.2.3"})
    report = bench.json("lease", "list")
    assert [lease["key"] for lease in report["leases"]] == ["10.1.3.0-24", "10.2.0.0-24"]
    problems = [(p["key"], p["why"]) for p in report["problems"]]
    assert [key for key, _ in problems] == [
        "10.1.4.0-24", "10.1.5.0-24", r"jun\x1b[31mk", "10.2.0.0-24", "10.2.0.0-24"]
    assert "PublicIP" in problems[0][1]
    assert problems[3][1] == "outside the network 10.1.0.0/16"
    assert problems[4][1] == "public IP 192.0.2.3 has 10.1.3.0/24 too"
    table = bench.out("lease", "list")
    assert "5 PROBLEMS" in table and "\x1b" not in table


@pytest.mark.parametrize("word, found", [
    ("10.1.3.0/24", "10.1.3.0-24"), ("10.1.3.0-24", "10.1.3.0-24"), ("10.1.3.77", "10.1.3.0-24"),
    ("192.0.2.10", "10.1.10.0-24"), ("10.1.10.0/24", "10.1.10.0-24"), ("10.1.0.0/16", None),
    ("192.0.2.1", None), ("nonsense", None),
])
def test_lease_show(bench, word, found):
    bench.put_lease("10.1.3.0-24", ATTRS)
    bench.put_lease("10.1.10.0-24", {**ATTRS, "PublicIP": "192.0.2.10", "Zone": "x"})
    if not found:
        assert word in bench.weft("lease", "show", word, code=NOT_FOUND).stderr
        return
    assert bench.json("lease", "show", word)["key"] == found
    text = bench.out("lease", "show", word)
    assert found in text and ('{"Zone":"x"}' in text) == (found == "10.1.10.0-24")


def test_dual_stack_lease_show(bench):
    bench.put_lease("10.1.3.0-24&fd00:10:1:3::-64", {**ATTRS, "PublicIPv6": "2001:db8::3"})
    for word in ("10.1.3.0/24", "fd00:10:1:3::/64", "10.1.3.0/24,fd00:10:1:3::/64",
                 "fd00:10:1:3::9", "10.1.3.0-24&fd00:10:1:3::-64", "2001:db8::3"):
        assert bench.json("lease", "show", word)["ipv6_subnet"] == "fd00:10:1:3::/64"


def test_lease_rm(bench):
    session = bench.etcd.grant(600)
    bench.put_lease("10.1.3.0-24", ATTRS, session)
    bench.put_lease("10.1.4.0-24", '{"PublicIP":null}')
    bench.put_lease("junk", "{}")
    bench.weft("lease", "rm", "10.1.3.7", code=NOT_FOUND)   # an address is no name to delete by
    assert bench.out("lease", "rm", "10.1.3.0/24") == "10.1.3.0-24 of 192.0.2.3: deleted\n"
    assert bench.etcd.leases() == []
    bench.weft("lease", "rm", "10.1.3.0/24", code=NOT_FOUND)
    bench.weft("lease", "rm", "10.1.4.0-24")
    assert bench.json("lease", "rm", "junk") == {"deleted": "junk"}
    assert bench.etcd.range(f"{PREFIX}/") == []


def test_key_that_cannot_be_typed(bench):
    bench.put_lease("jun\x1b[31mk", "{}")
    assert "own tools" in bench.weft("lease", "rm", r"jun\x1b[31mk", code=FAILED).stderr
    assert len(bench.etcd.range(f"{PREFIX}/subnets/")) == 1


def test_where_the_store_is(bench):
    url = bench.etcd.endpoints
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.etcd.put("/other/config", '{"Network":"10.7.0.0/16"}')
    for env in ({"FLANNELD_ETCD_ENDPOINTS": url}, {"WEFT_ETCD_ENDPOINTS": url},
                {"WEFT_ETCD_ENDPOINTS": url, "FLANNELD_ETCD_ENDPOINTS": "http://192.168.77.200:1"}):
        assert bench.json("network", "get", flags=False, env=env)["Network"] == "10.1.0.0/16"
    env = {"FLANNELD_ETCD_ENDPOINTS": url, "FLANNELD_ETCD_PREFIX": "/other"}
    assert bench.json("network", "get", flags=False, env=env)["Network"] == "10.7.0.0/16"
    flag = "-etcd-prefix=/coreos.com/network/"
    assert bench.json("network", "get", flag, flags=False, env=env) == VXLAN
    done = bench.weft("network", "get", flags=False, code=UNREACHABLE)     # nothing on loopback
    assert "127.0.0.1" in done.stderr and "--etcd-endpoints" in done.stderr


def test_hung_store(bench):
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.etcd.pause()
    done = bench.weft("lease", "list", "--request-timeout=300ms", code=UNREACHABLE)
    assert bench.etcd.endpoints in done.stderr
    bench.etcd.resume()


def test_password(lab):
    bench = Bench(lab)
    bench.weft("network", "set", json.dumps(VXLAN))
    bench.etcd.enable_auth("root", "secret")
    assert bench.json("network", "get") == VXLAN
    flags = [f"-etcd-endpoints={bench.etcd.endpoints}"]
    done = bench.weft(*flags, "-etcd-username=root", "network", "get", flags=False, code=USAGE)
    assert "FLANNELD_ETCD_PASSWORD" in done.stderr
    env = {"FLANNELD_ETCD_PASSWORD": "secret", "FLANNELD_ETCD_USERNAME": "root"}
    assert bench.json(*flags, "network", "get", flags=False, env=env) == VXLAN
    env["FLANNELD_ETCD_PASSWORD"] = "wrong-one"
    done = bench.weft(*flags, "network", "get", flags=False, env=env, code=FAILED)
    assert "wrong-one" not in done.stderr
