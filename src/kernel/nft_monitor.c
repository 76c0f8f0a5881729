// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the kernel tells of changes in nftables.
#include "kernel/nft_monitor.h"

#include "core/mem.h"
#include "kernel/nlmsg.h"
#include "kernel/socket.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#define RECEIVE_BYTES ((size_t)4 * 1024 * 1024)
#define RING_SLOTS 16
#define RING_SLOT_BYTES ((size_t)16 * 1024) // the kernel gathers up to NLMSG_GOODSIZE, a page
#define ATTRIBUTES 8			    // those that tell the names are among the first

struct nft_monitor {
	struct nlsock sock;
	struct nlsock_ring *ring;
};

// The attribute with the name of the chain; 0: there is none. That of the table is the first in all of them.
static int chain_attribute(uint16_t type)
{
	switch (type) {
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
		return NFTA_RULE_CHAIN;
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
		return NFTA_CHAIN_NAME;
	default:
		return 0;
	}
}

static bool is_of_table(uint16_t type)
{
	switch (type) {
	case NFT_MSG_NEWTABLE:
	case NFT_MSG_DELTABLE:
	case NFT_MSG_NEWCHAIN:
	case NFT_MSG_DELCHAIN:
	case NFT_MSG_NEWRULE:
	case NFT_MSG_DELRULE:
	case NFT_MSG_NEWSET:
	case NFT_MSG_DELSET:
		return true;
	default:
		return false;
	}
}

int nft_event_decode(const struct nlmsg_view *msg, struct nft_event *ret)
{
	struct nlattr_view table[ATTRIBUTES];
	struct nft_event event = { 0 };
	uint16_t type = NFNL_MSG_TYPE(msg->type);
	int chain = chain_attribute(type);

	if (NFNL_SUBSYS_ID(msg->type) != NFNL_SUBSYS_NFTABLES || !is_of_table(type))
		return -ENOMSG;
	if (msg->len < sizeof(struct nfgenmsg))
		return -EBADMSG;
	event.family = msg->data[0];
	if (nlattr_index(msg->data + sizeof(struct nfgenmsg), msg->len - sizeof(struct nfgenmsg),
			 table, ATTRIBUTES) < 0)
		return -EBADMSG;
	(void)nlattr_string(&table[NFTA_TABLE_NAME], event.table, sizeof(event.table));
	if (chain)
		(void)nlattr_string(&table[chain], event.chain, sizeof(event.chain));
	*ret = event;
	return 0;
}

int nft_monitor_open(struct nft_monitor **ret, struct err *e)
{
	struct nlsock_options options = { .protocol = NETLINK_NETFILTER,
					  .receive_bytes = RECEIVE_BYTES };
	struct nft_monitor *monitor = xnew(struct nft_monitor);
	int r;

	r = nlsock_open(&monitor->sock, &options, e);
	if (r == 0) {
		r = nlsock_join(&monitor->sock, NFNLGRP_NFTABLES);
		if (r < 0)
			err_set(e, r, "subscribing to nftables' notifications: %s", strerror(-r));
	}
	if (r < 0) {
		nft_monitor_close(monitor);
		return r;
	}
	monitor->ring = nlsock_ring_new(RING_SLOTS, RING_SLOT_BYTES);
	*ret = monitor;
	return 0;
}

struct nft_monitor *nft_monitor_close(struct nft_monitor *monitor)
{
	if (!monitor)
		return NULL;
	nlsock_close(&monitor->sock);
	nlsock_ring_free(monitor->ring);
	free(monitor);
	return NULL;
}

int nft_monitor_fd(const struct nft_monitor *monitor)
{
	return monitor->sock.fd;
}

struct reading {
	nft_event_fn *fn;
	void *arg;
};

static int take_datagram(void *arg, const void *data, size_t len)
{
	const struct reading *reading = arg;
	struct nlmsg_view msg;
	struct nft_event event;
	size_t offset = 0;
	int r, result = 0;

	while ((r = nlmsg_next(data, len, &offset, &msg)) > 0) {
		r = nft_event_decode(&msg, &event);
		if (r == 0)
			reading->fn(reading->arg, &event);
		else if (r != -ENOMSG)
			result = r;
	}
	return r < 0 ? r : result;
}

int nft_monitor_read(struct nft_monitor *monitor, size_t datagrams_max, nft_event_fn *fn, void *arg,
		     struct err *e)
{
	struct reading reading = { fn, arg };
	bool lost;
	int r = nlsock_drain(&monitor->sock, monitor->ring, datagrams_max, take_datagram, &reading,
			     &lost);

	if (r < 0)
		return err_set(e, r, "reading nftables' notifications: %s", strerror(-r));
	return lost ? err_set(e, -ENOBUFS, "nftables' notifications were lost") : 0;
}
