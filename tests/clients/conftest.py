# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Fixtures of the tests with real container runtimes: a weft network, a runtime on each of its hosts.

    def test_x(cluster):
        net, runtimes = cluster(Docker, hosts=2)

The end of each test is a test as well: nothing of its laboratory may be left on the machine, neither
process nor mount, namespace or control group.
"""

import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY), str(pathlib.Path(__file__).resolve().parent)]

from lab import Fabric, Lab  # noqa: E402 (the paths have to be there first)

import machine  # noqa: E402

LOG_LINES = 40


@pytest.fixture(scope="session", autouse=True)
def swept():
    machine.sweep()


@pytest.fixture
def lab(request):
    laboratory = Lab()
    laboratory.runtimes = []
    request.node.stash_lab = laboratory
    try:
        yield laboratory
        for runtime in laboratory.runtimes:
            runtime.stop()
    finally:
        bad = laboratory.stop_agents()
        for host in laboratory.hosts:
            machine.remove(host.netns)
        laboratory.close()
    assert not bad, f"agents that did not end cleanly on SIGTERM: {bad}"
    left = machine.leftovers(laboratory.name)
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture
def cluster(lab):
    """A function that makes a network and starts a runtime on each host; (Fabric, [Runtime]). flags: of the agents."""
    def make(runtime, hosts=2, flags=(), **options):
        net = Fabric(lab, hosts=hosts, containers=False, flags=flags)
        for host in net.hosts:
            machine.prepare(host)
            lab.runtimes.append(runtime(host, **options))
            lab.runtimes[-1].start()
        return net, list(lab.runtimes)
    return make


def _describe(laboratory):
    """What one wants to see of a laboratory in which a test failed."""
    for host in laboratory.hosts:
        for log in sorted(host.directory.glob("*.log")):
            text = log.read_text(encoding="utf-8", errors="replace")
            yield f"{host.name}: {log.name}", "\n".join(text.splitlines()[-LOG_LINES:])
        for words in (("ip", "route"), ("ip", "-br", "addr"), ("iptables-save",)):
            yield f"{host.name}: {' '.join(words)}", host.run(*words, check=False).stdout


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    laboratory = getattr(item, "stash_lab", None)
    if report.failed and report.when == "call" and laboratory:
        report.sections += [(title, text) for title, text in _describe(laboratory) if text.strip()]
