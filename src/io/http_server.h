// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one listening socket (unix or TCP) that speaks HTTP/1.1, in the loop. Knows nothing of what it serves.
//
// DOC: life of an exchange
//
// A whole request (its body included) makes one call of the handler, which answers at once or keeps the exchange and
// answers later: with http_answer (whole) or http_answer_stream (pulled piece by piece as fast as the client reads).
// Until it is answered an exchange stays valid, even when the client has gone; after http_answer it must not be touched,
// after http_answer_stream not after `closed` was called. A client has `deadline_ms` to send a request, the same to take
// a whole answer, and the same for each piece of a stream, so that neither a slow sender nor a slow reader keeps a place;
// time in which a stream has nothing to say, or an answer is being worked out, is not the client's and does not count.
// Everything here is called from the loop thread only.
//
// DOC: TLS
//
// A connection has the certificate, key and CA that were in force when it was accepted, to its end: new files
// (http_server_reload) are for new connections. A client that must show a certificate and has none, or one that the CA
// did not sign, does not get past the handshake.
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "core/strbuf.h"
#include "io/loop.h"
#include "io/tls_credentials.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct http_exchange;

typedef void http_handler_fn(void *arg, struct http_exchange *exchange);
// The request's head is there: method, path, headers. False: nothing of its body is kept; the handler gets it all the
// same, to say why, and sees it by http_exchange_is_admitted.
typedef bool http_admit_fn(void *arg, const struct http_exchange *exchange);

struct http_server_config {
	const char *unix_path; // NULL: TCP. Made with mode 0600; a dead one of an earlier life is replaced
	bool root_only;	       // unix: clients of another uid than 0 (SO_PEERCRED) get 403
	struct ip address;	      // TCP
	uint16_t port;		      // TCP; 0: any free one
	unsigned int connections_max; // more wait in the kernel's queue; 0: 64
	unsigned int per_address_max; // TCP connections of one client address; 0: no limit of its own
	unsigned int pending_max; // those of one address that have made no admitted request yet; 0: no limit
	size_t connection_memory; // bytes of each connection: a request's head, and what is being sent; 0: 32768
	size_t body_max;      // of a request, larger gets 413; 0: none is accepted
	uint32_t deadline_ms; // 0: 30000
	http_admit_fn *admit; // gets the handler's arg; NULL: all are admitted
	struct tls_files tls; // cert_file NULL: plain HTTP
};

// Strings are copied. -EADDRINUSE: another process serves there; -EADDRNOTAVAIL, -EACCES, ...; the message names the
// address, or the file.
int http_server_new(struct loop *loop, const struct http_server_config *config,
		    http_handler_fn *handler, void *arg, struct http_server **ret, struct err *e);
// Cuts all connections and removes the unix socket. Streams get their `closed`; unanswered exchanges are gone.
struct http_server *http_server_free(struct http_server *server);
// Reads the files of TLS anew, for connections that come from now on. If they are not good the former ones stay in force.
int http_server_reload(struct http_server *server, struct err *e);
const char *http_server_pin(const struct http_server *server); // TLS_PIN_MAX; "" for plain HTTP
uint16_t http_server_port(const struct http_server *server);   // the port in use; 0 for unix
unsigned int http_server_connections(const struct http_server *server); // open now

// The request. Strings are borrowed and live as long as the exchange.
const char *http_exchange_method(const struct http_exchange *exchange); // "GET" for HEAD too
const char *http_exchange_path(const struct http_exchange *exchange);	// without the query
const char *http_exchange_query(const struct http_exchange *exchange, const char *name); // NULL if absent
const char *http_exchange_header(const struct http_exchange *exchange, const char *name); // NULL if absent
struct ip http_exchange_peer(const struct http_exchange *exchange); // the client's address; none for unix
bool http_exchange_is_admitted(const struct http_exchange *exchange);
const char *http_exchange_body(const struct http_exchange *exchange, size_t *ret_len); // terminated

// Copies the body.
void http_answer(struct http_exchange *exchange, unsigned int status, const char *content_type,
		 const void *body, size_t len);
void http_answer_text(struct http_exchange *exchange, unsigned int status, const char *content_type,
		      const char *body);

// Appends the next piece to out (a few 10 KiB at a time keep the loop free; out takes at most HTTP_PIECE_MAX).
// 1: more follows (nothing added: asked again at once); 0: that was the last; -EAGAIN: nothing to say until http_stream_wake; other errors cut the connection.
typedef int http_next_fn(void *arg, struct strbuf *out);
typedef void http_closed_fn(void *arg); // exactly once, from the loop; next is not called any more
#define HTTP_PIECE_MAX (256 * 1024)
#define HTTP_PIECE_GOOD (32 * 1024) // what one call of next should stay near

// next is first called after this returned.
void http_answer_stream(struct http_exchange *exchange, unsigned int status, const char *content_type,
			http_next_fn *next, http_closed_fn *closed, void *arg);
// next has something to say again.
void http_stream_wake(struct http_exchange *exchange);
