// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a queue of holds.
#include "fabric/hold_queue.h"

#include "core/mem.h"

#include <string.h>

void hold_queue_clear(struct hold_queue *queue)
{
	free(queue->holds);
	*queue = (struct hold_queue){ 0 };
}

void hold_queue_add(struct hold_queue *queue, const struct hold *hold)
{
	if (queue->first > 0 && queue->first + queue->count == queue->capacity) {
		memmove(queue->holds, queue->holds + queue->first, queue->count * sizeof(*hold));
		queue->first = 0;
	}
	if (queue->count == queue->capacity) {
		queue->capacity = queue->capacity ? queue->capacity * 2 : 8;
		queue->holds = xrealloc_array(queue->holds, queue->capacity, sizeof(*hold));
	}
	queue->holds[queue->first + queue->count++] = *hold;
}

const struct hold *hold_queue_first(const struct hold_queue *queue)
{
	return queue->count > 0 ? &queue->holds[queue->first] : NULL;
}

void hold_queue_drop(struct hold_queue *queue)
{
	queue->first++;
	if (--queue->count == 0)
		hold_queue_clear(queue);
}
