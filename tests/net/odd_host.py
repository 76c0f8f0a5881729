# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""A host that is not quite right: answers ARP, ping and ICMP's question for the time: late, seldom, by a wrong clock.

    python3 odd_host.py INTERFACE ADDRESS [--delay-s=S] [--answers=N] [--clock-s=S]

It answers the first N echo requests of each who asks only, and knows no other address than this one, which the
kernel must not have.
"""

import argparse
import collections
import socket
import struct
import time

ETH_ARP, ETH_IP = 0x0806, 0x0800
DAY_MS = 86400000


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data[:len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def answer_arp(frame, mac, ip):
    operation, sender_mac, sender_ip, target_ip = (struct.unpack(">H", frame[20:22])[0], frame[22:28], frame[28:32],
                                                   frame[38:42])
    if operation != 1 or target_ip != ip:
        return None
    return sender_mac + mac + frame[12:20] + struct.pack(">H", 2) + mac + ip + sender_mac + sender_ip


def answer_icmp(message, clock_s):
    if message[0] == 8:
        body = b"\x00\x00\x00\x00" + message[4:]
    elif message[0] == 13:
        now = int((time.time() + clock_s) * 1000) % DAY_MS
        body = b"\x0e\x00\x00\x00" + message[4:12] + struct.pack(">II", now, now)
    else:
        return None
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


def answer_ip(frame, mac, ip, clock_s):
    head, message = frame[14:34], frame[34:]
    if head[0] != 0x45 or head[9] != 1 or head[16:20] != ip:
        return None
    body = answer_icmp(message[:struct.unpack(">H", head[2:4])[0] - 20], clock_s)
    if not body:
        return None
    head = (b"\x45\x00" + struct.pack(">H", 20 + len(body)) + b"\x00\x00\x00\x00\x40\x01\x00\x00" + ip + head[12:16])
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return frame[6:12] + mac + struct.pack(">H", ETH_IP) + head + body


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("interface")
    parser.add_argument("address")
    parser.add_argument("--delay-s", type=float, default=0)
    parser.add_argument("--answers", type=int, default=10**9)
    parser.add_argument("--clock-s", type=float, default=0)
    options = parser.parse_args()
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    opened.bind((options.interface, 0))
    mac, ip = opened.getsockname()[4], socket.inet_aton(options.address)
    asked = collections.Counter()       # by the id of who asks
    print("ready", flush=True)
    while True:
        frame = opened.recv(65536)
        kind = struct.unpack(">H", frame[12:14])[0]
        answer = None
        if kind == ETH_ARP:
            answer = answer_arp(frame, mac, ip)
        elif kind == ETH_IP:
            answer = answer_ip(frame, mac, ip, options.clock_s)
            is_echo = len(frame) > 34 and frame[34] == 8
            if answer and is_echo:
                asked[frame[38:40]] += 1
                time.sleep(options.delay_s)
                answer = answer if asked[frame[38:40]] <= options.answers else None
        if answer:
            opened.send(answer)


if __name__ == "__main__":
    main()
