# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""lint.py [--fast] [--self-test] [CHECK...]: hold the tree against its own rules.

Without names all checks run; --fast leaves out those that need minutes. --self-test feeds each
check a sample that must fail and one that must pass, so that no check is one that cannot fail.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(__file__))

import source_rules  # noqa: E402
import tool_rules  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
RULES = {rule.name: rule for rule in (*source_rules.RULES, *tool_rules.RULES)}


def tracked_files(root):
    """Every file git knows or would add, as paths relative to root."""
    out = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z",
                          "--cached", "--others", "--exclude-standard"],
                         capture_output=True, check=True).stdout
    names = sorted({n.decode() for n in out.split(b"\0") if n})
    return [n for n in names if (root / n).is_file() and not (root / n).is_symlink()]


def run_rule(rule, root, files):
    """The findings of one rule over the files that concern it, each a line of text."""
    chosen = [f for f in files if rule.wants(f)]
    return list(rule.check(root, chosen)) if chosen else []


def lint(names, fast):
    files = tracked_files(REPOSITORY)
    failed = 0
    for name in names:
        rule = RULES[name]
        if fast and rule.slow:
            continue
        begin = time.monotonic()
        findings = run_rule(rule, REPOSITORY, files)
        for finding in findings:
            print(f"{name}: {finding}")
        failed += bool(findings)
        print(f"lint {name}: {'FAILED' if findings else 'ok'} ({time.monotonic() - begin:.1f} s)",
              flush=True)
    return failed


def self_test(names):
    """Each rule must find something in its bad samples and nothing in its good ones."""
    failed = 0
    for name in names:
        rule = RULES[name]
        problems = []
        if not rule.bad or not rule.good:
            problems.append("it has no samples")
        for expected, samples in ((True, rule.bad), (False, rule.good)):
            for path, text in samples:
                with tempfile.TemporaryDirectory() as directory:
                    root = pathlib.Path(directory)
                    for config in (".clang-format", ".clang-tidy"):
                        (root / config).write_bytes((REPOSITORY / config).read_bytes())
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / path).write_text(text, encoding="utf-8")
                    findings = run_rule(rule, root, [path])
                if bool(findings) != expected:
                    problems.append(f"{'nothing found in' if expected else 'wrongly found:'} "
                                    f"{findings or repr(text)}")
        for problem in problems:
            print(f"lint self-test {name}: {problem}")
        failed += bool(problems)
    print(f"lint self-test: {len(names) - failed} of {len(names)} checks do what they say")
    return failed


def main(arguments):
    flags = {a for a in arguments if a.startswith("--")}
    names = [a for a in arguments if not a.startswith("--")] or list(RULES)
    unknown = [n for n in names if n not in RULES] + sorted(flags - {"--fast", "--self-test"})
    if unknown:
        print(f"lint: there is no {', '.join(unknown)}; there are: {' '.join(RULES)}",
              file=sys.stderr)
        return 2
    if "--self-test" in flags:
        return 1 if self_test(names) else 0
    return 1 if lint(names, "--fast" in flags) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
