// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sets of flags: finding a flag by its name, the command line and the environment.
#include "core/flags.h"

#include "core/flags_internal.h"
#include "core/mem.h"
#include "core/text.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#define NAME_MAX_BYTES 64 // longest name that suggestions are looked for
#define LABEL_MAX (NAME_MAX_BYTES + 16)

struct flag_set *flag_set_new(void)
{
	return xnew(struct flag_set);
}

static void renamed_free(struct flag *flags, size_t count)
{
	for (size_t i = 0; flags && i < count; i++) {
		free((char *)flags[i].name);
		free((char *)flags[i].help);
	}
	free(flags);
}

struct flag_set *flag_set_free(struct flag_set *set)
{
	if (!set)
		return NULL;
	for (size_t i = 0; i < set->count; i++) {
		renamed_free(set->tables[i].renamed, set->tables[i].count);
		free(set->tables[i].sources);
	}
	free(set->tables);
	free(set);
	return NULL;
}

static void store_default(const struct flag *flag, char *target)
{
	struct err e = { 0 };
	int r;

	if (flag->kind == FLAG_REPEATED) {
		// No element, but a list that can be walked.
		struct flag_list *list = (void *)(target + flag->offset);

		list->items = xnew0_array(char *, 1);
		return;
	}
	if (!flag->standard && flag->kind != FLAG_STRING && flag->kind != FLAG_COMMA_LIST)
		return;
	r = flag_value_store(flag, target, flag->standard ? flag->standard : "", flag->name, &e);
	assert(r == 0);
	(void)r;
}

void flag_set_add(struct flag_set *set, const char *title, const struct flag *flags, size_t count,
		  void *target)
{
	set->tables = xrealloc_array(set->tables, set->count + 1, sizeof(*set->tables));
	set->tables[set->count++] = (struct flag_table){
		.title = title,
		.flags = flags,
		.sources = count > 0 ? xnew0_array(enum flag_source, count) : NULL,
		.count = count,
		.target = target,
	};
	for (size_t i = 0; i < count; i++)
		store_default(&flags[i], target);
}

void flag_set_add_again(struct flag_set *set, const char *title, const char *prefix,
			const struct flag *flags, size_t count, void *target)
{
	struct flag *renamed = xnew0_array(struct flag, count);

	flag_set_add(set, title, flags, count, target);
	for (size_t i = 0; i < count; i++) {
		renamed[i] = flags[i];
		renamed[i].name = xasprintf("%s%s", prefix, flags[i].name);
		renamed[i].help = xasprintf("As --%s.", flags[i].name);
		renamed[i].standard = NULL; // stored above, and told with the other flag
	}
	set->tables[set->count - 1].flags = set->tables[set->count - 1].renamed = renamed;
}

void flag_target_free(const struct flag *flags, size_t count, void *target)
{
	for (size_t i = 0; i < count; i++)
		flag_value_free(&flags[i], target);
}

// Where a flag stands: its table and its place there.
struct place {
	struct flag_table *table;
	size_t index;
};

static const struct flag *place_flag(const struct place *place)
{
	return &place->table->flags[place->index];
}

static bool find(const struct flag_set *set, const char *name, size_t len, struct place *ret)
{
	for (size_t t = 0; t < set->count; t++) {
		struct flag_table *table = &set->tables[t];

		for (size_t i = 0; i < table->count; i++) {
			const char *other = table->flags[i].name;

			if (strncmp(other, name, len) == 0 && other[len] == '\0') {
				*ret = (struct place){ .table = table, .index = i };
				return true;
			}
		}
	}
	return false;
}

static int assign(const struct place *place, const char *value, const char *label,
		  enum flag_source source, struct err *e)
{
	int r = flag_value_store(place_flag(place), place->table->target, value, label, e);

	if (r == 0)
		place->table->sources[place->index] = source;
	return r;
}

// ---- what a wrong name was probably meant to be ----

static char folded(char c)
{
	return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

// How many letters must be added, dropped or changed to make one of the other.
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[NAME_MAX_BYTES + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 0; i < a_len; i++) {
		size_t corner = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < b_len; j++) {
			size_t change = corner + (folded(a[i]) == folded(b[j]) ? 0 : 1);

			corner = row[j + 1];
			if (row[j] + 1 < change)
				change = row[j] + 1;
			row[j + 1] = corner + 1 < change ? corner + 1 : change;
		}
	}
	return row[b_len];
}

// The flag whose name is nearest, if it is near: up to one letter in four wrong, three at the most.
// NULL if none.
static const struct flag *nearest(const struct flag_set *set, const char *name, size_t len)
{
	size_t best = len / 4 < 3 ? len / 4 : 3;
	const struct flag *found = NULL;

	if (len < 3 || len > NAME_MAX_BYTES)
		return NULL;
	for (size_t t = 0; t < set->count; t++) {
		for (size_t i = 0; i < set->tables[t].count; i++) {
			const struct flag *flag = &set->tables[t].flags[i];
			size_t other = strlen(flag->name), d;

			if (other > NAME_MAX_BYTES || flag->properties & FLAG_HIDDEN)
				continue;
			d = distance(name, len, flag->name, other);
			if (d < best || (d == best && !found)) {
				best = d;
				found = flag;
			}
		}
	}
	return found;
}

// ---- the command line ----

static int unknown_flag(const struct flag_set *set, const char *name, size_t len, struct err *e)
{
	const struct flag *flag = nearest(set, name, len);
	char shown[TEXT_EXCERPT_MAX];

	(void)text_excerpt(name, len, shown);
	if (flag)
		return err_set(e, -EINVAL, "unknown flag --%s; did you mean --%s?", shown, flag->name);
	return err_set(e, -EINVAL, "unknown flag --%s; --help lists all", shown);
}

