// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the files of the flag reader share: the tables of a set, and storing one value.
#pragma once

#include "core/flags.h"

struct flag_table {
	const char *title;
	const struct flag *flags;
	struct flag *renamed;	   // of a table that is there for the second time; NULL
	enum flag_source *sources; // one for each flag
	size_t count;
	char *target;
};

struct flag_set {
	struct flag_table *tables;
	size_t count;
};

// Parses text for the flag and stores it in its member, which is left alone on failure. label is
// what the message calls the flag: "--peer-hold" or "WEFT_PEER_HOLD". -EINVAL.
int flag_value_store(const struct flag *flag, char *target, const char *text, const char *label,
		     struct err *e);
void flag_value_free(const struct flag *flag, char *target); // leaves the member zero
