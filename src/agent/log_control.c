// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the log of a running weftd: what is told of it, and that what was left out is told.
#include "agent/log_control.h"

#include "core/log_subsystem.h"
#include "core/mem.h"

#define TELL_MS 10000

json_t *log_control_view(void)
{
	static const char *const formats[] = { [LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json" };
	const struct log_stats stats = log_stats();
	json_t *levels = json_object(), *lines = json_object();

	for (size_t i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
		json_object_set_new(levels, log_subsystem_names[i],
				    json_string(log_level_names[log_level_of((enum log_subsystem)i)]));
	for (size_t i = 0; i < LOG_LEVEL_COUNT; i++)
		json_object_set_new(lines, log_level_names[i],
				    json_integer((json_int_t)stats.lines[i]));
	return json_pack("{s:s, s:o, s:o, s:I, s:I}", "format", formats[log_format_of()], "levels",
			 levels, "lines", lines, "left_out", (json_int_t)stats.left_out, "lost",
			 (json_int_t)stats.lost);
}

struct log_teller {
	struct timer *timer;
};

static void on_due(void *arg)
{
	struct log_teller *teller = arg;

	log_tell_left_out();
	timer_start(teller->timer, TELL_MS);
}

struct log_teller *log_teller_new(struct loop *loop)
{
	struct log_teller *teller = xnew(struct log_teller);

	teller->timer = timer_new(loop, on_due, teller);
	timer_start(teller->timer, TELL_MS);
	return teller;
}

struct log_teller *log_teller_free(struct log_teller *teller)
{
	if (!teller)
		return NULL;
	timer_free(teller->timer);
	free(teller);
	return NULL;
}
