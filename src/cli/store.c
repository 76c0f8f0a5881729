// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft store backup, restore and check.
#include "cli/cli.h"

#include "store/sqlite_backup.h"

#include <inttypes.h>
#include <stdio.h>

// verb: "ok", "copied to", ...; file NULL: none.
static enum cli_exit report(const struct cli *cli, const char *verb, const char *file,
			    const struct sqlite_summary *summary)
{
	const char *database = cli->options->database;

	if (cli->options->json)
		return cli_print_json(json_pack("{s:s, s:s?, s:I, s:I, s:I}", "database", database,
						"file", file, "revision", (json_int_t)summary->revision,
						"keys", (json_int_t)summary->keys, "sessions",
						(json_int_t)summary->sessions));
	printf("%s: %s%s%s, revision %" PRId64 ", %" PRId64 " keys, %" PRId64 " sessions\n",
	       database, verb, file ? " " : "", file ? file : "", summary->revision, summary->keys,
	       summary->sessions);
	return CLI_OK;
}

enum cli_exit store_backup(struct cli *cli)
{
	struct sqlite_summary summary;
	struct err e = { 0 };
	int r = sqlite_backup(cli->options->database, cli->words[0], &summary, &e);

	return r < 0 ? cli_fail_err(r, &e) : report(cli, "copied to", cli->words[0], &summary);
}

enum cli_exit store_restore(struct cli *cli)
{
	struct sqlite_summary summary;
	struct err e = { 0 };
	int r = sqlite_restore(cli->options->database, cli->words[0], &summary, &e);

	return r < 0 ? cli_fail_err(r, &e) : report(cli, "restored from", cli->words[0], &summary);
}

enum cli_exit store_check(struct cli *cli)
{
	struct sqlite_summary summary;
	struct err e = { 0 };
	int r = sqlite_check(cli->options->database, &summary, &e);

	return r < 0 ? cli_fail_err(r, &e) : report(cli, "ok", NULL, &summary);
}
