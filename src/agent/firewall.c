// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent's networks want of the host's firewall, and what is told of it.
#include "agent/agent_internal.h"

#include "io/metrics.h"
#include "core/log.h"
#include "core/mem.h"

struct firewall {
	struct agent *agent;
	struct masq *masq;
	struct ipnet *never;
};

static void on_repaired(void *arg, const char *what, bool war)
{
	struct firewall *firewall = arg;
	if (war)
		log_warn("firewall: %s is undone by another program again and again: leaving it alone for a while",
			 what);
	else
		log_rl(LOG_LEVEL_INFO, "firewall: repaired %s", what);
	if (api_has_watchers(firewall->agent->api))
		api_publish(firewall->agent->api,
			    json_pack("{s:s, s:s}", "event", war ? "war" : "repair", "object", what));
}

static const struct masq_hooks hooks = { .repaired = on_repaired };

struct firewall *firewall_new(struct agent *agent)
{
	const struct options *options = agent->options;
	const struct flag_list *nets = &options->ip_masq_exclude;
	struct firewall *firewall = xnew(struct firewall);
	size_t count = 0;
	firewall->agent = agent;
	firewall->never = xnew0_array(struct ipnet, nets->count + 1);
	for (size_t i = 0; i < nets->count; i++)
		if (ipnet_parse(nets->items[i], &firewall->never[count]) == 0)
			count++;
	struct masq_config config = {
		.wish = { .masquerade = options->ip_masq,
			  .fully_random = !options->ip_masq_fully_random_disable,
			  .forward = options->iptables_forward_rules,
			  .never = firewall->never,
			  .never_count = count },
		.mode = (enum masq_mode)options->firewall,
		.resync_ms = (uint64_t)options->iptables_resync_s * 1000,
	};
	firewall->masq = masq_new(agent->loop, &config, &hooks, firewall);
	return firewall;
}

struct firewall *firewall_free(struct firewall *firewall)
{
	if (!firewall)
		return NULL;
	masq_free(firewall->masq);
	free(firewall->never);
	free(firewall);
	return NULL;
}

// One that is not up yet counts with what its env file said, so that the others' start takes no rule of an earlier life away.
void firewall_follow(struct agent *agent)
{
	bool prefers_nftables = false;
	size_t count = 0;
	for (const struct network *network = agent->networks; network; network = network->next) {
		const struct netconf *conf = network->fabric ? fabric_netconf(network->fabric) : NULL;
		prefers_nftables = prefers_nftables || (conf && conf->enable_nftables);
		count++;
	}
	_cleanup_free_ struct masq_network *networks = xnew0_array(struct masq_network, count + 1);
	count = 0;
	for (const struct network *network = agent->networks; network; network = network->next)
		networks[count++] = (struct masq_network){ .network = network->env.network,
							   .own = network->env.subnet };
	masq_set(agent->firewall->masq, networks, count, prefers_nftables);
}

void firewall_reload(const struct agent *agent)
{
	masq_reload(agent->firewall->masq);
}

json_t *firewall_view(const struct agent *agent)
{
	const struct options *options = agent->options;
	const struct masq_status *status = masq_status(agent->firewall->masq);
	uint64_t now_ms = loop_now_ms();
	json_t *object = json_object();
	view_set_text(object, "way", masq_mode_names[status->mode]);
	view_set_text(object, "why", status->why);
	view_set_text(object, "kind", status->kind);
	json_object_set_new(object, "masquerades", json_boolean(options->ip_masq));
	json_object_set_new(object, "accepts_forwarded",
			    json_boolean(options->iptables_forward_rules));
	view_set_number(object, "rules", status->rules);
	json_object_set_new(object, "in_order", json_boolean(status->is_in_order));
	view_set_text(object, "error", status->error.code != 0 ? status->error.msg : "");
	view_set_text(object, "warning", status->warning);
	view_set_number(object, "repairs", status->repairs);
	if (status->last_repair_at_ms > 0)
		view_set_number(object, "last_repair_age_s",
				(now_ms - status->last_repair_at_ms) / 1000);
	if (status->hold_until_ms > now_ms)
		view_set_number(object, "held_s", (status->hold_until_ms - now_ms) / 1000);
	return object;
}

struct plan {
	json_t *changes;
	json_int_t *total;
};

static void add_change(void *arg, const char *verb, const char *rule)
{
	struct plan *plan = arg;
	if (json_array_size(plan->changes) < API_PLAN_CHANGES_MAX)
		json_array_append_new(plan->changes, json_pack("{s:s, s:s, s:s}", "verb", verb,
							       "kind", "rule", "object", rule));
	(*plan->total)++;
}

void firewall_plan(const struct agent *agent, json_t *changes, json_int_t *total)
{
	struct plan plan = { changes, total };
	masq_each_change(agent->firewall->masq, add_change, &plan);
}

void firewall_metrics(const struct agent *agent, struct strbuf *out)
{
	const struct masq_status *status = masq_status(agent->firewall->masq);
	metric_single(out, METRIC_GAUGE, "weft_firewall_in_order",
		      "1 if the firewall has our rules, as seen last.", status->is_in_order);
	metric_single(out, METRIC_GAUGE, "weft_firewall_rules", "Firewall rules of ours.",
		      (double)status->rules);
	metric_single(out, METRIC_COUNTER, "weft_firewall_looks_total",
		      "How often the firewall was looked at.", (double)status->looks);
	metric_single(out, METRIC_COUNTER, "weft_firewall_changes_total",
		      "How often rules were applied.", (double)status->changes);
	metric_single(out, METRIC_COUNTER, "weft_firewall_repairs_total",
		      "How often rules were put back after another program changed them.",
		      (double)status->repairs);
	metric_single(out, METRIC_COUNTER, "weft_firewall_wars_total",
		      "How often another program kept undoing them.", (double)status->wars);
}

bool firewall_ready(const struct agent *agent, struct strbuf *reasons)
{
	const struct masq_status *status = masq_status(agent->firewall->masq);
	if (!agent->options->ip_masq || status->error.code == 0)
		return true;
	(void)strbuf_printf(reasons, "firewall: %s\n", status->error.msg);
	return false;
}
