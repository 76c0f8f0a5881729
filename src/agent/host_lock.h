// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: that only one program runs the fabric in a network namespace.
#pragma once

#include "core/err.h"

struct host_lock;
// Takes the lock of the calling thread's network namespace. -EBUSY: another weftd or a flanneld of
// root runs in it; the message names it with its pid. Freed by the kernel however the process ends.
int host_lock_take(struct host_lock **ret, struct err *e);
struct host_lock *host_lock_release(struct host_lock *lock);
