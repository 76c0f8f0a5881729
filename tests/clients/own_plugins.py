# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""podman, ctr and containerd's CRI with weft's CNI plugins, as `weft cni install` puts them on a host.

    cri = CriPlugins(host); cri.start()
    c = cri.run("web", port=8080)       # a runtimes.Container; port: of the host; not of ctr's
    cri.container_id("web")             # what the plugins were given
    cri.restart("web"), cri.remove("web")
"""

import json
import re
import shutil

from lab import LabError, wait_for
from lab.agent import operator_binary
from lab.cni import GO, plugin_binary
from lab.netns import REPOSITORY

import image
from cri import Cri
from machine import INSIDE
from runtimes import CONTAINERS_CONF, Container, Containerd, Podman, start_daemon

NETWORK = "weft"        # its name in the configuration that is installed
CONFLIST = "10-weft.conflist"

# A host writes into an /opt of its own, above the machine's.
OWN_OPT = """
mkdir -p /opt "$1/opt" "$1/opt-work"
mount -t overlay overlay -o "lowerdir=/opt,upperdir=$1/opt,workdir=$1/opt-work" /opt
"""


def install(host):
    """Run `weft cni install` from a tree as `make install` lays it out, with nothing else to help it."""
    tree = host.directory / "usr"
    for directory in ("bin", "lib/weft"):
        (tree / directory).mkdir(parents=True)
    shutil.copy(operator_binary(), tree / "bin/weft")
    shutil.copy(plugin_binary(), tree / "lib/weft/weft-cni")
    shutil.copy(REPOSITORY / "packaging/cni" / CONFLIST, tree / "lib/weft" / CONFLIST)
    host.run("sh", "-ec", OWN_OPT, "sh", host.directory)
    host.run(tree / "bin/weft", "cni", "install")


class PodmanPlugins(Podman):
    """podman, with network_backend = "cni"."""

    network = NETWORK

    def __init__(self, host):
        super().__init__(host, "cni")

    def start(self):
        install(self.host)
        self.host.run("tee", "/etc/containers/containers.conf", stdin=CONTAINERS_CONF.format(backend=self.backend))
        self._import_image()
        return self

    def run(self, name, *options, port=None):
        return super().run(name, *(("-p", f"{port}:80") if port else ()), *options)

    def container_id(self, name):
        return self.command("inspect", "-f", "{{.Id}}", name)

    def pod(self, name):
        """(namespace, name) that its plugins are told."""
        return "", name

    def restart(self, name):
        self.command("restart", name)
        return self.find(name)

    def remove(self, name):
        self.command("rm", "-f", name)
        if name in self.names:      # it was started
            self.names.remove(name)


class CtrPlugins(Containerd):
    """`ctr run --cni`, in the foreground: of a container that it leaves in the background ctr removes no network."""

    def __init__(self, host):
        super().__init__(host)
        self.commands = {}      # name: the ctr that waits for the container's end

    def start(self):
        install(self.host)
        image.write_directory(self.host.directory / "rootfs")
        return self

    def run(self, name, *options, port=None):
        if port:
            raise LabError("ctr has no word for published ports")
        command = self.host.spawn(INSIDE, self.program, "run", "--rm", "--cni", "--env", "PATH=/bin", *options,
                                  "--rootfs", self.host.directory / "rootfs", name, *image.SERVER, name=f"ctr-{name}")
        self.commands[name] = command
        wait_for(lambda: self._pid(name) or not command.alive(), f"{name} to run", timeout=60, interval=0.1)
        if not command.alive():
            raise LabError(f"ctr run of {name} ended: {command.log()[-2000:]}")
        self.names.append(name)
        return self.find(name)

    def _pid(self, name):
        lines = [line.split() for line in self.command("task", "list").splitlines()]
        return next((int(words[1]) for words in lines if words[0] == name and words[2] == "RUNNING"), 0)

    def container_id(self, name):
        return f"default-{name}"

    def pod(self, _name):
        return "", ""

    def restart(self, name):
        self.remove(name)
        return self.run(name)

    def remove(self, name):
        """Its process ends, and then ctr removes the rest."""
        if name in self.names:
            self.names.remove(name)
            self.command("task", "kill", "-s", "9", name)
        self.commands.pop(name).wait(timeout=60)

    def stop(self):
        for name in list(self.names):
            self.remove(name)
        super().stop()


class CriPlugins(Containerd):
    """containerd as kubelet uses it: a sandbox with one container in it is what is called a container here."""

    namespace = "clients"

    def __init__(self, host):
        config = host.run("containerd", "config", "default").stdout
        # Root of this machine may not lower what the kernel's killer of processes thinks of them.
        config = config.replace("restrict_oom_score_adj = false", "restrict_oom_score_adj = true")
        host.run("mkdir", "-p", "/etc/containerd")
        host.run("tee", "/etc/containerd/config.toml", stdin=config)
        super().__init__(host)
        # Ours has to have the name of the one that sandboxes run, for nothing can be fetched.
        self.image = re.search(r'sandbox_image = "(.+)"', config)[1]
        self.cri = self._connect()
        self.sandboxes = {}     # name: (id, configuration)
        self.containers = {}    # name: id
        self.attempts = 0

    def start(self):
        install(self.host)
        # The CRI looks into one folder only, and wants a loopback plugin in it too.
        for plugin in ("loopback", "portmap"):
            self.host.run("ln", "-s", GO / plugin, f"/opt/cni/bin/{plugin}")
        archive = self.host.directory / "image.tar"
        image.write_docker_archive(archive, self.image)
        self.command("-n", "k8s.io", "images", "import", archive)
        archive.unlink()
        self._await_network()
        return self

    def _connect(self):
        return Cri(self.host.run_dir / "containerd/containerd.sock")

    def crash(self):
        """containerd ends as in a crash, and is started again; containers do not notice."""
        self.daemon.kill()
        self.cri.close()
        self.daemon = start_daemon(self.host, self.program, "containerd")
        self.cri = self._connect()
        self._await_network()

    def _network_is_ready(self):
        return any(c.type == "NetworkReady" and c.status for c in self.cri.call("Status").status.conditions)

    def _await_network(self):
        wait_for(self._network_is_ready, f"containerd of {self.host.name} to find {CONFLIST}", timeout=20)

    def _sandbox(self, name, port):
        self.attempts += 1
        config = {"metadata": {"name": name, "namespace": self.namespace, "uid": f"uid-{name}",
                               "attempt": self.attempts},
                  "log_directory": str(self.host.directory / "pods"), "linux": {}}
        if port:
            config["port_mappings"] = [{"protocol": "TCP", "container_port": 80, "host_port": port}]
        # Noted first: one that failed keeps its name until it is removed.
        self.names.append(name)
        self.sandboxes[name] = (self.cri.call("RunPodSandbox", config=config).pod_sandbox_id, config)

    def run(self, name, *_options, port=None):
        self._sandbox(name, port)
        sandbox, sandbox_config = self.sandboxes[name]
        config = {"metadata": {"name": "server"}, "image": {"image": self.image}, "command": list(image.SERVER),
                  "log_path": f"{name}.log", "linux": {}}
        self.containers[name] = self.cri.call("CreateContainer", pod_sandbox_id=sandbox, config=config,
                                              sandbox_config=sandbox_config).container_id
        self.cri.call("StartContainer", container_id=self.containers[name])
        return self.find(name)

    def _pid(self, name):
        info = self.cri.call("ContainerStatus", container_id=self.containers[name], verbose=True).info
        return json.loads(info["info"])["pid"]

    def find(self, name):
        found = Container(self, name, self._pid(name))
        status = self.cri.call("PodSandboxStatus", pod_sandbox_id=self.container_id(name)).status
        if status.network.ip != found.v4:
            raise LabError(f"containerd says that {found.name} has {status.network.ip}, and not {found.v4}")
        return found

    def exec(self, name, *argv, check=True, timeout=30):
        done = self.cri.call("ExecSync", container_id=self.containers[name], cmd=argv, timeout=timeout)
        if check and done.exit_code:
            raise LabError(f"{' '.join(argv)}: exit code {done.exit_code}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def container_id(self, name):
        return self.sandboxes[name][0]

    def pod(self, name):
        return self.namespace, name

    def restart(self, name):
        """A new sandbox: what kubelet makes when the old one is lost."""
        self.remove(name)
        return self.run(name)

    def _sandbox_ids(self, name):
        return [s.id for s in self.cri.call("ListPodSandbox").items if s.metadata.name == name]

    def remove(self, name):
        """Its sandbox is stopped and removed as kubelet does it: DEL comes twice."""
        for sandbox in self._sandbox_ids(name):
            self.cri.call("StopPodSandbox", pod_sandbox_id=sandbox)
            self.cri.call("RemovePodSandbox", pod_sandbox_id=sandbox)
        self.names.remove(name)

    def stop(self):
        for name in list(self.names):
            self.remove(name)
        self.cri.close()
        super().stop()
