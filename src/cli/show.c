// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how single values look to people.
#include "cli/show.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *show_duration(uint64_t seconds, char buf[static SHOW_DURATION_MAX])
{
	unsigned long long s = seconds;

	if (s < 60)
		(void)text_format(buf, SHOW_DURATION_MAX, "%llus", s);
	else if (s < 3600)
		(void)text_format(buf, SHOW_DURATION_MAX, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		(void)text_format(buf, SHOW_DURATION_MAX, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		(void)text_format(buf, SHOW_DURATION_MAX, "%llud%02lluh", s / 86400, s / 3600 % 24);
	return buf;
}

bool show_has_colour(void)
{
	const char *off = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(off && *off);
}

void show_alarm(const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);

	text_sanitize(copy);
	if (show_has_colour())
		printf("\033[1;31m%s\033[0m", copy);
	else
		fputs(copy, stdout);
}

const json_t *show_member(const json_t *object, const char *name)
{
	return json_object_get(object, name);
}

const char *show_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

int64_t show_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

bool show_flag(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}
