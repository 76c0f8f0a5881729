# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Docker, podman and containerd on a host of the laboratory, all with one interface.

    docker = Docker(host); docker.start()
    c = docker.run("c1")                        # a Container: pid, v4, mtu
    c.exec("ping", "-c", "1", other.v4)         # by the runtime, as its user does
    c.ping(other.v4, dont_fragment=True)        # by the laboratory, in the container's namespace
    docker.stop()

Each reads subnet.env as README.md says. Where this machine needs what a usual one does not (limits
that root may not raise, no systemd), it is in a file of the host's own /etc or said beside the command.
"""

import ipaddress
import json

from lab import LabError, run, wait_for
from lab.host import PingingNode

import image
import readme
from machine import INSIDE

CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "{backend}"
"""


class Container:
    """A running container; what Probe and ping want of a node, and its runtime's exec."""

    ping = PingingNode.ping
    can_reach = PingingNode.can_reach

    def __init__(self, runtime, name, pid):
        self.runtime = runtime
        self.host = runtime.host
        self.name = f"{self.host.name}-{name}"
        self.id = name
        self.pid = pid
        self.link = self._json("link", "show", "dev", "eth0")[0]
        found = [a for a in self._json("-4", "addr", "show", "dev", "eth0")[0]["addr_info"]
                 if a["scope"] == "global"]
        self.address = ipaddress.ip_interface(f"{found[0]['local']}/{found[0]['prefixlen']}")
        self.v4 = str(self.address.ip)
        self.v6 = None

    @property
    def mtu(self):
        return self.link["mtu"]

    def enter(self):
        """The words that run a program of this machine in the container's network namespace."""
        return ["nsenter", "-t", str(self.pid), "-n", "--"]

    def run(self, *argv, **options):
        return run(self.enter() + list(argv), **options)

    def _json(self, *argv):
        return json.loads(self.run("ip", "-j", *argv).stdout)

    def exec(self, *argv, check=True, timeout=30):
        """Run a program of the container in it, by its runtime; its output."""
        return self.runtime.exec(self.id, *argv, check=check, timeout=timeout)


def start_daemon(host, client, *argv):
    """Start a daemon on the host, and wait until client's word `version` gets its answer."""
    process = host.spawn(INSIDE, *argv, name=f"daemon-of-{client}")

    def answers_or_ended():
        return not process.alive() or host.run(INSIDE, client, "version", check=False, timeout=60).returncode == 0

    wait_for(answers_or_ended, f"{process.name} to answer", timeout=60, interval=0.1)
    if not process.alive():
        raise LabError(f"{process.name} ended: {process.log()[-2000:]}")
    return process


class Runtime:
    """What the three have in common."""

    program = None

    def __init__(self, host):
        self.host = host
        self.names = []

    def shell(self, text, timeout=60):
        """Run a block of README.md as root on the host."""
        return self.host.run(INSIDE, "sh", "-e", "-c", text, timeout=timeout)

    def command(self, *argv, check=True, timeout=60):
        """Run its program with these words on the host; what it printed."""
        return self.host.run(INSIDE, self.program, *argv, check=check, timeout=timeout).stdout.strip()

    def exec(self, name, *argv, check=True, timeout=30):
        return self.command("exec", name, *argv, check=check, timeout=timeout)

    def _import_image(self):
        archive = self.host.directory / "image.tar"
        image.write_tar(archive)
        self.command("import", archive, image.NAME)
        archive.unlink()

    def _pid(self, name):
        return int(self.command("inspect", "-f", "{{.State.Pid}}", name))

    def find(self, name):
        """The container of this name as it runs now."""
        pid = self._pid(name)
        if not pid:
            raise LabError(f"{name} on {self.host.name} does not run")
        return Container(self, name, pid)

    def run(self, name, *options):
        """Start a container that serves its pages."""
        self.command("run", "-d", "--name", name, *self.options(), *options, image.NAME, *image.SERVER)
        self.names.append(name)
        return self.find(name)

    def options(self):
        return ()

    def stop(self):
        """Remove its containers and end what runs of it."""
        for name in self.names:
            self.command("rm", "-f", name, check=False)
        self.names.clear()


class Docker(Runtime):
    """dockerd as the piece of a unit file in README.md starts it, beside a containerd as Debian runs it."""

    program = "docker"

    def __init__(self, host):
        super().__init__(host)
        self.containerd = start_daemon(host, "ctr", "containerd")
        self.daemon = None

    def start(self):
        """The daemon, and the image in it."""
        self.start_daemon()
        self._import_image()
        return self

    def start_daemon(self):
        unit = readme.block("dockerd")
        [env] = readme.unit_settings(unit, "EnvironmentFile")
        [line] = readme.unit_settings(unit, "ExecStart")
        line = line.replace("-H fd:// ", "")        # a socket of systemd, which no host of the laboratory has
        self.daemon = start_daemon(self.host, self.program, "sh", "-c", f"set -a; . {env}; exec {line}")
        for after in readme.unit_settings(unit, "ExecStartPost"):
            may_fail = " || true" if after.startswith("-") else ""
            self.shell(f". {env}; {after.removeprefix('-')}{may_fail}")

    def start_plain_daemon(self):
        """Without a flag, as a package starts it."""
        self.daemon = start_daemon(self.host, self.program, "dockerd")

    def stop_daemon(self):
        """SIGTERM; its exit code. Its containers end with it."""
        return self.daemon.terminate(timeout=60)

    def stop(self):
        if self.daemon and self.daemon.alive():
            super().stop()
            self.stop_daemon()
        self.containerd.terminate(timeout=60)


class Podman(Runtime):
    """podman, whose networks are made by backend: "netavark" or "cni"."""

    program = "podman"
    network = "weft"

    def __init__(self, host, backend):
        super().__init__(host)
        self.backend = backend

    def start(self):
        self.host.run("tee", "/etc/containers/containers.conf", stdin=CONTAINERS_CONF.format(backend=self.backend))
        self.shell(readme.block("podman network create"))
        self._import_image()
        return self

    def options(self):
        return ("--network", self.network, "--cap-add", "NET_RAW")      # podman lets nobody ping by default


class Containerd(Runtime):
    """containerd and ctr, with the reference CNI plugins and the file that README.md gives."""

    program = "ctr"

    def __init__(self, host):
        super().__init__(host)
        self.daemon = start_daemon(host, self.program, "containerd")
        self.execs = 0

    def start(self):
        self.shell(readme.block("host-local"))
        image.write_directory(self.host.directory / "rootfs")
        return self

    def run(self, name, *options):
        self.command("run", "-d", "--cni", "--env", "PATH=/bin", *options, "--rootfs",
                     self.host.directory / "rootfs", name, *image.SERVER)
        self.names.append(name)
        return self.find(name)

    def exec(self, name, *argv, check=True, timeout=30):
        self.execs += 1
        return self.command("task", "exec", "--exec-id", f"exec-{self.execs}", name, *argv, check=check,
                            timeout=timeout)

    def _pid(self, name):
        lines = [line.split() for line in self.command("task", "list").splitlines()]
        return next((int(words[1]) for words in lines if words[0] == name), 0)

    def stop(self):
        for name in self.names:
            self.command("task", "kill", "-s", "9", name, check=False)
            self.command("task", "delete", "-f", name, check=False)
            self.command("container", "delete", name, check=False)
        self.names.clear()
        self.daemon.terminate(timeout=60)
