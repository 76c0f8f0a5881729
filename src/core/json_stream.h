// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a long JSON answer into its elements while it arrives, so that a range of ten thousand
// leases is never one tree. A tokenizer of its own: jansson cannot read in pieces.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

// Called with the text of one complete array element (not terminated). Non-zero stops the stream with that code.
typedef int json_element_fn(void *arg, const char *text, size_t len);

// Splits one document: elements of the top-level member `array_name` (an array of objects) go to fn as they are complete;
// everything else is kept and can be read as a small document afterwards, with the array emptied.
struct json_stream;
struct json_stream *json_stream_new(const char *array_name, size_t element_max, size_t rest_max,
				    json_element_fn *fn, void *arg);
struct json_stream *json_stream_free(struct json_stream *stream);
// The first failure stays: every later call gives it again. -EINVAL, -E2BIG (an element or the rest), or fn's code.
// fn must not call into the stream. Elements and rest are cut, not checked: a JSON parser reads them next.
int json_stream_feed(struct json_stream *stream, const char *data, size_t len, struct err *e);
// After the last byte: the document without the elements; borrowed. -EINVAL when it is not complete.
int json_stream_end(struct json_stream *stream, const char **ret_rest, size_t *ret_len, struct err *e);
