# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A virtual machine with a disk: its power can be cut, and what it runs is told over its console (store_guest)."""

import queue
import re
import socket
import subprocess
import threading
import time

from lab import LabError

PORT = 8889
BOOT_S = 60             # an emulated processor is slow
COMMAND_S = 60
LISTEN = f"10.0.2.15:{PORT}"
CMDLINE = "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests nokaslr"


def make_disk(path, size):
    """An ext4 of this many bytes."""
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", path], check=True)


class Machine:
    """One run of it, from power on to power off; what it wrote to its disk is there in the next one.

    cache=none: what the guest writes to its disk goes to the file at once, past the host's page cache, and what it has
    not written is in the memory of QEMU alone.
    """

    def __init__(self, kernel, image, disk, rtc=None):
        self._lines = queue.Queue()
        self.output = []
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "--", "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-m", "384",
             "-cpu", "Nehalem,+rdrand", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
             "-drive", f"file={disk},format=raw,if=none,id=disk,cache=none", "-device", "virtio-blk-pci,drive=disk",
             "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{PORT}-{LISTEN}",
             "-device", "virtio-net-pci,netdev=net,romfile=", *(["-rtc", f"base={rtc}"] if rtc else []),
             "-kernel", kernel, "-initrd", image, "-append", CMDLINE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._await_answer(BOOT_S)
        except BaseException:
            self.cut_power()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.cut_power()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)

    def _await_answer(self, timeout, what="boot"):
        """(exit code, output)"""
        deadline = time.monotonic() + timeout
        said = []
        while True:
            try:
                line = self._lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise LabError(f"the machine, {what}: no answer in {timeout} s; it said {said[-20:]}") from None
            if line is None:
                raise LabError(f"the machine, {what}: it ended; it said {said[-20:]}")
            code = re.fullmatch(r"guest: (\d+)", line)
            if code:
                return int(code[1]), "\n".join(said)
            said.append(line)

    def run(self, command, timeout=COMMAND_S):
        """What a command in it says; one that fails is a LabError."""
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        code, said = self._await_answer(timeout, command)
        if code != 0:
            raise LabError(f"{command}: exit code {code}: {said}")
        return said

    def start_controller(self, preload=None):
        """weftd, until it serves."""
        before = f"LD_PRELOAD={preload} " if preload else ""
        self.run(f"{before}weftd --listen={LISTEN} --insecure --store=sqlite:/var/lib/weft/weft.db > /run/log 2>&1 &"
                 " while ! grep -q 'controller: serves' /run/log; do"
                 " kill -0 $! || { cat /run/log; exit 1; }; usleep 50000; done")

    def connect(self):
        return socket.create_connection(("127.0.0.1", PORT), timeout=10)

    def cut_power(self):
        """All that is not on its disk is lost."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
