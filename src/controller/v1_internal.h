// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts share that serve the API of flannel 0.5 to 0.7.
//
// DOC: life of a request
//
//   READ path and body -> WAIT until the mirror is new enough -> a step -> answered
//                           ^                                     |
//                           +--- somebody was faster, 10 times ---+-> a write to the store, by compare
//
// What is there is looked up in the mirror, so that a thousand clients that start are not a thousand ranges; what is
// written is compared in the store, so that a mirror that is behind does no harm. A step that finds something to be
// otherwise than the mirror has it waits for the mirror.
#pragma once

#include "controller/controller_internal.h"
#include "controller/v1.h"
#include "core/lease.h"
#include "core/strbuf.h"
#include "store/registry.h"

#define V1_TYPE_JSON "application/json; charset=utf-8"
#define V1_TRIES 10

// One network of which somebody asks: the registry, for the writes, and its keys.
struct v1_network {
	struct v1_network *next;
	unsigned int references; // requests and polls
	char *name;		 // V1_NO_NETWORK: the one at the prefix itself
	char *config_key;
	char *leases_prefix; // with the slash at its end
	struct registry *registry;
};

struct v1 {
	struct controller *controller;
	bool is_open;
	struct v1_network *networks;
	struct v1_request *requests;
	struct v1_poll *polls;
	size_t poll_count;
	uint64_t poll_ms;   // how long a poll may say nothing but blanks
	uint64_t blank_ms;  // and after which time each
	struct timer *tick; // runs while there are requests or polls: what waited too long
	struct timer *wake; // gathers changes for the polls
};

typedef void v1_step_fn(struct v1_request *request);

struct v1_request {
	struct v1 *v1;
	struct v1_request *previous;
	struct v1_request *next;
	struct http_exchange *exchange;
	struct v1_network *network; // NULL: of no single one
	v1_step_fn *step; // what is to be done once the mirror is new enough; NULL: the store is asked
	v1_step_fn *late; // in place of an error, if the mirror is up but does not become new enough
	uint64_t until_ms;
	int64_t revision; // that the mirror has to have
	char *gone_key;	  // that it must not have any more with gone_revision; NULL: none
	int64_t gone_revision;
	unsigned int tries;
	bool is_acquire;     // one after the other for each public address
	struct ipnet subnet; // of the path or the body
	struct lease_attrs attrs;
	struct lease lease; // found, to be kept and told
	bool is_renewal; // of a PUT: what comes back has an end, or the client would ask again at once
	v1_step_fn *again;	 // what is begun anew when somebody was faster
	int64_t session;	 // opened for a write, or to be closed after it
	int64_t config_revision; // of the config that was read
};

// ---- v1.c ----
void v1_answer_text(struct http_exchange *exchange, unsigned int status, const char *text);
void v1_answer_error(struct http_exchange *exchange, const char *text); // 500, as flannel has it for most

// ---- v1_request.c ----
struct v1_request *v1_request_new(struct v1 *v1, struct http_exchange *exchange,
				  struct v1_network *network); // takes over a reference
// By the config that was read, lest a frozen network gives one. ttl_s as of struct registry_create_terms.
void v1_request_create(struct v1_request *request, int64_t ttl_s, registry_lease_fn *fn);
void v1_request_end(struct v1_request *request); // was answered
void v1_requests_end(struct v1 *v1);
void v1_request_fail(struct v1_request *request, const char *text); // answers and ends
// "100: Key not found (KEY)", which is how flannel's etcd says it, and by which its clients know it.
void v1_request_not_found(struct v1_request *request, const char *key);
void v1_request_wait(struct v1_request *request, v1_step_fn *step);
// Something else was there than expected: once more from `again`, when the mirror has seen at least this revision.
void v1_request_retry(struct v1_request *request, int64_t revision);
void v1_request_await_gone(struct v1_request *request, const struct pair *pair);
void v1_requests_go_on(struct v1 *v1);
void v1_requests_tick(struct v1 *v1);
void v1_tick_soon(struct v1 *v1);
void v1_note_written(struct v1 *v1, int64_t revision);

// ---- v1_network.c ----
// NULL: no name that could be one. A reference, to be given back.
struct v1_network *v1_network_get(struct v1 *v1, const char *name);
void v1_network_put(struct v1_network *network);
void v1_networks_free(struct v1 *v1);
char *v1_lease_key(const struct v1_network *network, const struct ipnet *subnet); // caller frees
struct pair *v1_find(const struct v1 *v1, const char *key); // in the mirror; NULL: none
const char *v1_pair_value(const struct pair *pair);	    // value_len bytes
// Its subnet, if it is the key of a lease with an IPv4 one.
bool v1_pair_subnet(const struct v1_network *network, const struct pair *pair, struct subnet *ret);
// False: not a lease that can be told. ret is to be freed.
bool v1_pair_lease(const struct v1_network *network, const struct pair *pair, struct lease *ret);
// Answers and ends the request if there is no config that is good for IPv4 alone.
bool v1_read_config(struct v1_request *request, struct netconf *ret);
// The name of the network whose config this is, to be freed; NULL: it is none of a network below the prefix.
char *v1_config_name(const struct v1 *v1, const char *key, size_t len);
int64_t v1_expires_ms(int64_t session); // as if it was renewed now: whose lease it is not does not look at it

// ---- v1_read.c, v1_poll.c ----
void v1_serve_config(struct v1_request *request);
void v1_serve_lease(struct v1_request *request); // one, by request->subnet
void v1_serve_reservations(struct v1_request *request);
void v1_serve_snapshot(struct v1_request *request);
void v1_serve_poll(struct v1_request *request); // with the cursor of its query
void v1_add_cursor(struct strbuf *out, const struct kv_header *header);
void v1_add_pair(struct strbuf *out, const struct lease *lease, int64_t expires_ms);
void v1_polls_wake(struct v1 *v1);
void v1_polls_tick(struct v1 *v1);
void v1_polls_lose(struct v1 *v1);

// ---- v1_lease.c ----
void v1_serve_acquire(struct v1_request *request); // request->attrs
void v1_serve_renew(struct v1_request *request);   // request->subnet, attrs
void v1_serve_revoke(struct v1_request *request);  // request->subnet

// ---- v1_reservation.c ----
void v1_serve_reserve(struct v1_request *request); // request->subnet, attrs
void v1_serve_unreserve(struct v1_request *request);

// ---- v1_choose.c ----
// One of the first hundred subnets that overlap none of those taken, by chance. Sorts taken. -ENOSPC.
int v1_choose(const struct netconf_family *family, struct ipnet *taken, size_t count,
	      struct ipnet *ret);
