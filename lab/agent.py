# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The agent of one host: start, stop, crash, ask."""

import json
import os
import pathlib
import signal
import sys

from . import http
from .errors import LabError
from .netns import REPOSITORY
from .process import wait_for



def build_directory():
    """Where weftd and weft are: WEFT_BUILD, or build/ of the repository."""
    return pathlib.Path(os.environ.get("WEFT_BUILD") or REPOSITORY / "build").resolve()


def clean_environment():
    """The environment without what weft would read as its own settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("WEFT_", "FLANNELD_", "CONSUL_"))}


def confinement():
    """Words before an agent that run it as its unit does, if WEFT_CONFINED=1 asks for that."""
    if os.environ.get("WEFT_CONFINED") != "1":
        return []
    return [sys.executable, str(REPOSITORY / "lab/confine.py"), str(REPOSITORY / "packaging/systemd/weftd.service.in")]


def agent_binary():
    return _binary("weftd")


def operator_binary():
    return _binary("weft")


def _binary(name):
    path = build_directory() / name
    if not os.access(path, os.X_OK):
        raise LabError(f"{path} is not there: build it first (make), or set WEFT_BUILD")
    return path


class Agent:
    """weftd on a host. Its flags are remembered, so that restart() needs none."""

    def __init__(self, host):
        self.host = host
        self.process = None
        self.binary = None          # another program to run instead of the built weftd
        self.flags = []
        self.env = None
        self.starts = 0

    def start(self, *flags, etcd=None, env=None):
        """Start it with these flags; etcd adds the flags that reach it. Does not wait."""
        if self.alive():
            raise LabError(f"the agent of {self.host.name} is running already")
        self.flags = (etcd.agent_flags() if etcd else []) + [str(f) for f in flags]
        self.env = env
        return self._spawn()

    def _spawn(self):
        self.starts += 1
        with open(self.log_path, "a", encoding="utf-8") as log:
            log.write(f"--- start {self.starts}: weftd {' '.join(self.flags)}\n")
        env = {**clean_environment(), **(self.env or {})}
        self.process = self.host.spawn(*confinement(), self.binary or agent_binary(), *self.flags,
                                       log=self.log_path, env=env, name="weftd")
        return self

    def restart(self, *flags, binary=None):
        """Stop (if it runs) and start, with the former flags unless others are given."""
        if self.alive():
            self.stop()
        if flags:
            self.flags = [str(f) for f in flags]
        if binary:
            self.binary = binary
        return self._spawn()

    def stop(self, timeout=10):
        """SIGTERM; returns the exit code."""
        return self._running().terminate(timeout)

    def kill(self):
        """SIGKILL, as in a crash."""
        return self._running().kill()

    def reload(self):
        self._running().signal(signal.SIGHUP)

    def pause(self):
        self._running().pause()

    def resume(self):
        self._running().resume()

    def _running(self):
        if not self.process:
            raise LabError(f"the agent of {self.host.name} was never started")
        return self.process

    def forget_process(self):
        """After its machine went down under it."""
        if self.process:
            self.process.kill()
            self.process = None

    def alive(self):
        return self.process is not None and self.process.alive()

    @property
    def pid(self):
        return self._running().pid

    def wait_exit(self, timeout=10):
        """Wait until it ends by itself; returns the exit code."""
        return self._running().wait(timeout)

    @property
    def log_path(self):
        return self.host.directory / "weftd.log"

    # Asking it

    @property
    def socket_path(self):
        return self.host.run_dir / "weft" / "weft.sock"

    def request(self, url, method="GET", body=None, timeout=5):
        """(status, text) over its socket."""
        return http.unix_request(self.socket_path, url, method, body, timeout)

    def get(self, url, timeout=5):
        """The parsed JSON answer (text if it is not JSON); LabError for any status but 200."""
        code, text = self.request(url, timeout=timeout)
        if code != 200:
            raise LabError(f"{self.host.name}: GET {url}: {code} {text.strip()}")
        try:
            return json.loads(text)
        except ValueError:
            return text

    def status(self):
        return self.get("/agent/v1/status")

    def peers(self):
        return self.get("/agent/v1/peers")

    def metrics(self):
        """Every sample of /metrics: {(name, frozenset of labels): number}."""
        code, text = self.request("/metrics")
        if code != 200:
            raise LabError(f"{self.host.name}: GET /metrics: {code}")
        return http.parse_metrics(text)

    def metric(self, name, **labels):
        """The sum of the samples of one metric that carry these labels."""
        return http.sum_metric(self.metrics(), name, labels)

    def ready(self):
        """Does /readyz say 200?"""
        try:
            return self.request("/readyz")[0] == 200
        except (LabError, OSError):
            return False

    def wait_ready(self, timeout=15):
        """Wait until /readyz says 200; an agent that ended meanwhile is reported with its log."""
        def ready_or_ended():
            if not self.alive():
                return True
            code, text = self.request("/readyz")
            if code != 200:
                raise LabError(f"/readyz says {code} {text.strip()[:200]}")
            return True

        wait_for(ready_or_ended, f"the agent of {self.host.name} to be ready", timeout)
        if not self.alive():
            raise LabError(f"the agent of {self.host.name} ended with exit code"
                           f" {self._running().returncode}; its log:\n{self.log_tail()}")
        return self

    def log(self):
        """All it wrote since the first start."""
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def log_tail(self, lines=20):
        return "\n".join(self.log().splitlines()[-lines:])

    def log_since_start(self):
        """What it wrote since its latest start."""
        return self.log().rpartition(f"--- start {self.starts}: ")[2]

    def wait_log(self, text, timeout=10):
        """Wait until the log of this start has the text."""
        wait_for(lambda: text in self.log_since_start(),
                 f"“{text}” in the log of the agent of {self.host.name}", timeout)
