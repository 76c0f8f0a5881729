// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keeping the host's firewall rules as the networks want them: the turns.
#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "kernel/nft_monitor.h"
#include "masq/masq_internal.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

#define SETTLE_MS 20	     // a flush is many notifications
#define LOOK_PAUSE_MS 200    // between two looks, however many changes others make
#define RETRY_MS 5000	     // after a failure
#define QUIET_LOOK_MS 30000  // although nothing was told
#define MONITOR_DATAGRAMS 64 // of a few hundred bytes to a page each

const char *const masq_mode_names[MASQ_MODE_COUNT] = { "auto", "nftables", "iptables" };

// ---- when ----

static void start_look(struct masq *masq);

static void look_within(struct masq *masq, uint64_t delay_ms)
{
	uint64_t now_ms = loop_now_ms();
	uint64_t earliest_ms = masq->looked_at_ms ? masq->looked_at_ms + LOOK_PAUSE_MS : 0;
	uint64_t due_ms = now_ms + delay_ms < earliest_ms ? earliest_ms : now_ms + delay_ms;
	if (masq->is_busy) {
		masq->again = true;
		return;
	}
	if (timer_is_pending(masq->timer) && masq->due_ms <= due_ms)
		return;
	masq->due_ms = due_ms;
	timer_start(masq->timer, due_ms - now_ms);
}

static void end_turn(struct masq *masq, uint64_t delay_ms)
{
	bool again = masq->again;
	masq->is_busy = false;
	masq->again = false;
	masq->has_applied = false;
	look_within(masq, again ? SETTLE_MS : delay_ms);
}

static void on_timer(void *arg)
{
	struct masq *masq = arg;
	masq->is_busy = true;
	start_look(masq);
}

// ---- what happened ----

static void fail(struct masq *masq, const struct err *e)
{
	bool is_news = strcmp(masq->status.error.msg, e->msg) != 0;
	masq->status.error = *e;
	masq->status.is_in_order = false;
	masq->iptables_changed = true;
	if (is_news)
		log_error("firewall: %s", e->msg);
	end_turn(masq, RETRY_MS);
}

static bool legacy_is_used(void)
{
	return iptables_legacy_is_used(MASQ_IPV4) || iptables_legacy_is_used(MASQ_IPV6);
}

static void in_order(struct masq *masq)
{
	uint64_t quiet_ms = masq->config.resync_ms;
	// The kernel does not tell of changes of the old kind.
	if (!legacy_is_used() && masq->monitor && quiet_ms < QUIET_LOOK_MS)
		quiet_ms = QUIET_LOOK_MS;
	if (masq->status.error.code != 0)
		log_info("firewall: recovered from: %s", masq->status.error.msg);
	if (masq->has_applied)
		log_info("firewall: %zu rules are in place, by %s%s%s (%s)", masq->status.rules,
			 masq_mode_names[masq->status.mode], *masq->status.kind ? " of kind " : "",
			 masq->status.kind, masq->status.why);
	memset(&masq->status.error, 0, sizeof(masq->status.error));
	masq->status.is_in_order = true;
	masq->is_settled = true;
	end_turn(masq, quiet_ms);
}

// ---- applying ----

static void apply_next(struct masq *masq);

static void applied(struct masq *masq, int r, const struct err *e)
{
	masq->status.changes++;
	masq->left &= ~(1u << masq->at);
	if (r < 0 && masq->at != PLACE_NFTABLES && !masq->no_random && strstr(e->msg, "random-fully")) {
		log_warn("firewall: this iptables cannot choose ports at random: masquerading without");
		masq->no_random = true;
	} else if (r < 0) {
		fail(masq, e);
		return;
	}
	apply_next(masq);
}

static void on_nft_applied(void *arg)
{
	struct masq *masq = arg;
	struct nft_job *job = TAKE_PTR(masq->job);
	masq->work = work_free(masq->work);
	applied(masq, job->error, &job->e);
	nft_job_free(job);
}

// On the thread. The loop touches the job again when the work has ended.
static void run_job(void *arg)
{
	nft_job_run(((struct masq *)arg)->job);
}

static void apply(struct masq *masq, size_t place)
{
	char *commands = place_commands(masq, place);
	struct err e = { 0 };
	masq->at = place;
	masq->has_applied = true;
	if (place == PLACE_NFTABLES) {
		masq->job = nft_job_new(commands);
		masq->work = work_start(masq->loop, run_job, on_nft_applied, masq);
		return;
	}
	masq->iptables_changed = true;
	if (iptables_restore(masq->iptables, place_kind(place), place_family(place), commands, &e) < 0) {
		err_wrap(&e, "the rules of iptables");
		fail(masq, &e);
	}
}

