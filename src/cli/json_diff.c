// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling people how two JSON objects differ.
#include "cli/json_diff.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <string.h>

#define DEPTH_MAX 8 // deeper, members are compared whole

struct diff {
	struct strbuf *out;
	unsigned int depth;
	const char *path[DEPTH_MAX + 1];
};

static void add_line(struct diff *diff, char mark, const char *name, const json_t *old_value,
		     const json_t *value)
{
	_cleanup_free_ char *old_text = old_value ? json_text(old_value) : NULL;
	_cleanup_free_ char *text = value ? json_text(value) : NULL;
	struct strbuf line = STRBUF_INIT(diff->out->max);

	(void)strbuf_printf(&line, "%c ", mark);
	for (unsigned int i = 0; i < diff->depth; i++)
		(void)strbuf_printf(&line, "%s.", diff->path[i]);
	(void)strbuf_puts(&line, name);
	if (old_text && text)
		(void)strbuf_printf(&line, ": %s -> %s", old_text, text);
	else
		(void)strbuf_printf(&line, ": %s", old_text ? old_text : text ? text : "");
	if (line.data)
		text_sanitize(line.data);
	(void)strbuf_printf(diff->out, "%s\n", strbuf_text(&line));
	strbuf_free(&line);
}

static void compare(struct diff *diff, const json_t *before, const json_t *after)
{
	const char *name;
	json_t *value;

	// jansson iterates over what it cannot know to stay unchanged, hence the casts.
	json_object_foreach((json_t *)(uintptr_t)after, name, value) {
		const json_t *old_value = json_object_get(before, name);

		if (json_equal(old_value, value))
			continue;
		if (json_is_object(value) && (!old_value || json_is_object(old_value)) &&
		    diff->depth < DEPTH_MAX && (json_object_size(value) > 0 || old_value)) {
			diff->path[diff->depth++] = name;
			compare(diff, old_value, value);
			diff->depth--;
			continue;
		}
		add_line(diff, old_value ? ' ' : '+', name, old_value, value);
	}
	json_object_foreach((json_t *)(uintptr_t)before, name, value)
		if (!json_object_get(after, name))
			add_line(diff, '-', name, value, NULL);
}

void json_diff(const json_t *before, const json_t *after, struct strbuf *out)
{
	struct diff diff = { .out = out };

	compare(&diff, before, after);
}
