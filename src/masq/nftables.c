// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking and telling nftables, through libnftables.
#include "masq/nftables.h"

#include "core/json.h"
#include "core/mem.h"

#include <errno.h>
#include <nftables/libnftables.h>
#include <string.h>

struct nft_job *nft_job_new(char *commands)
{
	struct nft_job *job = xnew(struct nft_job);
	job->commands = commands;
	return job;
}

struct nft_job *nft_job_free(struct nft_job *job)
{
	if (!job)
		return NULL;
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		nft_table_free(&job->look.tables[i]);
	free(job->commands);
	free(job);
	return NULL;
}

// libnftables says what went wrong in words, of which the first line tells; it has no codes.
static int run(struct nft_ctx *ctx, const char *commands, struct err *e)
{
	if (nft_run_cmd_from_buffer(ctx, commands) == 0)
		return 0;
	const char *text = nft_ctx_get_error_buffer(ctx);
	int len = text ? (int)strcspn(text, "\n") : 0;
	bool is_denied = text && strstr(text, "Operation not permitted");
	return err_set(e, is_denied ? -EPERM : -EIO, "nftables: %.*s", len > 0 ? len : 13,
		       len > 0 ? text : "it only failed");
}

static void look(struct nft_ctx *ctx, struct nft_look *ret)
{
	ret->error = run(ctx, "list chains", &ret->e);
	const char *text = ret->error < 0 ? "" : nft_ctx_get_output_buffer(ctx);
	if (ret->error == 0)
		ret->error = nft_chains_read(text, strlen(text), &ret->chains, &ret->e);
	for (int i = 0; i < MASQ_FAMILY_COUNT && ret->error == 0; i++) {
		_cleanup_free_ char *list =
			xasprintf("list table %s %s", masq_nft_families[i], masq_nft_tables[i]);
		struct err e = { 0 };
		if (run(ctx, list, &e) < 0) {
			// A table without chains is not seen among them, and without a table there is an error only in words.
			ret->error = ret->chains.has_table[i] ? e.code : 0;
			ret->e = e;
			continue;
		}
		text = nft_ctx_get_output_buffer(ctx);
		ret->error = nft_table_read(text, strlen(text), i, &ret->tables[i], &ret->e);
	}
}

// libnftables ends the whole program where it gets no socket, so the caller must have opened one of this kind before.
void nft_job_run(struct nft_job *job)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!ctx) {
		job->error = job->look.error =
			err_set(&job->look.e, -EIO, "libnftables cannot be used");
		job->e = job->look.e;
		return;
	}
	nft_ctx_buffer_output(ctx);
	nft_ctx_buffer_error(ctx);
	nft_ctx_output_set_flags(ctx, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_STATELESS |
					      NFT_CTX_OUTPUT_NUMERIC_PRIO |
					      NFT_CTX_OUTPUT_NUMERIC_PROTO);
	if (job->commands)
		job->error = run(ctx, job->commands, &job->e);
	else
		look(ctx, &job->look);
	nft_ctx_free(ctx);
}