// First where the rules are to be, then where they are not to be any more.
static void apply_next(struct masq *masq)
{
	bool nftables_is_last = masq->status.mode == MASQ_IPTABLES;
	for (size_t place = 0; place < PLACE_COUNT; place++) {
		size_t turned = nftables_is_last ? PLACE_COUNT - 1 - place : place;
		if (masq->left & 1u << turned) {
			apply(masq, turned);
			return;
		}
	}
	start_look(masq);
}

// ---- comparing ----

static uint64_t hold_left_ms(const struct masq *masq)
{
	uint64_t now_ms = loop_now_ms();
	return masq->war.hold_until_ms > now_ms ? masq->war.hold_until_ms - now_ms : 0;
}

// Something was in order and is no more. False: it is to be left alone for now.
static bool may_repair(struct masq *masq)
{
	const char *what = place_name((size_t)__builtin_ctz(masq->left));
	enum war_verdict verdict = war_entry_repair(&masq->war, loop_now_ms());
	masq->status.hold_until_ms = masq->war.hold_until_ms;
	if (verdict == WAR_REPAIR) {
		masq->status.repairs++;
		masq->status.last_repair_at_ms = loop_now_ms();
		masq->hooks->repaired(masq->arg, what, false);
		return true;
	}
	if (verdict == WAR_DECLARED) {
		masq->status.wars++;
		masq->hooks->repaired(masq->arg, what, true);
	}
	return false;
}

static void compare(struct masq *masq)
{
	masq->left = 0;
	masq->status.is_known = true;
	for (size_t i = 0; i < PLACE_COUNT; i++)
		if (!place_is_in_order(masq, i) && !(masq->has_applied && place_take_as_ours(masq, i)))
			masq->left |= 1u << i;
	if (masq->left == 0) {
		in_order(masq);
		return;
	}
	bool was_in_order = masq->is_settled || masq->has_applied;
	masq->status.is_in_order = false;
	if (masq->config.looks_only) {
		end_turn(masq, QUIET_LOOK_MS);
		return;
	}
	if (hold_left_ms(masq) == 0 && (!was_in_order || may_repair(masq))) {
		apply_next(masq);
		return;
	}
	masq->again = false; // what was told meanwhile changes nothing
	end_turn(masq, hold_left_ms(masq));
}

// ---- which way ----

static bool drops(const struct masq *masq, enum iptables_kind kind)
{
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		if (masq->places[kind][i].have.forward_drops ||
		    (kind == IPTABLES_NFT && masq->seen.chains.iptables_drops[i]))
			return true;
	return false;
}

static void use(struct masq *masq, enum masq_mode mode, enum iptables_kind kind, const char *why)
{
	if (masq->status.mode != mode || (mode == MASQ_IPTABLES && masq->kind != kind))
		masq->is_settled = false;
	masq->status.mode = mode;
	masq->status.why = why;
	masq->kind = kind;
	masq->status.kind = mode == MASQ_IPTABLES ? iptables_kind_names[kind] : "";
}

static void choose_mode(struct masq *masq)
{
	bool nft_drops = drops(masq, IPTABLES_NFT), legacy_drops = drops(masq, IPTABLES_LEGACY);
	enum iptables_kind kind = masq->status.mode == MASQ_IPTABLES ? masq->kind
				  : nft_drops			     ? IPTABLES_NFT
				  : legacy_drops || legacy_is_used() ? IPTABLES_LEGACY
								     : IPTABLES_NFT;
	if (masq->config.mode == MASQ_NFTABLES)
		use(masq, MASQ_NFTABLES, kind, "asked for by --firewall");
	else if (masq->config.mode == MASQ_IPTABLES)
		use(masq, MASQ_IPTABLES, kind, "asked for by --firewall");
	else if (masq->prefers_nftables)
		use(masq, MASQ_NFTABLES, kind, "asked for by EnableNFTables in the network's config");
	else if (nft_drops || legacy_drops || masq->status.mode == MASQ_IPTABLES)
		use(masq, MASQ_IPTABLES, kind, "its FORWARD chain drops what it does not know");
	else
		use(masq, MASQ_NFTABLES, kind, "no FORWARD chain of iptables drops");
}

