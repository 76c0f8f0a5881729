// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the life of a network's addresses: its journal, its lease, its timers, and how it is doing.
#include "ipam/ipam_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <string.h>

bool ipam_holds_lease(const struct ipam *ipam)
{
	return ipam->lease_state == FABRIC_LEASE_HELD;
}

const struct ipnet *ipam_net(const struct ipam *ipam, enum family family)
{
	const struct subnet *subnet = allocator_subnet(ipam->allocator);

	return family == FAMILY_V6 ? &subnet->v6 : &subnet->v4;
}

// By its mark, which stays when the host's address changes, or else by the address.
bool ipam_is_own(const struct ipam *ipam, const struct address_record *record)
{
	if (record->state != ADDRESS_USED || !record->node)
		return false;
	if (*ipam->config.owner && strcmp(record->owner, ipam->config.owner) == 0)
		return true;
	return strcmp(record->node, ipam->node) == 0 || strcmp(record->boot, ipam->config.boot) == 0;
}

// ---- the lease ----

static void take_lease(struct ipam *ipam, const struct lease *lease)
{
	const struct lease_attrs *attrs = &lease->attrs;

	(void)ip_str(ip_is_set(&attrs->public_ip) ? &attrs->public_ip : &attrs->public_ipv6,
		     ipam->node);
	ipam->fence_revision = lease->mod_revision;
	lease_free(&ipam->lease);
	lease_copy(lease, &ipam->lease);
	if (subnet_equal(&lease->subnet, allocator_subnet(ipam->allocator)))
		return;
	adds_refuse(ipam, "another subnet");
	writes_forget(ipam);
	ipam->reads_again = ipam->is_reading;
	if (ipam->is_ready)
		log_warn("%s: another subnet: addresses of the former one are forgotten",
			 ipam->config.who);
	allocator_set_subnet(ipam->allocator, &lease->subnet);
	ipam->is_read = false;
	ipam->is_first_reading = true;
	rebuild_restore(ipam);
}

void ipam_set_lease(struct ipam *ipam, enum fabric_lease_state state, const struct lease *lease,
		    const char *why)
{
	bool was_held = ipam_holds_lease(ipam);

	ipam->lease_state = state;
	(void)text_copy(ipam->lease_why, sizeof(ipam->lease_why), why ? why : "");
	if (lease && (state == FABRIC_LEASE_HELD || state == FABRIC_LEASE_CACHED))
		take_lease(ipam, lease);
	if (!subnet_equal(&ipam->lease.subnet, allocator_subnet(ipam->allocator)) ||
	    (state != FABRIC_LEASE_HELD && state != FABRIC_LEASE_CACHED)) {
		adds_refuse(ipam, "subnet lease lost");
		return;
	}
	// Whoever had the subnet meanwhile may have left records.
	if (!ipam->is_read || (!was_held && ipam_holds_lease(ipam)))
		rebuild_start(ipam);
	writes_soon(ipam);
}

void ipam_store_is_back(struct ipam *ipam)
{
	timer_stop(ipam->write_timer);
	if (timer_is_pending(ipam->read_timer)) {
		timer_stop(ipam->read_timer);
		rebuild_start(ipam);
	}
	if (!ipam->is_session_checked && ipam->session_timer)
		timer_stop(ipam->session_timer);
	writes_soon(ipam);
}

// ---- timers ----

static void on_write_timer(void *arg)
{
	writes_start(arg);
}

static void on_read_timer(void *arg)
{
	rebuild_start(arg);
}

// ---- how it is doing ----

void ipam_status(const struct ipam *ipam, struct ipam_status *ret)
{
	*ret = (struct ipam_status){
		.ready = ipam->is_ready,
		.store_read = ipam->is_read,
		.subnet = *allocator_subnet(ipam->allocator),
		.leaks = ipam->leaks,
		.error = !ipam->config.has_records     ? "the store keeps no records of addresses"
			 : ipam->write_error.code != 0 ? err_msg(&ipam->write_error)
						       : "",
	};
	for (int family = 0; family < FAMILY_COUNT; family++) {
		allocator_count(ipam->allocator, (enum family)family, loop_boottime_ms(),
				&ret->counts[family]);
		ret->unwritten += ret->counts[family].unwritten;
	}
}

bool ipam_is_ready(const struct ipam *ipam)
{
	return ipam->is_ready;
}

void ipam_on_ready(struct ipam *ipam, ipam_ready_fn *fn, void *arg)
{
	ipam->on_ready = fn;
	ipam->on_ready_arg = arg;
}

// ---- life ----

int ipam_new(const struct ipam_config *config, struct ipam **ret, struct err *e)
{
	struct ipam *ipam = xnew(struct ipam);
	int r;

	ipam->config = *config;
	ipam->allocator = allocator_new(config->quarantine_ms);
	ipam->is_singly = kv_txn_max(config->kv) < FAMILY_COUNT + 1;
	ipam->is_sessionless = kv_limits(config->kv) & KV_LIMIT_KEY_SESSIONS;
	ipam->is_first_reading = true;
	ipam->write_timer = timer_new(config->loop, on_write_timer, ipam);
	ipam->soon = timer_new(config->loop, on_write_timer, ipam);
	ipam->read_timer = timer_new(config->loop, on_read_timer, ipam);
	ipam->write_backoff = (struct backoff){ .base_ms = 200, .max_ms = 10000 };
	ipam->session_backoff = (struct backoff){ .base_ms = 500, .max_ms = 30000 };
	ipam->read_backoff =
		(struct backoff){ .base_ms = READ_PAUSE_BASE_MS, .max_ms = READ_PAUSE_MAX_MS };
	leak_start(ipam);
	r = journal_open(config->journal_path, config->boot, config->prefix, &ipam->journal,
			 &ipam->content, e);
	if (r < 0) {
		(void)err_wrap(e, "journal of addresses");
		ipam_free(ipam);
		return r;
	}
	if (ipam->content.bad_lines > 0)
		log_warn("%s: journal of addresses: %zu of %zu lines are damaged and left out",
			 config->who, ipam->content.bad_lines, ipam->content.lines);
	ipam->session = ipam->content.session;
	*ret = ipam;
	return 0;
}

struct ipam *ipam_free(struct ipam *ipam)
{
	if (!ipam)
		return NULL;
	adds_refuse(ipam, "the agent is stopping");
	writes_forget(ipam);
	session_forget(ipam);
	kv_forget(ipam->config.kv, ipam);
	rebuild_forget(ipam);
	timer_free(ipam->write_timer);
	timer_free(ipam->soon);
	timer_free(ipam->read_timer);
	timer_free(ipam->leak_timer);
	lease_free(&ipam->lease);
	journal_close(ipam->journal);
	allocator_free(ipam->allocator);
	free(ipam);
	return NULL;
}
