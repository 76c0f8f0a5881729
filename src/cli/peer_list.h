// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the agent's peers for the commands that list them: a long document, of which as many are kept as are to be shown.
#pragma once

#include "cli/cli.h"

#include <jansson.h>

struct peer_list {
	size_t max; // of each
	json_t *troubled;
	json_t *good;
};

void peer_list_begin(size_t max, struct peer_list *ret);
void peer_list_free(struct peer_list *list);
// In the order of their subnets. -errno, with e: the agent does not tell.
int peer_list_read(const struct cli *cli, struct peer_list *list, struct err *e);
// "10.1.2.0/24,fd00::/64", of one peer or whatever else has two such members; "none". Returns buf.
const char *peer_list_pair(const json_t *object, const char *v4, const char *v6, char *buf,
			   size_t size);
