// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the "bare kernel" figure of the benchmarks: how long this machine's kernel takes for the entries of N leases
// (neighbour, FDB entry, nexthop, route) in raw netlink batches, and how long kernel/ takes for the same.
//
// Usage: bench_netlink LEASES [ROUNDS]. Root. Prints one line a round and then the medians, in milliseconds:
//   raw     messages made beforehand, one socket, an acknowledgement of the last message of a send only
//   raw-ack the same with an acknowledgement of each, as kernel/ asks for
//   batch   netlink_batch, from objects
//   dump    reading it all back

#include "core/mem.h"
#include "core/parse.h"
#include "kernel/encode.h"
#include "kernel/link.h"
#include "kernel/nlmsg.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SEND_BYTES_MAX ((size_t)200 * 1024)
#define ROUNDS_MAX 99

enum measure { MEASURE_RAW, MEASURE_RAW_ACK, MEASURE_BATCH, MEASURE_DUMP, MEASURE_COUNT };

static const char *const measure_names[MEASURE_COUNT] = { "raw", "raw-ack", "batch", "dump" };

static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench_netlink: %s: %s\n", what, why);
	exit(1);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

// A fresh namespace with a vxlan device, up. Without any address (lo's will do) the kernel has no table of local addresses
// and takes every gateway for a broadcast one.
static uint32_t make_device(struct netlink **ret)
{
	struct link link = { .name = "flannel.1", .vxlan = { .vni = 1, .local = ip_v4(0x0a630001) } };
	struct netlink *nl = NULL;
	struct err e = { 0 };

	if (unshare(CLONE_NEWNET) < 0)
		die("a network namespace", strerror(errno));
	if (netlink_open(0, &nl, &e) < 0 || link_set_up(nl, 1, true, &e) < 0 ||
	    link_create_vxlan(nl, &link, &e) < 0 || link_get_by_name(nl, "flannel.1", &link, &e) < 0 ||
	    link_set_up(nl, link.ifindex, true, &e) < 0)
		die("flannel.1", err_msg(&e));
	*ret = nl;
	return link.ifindex;
}

// Object number n of 4 * leases: all neighbours first, all routes last.
static struct kernel_object make_object(size_t n, size_t leases, uint32_t ifindex)
{
	uint32_t i = (uint32_t)(n % leases);
	struct ip gateway = ip_v4(0x0b000000 + (i << 8));
	struct mac mac = { { 2, 0xaa, (uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8),
			     (uint8_t)i } };

	switch (n / leases) {
	case 0:
		return (struct kernel_object){ .kind = KERNEL_NEIGH,
					       .neigh = { ifindex, gateway, mac, 0 } };
	case 1:
		return (struct kernel_object){
			.kind = KERNEL_FDB,
			.fdb = { .ifindex = ifindex, .mac = mac, .remote = ip_v4(0x64400000 + i) },
		};
	case 2:
		return (struct kernel_object){
			.kind = KERNEL_NEXTHOP,
			.nexthop = { .id = 1 + i, .ifindex = ifindex, .gateway = gateway, .onlink = true },
		};
	default:
		return (struct kernel_object){ .kind = KERNEL_ROUTE,
					       .route = { .dst = ipnet_of(&gateway, 24),
							  .nexthop_id = 1 + i } };
	}
}

static void expect_success(void *arg, uint32_t tag, int error, const char *extack)
{
	(void)arg, (void)tag;
	if (error < 0)
		die("the kernel", extack[0] != '\0' ? extack : strerror(-error));
}

// Empties the namespace before the next one replaces it: the kernel would else take its nexthops down with their routes
// still on them, which is quadratic, in the background and under the lock that the next round wants.
static void clean_up(struct netlink *nl, size_t leases, uint32_t ifindex)
{
	struct netlink_batch *batch = netlink_batch_new(nl);
	struct err e = { 0 };

	for (size_t n = 4 * leases; n-- > 2 * leases;) {
		struct kernel_object object = make_object(n, leases, ifindex);

		netlink_batch_add(batch, NETLINK_DELETE, &object, 0);
	}
	if (netlink_batch_commit(batch, expect_success, NULL, &e) < 0 ||
	    link_delete(nl, ifindex, &e) < 0)
		die("cleaning up", err_msg(&e));
	netlink_batch_free(batch);
	netlink_close(nl);
}

struct raw {
	uint8_t *data;
	size_t *offsets; // count + 1 of them
	size_t count;
};

static struct raw make_raw(size_t leases, uint32_t ifindex)
{
	struct raw raw = { .count = 4 * leases };
	size_t len = 0;

	raw.offsets = xnew0_array(size_t, raw.count + 1);
	raw.data = xmalloc(raw.count * 80 + ENCODE_REQUEST_MAX);
	for (size_t n = 0; n < raw.count; n++) {
		struct kernel_object object = make_object(n, leases, ifindex);

		raw.offsets[n] = len;
		len += encode_object(NETLINK_REPLACE, &object, raw.data + len);
		nlmsg_set_sequence(raw.data + raw.offsets[n], (uint32_t)n + 1);
	}
	raw.offsets[raw.count] = len;
	return raw;
}

