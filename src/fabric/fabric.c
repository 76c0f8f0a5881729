// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the conversation with the store: config, snapshots, the watch; and telling the agent.
#include "fabric/fabric_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

const char *const fabric_lease_state_names[FABRIC_LEASE_STATE_COUNT] = {
	[FABRIC_LEASE_NONE] = "none",	    [FABRIC_LEASE_CACHED] = "cached",
	[FABRIC_LEASE_HELD] = "held",	    [FABRIC_LEASE_LOST] = "lost",
	[FABRIC_LEASE_FOREIGN] = "foreign", [FABRIC_LEASE_UNFIT] = "unfit",
};

const char *const fabric_peer_state_names[FABRIC_PEER_STATE_COUNT] = {
	[FABRIC_PEER_GOOD] = "good",
	[FABRIC_PEER_HELD] = "held",
	[FABRIC_PEER_REJECTED] = "rejected",
};

// A store that is there answers in a few milliseconds; a host that boots without one is not to wait for it.
#define SEED_WAIT_MS 500

static void begin(struct fabric *fabric);
static void on_event(void *arg, const struct registry_event *event);

// ---- telling ----

static void tell_store(struct fabric *fabric, bool up, const struct err *why)
{
	// A stream that broke comes back by itself, a token that is refused does not.
	bool is_refusal = !up && why && why->code == -EACCES && fabric->down_why.code != -EACCES;
	if (fabric->up_told && fabric->up == up && !is_refusal)
		return;
	fabric->up = up;
	fabric->up_told = true;
	fabric->up_since_ms = loop_now_ms();
	memset(&fabric->down_why, 0, sizeof(fabric->down_why));
	if (!up && why)
		fabric->down_why = *why;
	fabric->hooks.store(fabric->arg, up, up ? NULL : &fabric->down_why);
}

static void on_peer_change(void *arg, const struct lease *old, const struct lease *now)
{
	struct fabric *fabric = arg;
	if (fabric->peers_told)
		fabric->hooks.peer_changed(fabric->arg, old, now);
}

static void tell_peers_reset(struct fabric *fabric, bool is_partial)
{
	fabric->peers_told = true;
	fabric->peers_partial = is_partial;
	fabric->hooks.peers_reset(fabric->arg, is_partial);
}

void fabric_tell_rules(struct fabric *fabric)
{
	if (!fabric->has_conf)
		return;
	if (fabric->joined && !fabric->has_base) {
		netconf_copy(&fabric->conf, &fabric->base);
		fabric->has_base = true;
	}
	peer_table_set_rules(fabric->peers, fabric->has_base ? &fabric->base : &fabric->conf,
			     &fabric->conf, fabric->has_lease ? &fabric->lease.subnet : NULL,
			     fabric->joined ? &fabric->attrs : NULL);
}

int64_t fabric_ttl_s(const struct fabric *fabric)
{
	return fabric->config.lease_ttl_s > 0 ? fabric->config.lease_ttl_s : LEASE_TTL_S;
}

static void start_again_later(struct fabric *fabric)
{
	timer_start(fabric->start_timer, backoff_next_ms(&fabric->start_backoff) + 1);
}

// ---- config ----

static void tell_config_error(struct fabric *fabric, const struct err *e)
{
	if (fabric->conf_error && strcmp(fabric->conf_error, e->msg) == 0)
		return;
	free(fabric->conf_error);
	fabric->conf_error = xstrdup(e->msg);
	fabric->hooks.config_error(fabric->arg, e);
}

// False: it cannot be used, and was told.
static bool take_config_text(struct fabric *fabric, const char *text)
{
	struct netconf conf = { 0 };
	struct err e = { 0 };
	int r;
	if (fabric->has_conf && !fabric->conf_error && strcmp(fabric->conf_text, text) == 0)
		return true;
	r = netconf_parse(text, strlen(text), &conf, &e);
	fabric->is_frozen = r == -EBUSY;
	if (r < 0) {
		fabric->frozen = e;
		err_wrap(&e, "config");
		tell_config_error(fabric, &e);
		return false;
	}
	netconf_free(&fabric->conf);
	free(fabric->conf_text);
	free(fabric->conf_error);
	fabric->conf_error = NULL;
	fabric->conf = conf;
	fabric->conf_text = xstrdup(text);
	fabric->has_conf = true;
	fabric_tell_rules(fabric);
	if (fabric->seeded)
		return true; // told with the rest
	fabric->hooks.config(fabric->arg, &fabric->conf, fabric->conf_text);
	own_config_changed(fabric);
	return true;
}

