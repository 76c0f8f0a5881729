// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the end of a test's loop, also of a test that failed half way.
#pragma once

#include "unit.h"

#include "io/loop.h"

// A test that failed leaves behind what it had, and loop_free waits for that: it is reported instead,
// behind what failed.
static inline struct loop *loop_end(struct loop *ended)
{
	if (loop_users(ended) > 0)
		fail_msg("%zu timers and watches are left in the loop", loop_users(ended));
	return loop_free(ended);
}
