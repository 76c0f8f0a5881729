# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What ./demo does once packages are installed and weft is built."""

import json
import os
import pathlib
import re
import sys

from . import laboratory
from .__main__ import exec_in
from .agent import agent_binary, build_directory, operator_binary
from .errors import LabError
from .fabric import PREFIX, STORES, Fabric
from .laboratory import Lab
from .process import run, wait_for

NAME = os.environ.get("WEFT_DEMO_NAME") or "demo"    # the tests run demos of their own
HOSTS = 3
IPERF_SECONDS = 2
ETCD_URL = "http://192.168.77.2:2379"
STORE = "weft"

USAGE = """usage: ./demo [up] [--store STORE]    bring up three hosts and show that they talk
       ./demo exec NODE COMMAND...    run a command on h1 h2 h3 (hosts), c1 c2 c3 (containers) or the store's node
       ./demo logs NODE               what the agent of a host, or the store, wrote
       ./demo ping                    the ping matrix again
       ./demo down                    remove everything

Stores:
""" + "\n".join(f"  {name:<17} {what}{' (this one if none is named)' if name == STORE else ''}"
                for name, what in STORES.items())

LOOK_INSIDE = """Look inside:
  ./demo exec h1 weft status               the agent's own view
  ./demo exec h2 weft lease list           the leases, from the store
  ./demo exec h1 ip route                  one route per other host, by weft
  ./demo exec h1 bridge fdb show dev flannel.12345
  ./demo exec c1 ping {c2:<20} from container to container
  {store}
  ./demo logs h1                           what the agent says
  ./demo down                              remove everything"""
LOOK_INTO_STORE = {
    "weft": "./demo exec h1 weft store check          the database that h1 keeps",
    "controller": "./demo exec ctl weft store check         the database of the controller",
    "etcd3": f"./demo exec etcd etcdctl get --prefix {PREFIX}",
    "etcd2": f"./demo exec etcd etcdctl ls --recursive {PREFIX}",
    "consul": f"./demo exec consul $(packaging/debian/fetch-consul) kv get -recurse {PREFIX.removeprefix('/')}",
}


