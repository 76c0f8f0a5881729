// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent tells of the mesh: a list of all peers, and metrics whose number does not grow with them.
#include "agent/agent_internal.h"

#include "core/mem.h"
#include "io/metrics.h"

#define WORST_MAX 5 // of each way, with series of their own

// ---- the list ----

json_t *view_mesh(void *arg)
{
	const struct view_scope *scope = arg;
	const struct agent *agent = scope->agent;
	const struct network *network = scope->network ? scope->network : agent->networks;
	static const struct ip none;
	json_t *object = json_object();

	view_set_text(object, "version", WEFT_VERSION);
	view_set_number(object, "rate", agent->prober ? (uint64_t)agent->options->mesh_probes : 0);
	view_set_number(object, "window", WINDOW_PROBES);
	view_set_number(object, "port", (uint64_t)agent->options->healthz_port);
	view_set_text(object, "error", agent->mesh_error.msg);
	view_set_ip(object, "public_ip",
		    network && network->chosen ? &network->choice.public_ip : &none);
	view_set_ip(object, "public_ipv6",
		    network && network->chosen ? &network->choice.public_ipv6 : &none);
	return object;
}

static json_t *view_way(struct network *network, const struct target *target, enum probe_way way)
{
	struct window_summary sum;
	struct ip address = { 0 };
	json_t *object;

	window_sum(&target->ways[way], &sum);
	if (mesh_address(network, &target->key, way, &address) < 0 && sum.sent == 0)
		return json_null();
	object = json_object();
	view_set_ip(object, "address", &address);
	view_set_text(object, "state", window_state_names[sum.state]);
	view_set_number(object, "sent", sum.sent);
	view_set_number(object, "lost", sum.lost);
	view_set_number(object, "rtt_us", sum.average_us);
	view_set_number(object, "min_us", sum.min_us);
	view_set_number(object, "p90_us", sum.p90_us);
	return object;
}

static json_t *view_target(struct network *network, const struct lease *lease, int family)
{
	const struct target *target = probe_group_find(network->probes, &lease->subnet, family);
	bool is_v6 = family == AF_INET6;
	json_t *object;

	if (!target)
		return NULL;
	object = json_object();
	view_set_net(object, "subnet", is_v6 ? &lease->subnet.v6 : &lease->subnet.v4);
	view_set_ip(object, "public_ip", is_v6 ? &lease->attrs.public_ipv6 : &lease->attrs.public_ip);
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		json_object_set_new(object, probe_way_names[way],
				    view_way(network, target, (enum probe_way)way));
	if (network->agent->has_several)
		view_set_text(object, "network", network->name);
	return object;
}

// Networks may come and go while it is being read; their numbers only grow.
struct mesh_iterator {
	bool is_of_one;
	uint64_t serial; // of the network at hand; 0: of none yet
	size_t position;
	json_t *second; // of the same peer
};

static struct network *network_behind(const struct agent *agent, uint64_t serial)
{
	struct network *found = NULL;

	for (struct network *network = agent->networks; network; network = network->next)
		if (network->serial > serial && (!found || network->serial < found->serial))
			found = network;
	return found;
}

void *view_mesh_open(void *arg)
{
	const struct view_scope *scope = arg;
	const struct network *network = scope->network ? scope->network
						       : network_behind(scope->agent, 0);
	struct mesh_iterator *iterator = xnew(struct mesh_iterator);

	iterator->is_of_one = scope->network != NULL;
	iterator->serial = network ? network->serial : 0;
	return iterator;
}

static json_t *next_of_network(struct network *network, struct mesh_iterator *iterator)
{
	const struct lease *lease;

	if (!network->probes)
		return NULL;
	while ((lease = lease_set_next(fabric_peers(network->fabric), &iterator->position))) {
		json_t *first = view_target(network, lease, AF_INET);

		iterator->second = view_target(network, lease, AF_INET6);
		if (first)
			return first;
		if (iterator->second)
			return TAKE_PTR(iterator->second);
	}
	return NULL;
}

