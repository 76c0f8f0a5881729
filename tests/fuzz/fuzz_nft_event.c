// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what the kernel tells of nftables: one datagram of nfnetlink messages. The corpus is of a little-endian kernel.
#include "fuzz.h"

#include "kernel/nft_monitor.h"
#include "kernel/nlmsg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct nlmsg_view msg;
	struct nft_event event;
	size_t offset = 0;

	while (nlmsg_next(data, size, &offset, &msg) > 0) {
		if (nft_event_decode(&msg, &event) < 0)
			continue;
		must(memchr(event.table, '\0', sizeof(event.table)));
		must(memchr(event.chain, '\0', sizeof(event.chain)));
	}
	return 0;
}
