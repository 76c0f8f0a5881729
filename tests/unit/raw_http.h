// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an HTTP client for tests that does exactly what it is told: raw bytes over a socket, turning the loop meanwhile.
#pragma once

#include "core/ip.h"
#include "core/strbuf.h"
#include "io/loop.h"

#include <stdbool.h>

struct raw_http {
	struct loop *loop;
	int fd;
	struct strbuf got; // everything received so far
	bool ended;	   // the server closed
};

void raw_http_open_unix(struct raw_http *peer, struct loop *loop, const char *path);
void raw_http_open_tcp(struct raw_http *peer, struct loop *loop, const struct ip *address,
		       uint16_t port);
void raw_http_close(struct raw_http *peer);
void raw_http_send(struct raw_http *peer, const char *text);
// Turns the loop until the text came, the server closed, or 5 s passed. Did it come?
bool raw_http_expect(struct raw_http *peer, const char *text);
bool raw_http_expect_end(struct raw_http *peer);
// GET with "Connection: close", read to the end. The whole answer, borrowed until the next call.
const char *raw_http_get(struct raw_http *peer, const char *path);
// How often the text occurs in what came.
unsigned int raw_http_count(const struct raw_http *peer, const char *text);
