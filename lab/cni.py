# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A container runtime as far as CNI goes: plugins run by name, chains, kept results.

    runtime = Runtime(host)                     # our plugins first, then Debian's (GO)
    pod = runtime.pod("p1")                     # a network namespace that host sees as /run/netns/p1
    out = runtime.call("ADD", conf, "c1", pod)  # Outcome: code, json, text; conf["type"] names the plugin
    runtime.add([conf, ...], "c1", pod)         # a chain; its result, or CniError
    runtime.check(...), runtime.delete(...)     # with the kept result, DEL in reverse order
"""

import dataclasses
import json
import os
import pathlib
import shutil

from .errors import LabError
from .netns import REPOSITORY

GO = pathlib.Path("/usr/lib/cni")       # Debian's containernetworking-plugins
OURS = ("weft", "weft-ipam", "flannel")


def plugin_binary():
    build = pathlib.Path(os.environ.get("WEFT_BUILD") or REPOSITORY / "build")
    path = build / "src/cni/weft-cni"
    if not path.exists():
        raise LabError(f"{path} is not built")
    return path


class CniError(LabError):
    """A plugin failed; error is the JSON object that it printed."""

    def __init__(self, command, conf, outcome):
        super().__init__(f"{conf.get('type')} {command}: {outcome.text.strip()} {outcome.stderr.strip()}")
        self.error = outcome.json


@dataclasses.dataclass
class Outcome:
    """What one run of a plugin gave."""

    code: int
    text: str
    stderr: str

    @property
    def json(self):
        return json.loads(self.text) if self.text.strip() else None


class Runtime:
    """Runs plugins on a host of the laboratory."""

    def __init__(self, host, go_only=False):
        self.host = host
        self.ours = host.directory / "cni-bin"
        self.ours.mkdir(exist_ok=True)
        for name in OURS:
            shutil.copy(plugin_binary(), self.ours / name)
        self.path = [GO] if go_only else [self.ours, GO]
        self.results = {}

    def pod(self, name):
        """A new network namespace; its path."""
        self.host.run("ip", "netns", "add", name)
        return f"/run/netns/{name}"

    def pod_ip(self, netns, *words):
        """The parsed output of `ip -j -d ...` inside a pod."""
        out = self.host.run("nsenter", f"--net={netns}", "ip", "-j", "-d", *words).stdout
        return json.loads(out.strip() or "[]")

    def reach(self, netns, target):
        """Whether one echo request from a pod is answered."""
        return self.host.run("nsenter", f"--net={netns}", "ping", "-n", "-c", 1, "-W", 2, target,
                             check=False).returncode == 0

    def find(self, name):
        for directory in self.path:
            if (pathlib.Path(directory) / name).exists():
                return pathlib.Path(directory) / name
        raise LabError(f"no plugin {name} in {self.path}")

    def call(self, command, conf, cid="", netns="", ifname="eth0", args="", env=None, stdin=None):
        """One run of the plugin that conf names. env: more variables; a value of None takes one away."""
        words = {"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_CONTAINERID": cid, "CNI_NETNS": netns,
                 "CNI_IFNAME": ifname, "CNI_ARGS": args, "CNI_PATH": ":".join(map(str, self.path)), **(env or {})}
        done = self.host.run(self.find(conf["type"]), stdin=json.dumps(conf) if stdin is None else stdin, check=False,
                             env={k: v for k, v in words.items() if v is not None})
        return Outcome(done.returncode, done.stdout, done.stderr)

    def must(self, command, conf, *args, **kwargs):
        outcome = self.call(command, conf, *args, **kwargs)
        if outcome.code != 0:
            raise CniError(command, conf, outcome)
        return outcome.json

    def add(self, chain, cid, netns, ifname="eth0", args=""):
        result = None
        for conf in chain:
            conf = {**conf, **({"prevResult": result} if result else {})}
            result = self.must("ADD", conf, cid, netns, ifname, args)
        self.results[cid, ifname, chain[0]["name"]] = result
        return result

    def _after(self, command, chain, cid, netns, ifname, args):
        result = self.results.get((cid, ifname, chain[0]["name"]))
        for conf in chain:
            conf = {**conf, **({"prevResult": result} if result else {})}
            self.must(command, conf, cid, netns, ifname, args)

    def check(self, chain, cid, netns, ifname="eth0", args=""):
        self._after("CHECK", chain, cid, netns, ifname, args)

    def delete(self, chain, cid, netns, ifname="eth0", args=""):
        self._after("DEL", chain[::-1], cid, netns, ifname, args)
        self.results.pop((cid, ifname, chain[0]["name"]), None)
