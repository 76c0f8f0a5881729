// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which part of weft a line of the log is from, and how much each part says.
#include "core/log_subsystem.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

const char *const log_subsystem_names[LOG_SUBSYSTEM_COUNT] = {
	[LOG_AGENT] = "agent",	   [LOG_API] = "api",
	[LOG_BACKEND] = "backend", [LOG_CONTROLLER] = "controller",
	[LOG_FABRIC] = "fabric",   [LOG_KERNEL] = "kernel",
	[LOG_MASQ] = "masq",	   [LOG_RECONCILE] = "reconcile",
	[LOG_STORE] = "store",	   [LOG_OTHER] = "other",
};
const char *const log_level_names[LOG_LEVEL_COUNT] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

// Words beside the names themselves.
static const struct {
	const char *word;
	enum log_subsystem subsystem;
} words[] = {
	{ "weftd", LOG_AGENT },	   { "network", LOG_AGENT },   { "host", LOG_AGENT },
	{ "options", LOG_AGENT },  { "state", LOG_AGENT },     { "http", LOG_API },
	{ "vxlan", LOG_BACKEND },  { "host-gw", LOG_BACKEND }, { "ipip", LOG_BACKEND },
	{ "alloc", LOG_BACKEND },  { "udp", LOG_BACKEND },     { "wireguard", LOG_BACKEND },
	{ "etcd", LOG_STORE },	   { "etcd2", LOG_STORE },     { "etcd3", LOG_STORE },
	{ "consul", LOG_STORE },   { "sqlite", LOG_STORE },    { "memory", LOG_STORE },
	{ "registry", LOG_STORE },
};

// Read from all threads, and by each line.
static atomic_int levels[LOG_SUBSYSTEM_COUNT] = { [0 ... LOG_SUBSYSTEM_COUNT - 1] = LOG_LEVEL_INFO };
static atomic_int highest = LOG_LEVEL_INFO; // of them

enum log_subsystem log_subsystem_of(const char *text)
{
	size_t len = strcspn(text, ": ");

	for (size_t i = 0; i < LOG_OTHER; i++)
		if (strlen(log_subsystem_names[i]) == len &&
		    strncmp(text, log_subsystem_names[i], len) == 0)
			return (enum log_subsystem)i;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].word) == len && strncmp(text, words[i].word, len) == 0)
			return words[i].subsystem;
	return LOG_OTHER;
}

static void find_highest(void)
{
	int level = LOG_LEVEL_ERROR;

	for (size_t i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
		level = levels[i] > level ? levels[i] : level;
	highest = level;
}

void log_set_level(enum log_subsystem subsystem, enum log_level level)
{
	levels[subsystem] = (int)level;
	find_highest();
}

void log_set_all(enum log_level level)
{
	for (size_t i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
		levels[i] = (int)level;
	find_highest();
}

enum log_level log_level_of(enum log_subsystem subsystem)
{
	return (enum log_level)levels[subsystem];
}

bool log_enabled(enum log_level level)
{
	return (int)level <= highest;
}

// ---- as words ----

static int refuse(struct err *e, const char *what, const char *text, size_t len,
		  const char *const *names, size_t count)
{
	char shown[TEXT_EXCERPT_MAX], list[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		(void)text_format(list + used, sizeof(list) - used, "%s%s", used ? ", " : "",
				  names[i]);
		used = strlen(list);
	}
	return err_set(e, -EINVAL, "no such %s: \"%s\"; there are: %s", what,
		       text_excerpt(text, len, shown), list);
}

static bool find(const char *const *names, size_t count, const char *text, size_t len, size_t *ret)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(names[i]) == len && strncmp(names[i], text, len) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}

int log_change(const char *text, struct err *e)
{
	const char *equals = strchr(text, '=');
	const char *level_text = equals ? equals + 1 : text;
	size_t subsystem = 0, level;

	if (equals && !find(log_subsystem_names, LOG_SUBSYSTEM_COUNT, text, (size_t)(equals - text),
			    &subsystem))
		return refuse(e, "part of weft", text, (size_t)(equals - text), log_subsystem_names,
			      LOG_SUBSYSTEM_COUNT);
	if (!find(log_level_names, LOG_LEVEL_COUNT, level_text, strlen(level_text), &level))
		return refuse(e, "level", level_text, strlen(level_text), log_level_names,
			      LOG_LEVEL_COUNT);
	if (equals)
		log_set_level((enum log_subsystem)subsystem, (enum log_level)level);
	else
		log_set_all((enum log_level)level);
	return 0;
}
