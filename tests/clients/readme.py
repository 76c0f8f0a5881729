# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""The commands that README.md gives for container runtimes: the tests run these, and no others."""

import pathlib
import re

from lab import LabError

README = pathlib.Path(__file__).resolve().parent.parent.parent / "README.md"
HEADING = "## Docker, podman and containerd"


def _blocks():
    """The indented blocks of that section, without their indentation."""
    _, found, rest = README.read_text(encoding="utf-8").partition(HEADING + "\n")
    if not found:
        raise LabError(f"{README} has no section “{HEADING}”")
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.M)[0]
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", section, flags=re.M)
    return [re.sub(r"^ {4}", "", b, flags=re.M).strip("\n") for b in blocks]


def block(word):
    """The one block that has this word."""
    found = [b for b in _blocks() if word in b]
    if len(found) != 1:
        raise LabError(f"“{HEADING}” of README.md has {len(found)} blocks with “{word}”, not one")
    return found[0]


def unit_settings(text, key):
    """The values of a setting in a piece of a unit file, but for the empty one that resets it."""
    return re.findall(rf"^{key}=(.+)$", text, flags=re.M)
