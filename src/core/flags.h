// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: command lines and environment variables with the syntax of Go's flag package, read by tables.
//
// DOC: one table entry is one flag
//
// A flag_set is a list of tables, each with the struct that its values go to. Adding a table stores
// the defaults, which are text in the table and pass the same parser as the user's values, so that
// help and behaviour cannot differ. Then flag_set_arguments and after it flag_set_environment,
// which fills only what was not given. "-x" and "--x" are equal; a value follows "=" or is the next
// word; a boolean takes one only after "="; "--" ends the flags, the first other word too.
#pragma once

#include "core/err.h"
#include "core/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flag_kind {       // member of the target struct
	FLAG_BOOL,     // bool
	FLAG_INT,      // int64_t, Go's integer syntax, min..max
	FLAG_DURATION, // uint64_t, milliseconds, Go's duration syntax, min..max unless both are 0
	FLAG_STRING,   // char *, never NULL
	FLAG_IP,       // struct ip; empty text: none
	FLAG_REPEATED, // struct flag_list; each mention adds one
	FLAG_COMMA_LIST, // struct flag_list; each mention replaces all; spaces around an element are cut
	FLAG_CHOICE, // int, index into choices
	FLAG_MASK,   // unsigned int; a comma list of choices, bit = index
	FLAG_KIND_COUNT
};

// Owned strings, `items` ends with NULL. Never NULL once a table was added.
struct flag_list {
	char **items;
	size_t count;
};
void flag_list_free(struct flag_list *list); // leaves it zero

enum flag_property {
	FLAG_SECRET = 1 << 0, // neither messages nor help show its value
	FLAG_HIDDEN = 1 << 1, // not in help
};

struct flag {
	const char *name;
	enum flag_kind kind;
	size_t offset;		// offsetof(struct options, member)
	const char *standard;	// the default as text; NULL: "" or false
	const char *value_name; // what help calls the value; NULL for booleans
	const char *help;	// one or more sentences
	int64_t min, max;
	const char *const *choices; // NULL-terminated
	unsigned int properties;
};

enum flag_source { FLAG_FROM_DEFAULT, FLAG_FROM_ENVIRONMENT, FLAG_FROM_ARGUMENT };

struct flag_set;
struct flag_set *flag_set_new(void);
struct flag_set *flag_set_free(struct flag_set *set); // not the targets: who owns them frees what flag_target_free says
static inline void flag_set_freep(struct flag_set **set)
{
	flag_set_free(*set);
}
// Borrows title, flags and target, and stores the defaults in target, whose members must be zero. A
// table with a title is one part of help.
void flag_set_add(struct flag_set *set, const char *title, const struct flag *flags, size_t count,
		  void *target);
// The same table once more for a second target, its names behind prefix ("to-"). Borrows flags, title and target. Help says
// of each flag which one it is like.
void flag_set_add_again(struct flag_set *set, const char *title, const char *prefix,
			const struct flag *flags, size_t count, void *target);
// A FLAG_STRING for those who take NULL in place of an empty one.
static inline const char *flag_or_null(const char *value)
{
	return value[0] != '\0' ? value : NULL;
}
// Frees the strings and lists that the table's members own and zeroes these.
void flag_target_free(const struct flag *flags, size_t count, void *target);

#define FLAG_ASKED_HELP 1
// Reads arguments[0..count) (without the program's name). 0; FLAG_ASKED_HELP at the first -h, -help
// or --help; -EINVAL naming the flag. *ret_used: how many were flags; what follows are words for
// the caller, a "--" before them is counted.
int flag_set_arguments(struct flag_set *set, int count, char *const *arguments, int *ret_used,
		       struct err *e);

struct flag_prefix {
	const char *prefix; // "FLANNELD_"
	bool strict; // a variable that names no flag is an error, not only one that nearly names one
};
// For every flag that is still at its default the first prefix whose variable (prefix + NAME, "-"
// as "_") is set and not empty. prefixes ends with a NULL prefix. -EINVAL naming the variable.
int flag_set_environment(struct flag_set *set, char *const *environment,
			 const struct flag_prefix *prefixes, struct err *e);

// One value from elsewhere, e.g. what the running agent uses. -EINVAL; -ENOENT: no such flag.
int flag_set_assign(struct flag_set *set, const char *name, const char *value,
		    enum flag_source source, struct err *e);
enum flag_source flag_set_source(const struct flag_set *set, const char *name); // name must exist
// All parts: flags, what they mean, defaults; wrapped at 100 columns.
void flag_set_help(const struct flag_set *set, struct strbuf *out);
