# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Fixtures of the network tests: a laboratory per test, and what its agents said if it fails.

    def test_x(lab): ...            # an empty laboratory, removed afterwards
    def test_y(fabric): ...
        net = fabric(hosts=3, config={...}, family=4, etcd=1, flags=["-x"])     # see lab/fabric.py

An agent that does not end with exit code 0 on SIGTERM at the end fails its test. A test that cannot
run says so with pytest.skip(reason); under WEFT_REQUIRE_ALL=1 that is a failure.
"""

import os
import pathlib
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from lab import Fabric, Lab, LabError  # noqa: E402 (the repository has to be on the path first)
from lab.consul import consul_binary  # noqa: E402

LOG_LINES = 60


@pytest.fixture
def lab(request):
    laboratory = Lab()
    request.node.stash_lab = laboratory
    try:
        yield laboratory
    finally:
        bad = laboratory.close()
    assert not bad, f"agents that did not end cleanly on SIGTERM: {bad}"


@pytest.fixture
def fabric(lab):
    """A function that makes a Fabric in this test's laboratory."""
    def make(*args, store="etcd3", **kwargs):
        if "consul" in (store or ""):
            try:
                consul_binary()
            except LabError as e:
                pytest.skip(f"no Consul: {e}")
        return Fabric(lab, *args, store=store, **kwargs)
    return make


def _describe(laboratory):
    """What one wants to see of a laboratory in which a test failed."""
    for host in laboratory.hosts:
        log = host.agent.log()
        if log:
            yield f"agent of {host.name}", "\n".join(log.splitlines()[-LOG_LINES:])
            for what in (("route",), ("-6", "route"), ("neigh",), ("nexthop",), ("-br", "addr")):
                yield f"{host.name}: ip {' '.join(what)}", host.ip(*what, check=False)
    for etcd in laboratory.etcds:
        for member in etcd.members:
            if member.process:
                yield f"etcd {member.name}", "\n".join(member.process.log().splitlines()[-15:])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("WEFT_REQUIRE_ALL") == "1" \
            and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but WEFT_REQUIRE_ALL=1: {report.longrepr}"
    laboratory = getattr(item, "stash_lab", None)
    if report.failed and report.when == "call" and laboratory:
        report.sections += [(title, text) for title, text in _describe(laboratory) if text.strip()]
