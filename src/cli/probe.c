// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking many addresses at once by ICMP.
#include "cli/probe.h"

#include "core/mem.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUND_MS 1000
#define DEAF_ROUNDS 3 // without any answer
#define BURST 32      // packets, before answers are taken in
#define PACKET_MAX 65536
#define SMALLEST_BYTES 64
#define PORT_WAIT_MS 500
#define DAY_MS 86400000
#define IPV4_HEAD_BYTES 20
#define IPV6_HEAD_BYTES 40

union sockaddr_any {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct run {
	struct icmp_probe probe;
	struct probe_target *targets;
	size_t count;
	int sockets[2]; // for IPv4 and IPv6, -1: none of this family
	uint64_t sent_at_us[PROBE_ROUNDS_MAX];
	bool *answered; // of each target and round
	uint8_t *buffer;
};

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now = { 0 };

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t since_midnight_ms(void)
{
	return (uint32_t)(clock_us(CLOCK_REALTIME) / 1000 % DAY_MS);
}

static socklen_t address_of(const struct ip *ip, uint16_t port, union sockaddr_any *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (ip->family == AF_INET) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		memcpy(&ret->v4.sin_addr, ip->bytes, sizeof(ret->v4.sin_addr));
		return sizeof(ret->v4);
	}
	ret->v6.sin6_family = AF_INET6;
	ret->v6.sin6_port = htons(port);
	memcpy(&ret->v6.sin6_addr, ip->bytes, sizeof(ret->v6.sin6_addr));
	return sizeof(ret->v6);
}

static int family_slot(int family)
{
	return family == AF_INET6 ? 1 : 0;
}

// PROBE: the packet is not cut, and what this host has learnt of the path is not believed.
static int set_fragmenting(int fd, int family, bool dont_fragment)
{
	int value = dont_fragment ? IP_PMTUDISC_PROBE : IP_PMTUDISC_WANT;

	return family == AF_INET
		       ? setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &value, sizeof(value))
		       : setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &value, sizeof(value));
}

static int open_socket(struct run *run, const struct probe_target *target, struct err *e)
{
	int family = target->to.family, size = 4 * 1024 * 1024;
	int protocol = family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	int *fd = &run->sockets[family_slot(family)];

	if (*fd >= 0)
		return 0;
	*fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (*fd < 0 && errno == EPERM)
		return err_set(e, -EPERM, "probes need CAP_NET_RAW; try sudo");
	if (*fd < 0)
		return err_set(e, -errno, "a socket for probes: %s", strerror(errno));
	(void)setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (set_fragmenting(*fd, family, target->dont_fragment) < 0)
		return err_set(e, -errno, "a socket for probes: %s", strerror(errno));
	return 0;
}

static size_t icmp_len(const struct probe_target *target)
{
	size_t head = target->to.family == AF_INET ? IPV4_HEAD_BYTES : IPV6_HEAD_BYTES;

	return target->size > head + SMALLEST_BYTES ? target->size - head : SMALLEST_BYTES;
}

// What the kernel refuses to send was not answered, like all else that is lost.
static void send_one(struct run *run, size_t index, unsigned int round)
{
	struct probe_target *target = &run->targets[index];
	union sockaddr_any to;
	socklen_t to_len = address_of(&target->to, 0, &to);
	size_t len = icmp_len(target);

	assert(len <= PACKET_MAX);
	run->probe.sequence = (uint16_t)(index * PROBE_ROUNDS_MAX + round);
	icmp_encode(&run->probe, target->to.family, since_midnight_ms(), run->buffer, len);
	(void)sendto(run->sockets[family_slot(target->to.family)], run->buffer, len, MSG_NOSIGNAL,
		     &to.any, to_len);
	target->sent++;
}

static void take_time(struct probe_target *target, const struct icmp_answer *answer, uint64_t rtt_us)
{
	int64_t ours_ms = (int64_t)since_midnight_ms() - (int64_t)(rtt_us / 2000);
	int64_t offset_ms = ((int64_t)answer->receive_ms - ours_ms) % DAY_MS;

	if (offset_ms > DAY_MS / 2)
		offset_ms -= DAY_MS;
	else if (offset_ms < -DAY_MS / 2)
		offset_ms += DAY_MS;
	target->has_offset = true;
	target->offset_ms = offset_ms;
}

