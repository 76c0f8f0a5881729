// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a network device has carried.
#include "kernel/link_stats.h"

#include "kernel/exchange.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

static int take_stats(void *arg, const struct request *request, const struct nlmsg_view *answer)
{
	struct nlattr_view table[IFLA_STATS64 + 1];
	struct rtnl_link_stats64 stats = { 0 };
	size_t head = sizeof(struct ifinfomsg);
	const struct nlattr_view *found = &table[IFLA_STATS64];
	struct link_stats *ret = arg;
	int r;

	(void)request;
	if (answer->type != RTM_NEWLINK || answer->len < head)
		return -EBADMSG;
	r = nlattr_index(answer->data + head, answer->len - head, table, IFLA_STATS64 + 1);
	if (r < 0)
		return r;
	// Newer kernels tell more behind what we know.
	if (!found->data || found->len < offsetof(struct rtnl_link_stats64, multicast))
		return -EBADMSG;
	memcpy(&stats, found->data, found->len < sizeof(stats) ? found->len : sizeof(stats));
	*ret = (struct link_stats){
		.receive_packets = stats.rx_packets,
		.receive_bytes = stats.rx_bytes,
		.receive_errors = stats.rx_errors,
		.receive_dropped = stats.rx_dropped,
		.transmit_packets = stats.tx_packets,
		.transmit_bytes = stats.tx_bytes,
		.transmit_errors = stats.tx_errors,
		.transmit_dropped = stats.tx_dropped,
	};
	return 0;
}

int link_stats_get(struct netlink *nl, const char *name, struct link_stats *ret, struct err *e)
{
	_cleanup_request_queue_ struct request_queue queue = { 0 };
	struct link_stats stats;
	const struct exchange lookup = {
		.fn = take_stats,
		.arg = &stats,
		.answer_bytes = (size_t)64 * 1024,
		.answer_memory = (size_t)64 * 1024,
		.uncounted = true,
	};
	int r;

	if (name[0] == '\0' || strlen(name) >= IFNAMSIZ)
		return err_set(e, -ENODEV, "no network device %s: not a device name", name);
	request_queue_push(&queue, encode_link_stats_get(name, request_queue_reserve(&queue)), 0);
	r = exchange_run(nl, &lookup, &queue, e);
	if (r < 0)
		return r;
	r = queue.requests[0].error;
	if (r < 0)
		return err_set(e, r, "network device %s: %s", name, strerror(-r));
	*ret = stats;
	return 0;
}
