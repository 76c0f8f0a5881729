# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The image that containers of the tests run, made here, without a registry: busybox and two pages.

/www/payload is a large file; /www/cgi-bin/caller answers with the address that the caller had.
"""

import functools
import hashlib
import io
import json
import platform
import random
import shutil
import tarfile

from lab import LabError, run

NAME = "weft-client-test:latest"
PAYLOAD = random.Random(1).randbytes(8 << 20)
PAYLOAD_SHA256 = hashlib.sha256(PAYLOAD).hexdigest()
CALLER = rb"""#!/bin/sh
address=${REMOTE_ADDR##*:}      # it may be written [::ffff:10.1.2.3]
printf 'Content-type: text/plain\r\n\r\n%s\n' "${address%]}"
"""
# As process 1 httpd alone would ignore SIGTERM, and runtimes would wait 10 s before they kill it.
SERVER = ("/bin/sh", "-c", "trap 'exit 0' TERM; httpd -f -p 80 -h /www & wait")
PAUSE = ("/bin/sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())      # Go's name
DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "www", "www/cgi-bin")


@functools.cache
def _files():
    """[(path, content or link target, mode)] of the root file system; a text is a link's target."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise LabError("busybox is not installed (Debian package busybox-static)")
    with open(busybox, "rb") as f:
        program = f.read()
    applets = run([busybox, "--list"]).stdout.split()
    return [("bin/busybox", program, 0o755),
            *[(f"bin/{name}", "busybox", 0o777) for name in applets if name != "busybox"],
            ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644),
            ("www/payload", PAYLOAD, 0o644),
            ("www/cgi-bin/caller", CALLER, 0o755)]


def write_tar(path):
    """The root file system as a tar archive, which docker and podman import."""
    with tarfile.open(path, "w") as archive:
        for name in DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, content, mode in _files():
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def _add_file(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def write_docker_archive(path, name):
    """An image of this name as docker save writes it, which ctr imports; by itself it does nothing."""
    layer = path.with_suffix(".layer")
    write_tar(layer)
    content = layer.read_bytes()
    layer.unlink()
    config = {"architecture": ARCHITECTURE, "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": list(PAUSE)},
              "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]}}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        _add_file(archive, "layer.tar", content)
        _add_file(archive, "config.json", json.dumps(config).encode())
        _add_file(archive, "manifest.json", json.dumps(manifest).encode())


def write_directory(path):
    """The same as a directory, which ctr runs from."""
    for name in DIRECTORIES:
        (path / name).mkdir(parents=True, exist_ok=True)
    for name, content, mode in _files():
        target = path / name
        if isinstance(content, str):
            target.symlink_to(content)
        else:
            target.write_bytes(content)
            target.chmod(mode)
