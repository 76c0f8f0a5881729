// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which peers are not as they should be, and why: those that could not be programmed, with a retry time of their own, and those
// that the backend ignores. All others are fine and take no memory.
#pragma once

#include "core/lease.h"

#include <stdbool.h>
#include <stddef.h>

#define TROUBLE_TEXT_MAX 160

struct trouble_entry {
	struct subnet subnet;
	bool ignored; // not for this backend: nothing to retry
	bool refused; // by the backend, which may say otherwise at the next look: the kernel was not asked
	unsigned int attempts;
	uint64_t retry_at_ms; // loop_now_ms clock
	char text[TROUBLE_TEXT_MAX];
};

struct trouble;
struct trouble *trouble_new(void);
struct trouble *trouble_free(struct trouble *trouble);
// Records a failure at now_ms; back-off 1 s doubling to 60 s. True if it is new or says something else than before (worth a log line).
bool trouble_failed(struct trouble *trouble, const struct subnet *subnet, const char *text,
		    uint64_t now_ms);
// The same where the backend has no entries for the peer, or not all: nobody need wait before looking again.
bool trouble_refused(struct trouble *trouble, const struct subnet *subnet, const char *text,
		     uint64_t now_ms);
bool trouble_ignored(struct trouble *trouble, const struct subnet *subnet, const char *text);
void trouble_clear(struct trouble *trouble, const struct subnet *subnet); // fine again, or gone
const struct trouble_entry *trouble_find(const struct trouble *trouble, const struct subnet *subnet);
// A cleared entry's place is taken by another one: *position - 1 is looked at next then.
const struct trouble_entry *trouble_next(const struct trouble *trouble, size_t *position);
size_t trouble_count(const struct trouble *trouble, bool ignored);
// What hindered the peers was none of their doing, or is gone: those that failed once only, or those that a route to dst hindered, need not
// wait. True if there are any.
bool trouble_retry_first_failures(struct trouble *trouble, uint64_t now_ms);
bool trouble_retry_route(struct trouble *trouble, const struct ipnet *dst, uint64_t now_ms);
// The earliest retry, or UINT64_MAX.
uint64_t trouble_next_retry_ms(const struct trouble *trouble);
