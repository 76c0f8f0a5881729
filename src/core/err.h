// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: struct err, what a function tells a person beyond its errno.
#pragma once

#define ERR_MSG_MAX 256

// A value on the caller's stack; nothing to release. `code` is a negative errno.
struct err {
	int code;
	char msg[ERR_MSG_MAX];
};

// Stores code and text (truncated to fit, control characters replaced) and returns code. e may be NULL.
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Puts "context: " in front of the stored text and returns the stored code. e may be NULL: returns -EIO then.
int err_wrap(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The stored text, or the errno's own words when nothing was stored. Never NULL.
const char *err_msg(const struct err *e);