static void warn(struct masq *masq)
{
	char text[sizeof(masq->status.warning)] = "";
	bool is_against_us = masq->status.mode == MASQ_NFTABLES || masq->kind == IPTABLES_LEGACY;
	if (is_against_us && (drops(masq, IPTABLES_NFT) ||
			      (masq->status.mode == MASQ_NFTABLES && drops(masq, IPTABLES_LEGACY))))
		(void)text_copy(text, sizeof(text),
				"the FORWARD chain of iptables drops what it does not know, which our "
				"rules cannot change: accept the network there, or use --firewall=auto");
	else if (*masq->seen.chains.dropper)
		(void)text_format(text, sizeof(text),
				  "chain %s drops what it does not know, which our rules cannot "
				  "change: accept the network there",
				  masq->seen.chains.dropper);
	if (*text && strcmp(text, masq->status.warning) != 0)
		log_warn("firewall: %s", text);
	(void)text_copy(masq->status.warning, sizeof(masq->status.warning), text);
}

// ---- looking ----

static void save_next(struct masq *masq)
{
	while (masq->left) {
		size_t place = (size_t)__builtin_ctz(masq->left);
		struct iptables_place *at = &masq->places[place_kind(place)][place_family(place)];
		struct err e = { 0 };
		masq->at = place;
		masq->left &= ~(1u << place);
		if (iptables_save(masq->iptables, place_kind(place), place_family(place), &at->have,
				  &e) == 0)
			return;
		// Without its programs there are no rules of it; applying some will say so.
		iptables_have_free(&at->have);
	}
	choose_mode(masq);
	warn(masq);
	compare(masq);
}

static void on_iptables_done(void *arg, int r, const struct err *e)
{
	struct masq *masq = arg;
	if (masq->left & 1u << masq->at) // it was being changed
		applied(masq, r, e);
	else if (r < 0)
		fail(masq, e);
	else
		save_next(masq);
}

// Each is a child, so only those that can have something to say.
static void look_at_iptables(struct masq *masq)
{
	const struct nft_chains *chains = &masq->seen.chains;
	bool is_asked = masq->config.mode == MASQ_IPTABLES ||
			(masq->status.mode == MASQ_IPTABLES && masq->kind == IPTABLES_NFT);
	masq->left = 0;
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		bool is_used = is_asked || chains->has_flannel[i] ||
			       chains->iptables_drops[MASQ_IPV4] || chains->iptables_drops[MASQ_IPV6];
		size_t nft = PLACE_IPTABLES + IPTABLES_NFT * MASQ_FAMILY_COUNT + i;
		size_t legacy = PLACE_IPTABLES + IPTABLES_LEGACY * MASQ_FAMILY_COUNT + i;
		if (is_used && masq->iptables_changed)
			masq->left |= 1u << nft;
		else if (!is_used)
			iptables_have_free(&masq->places[IPTABLES_NFT][i].have);
		if (iptables_legacy_is_used(i))
			masq->left |= 1u << legacy;
		else
			iptables_have_free(&masq->places[IPTABLES_LEGACY][i].have);
	}
	masq->iptables_changed = false;
	save_next(masq);
}

static void take_look(struct masq *masq, struct nft_look *look)
{
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		nft_table_free(&masq->seen.tables[i]);
	masq->seen = *look;
	memset(look->tables, 0, sizeof(look->tables));
}

// Who asks for iptables may have a kernel without nftables.
static bool needs_nftables(const struct masq *masq)
{
	return masq->config.mode != MASQ_IPTABLES;
}

static void on_looked(void *arg)
{
	struct masq *masq = arg;
	struct nft_job *job = TAKE_PTR(masq->job);
	masq->work = work_free(masq->work);
	if (job->look.error < 0 && needs_nftables(masq)) {
		fail(masq, &job->look.e);
	} else {
		take_look(masq, &job->look);
		look_at_iptables(masq);
	}
	nft_job_free(job);
}

static int open_monitor(struct masq *masq, struct err *e);

static void start_look(struct masq *masq)
{
	struct err e = { 0 };
	int r = open_monitor(masq, &e);
	timer_stop(masq->timer);
	masq->looked_at_ms = loop_now_ms();
	masq->status.looks++;
	// libnftables ends the program where there are no sockets of this kind: no look without the monitor.
	if (r == 0) {
		masq->job = nft_job_new(NULL);
		masq->work = work_start(masq->loop, run_job, on_looked, masq);
	} else if (needs_nftables(masq)) {
		fail(masq, &e);
	} else {
		look_at_iptables(masq);
	}
}