// The cache is good enough: the store's config is in its place, or does not come.
static void tell_seed(struct fabric *fabric)
{
	if (!fabric->seeded)
		return;
	fabric->seeded = false;
	timer_stop(fabric->seed_timer);
	fabric->hooks.config(fabric->arg, &fabric->conf, fabric->conf_text);
	if (fabric->has_lease)
		fabric->hooks.lease(fabric->arg, fabric->state, &fabric->lease, &fabric->why);
	tell_peers_reset(fabric, false);
}

static void seed_tick(void *arg)
{
	tell_seed(arg);
}

static void on_config(void *arg, int r, const char *text, int64_t mod_revision,
		      const struct kv_header *header, const struct err *e)
{
	struct fabric *fabric = arg;
	fabric->reading_config = false;
	bool answered = header != NULL;
	if (answered)
		fabric->conf_as_of = *header;
	else
		tell_store(fabric, false, e);
	if (answered && r < 0)
		tell_config_error(fabric, e);
	if (answered)
		fabric->conf_is_absent = r == -ENOENT;
	if (r < 0 && mod_revision > fabric->conf_revision)
		fabric->conf_revision = mod_revision;
	if (r == 0 && mod_revision >= fabric->conf_revision) {
		fabric->conf_revision = mod_revision;
		fabric->rests = false;
		(void)take_config_text(fabric, text); // if it cannot be used the last one stays, and the error was told
	}
	tell_seed(fabric);
	fabric->config_is_fresh = answered && fabric->has_conf && !fabric->joined;
	if (answered && fabric->has_conf && fabric->joined) {
		begin(fabric);
		return;
	}
	// Before the agent joined nothing is watched: what keeps it from joining may be a config that is being corrected,
	// and not the store, which answered.
	if (answered)
		tell_store(fabric, true, NULL);
	start_again_later(fabric);
}

// ---- snapshot ----

static void on_snapshot_lease(void *arg, struct lease *lease)
{
	struct fabric *fabric = arg;
	if (lease_is_own(fabric, lease))
		own_seen(fabric, lease);
	else
		peer_table_put(fabric->peers, lease);
	// The kernel can be programmed while the store still answers.
	if (!fabric->peers_told && lease_set_count(peer_table_good(fabric->peers)) > 0)
		tell_peers_reset(fabric, true);
}

static void on_snapshot_bad(void *arg, const struct registry_bad *bad)
{
	struct fabric *fabric = arg;
	own_junk(fabric, bad);
	peer_table_bad(fabric->peers, bad);
}

static void expire_tick(void *arg)
{
	struct fabric *fabric = arg;
	uint64_t now_ms = loop_now_ms();
	uint64_t next = peer_table_expire(fabric->peers, now_ms);
	if (next != UINT64_MAX)
		timer_start(fabric->hold_timer, next > now_ms ? next - now_ms : 1);
}

// Than the one that the config is from.
static bool is_other_store(const struct fabric *fabric, const struct kv_header *leases)
{
	return leases->cluster_id != fabric->conf_as_of.cluster_id ||
	       leases->revision < fabric->conf_as_of.revision;
}

static void on_snapshot_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct fabric *fabric = arg;
	fabric->reading_leases = false;
	if (r < 0) {
		if (fabric->peers_partial)
			tell_peers_reset(fabric, false);
		tell_store(fabric, false, e);
		start_again_later(fabric);
		return;
	}
	if (is_other_store(fabric, header)) {
		fabric->store_was_changed = true;
		fabric->conf_revision = 0;
		fabric->read_anew = true;
	}
	if (fabric->read_anew) {
		fabric->read_anew = false;
		timer_start(fabric->start_timer, 0);
		return;
	}
	peer_table_snapshot_end(fabric->peers, fabric->store_was_changed);
	fabric->store_was_changed = false;
	expire_tick(fabric);
	if (!fabric->peers_told || fabric->peers_partial)
		tell_peers_reset(fabric, false);
	backoff_reset(&fabric->start_backoff);
	// The config was read before the leases, and may have changed in between.
	fabric->watch = registry_watch_start(fabric->registry, fabric->conf_as_of.revision + 1,
					     header->cluster_id, on_event, fabric);
	fabric->snapshot_done = true;
	fabric->snapshot_revision = header->revision;
	own_snapshot_end(fabric, header->revision);
}

static const struct registry_snapshot_fns snapshot_fns = {
	.lease = on_snapshot_lease,
	.bad = on_snapshot_bad,
	.done = on_snapshot_done,
};

// ---- the watch ----

void fabric_read_again(struct fabric *fabric, const char *why)
{
	// Ten thousand agents lose a watch at one moment.
	uint64_t spread_ms = 200 + lease_set_count(peer_table_good(fabric->peers));

	log_info("fabric: read everything again: %s", why);
	fabric->watch = registry_watch_free(fabric->watch);
	fabric->snapshot_done = false;
	fabric->read_anew = fabric->reading_leases;
	timer_start(fabric->start_timer, random_below(spread_ms < 30000 ? spread_ms : 30000) + 1);
}

