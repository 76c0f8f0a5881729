# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""What the laboratory raises: one exception whose text is meant for a person."""


class LabError(Exception):
    """Something in the laboratory could not be made or did not behave; the text says what."""


class WaitTimeout(LabError):
    """A condition did not become true in time."""
