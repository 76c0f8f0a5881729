// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a stream of the gateway into its messages: lines of {"result":{...}} or
// {"error":{...}}.
#pragma once

#include "core/err.h"
#include "core/json_stream.h"

#include <stdbool.h>
#include <stddef.h>

// A message is complete; its "events" were given to the element function, text is the rest of what
// is inside of "result" or "error". Non-zero stops the stream with that code.
typedef int etcd3_message_fn(void *arg, bool is_error, const char *text, size_t len);

struct etcd3_lines;
struct etcd3_lines *etcd3_lines_new(json_element_fn *element, etcd3_message_fn *message, void *arg);
struct etcd3_lines *etcd3_lines_free(struct etcd3_lines *lines); // not from within its functions
// 0, -EPROTO, or what a function returned. Not to be fed any more after an error.
int etcd3_lines_feed(struct etcd3_lines *lines, const char *data, size_t len, struct err *e);