static void on_lost(struct fabric *fabric, const struct registry_event *event)
{
	fabric->store_was_changed = fabric->store_was_changed || event->store_changed;
	fabric->conf_revision = 0;
	fabric_read_again(fabric, event->err ? err_msg(event->err) : "the watch was lost");
}

static void on_config_put(struct fabric *fabric, const struct registry_event *event)
{
	if (event->revision <= fabric->conf_revision)
		return;
	fabric->conf_revision = event->revision;
	fabric->rests = false;
	fabric->conf_is_absent = false;
	if (event->err)
		tell_config_error(fabric, event->err);
	else
		(void)take_config_text(fabric, event->text); // the old one stays in force, and the error was told
	own_step(fabric);
}

static void on_lease_put(struct fabric *fabric, struct lease *lease)
{
	if (lease_is_own(fabric, lease))
		own_seen(fabric, lease);
	else
		peer_table_put(fabric->peers, lease);
}

static void on_lease_delete(struct fabric *fabric, const struct subnet *subnet, int64_t revision)
{
	own_gone(fabric, subnet, revision);
	peer_table_gone(fabric->peers, subnet);
	own_retry_soon(fabric);
	expire_tick(fabric);
}

// The watch begins where the config was read: what it tells of leases from before the snapshot is old.
static void on_leases_event(struct fabric *fabric, const struct registry_event *event)
{
	if (event->revision <= fabric->snapshot_revision)
		return;
	switch (event->kind) {
	case REGISTRY_LEASE_PUT:
		on_lease_put(fabric, event->lease);
		break;
	case REGISTRY_LEASE_DELETE:
		on_lease_delete(fabric, &event->lease->subnet, event->revision);
		break;
	case REGISTRY_LEASE_BAD:
		on_snapshot_bad(fabric, event->bad);
		break;
	default:
		peer_table_bad_gone(fabric->peers, event->bad->key);
		break;
	}
	own_watched(fabric, event->revision);
}

static void on_event(void *arg, const struct registry_event *event)
{
	struct fabric *fabric = arg;
	struct err e = { 0 };
	switch (event->kind) {
	case REGISTRY_LEASE_PUT:
	case REGISTRY_LEASE_DELETE:
	case REGISTRY_LEASE_BAD:
	case REGISTRY_BAD_GONE:
		on_leases_event(fabric, event);
		return;
	case REGISTRY_CONFIG_PUT:
		on_config_put(fabric, event);
		return;
	case REGISTRY_CONFIG_DELETE:
		fabric->conf_is_absent = true;
		err_set(&e, -ENOENT,
			"the network's config was deleted from the store; going on with the last one");
		fabric->rests = fabric->rests || fabric->config.rests_without_config;
		tell_config_error(fabric, &e);
		return;
	case REGISTRY_UP:
		if (fabric->up_told && !fabric->up)
			own_verify_soon(fabric);
		tell_store(fabric, true, NULL);
		return;
	case REGISTRY_DOWN:
		tell_store(fabric, false, event->err);
		return;
	case REGISTRY_LOST:
		on_lost(fabric, event);
		return;
	}
}

// ---- life ----

// Whatever is next: config, then (once the agent has joined) the leases, then the watch.
static void begin(struct fabric *fabric)
{
	if (!fabric->joined || !fabric->has_conf || fabric->reading_leases || fabric->watch)
		return;
	fabric->reading_leases = true;
	fabric->snapshot_done = false;
	fabric_tell_rules(fabric);
	own_snapshot_begin(fabric);
	peer_table_snapshot_begin(fabric->peers);
	registry_leases(fabric->registry, &snapshot_fns, fabric);
}

static void start_tick(void *arg)
{
	struct fabric *fabric = arg;
	if (fabric->reading_config || fabric->reading_leases || fabric->watch)
		return;
	if (fabric->config_is_fresh && fabric->joined) {
		fabric->config_is_fresh = false;
		begin(fabric);
		return;
	}
	fabric->reading_config = true;
	registry_config_get(fabric->registry, on_config, fabric);
}

