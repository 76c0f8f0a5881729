# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Every backend with every family that it has: the table and the checks are in backend_suite.py.

A row whose device this machine's kernel lacks is none of these tests: `make check-vm` runs it.
"""

import pytest
from backend_suite import ROWS, TYPES, Suite, kernel_has

HERE = [(name, family) for name, family in ROWS if kernel_has(TYPES[name].kernel_device) or TYPES[name].user_space]


@pytest.mark.parametrize("name, family", HERE)
def test_backend(fabric, name, family):
    Suite(fabric, name, family).run()


@pytest.mark.parametrize("name, family", [row for row in HERE if row[0] in ("host-gw", "ipip")])
def test_without_nexthop_objects(fabric, name, family):
    suite = Suite(fabric, name, family, flags=["--without-feature=nexthop"])
    suite.check_status()
    suite.check_restart()
    assert suite.net.hosts[0].ip_json("nexthop", "show") == []
