// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what weft-udp is measured against and tested with: flannel's framing, one packet a system call, one thread, a
// linear table, TTL counted down, nothing else.
//
// usage: udp_loop [-v] DEVICE ADDRESS PORT SUBNET=HOST...
//   -v  verify every packet from the wire: lengths, checksums. At the end (SIGTERM) a JSON object tells of it.
#include "core/ipnet.h"
#include "core/mem.h"
#include "core/parse.h"
#include "udp/checksum.h"
#include "udp/packet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROUTES_MAX = 20000 };

struct route {
	uint32_t network, mask;
	struct sockaddr_in host;
};

static struct route routes[ROUTES_MAX];
static size_t route_count;
static volatile sig_atomic_t stopped;
static unsigned long from_tun, from_wire, bad;
static const char *first_bad = "";

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
		die("tun");
	return fd;
}

static struct sockaddr_in address_of(const char *text, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htobe16(port) };
	struct ip ip;
	if (ip_parse(text, &ip) < 0 || ip.family != AF_INET)
		die(text);
	memcpy(&address.sin_addr, ip.bytes, 4);
	return address;
}

static int open_socket(const char *address, uint16_t port)
{
	struct sockaddr_in own = address_of(address, port);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		die("socket");
	return fd;
}

static void add_route(char *text, uint16_t port)
{
	char *host = strchr(text, '=');
	struct ipnet net;
	if (!host || route_count == ROUTES_MAX)
		die(text);
	*host++ = '\0';
	if (ipnet_parse(text, &net) < 0 || net.len == 0)
		die(text);
	routes[route_count++] = (struct route){ ip_v4_value(&net.addr), UINT32_MAX << (32 - net.len),
						address_of(host, port) };
}

static const struct route *find(uint32_t address)
{
	for (size_t i = 0; i < route_count; i++) {
		if ((address & routes[i].mask) != routes[i].network)
			continue;
		struct route found = routes[i];
		routes[i] = routes[0];
		routes[0] = found;
		return &routes[0];
	}
	return NULL;
}

static const char *fault_of(uint8_t *data, size_t len)
{
	struct packet packet;
	if (packet_parse(data, len, &packet) != PACKET_FINE)
		return "header";
	if (packet.len != len)
		return "length";
	if (!packet_checksum_fits(&packet))
		return "checksum of IP";
	if (packet.fragment || (packet.protocol != 6 && packet.protocol != 17))
		return NULL;
	if (packet.protocol == 17 && load16(data + packet.l4 + 6) == 0)
		return NULL;
	uint32_t l4_len = packet.len - packet.l4;
	uint64_t sum = packet_pseudo_sum(&packet, packet.protocol, l4_len);
	if (checksum_fold(checksum_add(sum, data + packet.l4, l4_len)) != 0xffff)
		return "checksum of TCP or UDP";
	if (packet.protocol == 17 && load16(data + packet.l4 + 4) != l4_len)
		return "length of UDP";
	return NULL;
}

static bool count_down(uint8_t *data, size_t len)
{
	struct packet packet;
	if (packet_parse(data, len, &packet) != PACKET_FINE || packet_ttl(&packet) <= 1)
		return false;
	packet_decrement_ttl(&packet);
	return true;
}

static bool to_wire(int tun, int wire)
{
	static uint8_t data[65536];
	ssize_t len = read(tun, data, sizeof(data));
	if (len <= 0)
		return false;
	from_tun++;
	const struct route *route = len >= PACKET_V4_HEADER ? find(load32(data + 16)) : NULL;
	if (route && count_down(data, (size_t)len))
		(void)sendto(wire, data, (size_t)len, 0, (const struct sockaddr *)&route->host,
			     sizeof(route->host));
	return true;
}

static bool to_tun(int tun, int wire, bool verify)
{
	static uint8_t data[65536];
	ssize_t len = recv(wire, data, sizeof(data), 0);
	if (len < 0)
		return false;
	from_wire++;
	const char *fault = verify ? fault_of(data, (size_t)len) : NULL;
	if (fault && bad++ == 0)
		first_bad = fault;
	if (count_down(data, (size_t)len))
		(void)!write(tun, data, (size_t)len);
	return true;
}

int main(int argc, char **argv)
{
	bool verify = argc > 1 && strcmp(argv[1], "-v") == 0;
	uint64_t port;
	argv += verify;
	argc -= verify;
	if (argc < 4 || parse_whole_u64(argv[3], 65535, &port) < 0)
		die("usage: udp_loop [-v] DEVICE ADDRESS PORT SUBNET=HOST...");
	int tun = open_tun(argv[1]), wire = open_socket(argv[2], (uint16_t)port);
	for (int i = 4; i < argc; i++)
		add_route(argv[i], (uint16_t)port);
	signal(SIGTERM, stop);
	struct pollfd polls[] = { { .fd = tun, .events = POLLIN }, { .fd = wire, .events = POLLIN } };
	while (!stopped) {
		bool more = true;
		if (poll(polls, 2, -1) < 0)
			continue;
		while (more && !stopped) {
			more = to_wire(tun, wire);
			more |= to_tun(tun, wire, verify);
		}
	}
	printf("{\"from_tun\": %lu, \"from_wire\": %lu, \"bad\": %lu, \"first_bad\": \"%s\"}\n",
	       from_tun, from_wire, bad, first_bad);
	return 0;
}
