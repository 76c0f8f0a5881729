// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: cutting a controller's stream into its lines.
#include "store/remote_internal.h"

#include <errno.h>
#include <string.h>

void remote_lines_init(struct remote_lines *lines, remote_line_fn *fn, void *arg)
{
	*lines = (struct remote_lines){ .line = STRBUF_INIT(WIRE_LINE_MAX), .fn = fn, .arg = arg };
}

void remote_lines_free(struct remote_lines *lines)
{
	strbuf_free(&lines->line);
}

static int take_line(struct remote_lines *lines, const char *text, size_t len)
{
	_cleanup_json_ json_t *line = NULL;

	if (json_read(text, len, WIRE_LINE_MAX, &line, NULL) < 0 || !json_is_object(line))
		return -EPROTO;
	return lines->fn(lines->arg, line);
}

int remote_lines_feed(struct remote_lines *lines, const char *data, size_t len)
{
	const char *end;
	int r = 0;

	while (r == 0 && (end = memchr(data, '\n', len))) {
		size_t step = (size_t)(end - data);

		if (lines->line.len == 0) {
			r = take_line(lines, data, step);
		} else {
			r = strbuf_add(&lines->line, data, step) < 0
				    ? -EPROTO
				    : take_line(lines, strbuf_text(&lines->line), lines->line.len);
			strbuf_reset(&lines->line);
		}
		data += step + 1;
		len -= step + 1;
	}
	if (r == 0 && len > 0 && strbuf_add(&lines->line, data, len) < 0)
		r = -EPROTO;
	return r;
}
