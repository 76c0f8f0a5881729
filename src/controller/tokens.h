// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tokens that are made while the cluster runs, with an end and one by one to be revoked.
//
// DOC: a token's life
//
// It is ID.SECRET. The store has, below the hidden keys, under ID the digest of SECRET, what it allows and when it ends;
// so every controller of the store knows it, and who reads the store cannot use it. One that has ended is refused from
// that second on, and its key removed when another one is made.
#pragma once

#include "controller/caller.h"
#include "core/json.h"

struct controller;
struct http_exchange;

// CALLER_UNKNOWN: the store has not been read yet.
enum caller_role tokens_role(const struct controller *controller, const char *token);

void serve_token_create(struct controller *controller, struct http_exchange *exchange,
			const json_t *request);
void serve_token_list(struct controller *controller, struct http_exchange *exchange,
		      const json_t *request);
void serve_token_revoke(struct controller *controller, struct http_exchange *exchange,
			const json_t *request);
void tokens_end(struct controller *controller); // the store is not to answer any more
