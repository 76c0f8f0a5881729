// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the configs of both stores while a network is moved: what is there, the marks, opening and undoing.
#include "cli/migrate_network.h"

#include "core/mem.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define NO_REVISION (INT64_MAX - 1) // of no key

const char *const migration_stage_names[MIGRATION_STAGE_COUNT] = {
	[MIGRATION_NEW] = "not begun",
	[MIGRATION_COPYING] = "copying",
	[MIGRATION_OPENING] = "opening",
	[MIGRATION_DONE] = "moved",
};

// ---- looking ----

static int failed(struct migration *migration, const struct store_access *store)
{
	migration->err = store->err;
	return store->r;
}

static void take_config(struct migration *migration, const char *text)
{
	free(migration->config);
	migration->config = xstrdup(text);
}

static int look_at_mark(struct migration *migration, const struct netconf_freeze *mark)
{
	switch (mark->state) {
	case NETCONF_FREEZE_FILLING:
		return err_set(&migration->err, -EEXIST,
			       "the source is itself being filled from %s: finish or remove that first",
			       mark->store);
	case NETCONF_FREEZE_COPYING:
		migration->stage = MIGRATION_COPYING;
		break;
	case NETCONF_FREEZE_OPENING:
		migration->stage = MIGRATION_OPENING;
		break;
	case NETCONF_FREEZE_MOVED:
	case NETCONF_FREEZE_STATE_COUNT:
		migration->stage = MIGRATION_DONE;
		break;
	}
	(void)text_copy(migration->id, sizeof(migration->id), mark->id);
	take_config(migration, mark->config);
	return 0;
}

static int look_at_source(struct migration *migration)
{
	_cleanup_stored_config_ struct stored_config config = { 0 };
	_cleanup_freeze_ struct netconf_freeze mark = { 0 };
	_cleanup_netconf_ struct netconf conf = { 0 };
	int r = store_access_config(&migration->source, &config);

	if (r < 0)
		return failed(migration, &migration->source);
	migration->source_revision = config.mod_revision;
	r = netconf_freeze_parse(config.text, strlen(config.text), &mark, &migration->err);
	if (r == 0)
		return look_at_mark(migration, &mark);
	if (r == -ENOENT)
		r = netconf_parse(config.text, strlen(config.text), &conf, &migration->err);
	if (r < 0) {
		(void)err_wrap(&migration->err, "the config cannot be moved");
		return r;
	}
	migration->stage = MIGRATION_NEW;
	take_config(migration, config.text);
	migration->err = (struct err){ 0 };
	return 0;
}

static int refuse_target(struct migration *migration, const char *why)
{
	return err_set(&migration->err, -EEXIST, "%s: %s", migration->target.where, why);
}

static int look_at_target_mark(struct migration *migration, const struct netconf_freeze *mark)
{
	bool is_ours = migration->stage != MIGRATION_NEW && strcmp(mark->id, migration->id) == 0;

	if (is_ours && mark->state == NETCONF_FREEZE_FILLING && migration->stage != MIGRATION_DONE)
		return 0;
	if (is_ours && mark->state != NETCONF_FREEZE_FILLING)
		return refuse_target(migration, "is the very place that is to be moved");
	return refuse_target(
		migration,
		"has what another migration left; remove it there with `weft network rm --force`");
}

// Without a config: there must be nothing at all, for what is there would be taken for a copy.
static int check_empty(struct migration *migration)
{
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };

	if (migration->stage > MIGRATION_COPYING)
		return refuse_target(
			migration,
			"has no network there, and by the source's mark it should: is it the store that was named before?");
	if (lease_rows_read(&migration->target, &rows) < 0)
		return failed(migration, &migration->target);
	if (rows.count + rows.fault_count > 0)
		return refuse_target(
			migration,
			"has leases without a config; remove them there with `weft network rm --force`");
	return 0;
}

