// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft watch.
#include "cli/cli.h"

#include "cli/agent_access.h"
#include "cli/show.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_MAX_BYTES (256 * 1024)
#define SILENCE_MAX_MS 25000 // the agent's heartbeat comes every 10 s

struct watching {
	bool is_json;
	struct strbuf line;
	struct err *e;
};

// Members after "time" and "event", as "name value" pairs; what has a place of its own is left out by the caller.
static void add_members(struct strbuf *out, const json_t *event)
{
	const char *name;
	json_t *value;

	// jansson iterates over what it cannot know to stay unchanged, hence the cast.
	json_object_foreach((json_t *)(uintptr_t)event, name, value) {
		_cleanup_free_ char *text = NULL;

		if (strcmp(name, "time") == 0 || strcmp(name, "event") == 0 ||
		    json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0))
			continue;
		text = json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
		(void)strbuf_printf(out, " %s=%s", name, text);
	}
}

static void print_event(const json_t *event)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(LINE_MAX_BYTES);
	const char *time = show_text(event, "time");
	const char *clock = strchr(time, 'T');

	if (strcmp(show_text(event, "event"), "heartbeat") == 0)
		return;
	(void)strbuf_printf(&text, "%s  %-14s", clock ? clock + 1 : time, show_text(event, "event"));
	add_members(&text, event);
	if (!text.data)
		return;
	text_sanitize(text.data);
	puts(text.data);
}

static int take_line(struct watching *watching, const char *line, size_t len)
{
	_cleanup_json_ json_t *event = NULL;
	int r;

	if (len == 0)
		return 0;
	r = json_read(line, len, LINE_MAX_BYTES, &event, watching->e);
	if (r < 0)
		return err_wrap(watching->e, "an event of the agent");
	if (watching->is_json) {
		fwrite(line, 1, len, stdout);
		putchar('\n');
	} else {
		print_event(event);
	}
	// Whoever reads wants it now; and a reader that is gone ends us.
	return fflush(stdout) == 0 ? 0 : -EPIPE;
}

static int on_bytes(void *arg, const char *data, size_t len)
{
	struct watching *watching = arg;
	const char *end;
	int r;

	if (strbuf_add(&watching->line, data, len) < 0)
		return err_set(watching->e, -EMSGSIZE, "an event of the agent is too long");
	while (watching->line.len > 0 &&
	       (end = memchr(watching->line.data, '\n', watching->line.len))) {
		size_t used = (size_t)(end - watching->line.data);

		r = take_line(watching, watching->line.data, used);
		if (r < 0)
			return r;
		strbuf_consume(&watching->line, used + 1);
	}
	return 0;
}

enum cli_exit watch_run(struct cli *cli)
{
	struct err e = { 0 };
	struct watching watching = {
		.is_json = cli->options->json,
		.line = STRBUF_INIT(LINE_MAX_BYTES),
		.e = &e,
	};
	int r;

	r = agent_stream(cli, "/agent/v1/watch", SILENCE_MAX_MS, on_bytes, &watching, &e);
	strbuf_free(&watching.line);
	if (ferror(stdout))
		return CLI_FAILED;
	if (r == 0 || r == -EPIPE)
		return cli_fail(CLI_UNREACHABLE,
				"the agent ended the stream; it was stopped, or this reader was too slow");
	return agent_fail(cli, r, &e);
}
