// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keeping our lease: its session alive, and what the watch may have missed found out.
#include "fabric/own_lease.h"

#include "core/log.h"

#include <errno.h>

#define RENEW_PERIOD_MAX_S 600
#define VERIFY_RETRY_MS 5000

int64_t own_longest_period_s(const struct fabric *fabric)
{
	int64_t third_s = fabric_ttl_s(fabric) / 3;
	return third_s > RENEW_PERIOD_MAX_S ? RENEW_PERIOD_MAX_S : third_s;
}

static int64_t period_s(const struct fabric *fabric)
{
	int64_t longest_s = own_longest_period_s(fabric);
	// With its jitter before the margin begins. One that is longer than the life asks for nothing that can be done.
	int64_t margin_s = (fabric_ttl_s(fabric) - fabric->config.renew_margin_s) * 4 / 5;

	return margin_s > 0 && margin_s < longest_s ? margin_s : longest_s;
}

uint64_t own_renew_period_ms(const struct fabric *fabric)
{
	uint64_t period_ms = (uint64_t)period_s(fabric) * 1000;
	if (period_ms == 0)
		period_ms = 300; // a TTL of a second or two: tests
	return period_ms - period_ms / 5 + random_below(period_ms * 2 / 5 + 1);
}

// The store confirms it, whether or not it fits the config.
bool own_is_kept(const struct fabric *fabric)
{
	return fabric->state == FABRIC_LEASE_HELD || fabric->state == FABRIC_LEASE_UNFIT;
}

// The watch did not tell: the store may be another one, of the same name and of a later revision.
static void suspect_the_store(struct fabric *fabric, const char *why)
{
	if (!fabric->watch)
		return;
	fabric->store_was_changed = true;
	fabric_read_again(fabric, why);
}

// A reservation has no session that would tell us.
static void on_looked_up(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct fabric *fabric = arg;
	bool is_there = r == 0 && lease->mod_revision == fabric->lease.mod_revision;

	if (!fabric->has_lease || fabric->lease.session != 0 || !own_is_kept(fabric) || is_there)
		return;
	if (r < 0 && r != -ENOENT && r != -EINVAL) {
		log_rl(LOG_LEVEL_WARN, "fabric: the lease is not verified: %s", err_msg(e));
		timer_start(fabric->renew_timer, VERIFY_RETRY_MS);
		return;
	}
	suspect_the_store(fabric, "our reservation is not there, and the watch did not say so");
}

static void on_renewed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e);

void own_renew(struct fabric *fabric)
{
	if (!fabric->has_lease || !own_is_kept(fabric))
		return;
	if (fabric->lease.session != 0)
		registry_lease_renew(fabric->registry, fabric->lease.session, on_renewed, fabric);
	else
		registry_lease_get(fabric->registry, &fabric->lease.subnet, on_looked_up, fabric);
}

static uint64_t renew_retry_ms(const struct fabric *fabric)
{
	// The nearer the end, the more often; the margin is where we stop being patient.
	uint64_t now_ms = loop_boottime_ms();
	uint64_t margin_ms = (uint64_t)fabric->config.renew_margin_s * 1000;
	uint64_t left_ms = fabric->expires_at_ms > now_ms ? fabric->expires_at_ms - now_ms : 0;
	uint64_t pause_ms = left_ms > margin_ms ? 5000 : 1000;
	return pause_ms > left_ms / 4 && left_ms > 0 ? left_ms / 4 + 100 : pause_ms;
}

static void on_renewed(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct fabric *fabric = arg;
	if (!fabric->has_lease || fabric->lease.session != session)
		return;
	if (r == 0) {
		fabric->confirmed_at_ms = loop_boottime_ms();
		fabric->expires_at_ms = fabric->confirmed_at_ms + (uint64_t)ttl_s * 1000;
		timer_start(fabric->renew_timer, own_renew_period_ms(fabric));
		log_debug("fabric: the lease is renewed for %lld s", (long long)ttl_s);
		return;
	}
	if (r != -ENOENT) {
		log_rl(LOG_LEVEL_WARN, "fabric: the lease is not renewed: %s", err_msg(e));
		timer_start(fabric->renew_timer, renew_retry_ms(fabric));
		return;
	}
	struct err why;
	err_set(&why, -ENOENT, "the lease expired or was revoked; getting the same subnet again");
	fabric->lease.session = 0;
	fabric->expires_at_ms = 0;
	own_set_at_key(fabric, NULL);
	own_set_state(fabric, FABRIC_LEASE_LOST, &why);
	own_step(fabric);
	suspect_the_store(fabric, "our session ended, and the watch did not say so");
}

void own_verify_soon(struct fabric *fabric)
{
	if (fabric->has_lease && own_is_kept(fabric))
		timer_start(fabric->renew_timer, random_below(1000) + 1);
}

void own_renew_tick(void *arg)
{
	own_renew(arg);
}
