// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sending many requests in few sends and matching what comes back by sequence number; and what the files of
// kernel/ know of struct netlink. Private to kernel/.
#pragma once

#include "kernel/echo.h"
#include "kernel/encode.h"
#include "kernel/netlink.h"
#include "kernel/nlmsg.h"
#include "kernel/socket.h"

struct netlink {
	struct nlsock requests;
	struct nlsock dumps;
	bool has[NETLINK_FEATURE_COUNT];
	uint32_t sequence; // the last one used, of both sockets
	struct netlink_stats stats;
	struct netlink_dump *dump; // the running one
	struct echo_list echoes;
};

// Open anew what a lost answer or a dump left in the middle made useless. The request socket tries to keep its port id.
int netlink_reopen_requests(struct netlink *nl, struct err *e);
int netlink_reopen_dumps(struct netlink *nl, struct nlsock *sock, struct err *e); // sock: of dumps

struct request {
	uint32_t offset; // of its message in the queue's data
	uint32_t len;
	uint32_t tag;
	int error;  // once answered: 0 or negative errno
	char *text; // the kernel's words, NULL if none
	bool answered;
};

struct request_queue {
	uint8_t *data;
	size_t len;
	size_t capacity;
	struct request *requests;
	size_t count;
	size_t requests_capacity;
};

void request_queue_free(struct request_queue *queue); // leaves it zero
#define _cleanup_request_queue_ _cleanup_(request_queue_free)
// ENCODE_REQUEST_MAX bytes to encode the next request into; request_queue_push then says how long it became.
void *request_queue_reserve(struct request_queue *queue);
void request_queue_push(struct request_queue *queue, size_t len, uint32_t tag);

// An answer that is no acknowledgement; the return value becomes the request's result.
typedef int exchange_answer_fn(void *arg, const struct request *request,
			       const struct nlmsg_view *answer);

struct exchange {
	exchange_answer_fn *fn; // NULL: requests are acknowledged, not answered
	void *arg;
	size_t answer_bytes;  // longest answer
	size_t answer_memory; // what the kernel charges the receive buffer for one answer
	bool uncounted; // it reads what is told beside netlink_stats, and so must not change these
};

extern const struct exchange exchange_acks;

/*
 * DOC: how a result finds its request
 *
 * Requests go out many to a send. rtnetlink works through them in order inside sendmsg and answers on the same socket, so
 * when sendmsg returns every answer is there. A look-up is always answered. Of changes only the last one of a send asks
 * for an acknowledgement: a change that fails is answered in any case, so the acknowledgement of the last says that all
 * those before it which were not answered went well. That is a third less time than an acknowledgement of each.
 *
 * It holds as long as no answer was lost. The kernel says that one was (ENOBUFS) when it could not store it; the work was
 * done all the same. Then all that have no answer are sent once more, one by one, each with an acknowledgement, and
 * otherwise unchanged. A replace is idempotent; a repeated create may thus say -EEXIST of what its first sending made, and
 * a repeated delete -ESRCH or -ENOENT. Neither is turned into success, since only a scan can tell whose object that is.
 * Sends are bounded so that, by the kernel's own count of memory, an answer to every request fits: this is a rare way.
 */

// Sends all of the queue and settles every request. 0, or the error of the socket: requests that it left unanswered then
// have -EIO, and the socket is a fresh one.
int exchange_run(struct netlink *nl, const struct exchange *exchange, struct request_queue *queue,
		 struct err *e);

// One request with an acknowledgement. 0 when it was answered, whatever the answer in *ret; else the socket's error.
int exchange_one(struct netlink *nl, const void *message, size_t len, struct nlmsg_ack *ret,
		 struct err *e);

// What a kernel's refusal to make a device of this kind says to an operator; returns its code. In link.c.
int link_create_refused(struct err *e, const char *kind, const char *name, const struct nlmsg_ack *ack);
