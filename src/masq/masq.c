// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keeping the host's firewall rules as the networks want them.
#include "masq/masq.h"

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/work.h"
#include "kernel/nft_monitor.h"
#include "masq/nftables.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

#define SETTLE_MS 20	     // a flush is many notifications
#define LOOK_PAUSE_MS 200    // between two looks, however many changes others make
#define RETRY_MS 5000	     // after a failure
#define QUIET_LOOK_MS 30000  // although nothing was told
#define MONITOR_DATAGRAMS 64 // of a few hundred bytes to a page each

const char *const masq_mode_names[MASQ_MODE_COUNT] = { "auto", "nftables" };

struct masq {
	struct loop *loop;
	struct masq_config config;
	const struct masq_hooks *hooks;
	void *arg;
	struct masq_status status;

	struct masq_rules wanted[MASQ_FAMILY_COUNT];
	bool is_set;					       // masq_set was called
	bool is_settled;				       // was in order since wanted changed
	bool has_applied;				       // in this turn
	json_t *accepted[MASQ_FAMILY_COUNT][MASQ_CHAIN_COUNT]; // how nft lists what is wanted, if otherwise than we write it

	struct nft_monitor *monitor;
	struct fd_watch *monitor_watch;
	struct work *work;
	struct nft_job *job;
	struct nft_look seen; // the last one without its error
	struct timer *timer;
	uint64_t due_ms; // of it
	uint64_t looked_at_ms;
	bool again; // something happened during the turn
	struct war_entry war;
};

// ---- when ----

static void start_look(struct masq *masq);

static void look_within(struct masq *masq, uint64_t delay_ms)
{
	uint64_t now_ms = loop_now_ms();
	uint64_t earliest_ms = masq->looked_at_ms ? masq->looked_at_ms + LOOK_PAUSE_MS : 0;
	uint64_t due_ms = now_ms + delay_ms < earliest_ms ? earliest_ms : now_ms + delay_ms;
	if (masq->work) {
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
	masq->again = false;
	masq->has_applied = false;
	look_within(masq, again ? SETTLE_MS : delay_ms);
}

static void on_timer(void *arg)
{
	start_look(arg);
}

// ---- what happened ----

static void fail(struct masq *masq, const struct err *e)
{
	bool is_news = strcmp(masq->status.error.msg, e->msg) != 0;
	masq->status.error = *e;
	masq->status.is_in_order = false;
	if (is_news)
		log_error("firewall: %s", e->msg);
	end_turn(masq, RETRY_MS);
}

static void in_order(struct masq *masq)
{
	if (masq->status.error.code != 0)
		log_info("firewall: recovered from: %s", masq->status.error.msg);
	if (masq->has_applied)
		log_info("firewall: %zu rules are in place, by %s", masq->status.rules,
			 masq_mode_names[masq->status.mode]);
	memset(&masq->status.error, 0, sizeof(masq->status.error));
	masq->status.is_in_order = true;
	masq->is_settled = true;
	end_turn(masq, masq->config.resync_ms > QUIET_LOOK_MS ? masq->config.resync_ms : QUIET_LOOK_MS);
}

// ---- comparing ----

static void forget_accepted(struct masq *masq)
{
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
			json_decref(masq->accepted[i][chain]);
			masq->accepted[i][chain] = NULL;
		}
}

static bool is_accepted(const struct masq *masq, enum masq_family family)
{
	const struct nft_table *table = &masq->seen.tables[family];
	bool is_any = false;
	if (table->has_odd)
		return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		const json_t *accepted = masq->accepted[family][chain];
		is_any = is_any || accepted;
		if (table->has_chain[chain] != (accepted != NULL) ||
		    (accepted && !json_equal(accepted, table->rules[chain])))
			return false;
	}
	return is_any;
}

static bool has_wanted(const struct masq *masq, enum masq_family family)
{
	return nft_table_has(&masq->seen.tables[family], &masq->wanted[family], family) ||
	       is_accepted(masq, family);
}

// Just after they were applied: as many rules as are wanted, in the chains that are wanted, are those, however this nft writes them.
static bool take_as_ours(struct masq *masq, enum masq_family family)
{
	const struct nft_table *table = &masq->seen.tables[family];
	if (table->has_odd || !table->is_there)
		return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++)
		if (json_array_size(table->rules[chain]) != masq_rules_in(&masq->wanted[family], chain))
			return false;
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		json_decref(masq->accepted[family][chain]);
		masq->accepted[family][chain] = json_incref(table->rules[chain]);
	}
	log_debug("firewall: this nftables lists our rules in words of its own");
	return true;
}

// ---- applying ----

