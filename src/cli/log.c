// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft log.
#include "cli/cli.h"

#include "cli/agent_access.h"
#include "cli/show.h"
#include "cli/table.h"
#include "core/json.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

#define LOG_PATH "/agent/v1/log"

static void print_log(const json_t *log)
{
	static const char *const headings[] = { "PART", "LEVEL", NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	const json_t *lines = show_member(log, "lines");
	const char *part, *level;
	json_t *value;

	// jansson iterates over what it cannot know to stay unchanged, hence the casts.
	json_object_foreach((json_t *)(uintptr_t)show_member(log, "levels"), part, value) {
		table_add(table, part);
		table_add(table, json_string_value(value));
	}
	table_print(table, 0);
	fputs("\nwritten since the start:", stdout);
	json_object_foreach((json_t *)(uintptr_t)lines, level, value)
		printf(" %lld %s", (long long)json_integer_value(value), level);
	printf("; %lld left out by limits, %lld lost\n", (long long)show_number(log, "left_out"),
	       (long long)show_number(log, "lost"));
}

// What goes into a URL as it is; the agent says what it does not know.
static bool is_plain(const char *word)
{
	return *word && strspn(word, "abcdefghijklmnopqrstuvwxyz=") == strlen(word);
}

enum cli_exit log_run(struct cli *cli)
{
	_cleanup_json_ json_t *log = NULL;
	struct err e = { 0 };
	int r = 0;

	for (int i = 0; i < cli->word_count; i++)
		if (!is_plain(cli->words[i]))
			return cli_fail(CLI_USAGE, "\"%s\": neither LEVEL nor PART=LEVEL",
					cli->words[i]);
	for (int i = 0; r == 0 && i < cli->word_count; i++) {
		_cleanup_free_ char *path = xasprintf(LOG_PATH "?set=%s", cli->words[i]);

		json_decref(log);
		log = NULL;
		r = agent_post(cli, path, &log, &e);
	}
	if (cli->word_count == 0)
		r = agent_get(cli, LOG_PATH, &log, &e);
	if (r < 0)
		return agent_fail(cli, r, &e);
	if (cli->options->json)
		return cli_print_json(json_incref(log));
	print_log(log);
	return CLI_OK;
}
