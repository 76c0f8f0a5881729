// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the way from the wire to TUN: receiving, judging, and writing packets of one flow together.
#include "udp/worker.h"
#include "udp/worker_icmp.h"

#include <errno.h>
#include <linux/udp.h>
#include <unistd.h>

static const enum counter drops[] = {
	[PACKET_SHORT] = COUNTER_DROP_SHORT,	   [PACKET_VERSION] = COUNTER_DROP_VERSION,
	[PACKET_HEADER] = COUNTER_DROP_HEADER,	   [PACKET_LENGTH] = COUNTER_DROP_LENGTH,
	[PACKET_CHECKSUM] = COUNTER_DROP_CHECKSUM,
};

static void write_one(void *arg, const struct iovec *packet)
{
	static const uint8_t none[VNET_HEADER];
	struct worker *w = arg;
	struct iovec pieces[] = { { (void *)none, sizeof(none) }, *packet };
	if (writev(w->tun, pieces, 2) < 0)
		counter_add(&w->counters, COUNTER_DROP_TUN_WRITE, 1);
	else
		counter_add(&w->counters, COUNTER_TUN_WRITES, 1);
}

static void write_run(struct worker *w, size_t index)
{
	struct coalescer *c = &w->receive.coalescer;
	const struct coalesce_run *run = &c->runs[index];
	uint8_t vnet[VNET_HEADER];
	struct iovec pieces[COALESCE_PIECES_MAX];
	size_t count = coalescer_emit(c, index, vnet, pieces);
	if (writev(w->tun, pieces, (int)count) >= 0) {
		counter_add(&w->counters, COUNTER_TUN_WRITES, 1);
		counter_add(&w->counters, COUNTER_JOINED, run->count - 1u);
		return;
	}
	if (errno != EINVAL || run->count == 1) {
		counter_add(&w->counters, COUNTER_DROP_TUN_WRITE, run->count);
		return;
	}
	// Linux 6.6.44 and others of that time refuse what is right, when the last packet is shorter.
	if (run->tcp)
		c->join_tcp = false;
	else
		c->join_udp = false;
	counter_add(&w->counters, COUNTER_JOINS_REFUSED, 1);
	coalescer_part(c, index, write_one, w);
}

static void deliver(struct worker *w)
{
	struct coalescer *c = &w->receive.coalescer;
	for (size_t i = 0; i < c->run_count; i++)
		write_run(w, i);
	coalescer_empty(c);
}

static bool drop(struct worker *w, enum counter counter)
{
	counter_add(&w->counters, counter, 1);
	return false;
}

// Who may send what: the host that has the lease of the source, to an address of ours.
static bool may_pass(struct worker *w, const struct packet *packet, const struct sockaddr *from)
{
	const struct route_table *table = w->table;
	uint32_t source = route_find(table, packet->version, packet_source(packet));
	if (packet->version == 6 && !table->on6)
		return drop(w, COUNTER_DROP_VERSION);
	if (!packet_checksum_fits(packet))
		return drop(w, COUNTER_DROP_CHECKSUM);
	if (source < ROUTE_FIRST_HOST || !route_host_is(&table->hosts[source], from))
		return drop(w, COUNTER_DROP_SPOOFED);
	if (route_find(table, packet->version, packet_destination(packet)) != ROUTE_OWN)
		return drop(w, COUNTER_DROP_NOT_OURS);
	if (packet_ttl(packet) <= 1) {
		worker_icmp(w, ICMP_ERROR_TIME_EXCEEDED, packet);
		return drop(w, COUNTER_DROP_TTL_IN);
	}
	return true;
}

static void receive_one(struct worker *w, uint8_t *data, size_t len, const struct sockaddr *from)
{
	struct packet packet;
	enum packet_fault fault = packet_parse(data, len, &packet);
	if (fault != PACKET_FINE) {
		drop(w, drops[fault]);
		return;
	}
	if (!may_pass(w, &packet, from))
		return;
	packet_decrement_ttl(&packet);
	if (coalescer_is_full(&w->receive.coalescer))
		deliver(w);
	coalescer_add(&w->receive.coalescer, &packet);
}

// The length of each datagram in a message that the kernel joined.
static size_t step_of(const struct msghdr *message, size_t len)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int step = 0;
	if (header && header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_GRO)
		memcpy(&step, CMSG_DATA(header), sizeof(step));
	return step > 0 ? (size_t)step : len;
}

static void receive_message(struct worker *w, struct receive_message *message,
			    const struct mmsghdr *header)
{
	size_t len = header->msg_len, step = step_of(&header->msg_hdr, len), count = 0;
	if (header->msg_hdr.msg_flags & MSG_TRUNC) {
		drop(w, COUNTER_DROP_TRUNCATED);
		return;
	}
	if (len == 0)
		drop(w, COUNTER_DROP_SHORT);
	for (size_t at = 0; at < len; at += step, count++)
		receive_one(w, message->data + at, step < len - at ? step : len - at,
			    (const struct sockaddr *)&message->from);
	counter_add(&w->counters, COUNTER_RECEIVED_DATAGRAMS, count);
	counter_add(&w->counters, COUNTER_RECEIVED_BYTES, len);
}

size_t receive_batch(struct worker *w)
{
	struct receive *r = &w->receive;
	for (size_t i = 0; i < RECEIVE_MESSAGES; i++) {
		struct msghdr *message = &r->headers[i].msg_hdr;
		message->msg_namelen = sizeof(r->messages[i].from);
		message->msg_controllen = sizeof(r->messages[i].control);
	}
	int count = recvmmsg(w->in, r->headers, RECEIVE_MESSAGES, MSG_DONTWAIT, NULL);
	counter_add(&w->counters, COUNTER_RECEIVE_CALLS, 1);
	if (count <= 0)
		return 0;
	for (int i = 0; i < count; i++)
		receive_message(w, &r->messages[i], &r->headers[i]);
	deliver(w);
	counter_add(&w->counters, COUNTER_RECEIVES, (uint64_t)count);
	return (size_t)count;
}
