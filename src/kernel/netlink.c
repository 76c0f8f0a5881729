// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the rtnetlink sockets of one network namespace and what its kernel is able to do.

#include "kernel/netlink.h"

#include "core/mem.h"
#include "kernel/exchange.h"

#include <errno.h>

// The kernel doubles these. Receive: the acknowledgements of one full send, about 4,000 of 1 KiB as the kernel counts.
#define REQUEST_RECEIVE_BYTES ((size_t)4 * 1024 * 1024)
#define REQUEST_SEND_BYTES ((size_t)256 * 1024)

// An id that nobody gives to a nexthop; asking for it tells whether the kernel has nexthop objects.
#define PROBE_NEXTHOP_ID 0x7fffffff

const char *const netlink_feature_names[NETLINK_FEATURE_COUNT] = {
	[NETLINK_FEATURE_STRICT] = "strict",
	[NETLINK_FEATURE_NEXTHOP] = "nexthop",
};

static int open_socket(struct netlink *nl, struct nlsock *sock, struct err *e)
{
	struct nlsock_options options = {
		.port_id = sock->port_id,
		.receive_bytes = sock == &nl->requests ? REQUEST_RECEIVE_BYTES : 0,
		.send_bytes = sock == &nl->requests ? REQUEST_SEND_BYTES : 0,
		.strict = nl->has[NETLINK_FEATURE_STRICT],
	};

	nlsock_close(sock); // first, so that its port id is free
	return nlsock_open(sock, &options, e);
}

int netlink_reopen_requests(struct netlink *nl, struct err *e)
{
	return open_socket(nl, &nl->requests, e);
}

int netlink_reopen_dumps(struct netlink *nl, struct nlsock *sock, struct err *e)
{
	return open_socket(nl, sock, e);
}

static int ignore_answer(void *arg, const struct request *request, const struct nlmsg_view *answer)
{
	(void)arg, (void)request, (void)answer;
	return 0;
}

// A kernel with nexthop objects answers -ENOENT (or with the object), one without them -EOPNOTSUPP.
static int probe_nexthop(struct netlink *nl, struct err *e)
{
	static const struct exchange lookup = { .fn = ignore_answer,
						.answer_bytes = 4096,
						.answer_memory = 8704 };
	_cleanup_request_queue_ struct request_queue queue = { 0 };
	int r;

	request_queue_push(&queue,
			   encode_nexthop_get(PROBE_NEXTHOP_ID, request_queue_reserve(&queue)), 0);
	r = exchange_run(nl, &lookup, &queue, e);
	if (r < 0)
		return r;
	nl->has[NETLINK_FEATURE_NEXTHOP] = queue.requests[0].error == 0 ||
					   queue.requests[0].error == -ENOENT;
	return 0;
}

int netlink_open(unsigned int without, struct netlink **ret, struct err *e)
{
	_cleanup_(netlink_closep) struct netlink *nl = xnew(struct netlink);
	int r;

	nl->has[NETLINK_FEATURE_STRICT] = !(without & (1u << NETLINK_FEATURE_STRICT));
	if ((r = netlink_reopen_requests(nl, e)) < 0 ||
	    (r = netlink_reopen_dumps(nl, &nl->dumps, e)) < 0)
		return r;
	nl->has[NETLINK_FEATURE_STRICT] = nl->dumps.strict;
	if (!(without & (1u << NETLINK_FEATURE_NEXTHOP))) {
		r = probe_nexthop(nl, e);
		if (r < 0)
			return r;
	}
	nl->stats = (struct netlink_stats){ 0 };
	*ret = TAKE_PTR(nl);
	return 0;
}

struct netlink *netlink_close(struct netlink *nl)
{
	if (!nl)
		return NULL;
	nlsock_close(&nl->requests);
	nlsock_close(&nl->dumps);
	echo_list_free(&nl->echoes);
	free(nl);
	return NULL;
}

bool netlink_has(const struct netlink *nl, enum netlink_feature feature)
{
	return nl->has[feature];
}

uint32_t netlink_port_id(const struct netlink *nl)
{
	return nl->requests.port_id;
}

const struct netlink_stats *netlink_stats(const struct netlink *nl)
{
	return &nl->stats;
}