// By a write that is never done, for what it wants is not there: the source is not to be frozen for a target that
// refuses us.
static int check_writable(struct migration *migration)
{
	struct store_access *target = &migration->target;

	store_access_begin(target);
	registry_config_set(target->registry, migration->config, NO_REVISION, store_access_done,
			    target);
	if (store_access_wait(target) == -ESTALE)
		return 0;
	return failed(migration, target);
}

static int look_at_target(struct migration *migration)
{
	_cleanup_stored_config_ struct stored_config config = { 0 };
	_cleanup_freeze_ struct netconf_freeze mark = { 0 };
	int r = store_access_config(&migration->target, &config);

	migration->target_is_open = false;
	migration->target_revision = 0;
	if (r == -ENOENT) {
		r = check_empty(migration);
		return r == 0 ? check_writable(migration) : r;
	}
	if (r < 0)
		return failed(migration, &migration->target);
	migration->target_revision = config.mod_revision;
	migration->is_resumed = true;
	r = netconf_freeze_parse(config.text, strlen(config.text), &mark, &migration->err);
	if (r == 0)
		return look_at_target_mark(migration, &mark);
	migration->target_is_open = true;
	// Until the source's mark says so we have opened nothing. Afterwards the config may have been changed there.
	if (migration->stage < MIGRATION_OPENING)
		return refuse_target(migration, "has a network there already");
	if (migration->stage == MIGRATION_OPENING && strcmp(config.text, migration->config) != 0)
		return refuse_target(
			migration,
			"has another config than the one that is moved; put back the one from the source's mark, and change it when this is done");
	migration->err = (struct err){ 0 };
	return 0;
}

static int count_leases(struct migration *migration, struct lease_rows *rows)
{
	if (lease_rows_read(&migration->source, rows) < 0)
		return failed(migration, &migration->source);
	migration->leases = rows->count;
	migration->reservations = 0;
	for (size_t i = 0; i < rows->count; i++)
		migration->reservations += rows->rows[i].lease.session == 0;
	return 0;
}

static int look_at_leases(struct migration *migration)
{
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	int r = count_leases(migration, &rows);

	if (r < 0)
		return r;
	if (rows.fault_count > 0 && !migration->force)
		return err_set(&migration->err, -EINVAL,
			       "%zu of the leases cannot be read, as %.60s: %.80s; delete them with `weft lease rm`, "
			       "or leave them out with --force",
			       rows.fault_count, rows.faults[0].key, rows.faults[0].why);
	return 0;
}

int migration_look(struct migration *migration)
{
	int r = look_at_source(migration);

	if (r == 0 && migration->target.kv)
		r = look_at_target(migration);
	return r == 0 ? look_at_leases(migration) : r;
}

// ---- marks ----

// Compare-and-set; *revision is that of what is there before, and then of what was written.
static int write_config(struct migration *migration, struct store_access *store, const char *text,
			int64_t *revision)
{
	_cleanup_stored_config_ struct stored_config config = { 0 };

	store_access_begin(store);
	registry_config_set(store->registry, text, *revision, store_access_done, store);
	if (store_access_wait(store) < 0 || store_access_config(store, &config) < 0)
		return failed(migration, store);
	if (strcmp(config.text, text) != 0)
		return err_set(&migration->err, -ESTALE, "%s/config: was changed by somebody else",
			       store->prefix);
	*revision = config.mod_revision;
	return 0;
}

static int write_mark(struct migration *migration, struct store_access *store,
		      enum netconf_freeze_state state, int64_t *revision)
{
	const struct store_access *other = store == &migration->source ? &migration->target
								       : &migration->source;
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *where = xstrndup(other->where, NETCONF_FREEZE_STORE_MAX);
	struct netconf_freeze mark = { .state = state, .store = where, .config = migration->config };
	int r;

	(void)text_copy(mark.id, sizeof(mark.id), migration->id);
	r = netconf_freeze_format(&mark, &text, &migration->err);
	return r < 0 ? r : write_config(migration, store, text, revision);
}

