// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the agent's metrics. Those of a network have the label network where a host has several.
#include "agent/agent_internal.h"

#include "agent/metrics.h"
#include "core/mem.h"

// Where a family's samples go: one network, or each that the host has.
struct samples {
	struct strbuf *out;
	struct agent *agent;
	struct network *only; // NULL: all
};

static void sample(const struct samples *samples, const struct network *network, const char *name,
		   const struct metric_label *label, double value)
{
	struct metric_label labels[2];
	size_t count = 0;
	if (network->agent->has_several)
		labels[count++] = (struct metric_label){ "network", network->name };
	if (label)
		labels[count++] = *label;
	metric_sample(samples->out, name, labels, count, value);
}

static bool is_asked(const struct samples *samples, const struct network *network)
{
	return !samples->only || samples->only == network;
}

// A family with one sample a network.
static void family(const struct samples *samples, enum metric_kind kind, const char *name,
		   const char *help, double (*value)(struct network *network))
{
	metric_family(samples->out, kind, name, help);
	for (struct network *network = samples->agent->networks; network; network = network->next)
		if (is_asked(samples, network))
			sample(samples, network, name, NULL, value(network));
}

// ---- the lease ----

static double lease_held(struct network *network)
{
	return fabric_lease_state(network->fabric, NULL) == FABRIC_LEASE_HELD;
}

static double lease_expires_in_s(struct network *network)
{
	return (double)fabric_lease_expires_in_s(network->fabric);
}

static void metrics_lease(const struct samples *samples)
{
	family(samples, METRIC_GAUGE, "weft_lease_held", "1 if the store confirms our lease.",
	       lease_held);
	family(samples, METRIC_GAUGE, "weft_lease_expires_in_seconds",
	       "Until our lease ends if it is not renewed; -1: never or unknown.", lease_expires_in_s);
}

// ---- peers ----

static void sample_peers(const struct samples *samples, struct network *network)
{
	struct peer_counts counts = count_peers(network);
	const struct {
		const char *state;
		size_t count;
	} states[] = { { "programmed", counts.programmed },
		       { "failed", counts.failed },
		       { "ignored", counts.ignored },
		       { "held", counts.held },
		       { "rejected", counts.rejected } };
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		sample(samples, network, "weft_peers",
		       &(struct metric_label){ "state", states[i].state }, (double)states[i].count);
}

static void metrics_peers(const struct samples *samples)
{
	metric_family(samples->out, METRIC_GAUGE, "weft_peers", "Peers by state.");
	for (struct network *network = samples->agent->networks; network; network = network->next)
		if (is_asked(samples, network))
			sample_peers(samples, network);
}

// ---- the kernel ----

static void sample_repairs(const struct samples *samples, struct network *network)
{
	const struct reconcile_stats *stats = reconcile_stats(network->reconcile);
	for (size_t kind = 0; kind < KERNEL_KIND_COUNT; kind++)
		sample(samples, network, "weft_repairs_total",
		       &(struct metric_label){ "kind", kind_names[kind] },
		       (double)stats->repairs[kind]);
}

static double wars(struct network *network)
{
	return (double)reconcile_stats(network->reconcile)->wars;
}

static double passes(struct network *network)
{
	return (double)reconcile_stats(network->reconcile)->passes;
}

static double last_pass_s(struct network *network)
{
	return (double)reconcile_stats(network->reconcile)->last_pass_ms / 1000;
}

static double peer_changes(struct network *network)
{
	return (double)reconcile_stats(network->reconcile)->changes;
}

static void metrics_reconcile(const struct samples *samples)
{
	metric_family(samples->out, METRIC_COUNTER, "weft_repairs_total",
		      "Kernel objects put back after another program changed them.");
	for (struct network *network = samples->agent->networks; network; network = network->next)
		if (is_asked(samples, network))
			sample_repairs(samples, network);
	family(samples, METRIC_COUNTER, "weft_repair_wars_total",
	       "Objects that another program kept undoing.", wars);
	family(samples, METRIC_COUNTER, "weft_reconcile_passes_total",
	       "Comparisons of everything wanted with the kernel.", passes);
	family(samples, METRIC_GAUGE, "weft_reconcile_last_pass_seconds",
	       "How long the last of them took.", last_pass_s);
	family(samples, METRIC_COUNTER, "weft_peer_changes_total",
	       "Peers added, changed or removed by events.", peer_changes);
}

static void metrics_netlink(const struct agent *agent, struct strbuf *out)
{
	const struct netlink_stats *stats = netlink_stats(agent->nl);
	metric_single(out, METRIC_COUNTER, "weft_netlink_messages_total",
		      "Requests sent to the kernel.", (double)stats->messages);
	metric_single(out, METRIC_COUNTER, "weft_netlink_sends_total",
		      "System calls that carried them.", (double)stats->sends);
	metric_single(out, METRIC_COUNTER, "weft_netlink_failed_total",
		      "Requests that the kernel refused.", (double)stats->failed);
	metric_single(out, METRIC_COUNTER, "weft_netlink_dumps_total", "Kernel tables read.",
		      (double)stats->dumps);
}

// ---- the store ----

static double store_up(struct network *network)
{
	return fabric_store_up(network->fabric, NULL, NULL);
}

static void metrics_store(const struct samples *samples)
{
	struct strbuf *out = samples->out;
	const struct kv_stats *stats = kv_stats(samples->agent->kv);
	family(samples, METRIC_GAUGE, "weft_store_up", "1 if the store is reached and watched.",
	       store_up);
	metric_single(out, METRIC_COUNTER, "weft_store_requests_total", "Requests to the store.",
		      (double)stats->requests);
	metric_single(out, METRIC_COUNTER, "weft_store_failures_total",
		      "Requests to the store that failed.", (double)stats->failures);
	metric_single(out, METRIC_COUNTER, "weft_store_events_total",
		      "Changes that the store told.", (double)stats->events);
	metric_single(out, METRIC_COUNTER, "weft_store_watch_restarts_total",
		      "Watches begun again.", (double)stats->watch_restarts);
}

// ---- all ----

static double ready(struct network *network)
{
	_cleanup_strbuf_ struct strbuf reasons = STRBUF_INIT(8192);
	return view_network_ready(network, &reasons);
}

void view_metrics(void *arg, struct strbuf *out)
{
	const struct view_scope *scope = arg;
	struct samples samples = { .out = out, .agent = scope->agent, .only = scope->network };
	metric_family(out, METRIC_GAUGE, "weft_build_info", "Always 1; the label tells the version.");
	metric_sample(out, "weft_build_info", &(struct metric_label){ "version", WEFT_VERSION }, 1, 1);
	family(&samples, METRIC_GAUGE, "weft_ready", "1 if /readyz says ready.", ready);
	metrics_lease(&samples);
	metrics_peers(&samples);
	metrics_reconcile(&samples);
	for (struct network *network = scope->agent->networks; network; network = network->next)
		if (is_asked(&samples, network))
			view_udp_metrics(out, network);
	metrics_netlink(scope->agent, out);
	metrics_store(&samples);
	metric_process(out);
}
