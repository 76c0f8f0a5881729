# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Commands, long-lived processes and waiting.

Every process is known by its pid together with its start time, so that a pid which the kernel has
given to somebody else is never signalled.
"""

import os
import signal
import subprocess
import time

from .errors import LabError, WaitTimeout


def run(argv, *, check=True, timeout=30, stdin=None, env=None):
    """Run a command to its end; text in and out. With check, a failure raises LabError."""
    argv = [str(a) for a in argv]
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout,
                              env=env, stdin=None if stdin is not None else subprocess.DEVNULL,
                              errors="replace")
    except FileNotFoundError as e:
        raise LabError(f"cannot run {argv[0]}: {e.strerror}") from None
    except subprocess.TimeoutExpired as e:
        raise LabError(f"{' '.join(argv)}: no end after {timeout} s; so far: "
                       f"{_text(e.stdout)}{_text(e.stderr)}") from None
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit code {done.returncode}: "
                       f"{(done.stderr or done.stdout).strip()}")
    return done


def _text(output):
    return (output or b"").decode(errors="replace") if isinstance(output, bytes) else output or ""


def wait_for(condition, what, timeout=10, interval=0.02):
    """Call condition until it returns something true, and return that.

    A LabError or OSError from condition counts as "not yet"; it is shown if the time runs out.
    """
    deadline = time.monotonic() + timeout
    last_error = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (LabError, OSError) as e:
            last_error = e
        if time.monotonic() >= deadline:
            why = f" (last error: {last_error})" if last_error else ""
            raise WaitTimeout(f"after {timeout} s still waiting for: {what}{why}")
        time.sleep(interval)


def stat_fields(pid):
    """Of proc(5)'s stat, from the state (its third) on; [] if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except OSError:
        return []


def start_time(pid):
    """When pid was started, in clock ticks since boot; None if there is no such live process."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


def kill_exactly(pid, started, signum):
    """Signal pid if it is still the process that was started then; bool: it was."""
    if started is None or start_time(pid) != started:
        return False
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


class Process:
    """A long-lived child, in a session of its own, its output appended to a log file.

    argv must exec, not fork, its way to the program (nsenter without a pid namespace does), so
    that pid is the program's.
    """

    def __init__(self, argv, log_path, *, env=None, name=None):
        self.name = name or os.path.basename(str(argv[0]))
        self.log_path = log_path
        with open(log_path, "ab") as log:
            try:
                self._popen = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log, env=env,
                                               start_new_session=True)
            except FileNotFoundError as e:
                raise LabError(f"cannot run {argv[0]}: {e.strerror}") from None
        self.pid = self._popen.pid
        self.started = start_time(self.pid)

    def alive(self):
        return self._popen.poll() is None

    @property
    def returncode(self):
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def is_stopped(self):
        """By a signal, not by a tracer."""
        return stat_fields(self.pid)[:1] == ["T"]

    def signal(self, signum):
        if self.alive():
            self._popen.send_signal(signum)

    def wait(self, timeout=10):
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise WaitTimeout(f"{self.name} (pid {self.pid}) has not ended after {timeout} s;"
                              f" its log: {self.log_path}") from None

    def pause(self):
        """SIGSTOP; back when all its threads stand still."""
        self.signal(signal.SIGSTOP)
        if self.alive():
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self):
        self.signal(signal.SIGCONT)

    def ask_to_end(self):
        """SIGTERM, once, also to a process that was stopped.

        One that runs gets no SIGCONT: that would take away the SIGSTOP by which a leak checker holds it at its end,
        which then waits for ever.
        """
        self.signal(signal.SIGTERM)
        if self.is_stopped():
            self.signal(signal.SIGCONT)

    def terminate(self, timeout=10):
        """SIGTERM and wait; returns the exit code. A process that stays is killed and reported."""
        self.ask_to_end()
        return self.wait_or_kill(timeout)

    def wait_or_kill(self, timeout=10):
        """Wait; returns the exit code. A process that stays is killed and reported."""
        try:
            return self.wait(timeout)
        except WaitTimeout:
            self.kill()
            raise

    def kill(self):
        """SIGKILL and wait; returns the exit code."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()
