// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how we read JSON from outside: bounded, with Go's decoding rules. Values are jansson's json_t,
// which only core, store, agent, cli and backend .c files may look into.
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "core/ipnet.h"
#include "core/mem.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_TEXT_MAX (1024 * 1024)

#define _cleanup_json_ _cleanup_(json_decrefp)

// Parses one whole document of at most max bytes; no embedded NUL, nesting bounded, duplicates: last wins and stands last,
// trailing bytes refused. New reference. -EINVAL, -E2BIG.
int json_read(const char *text, size_t len, size_t max, json_t **ret, struct err *e);

// Compact, members in insertion order, non-ASCII kept. Caller frees. Never NULL.
char *json_text(const json_t *value);

// Does a member of this name match what is asked for (ASCII), as Go's decoder has it: whatever the case?
bool json_name_matches(const char *key, const char *name);
// Member by name, as Go's decoder finds it: of all that match the last, an exact match or not. NULL if absent.
json_t *json_member(const json_t *object, const char *name);

// Typed members. Absent (and, but for addresses and CIDRs, null) leaves *ret as it is and returns 0; a wrong type or
// value is -EINVAL with a message that names the member and shows the value.
int json_get_bool(const json_t *object, const char *name, bool *ret, struct err *e);
int json_get_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
		 struct err *e);
int json_get_string(const json_t *object, const char *name, const char **ret, struct err *e); // borrowed
int json_get_ip(const json_t *object, const char *name, struct ip *ret, struct err *e);
int json_get_ipnet(const json_t *object, const char *name, struct ipnet *ret, struct err *e);