static bool is_help(const char *name)
{
	return strcmp(name, "h") == 0 || strcmp(name, "help") == 0;
}

// One flag at arguments[*used], which starts with '-' and is not "-" alone or "--".
static int read_flag(struct flag_set *set, int count, char *const *arguments, int *used, struct err *e)
{
	const char *word = arguments[(*used)++];
	const char *name = word + (word[1] == '-' ? 2 : 1);
	const char *value = strchr(name, '=');
	size_t len = value ? (size_t)(value - name) : strlen(name);
	char shown[TEXT_EXCERPT_MAX], label[LABEL_MAX];
	struct place place;

	if (len == 0 || name[0] == '-')
		return err_set(e, -EINVAL, "\"%s\" is not a flag",
			       text_excerpt(word, strlen(word), shown));
	if (!find(set, name, len, &place)) {
		if (is_help(name))
			return FLAG_ASKED_HELP;
		return unknown_flag(set, name, len, e);
	}
	(void)text_format(label, sizeof(label), "--%s", place_flag(&place)->name);
	if (value)
		value++;
	else if (place_flag(&place)->kind == FLAG_BOOL)
		value = "true";
	else if (*used < count)
		value = arguments[(*used)++];
	else
		return err_set(e, -EINVAL, "%s: a value is missing", label);
	return assign(&place, value, label, FLAG_FROM_ARGUMENT, e);
}

int flag_set_arguments(struct flag_set *set, int count, char *const *arguments, int *ret_used,
		       struct err *e)
{
	int used = 0, r;

	while (used < count) {
		const char *word = arguments[used];

		if (word[0] != '-' || word[1] == '\0')
			break;
		if (strcmp(word, "--") == 0) {
			used++;
			break;
		}
		r = read_flag(set, count, arguments, &used, e);
		if (r != 0)
			return r;
	}
	*ret_used = used;
	return 0;
}

// ---- the environment ----

// PREFIX + "etcd-endpoints" -> "PREFIX_ETCD_ENDPOINTS". Cut to fit, names in tables do.
static const char *variable_name(const char *prefix, const char *flag, char ret[static LABEL_MAX])
{
	size_t len;

	(void)text_format(ret, LABEL_MAX, "%s%s", prefix, flag);
	len = strlen(ret);
	for (size_t i = strlen(prefix); i < len; i++)
		ret[i] = ret[i] == '-' ? '_' : (char)toupper((unsigned char)ret[i]);
	return ret;
}

// Is `rest`, a variable's name without its prefix, the one of this flag: upper case, '_' for '-'.
static bool names_flag(const char *rest, size_t len, const char *flag)
{
	if (strlen(flag) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (rest[i] != (flag[i] == '-' ? '_' : (char)toupper((unsigned char)flag[i])))
			return false;
	return true;
}

static bool find_variable_flag(const struct flag_set *set, const char *rest, size_t len,
			       struct place *ret)
{
	for (size_t t = 0; t < set->count; t++) {
		for (size_t i = 0; i < set->tables[t].count; i++) {
			if (names_flag(rest, len, set->tables[t].flags[i].name)) {
				*ret = (struct place){ .table = &set->tables[t], .index = i };
				return true;
			}
		}
	}
	return false;
}

static int unknown_variable(const struct flag_set *set, const struct flag_prefix *prefix,
			    const char *rest, size_t len, struct err *e)
{
	const struct flag *flag = nearest(set, rest, len);
	char shown[TEXT_EXCERPT_MAX], wanted[LABEL_MAX];

	(void)text_excerpt(rest, len, shown);
	if (flag)
		return err_set(e, -EINVAL, "variable %s%s names no flag; did you mean %s?",
			       prefix->prefix, shown,
			       variable_name(prefix->prefix, flag->name, wanted));
	if (!prefix->strict)
		return 0;
	return err_set(e, -EINVAL, "variable %s%s names no flag; unset it", prefix->prefix, shown);
}

// One "NAME=value" that may be of this prefix. A flag that already has a value keeps it.
static int read_variable(struct flag_set *set, const struct flag_prefix *prefix,
			 const char *variable, struct err *e)
{
	size_t prefix_len = strlen(prefix->prefix);
	const char *rest = variable + prefix_len;
	char label[LABEL_MAX];
	struct place place;
	const char *equals;
	size_t len;

	if (strncmp(variable, prefix->prefix, prefix_len) != 0)
		return 0;
	equals = strchr(rest, '=');
	if (!equals || equals[1] == '\0')
		return 0;
	len = (size_t)(equals - rest);
	if (!find_variable_flag(set, rest, len, &place))
		return unknown_variable(set, prefix, rest, len, e);
	if (place.table->sources[place.index] != FLAG_FROM_DEFAULT)
		return 0;
	(void)variable_name(prefix->prefix, place_flag(&place)->name, label);
	return assign(&place, equals + 1, label, FLAG_FROM_ENVIRONMENT, e);
}

int flag_set_environment(struct flag_set *set, char *const *environment,
			 const struct flag_prefix *prefixes, struct err *e)
{
	int r;

	for (; prefixes->prefix; prefixes++) {
		for (size_t i = 0; environment[i]; i++) {
			r = read_variable(set, prefixes, environment[i], e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

// ---- for programs ----

int flag_set_assign(struct flag_set *set, const char *name, const char *value,
		    enum flag_source source, struct err *e)
{
	struct place place;

	if (!find(set, name, strlen(name), &place))
		return err_set(e, -ENOENT, "no flag --%s", name);
	return assign(&place, value, name, source, e);
}

enum flag_source flag_set_source(const struct flag_set *set, const char *name)
{
	struct place place;
	bool found = find(set, name, strlen(name), &place);

	assert(found);
	(void)found;
	return place.table->sources[place.index];
}