static void take_answer(struct run *run, const struct icmp_answer *answer)
{
	size_t index = answer->sequence / PROBE_ROUNDS_MAX;
	unsigned int round = answer->sequence % PROBE_ROUNDS_MAX;
	struct probe_target *target;
	uint64_t rtt_us;

	if (index >= run->count || run->sent_at_us[round] == 0 || run->answered[answer->sequence])
		return;
	run->answered[answer->sequence] = true;
	target = &run->targets[index];
	rtt_us = clock_us(CLOCK_MONOTONIC) - run->sent_at_us[round];
	if (target->received++ == 0 || rtt_us < target->best_rtt_us) {
		target->best_rtt_us = rtt_us;
		if (answer->has_time)
			take_time(target, answer, rtt_us);
	}
}

static void receive_all(struct run *run)
{
	struct icmp_answer answer;
	ssize_t len;

	for (int slot = 0; slot < 2; slot++) {
		int family = slot == 0 ? AF_INET : AF_INET6;

		while (run->sockets[slot] >= 0 &&
		       (len = recv(run->sockets[slot], run->buffer, PACKET_MAX, 0)) >= 0)
			if (icmp_decode(&run->probe, family, run->buffer, (size_t)len, &answer) == 0)
				take_answer(run, &answer);
	}
}

static bool is_deaf(const struct probe_target *target)
{
	return target->sent >= DEAF_ROUNDS && target->received == 0;
}

// Of those that were asked in this round.
static bool all_answered(const struct run *run, unsigned int round)
{
	for (size_t i = 0; i < run->count; i++)
		if (run->targets[i].sent == round + 1 && !run->answered[i * PROBE_ROUNDS_MAX + round])
			return false;
	return true;
}

static void wait_for_answers(struct run *run, unsigned int round)
{
	uint64_t end_us = clock_us(CLOCK_MONOTONIC) + (uint64_t)ROUND_MS * 1000;
	struct pollfd fds[2] = { { .fd = run->sockets[0], .events = POLLIN },
				 { .fd = run->sockets[1], .events = POLLIN } };

	receive_all(run);
	while (!all_answered(run, round) && clock_us(CLOCK_MONOTONIC) < end_us) {
		(void)poll(fds, ARRAY_SIZE(fds),
			   (int)((end_us - clock_us(CLOCK_MONOTONIC)) / 1000) + 1);
		receive_all(run);
	}
}

static void run_round(struct run *run, unsigned int round)
{
	run->sent_at_us[round] = clock_us(CLOCK_MONOTONIC);
	for (size_t i = 0; i < run->count; i++) {
		if (is_deaf(&run->targets[i]))
			continue;
		send_one(run, i, round);
		if (i % BURST == BURST - 1)
			receive_all(run);
	}
	wait_for_answers(run, round);
}

int probe_run(enum icmp_kind kind, struct probe_target *targets, size_t count, unsigned int rounds,
	      struct err *e)
{
	struct run run = {
		.probe = { .kind = kind }, .targets = targets, .count = count, .sockets = { -1, -1 }
	};
	int r = 0;

	assert(count <= PROBE_TARGETS_MAX && rounds <= PROBE_ROUNDS_MAX);
	if (getrandom(run.probe.cookie, sizeof(run.probe.cookie), 0) < 0 ||
	    getrandom(&run.probe.id, sizeof(run.probe.id), 0) < 0)
		return err_set(e, -errno, "random numbers: %s", strerror(errno));
	for (size_t i = 0; i < count && r == 0; i++)
		r = open_socket(&run, &targets[i], e);
	run.buffer = xmalloc(PACKET_MAX);
	run.answered = xnew0_array(bool, (size_t)PROBE_TARGETS_MAX *PROBE_ROUNDS_MAX);
	for (unsigned int round = 0; r == 0 && count > 0 && round < rounds; round++)
		run_round(&run, round);
	fd_closep(&run.sockets[0]);
	fd_closep(&run.sockets[1]);
	free(run.buffer);
	free(run.answered);
	return r;
}

bool probe_port_is_closed(const struct ip *to, uint16_t port)
{
	_cleanup_close_ int fd =
		socket(to->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	union sockaddr_any address;
	socklen_t len = address_of(to, port, &address);
	char byte = 0;

	if (fd < 0 || connect(fd, &address.any, len) < 0 || send(fd, &byte, 1, MSG_NOSIGNAL) < 0)
		return false;
	if (poll(&ready, 1, PORT_WAIT_MS) != 1)
		return false;
	return recv(fd, &byte, 1, 0) < 0 && errno == ECONNREFUSED;
}
