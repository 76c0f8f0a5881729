# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The suite of tests/net/backend_suite.py on the kernel of the virtual machine; the arguments are types,
all of their rows or one: ipip, wireguard-auto:46."""

import sys

from lab import Fabric, Lab

from . import backend_suite

backend_suite.WAIT_S = 60   # an emulated processor is slow


def main(names):
    for name, _, only in (word.partition(":") for word in names):
        for family in [int(only)] if only else backend_suite.TYPES[name].families:
            with Lab() as lab:
                backend_suite.Suite(lambda lab=lab, **options: Fabric(lab, **options), name, family).run()
                bad = lab.stop_agents()
                assert not bad, f"agents that did not end with 0: {bad}"


if __name__ == "__main__":
    main(sys.argv[1:])
