# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Puts leases one by one over one connection, and writes when each was acknowledged: time, network address.

usage: put.py HOST PORT PREFIX FIRST COUNT ROUND PER_SECOND FILE   (PER_SECOND 0: as fast as it goes)
"""

import http.client
import json
import sys
import time

from load import b64, lease


def main(host, port, prefix, first, count, generation, per_second, path):
    connection = http.client.HTTPConnection(host, port)
    begin = time.monotonic()
    with open(path, "w", encoding="ascii") as out:
        for i in range(count):
            if per_second:
                time.sleep(max(0, begin + i / per_second - time.monotonic()))
            key, value = lease(first + i, generation)
            connection.request("POST", "/v3/kv/put",
                               json.dumps({"key": b64(f"{prefix}/subnets/{key}"), "value": b64(value)}))
            connection.getresponse().read()
            out.write(f"{time.time():.6f} {key.split('-')[0]}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]),
         float(sys.argv[7]), sys.argv[8])
