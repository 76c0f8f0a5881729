# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Runs on a host of the laboratory: times ADD and DEL of several plugins, in turns, and prints milliseconds as JSON.

usage: cni_calls.py OURS GO ROUNDS PARALLEL IN_FLIGHT
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time

OURS, GO = sys.argv[1:3]
ROUNDS, PARALLEL, IN_FLIGHT = map(int, sys.argv[3:6])
HOST_LOCAL = {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}


def bridge(name, program, **more):
    return program, {"cniVersion": "1.0.0", "name": name, "type": os.path.basename(program), "bridge": f"br-{name}",
                     "isGateway": True, "ipam": HOST_LOCAL, **more}


def agent(name, mode):
    return bridge(name, f"{OURS}/weft", isDefaultGateway=True, forceAddress=True,
                  ipam={"type": "weft-ipam", "mode": mode})


VARIANTS = {
    "go": bridge("go", f"{GO}/bridge"),
    "weft": bridge("weft", f"{OURS}/weft"),
    "flannel": (f"{OURS}/flannel", {"cniVersion": "1.0.0", "name": "flannel", "type": "flannel",
                                    "delegate": {"bridge": "br-flannel"}}),
    "async": agent("async", "async"),
    "best": agent("best", "best"),
    "go ipMasq": bridge("gom", f"{GO}/bridge", ipMasq=True),
    "weft ipMasq": bridge("weftm", f"{OURS}/weft", ipMasq=True),
}


def call(command, variant, cid, netns):
    program, conf = VARIANTS[variant]
    env = {"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_CONTAINERID": cid, "CNI_NETNS": netns,
           "CNI_IFNAME": "eth0", "CNI_PATH": f"{OURS}:{GO}"}
    begun = time.monotonic()
    done = subprocess.run([program], input=json.dumps(conf).encode(), capture_output=True, env=env, check=False)
    taken = (time.monotonic() - begun) * 1000
    if done.returncode != 0:
        raise SystemExit(f"{variant} {command}: {done.stdout.decode()}")
    return taken


def pods(names):
    names = list(names)
    subprocess.run(["ip", "-batch", "-"], input="".join(f"netns add {n}\n" for n in names).encode(), check=True)
    return [f"/run/netns/{n}" for n in names]


def in_turns():
    times = {v: {"ADD": [], "DEL": []} for v in VARIANTS}
    # One stays on each bridge, as on a host that is in use.
    for v, netns in zip(VARIANTS, pods(f"keep{i}" for i in range(len(VARIANTS)))):
        call("ADD", v, "keep", netns)
    for i in range(ROUNDS):
        for v, netns in zip(VARIANTS, pods(f"r{i}v{j}" for j in range(len(VARIANTS)))):
            times[v]["ADD"].append(call("ADD", v, f"c{i}", netns))
            times[v]["DEL"].append(call("DEL", v, f"c{i}", netns))
    return times


def at_once():
    walls = {}
    for v in ("go", "weft", "async"):
        paths = pods(f"p{v}{i}" for i in range(PARALLEL))
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
            list(pool.map(lambda i, v=v, paths=paths: call("ADD", v, f"p{i}", paths[i]), range(PARALLEL)))
        walls[v] = (time.monotonic() - begun) * 1000
        for i, netns in enumerate(paths):
            call("DEL", v, f"p{i}", netns)
    return walls


print(json.dumps({"turns": in_turns(), "walls": at_once()}))
