// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: HTTP requests to stores, over libcurl's multi interface in the loop. Knows nothing of what
// is in them.
#pragma once

#include "core/err.h"
#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_client_config {
	const char *ca_file;   // trusted in place of the system's roots; NULL: those
	const char *cert_file; // client certificate and key, or NULL
	const char *key_file;
	// Keys of servers that may be spoken to, see http_pin.h; NULL: any. It then takes https and nothing else, and without
	// ca_file stands in place of the chain to a CA and of the name in the certificate.
	const char *pin;
	const char *user_agent;
	const char *unix_socket; // all requests go there; NULL: TCP
};

struct http_client;
// The strings are copied. -ENOENT and the like name the file that cannot be read; -EINVAL: the pin.
int http_client_new(struct loop *loop, const struct http_client_config *config,
		    struct http_client **ret, struct err *e);
struct http_client *http_client_free(struct http_client *client); // cancels all calls without calling back
// What is under way ends as if the server had closed its connections; what comes next opens new
// ones. For when our own address changed and no answer would come any more.
void http_client_disconnect(struct http_client *client);

struct http_response {
	int status;	  // HTTP status code
	const char *body; // terminated; "" when the request streamed
	size_t len;
	bool sent; // false: surely nothing of the request has left
};

// r: 0 when a whole answer came (whatever its status), else -ETIMEDOUT, -ECONNREFUSED,
// -EHOSTUNREACH, -EPROTO, -E2BIG, -EPIPE (ended in the middle), -EKEYREJECTED (TLS), ... response
// is never NULL; status 0 when none came.
typedef void http_done_fn(void *arg, int r, const struct http_response *response, const struct err *e);
// Non-zero ends the call with that code. Called only for status 200-299 (other bodies are kept for
// done).
typedef int http_chunk_fn(void *arg, const char *data, size_t len);

// The answer's headers are there, before any of its body. Non-zero ends the call with that code.
struct http_head;
typedef int http_head_fn(void *arg, const struct http_head *head);
int http_head_status(const struct http_head *head);
// NULL: there is no such header. Borrowed until the head function returns.
const char *http_head_get(const struct http_head *head, const char *name);

struct http_request {
	const char *method; // "GET", "POST", ...
	const char *url;
	const char *const *headers; // NULL-terminated array of "Name: value", or NULL
	const void *body;	    // copied
	size_t body_len;
	bool once; // never sent a second time, not even when a kept connection turns out to be dead
	bool upload_stays_open; // chunked upload: body first, then http_call_send, until the call ends
	size_t response_max;	// bytes kept of an answer; larger is -E2BIG. Not for streamed bytes
	uint32_t connect_timeout_ms;
	uint32_t total_timeout_ms; // 0: none
	uint32_t idle_timeout_ms;  // no byte of an answer for so long: -ETIMEDOUT; 0: none
	http_head_fn *head;	   // NULL: not told
	http_chunk_fn *chunk;	   // NULL: the body is kept for done
	http_done_fn *done;
	void *arg;
};

struct http_call;
struct http_call *http_call_start(struct http_client *client, const struct http_request *request);
void http_call_cancel(struct http_call *call); // no callback after this; call is gone. Not after done was called
void http_call_send(struct http_call *call, const void *data, size_t len); // upload_stays_open only
