// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling the service manager how we are (sd_notify's datagrams, without its library).
#pragma once

#include "core/err.h"
#include "io/loop.h"

#include <stdint.h>

struct notify;
// From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of environment; without them all calls do
// nothing. -EINVAL for a NOTIFY_SOCKET of a form that we do not know: *ret is still usable then,
// and silent. Never blocks.
int notify_new(char *const *environment, struct notify **ret, struct err *e);
struct notify *notify_free(struct notify *notify);

// Failures to send are nobody's business and are ignored.
void notify_ready(struct notify *notify);
void notify_status(struct notify *notify, const char *format, ...)
	__attribute__((format(printf, 2, 3))); // sent only if changed
void notify_reloading(struct notify *notify);  // notify_ready when it is done
void notify_stopping(struct notify *notify);
// From now on, each notify_watchdog_ms, that the loop turns.
void notify_watchdog_start(struct notify *notify, struct loop *loop);
// Half of what the manager allows; 0: it does not watch.
uint64_t notify_watchdog_ms(const struct notify *notify);
