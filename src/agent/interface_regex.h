// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the regular expressions of --iface-regex: close to the RE2 that flannel reads, and bounded
// in time.
#pragma once

#include "core/err.h"

#include <stdbool.h>

struct interface_regex;
// -EINVAL names the pattern and the place that is wrong.
int interface_regex_new(const char *pattern, struct interface_regex **ret, struct err *e);
struct interface_regex *interface_regex_free(struct interface_regex *regex);
static inline void interface_regex_freep(struct interface_regex **regex)
{
	interface_regex_free(*regex);
}
// Anywhere in text. What would take too long counts as no match.
bool interface_regex_matches(const struct interface_regex *regex, const char *text);
