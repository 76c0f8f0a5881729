// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft wg rotate.
#include "cli/cli.h"

#include "cli/agent_access.h"
#include "cli/show.h"
#include "core/json.h"

#include <stdio.h>

enum cli_exit wg_rotate_run(struct cli *cli)
{
	_cleanup_json_ json_t *answer = NULL;
	struct err e = { 0 };
	int r;

	r = agent_post(cli, "/agent/v1/wireguard/rotate", &answer, &e);
	if (r < 0)
		return agent_fail(cli, r, &e);
	if (cli->options->json)
		return cli_print_json(json_incref(answer));
	printf("public key %s, was %s; peers know it since %lld ms after it was asked for\n",
	       show_text(answer, "public_key"), show_text(answer, "old_public_key"),
	       (long long)show_number(answer, "took_ms"));
	return CLI_OK;
}