static void on_applied(void *arg)
{
	struct masq *masq = arg;
	struct nft_job *job = TAKE_PTR(masq->job);
	masq->work = work_free(masq->work);
	masq->has_applied = true;
	masq->status.changes++;
	if (job->error < 0)
		fail(masq, &job->e);
	else
		start_look(masq);
	nft_job_free(job);
}

static char *commands_of(const struct masq *masq)
{
	_cleanup_json_ json_t *list = json_array();
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		if (has_wanted(masq, i))
			continue;
		_cleanup_json_ json_t *commands =
			nft_table_commands(&masq->seen.tables[i], &masq->wanted[i], i);
		json_array_extend(list, commands);
	}
	_cleanup_json_ json_t *root = json_pack("{s:O}", "nftables", list);
	return json_text(root);
}

// On the thread. The loop touches the job again when the work has ended.
static void run_job(void *arg)
{
	nft_job_run(((struct masq *)arg)->job);
}

static void apply(struct masq *masq)
{
	masq->job = nft_job_new(commands_of(masq));
	masq->work = work_start(masq->loop, run_job, on_applied, masq);
}

static const char *what_differs(const struct masq *masq)
{
	return has_wanted(masq, MASQ_IPV4) ? "table ip6 flannel-ipv6" : "table ip flannel-ipv4";
}

// Something was in order and is no more. False: it is to be left alone for now.
static bool may_repair(struct masq *masq)
{
	enum war_verdict verdict = war_entry_repair(&masq->war, loop_now_ms());
	masq->status.hold_until_ms = masq->war.hold_until_ms;
	masq->status.is_in_order = false;
	if (verdict == WAR_REPAIR) {
		masq->status.repairs++;
		masq->status.last_repair_at_ms = loop_now_ms();
		masq->hooks->repaired(masq->arg, what_differs(masq), false);
		return true;
	}
	if (verdict == WAR_DECLARED) {
		masq->status.wars++;
		masq->hooks->repaired(masq->arg, what_differs(masq), true);
	}
	return false;
}

static uint64_t hold_left_ms(const struct masq *masq)
{
	uint64_t now_ms = loop_now_ms();
	return masq->war.hold_until_ms > now_ms ? masq->war.hold_until_ms - now_ms : 0;
}

static void end_hold(struct masq *masq)
{
	uint64_t left_ms = hold_left_ms(masq);
	masq->again = false; // what is told meanwhile changes nothing
	end_turn(masq, left_ms);
}

// ---- looking ----

static void warn(struct masq *masq)
{
	const struct nft_chains *chains = &masq->seen.chains;
	char text[sizeof(masq->status.warning)] = "";
	if (chains->iptables_drops[MASQ_IPV4] || chains->iptables_drops[MASQ_IPV6])
		(void)text_copy(text, sizeof(text),
				"the FORWARD chain of iptables drops what it does not know, "
				"which rules of nftables cannot change: accept the network there");
	else if (*chains->dropper)
		(void)text_format(text, sizeof(text),
				  "chain %s drops what it does not know, which our rules cannot "
				  "change: accept the network there",
				  chains->dropper);
	if (*text && strcmp(text, masq->status.warning) != 0)
		log_warn("firewall: %s", text);
	(void)text_copy(masq->status.warning, sizeof(masq->status.warning), text);
}

static void choose_mode(struct masq *masq)
{
	masq->status.mode = MASQ_NFTABLES;
	masq->status.why = masq->config.mode == MASQ_AUTO ? "the kernel has it"
							  : "asked for by --firewall";
}

static void compare(struct masq *masq)
{
	bool is_done = true;
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		if (!has_wanted(masq, i) && !(masq->has_applied && take_as_ours(masq, i)))
			is_done = false;
	if (is_done)
		in_order(masq);
	else if (hold_left_ms(masq) > 0 ||
		 ((masq->is_settled || masq->has_applied) && !may_repair(masq)))
		end_hold(masq);
	else
		apply(masq);
}

static void take_look(struct masq *masq, struct nft_look *look)
{
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++)
		nft_table_free(&masq->seen.tables[i]);
	masq->seen = *look;
	memset(look->tables, 0, sizeof(look->tables));
}

static void on_looked(void *arg)
{
	struct masq *masq = arg;
	struct nft_job *job = TAKE_PTR(masq->job);
	masq->work = work_free(masq->work);
	masq->looked_at_ms = loop_now_ms();
	masq->status.looks++;
	if (job->look.error < 0) {
		fail(masq, &job->look.e);
	} else {
		take_look(masq, &job->look);
		choose_mode(masq);
		warn(masq);
		compare(masq);
	}
	nft_job_free(job);
}

static int open_monitor(struct masq *masq, struct err *e);