struct fabric *fabric_new(struct loop *loop, struct registry *registry,
			  const struct fabric_config *config, const struct fabric_hooks *hooks,
			  void *arg)
{
	struct fabric *fabric = xnew(struct fabric);
	fabric->loop = loop;
	fabric->registry = registry;
	fabric->config = *config;
	if (config->previous) {
		fabric->previous = *config->previous;
		fabric->has_previous = true;
	}
	fabric->config.previous = NULL;
	fabric->hooks = *hooks;
	fabric->arg = arg;
	fabric->peers = peer_table_new(config->peer_hold_ms, (uint64_t)fabric_ttl_s(fabric) * 1000,
				       on_peer_change, fabric);
	fabric->start_timer = timer_new(loop, start_tick, fabric);
	fabric->seed_timer = timer_new(loop, seed_tick, fabric);
	fabric->hold_timer = timer_new(loop, expire_tick, fabric);
	fabric->start_backoff = (struct backoff){ .base_ms = 100, .max_ms = 2000 };
	fabric->up_since_ms = loop_now_ms();
	return fabric;
}

void fabric_rest(struct fabric *fabric)
{
	fabric->rests = true;
}

struct fabric *fabric_free(struct fabric *fabric)
{
	if (!fabric)
		return NULL;
	registry_watch_free(fabric->watch);
	timer_free(fabric->start_timer);
	timer_free(fabric->seed_timer);
	timer_free(fabric->hold_timer);
	own_free(fabric);
	peer_table_free(fabric->peers);
	netconf_free(&fabric->conf);
	netconf_free(&fabric->base);
	free(fabric->conf_text);
	free(fabric->conf_error);
	free(fabric);
	return NULL;
}

void fabric_seed(struct fabric *fabric, const char *config_text, const struct lease *lease,
		 struct lease_set *peers)
{
	struct err e;
	if (netconf_parse(config_text, strlen(config_text), &fabric->conf, &e) < 0) {
		log_warn("fabric: the cached config is not used: %s", e.msg);
		lease_set_free(peers);
		return;
	}
	fabric->conf_text = xstrdup(config_text);
	fabric->has_conf = true;
	if (lease && subnet_fits(&fabric->conf, &lease->subnet)) {
		lease_copy(lease, &fabric->lease);
		fabric->has_lease = true;
		fabric->state = FABRIC_LEASE_CACHED;
		err_set(&fabric->why, -EAGAIN, "the store has not confirmed it yet");
		fabric->previous = lease->subnet;
		fabric->has_previous = true;
	}
	fabric_tell_rules(fabric);
	if (peers)
		peer_table_seed(fabric->peers, peers);
	fabric->seeded = true;
}

void fabric_start(struct fabric *fabric)
{
	timer_start(fabric->start_timer, 0);
	if (fabric->seeded)
		timer_start(fabric->seed_timer, SEED_WAIT_MS);
}

void fabric_refresh(struct fabric *fabric)
{
	fabric->watch = registry_watch_free(fabric->watch);
	fabric->snapshot_done = false;
	fabric->conf_revision = 0;
	timer_start(fabric->start_timer, 0);
}

// ---- views ----

const struct netconf *fabric_netconf(const struct fabric *fabric)
{
	return fabric->has_conf ? &fabric->conf : NULL;
}

const char *fabric_config_text(const struct fabric *fabric)
{
	return fabric->conf_text;
}

const struct lease *fabric_lease(const struct fabric *fabric)
{
	return fabric->has_lease ? &fabric->lease : NULL;
}

enum fabric_lease_state fabric_lease_state(const struct fabric *fabric, const struct err **ret_why)
{
	if (ret_why)
		*ret_why = &fabric->why;
	return fabric->state;
}

int64_t fabric_lease_expires_in_s(const struct fabric *fabric)
{
	uint64_t now_ms = loop_boottime_ms();
	if (!fabric->has_lease || fabric->lease.session == 0 || fabric->expires_at_ms == 0)
		return -1;
	return fabric->expires_at_ms > now_ms ? (int64_t)((fabric->expires_at_ms - now_ms) / 1000) : 0;
}

int64_t fabric_lease_age_s(const struct fabric *fabric)
{
	if (!fabric->has_lease || fabric->lease.session == 0 || fabric->confirmed_at_ms == 0)
		return -1;
	return (int64_t)((loop_boottime_ms() - fabric->confirmed_at_ms) / 1000);
}

bool fabric_store_up(const struct fabric *fabric, const struct err **ret_why, uint64_t *ret_since_ms)
{
	if (ret_why)
		*ret_why = &fabric->down_why;
	if (ret_since_ms)
		*ret_since_ms = fabric->up_since_ms;
	return fabric->up;
}

const struct lease_set *fabric_peers(const struct fabric *fabric)
{
	return peer_table_good(fabric->peers);
}

size_t fabric_peer_count(const struct fabric *fabric, enum fabric_peer_state state)
{
	return peer_table_count(fabric->peers, state);
}

void fabric_odd_each(const struct fabric *fabric, fabric_odd_fn *fn, void *arg)
{
	peer_table_odd_each(fabric->peers, fn, arg);
}
