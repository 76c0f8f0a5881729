// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the way from TUN to the wire: reading, cutting, and sending datagrams of one host together.
#include "udp/worker.h"
#include "udp/worker_icmp.h"

#include <errno.h>
#include <linux/udp.h>
#include <poll.h>
#include <unistd.h>

enum {
	ALIGNMENT = 64,
	SEND_WAIT_MS = 2, // for room in the socket; after that it is as if a router's queue were full
};

struct message {
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))];
};

static void address_to(const struct worker *w, const struct train *train, struct msghdr *message)
{
	const struct route_host *host = &w->table->hosts[train->host];
	*message = (struct msghdr){ .msg_name = (void *)&host->address, .msg_namelen = host->len };
}

static void segment_to(struct msghdr *message, struct message *extra, uint16_t segment)
{
	memset(extra->control, 0, sizeof(extra->control));
	message->msg_control = extra->control;
	message->msg_controllen = sizeof(extra->control);
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	header->cmsg_level = IPPROTO_UDP;
	header->cmsg_type = UDP_SEGMENT;
	header->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(header), &segment, sizeof(segment));
}

static bool wait_for_room(const struct worker *w)
{
	struct pollfd out = { .fd = w->out, .events = POLLOUT };
	return poll(&out, 1, SEND_WAIT_MS) > 0;
}

static void count_drop(struct worker *w, int error, uint64_t datagrams)
{
	bool full = error == EAGAIN || error == ENOBUFS;
	counter_add(&w->counters, full ? COUNTER_DROP_SEND_FULL : COUNTER_DROP_SEND_ERROR, datagrams);
}

static void count_sent(struct worker *w, const struct mmsghdr *messages, unsigned int count,
		       uint64_t datagrams)
{
	uint64_t bytes = 0;
	for (unsigned int i = 0; i < count; i++)
		bytes += messages[i].msg_len;
	counter_add(&w->counters, COUNTER_SENDS, count);
	counter_add(&w->counters, COUNTER_SENT_DATAGRAMS, datagrams);
	counter_add(&w->counters, COUNTER_SENT_BYTES, bytes);
}

// One datagram after the other, each in a message of its own, so that the kernel may even cut them.
static void send_singly(struct worker *w, const struct train *train)
{
	struct mmsghdr messages[OUTER_TRAIN_MAX];
	unsigned int count = 0, sent = 0, at = 0;
	bool waited = false;
	memset(messages, 0, sizeof(messages));
	while (at < train->pieces) {
		struct msghdr *message = &messages[count++].msg_hdr;
		size_t len = 0;
		address_to(w, train, message);
		message->msg_iov = (struct iovec *)&train->iov[at];
		for (; at < train->pieces && len < train->segment; at++, message->msg_iovlen++)
			len += train->iov[at].iov_len;
	}
	while (sent < count) {
		int r = sendmmsg(w->out, messages + sent, count - sent, 0);
		counter_add(&w->counters, COUNTER_SEND_CALLS, 1);
		if (r > 0) {
			count_sent(w, messages + sent, (unsigned int)r, (uint64_t)r);
			sent += (unsigned int)r;
			continue;
		}
		if (errno == EINTR || (errno == EAGAIN && !waited && (waited = wait_for_room(w))))
			continue;
		count_drop(w, errno, 1);
		sent++;
	}
}

// What the kernel said of a whole train.
static void answer_failure(struct worker *w, struct train *train, int error)
{
	switch (error) {
	case EIO: // no checksum offload on the way (before 6.11), or a transformation
		w->transmit.gso = false;
		__attribute__((fallthrough));
	case EMSGSIZE: // the path takes less than the device
	case EINVAL:
		counter_add(&w->counters, COUNTER_SENT_SINGLY, 1);
		send_singly(w, train);
		break;
	default:
		count_drop(w, error, train->count);
	}
}

