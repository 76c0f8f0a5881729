# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Puts leases of made-up hosts into an etcd, many to a transaction; runs where it reaches the etcd.

usage: load.py URL PREFIX FIRST COUNT [ROUND]   (ROUND changes the MACs, so that a second load changes every lease)
"""

import base64
import json
import sys
import urllib.request

BATCH = 100  # etcd takes 128 operations in a transaction


def b64(text):
    return base64.b64encode(text.encode()).decode()


def lease(number, generation):
    """Key and value of host number: subnets of 10.0.0.0/8 from 10.1.0.0 on, public addresses of 172.16.0.0/12."""
    key = f"10.{1 + (number >> 8)}.{number & 255}.0-24"
    mac = f"02:{generation & 255:02x}:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    public = f"172.{16 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    data = {"PublicIP": public, "PublicIPv6": None, "BackendType": "vxlan",
            "BackendData": {"VNI": 1, "VtepMAC": mac}}
    return key, json.dumps(data, separators=(",", ":"))


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def load(url, prefix, first, count, generation=0):
    for start in range(first, first + count, BATCH):
        puts = []
        for number in range(start, min(start + BATCH, first + count)):
            key, value = lease(number, generation)
            puts.append({"requestPut": {"key": b64(f"{prefix}/subnets/{key}"), "value": b64(value)}})
        post(f"{url}/v3/kv/txn", {"success": puts})


if __name__ == "__main__":
    load(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int((sys.argv[5:] or ["0"])[0]))
