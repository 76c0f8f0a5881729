// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sending many requests in few sends and matching what comes back by sequence number.

#include "kernel/exchange.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <string.h>

// Above this a send brings nothing more, and the kernel's memory for one gets hard to find.
#define SEND_BYTES_MAX ((size_t)200 * 1024)
#define RING_SLOTS_MAX 64

// An acknowledgement is 36 bytes and, if it failed, some attributes; the kernel charges the buffer and its bookkeeping.
const struct exchange exchange_acks = { .answer_bytes = 1024, .answer_memory = 1280 };

void request_queue_free(struct request_queue *queue)
{
	for (size_t i = 0; i < queue->count; i++)
		free(queue->requests[i].text);
	free(queue->requests);
	free(queue->data);
	*queue = (struct request_queue){ 0 };
}

void *request_queue_reserve(struct request_queue *queue)
{
	if (queue->capacity - queue->len < ENCODE_REQUEST_MAX) {
		queue->capacity = 2 * queue->capacity + 4 * ENCODE_REQUEST_MAX;
		queue->data = xrealloc_array(queue->data, queue->capacity, 1);
	}
	return queue->data + queue->len;
}

void request_queue_push(struct request_queue *queue, size_t len, uint32_t tag)
{
	assert(len > 0 && len <= ENCODE_REQUEST_MAX && queue->len + len <= UINT32_MAX);
	if (queue->count == queue->requests_capacity) {
		queue->requests_capacity = 2 * queue->requests_capacity + 16;
		queue->requests = xrealloc_array(queue->requests, queue->requests_capacity,
						 sizeof(*queue->requests));
	}
	queue->requests[queue->count++] =
		(struct request){ .offset = (uint32_t)queue->len, .len = (uint32_t)len, .tag = tag };
	queue->len += len;
}

// A run of requests that went out in one send, with consecutive sequence numbers.
struct flight {
	struct netlink *nl;
	const struct exchange *exchange;
	struct request *requests;
	size_t count;
	size_t pending;
	uint32_t sequence; // of the first
};

static void settle(struct flight *flight, struct request *request, int error, const char *text)
{
	request->answered = true;
	request->error = error;
	if (error < 0 && text && text[0] != '\0')
		request->text = xstrndup(text, sizeof(((struct nlmsg_ack *)NULL)->text));
	if (error < 0 && !flight->exchange->uncounted)
		flight->nl->stats.failed++;
	flight->pending--;
}

static void take_message(struct flight *flight, const struct nlmsg_view *msg)
{
	uint32_t i = msg->sequence - flight->sequence;
	struct nlmsg_ack ack;
	struct request *request;

	// Answers to an earlier flight that we gave up on may still come in.
	if (i >= flight->count || flight->requests[i].answered ||
	    msg->port_id != flight->nl->requests.port_id)
		return;
	request = &flight->requests[i];
	if (msg->type == NLMSG_ERROR) {
		if (nlmsg_read_error(msg, &ack) < 0)
			settle(flight, request, -EBADMSG, NULL);
		else
			settle(flight, request, ack.error, ack.text);
		return;
	}
	if (flight->exchange->fn && msg->type >= NLMSG_MIN_TYPE)
		settle(flight, request, flight->exchange->fn(flight->exchange->arg, request, msg),
		       NULL);
}

static void take_ring(struct flight *flight, const struct nlsock_ring *ring, size_t datagrams)
{
	for (size_t i = 0; i < datagrams; i++) {
		size_t len, offset = 0;
		struct nlmsg_view msg;
		const void *data;
		bool cut;

		data = nlsock_ring_datagram(ring, i, &len, &cut);
		if (!data)
			continue;
		while (nlmsg_next(data, len, &offset, &msg) > 0)
			take_message(flight, &msg);
	}
}

// Is nothing more to come? For changes that is so when the last one is answered.
static bool all_answered(const struct flight *flight)
{
	return flight->pending == 0 ||
	       (!flight->exchange->fn && flight->requests[flight->count - 1].answered);
}

// Reads until nothing more is to come. 0; -ENOBUFS: answers were lost, what was there is read; other: the socket is no
// good.
static int collect(struct flight *flight, struct nlsock_ring *ring)
{
	bool lost = false;
	int r;

	while (lost || !all_answered(flight)) {
		r = nlsock_receive(&flight->nl->requests, ring, !lost);
		if (r == -ENOBUFS)
			lost = true;
		else if (r == -EAGAIN)
			return lost ? -ENOBUFS : -EIO;
		else if (r < 0)
			return r;
		else
			take_ring(flight, ring, (size_t)r);
	}
	for (size_t i = 0; i < flight->count; i++)
		if (!flight->requests[i].answered)
			settle(flight, &flight->requests[i], 0, NULL);
	return 0;
}

