// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft token create, list and revoke.
#include "cli/controller_access.h"
#include "cli/show.h"
#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <stdio.h>
#include <time.h>

#define SHOWN_MAX (SHOW_DURATION_MAX + 16)

static const char *end_text(int64_t expires, char buf[static SHOWN_MAX])
{
	char duration[SHOW_DURATION_MAX];
	int64_t left_s = expires - (int64_t)time(NULL);

	if (expires == 0)
		return "never";
	if (left_s <= 0)
		return "over";
	(void)text_format(buf, SHOWN_MAX, "in %s", show_duration((uint64_t)left_s, duration));
	return buf;
}

enum cli_exit token_create(struct cli *cli)
{
	const struct cli_options *options = cli->options;
	// A part of a second is a second: 0 stands for no end.
	json_t *request = json_pack("{s:I,s:b}", "ttl_s", (json_int_t)((options->ttl_ms + 999) / 1000),
				    "admin", options->admin);
	_cleanup_json_ json_t *answer = NULL;
	enum cli_exit code = controller_ask(cli, "/v2/token/create", request, &answer);

	if (code != CLI_OK)
		return code;
	if (options->json)
		return cli_print_json(json_incref(answer));
	// Nothing else, so that it can go to a file.
	printf("%s\n", show_text(answer, "token"));
	return CLI_OK;
}

enum cli_exit token_list(struct cli *cli)
{
	static const char *const headings[] = { "ID", "FOR", "AGE", "ENDS", NULL };
	_cleanup_(table_freep) struct table *table = NULL;
	_cleanup_json_ json_t *answer = NULL;
	enum cli_exit code = controller_ask(cli, "/v2/token/list", json_object(), &answer);
	char end[SHOWN_MAX], age[SHOW_DURATION_MAX];
	const json_t *token;
	size_t i;

	if (code != CLI_OK)
		return code;
	if (cli->options->json)
		return cli_print_json(json_incref(answer));
	table = table_new(headings);
	json_array_foreach(show_member(answer, "tokens"), i, token) {
		int64_t age_s = (int64_t)time(NULL) - show_number(token, "created");

		table_add(table, show_text(token, "id"));
		table_add(table, show_flag(token, "admin") ? "admins" : "agents");
		table_add(table, show_duration(age_s > 0 ? (uint64_t)age_s : 0, age));
		table_add(table, end_text(show_number(token, "expires"), end));
	}
	if (table_rows(table) == 0)
		printf("no tokens but the controller's own\n");
	else
		table_print(table, 0);
	return CLI_OK;
}

enum cli_exit token_revoke(struct cli *cli)
{
	_cleanup_json_ json_t *answer = NULL;
	json_t *request = json_pack("{s:s}", "id", cli->words[0]);
	enum cli_exit code;

	if (!request)
		return cli_fail(CLI_NOT_FOUND, "there is no such token");
	code = controller_ask(cli, "/v2/token/revoke", request, &answer);
	if (code != CLI_OK)
		return code;
	if (cli->options->json)
		return cli_print_json(json_incref(answer));
	printf("%s: revoked\n", show_text(answer, "id"));
	return CLI_OK;
}