json_t *view_mesh_next(void *arg, void *opaque)
{
	const struct view_scope *scope = arg;
	struct mesh_iterator *iterator = opaque;

	if (iterator->second)
		return TAKE_PTR(iterator->second);
	while (iterator->serial != 0) {
		struct network *network = networks_by_serial(scope->agent, iterator->serial);
		json_t *peer = network ? next_of_network(network, iterator) : NULL;

		if (peer)
			return peer;
		network = iterator->is_of_one ? NULL : network_behind(scope->agent, iterator->serial);
		iterator->serial = network ? network->serial : 0;
		iterator->position = 0;
	}
	return NULL;
}

void view_mesh_close(void *arg, void *opaque)
{
	struct mesh_iterator *iterator = opaque;

	(void)arg;
	json_decref(iterator->second);
	free(iterator);
}

// ---- metrics ----

struct worst {
	const struct network *network;
	const struct target *target;
	struct window_summary sum;
};

struct totals {
	size_t states[WINDOW_STATE_COUNT];
	uint64_t sent, lost; // of all windows
	struct worst worst[WORST_MAX];
	size_t worst_count;
};

// Lost ones weigh more than any time.
static uint64_t badness(const struct window_summary *sum)
{
	return (uint64_t)(sum->state == WINDOW_UNREACHABLE ? WINDOW_PROBES + 1 : sum->lost) << 32 |
	       sum->average_us;
}

static void note_worst(struct totals *totals, const struct worst *candidate)
{
	size_t at = totals->worst_count;

	if (at == WORST_MAX && badness(&totals->worst[at - 1].sum) >= badness(&candidate->sum))
		return;
	if (at == WORST_MAX)
		at--;
	else
		totals->worst_count++;
	for (; at > 0 && badness(&totals->worst[at - 1].sum) < badness(&candidate->sum); at--)
		totals->worst[at] = totals->worst[at - 1];
	totals->worst[at] = *candidate;
}

static void add_network(struct totals *totals, const struct network *network, enum probe_way way)
{
	size_t count = network->probes ? probe_group_count(network->probes) : 0;

	for (size_t i = 0; i < count; i++) {
		struct worst candidate = { .network = network,
					   .target = probe_group_at(network->probes, i) };

		window_sum(&candidate.target->ways[way], &candidate.sum);
		totals->states[candidate.sum.state]++;
		totals->sent += candidate.sum.sent;
		totals->lost += candidate.sum.lost;
		if (candidate.sum.sent > 0)
			note_worst(totals, &candidate);
	}
}

static void sample_way(struct strbuf *out, const char *name, enum probe_way way, double value)
{
	metric_sample(out, name, &(struct metric_label){ "way", probe_way_names[way] }, 1, value);
}

static void metrics_probes(const struct prober_stats *stats, struct strbuf *out)
{
	metric_family(out, METRIC_COUNTER, "weft_mesh_probes_total", "Echo requests sent to peers.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		sample_way(out, "weft_mesh_probes_total", (enum probe_way)way,
			   (double)stats->ways[way].sent);
	metric_family(out, METRIC_COUNTER, "weft_mesh_lost_total", "Of those, without an answer.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		sample_way(out, "weft_mesh_lost_total", (enum probe_way)way,
			   (double)stats->ways[way].lost);
	metric_family(out, METRIC_COUNTER, "weft_mesh_ignored_replies_total",
		      "Echo replies that answer none of them.");
	for (int verdict = FLIGHT_MINE + 1; verdict < FLIGHT_VERDICT_COUNT; verdict++)
		metric_sample(out, "weft_mesh_ignored_replies_total",
			      &(struct metric_label){ "why", flight_verdict_names[verdict] }, 1,
			      (double)stats->ignored[verdict]);
}

