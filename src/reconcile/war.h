// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: noticing another program that keeps undoing one object. The same object repaired more than five times within a minute is a war:
// repairs of it are held back, longer each time, until it stays for a minute.
#pragma once

#include "kernel/object.h"

#include <stdbool.h>
#include <stddef.h>

struct war_entry {
	struct kernel_object object; // the last one repaired under this key
	unsigned int repairs;	     // within the window
	uint64_t window_start_ms;
	uint64_t hold_until_ms; // 0: not at war
	uint64_t hold_ms;
};

struct war;
struct war *war_new(void);
struct war *war_free(struct war *war);

enum war_verdict {
	WAR_REPAIR,   // go on
	WAR_DECLARED, // this is one too many: say so, and hold back
	WAR_HELD,     // being held back, or undone once more after a hold: it was said before
};
// Asked before each repair of an object that was in place before.
enum war_verdict war_repair(struct war *war, const struct kernel_object *object, uint64_t now_ms);
// The same of one thing that is no kernel object: entry is the caller's, zero at first, its object unused.
enum war_verdict war_entry_repair(struct war_entry *entry, uint64_t now_ms);
// Objects at war now.
const struct war_entry *war_next(const struct war *war, size_t *position, uint64_t now_ms);
// When the first of their holds ends, or UINT64_MAX.
uint64_t war_next_end_ms(const struct war *war, uint64_t now_ms);
