# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""Writes one line for each IPv4 neighbour or route that the kernel of this namespace tells of: time, what, address.

usage: listen.py FILE   (until it is ended; the first line, "ready", says that it listens)
"""

import socket
import struct
import sys
import time

RTM_NEWNEIGH, RTM_NEWROUTE = 28, 24
GROUPS = 1 << 2 | 1 << 6  # RTMGRP_NEIGH, RTMGRP_IPV4_ROUTE
SO_RCVBUFFORCE = 33
HEADER = struct.Struct("=IHHII")


def attribute(data, wanted):
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return None
        if kind == wanted:
            return data[4:length]
        data = data[(length + 3) & ~3:]
    return None


def messages(buffer):
    while len(buffer) >= HEADER.size:
        length, kind = HEADER.unpack_from(buffer)[:2]
        yield kind, buffer[HEADER.size:length]
        buffer = buffer[(length + 3) & ~3:]


def main(path):
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.bind((0, GROUPS))
    with open(path, "w", encoding="ascii", buffering=1 << 16) as out:
        out.write("ready\n")
        out.flush()
        while True:
            buffer = sock.recv(1 << 16)
            now = time.time()
            for kind, body in messages(buffer):
                if kind == RTM_NEWNEIGH and body[0] == socket.AF_INET:
                    address = attribute(body[12:], 1)
                elif kind == RTM_NEWROUTE:
                    address = attribute(body[12:], 1)
                else:
                    continue
                if address and len(address) == 4:
                    what = "neigh" if kind == RTM_NEWNEIGH else "route"
                    out.write(f"{now:.6f} {what} {socket.inet_ntoa(address)}\n")
            out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
