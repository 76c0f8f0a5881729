// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the packet path on a table of so many peers, with sockets of this process in place of the device and the network, for
// counting: memory taken, system calls, and (under callgrind) instructions.
//
// usage: udp_packets PEERS ROUNDS
#include "core/ipnet.h"
#include "core/mem.h"
#include "core/parse.h"
#include "udp/checksum.h"
#include "udp/worker.h"

#include <errno.h>
#include <linux/udp.h>
#include <stdio.h>
#include <unistd.h>

enum { SEGMENT = 1400, SEGMENTS = 40, HEADER = 40, PORT = 18285 };

static unsigned long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
	allocations++;
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	allocations++;
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	allocations++;
	return __real_realloc(old, size);
}

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	exit(1);
}

static int wire(uint32_t address, uint16_t port)
{
	struct sockaddr_in own = { .sin_family = AF_INET,
				   .sin_port = htobe16(port),
				   .sin_addr.s_addr = htobe32(address) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1, size = 4 << 20;
	setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		die("socket");
	return fd;
}

// A pair of ends; what is written to one is read from the other packet by packet, as from TUN.
static int device(int *ret_other)
{
	int ends[2], size = 4 << 20;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) < 0)
		die("socketpair");
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	*ret_other = ends[1];
	return ends[0];
}

// Peer number i has 10.0.0.0/24 and the i-th after it, and is 127.0.0.1 and the i-th after that. The last is us.
static struct ipnet subnet_of(uint32_t number)
{
	struct ip ip = ip_v4(0x0a000000 + number * 256);
	return ipnet_of(&ip, 24);
}

static struct route_table *table_of(uint32_t peers, uint32_t own)
{
	struct route_config config = { .mtu = 1472, .v4.own = subnet_of(own) };
	struct route_peer *list = xnew0_array(struct route_peer, peers + 1);
	struct route_table *table = NULL;
	struct err e = { 0 };
	uint32_t count = 0;
	(void)ipnet_parse("10.0.0.0/8", &config.v4.network);
	for (uint32_t i = 0; i <= peers; i++)
		if (i != own)
			list[count++] =
				(struct route_peer){ subnet_of(i), ip_v4(0x7f000001 + i), PORT };
	if (route_table_new(&config, list, count, &table, &e) < 0)
		die(err_msg(&e));
	free(list);
	return table;
}

static size_t make_superpacket(uint8_t *data, uint32_t from, uint32_t to, uint32_t sequence)
{
	struct vnet vnet = { .needs_checksum = true,
			     .gso = VNET_GSO_TCPV4,
			     .header_len = HEADER,
			     .segment = SEGMENT,
			     .sum_start = 20,
			     .sum_offset = 16 };
	uint8_t *packet = data + VNET_HEADER;
	memset(packet, 0, HEADER);
	vnet_store(&vnet, data);
	packet[0] = 0x45;
	store16(packet + 2, HEADER + SEGMENT * SEGMENTS);
	packet[6] = 0x40;
	packet[8] = 64;
	packet[9] = 6;
	store32(packet + 12, 0x0a000001 + from * 256);
	store32(packet + 16, 0x0a000001 + to * 256);
	checksum_store(packet + 10, (uint16_t)~checksum_fold(checksum_add(0, packet, 20)));
	store32(packet + 20, 40000 << 16 | 80);
	store32(packet + 24, sequence);
	packet[32] = 5 << 4;
	packet[33] = 0x10;
	return VNET_HEADER + HEADER + SEGMENT * SEGMENTS;
}

// What callgrind looks at.
__attribute__((noinline)) static size_t move_packets(struct worker *sender, struct worker *receiver)
{
	return transmit_batch(sender) + receive_batch(receiver);
}

static uint64_t count_of(const struct worker *worker, enum counter counter)
{
	return atomic_load(&worker->counters.values[counter]);
}

int main(int argc, char **argv)
{
	static uint8_t data[65536];
	uint64_t peers, rounds;
	int sender_device, receiver_device;
	_Atomic(const struct route_table *) unused = NULL;
	if (argc != 3 || parse_whole_u64(argv[1], 60000, &peers) < 0 ||
	    parse_whole_u64(argv[2], 1000000, &rounds) < 0 || peers == 0)
		die("usage: udp_packets PEERS ROUNDS");
	uint32_t own = (uint32_t)peers;
	struct worker *sender = worker_new(device(&sender_device), wire(0x7f000001 + own, 0),
					   wire(0x7f000001 + own, 0), -1, &unused);
	// Listens at every peer's address, and so is each of them.
	struct worker *receiver = worker_new(device(&receiver_device), wire(0, PORT),
					     wire(0x7f000001, 0), -1, &unused);
	receiver->receive.coalescer.join_tcp = true;
	struct route_table *tables[2] = { table_of(own, own), NULL };
	sender->table = tables[0];
	allocations = 0;
	unsigned long taken = 0, packets = 0;
	for (uint64_t i = 0; i < rounds; i++) {
		// Not twice in a row to the same.
		uint32_t to = (uint32_t)(i * 7919 % peers);
		tables[1] = table_of(own, to);
		receiver->table = tables[1];
		allocations = 0;
		size_t len = make_superpacket(data, own, to, (uint32_t)i * SEGMENT * SEGMENTS);
		if (write(sender_device, data, len) != (ssize_t)len)
			die("write");
		move_packets(sender, receiver);
		taken += allocations;
		while (read(receiver_device, data, sizeof(data)) > 0)
			packets++;
		route_table_free(tables[1]);
	}
	printf("{\"sent\": %lu, \"received\": %lu, \"written\": %lu, \"allocations\": %lu, \"calls\": %lu}\n",
	       (unsigned long)count_of(sender, COUNTER_SENT_DATAGRAMS),
	       (unsigned long)count_of(receiver, COUNTER_RECEIVED_DATAGRAMS), packets, taken,
	       (unsigned long)(2 * count_of(sender, COUNTER_TUN_READS) +
			       count_of(sender, COUNTER_SEND_CALLS) +
			       count_of(receiver, COUNTER_RECEIVE_CALLS) +
			       count_of(receiver, COUNTER_TUN_WRITES)));
	route_table_free(tables[0]);
	worker_free(sender);
	worker_free(receiver);
	return 0;
}
