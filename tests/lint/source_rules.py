# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Rules that read the sources themselves: layers, headers' looks, banned functions, form."""

import dataclasses
import pathlib
import re
from typing import Callable


@dataclasses.dataclass
class Rule:
    """One check. wants(path) chooses files; check(root, paths) yields findings."""

    name: str
    wants: Callable
    check: Callable
    bad: list           # samples (path, text) that must give a finding
    good: list          # samples that must give none
    slow: bool = False


# Which layers a layer may include: ARCHITECTURE.md's table, pointing down only.
LAYERS = {
    "core": "",
    "io": "core",
    "udp": "core",
    "probe": "core io",
    "kernel": "core",
    "reconcile": "core io kernel",
    "store": "core io",
    "backend": "core io kernel reconcile",
    "masq": "core io kernel reconcile",
    "fabric": "core io kernel reconcile store backend masq",
    "ipam": "core io kernel reconcile store backend masq fabric",
    "controller": "core io store",
    "agent": "core io probe kernel reconcile store backend masq fabric ipam controller udp",
    "cni": "core kernel",
    "cli": "core io store",
}
# Implementations of one interface, which never include one another.
SIBLINGS = {
    "store": ("consul", "etcd2", "etcd3", "kube", "memory", "remote", "sqlite"),
    "backend": ("alloc", "extension", "hostgw", "ipip", "null", "udp", "vxlan", "wireguard"),
}
# What only those of store/ and what stands between them and their callers may see.
STORES_ONLY = "store/kv_internal.h"
# Libraries that are one layer's own business.
LIBRARIES = {"libmnl": "kernel", "curl": "io", "uv.h": "io", "microhttpd.h": "io",
             "nftables": "masq", "sqlite3.h": "store", "nettle": "agent", "pcre2.h": "agent"}
# Functions nobody calls, but for those places: the one file that wraps them, or the tests.
BANNED = {
    "strcpy strcat strncpy strncat stpcpy sprintf vsprintf gets strtok strtok_r": (),
    "atoi atol atoll atof sscanf vsscanf fscanf scanf": ("tests/",),
    "strtol strtoll strtoul strtoull strtod strtof strtoimax strtoumax": ("src/core/parse.c", "tests/"),
    "system popen alloca tmpnam mktemp rand srand": (),
}
PYTHON_COLUMNS = 120
FILE_LIMIT = 800        # lines; past this a file owns two things


def read(root, path):
    return (root / path).read_text(encoding="utf-8", errors="replace")


def is_c(path):
    return path.endswith((".c", ".h"))


def is_source(path):
    return path.startswith("src/") and is_c(path)


