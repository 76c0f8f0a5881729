# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""`python3 -m lab`: list the laboratories of this machine, remove them, enter a node."""

import os
import sys

from . import laboratory
from .errors import LabError
from .netns import enter_words
from .process import start_time

USAGE = """usage: python3 -m lab list              the laboratories on this machine
       python3 -m lab clean             remove those whose owner is dead
       python3 -m lab clean NAME...     remove these, whoever owns them
       python3 -m lab exec NAME NODE COMMAND [ARGUMENT]..."""


def exec_in(name, node, command):
    """Replace this process by a command on a node; raises LabError if there is no such node."""
    state = laboratory.read_state(name)
    if state is None:
        raise LabError(f"there is no laboratory {name}")
    nodes = state.get("nodes", {})
    if node not in nodes:
        raise LabError(f"there is no {node}; there are: {' '.join(nodes)}")
    entry = nodes[node]
    if entry["holder"] and start_time(entry["holder"]) != entry["holder_started"]:
        raise LabError(f"{node} is no longer up")
    words = enter_words(entry["netns"], entry["holder"]) + command
    os.execvp(words[0], words)


def main(arguments):
    if os.geteuid() != 0:
        raise LabError("the laboratory needs root")
    verb, *rest = arguments or ["help"]
    if verb == "list":
        for name in laboratory.laboratories():
            state = laboratory.read_state(name) or {}
            alive = "kept" if state.get("keep") else \
                f"of pid {state.get('pid')}" if laboratory.owner_alive(state) else "dead"
            print(f"{name}  {alive}  {' '.join(state.get('nodes', {}))}")
    elif verb == "clean":
        for name in rest or laboratory.sweep():
            laboratory.destroy(name)
            print(f"removed {name}")
    elif verb == "exec" and len(rest) >= 3:
        exec_in(rest[0], rest[1], rest[2:])
    else:
        print(USAGE, file=sys.stderr)
        return 0 if verb == "help" else 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        sys.exit(1)
