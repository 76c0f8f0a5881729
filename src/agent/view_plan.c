// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent would change in the kernel, of one network or of all.
#include "agent/agent_internal.h"

#include "agent/view_failed.h"
#include "core/mem.h"

#include <assert.h>
#include <errno.h>

// A plan of all networks: made of those of each, which are made side by side.
struct host_plan {
	struct agent *agent;
	api_plan_fn *done;
	void *done_arg;
	size_t running;
	json_t *changes;
	json_t *failed;
	json_t *errors; // network: why it has no plan
	json_int_t total;
};

struct host_plan_part {
	struct host_plan *whole;
	char *name;
};

// ---- of one ----

static void plan_change(void *arg, enum netlink_verb verb, const struct kernel_object *object)
{
	static const char *const verbs[] = {
		[NETLINK_CREATE] = "create", [NETLINK_REPLACE] = "replace", [NETLINK_DELETE] = "delete"
	};
	struct network *network = arg;
	char text[KERNEL_OBJECT_STR_MAX];
	if (network->plan_total++ >= API_PLAN_CHANGES_MAX)
		return;
	json_t *change = json_pack("{s:s, s:s, s:s}", "verb", verbs[verb], "kind",
				   kind_names[object->kind], "object",
				   kernel_object_str(object, text));
	if (network->agent->has_several)
		json_object_set_new(change, "network", json_string(network->name));
	json_array_append_new(network->plan_changes, change);
}

struct plan_asker {
	struct plan_asker *next;
	api_plan_fn *done;
	void *done_arg;
};

static void plan_done(void *arg, int r, const struct err *e)
{
	struct network *network = arg;
	json_t *changes = TAKE_PTR(network->plan_changes);
	json_int_t total = (json_int_t)network->plan_total;
	// Of several networks the rules are the host's.
	if (r == 0 && !network->agent->has_several)
		firewall_plan(network->agent, changes, &total);
	json_t *plan = r < 0 ? NULL
			     : json_pack("{s:O, s:I, s:o*}", "changes", changes, "total", total,
					 "failed", view_failed(reconcile_trouble(network->reconcile)));
	struct plan_asker *askers = TAKE_PTR(network->plan_askers);
	json_decref(changes);
	while (askers) {
		struct plan_asker *asker = askers;
		askers = asker->next;
		asker->done(asker->done_arg, r, json_incref(plan), e);
		free(asker);
	}
	json_decref(plan);
}

void view_plan_end(struct network *network)
{
	struct err e;
	if (!network->plan_askers)
		return;
	err_set(&e, -ENOENT, "the network is not in the store any more");
	plan_done(network, e.code, &e);
}

static int check_plannable(const struct network *network, struct err *e)
{
	if (network->backend && network->peers_known)
		return 0;
	return err_set(e, -EAGAIN, "nothing to plan yet: %s",
		       network->bring_up_error.code != 0
			       ? network->bring_up_error.msg
			       : "config, interface and peers are not all known");
}

// Of a plannable network. done is not called before this returns.
static void plan_network(struct network *network, api_plan_fn *done, void *done_arg)
{
	bool is_first = !network->plan_askers;
	struct plan_asker *asker = xnew(struct plan_asker);
	*asker = (struct plan_asker){ network->plan_askers, done, done_arg };
	network->plan_askers = asker;
	if (!is_first)
		return;
	network->plan_changes = json_array();
	network->plan_total = 0;
	int r = reconcile_plan(network->reconcile, plan_change, plan_done, network);
	assert(r == 0); // nobody but us asks for plans
	(void)r;
}

// ---- of all ----

static void host_plan_end(struct host_plan *whole)
{
	bool has_failed = json_array_size(whole->failed) > 0;
	firewall_plan(whole->agent, whole->changes, &whole->total);
	whole->done(whole->done_arg, 0,
		    json_pack("{s:o, s:I, s:O*, s:o}", "changes", whole->changes, "total", whole->total,
			      "failed", has_failed ? whole->failed : NULL, "errors", whole->errors),
		    NULL);
	json_decref(whole->failed);
	free(whole);
}

static void add_changes(json_t *to, const json_t *changes)
{
	json_t *change;
	size_t i;
	json_array_foreach(changes, i, change) {
		if (json_array_size(to) == API_PLAN_CHANGES_MAX)
			return;
		json_array_append(to, change);
	}
}

static void add_failed(json_t *to, const json_t *failed, const char *network)
{
	const json_t *peer;
	size_t i;
	json_array_foreach(failed, i, peer) {
		if (json_array_size(to) == VIEW_FAILED_MAX)
			return;
		json_t *named = json_copy((json_t *)peer);
		json_object_set_new(named, "network", json_string(network));
		json_array_append_new(to, named);
	}
}

static void host_plan_part_done(void *arg, int r, json_t *plan, const struct err *e)
{
	struct host_plan_part *part = arg;
	struct host_plan *whole = part->whole;
	if (r < 0) {
		json_object_set_new(whole->errors, part->name, json_string(err_msg(e)));
	} else {
		add_changes(whole->changes, json_object_get(plan, "changes"));
		add_failed(whole->failed, json_object_get(plan, "failed"), part->name);
		whole->total += json_integer_value(json_object_get(plan, "total"));
	}
	json_decref(plan);
	free(part->name);
	free(part);
	if (--whole->running == 0)
		host_plan_end(whole);
}

static void plan_host(struct agent *agent, api_plan_fn *done, void *done_arg)
{
	struct host_plan *whole = xnew(struct host_plan);
	*whole = (struct host_plan){ .agent = agent,
				     .done = done,
				     .done_arg = done_arg,
				     .changes = json_array(),
				     .failed = json_array(),
				     .errors = json_object() };
	for (struct network *network = agent->networks; network; network = network->next) {
		struct err e = { 0 };
		if (check_plannable(network, &e) < 0) {
			json_object_set_new(whole->errors, network->name, json_string(e.msg));
			continue;
		}
		struct host_plan_part *part = xnew(struct host_plan_part);
		*part = (struct host_plan_part){ whole, xstrdup(network->name) };
		whole->running++;
		plan_network(network, host_plan_part_done, part);
	}
	if (whole->running == 0)
		host_plan_end(whole);
}

void view_plan(void *arg, api_plan_fn *done, void *done_arg)
{
	const struct view_scope *scope = arg;
	struct network *network = scope->network;
	if (!network && !scope->agent->has_several)
		network = scope->agent->networks;
	struct err e = { 0 };
	if (!network)
		plan_host(scope->agent, done, done_arg);
	else if (check_plannable(network, &e) < 0)
		done(done_arg, e.code, NULL, &e);
	else
		plan_network(network, done, done_arg);
}
