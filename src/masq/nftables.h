// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking and telling nftables, through libnftables. It waits for the kernel, so it runs on threads of io/work; one at a time, which is
// the caller's affair. Only our own tables and the chains (without their rules) are read: with 20,000 rules of others a look takes as long as without.
#pragma once

#include "masq/nft_json.h"

struct nft_look {
	int error; // the kernel has no nftables, or we may not: e tells
	struct err e;
	struct nft_chains chains;
	struct nft_table tables[MASQ_FAMILY_COUNT];
};

struct nft_job {
	char *commands; // what to apply; NULL: look
	int error;	// of applying
	struct err e;
	struct nft_look look;
};

// Takes commands (JSON) over.
struct nft_job *nft_job_new(char *commands);
void nft_job_run(struct nft_job *job); // blocks
struct nft_job *nft_job_free(struct nft_job *job);
