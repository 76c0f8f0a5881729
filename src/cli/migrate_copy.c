// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making the leases of the target those of the source.
#include "cli/migrate_network.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define PARALLEL 16
#define ROUNDS_MAX 10

enum task_kind {
	TASK_CREATE,
	TASK_UPDATE,
	TASK_REMOVE,
	TASK_RENEW, // it is there as it should be, perhaps for long: its time begins anew
};

struct task {
	struct copy *copy;
	enum task_kind kind;
	const struct lease *source; // NULL: remove
	const struct lease *target; // NULL: create
};

// One comparison of the two, and what is to be done about it, some at a time.
struct copy {
	struct migration *migration;
	struct lease_rows source;
	struct lease_rows target;
	bool is_open; // the target: its leases are its hosts' own
	bool renews;
	struct task *tasks;
	size_t count;
	size_t next;
	size_t pending;
	size_t changes;
	const struct lease *conflict, *conflict_with; // NULL: none was found
	int r; // the first failure; nothing more is begun then
	struct err err;
};

// ---- comparing ----

static void add_task(struct copy *copy, enum task_kind kind, const struct lease *source,
		     const struct lease *target)
{
	copy->tasks[copy->count++] =
		(struct task){ .copy = copy, .kind = kind, .source = source, .target = target };
	copy->changes += kind != TASK_RENEW;
}

static int compare_subnets(const struct lease *a, const struct lease *b)
{
	int order = ipnet_compare(&a->subnet.v4, &b->subnet.v4);

	return order != 0 ? order : ipnet_compare(&a->subnet.v6, &b->subnet.v6);
}

static const struct ip *owner_of(const struct lease *lease)
{
	return ip_is_set(&lease->attrs.public_ip) ? &lease->attrs.public_ip
						  : &lease->attrs.public_ipv6;
}

static void compare_both(struct copy *copy, const struct lease *source, const struct lease *target)
{
	bool same_kind = (source->session == 0) == (target->session == 0);
	bool same = lease_attrs_equal(&source->attrs, &target->attrs);

	if (copy->is_open && !ip_equal(owner_of(source), owner_of(target))) {
		copy->conflict = source;
		copy->conflict_with = target;
	}
	if (!copy->is_open && !same_kind)
		add_task(copy, TASK_REMOVE, NULL, target); // and created by the next round
	else if (!copy->is_open && !same)
		add_task(copy, TASK_UPDATE, source, target);
	else if (copy->renews && same && target->session != 0)
		add_task(copy, TASK_RENEW, source, target);
}

// Both are in the order of their subnets.
static void compare(struct copy *copy)
{
	size_t s = 0, t = 0;

	copy->tasks = xnew0_array(struct task, copy->source.count + copy->target.count + 1);
	while (s < copy->source.count || t < copy->target.count) {
		const struct lease *source = s < copy->source.count ? &copy->source.rows[s].lease
								    : NULL;
		const struct lease *target = t < copy->target.count ? &copy->target.rows[t].lease
								    : NULL;
		int order = !source ? 1 : !target ? -1 : compare_subnets(source, target);

		if (order < 0)
			add_task(copy, TASK_CREATE, source, NULL);
		else if (order == 0)
			compare_both(copy, source, target);
		else if (!copy->is_open)
			add_task(copy, TASK_REMOVE, NULL, target);
		s += order <= 0;
		t += order >= 0;
	}
}

// ---- doing ----

static void begin_tasks(struct copy *copy);

static void task_end(struct task *task, int r, const struct err *e)
{
	struct copy *copy = task->copy;
	const struct lease *lease = task->source ? task->source : task->target;
	char subnet[SUBNET_STR_MAX];

	copy->pending--;
	if (r < 0 && copy->r == 0) {
		copy->r = r;
		copy->err = *e;
		(void)err_wrap(&copy->err, "lease %s", subnet_str(&lease->subnet, subnet));
	}
	begin_tasks(copy);
	if (copy->pending == 0)
		store_access_end(&copy->migration->target, copy->r, copy->r < 0 ? &copy->err : NULL);
}

static bool is_for_next_round(int r)
{
	return r == -EEXIST || r == -ESTALE || r == -ENOENT;
}

static void note_expiry(struct migration *migration, int64_t ttl_s)
{
	if (migration->shortest_s < 0 || ttl_s < migration->shortest_s)
		migration->shortest_s = ttl_s;
}

static void on_written(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct task *task = arg;
	struct migration *migration = task->copy->migration;

	(void)lease;
	if (r == 0 && task->kind == TASK_CREATE && task->copy->is_open)
		migration->late++;
	else if (r == 0 && task->kind == TASK_CREATE)
		migration->copied++;
	task_end(task, is_for_next_round(r) ? 0 : r, e);
}

static void create(struct task *task, int64_t ttl_s)
{
	struct migration *migration = task->copy->migration;
	const struct registry_create_terms terms = { .ttl_s = ttl_s,
						     .config_revision = migration->target_revision };

	registry_lease_create(migration->target.registry, &task->source->subnet,
			      &task->source->attrs, &terms, on_written, task);
}

