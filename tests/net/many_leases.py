# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Hundreds of leases of hosts that are in the store only, each known by a number."""

import json

from lab.fabric import PREFIX

TXN_OPERATIONS = 120    # etcd takes 128 a transaction


def lease_value(number, mac_byte=0x10):
    return json.dumps({"PublicIP": lease_address(number), "PublicIPv6": None, "BackendType": "vxlan",
                       "BackendData": {"VNI": 12345, "VtepMAC": lease_mac(number, mac_byte)}},
                      separators=(",", ":"))


def lease_address(number):
    return f"172.16.{number >> 8}.{number & 255}"


def lease_mac(number, mac_byte=0x10):
    return f"0e:{mac_byte:02x}:00:00:{number >> 8:02x}:{number & 255:02x}"


def lease_key(number):
    return f"10.{64 + (number >> 8)}.{number & 255}.0-24"


def put_leases(etcd, numbers, **how):
    """Many leases in few transactions."""
    _transact(etcd, [f"put {PREFIX}/subnets/{lease_key(n)} {json.dumps(lease_value(n, **how))}" for n in numbers])


def delete_leases(etcd, numbers):
    _transact(etcd, [f"del {PREFIX}/subnets/{lease_key(n)}" for n in numbers])


def _transact(etcd, operations):
    for start in range(0, len(operations), TXN_OPERATIONS):
        lines = "\n".join(operations[start:start + TXN_OPERATIONS])
        assert "SUCCESS" in etcd.ctl("txn", stdin=f"\n{lines}\n\n\n").stdout