static int fly(struct flight *flight, struct request_queue *queue, struct nlsock_ring *ring)
{
	const struct request *last = &flight->requests[flight->count - 1];
	size_t start = flight->requests[0].offset;
	struct netlink *nl = flight->nl;
	int r;

	flight->sequence = nl->sequence + 1;
	flight->pending = flight->count;
	for (size_t i = 0; i < flight->count; i++) {
		uint8_t *message = queue->data + flight->requests[i].offset;

		nlmsg_set_sequence(message, ++nl->sequence);
		nlmsg_set_ack(message, !flight->exchange->fn && i + 1 == flight->count);
	}
	if (!flight->exchange->uncounted) {
		nl->stats.sends++;
		nl->stats.messages += flight->count;
	}
	r = nlsock_send(&nl->requests, queue->data + start, last->offset + last->len - start);
	if (r < 0)
		return r;
	return collect(flight, ring);
}

// How many of the requests from `first` on go into one send.
static size_t flight_size(const struct netlink *nl, const struct exchange *exchange,
			  const struct request_queue *queue, size_t first)
{
	size_t bytes_max = nl->requests.send_max < SEND_BYTES_MAX ? nl->requests.send_max
								  : SEND_BYTES_MAX;
	size_t answers_max = nl->requests.receive_max / exchange->answer_memory;
	size_t bytes = 0, count = 0;

	while (first + count < queue->count && (count == 0 || count < answers_max)) {
		bytes += queue->requests[first + count].len;
		if (count > 0 && bytes > bytes_max)
			break;
		count++;
	}
	return count;
}

// Sends what has no answer once more, one at a time, so that each answer finds an empty receive buffer.
static int repeat_unanswered(const struct flight *flight, struct request_queue *queue,
			     struct nlsock_ring *ring)
{
	int r;

	for (size_t i = 0; i < flight->count; i++) {
		struct flight single = {
			.nl = flight->nl,
			.exchange = flight->exchange,
			.requests = &flight->requests[i],
			.count = 1,
		};

		if (single.requests->answered)
			continue;
		r = fly(&single, queue, ring);
		if (r < 0)
			return r == -ENOBUFS ? -EIO : r;
	}
	return 0;
}

int exchange_run(struct netlink *nl, const struct exchange *exchange, struct request_queue *queue,
		 struct err *e)
{
	_cleanup_(nlsock_ring_freep) struct nlsock_ring *ring = NULL;
	size_t first = 0;
	int r = 0;

	if (queue->count == 0)
		return 0;
	ring = nlsock_ring_new(queue->count < RING_SLOTS_MAX ? queue->count : RING_SLOTS_MAX,
			       exchange->answer_bytes);
	if (!nl->requests.mnl)
		r = netlink_reopen_requests(nl, e);
	while (r == 0 && first < queue->count) {
		struct flight flight = { .nl = nl,
					 .exchange = exchange,
					 .requests = &queue->requests[first] };

		flight.count = flight_size(nl, exchange, queue, first);
		r = fly(&flight, queue, ring);
		if (r == -ENOBUFS)
			r = repeat_unanswered(&flight, queue, ring);
		first += flight.count;
	}
	if (r == 0)
		return 0;
	for (size_t i = 0; i < queue->count; i++)
		if (!queue->requests[i].answered)
			queue->requests[i].error = -EIO;
	if (nl->requests.mnl)
		(void)netlink_reopen_requests(nl, NULL);
	return err_set(e, r, "netlink requests: %s",
		       r == -EIO ? "the kernel did not answer" : strerror(-r));
}

int exchange_one(struct netlink *nl, const void *message, size_t len, struct nlmsg_ack *ret,
		 struct err *e)
{
	_cleanup_request_queue_ struct request_queue queue = { 0 };
	struct nlmsg_ack ack = { 0 };
	size_t text_len;
	int r;

	memcpy(request_queue_reserve(&queue), message, len);
	request_queue_push(&queue, len, 0);
	r = exchange_run(nl, &exchange_acks, &queue, e);
	if (r < 0)
		return r;
	ack.error = queue.requests[0].error;
	if (queue.requests[0].text) {
		text_len = strnlen(queue.requests[0].text, sizeof(ack.text) - 1);
		memcpy(ack.text, queue.requests[0].text, text_len);
	}
	*ret = ack;
	return 0;
}
