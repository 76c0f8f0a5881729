// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft help.
#include "cli/cli.h"

#include "core/mem.h"
#include "core/text.h"

#include <stdio.h>
#include <string.h>

#define HELP_MAX (64 * 1024)
#define SUMMARY_COLUMN 36

static void print_line(const struct command *command)
{
	int used = printf("  weft %s %s", command->name, command->words);

	printf("%*s%s\n", used < SUMMARY_COLUMN ? SUMMARY_COLUMN - used : 1, "", command->summary);
}

void help_overview(void)
{
	fputs("weft: look at a container network and change it\n\n", stdout);
	for (size_t i = 0; i < command_count; i++)
		print_line(&commands[i]);
	fputs("\nNetworks and leases are in the store that --etcd-endpoints and its like name, or FLANNELD_ETCD_ENDPOINTS\n"
	      "and its like in the environment, or else the agent on this host. Tokens are a controller's, which --remote names.\n"
	      "The other commands ask that agent.\n"
	      "--json prints for programs. `weft help COMMAND` tells a command's flags.\n"
	      "\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 agent or store not reached.\n",
	      stdout);
}

static void print_command(const struct command *command)
{
	_cleanup_strbuf_ struct strbuf flags = STRBUF_INIT(HELP_MAX);
	struct cli_options options = { 0 };
	struct flag_set *set = cli_flags_new(&options, command->uses);

	flag_set_help(set, &flags);
	printf("weft %s%s%s: %s\n", command->name, *command->words ? " " : "", command->words,
	       command->summary);
	if (*command->text)
		printf("\n%s", command->text);
	fputs(strbuf_text(&flags), stdout);
	flag_set_free(set);
	cli_options_free(&options);
}

// "lease" means all that begin with "lease "; "lease list" is the one.
static bool name_begins(const char *name, const char *asked)
{
	size_t len = strlen(asked);

	return strncmp(name, asked, len) == 0 && (name[len] == '\0' || name[len] == ' ');
}

enum cli_exit help_run(struct cli *cli)
{
	_cleanup_free_ char *asked = NULL;
	const struct command *found = NULL;
	char shown[TEXT_EXCERPT_MAX];
	size_t count = 0;

	if (cli->word_count == 0) {
		help_overview();
		return CLI_OK;
	}
	asked = cli->word_count == 1 ? xstrdup(cli->words[0])
				     : xasprintf("%s %s", cli->words[0], cli->words[1]);
	for (size_t i = 0; i < command_count; i++) {
		if (!name_begins(commands[i].name, asked))
			continue;
		found = &commands[i];
		count++;
	}
	if (count == 0)
		return cli_fail(CLI_USAGE, "no such command: %s; `weft help` lists them",
				text_excerpt(asked, strlen(asked), shown));
	if (count == 1) {
		print_command(found);
		return CLI_OK;
	}
	for (size_t i = 0; i < command_count; i++)
		if (name_begins(commands[i].name, asked))
			print_line(&commands[i]);
	return CLI_OK;
}
