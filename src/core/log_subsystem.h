// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which part of weft a line of the log is from, by the word that it begins with, and how much each part says.
#pragma once

#include "core/err.h"
#include "core/log.h"

enum log_subsystem {
	LOG_AGENT,
	LOG_API,
	LOG_BACKEND,
	LOG_CONTROLLER,
	LOG_FABRIC,
	LOG_KERNEL,
	LOG_MASQ,
	LOG_RECONCILE,
	LOG_STORE,
	LOG_OTHER, // begins with no word that we know
	LOG_SUBSYSTEM_COUNT
};
extern const char *const log_subsystem_names[LOG_SUBSYSTEM_COUNT];
extern const char *const log_level_names[LOG_LEVEL_COUNT]; // "error", "warn", "info", "debug"

// Of a line's text, or of its format: "store: ..." is LOG_STORE, and so is "etcd: ...".
enum log_subsystem log_subsystem_of(const char *text);

// Changes what one part says, or all of them, from the next line on. Any thread.
void log_set_level(enum log_subsystem subsystem, enum log_level level);
void log_set_all(enum log_level level);
enum log_level log_level_of(enum log_subsystem subsystem);

// Reads "LEVEL" (all parts) or "PART=LEVEL" and carries it out. -EINVAL names what is wrong and what there is.
int log_change(const char *text, struct err *e);