class Step:
    """One line of progress: what is done, then "ok" or the reason why not."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        print(f"{self.text} ... ", end="", flush=True)
        return self

    def __exit__(self, kind, value, trace):
        print("ok" if kind is None else "FAILED", flush=True)


def up(store):
    if laboratory.read_state(NAME) is not None:
        if all_up():
            print(f"The demo is up already, with the store {store_in_use()}.\n")
            ping_matrix()
            print(look_inside())
            return 0
        print("Removing what is left of an earlier demo")
        laboratory.destroy(NAME)
    agent_binary()
    operator_binary()
    lab = Lab(NAME, keep=True)
    store_file().write_text(store, encoding="ascii")
    try:
        bring_up(lab, store)
    except KeyboardInterrupt:
        lab.close()
        raise LabError("interrupted; everything was removed") from None
    except LabError as e:
        logs = "".join(f"\n--- the end of the log of {h.name}'s agent:\n{h.agent.log_tail(10)}"
                       for h in lab.hosts if h.agent.log())
        raise LabError(f"{e}{logs}\n\nWhat there is of it is left up, to look at:"
                       f" ./demo logs h1, ./demo exec h1 ip addr.\n"
                       f"Afterwards: ./demo down, then ./demo again.") from None
    print(look_inside())
    return 0


def bring_up(lab, store):
    with Step(f"Underlay 192.168.77.0/24, hosts h1 h2 h3; the store: {STORES[store]}"):
        net = Fabric(lab, hosts=HOSTS, config=False, agents=False, store=store)
    with Step("Network config to the store: 10.1.0.0/16 over VXLAN, VNI 12345"):
        net.put_config({"Network": "10.1.0.0/16", "Backend": {"Type": "vxlan", "VNI": 12345}})
    for host in net.hosts:
        with Step(f"Agent weftd on {host.name}"):
            net.start_agent(host)
    with Step("A container on each host"):
        for host in net.hosts:
            net.add_container(host)
    with Step("Waiting until all containers reach each other"):
        net.ping_all()
    print("\nLeases in the store:")
    print(net.hosts[0].weft("lease", "list").stdout)
    ping_matrix()
    with Step(f"TCP from c1 to c2 for {IPERF_SECONDS} s"):
        speed = throughput(*net.containers[:2])
    print(f"  {speed:.1f} Gbit/s through VXLAN on this machine\n")


def throughput(client, server):
    """Gbit/s that one TCP stream reaches."""
    listener = server.spawn("iperf3", "-s", "-1", name="iperf3")

    def one_run():
        done = client.run("iperf3", "-J", "-c", server.v4, "-t", IPERF_SECONDS, check=False,
                          timeout=IPERF_SECONDS + 20)
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise LabError(answer["error"])
        return answer["end"]["sum_received"]["bits_per_second"] / 1e9

    speed = wait_for(one_run, f"iperf3 from {client.name} to {server.name}", timeout=10,
                     interval=0.1)
    listener.wait()
    return speed


def all_up():
    """Are the record and every machine of it still there?"""
    nodes = (laboratory.read_state(NAME) or {}).get("nodes", {})
    return len(nodes) >= 2 * HOSTS + 1 and all(
        e["holder"] is None or laboratory.start_time(e["holder"]) == e["holder_started"]
        for e in nodes.values())


def container_addresses():
    """{container: (namespace, address)} as the kernel has them."""
    nodes = laboratory.read_state(NAME)["nodes"]
    found = {}
    for name, entry in nodes.items():
        if entry["kind"] == "container":
            out = run(["ip", "-n", entry["netns"], "-j", "-4", "addr", "show", "eth0"]).stdout
            found[name] = (entry["netns"], json.loads(out)[0]["addr_info"][0]["local"])
    return found


def store_file():
    """Where a demo that is up has the name of its store."""
    return laboratory.BASE / NAME / "store"


def store_in_use():
    return store_file().read_text(encoding="ascii") if store_file().is_file() else STORE


def look_inside():
    behind = store_in_use().rpartition("-")[2]
    return LOOK_INSIDE.format(c2=container_addresses()["c2"][1], store=LOOK_INTO_STORE[behind])


def ping_matrix():
    """Print the round trip time from every container to every other one."""
    containers = container_addresses()
    print("Pings between the containers (ms):")
    print(" " * 14 + "".join(f"{name:>10}" for name in containers))
    complete = True
    for source, (netns, own) in containers.items():
        cells = []
        for target, (_, address) in containers.items():
            done = run(["nsenter", f"--net=/run/netns/{netns}", "--", "ping", "-n", "-c", "2", "-i",
                        "0.2", "-W", "1", address], check=False)
            times = re.findall(r"time=([\d.]+)", done.stdout)
            cells.append("-" if target == source else times[-1] if times else "LOST")
        complete = complete and "LOST" not in cells
        print(f"{source} {own:<11}" + "".join(f"{cell:>10}" for cell in cells))
    print()
    return complete


def down():
    if laboratory.read_state(NAME) is None:
        print("The demo is not up.")
    else:
        laboratory.destroy(NAME)
        print("The demo is gone.")
    return 0


def need_up():
    if laboratory.read_state(NAME) is None:
        raise LabError("the demo is not up; start it with: sudo ./demo")


def enter(node, command):
    need_up()
    os.environ["PATH"] = f"{build_directory()}:{os.environ.get('PATH', '/usr/sbin:/usr/bin')}"
    os.environ["ETCDCTL_API"] = "2" if store_in_use().endswith("etcd2") else "3"
    os.environ["ETCDCTL_ENDPOINTS"] = ETCD_URL
    exec_in(NAME, node, command)


def logs(node):
    need_up()
    files = [laboratory.BASE / NAME / node / name for name in ("weftd.log", "etcd.log")]
    present = [f for f in files if f.is_file()]
    if not present:
        raise LabError(f"{node} has no log; the hosts and the store have one")
    sys.stdout.write(pathlib.Path(present[0]).read_text(encoding="utf-8", errors="replace"))
    return 0


def main(arguments):
    match arguments or ["up"]:
        case ["up"]:
            return up(STORE)
        case ["up", "--store", store] | ["--store", store]:
            if store not in STORES:
                raise LabError(f"there is no store {store}; there are: {' '.join(STORES)}")
            return up(store)
        case ["down"]:
            return down()
        case ["ping"]:
            need_up()
            return 0 if ping_matrix() else 1
        case ["exec", node, *command] if command:
            return enter(node, command)
        case ["logs", node]:
            return logs(node)
        case ["help" | "-h" | "--help"]:
            print(USAGE)
            return 0
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as e:
        print(f"demo: {e}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