def without_comments(text):
    """C with comments and the insides of strings blanked, lines kept."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''

    def blank(match):
        if match[0][0] in "\"'":
            return match[0][0] * 2
        return "\n" * match[0].count("\n")
    return re.sub(pattern, blank, text, flags=re.S)


def sibling_of(layer, stem):
    return next((s for s in SIBLINGS.get(layer, ()) if re.fullmatch(rf"{s}(_.*)?", stem)), None)


def check_layers(root, paths):
    for path in paths:
        parts = pathlib.PurePath(path).parts
        layer = parts[1]
        if layer not in LAYERS:
            yield f"{path}: {layer} is not in the table of layers"
            continue
        for number, line in enumerate(read(root, path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
            if not match:
                continue
            quoted, target = match[1] == '"', match[2]
            library = next((v for k, v in LIBRARIES.items() if target.startswith(k)), layer)
            if not quoted:
                if library != layer:
                    yield f"{path}:{number}: <{target}> is for {library}/ only"
                continue
            folder, _, name = target.partition("/")
            own = sibling_of(layer, pathlib.PurePath(path).stem)
            other = sibling_of(folder, pathlib.PurePath(name).stem) if folder == layer else None
            if not name:
                yield f"{path}:{number}: write the path from src/: \"{target}\""
            elif folder != layer and folder not in LAYERS[layer].split():
                yield f"{path}:{number}: {layer}/ must not include {folder}/"
            elif own and other and own != other:
                yield f"{path}:{number}: {own} must not include {other}"
            elif target == STORES_ONLY and not (own or re.fullmatch(
                    r"kv(_.*)?", pathlib.PurePath(path).stem)):
                yield f"{path}:{number}: \"{target}\" is for stores only"


def check_banned(root, paths):
    for path in paths:
        text = without_comments(read(root, path))
        for names, wrappers in BANNED.items():
            if path.startswith(wrappers):
                continue
            pattern = rf"(?<![\w.>])(?:{'|'.join(names.split())})\s*\("
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {match[0].rstrip('( ')} is banned"


def comment_prefix(path):
    return "//" if is_c(path) else "#"


def check_headings(root, paths):
    for path in paths:
        lines = read(root, path).splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        mark = comment_prefix(path)
        if not lines:
            if path.endswith("__init__.py"):
                continue
            yield f"{path}: is empty"
        elif lines[0] != f"{mark} SPDX-License-Identifier: GPL-2.0-or-later":
            yield f"{path}:1: must be the comment “SPDX-License-Identifier: GPL-2.0-or-later”"
        elif is_c(path) and not re.match(r"//|/\*", "".join(lines[1:2])):
            yield f"{path}:2: must be a comment that says what the file owns"
        if path.endswith(".h") and "#pragma once" not in lines:
            yield f"{path}: has no “#pragma once”"


def check_form(root, paths):
    for path in paths:
        raw = (root / path).read_bytes()
        if b"\0" in raw:
            continue
        text = raw.decode("utf-8", errors="replace")
        if "\ufffd" in text:
            yield f"{path}: is not UTF-8"
        if text and not text.endswith("\n"):
            yield f"{path}: no newline at the end"
        lines = text.splitlines()
        if is_source(path) and len(lines) > FILE_LIMIT:
            yield f"{path}: {len(lines)} lines; it holds two things, part them"
        for number, line in enumerate(lines, 1):
            if line != line.rstrip() and not path.endswith(".md"):
                yield f"{path}:{number}: white space at the end"
            if path.endswith(".py") and ("\t" in line or len(line) > PYTHON_COLUMNS):
                yield f"{path}:{number}: a tab, or more than {PYTHON_COLUMNS} columns"
            if is_c(path) and re.match(r" +(?! ?\*)\S", line) and not line.startswith(" *"):
                yield f"{path}:{number}: indented by spaces"
            if re.search(r"\b(?:TODO|FIXME|XXX)\b", line) and not path.startswith("tests/lint/"):
                yield f"{path}:{number}: an open end; finish it or write an issue"


def wants_form(path):
    if path in ("COPYING",) or "/corpus/" in path:
        return False
    return is_c(path) or path in ("Makefile", "demo", "check") or \
        path.endswith((".py", ".sh", ".build", ".txt", ".md", ".conf", ".service"))


def wants_heading(path):
    if "/corpus/" in path:
        return False
    return is_c(path) or path.endswith((".py", ".build", ".sh")) or path in ("demo", "check")


HEAD = "// SPDX-License-Identifier: GPL-2.0-or-later\n// Owns: x.\n"

RULES = [
    Rule("layers", is_source, check_layers,
         bad=[("src/core/x.c", '#include "io/loop.h"\n'),
              ("src/cli/x.c", '#include "agent/api.h"\n'),
              ("src/store/etcd3_watch.c", '#include "store/memory.h"\n'),
              ("src/store/registry.c", '#include "store/kv_internal.h"\n'),
              ("src/core/x.c", '#include "mem.h"\n'),
              ("src/agent/x.c", "#include <curl/curl.h>\n"),
              ("src/misc/x.c", '#include "core/mem.h"\n')],
         good=[("src/store/etcd3_watch.c", '#include "store/etcd3.h"\n#include "core/mem.h"\n'),
               ("src/io/x.c", "#include <curl/curl.h>\n"),
               ("src/store/memory_data.c", '#include "store/kv_internal.h"\n'),
               ("src/store/kv.c", '#include "store/memory.h"\n')]),
    Rule("banned", lambda p: is_c(p) and not p.startswith("tests/fuzz/corpus"), check_banned,
         bad=[("src/core/x.c", "int f(void)\n{\n\treturn atoi(\"1\");\n}\n"),
              ("src/io/x.c", "x = strtol (s, NULL, 10);\n"),
              ("tests/unit/x.c", "system(\"ls\");\n")],
         good=[("src/core/parse.c", "x = strtoul(s, &end, 10);\n"),
               ("src/core/x.c", "// atoi(x) is banned\nlog(\"system(x)\"); y = a->system(1);\n")]),
    Rule("headings", wants_heading, check_headings,
         bad=[("src/core/x.c", "// Copyright\nint x;\n"),
              ("src/core/x.h", HEAD + "int x;\n"),
              ("lab/x.py", "import os\n"),
              ("src/core/x.c", HEAD.splitlines()[0] + "\nint x;\n")],
         good=[("src/core/x.h", HEAD + "#pragma once\n"),
               ("check", "#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-or-later\n")]),
    Rule("form", wants_form, check_form,
         bad=[("src/core/x.c", HEAD + "int x; \n"), ("src/core/x.c", HEAD + "int x;"),
              ("lab/x.py", "\tx = 1\n"), ("lab/x.py", "x = '" + "y" * 120 + "'\n"),
              ("src/core/x.c", HEAD + "    int x;\n"),
              ("src/core/x.c", HEAD + "// TO" + "DO later\n"),
              ("src/core/x.c", HEAD + "int x;\n" * 900)],
         good=[("src/core/x.c", HEAD + "\tint x;\n"), ("README.md", "two spaces  \n")]),
]
