# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Rules that are other programs' judgement: compilers, clang-format, clang-tidy, shellcheck, ..."""

import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess

from source_rules import HEAD, Rule, is_c, is_source

WARNINGS = ("-Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla"
            " -Wpointer-arith -Wwrite-strings -Wimplicit-fallthrough -Wformat=2"
            " -Wno-format-nonliteral -Werror").split()
LIBRARIES = "jansson libuv libcurl libmicrohttpd libmnl libpcre2-8 sqlite3 cmocka".split()

ERR_SET = "src/core/err.c"      # the one file that must not see analyzer.h: it defines err_set


def _libraries():
    out = subprocess.run(["pkg-config", "--cflags", *LIBRARIES], capture_output=True, text=True,
                         check=True).stdout
    return shlex.split(out)


def compile_flags(root):
    defined = ["-D_GNU_SOURCE", *(f'-D{name}="lint"' for name in ("WEFT_VERSION", "WEFT_CNI_DIR", "FETCH_CONSUL"))]
    return ["-std=gnu17", *defined, f"-I{root / 'src'}",
            f"-I{root / 'tests' / 'unit'}", f"-I{root / 'tests' / 'fuzz'}", *_libraries()]


def _run(words, root, stdin=None):
    """The output of a program if it failed, else nothing."""
    done = subprocess.run([str(w) for w in words], cwd=root, input=stdin, capture_output=True,
                          text=True, errors="replace", check=False)
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def _each(function, items):
    """The non-empty results of function over items, on all cores."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [found for found in pool.map(function, items) if found]


def _batches(paths, size):
    return [paths[i:i + size] for i in range(0, len(paths), size)]


def check_clang_format(root, paths):
    def one(path):
        found = _run(["clang-format", "--dry-run", "-Werror", path], root)
        return found and f"{path}: `make format` would change it: {found.splitlines()[0]}"
    return _each(one, paths)


def check_headers_alone(root, paths):
    """A header must compile when it is the only one that is included, and twice as well."""
    flags = compile_flags(root)

    def one(path):
        name = path.removeprefix("src/")
        text = f'#include "{name}"\n#include "{name}"\n'
        found = _run(["gcc", *flags, *WARNINGS, "-fsyntax-only", "-x", "c", "-"], root, text)
        return found and f"{path} alone: {found}"
    return _each(one, paths)


def check_clang(root, paths):
    """No warning from clang either (the build itself is gcc's)."""
    flags = compile_flags(root)

    def one(path):
        found = _run(["clang", *flags, *WARNINGS, "-fsyntax-only", path], root)
        return found and f"{path}: {found}"
    return _each(one, paths)


def check_clang_tidy(root, paths):
    flags = compile_flags(root)
    told = root / "tests" / "lint" / "analyzer.h"

    def one(batch):
        hints = ["-include", str(told)] if told.is_file() and batch != [ERR_SET] else []
        found = _run(["clang-tidy", "--quiet", *batch, "--", *flags, *hints], root)
        lines = [line for line in found.splitlines()
                 if re.search(r": (?:error|warning): |^Error", line)]
        return "\n".join(lines) or found
    others = [p for p in paths if p != ERR_SET]
    return _each(one, _batches(others, 4) + [[p] for p in paths if p == ERR_SET])


def is_shell(path):
    return path.endswith(".sh") or path in ("demo", "check", ".ci/run",
                                            "packaging/debian/install-packages",
                                            "tests/fuzz/run", "tests/bench/run")


def check_shellcheck(root, paths):
    found = _run(["shellcheck", "-f", "gcc", *paths], root)
    return found.splitlines()


def check_pyflakes(root, paths):
    return _run(["pyflakes3", *paths], root).splitlines()


def check_python(root, paths):
    """Every file is Python 3.11."""
    for path in paths:
        try:
            compile((root / path).read_bytes(), path, "exec")
        except SyntaxError as e:
            yield f"{path}:{e.lineno}: {e.msg}"


def check_man(root, paths):
    """Everything that mandoc warns of."""
    for path in paths:
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(root / path)],
                              capture_output=True, text=True, check=False)
        yield from (line.replace(f"{root}/", "") for line in done.stdout.splitlines())


