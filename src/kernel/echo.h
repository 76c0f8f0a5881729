// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: knowing the notifications of our own changes that the kernel does not mark as ours. Private to kernel/.
//
// DOC: The kernel stamps the notification of a change with the port id of the socket that asked for it, but not so those of
// FDB entries and of the removal of neighbours: they say port 0, the kernel's own. A batch therefore notes which of these
// its successful requests cause. Notifications come in the order of the requests, and lie in the monitor's socket by the
// time that a batch is done; so the monitor takes the note that fits an event, and those before it, which were of requests
// that changed nothing. When the monitor has read all there is, what is left of the notes was never to come. An event that
// fits no note is another's doing.
#pragma once

#include "kernel/object.h"

#include <stdbool.h>
#include <stddef.h>

struct echo_list {
	bool enabled; // a monitor asks
	uint64_t *notes;
	size_t count;
	size_t capacity;
	size_t taken; // from the front
};

void echo_list_free(struct echo_list *list); // leaves it zero
void echo_list_clear(struct echo_list *list);
// A request of ours went well. Does nothing for objects whose notifications are marked.
void echo_note(struct echo_list *list, const struct kernel_object *object, bool removed);
// Is this unmarked event ours? Then its note is gone.
bool echo_take(struct echo_list *list, const struct kernel_object *object, bool removed);
