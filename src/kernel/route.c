// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking the kernel which way a packet would go.

#include "kernel/route.h"

#include "kernel/decode.h"
#include "kernel/exchange.h"

#include <assert.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

// The kernel makes every answer in a buffer of a page, whatever it puts there.
#define ANSWER_BYTES 2048
#define ANSWER_MEMORY 8704

// decode_object leaves out cached routes, and a look-up's answer is marked as one.
static int take_route(void *arg, const struct request *request, const struct nlmsg_view *answer)
{
	struct route_answer *answers = arg;
	struct route route;
	int r;

	if (answer->type != RTM_NEWROUTE)
		return -EBADMSG;
	r = decode_route(answer, &route);
	if (r < 0)
		return r;
	answers[request->tag] = (struct route_answer){
		.ifindex = route.ifindex,
		.gateway = route.gateway,
		.prefsrc = route.prefsrc,
		.type = route.type,
	};
	return 0;
}

int route_get_many(struct netlink *nl, const struct ip *destinations, size_t count,
		   struct route_answer *ret, int *ret_errors, struct err *e)
{
	_cleanup_request_queue_ struct request_queue queue = { 0 };
	const struct exchange lookup = {
		.fn = take_route,
		.arg = ret,
		.answer_bytes = ANSWER_BYTES,
		.answer_memory = ANSWER_MEMORY,
	};
	int r;

	for (size_t i = 0; i < count; i++) {
		assert(ip_is_set(&destinations[i]));
		request_queue_push(&queue,
				   encode_route_get(&destinations[i], request_queue_reserve(&queue)),
				   (uint32_t)i);
	}
	r = exchange_run(nl, &lookup, &queue, e);
	for (size_t i = 0; i < count; i++)
		ret_errors[i] = queue.requests[i].error;
	return r;
}

int route_get(struct netlink *nl, const struct ip *destination, struct route_answer *ret, struct err *e)
{
	struct route_answer answer;
	char ip[IP_STR_MAX];
	int error = 0, r;

	r = route_get_many(nl, destination, 1, &answer, &error, e);
	if (r < 0)
		return r;
	if (error < 0)
		return err_set(e, error, "no route to %s: %s", ip_str(destination, ip),
			       strerror(-error));
	*ret = answer;
	return 0;
}
