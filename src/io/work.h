// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one piece of work that would block the loop, done on a thread of its own. The thread is in the network namespace of its starter.
#pragma once

#include "io/loop.h"

struct work;
typedef void work_fn(void *arg); // on the thread; shares nothing with the loop but what arg points to
typedef void work_done_fn(void *arg); // on the loop, after the thread has ended; may call work_free

struct work *work_start(struct loop *loop, work_fn *fn, work_done_fn *done, void *arg);
// If it is not done yet, waits for the thread; done is not called then.
struct work *work_free(struct work *work);
