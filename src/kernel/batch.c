// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: batches, requests gathered to go out together.

#include "core/mem.h"
#include "kernel/decode.h"
#include "kernel/exchange.h"

// A batch keeps its memory for the next round up to this much.
#define KEEP_BYTES ((size_t)64 * 1024)

struct netlink_batch {
	struct netlink *nl;
	struct request_queue queue;
};

struct netlink_batch *netlink_batch_new(struct netlink *nl)
{
	struct netlink_batch *batch = xnew(struct netlink_batch);

	batch->nl = nl;
	return batch;
}

struct netlink_batch *netlink_batch_free(struct netlink_batch *batch)
{
	if (!batch)
		return NULL;
	request_queue_free(&batch->queue);
	free(batch);
	return NULL;
}

size_t netlink_batch_count(const struct netlink_batch *batch)
{
	return batch->queue.count;
}

void netlink_batch_add(struct netlink_batch *batch, enum netlink_verb verb,
		       const struct kernel_object *object, uint32_t tag)
{
	void *buffer = request_queue_reserve(&batch->queue);

	request_queue_push(&batch->queue, encode_object(verb, object, buffer), tag);
}

// Reads back what was asked: requests have the shape of notifications.
static void note_echoes(struct netlink *nl, const struct request_queue *queue)
{
	struct decoded decoded;
	struct nlmsg_view msg;

	if (!nl->echoes.enabled)
		return;
	for (size_t i = 0; i < queue->count; i++) {
		const struct request *request = &queue->requests[i];
		size_t offset = 0;

		if (request->error == 0 &&
		    nlmsg_next(queue->data + request->offset, request->len, &offset, &msg) > 0 &&
		    decode_object(&msg, &decoded) == 0)
			echo_note(&nl->echoes, &decoded.object, decoded.removed);
	}
}

static void hand_out(const struct request_queue *queue, netlink_result_fn *fn, void *arg)
{
	for (size_t i = 0; i < queue->count; i++) {
		const struct request *request = &queue->requests[i];

		fn(arg, request->tag, request->error, request->text ? request->text : "");
	}
}

static void reuse(struct request_queue *queue, struct netlink_batch *batch)
{
	if (batch->queue.count > 0 || queue->capacity > KEEP_BYTES)
		return;
	for (size_t i = 0; i < queue->count; i++)
		free(queue->requests[i].text);
	queue->count = queue->len = 0;
	request_queue_free(&batch->queue);
	batch->queue = *queue;
	*queue = (struct request_queue){ 0 };
}

int netlink_batch_commit(struct netlink_batch *batch, netlink_result_fn *fn, void *arg, struct err *e)
{
	// The batch is empty before fn is called, so that fn may add to it.
	_cleanup_request_queue_ struct request_queue queue = batch->queue;
	int r;

	batch->queue = (struct request_queue){ 0 };
	batch->nl->stats.batches += queue.count > 0;
	r = exchange_run(batch->nl, &exchange_acks, &queue, e);
	note_echoes(batch->nl, &queue);
	hand_out(&queue, fn, arg);
	reuse(&queue, batch);
	return r;
}
