// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft migrate: which networks, and what it says about them.
#include "cli/cli.h"

#include "cli/migrate_network.h"
#include "cli/show.h"
#include "cli/store_access.h"
#include "cli/table.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct migrations {
	struct store_access *source;
	struct store_access *target; // NULL: none was named
	struct migration *items;
	size_t count;
	int r; // the first failure
};

static void migrations_free(struct migrations *migrations)
{
	for (size_t i = 0; i < migrations->count; i++)
		migration_free(&migrations->items[i]);
	free(migrations->items);
}

// ---- which networks ----

static void add(struct migrations *migrations, const char *name)
{
	struct migration migration = { .name = xstrdup(name), .shortest_s = -1 };
	int r = store_access_network(migrations->source, name, &migration.source, &migration.err);

	if (r == 0 && migrations->target)
		r = store_access_network(migrations->target, name, &migration.target, &migration.err);
	migration.force = migrations->source->cli->options->force;
	if (r < 0 && migrations->r == 0)
		migrations->r = r;
	migrations->items = xrealloc_array(migrations->items, migrations->count + 1,
					   sizeof(*migrations->items));
	migrations->items[migrations->count++] = migration;
}

static void on_network(void *arg, const char *name, const char *text)
{
	(void)text;
	add(arg, name);
}

static void on_listed(void *arg, int r, const struct err *e)
{
	struct migrations *migrations = arg;

	store_access_end(migrations->source, r, e);
}

static enum cli_exit find_networks(struct migrations *migrations)
{
	struct store_access *source = migrations->source;
	struct cli *cli = source->cli;
	struct registry *all = NULL;
	int r;

	if (flag_set_source(cli->flags, "network") != FLAG_FROM_DEFAULT) {
		add(migrations, cli->options->network);
		return CLI_OK;
	}
	store_access_begin(source);
	r = registry_new(source->kv, source->base, &all, &source->err);
	if (r < 0)
		return cli_fail_err(r, &source->err);
	registry_network_list(all, on_network, on_listed, migrations);
	r = store_access_wait(source);
	registry_free(all);
	if (r < 0)
		return store_access_fail(source);
	if (migrations->count == 0)
		return cli_fail(CLI_NOT_FOUND, "no networks below %s in %s", source->base,
				source->where);
	return CLI_OK;
}

// ---- telling ----

static const char *number(size_t value, char buf[static 24])
{
	(void)text_format(buf, 24, "%zu", value);
	return buf;
}

static const char *label(const struct migration *migration)
{
	return *migration->name ? migration->name : "(none)";
}

static void add_row(struct table *table, const struct migration *migration)
{
	char text[24], time[SHOW_DURATION_MAX];

	table_add(table, label(migration));
	table_add(table, migration_stage_names[migration->stage]);
	table_add(table, number(migration->leases, text));
	table_add(table, number(migration->reservations, text));
	table_add(table, number(migration->copied + migration->late, text));
	table_add(table, migration->shortest_s < 0
				 ? NULL
				 : show_duration((uint64_t)migration->shortest_s, time));
	table_add(table, migration->err.code != 0 ? migration->err.msg : NULL);
}

static json_t *row_json(const struct migration *migration)
{
	json_t *object = json_pack(
		"{s:s,s:s,s:I,s:I,s:I,s:I}", "state", migration_stage_names[migration->stage],
		"problem", migration->err.code != 0 ? migration->err.msg : "", "leases",
		(json_int_t)migration->leases, "reservations", (json_int_t)migration->reservations,
		"copied", (json_int_t)migration->copied, "late", (json_int_t)migration->late);
	json_t *name = json_string(migration->name);

	json_object_set_new(object, "name", name ? name : json_null());
	json_object_set_new(object, "expires_in_s",
			    migration->shortest_s < 0 ? json_null()
						      : json_integer(migration->shortest_s));
	return object;
}

