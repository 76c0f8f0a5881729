// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the kernel tells of changes in nftables (nfnetlink, NFNLGRP_NFTABLES), iptables over nftables included: which table and chain.
#pragma once

#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NFT_NAME_TEXT_MAX 64 // longer names are cut: ours are short

struct nft_event {
	uint8_t family; // NFPROTO_*
	char table[NFT_NAME_TEXT_MAX];
	char chain[NFT_NAME_TEXT_MAX]; // "": none, the table itself or something else in it
};

struct nlmsg_view;
// -ENOMSG: not of a table; -EBADMSG: unreadable.
int nft_event_decode(const struct nlmsg_view *msg, struct nft_event *ret);

typedef void nft_event_fn(void *arg, const struct nft_event *event);

struct nft_monitor;
// -EPROTONOSUPPORT and the like on a kernel without nfnetlink.
int nft_monitor_open(struct nft_monitor **ret, struct err *e);
struct nft_monitor *nft_monitor_close(struct nft_monitor *monitor);
int nft_monitor_fd(const struct nft_monitor *monitor);
// Hands over what is there, without blocking, of at most about datagrams_max datagrams. -ENOBUFS: some were lost.
int nft_monitor_read(struct nft_monitor *monitor, size_t datagrams_max, nft_event_fn *fn, void *arg,
		     struct err *e);