static void send_messages(struct worker *w, struct mmsghdr *messages, const uint16_t *of,
			  unsigned int count)
{
	struct train *trains = w->transmit.trains;
	bool waited = false;
	for (unsigned int sent = 0; sent < count;) {
		int r = sendmmsg(w->out, messages + sent, count - sent, 0);
		counter_add(&w->counters, COUNTER_SEND_CALLS, 1);
		if (r > 0) {
			uint64_t datagrams = 0;
			for (unsigned int i = sent; i < sent + (unsigned int)r; i++)
				datagrams += trains[of[i]].count;
			count_sent(w, messages + sent, (unsigned int)r, datagrams);
			sent += (unsigned int)r;
			continue;
		}
		if (errno == EINTR || (errno == EAGAIN && !waited && (waited = wait_for_room(w))))
			continue;
		if (trains[of[sent]].count > 1)
			answer_failure(w, &trains[of[sent]], errno);
		else
			count_drop(w, errno, 1);
		sent++;
	}
}

// Where a train of equal lengths would be spoiled, its last datagram becomes a train of its own, the
// last of all; room for that is left.
static bool part_last(struct transmit *t, struct train *train)
{
	if (!t->part_equal || train->count < 2 ||
	    train->bytes != (uint32_t)train->segment * train->count)
		return false;
	struct train *last = &t->trains[t->train_count++];
	*last = (struct train){
		.host = train->host, .segment = train->segment, .count = 1, .bytes = train->segment
	};
	size_t len = 0;
	uint16_t from = train->pieces;
	while (len < train->segment)
		len += train->iov[--from].iov_len;
	last->pieces = train->pieces - from;
	memcpy(last->iov, train->iov + from, last->pieces * sizeof(last->iov[0]));
	train->pieces = from;
	train->count--;
	train->bytes -= train->segment;
	return true;
}

// What one call takes.
struct messages {
	struct mmsghdr headers[2 * TRANSMIT_TRAINS];
	struct message extra[2 * TRANSMIT_TRAINS];
	uint16_t of[2 * TRANSMIT_TRAINS];
	unsigned int count;
};

static void add_message(struct worker *w, struct messages *messages, uint32_t index)
{
	struct train *train = &w->transmit.trains[index];
	struct msghdr *message = &messages->headers[messages->count].msg_hdr;
	address_to(w, train, message);
	message->msg_iov = train->iov;
	message->msg_iovlen = train->pieces;
	if (train->count > 1)
		segment_to(message, &messages->extra[messages->count], train->segment);
	messages->of[messages->count++] = (uint16_t)index;
}

static void flush(struct worker *w)
{
	struct transmit *t = &w->transmit;
	struct messages messages;
	uint32_t trains = t->train_count;
	messages.count = 0;
	for (uint32_t i = 0; i < trains; i++) {
		if (!t->gso && t->trains[i].count > 1) {
			// In order also with what goes before.
			send_messages(w, messages.headers, messages.of, messages.count);
			messages.count = 0;
			send_singly(w, &t->trains[i]);
			continue;
		}
		bool parted = part_last(t, &t->trains[i]);
		add_message(w, &messages, i);
		if (parted)
			add_message(w, &messages, t->train_count - 1);
	}
	send_messages(w, messages.headers, messages.of, messages.count);
	t->train_count = 0;
	t->header_count = 0;
	memset(t->open, 0, sizeof(t->open));
}

// Before a header is written: what is queued refers to those that are written already.
static void make_room(struct worker *w)
{
	if (w->transmit.train_count == TRANSMIT_TRAINS || w->transmit.header_count == TRANSMIT_HEADERS)
		flush(w);
}

static bool takes(const struct train *train, uint32_t host, uint32_t len)
{
	return train->host == host && !train->ended && train->count < OUTER_TRAIN_MAX &&
	       len <= train->segment && train->bytes + len <= OUTER_BYTES_MAX;
}

// Queues one datagram, of a header that may be empty and the rest. After make_room.
static void push(struct worker *w, uint32_t host, const void *header, uint32_t header_len,
		 const void *rest, uint32_t rest_len)
{
	struct transmit *t = &w->transmit;
	uint16_t *open = &t->open[host % TRANSMIT_OPEN];
	uint32_t len = header_len + rest_len;
	struct train *train = *open ? &t->trains[*open - 1] : NULL;
	if (!train || !takes(train, host, len)) {
		train = &t->trains[t->train_count++];
		train->host = host;
		train->bytes = 0;
		train->segment = (uint16_t)len;
		train->count = 0;
		train->pieces = 0;
		train->ended = false;
		*open = (uint16_t)t->train_count;
	}
	if (header_len > 0)
		train->iov[train->pieces++] = (struct iovec){ (void *)header, header_len };
	train->iov[train->pieces++] = (struct iovec){ (void *)rest, rest_len };
	train->bytes += len;
	train->count++;
	train->ended = len < train->segment;
}