static void on_ttl(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct task *task = arg;

	(void)session;
	if (r == -ENOENT) {
		task_end(task, 0, NULL); // it is going: the next round does not find it
	} else if (r < 0) {
		task_end(task, r, e);
	} else {
		ttl_s = ttl_s > 0 ? ttl_s : 1;
		note_expiry(task->copy->migration, ttl_s);
		create(task, ttl_s);
	}
}

static void on_removed(void *arg, int r, const struct err *e)
{
	task_end(arg, is_for_next_round(r) ? 0 : r, e);
}

// One that does not succeed leaves the lease with the time that it has.
static void on_renewed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct task *task = arg;

	(void)session;
	(void)e;
	if (r == 0)
		note_expiry(task->copy->migration, ttl_s);
	task_end(task, 0, NULL);
}

static void begin_task(struct task *task)
{
	struct migration *migration = task->copy->migration;
	struct registry *target = migration->target.registry;

	switch (task->kind) {
	case TASK_CREATE:
		if (task->source->session == 0)
			create(task, -1);
		else
			registry_lease_ttl(migration->source.registry, task->source->session,
					   on_ttl, task);
		break;
	case TASK_UPDATE:
		registry_lease_update(target, task->target, &task->source->attrs, on_written, task);
		break;
	case TASK_REMOVE:
		registry_lease_delete(target, &task->target->subnet, task->target->mod_revision,
				      on_removed, task);
		break;
	case TASK_RENEW:
		registry_lease_renew(target, task->target->session, on_renewed, task);
		break;
	}
}

static void begin_tasks(struct copy *copy)
{
	while (copy->r == 0 && copy->next < copy->count && copy->pending < PARALLEL) {
		copy->pending++;
		begin_task(&copy->tasks[copy->next++]);
	}
}

static int do_tasks(struct copy *copy)
{
	struct store_access *target = &copy->migration->target;

	if (copy->count == 0)
		return 0;
	store_access_begin(target);
	begin_tasks(copy);
	if (store_access_wait(target) < 0) {
		copy->migration->err = target->err;
		return target->r;
	}
	return 0;
}

static int read_both(struct copy *copy)
{
	struct migration *migration = copy->migration;

	if (lease_rows_read(&migration->source, &copy->source) < 0) {
		migration->err = migration->source.err;
		return migration->source.r;
	}
	if (lease_rows_read(&migration->target, &copy->target) < 0) {
		migration->err = migration->target.err;
		return migration->target.r;
	}
	return 0;
}

static void copy_free(struct copy *copy)
{
	lease_rows_free(&copy->source);
	lease_rows_free(&copy->target);
	free(copy->tasks);
}

static void count_source(const struct copy *copy)
{
	struct migration *migration = copy->migration;

	migration->leases = copy->source.count;
	migration->reservations = 0;
	for (size_t i = 0; i < copy->source.count; i++)
		migration->reservations += copy->source.rows[i].lease.session == 0;
}

static int copy_round(struct migration *migration, bool renews, size_t *ret_changes)
{
	_cleanup_(copy_free) struct copy copy = { .migration = migration, .renews = renews };
	int r = read_both(&copy);

	if (r < 0)
		return r;
	compare(&copy);
	count_source(&copy);
	r = do_tasks(&copy);
	if (r == 0)
		*ret_changes = copy.changes;
	return r;
}

int migration_copy(struct migration *migration)
{
	size_t changes = 1;
	int r = 0;

	for (unsigned int round = 0; r == 0 && changes > 0; round++) {
		if (round == ROUNDS_MAX)
			return err_set(&migration->err, -EAGAIN,
				       "the leases of the source keep changing; run this again");
		r = copy_round(migration, round == 0 && migration->is_resumed, &changes);
	}
	return r;
}

// ---- after the target was opened ----

static const struct lease *find_overlap(const struct lease_rows *rows, const struct subnet *subnet)
{
	for (size_t i = 0; i < rows->count; i++)
		if (subnet_overlaps(&rows->rows[i].lease.subnet, subnet))
			return &rows->rows[i].lease;
	return NULL;
}

// Two hosts with one subnet, each by another store: said, for only their operator can mend it.
static int check_conflicts(struct copy *copy)
{
	char subnet[SUBNET_STR_MAX], a[IP_STR_MAX], b[IP_STR_MAX];
	const struct lease *lease = copy->conflict, *other = copy->conflict_with;

	for (size_t i = 0; i < copy->count && !other; i++) {
		if (copy->tasks[i].kind != TASK_CREATE)
			continue;
		lease = copy->tasks[i].source;
		other = find_overlap(&copy->target, &lease->subnet);
	}
	if (!other)
		return 0;
	return err_set(&copy->migration->err, -EADDRINUSE,
		       "%s was taken by %s in the source and by %s in the target: stop one of them and delete its "
		       "lease",
		       subnet_str(&lease->subnet, subnet), ip_str(owner_of(lease), a),
		       ip_str(owner_of(other), b));
}

int migration_catch_up(struct migration *migration)
{
	_cleanup_(copy_free) struct copy copy = { .migration = migration,
						  .is_open = true,
						  .renews = migration->is_resumed };
	int r = read_both(&copy);

	if (r < 0)
		return r;
	compare(&copy);
	count_source(&copy);
	r = check_conflicts(&copy);
	return r == 0 ? do_tasks(&copy) : r;
}
