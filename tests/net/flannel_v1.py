# SPDX-License-Identifier: GPL-2.0-or-later
# Copyright The weft authors
"""flannel 0.5 to 0.7 as client and server, written from their description alone: what weft is tested against.

    flannel_v1.py server ADDRESS:PORT STATE-FILE CONFIG-JSON TTL-SECONDS
    flannel_v1.py client ADDRESS:PORT DIRECTORY PUBLIC-IP VTEP-MAC DEVICE [NETWORK]

The server keeps its leases in a file, as its etcd would, and 1,000 events, as etcd does: who asks for older ones
is given a snapshot. It writes whatever a renewal says, and answers a poll with one event. The client takes a
lease, makes a vxlan device, does for each peer what the kernel needs, renews at half of its time, and writes
DIRECTORY/subnet.env and DIRECTORY/state.json.
"""

import datetime
import http.client
import http.server
import ipaddress
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import threading
import time

EVENTS_KEPT = 1000
ZERO = "0001-01-01T00:00:00Z"


def stamp(seconds):
    if not seconds:
        return ZERO
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"


def unstamp(text):
    """Nanoseconds as well."""
    text = re.sub(r"(\.\d{1,6})\d*", r"\1", text).replace("Z", "+00:00")
    return datetime.datetime.fromisoformat(text).timestamp()


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status, self.text = status, text


class Registry:
    """What etcd had for such a server: leases by subnet, an index, the last events."""

    def __init__(self, path, config, ttl):
        self.path = pathlib.Path(path)
        self.config, self.ttl = config, ttl
        self.news = threading.Condition()
        self.index, self.leases = 10, {}
        if self.path.exists():
            kept = json.loads(self.path.read_text())
            self.index, self.leases = kept["index"], kept["leases"]
        self.events = []
        self.lost = self.index      # events up to here are not kept

    def write(self, kind, subnet, attrs=None, expires=0):
        """Holding news."""
        self.index += 1
        if kind == "removed":
            self.leases.pop(subnet)
            told = lease_of(subnet, {"PublicIP": "0.0.0.0"}, 0)
        else:
            self.leases[subnet] = {"attrs": attrs, "expires": expires}
            told = lease_of(subnet, attrs, expires)
        self.events.append((self.index, {"type": kind, "lease": told}))
        while len(self.events) > EVENTS_KEPT:
            self.lost = self.events.pop(0)[0]
        part = self.path.with_suffix(".new")
        part.write_text(json.dumps({"index": self.index, "leases": self.leases}))
        part.rename(self.path)
        self.news.notify_all()

    def expire(self):
        """For ever."""
        while True:
            with self.news:
                for subnet, lease in list(self.leases.items()):
                    if lease["expires"] and lease["expires"] < time.time():
                        self.write("removed", subnet)
                self.news.wait(0.2)

    def told(self, subnet):
        return lease_of(subnet, self.leases[subnet]["attrs"], self.leases[subnet]["expires"])

    def subnets(self):
        size = 2 ** (32 - self.config["SubnetLen"])
        low = int(ipaddress.ip_address(self.config["SubnetMin"]))
        high = int(ipaddress.ip_address(self.config["SubnetMax"]))
        return (f"{ipaddress.ip_address(a)}/{self.config['SubnetLen']}" for a in range(low, high + 1, size))

    def acquire(self, attrs):
        with self.news:
            possible = set(self.subnets())
            for subnet in sorted(self.leases):
                lease = self.leases[subnet]
                if lease["attrs"]["PublicIP"] != attrs["PublicIP"]:
                    continue
                if subnet in possible:
                    self.write("added", subnet, attrs, time.time() + self.ttl if lease["expires"] else 0)
                    return self.told(subnet)
                self.write("removed", subnet)
            taken = [ipaddress.ip_network(s) for s in self.leases]
            free = [s for s in self.subnets()
                    if not any(ipaddress.ip_network(s).overlaps(t) for t in taken)][:100]
            if not free:
                raise Refused(500, "out of subnets")
            subnet = random.choice(free)
            self.write("added", subnet, attrs, time.time() + self.ttl)
            return self.told(subnet)

    def renew(self, lease):
        with self.news:
            self.write("added", lease["Subnet"], lease["Attrs"], time.time() + self.ttl)
            return self.told(lease["Subnet"])

    def revoke(self, subnet):
        with self.news:
            if subnet not in self.leases:
                raise Refused(500, f"100: Key not found (/coreos.com/network/subnets/{subnet}) [{self.index}]")
            self.write("removed", subnet)

    def snapshot(self):
        return {"events": None, "snapshot": [self.told(s) for s in sorted(self.leases)] or None,
                "cursor": str(self.index)}

    def watch(self, cursor):
        with self.news:
            if cursor is None:
                return self.snapshot()
            if not cursor.isdigit():
                raise Refused(500, "failed to parse cursor")
            while True:
                if int(cursor) < self.lost:
                    return self.snapshot()
                for index, event in self.events:
                    if index > int(cursor):
                        return {"events": [event], "snapshot": None, "cursor": str(index)}
                self.news.wait()