def is_man(path):
    return re.fullmatch(r"docs/man/[\w.-]+\.[1-8]", path) is not None


def check_packages(root, paths):
    """Every line has the known form, and no package is twice in a section."""
    for path in paths:
        seen = set()
        for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
            if not line or line.startswith("#"):
                continue
            match = re.fullmatch(r"([a-z]+)\t([a-z0-9.+-]+)(?:\t+\S.*)?", line)
            if not match:
                yield f"{path}:{number}: not “section TAB package [TAB why]”"
            elif match[2] in {name for _, name in seen if _ == match[1]}:
                yield f"{path}:{number}: {match[2]} twice"
            else:
                seen.add((match[1], match[2]))


def is_python(path):
    return path.endswith(".py") or pathlib.PurePath(path).name == "conftest.py"


GOOD_C = HEAD + "int module_answer(void);\nint module_answer(void)\n{\n\treturn 42;\n}\n"

RULES = [
    Rule("clang-format", is_c, check_clang_format,
         bad=[("src/core/x.c", HEAD + "int f( void ){ return 1; }\n")],
         good=[("src/core/x.c", HEAD + "int f(void)\n{\n\treturn 1;\n}\n")]),
    Rule("headers-alone", lambda p: is_source(p) and p.endswith(".h"), check_headers_alone,
         bad=[("src/core/x.h", HEAD + "#pragma once\nsize_t f(void);\n"),
              ("src/core/x.h", HEAD + "struct x {\n\tint y;\n};\n")],
         good=[("src/core/x.h", HEAD + "#pragma once\n#include <stddef.h>\nsize_t f(void);\n")]),
    Rule("clang", lambda p: is_c(p) and p.endswith(".c"), check_clang,
         bad=[("src/core/x.c", HEAD + "int f(void)\n{\n\treturn 1;\n}\n"),
              ("src/core/x.c", HEAD + "static int f(int *p)\n{\n\treturn p;\n}\n")],
         good=[("src/core/x.c", GOOD_C)], slow=True),
    Rule("clang-tidy", lambda p: is_source(p) and p.endswith(".c"), check_clang_tidy,
         bad=[("src/core/x.c", HEAD + "#include <stdlib.h>\nint f(void);\nint f(void)\n{\n"
               "\tint *p = malloc(4);\n\tif (p)\n\t\t*p = 1;\n\treturn p ? *p : 0;\n}\n"),
              ("src/core/x.c", HEAD + "int f(int a);\nint f(int a)\n{\n\treturn a == a;\n}\n")],
         good=[("src/core/x.c", GOOD_C)], slow=True),
    Rule("shellcheck", is_shell, check_shellcheck,
         bad=[("demo", "#!/bin/sh\nrm -rf $1/x\n")],
         good=[("demo", "#!/bin/sh\nrm -rf \"${1:?}/x\"\n")]),
    Rule("python", is_python, check_python,
         bad=[("lab/x.py", "def f(:\n")], good=[("lab/x.py", "X = 1\n")]),
    Rule("pyflakes", is_python, check_pyflakes,
         bad=[("lab/x.py", "import os\n")], good=[("lab/x.py", "import os\nprint(os.sep)\n")]),
    Rule("man", is_man, check_man,
         bad=[("docs/man/x.8", ".TH X\n.XX nonsense\n")],
         good=[("docs/man/x.8", ".TH X 8 2026-01-31 weft\n.SH NAME\nx \\- y\n")]),
    Rule("packages", lambda p: p == "packaging/debian/packages.txt", check_packages,
         bad=[("packaging/debian/packages.txt", "build gcc\n"),
              ("packaging/debian/packages.txt", "build\tgcc\nbuild\tgcc\n")],
         good=[("packaging/debian/packages.txt", "# x\nbuild\tgcc\t\twhy\nlint\tgcc\n")]),
]