int migration_freeze(struct migration *migration)
{
	int r;

	if (migration->stage > MIGRATION_COPYING)
		return 0;
	if (migration->stage == MIGRATION_NEW)
		(void)text_format(migration->id, sizeof(migration->id), "%016" PRIx64 "%016" PRIx64,
				  random_below(UINT64_MAX), random_below(UINT64_MAX));
	// An earlier run's is written anew: it names the target.
	r = write_mark(migration, &migration->source, NETCONF_FREEZE_COPYING,
		       &migration->source_revision);
	if (r == 0)
		migration->stage = MIGRATION_COPYING;
	return r;
}

int migration_fill(struct migration *migration)
{
	if (migration->stage > MIGRATION_COPYING || migration->target_revision != 0)
		return 0;
	return write_mark(migration, &migration->target, NETCONF_FREEZE_FILLING,
			  &migration->target_revision);
}

int migration_open(struct migration *migration)
{
	int r = 0;

	if (migration->stage == MIGRATION_DONE)
		return 0;
	if (migration->stage == MIGRATION_COPYING)
		r = write_mark(migration, &migration->source, NETCONF_FREEZE_OPENING,
			       &migration->source_revision);
	if (r < 0)
		return r;
	migration->stage = MIGRATION_OPENING;
	if (!migration->target_is_open)
		r = write_config(migration, &migration->target, migration->config,
				 &migration->target_revision);
	if (r < 0)
		return r;
	migration->target_is_open = true;
	r = write_mark(migration, &migration->source, NETCONF_FREEZE_MOVED,
		       &migration->source_revision);
	if (r == 0)
		migration->stage = MIGRATION_DONE;
	return r;
}

int migration_run(struct migration *migration)
{
	int r = migration_freeze(migration);

	if (r == 0)
		r = migration_fill(migration);
	if (r == 0 && !migration->target_is_open)
		r = migration_copy(migration);
	if (r == 0)
		r = migration_open(migration);
	return r == 0 ? migration_catch_up(migration) : r;
}

// ---- undoing ----

static int empty_target(struct migration *migration)
{
	struct store_access *target = &migration->target;

	if (migration->target_revision == 0)
		return 0;
	// The source is to be the open one. What hosts got in the target meanwhile stays there to be looked at.
	if (migration->target_is_open)
		return write_mark(migration, target, NETCONF_FREEZE_MOVED, &migration->target_revision);
	store_access_begin(target);
	registry_network_delete(target->registry, true, store_access_done, target);
	return store_access_wait(target) < 0 ? failed(migration, target) : 0;
}

int migration_abort(struct migration *migration)
{
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	int r = look_at_source(migration);

	if (r < 0)
		return r;
	if (migration->stage == MIGRATION_NEW)
		return err_set(&migration->err, -ENOENT, "%s/config: is not frozen",
			       migration->source.prefix);
	if (migration->stage > MIGRATION_COPYING && !migration->force)
		return err_set(
			&migration->err, -EPERM,
			"%s/config: the target may be open, and hosts may have new subnets there; run the "
			"migration again to finish it, or use --force to open the source in spite of that",
			migration->source.prefix);
	if (migration->target.kv) {
		r = look_at_target(migration);
		if (r == 0)
			r = empty_target(migration);
		if (r < 0)
			return r;
	}
	r = count_leases(migration,
			 &rows); // for the report: one that cannot be read is no reason to stay frozen
	if (r == 0)
		r = write_config(migration, &migration->source, migration->config,
				 &migration->source_revision);
	if (r == 0)
		migration->stage = MIGRATION_NEW;
	return r;
}

void migration_free(struct migration *migration)
{
	free(migration->name);
	free(migration->config);
	store_access_leave(&migration->source);
	store_access_leave(&migration->target);
	*migration = (struct migration){ 0 };
}