static void clear_ack(uint8_t *message)
{
	struct nlmsghdr header;

	memcpy(&header, message, sizeof(header));
	header.nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	memcpy(message, &header, sizeof(header));
}

static void read_acks(int fd, uint32_t last)
{
	uint8_t buffer[1024];
	struct nlmsg_view msg = { 0 };
	struct nlmsg_ack ack;

	while (msg.sequence != last) {
		size_t offset = 0;
		ssize_t len = recv(fd, buffer, sizeof(buffer), 0);

		if (len < 0)
			die("recv", strerror(errno));
		if (nlmsg_next(buffer, (size_t)len, &offset, &msg) != 1 ||
		    nlmsg_read_error(&msg, &ack) < 0)
			die("recv", "not an acknowledgement");
		if (ack.error < 0)
			die("the kernel", ack.text[0] != '\0' ? ack.text : strerror(-ack.error));
	}
}

static double run_raw(size_t leases, bool ack_all)
{
	int receive = 8 << 20, on = 1, fd;
	struct netlink *nl = NULL;
	uint32_t ifindex = make_device(&nl);
	struct raw raw = make_raw(leases, ifindex);
	double start;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)) < 0)
		die("socket", strerror(errno));
	start = now_ms();
	for (size_t first = 0, next = 0; first < raw.count; first = next) {
		while (next < raw.count && raw.offsets[next + 1] - raw.offsets[first] <= SEND_BYTES_MAX)
			next++;
		for (size_t n = first; !ack_all && n + 1 < next; n++)
			clear_ack(raw.data + raw.offsets[n]);
		if (send(fd, raw.data + raw.offsets[first], raw.offsets[next] - raw.offsets[first],
			 0) < 0)
			die("send", strerror(errno));
		read_acks(fd, (uint32_t)next);
	}
	start = now_ms() - start;
	close(fd);
	free(raw.data);
	free(raw.offsets);
	clean_up(nl, leases, ifindex);
	return start;
}

static void count(void *arg, const struct kernel_object *object)
{
	(void)object;
	++*(size_t *)arg;
}

static double read_back(struct netlink *nl, size_t leases, uint32_t ifindex)
{
	const struct netlink_dump_filter filter = { .family = AF_INET, .ifindex = ifindex };
	double start = now_ms();
	size_t found = 0;
	struct err e = { 0 };

	for (enum kernel_kind kind = KERNEL_NEIGH; kind <= KERNEL_ROUTE; kind++) {
		struct netlink_dump *dump = NULL;
		int r = netlink_dump_start(nl, kind, &filter, &dump, &e);

		while (r >= 0 && (r = netlink_dump_step(dump, 1000, count, &found, &e)) > 0)
			;
		if (r < 0)
			die("dump", err_msg(&e));
		netlink_dump_free(dump);
	}
	if (found != 4 * leases)
		die("dump", "not what was programmed");
	return now_ms() - start;
}

static void run_batch(size_t leases, double *ret_batch, double *ret_dump)
{
	struct netlink *nl = NULL;
	uint32_t ifindex = make_device(&nl);
	struct netlink_batch *batch = netlink_batch_new(nl);
	double start = now_ms();
	struct err e = { 0 };

	// In chunks, as the agent does, so that the loop is never held for long.
	for (size_t n = 0; n < 4 * leases; n++) {
		struct kernel_object object = make_object(n, leases, ifindex);

		netlink_batch_add(batch, NETLINK_REPLACE, &object, (uint32_t)n);
		if ((n + 1) % 2048 == 0 || n + 1 == 4 * leases)
			if (netlink_batch_commit(batch, expect_success, NULL, &e) < 0)
				die("batch", err_msg(&e));
	}
	*ret_batch = now_ms() - start;
	*ret_dump = read_back(nl, leases, ifindex);
	netlink_batch_free(batch);
	clean_up(nl, leases, ifindex);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double results[MEASURE_COUNT][ROUNDS_MAX];
	uint64_t leases = 0, rounds = 7;

	if (argc < 2 || argc > 3 || parse_whole_u64(argv[1], 1 << 20, &leases) < 0 || leases == 0 ||
	    (argc == 3 && (parse_whole_u64(argv[2], ROUNDS_MAX, &rounds) < 0 || rounds == 0))) {
		(void)fprintf(stderr, "usage: bench_netlink LEASES [ROUNDS]\n");
		return 2;
	}
	for (size_t i = 0; i < rounds; i++) {
		results[MEASURE_RAW][i] = run_raw(leases, false);
		results[MEASURE_RAW_ACK][i] = run_raw(leases, true);
		run_batch(leases, &results[MEASURE_BATCH][i], &results[MEASURE_DUMP][i]);
		printf("round %zu", i + 1);
		for (size_t m = 0; m < MEASURE_COUNT; m++)
			printf("  %s %.1f", measure_names[m], results[m][i]);
		printf("\n");
	}
	printf("median of %zu leases, ms:", (size_t)leases);
	for (size_t m = 0; m < MEASURE_COUNT; m++) {
		qsort(results[m], rounds, sizeof(double), compare);
		printf("  %s %.1f", measure_names[m], results[m][rounds / 2]);
	}
	printf("\n");
	return 0;
}