def lease_of(subnet, attrs, expires):
    return {"Subnet": subnet, "Attrs": attrs, "Expiration": stamp(expires)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None
    text = b""

    def answer(self, status, body, kind="application/json; charset=utf-8"):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        try:
            return json.loads(self.text)
        except ValueError as e:
            raise Refused(400, f"JSON decoding error: {e}") from e

    def route(self, method, path, cursor):
        if (method, path) == ("GET", "/v1/_/config"):
            return self.registry.config
        if (method, path) == ("GET", "/v1/_/leases"):
            return self.registry.watch(cursor)
        if (method, path) == ("POST", "/v1/_/leases"):
            return self.registry.acquire(self.body())
        one = re.fullmatch(r"/v1/_/leases/([^/]*)", path)
        if one and method in ("PUT", "DELETE"):
            if not re.fullmatch(r"[\d.]+-\d+", one[1]):
                raise Refused(400, "bad subnet")
            if method == "PUT":
                return self.registry.renew(self.body())
            return self.registry.revoke(one[1].replace("-", "/"))
        raise Refused(404, "404 page not found")

    def serve(self):
        # Also of what is not understood, or it would be read as the next request.
        self.text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        cursor = query.removeprefix("next=") if query.startswith("next=") else None
        try:
            result = self.route(self.command, path, cursor)
            self.answer(200, "" if result is None else json.dumps(result, separators=(",", ":")))
        except Refused as e:
            self.answer(e.status, e.text + "\n", "text/plain; charset=utf-8")

    do_GET = do_POST = do_PUT = do_DELETE = serve       # noqa: N815 (http.server's names)

    def log_message(self, form, *values):
        print(self.address_string(), form % values, flush=True)


def serve(address, state, config, ttl):
    host, _, port = address.rpartition(":")
    Handler.registry = Registry(state, json.loads(config), float(ttl))
    threading.Thread(target=Handler.registry.expire, daemon=True).start()
    http.server.ThreadingHTTPServer.daemon_threads = True
    server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
    print("serving", flush=True)
    server.serve_forever()


class Client:
    """One host of flannel 0.7, vxlan."""

    def __init__(self, server, directory, public_ip, mac, device, network="_"):
        self.server, self.network = server, network
        self.directory = pathlib.Path(directory)
        self.attrs = {"PublicIP": public_ip, "BackendType": "vxlan", "BackendData": {"VtepMAC": mac}}
        self.mac, self.device = mac, device
        self.peers = {}
        self.lock = threading.Lock()
        self.renewals = 0
        self.lease = None

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.server)
        try:
            connection.request(method, f"/v1/{self.network}/{path}", json.dumps(body) if body else None)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise OSError(f"{path}: {answer.status} {text}")
            return json.loads(text) if text else None
        finally:
            connection.close()

    def insist(self, *args):
        """As flannel does: again each second, until it works."""
        while True:
            try:
                return self.ask(*args)
            except (OSError, ValueError, http.client.HTTPException) as e:
                print("again:", e, flush=True)
                time.sleep(1)

    def write(self, name, text):
        part = self.directory / f"{name}.new"
        part.write_text(text)
        part.rename(self.directory / name)

    def state(self):
        self.write("state.json", json.dumps({"lease": self.lease, "peers": self.peers,
                                             "renewals": self.renewals}))

    def program(self, subnet, attrs):
        gateway, mac = subnet.split("/")[0], attrs["BackendData"]["VtepMAC"]
        run("ip", "neigh", "replace", gateway, "lladdr", mac, "dev", self.device, "nud", "permanent")
        run("bridge", "fdb", "replace", mac, "dev", self.device, "dst", attrs["PublicIP"])
        run("ip", "route", "replace", subnet, "via", gateway, "dev", self.device, "onlink")

    def add(self, lease):
        subnet, attrs = lease["Subnet"], lease["Attrs"]
        if subnet == self.lease["Subnet"]:
            return
        if attrs.get("BackendType") != "vxlan":
            return
        self.peers[subnet] = attrs
        self.program(subnet, attrs)

    def remove(self, subnet):
        attrs = self.peers.pop(subnet, None)
        if attrs:
            run("ip", "route", "del", subnet)
            run("bridge", "fdb", "del", attrs["BackendData"]["VtepMAC"], "dev", self.device,
                "dst", attrs["PublicIP"])

    def take(self, result):
        """One answer of a watch. Without events it is a snapshot, even if there is none in it."""
        if result["events"]:
            for event in result["events"]:
                if event["type"] == "added":
                    self.add(event["lease"])
                else:
                    self.remove(event["lease"]["Subnet"])
        else:
            snapshot = {lease["Subnet"]: lease for lease in result["snapshot"] or []}
            for subnet in set(self.peers) - set(snapshot):
                self.remove(subnet)
            for subnet in set(snapshot) - set(self.peers):
                self.add(snapshot[subnet])

    def watch(self):
        cursor = None
        while True:
            result = self.insist("GET", "leases" if cursor is None else f"leases?next={cursor}")
            cursor = result["cursor"]
            with self.lock:
                self.take(result)
                self.state()

    def renew(self):
        while True:
            left = unstamp(self.lease["Expiration"]) - time.time()
            time.sleep(max(0.2, left / 2))
            lease = self.insist("PUT", f"leases/{self.lease['Subnet'].replace('/', '-')}", self.lease)
            with self.lock:
                self.lease = lease
                self.renewals += 1
                self.state()

    def device_up(self, vni):
        run("ip", "link", "add", self.device, "address", self.mac, "type", "vxlan", "id", str(vni),
            "dstport", "8472", "local", self.attrs["PublicIP"], "nolearning")
        run("ip", "address", "add", f"{self.lease['Subnet'].split('/')[0]}/32", "dev", self.device)
        run("ip", "link", "set", self.device, "mtu", "1450", "up")

    def run(self):
        config = self.insist("GET", "config")
        self.lease = self.insist("POST", "leases", self.attrs)
        self.device_up(config["Backend"].get("VNI", 1))
        network = ipaddress.ip_network(self.lease["Subnet"])
        self.write("subnet.env", f"FLANNEL_NETWORK={config['Network']}\n"
                                 f"FLANNEL_SUBNET={network[1]}/{network.prefixlen}\n"
                                 "FLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n")
        self.state()
        threading.Thread(target=self.watch, daemon=True).start()
        self.renew()


def run(*argv):
    subprocess.run(argv, check=False)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(*sys.argv[2:])
    else:
        os.makedirs(sys.argv[3], exist_ok=True)
        Client(*sys.argv[2:]).run()
