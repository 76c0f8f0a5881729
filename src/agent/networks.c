// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which networks this host is in: the one at the prefix, those that --networks names, or with --watch-networks those that the store has.
//
// DOC: the networks of --watch-networks
//
//   known on disk, or listed --start--> runs --gone from the store for --peer-hold--> leaves --nothing left in the kernel--> freed
//                                        ^--------------- there again ------'             '--there again: begins anew--'
//
// Those that an earlier life knew are started before the store answers, for it may not. A list that holds no network at all, and one of
// another store, ends none: somebody has lost a store, and the hosts' traffic shall not go with it. A deletion that is told ends one.
#include "agent/agent_internal.h"

#include "core/hash.h"
#include "core/log.h"
#include "core/mem.h"
#include "reconcile/nexthop_table.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct networks {
	struct agent *agent;
	struct registry *registry; // at the prefix
	struct registry_follow *follow;
	bool is_listed;
	bool is_down;	   // said already
	bool left_one_out; // for want of room
};

// ---- the list ----

static struct network *find_in(struct network *list, const char *name)
{
	while (list && strcmp(list->name, name) != 0)
		list = list->next;
	return list;
}

struct network *networks_find(const struct agent *agent, const char *name)
{
	return find_in(agent->networks, name);
}

struct network *networks_by_serial(const struct agent *agent, uint64_t serial)
{
	struct network *network = agent->networks;
	while (network && network->serial != serial)
		network = network->next;
	return network;
}

static void link_last(struct network **list, struct network *network)
{
	while (*list)
		list = &(*list)->next;
	network->next = NULL;
	*list = network;
}

static void unlink_from(struct network **list, struct network *network)
{
	while (*list != network)
		list = &(*list)->next;
	*list = network->next;
	network->next = NULL;
}

static bool slot_is_taken(const struct agent *agent, uint32_t slot)
{
	const struct network *lists[] = { agent->networks, agent->leaving };
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		for (const struct network *network = lists[i]; network; network = network->next)
			if (network->slot == slot)
				return true;
	return false;
}

// By its name, so that a network tends to have the same one on every start.
static int choose_slot(const struct agent *agent, const char *name, uint32_t *ret, struct err *e)
{
	uint32_t wish = (uint32_t)(hash_stable(name, strlen(name)) % NEXTHOP_SLOTS);
	for (uint32_t i = 0; i < NEXTHOP_SLOTS; i++) {
		uint32_t slot = (wish + i) % NEXTHOP_SLOTS;
		if (slot_is_taken(agent, slot))
			continue;
		*ret = slot;
		return 0;
	}
	return err_set(e, -ENOSPC, "network %s: a host can be in %u networks, and is", name,
		       NEXTHOP_SLOTS);
}

static int add(struct agent *agent, const char *name, struct network **ret, struct err *e)
{
	static uint64_t serial;
	struct network *network;
	uint32_t slot = 0;
	int r = agent->has_several ? choose_slot(agent, name, &slot, e) : 0;
	if (r == 0)
		r = network_new(agent, name, &network, e);
	if (r < 0)
		return r;
	network->serial = ++serial;
	network->slot = slot;
	if (agent->has_several)
		reconcile_share_host(network->reconcile, slot, name);
	link_last(&agent->networks, network);
	if (ret)
		*ret = network;
	return 0;
}

// ---- what the store says ----

static bool is_asked_for(const struct agent *agent, const char *name)
{
	const struct flag_list *names = &agent->options->networks;
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], name) == 0)
			return true;
	return names->count == 0;
}

static void begin(struct agent *agent, const char *name)
{
	struct network *network = NULL;
	struct err e = { 0 };
	if (add(agent, name, &network, &e) < 0) {
		log_error("agent: %s", e.msg);
		agent->follow->left_one_out = true;
		return;
	}
	log_info("%s: it is in the store: joining it", network->who);
	network_start(network);
}

static void is_there(struct agent *agent, const char *name)
{
	struct network *network = networks_find(agent, name);
	struct network *leaving = find_in(agent->leaving, name);
	if (!is_asked_for(agent, name))
		return;
	if (network && network->gone_timer) {
		log_info("%s: its config is in the store again", network->who);
		network->gone_timer = timer_free(network->gone_timer);
	} else if (leaving) {
		leaving->comes_back = true;
	} else if (!network) {
		begin(agent, name);
	}
}

static void on_gone_timer(void *arg)
{
	struct network *network = arg;
	if (network->agent->ending > 0)
		return; // it has its end already
	network->gone_timer = timer_free(network->gone_timer);
	unlink_from(&network->agent->networks, network);
	link_last(&network->agent->leaving, network);
	network_leave(network);
	firewall_follow(network->agent);
	agent_note_progress(network->agent);
}