static void push_segments(struct worker *w, uint32_t host, const struct superpacket *super)
{
	for (uint32_t i = 0; i < super->count; i++) {
		make_room(w);
		uint8_t *header = w->transmit.headers[w->transmit.header_count++];
		const uint8_t *payload;
		uint32_t len = superpacket_segment(super, i, header, &payload);
		push(w, host, header, super->header_len, payload, len);
	}
}

static bool refuse(struct worker *w, enum counter counter, enum icmp_error error,
		   const struct packet *packet)
{
	counter_add(&w->counters, counter, 1);
	worker_icmp(w, error, packet);
	return false;
}

// What a router checks, in its order.
static bool may_pass(struct worker *w, const struct packet *packet, uint32_t wire_len,
		     uint32_t *ret_host)
{
	const struct route_table *table = w->table;
	if (packet_to_many(packet)) {
		counter_add(&w->counters, COUNTER_DROP_TO_MANY, 1);
		return false;
	}
	*ret_host = route_find(table, packet->version, packet_destination(packet));
	if (*ret_host < ROUTE_FIRST_HOST)
		return refuse(w, *ret_host == ROUTE_OWN ? COUNTER_DROP_TO_SELF : COUNTER_DROP_NO_ROUTE,
			      ICMP_ERROR_NO_ROUTE, packet);
	if (packet_ttl(packet) <= 1)
		return refuse(w, COUNTER_DROP_TTL_OUT, ICMP_ERROR_TIME_EXCEEDED, packet);
	if (wire_len > table->config.mtu && packet_may_not_be_cut(packet))
		return refuse(w, COUNTER_DROP_TOO_BIG, ICMP_ERROR_TOO_BIG, packet);
	return true;
}

static void transmit_one(struct worker *w, uint8_t *data, size_t len)
{
	struct vnet vnet = vnet_load(data);
	struct packet packet;
	struct superpacket super;
	uint32_t host;
	bool cut = vnet.gso != VNET_GSO_NONE;
	if (packet_parse(data + VNET_HEADER, len - VNET_HEADER, &packet) != PACKET_FINE ||
	    (cut && !superpacket_open(&vnet, &packet, &super))) {
		counter_add(&w->counters, COUNTER_DROP_TUN_MALFORMED, 1);
		return;
	}
	if (!may_pass(w, &packet, cut ? (uint32_t)super.header_len + super.segment : packet.len, &host))
		return;
	packet_decrement_ttl(&packet);
	if (cut) {
		superpacket_sum(&super);
		push_segments(w, host, &super);
	} else if (vnet.needs_checksum && !segment_finish_checksum(&vnet, &packet)) {
		counter_add(&w->counters, COUNTER_DROP_TUN_MALFORMED, 1);
	} else {
		make_room(w);
		push(w, host, NULL, 0, packet.data, packet.len);
	}
}

size_t transmit_batch(struct worker *w)
{
	struct transmit *t = &w->transmit;
	size_t used = 0, count = 0, bytes = 0;
	while (count < TRANSMIT_PACKETS && TRANSMIT_ARENA - used > ALIGNMENT + PACKET_MAX) {
		// So that the packet itself begins at a cache line.
		uint8_t *at = t->arena + used + ALIGNMENT - VNET_HEADER;
		ssize_t len = read(w->tun, at, VNET_HEADER + PACKET_MAX);
		if (len < VNET_HEADER)
			break;
		transmit_one(w, at, (size_t)len);
		used += (ALIGNMENT + (size_t)len - VNET_HEADER + ALIGNMENT - 1) &
			~(size_t)(ALIGNMENT - 1);
		bytes += (size_t)len - VNET_HEADER;
		count++;
	}
	if (count > 0) {
		counter_add(&w->counters, COUNTER_TUN_READS, count);
		counter_add(&w->counters, COUNTER_TUN_BYTES, bytes);
		flush(w);
	}
	return count;
}
