# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""summary.py REPORTS STEP...: add up the reports of one ./check: pytest's JUnit files, meson's log, the sanitizers'.

The last line it prints is "N passed, N failed[, N skipped]". Exit code 1 if anything failed, if a
step left no report, if no test ran at all, or, under WEFT_REQUIRE_ALL=1, if one was skipped.
"""

import json
import os
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def read_report(path):
    """(passed, [names of failed], [names of skipped]) of one JUnit file."""
    passed, failed, skipped = 0, [], []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed += 1
    return passed, failed, skipped


def read_meson_log(path):
    """The same of meson's testlog.json: a line of JSON for each test."""
    passed, failed, skipped = 0, [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        test = json.loads(line)
        if test["result"] == "OK":
            passed += 1
        elif test["result"] == "SKIP":
            skipped.append(test["name"])
        else:
            failed.append(f"{test['name']} ({test['result']})")
    return passed, failed, skipped


def main(reports, steps):
    reports = pathlib.Path(reports)
    passed, failed, skipped = 0, [], []
    for step in steps:
        if not any((reports / f"{step}.{kind}").is_file() for kind in ("xml", "json")):
            failed.append(f"{step}: left no report, it did not run to its end")
    for path in sorted([*reports.glob("*.xml"), *reports.glob("*.json")]):
        try:
            more, bad, left_out = (read_report if path.suffix == ".xml" else read_meson_log)(path)
        except (ElementTree.ParseError, ValueError, KeyError) as e:
            more, bad, left_out = 0, [f"{path.name}: {e}"], []
        passed, failed, skipped = passed + more, failed + bad, skipped + left_out
    for path in sorted(reports.glob("sanitizer*")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if "ERROR: " in text or "runtime error: " in text:      # not a mere warning
            failed.append(f"sanitizer report {path}")
            print(text[:4000])
    if not passed and not failed and not skipped:
        failed.append("no test ran at all")
    strict = os.environ.get("WEFT_REQUIRE_ALL") == "1"
    if strict:
        failed += [f"{name} (skipped, but WEFT_REQUIRE_ALL=1)" for name in skipped]
        skipped = []
    print("== summary")
    for name in failed:
        print(f"FAILED {name}")
    for name in skipped:
        print(f"skipped {name}")
    left_out = f", {len(skipped)} skipped" if skipped else ""
    print(f"{passed} passed, {len(failed)} failed{left_out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