static void histogram_way(const struct probe_way_stats *stats, const char *way, struct strbuf *out)
{
	struct metric_label labels[] = { { "way", way }, { "le", NULL } };
	uint64_t sum = 0;
	char bound[32];

	labels[1].value = bound;
	for (size_t i = 0; i < PROBE_BUCKETS; i++) {
		sum += stats->buckets[i];
		(void)text_format(bound, sizeof(bound), "%g", probe_bucket_us[i] / 1e6);
		metric_sample(out, "weft_mesh_rtt_seconds_bucket", labels, 2, (double)sum);
	}
	labels[1].value = "+Inf";
	metric_sample(out, "weft_mesh_rtt_seconds_bucket", labels, 2, (double)stats->answered);
	metric_sample(out, "weft_mesh_rtt_seconds_sum", labels, 1, (double)stats->rtt_sum_us / 1e6);
	metric_sample(out, "weft_mesh_rtt_seconds_count", labels, 1, (double)stats->answered);
}

static void metrics_states(const struct totals totals[PROBE_WAY_COUNT], struct strbuf *out)
{
	metric_family(out, METRIC_GAUGE, "weft_mesh_peers", "Peers by what their last probes came to.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		for (int state = 0; state < WINDOW_STATE_COUNT; state++) {
			const struct metric_label labels[] = { { "way", probe_way_names[way] },
							       { "state", window_state_names[state] } };

			metric_sample(out, "weft_mesh_peers", labels, ARRAY_SIZE(labels),
				      (double)totals[way].states[state]);
		}
	metric_family(out, METRIC_GAUGE, "weft_mesh_loss_ratio",
		      "Of the last probes of all peers, how many were lost.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		sample_way(out, "weft_mesh_loss_ratio", (enum probe_way)way,
			   totals[way].sent > 0 ? (double)totals[way].lost / (double)totals[way].sent
						: 0);
}

static void sample_worst(struct strbuf *out, const char *name, enum probe_way way,
			 const struct worst *worst, double value)
{
	const struct subnet subnet = target_key_subnet(&worst->target->key);
	char text[IPNET_STR_MAX];
	const struct metric_label labels[] = {
		{ "way", probe_way_names[way] },
		{ "peer", ipnet_str(target_key_family(&worst->target->key) == AF_INET6 ? &subnet.v6
										       : &subnet.v4,
				    text) },
		{ "network", worst->network->name },
	};

	metric_sample(out, name, labels, worst->network->agent->has_several ? 3 : 2, value);
}

// Who they are changes, so that these are for looking, and the aggregates for alerts.
static void metrics_worst(const struct totals totals[PROBE_WAY_COUNT], struct strbuf *out)
{
	metric_family(out, METRIC_GAUGE, "weft_mesh_worst_peer_rtt_seconds",
		      "Mean time to the peers that are reached worst, five by each way; 0: none answered.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		for (size_t i = 0; i < totals[way].worst_count; i++)
			sample_worst(out, "weft_mesh_worst_peer_rtt_seconds", (enum probe_way)way,
				     &totals[way].worst[i], totals[way].worst[i].sum.average_us / 1e6);
	metric_family(out, METRIC_GAUGE, "weft_mesh_worst_peer_loss_ratio",
		      "Of the last probes of the same peers, how many were lost.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		for (size_t i = 0; i < totals[way].worst_count; i++)
			sample_worst(out, "weft_mesh_worst_peer_loss_ratio", (enum probe_way)way,
				     &totals[way].worst[i],
				     (double)totals[way].worst[i].sum.lost /
					     totals[way].worst[i].sum.sent);
}

void view_mesh_metrics(const struct agent *agent, struct strbuf *out)
{
	struct totals totals[PROBE_WAY_COUNT] = { 0 };
	const struct prober_stats *stats;

	if (!agent->prober)
		return;
	stats = prober_stats(agent->prober);
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		for (const struct network *network = agent->networks; network; network = network->next)
			add_network(&totals[way], network, (enum probe_way)way);
	metrics_probes(stats, out);
	metric_family(out, METRIC_HISTOGRAM, "weft_mesh_rtt_seconds",
		      "Time until the answer of a peer.");
	for (int way = 0; way < PROBE_WAY_COUNT; way++)
		histogram_way(&stats->ways[way], probe_way_names[way], out);
	metrics_states(totals, out);
	metrics_worst(totals, out);
}
