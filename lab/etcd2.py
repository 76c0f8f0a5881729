# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A real etcd that is spoken to by version 2 of its API, and its data as that version has them."""

import json
import os
import urllib.parse

from .errors import LabError
from .etcd import Etcd, KeyValue

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NO_SUCH_KEY = 100       # etcd's errorCode


class Etcd2(Etcd):
    """The same processes; what is read and written is another database within them."""

    def __init__(self, lab, segment, members=1, flags=(), **options):
        super().__init__(lab, segment, members, flags=["--enable-v2", *flags], **options)

    def agent_flags(self):
        return ["--store=etcd2", *super().agent_flags()]

    def ctl2(self, *argv, check=True, timeout=30):
        """etcdctl of API 2; CompletedProcess."""
        words = ["etcdctl", "--endpoints", self.endpoints]
        if self.tls:
            words += ["--ca-file", self.tls / "ca.crt"]
        return self._living().run(*words, *argv, check=check, timeout=timeout,
                                  env={**os.environ, "ETCDCTL_API": "2"})

    def _living(self):
        return next((m for m in self.members if m.alive()), self.members[0])

    def _ask(self, key, method="GET", query="", body=None):
        """The parsed answer; None if there is no such key."""
        url = f"/v2/keys{urllib.parse.quote(key)}{query}"
        code, text = self._living().request(url, method, body, headers=FORM if body else None)
        answer = json.loads(text)
        if answer.get("errorCode") == NO_SUCH_KEY:
            return None
        if code not in (200, 201):
            raise LabError(f"{method} {url}: {code} {text}")
        return answer

    def put(self, key, value, lease=None):
        """value: text, or anything that is written as JSON; lease: the seconds it lives."""
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        form = {"value": text, **({"ttl": lease} if lease else {})}
        self._ask(key, "PUT", body=urllib.parse.urlencode(form))

    def delete(self, key, prefix=False):
        """How many keys went."""
        if not prefix:
            return 0 if self._ask(key, "DELETE") is None else 1
        return sum(self.delete(pair.key) for pair in self.range(key))

    def range(self, prefix):
        """Every pair below the directory prefix, as KeyValues in key order."""
        answer = self._ask(prefix.rstrip("/"), query="?quorum=true&recursive=true&sorted=true")
        return list(_pairs(answer["node"])) if answer else []

    def get(self, key):
        """The KeyValue of one key, or None."""
        answer = self._ask(key, query="?quorum=true")
        return next(_pairs(answer["node"]), None) if answer else None


def _pairs(node):
    """lease is the time to live that is left, 0 for a key that lives for ever."""
    if node.get("dir"):
        for child in node.get("nodes", []):
            yield from _pairs(child)
    else:
        yield KeyValue(node["key"], node["value"], node["modifiedIndex"], node["createdIndex"], None,
                       node.get("ttl", 0))