static void is_gone(struct network *network)
{
	if (network->gone_timer)
		return;
	log_warn("%s: its config is gone from the store: taking it off this host unless it comes back within %llu ms",
		 network->who, (unsigned long long)network->agent->options->peer_hold_ms);
	fabric_rest(network->fabric);
	network->gone_timer = timer_new(network->agent->loop, on_gone_timer, network);
	timer_start(network->gone_timer, network->agent->options->peer_hold_ms);
}

void network_left(struct network *network)
{
	struct agent *agent = network->agent;
	_cleanup_free_ char *name = network->comes_back ? xstrdup(network->name) : NULL;
	unlink_from(&agent->leaving, network);
	network_free(network);
	if (name)
		begin(agent, name);
	if (agent->follow->left_one_out) {
		agent->follow->left_one_out = false;
		registry_follow_again(agent->follow->follow);
	}
}

static bool is_listed(const struct network *network, char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], network->name) == 0)
			return true;
	return false;
}

static void on_listed(void *arg, char *const *names, size_t count, bool store_changed)
{
	struct networks *networks = arg;
	struct agent *agent = networks->agent;
	bool is_lost = store_changed || count == 0;
	networks->is_listed = true;
	networks->is_down = false;
	for (size_t i = 0; i < count; i++)
		is_there(agent, names[i]);
	for (struct network *network = agent->networks; network; network = network->next) {
		if (is_listed(network, names, count))
			continue;
		if (is_lost)
			log_warn("%s: not in the store, which %s: going on with what is known",
				 network->who,
				 count == 0 ? "has no network at all" : "is another one");
		else
			is_gone(network);
	}
	if (count == 0 && registry_chooses(networks->registry))
		log_error("agent: a server of flannel does not tell weft which networks it has: name them by --networks");
	else if (count == 0)
		log_info("agent: there is no network below %s yet: waiting for one",
			 agent->options->store_flags.prefix);
	agent_note_progress(agent);
}

static void on_changed(void *arg, const char *name, bool is_in_store)
{
	struct networks *networks = arg;
	struct network *network = networks_find(networks->agent, name);
	struct network *leaving = find_in(networks->agent->leaving, name);
	if (is_in_store)
		is_there(networks->agent, name);
	else if (network)
		is_gone(network);
	else if (leaving)
		leaving->comes_back = false;
}

static void on_unread(void *arg, const struct err *e)
{
	struct networks *networks = arg;
	if (!networks->is_down)
		log_warn("agent: the store does not say which networks there are: %s", e->msg);
	networks->is_down = true;
}

static const struct registry_follow_fns follow_fns = {
	.listed = on_listed,
	.changed = on_changed,
	.unread = on_unread,
};

// ---- life ----

static int select_name(const struct dirent *entry)
{
	return registry_network_check(entry->d_name, NULL) == 0;
}

static void add_known(struct agent *agent, const char *name)
{
	struct network *network = NULL;
	struct err e = { 0 };
	if (!is_asked_for(agent, name))
		return;
	if (add(agent, name, &network, &e) < 0) {
		log_warn("agent: %s", e.msg);
	} else if (!network->state.config_text) {
		unlink_from(&agent->networks, network);
		network_free(network);
	}
}

// In the order of their names, so that slots are dealt out alike on every start.
static void add_all_known(struct agent *agent)
{
	_cleanup_free_ char *path = xasprintf("%s/" NETWORKS_STATE_DIR, agent->options->state_dir);
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, select_name, alphasort);
	for (int i = 0; i < count; i++) {
		add_known(agent, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

static int open_follow(struct agent *agent, struct err *e)
{
	struct networks *networks = xnew(struct networks);
	networks->agent = agent;
	agent->follow = networks;
	return registry_new(agent->kv, agent->options->store_flags.prefix, &networks->registry, e);
}

int networks_open(struct agent *agent, struct err *e)
{
	const struct flag_list *names = &agent->options->networks;
	int r = 0;
	if (!agent->has_several)
		return add(agent, "", NULL, e);
	if (agent->options->watch_networks) {
		r = open_follow(agent, e);
		if (r == 0)
			add_all_known(agent);
		return r;
	}
	for (size_t i = 0; r == 0 && i < names->count; i++)
		r = add(agent, names->items[i], NULL, e);
	return r;
}

void networks_start(struct agent *agent)
{
	for (struct network *network = agent->networks; network; network = network->next)
		network_start(network);
	if (agent->follow)
		agent->follow->follow =
			registry_follow_start(agent->follow->registry, &follow_fns, agent->follow);
}

static void free_all(struct network **list)
{
	while (*list) {
		struct network *network = *list;
		*list = network->next;
		network_free(network);
	}
}

void networks_close(struct agent *agent)
{
	free_all(&agent->networks);
	free_all(&agent->leaving);
	if (!agent->follow)
		return;
	registry_follow_free(agent->follow->follow);
	registry_free(agent->follow->registry);
	free(agent->follow);
	agent->follow = NULL;
}

bool networks_are_known(const struct agent *agent)
{
	return !agent->follow || agent->follow->is_listed;
}
