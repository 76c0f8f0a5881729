// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing weftd's command line and environment. Each line of the input is a word, or after a line "---" a variable.
#include "fuzz.h"

#include "agent/options.h"
#include "core/mem.h"

#include <errno.h>

#define WORDS_MAX 64

struct lines {
	char *words[WORDS_MAX + 2];
	int word_count;
	char *variables[WORDS_MAX + 1];
	int variable_count;
};

static void split(char *text, struct lines *ret)
{
	bool variables = false;
	char *next;

	ret->words[ret->word_count++] = (char *)"weftd";
	for (char *line = text; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strcmp(line, "---") == 0)
			variables = true;
		else if (variables && ret->variable_count < WORDS_MAX)
			ret->variables[ret->variable_count++] = line;
		else if (!variables && ret->word_count < WORDS_MAX)
			ret->words[ret->word_count++] = line;
	}
}

static void check_accepted(const struct options *options)
{
	must(options->renew_margin_minutes >= 1 && options->renew_margin_minutes <= 1439);
	must(options->healthz_port >= 0 && options->healthz_port <= 65535);
	must(options->run_dir[0] != '\0' && options->state_dir[0] != '\0');
	must(options->log_level >= 0 && options->log_level < LOG_LEVEL_COUNT);
	if (options->action != OPTIONS_RUN)
		return;
	must(options->store.endpoints && options->store.endpoints[0]);
	for (size_t i = 0; options->store.endpoints[i]; i++)
		must(strncmp(options->store.endpoints[i], "http", 4) == 0);
	must(options->store_flags.prefix[0] != '\0');
	must(!options->kube_subnet_mgr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	struct options options = { 0 };
	struct lines lines = { 0 };
	struct err e = { 0 };
	int r;

	split(text, &lines);
	r = options_parse(lines.word_count, lines.words, lines.variables, &options, &e);
	must(r == 0 || r == -EINVAL);
	if (r < 0)
		must(e.code == r && e.msg[0] != '\0' && !strchr(e.msg, '\n'));
	else
		check_accepted(&options);
	options_free(&options);
	return 0;
}