static void start_look(struct masq *masq)
{
	struct err e = { 0 };
	timer_stop(masq->timer);
	if (open_monitor(masq, &e) < 0) {
		fail(masq, &e);
		return;
	}
	masq->job = nft_job_new(NULL);
	masq->work = work_start(masq->loop, run_job, on_looked, masq);
}

// ---- the kernel tells ----

static bool concerns_us(const struct nft_event *event)
{
	static const char *const beside[] = { "", "FORWARD" };
	int family = event->family == NFPROTO_IPV4   ? MASQ_IPV4
		     : event->family == NFPROTO_IPV6 ? MASQ_IPV6
						     : -1;
	if (family < 0)
		return false;
	if (strcmp(event->table, masq_nft_tables[family]) == 0)
		return true;
	if (strcmp(event->table, "filter") != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(beside); i++)
		if (strcmp(event->chain, beside[i]) == 0)
			return true;
	return false;
}

static void on_event(void *arg, const struct nft_event *event)
{
	struct masq *masq = arg;
	if (masq->is_set && concerns_us(event))
		look_within(masq, SETTLE_MS);
}

static void on_readable(void *arg, unsigned int events)
{
	struct masq *masq = arg;
	struct err e = { 0 };
	(void)events;
	int r = nft_monitor_read(masq->monitor, MONITOR_DATAGRAMS, on_event, masq, &e);
	if (r == -ENOBUFS && masq->is_set)
		look_within(masq, SETTLE_MS);
	else if (r < 0 && r != -ENOBUFS)
		log_rl(LOG_LEVEL_WARN, "firewall: %s", e.msg);
}

// libnftables ends the program where there are no sockets of this kind: no look without the monitor.
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
	masq->status.why = "";
	masq->timer = timer_new(loop, on_timer, masq);
	return masq;
}

struct masq *masq_free(struct masq *masq)
{
	if (!masq)
		return NULL;
	work_free(masq->work);
	nft_job_free(masq->job);
	timer_free(masq->timer);
	fd_watch_free(masq->monitor_watch);
	nft_monitor_close(masq->monitor);
	forget_accepted(masq);
	for (size_t i = 0; i < MASQ_FAMILY_COUNT; i++) {
		nft_table_free(&masq->seen.tables[i]);
		masq_rules_free(&masq->wanted[i]);
	}
	free(masq);
	return NULL;
}

void masq_set(struct masq *masq, const struct masq_network *networks, size_t count)
{
	bool is_same = masq->is_set;
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
	forget_accepted(masq);
	look_within(masq, 0);
}

const struct masq_status *masq_status(const struct masq *masq)
{
	return &masq->status;
}

void masq_reload(struct masq *masq)
{
	if (masq->is_set)
		look_within(masq, 0);
}

static bool is_listed(const json_t *list, const json_t *expr)
{
	const json_t *item;
	size_t i;
	json_array_foreach(list, i, item)
		if (json_equal(item, expr))
			return true;
	return false;
}

static void each_missing(const struct masq *masq, enum masq_family family, masq_change_fn *fn,
			 void *arg)
{
	const struct nft_table *table = &masq->seen.tables[family];
	size_t index[MASQ_CHAIN_COUNT] = { 0 };
	for (size_t i = 0; i < masq->wanted[family].count; i++) {
		const struct masq_rule *rule = &masq->wanted[family].rules[i];
		_cleanup_json_ json_t *exprs =
			nft_rules_json(&masq->wanted[family], family, rule->chain);
		char text[MASQ_RULE_TEXT_MAX];
		if (!is_listed(table->rules[rule->chain], json_array_get(exprs, index[rule->chain]++)))
			fn(arg, "create", masq_rule_text(rule, family, text));
	}
}

static void each_odd(const struct masq *masq, enum masq_family family, masq_change_fn *fn, void *arg)
{
	for (size_t chain = 0; chain < MASQ_CHAIN_COUNT; chain++) {
		_cleanup_json_ json_t *wanted = nft_rules_json(&masq->wanted[family], family, chain);
		const json_t *expr;
		size_t i;
		json_array_foreach(masq->seen.tables[family].rules[chain], i, expr) {
			if (is_listed(wanted, expr))
				continue;
			_cleanup_free_ char *json = json_text(expr);
			_cleanup_free_ char *text = xasprintf("%s %s", masq_nft_chains[chain], json);
			fn(arg, "delete", text);
		}
	}
}

void masq_each_change(const struct masq *masq, masq_change_fn *fn, void *arg)
{
	for (size_t i = 0; masq->is_set && i < MASQ_FAMILY_COUNT; i++) {
		if (has_wanted(masq, i))
			continue;
		each_missing(masq, i, fn, arg);
		each_odd(masq, i, fn, arg);
	}
}
