// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an HTTP server for tests that says what it was told to, however wrong: a thread with one
// connection at a time.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct fake_http;

struct fake_answer {
	const char *path; // the request's path begins like this
	const char *raw; // sent as it is, then the connection is closed; NULL: says nothing and keeps the connection
	size_t repeat;	  // raw is sent so often; 0: once
	bool keeps;	  // open for one more request, which gets no answer but the end
	const char *drip; // behind raw, every 20 ms for as long as the peer listens
};

// Serves http://127.0.0.1:port until freed. The table ends with path NULL and must outlive the
// server; what is not in it gets a 404.
struct fake_http *fake_http_start(const struct fake_answer *answers);
struct fake_http *fake_http_free(struct fake_http *fake);
const char *fake_http_url(const struct fake_http *fake);
unsigned int fake_http_count(const struct fake_http *fake); // requests so far
