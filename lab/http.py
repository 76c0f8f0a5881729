# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""HTTP from the laboratory's own process into a node: to a TCP port or to a unix socket there."""

import http.client
import re
import socket
import ssl

from .errors import LabError


class _Connection(http.client.HTTPConnection):
    """A connection over a socket that the caller opened."""

    def __init__(self, opened, host):
        super().__init__(host, timeout=opened.gettimeout())
        self.sock = opened

    def connect(self):
        """Nothing to do: the socket is connected."""


def _request(opened, host, method, path, body, headers=None):
    connection = _Connection(opened, host)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except http.client.HTTPException as e:
        raise LabError(f"{method} {path} at {host}: {e!r}") from None
    finally:
        connection.close()


def unix_request(path, url, method="GET", body=None, timeout=5):
    """(status, text) of a request over a unix socket."""
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(timeout)
    try:
        opened.connect(str(path))
    except OSError as e:
        opened.close()
        raise LabError(f"{path}: {e.strerror or e}") from None
    return _request(opened, "localhost", method, url, body)


def tcp_request(node, address, port, url, method="GET", body=None, timeout=5, tls=None, headers=None):
    """(status, text) of a request made from within node; tls: an ssl.SSLContext."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = node.socket(family)
    opened.settimeout(timeout)
    try:
        opened.connect((address, port))
        if tls:
            opened = tls.wrap_socket(opened, server_hostname=address)
    except (OSError, ssl.SSLError) as e:
        opened.close()
        raise LabError(f"{address} port {port} from {node.name}: {e}") from None
    return _request(opened, address, method, url, body, headers)


def parse_metrics(text):
    """Prometheus text as {(name, frozenset of (label, value)): number}."""
    values = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
        if match:
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or "")
            values[match[1], frozenset(labels)] = float(match[3])
    return values


def sum_metric(values, name, labels):
    """The sum of all samples of a metric that carry these labels; 0 if there are none."""
    wanted = set(labels.items())
    return sum(v for (n, have), v in values.items() if n == name and wanted <= have)