static void print_all(const struct migrations *migrations)
{
	static const char *const headings[] = { "NETWORK", "STATE",  "LEASES",	"RESERVED",
						"COPIED",  "EXPIRE", "PROBLEM", NULL };
	_cleanup_(table_freep) struct table *table = table_new(headings);
	bool is_json = migrations->source->cli->options->json;
	json_t *list = json_array();

	for (size_t i = 0; i < migrations->count; i++) {
		if (is_json)
			json_array_append_new(list, row_json(&migrations->items[i]));
		else
			add_row(table, &migrations->items[i]);
	}
	if (is_json) {
		(void)cli_print_json(json_pack("{s:o}", "networks", list));
		return;
	}
	json_decref(list);
	table_print(table, 0);
}

static enum cli_exit report(const struct migrations *migrations, const char *what)
{
	print_all(migrations);
	for (size_t i = 0; i < migrations->count; i++) {
		const struct migration *migration = &migrations->items[i];

		if (migration->err.code != 0)
			return cli_fail(cli_exit_of(migration->err.code), "network %s: %s%s",
					label(migration), err_msg(&migration->err), what);
	}
	return CLI_OK;
}

// ---- doing ----

typedef int migration_fn(struct migration *migration);

// Until one fails, unless all are to be looked at.
static int each(struct migrations *migrations, migration_fn *fn, bool goes_on)
{
	int first = 0;

	for (size_t i = 0; i < migrations->count && (first == 0 || goes_on); i++) {
		struct migration *migration = &migrations->items[i];
		int r = fn(migration);

		if (r == 0)
			migration->err = (struct err){ 0 };
		else if (migration->err.code == 0)
			err_set(&migration->err, r, "%s", strerror(-r));
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

static enum cli_exit move_all(struct migrations *migrations)
{
	const struct cli *cli = migrations->source->cli;
	enum cli_exit code;

	// Nothing is begun while one of them cannot be moved.
	if (each(migrations, migration_look, true) < 0)
		return report(migrations, "; nothing was changed");
	if (cli->options->dry_run)
		return report(migrations, "");
	(void)each(migrations, migration_run, false);
	code = report(migrations, "; run this again to go on");
	if (code == CLI_OK && !cli->options->json)
		printf("moved to %s: start the agents with its flags now, one after the other\n",
		       migrations->target->where);
	return code;
}

// One that is not frozen is no failure, unless none is.
static int abort_one(struct migration *migration)
{
	int r = migration_abort(migration);

	migration->was_frozen = r != -ENOENT;
	return r == -ENOENT ? 0 : r;
}

static bool was_any_frozen(const struct migrations *migrations)
{
	for (size_t i = 0; i < migrations->count; i++)
		if (migrations->items[i].was_frozen)
			return true;
	return false;
}

static enum cli_exit abort_all(struct migrations *migrations)
{
	enum cli_exit code;

	(void)each(migrations, abort_one, true);
	if (!was_any_frozen(migrations))
		return cli_fail(CLI_NOT_FOUND, "%s: nothing below %s is frozen",
				migrations->source->where, migrations->source->base);
	code = report(migrations, "");
	if (code == CLI_OK && !migrations->target && !migrations->source->cli->options->json)
		puts("the source is open; what was copied to the target stays closed there: `weft network rm --force`");
	return code;
}

enum cli_exit migrate_run(struct cli *cli)
{
	_cleanup_store_ struct store_access source = { 0 };
	_cleanup_store_ struct store_access target = { 0 };
	_cleanup_(migrations_free) struct migrations migrations = { .source = &source };
	enum cli_exit code = store_access_open(cli, &source);

	if (code == CLI_OK && (!cli->options->abort || store_access_has_target(cli))) {
		code = store_access_open_target(cli, &target);
		migrations.target = &target;
	}
	if (code == CLI_OK)
		code = find_networks(&migrations);
	if (code != CLI_OK)
		return code;
	if (migrations.r < 0)
		return report(&migrations, "");
	return cli->options->abort ? abort_all(&migrations) : move_all(&migrations);
}