// ---- the kernel tells ----

// Of the tables of iptables over nftables, where ours are or what leads to them; and the policy of FORWARD.
static bool concerns_iptables(const struct nft_event *event)
{
	static const char *const beside[] = { "", "FORWARD", "POSTROUTING", "FLANNEL-FWD",
					      "FLANNEL-POSTRTG" };
	if (strcmp(event->table, "filter") != 0 && strcmp(event->table, "nat") != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++)
		if (strcmp(event->chain, beside[i]) == 0)
			return true;
	return false;
}

static void on_event(void *arg, const struct nft_event *event)
{
	struct masq *masq = arg;
	int family = event->family == NFPROTO_IPV4   ? MASQ_IPV4
		     : event->family == NFPROTO_IPV6 ? MASQ_IPV6
						     : -1;
	if (family < 0 || !masq->is_set)
		return;
	if (concerns_iptables(event))
		masq->iptables_changed = true;
	else if (strcmp(event->table, masq_nft_tables[family]) != 0)
		return;
	look_within(masq, SETTLE_MS);
}

static void on_readable(void *arg, unsigned int events)
{
	struct masq *masq = arg;
	struct err e = { 0 };
	(void)events;
	int r = nft_monitor_read(masq->monitor, MONITOR_DATAGRAMS, on_event, masq, &e);
	if (r == -ENOBUFS && masq->is_set) {
		masq->iptables_changed = true;
		look_within(masq, SETTLE_MS);
	} else if (r < 0 && r != -ENOBUFS) {
		log_rl(LOG_LEVEL_WARN, "firewall: %s", e.msg);
	}
}

static int open_monitor(struct masq *masq, struct err *e)
{
	int r = masq->monitor ? 0 : nft_monitor_open(&masq->monitor, e);
	if (r < 0 || masq->monitor_watch)
		return r;
	masq->monitor_watch =
		fd_watch_new(masq->loop, nft_monitor_fd(masq->monitor), on_readable, masq);
	fd_watch_set(masq->monitor_watch, FD_READABLE);
	return 0;
}

// ---- the rest ----

struct masq *masq_new(struct loop *loop, const struct masq_config *config,
		      const struct masq_hooks *hooks, void *arg)
{
	struct masq *masq = xnew(struct masq);
	masq->loop = loop;
	masq->config = *config;
	masq->hooks = hooks;
	masq->arg = arg;
	masq->status.why = masq->status.kind = "";
	masq->timer = timer_new(loop, on_timer, masq);
	masq->iptables = iptables_new(loop, on_iptables_done, masq);
	return masq;
}

struct masq *masq_free(struct masq *masq)
{
	if (!masq)
		return NULL;
	work_free(masq->work);
	nft_job_free(masq->job);
	iptables_free(masq->iptables);
	timer_free(masq->timer);
	fd_watch_free(masq->monitor_watch);
	nft_monitor_close(masq->monitor);
	place_free_all(masq);
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		masq_rules_free(&masq->wanted[i]);
	free(masq);
	return NULL;
}

void masq_set(struct masq *masq, const struct masq_network *networks, size_t count,
	      bool prefers_nftables)
{
	bool is_same = masq->is_set && prefers_nftables == masq->prefers_nftables;
	masq->prefers_nftables = prefers_nftables;
	masq->status.rules = 0;
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		struct masq_rules rules = { 0 };
		masq_rules_make(&masq->config.wish, networks, count, i, &rules);
		is_same = is_same && masq_rules_equal(&rules, &masq->wanted[i]);
		masq_rules_free(&masq->wanted[i]);
		masq->wanted[i] = rules;
		masq->status.rules += rules.count;
	}
	if (is_same)
		return;
	masq->is_set = true;
	masq->is_settled = false;
	masq->status.is_in_order = false;
	place_forget_accepted(masq);
	masq_reload(masq);
}

const struct masq_status *masq_status(const struct masq *masq)
{
	return &masq->status;
}

void masq_reload(struct masq *masq)
{
	masq->iptables_changed = true;
	if (masq->is_set)
		look_within(masq, 0);
}

void masq_act(struct masq *masq)
{
	masq->config.looks_only = false;
	masq_reload(masq);
}

void masq_each_change(const struct masq *masq, masq_change_fn *fn, void *arg)
{
	for (size_t i = 0; masq->is_set && i < PLACE_COUNT; i++)
		if (!place_is_in_order(masq, i))
			place_each_change(masq, i, fn, arg);
}
