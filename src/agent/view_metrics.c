// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the agent's metrics. Those of a network have the label network where a host has several.
#include "agent/agent_internal.h"

#include "core/mem.h"
#include "core/text.h"
#include "io/metrics.h"
#include "ipam/ipam.h"
#include "kernel/link_stats.h"
#include "reconcile/nexthop_table.h"
#include "store/kv_metrics.h"

#include <assert.h>
#include <string.h>

// Where a family's samples go: one network, or each that the host has.
struct samples {
	struct strbuf *out;
	struct agent *agent;
	struct network *only; // NULL: all
};

#define SAMPLE_LABELS_MAX 2 // beside that of the network

static void sample_labelled(const struct samples *samples, const struct network *network,
			    const char *name, const struct metric_label *labels, size_t label_count,
			    double value)
{
	struct metric_label all[1 + SAMPLE_LABELS_MAX];
	size_t count = 0;
	assert(label_count <= SAMPLE_LABELS_MAX);
	if (network->agent->has_several)
		all[count++] = (struct metric_label){ "network", network->name };
	for (size_t i = 0; i < label_count; i++)
		all[count++] = labels[i];
	metric_sample(samples->out, name, all, count, value);
}

static void sample(const struct samples *samples, const struct network *network, const char *name,
		   const struct metric_label *label, double value)
{
	sample_labelled(samples, network, name, label, label ? 1 : 0, value);
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

static double lease_age_s(struct network *network)
{
	return (double)fabric_lease_age_s(network->fabric);
}

static double lease_expires_in_s(struct network *network)
{
	return (double)fabric_lease_expires_in_s(network->fabric);
}

static void metrics_lease(const struct samples *samples)
{
	family(samples, METRIC_GAUGE, "weft_lease_held", "1 if the store confirms our lease.",
	       lease_held);
	family(samples, METRIC_GAUGE, "weft_lease_age_seconds",
	       "Since the store last confirmed our lease; -1: a reservation, or not yet.",
	       lease_age_s);
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
	} states[] = { { "programmed", counts.programmed }, { "failed", counts.failed },
		       { "ignored", counts.ignored },	    { "held", counts.held },
		       { "rejected", counts.rejected },	    { "silent", counts.silent } };
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

// ---- addresses of containers ----

static void sample_addresses(const struct samples *samples, struct network *network)
{
	struct ipam_status status;
	if (!network->ipam)
		return;
	ipam_status(network->ipam, &status);
	for (int i = 0; i < FAMILY_COUNT; i++) {
		const struct allocator_counts *counts = &status.counts[i];
		const struct {
			const char *state;
			size_t count;
		} states[] = {
			{ "free", counts->free },	    { "used", counts->used },
			{ "quarantined", counts->resting }, { "reserved", counts->kept },
			{ "foreign", counts->foreign },	    { "unwritten", counts->unwritten }
		};
		if (counts->total == 0)
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(states); j++) {
			const struct metric_label labels[] = { { "family",
								 i == FAMILY_V6 ? "ipv6" : "ipv4" },
							       { "state", states[j].state } };
			sample_labelled(samples, network, "weft_addresses", labels,
					ARRAY_SIZE(labels), (double)states[j].count);
		}
	}
}

static double address_leaks(struct network *network)
{
	struct ipam_status status = { 0 };
	if (network->ipam)
		ipam_status(network->ipam, &status);
	return (double)status.leaks;
}

static void metrics_addresses(const struct samples *samples)
{
	metric_family(samples->out, METRIC_GAUGE, "weft_addresses",
		      "Addresses of this host's subnet by family and state; unwritten ones are counted once more.");
	for (struct network *network = samples->agent->networks; network; network = network->next)
		if (is_asked(samples, network))
			sample_addresses(samples, network);
	family(samples, METRIC_COUNTER, "weft_address_leaks_total",
	       "Addresses released because their container had gone without a word.", address_leaks);
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
	metric_single(out, METRIC_COUNTER, "weft_netlink_batches_total",
		      "Batches of changes of the kernel.", (double)stats->batches);
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
	family(samples, METRIC_GAUGE, "weft_store_up", "1 if the store is reached and watched.",
	       store_up);
	kv_metrics(samples->agent->kv, samples->out);
}

// ---- the backend: which one, and what its devices carried ----

static const struct {
	const char *name;
	const char *help;
	size_t offset; // in struct link_stats
} device_counters[] = {
#define COUNTER(member, what)                                                              \
	{                                                                                  \
		"weft_device_" #member "_total", what, offsetof(struct link_stats, member) \
	}
	COUNTER(receive_packets, "Packets that came in through a device of the backend."),
	COUNTER(receive_bytes, "Bytes of them."),
	COUNTER(receive_errors, "Those that were damaged."),
	COUNTER(receive_dropped, "Those that were thrown away."),
	COUNTER(transmit_packets, "Packets that went out through a device of the backend."),
	COUNTER(transmit_bytes, "Bytes of them."),
	COUNTER(transmit_errors, "Those that could not be sent."),
	COUNTER(transmit_dropped, "Those that were thrown away."),
#undef COUNTER
};

struct device_sample {
	struct network *network;
	char name[IFNAMSIZ];
	struct link_stats stats;
};

#define DEVICES_MAX ((size_t)NEXTHOP_SLOTS * WANTED_DEVICES_MAX)

// One question to the kernel for each device, of all that are there.
static size_t read_devices(const struct samples *samples, struct device_sample *ret)
{
	size_t count = 0;
	for (struct network *network = samples->agent->networks; network; network = network->next) {
		struct wanted_devices devices = { 0 };
		if (!is_asked(samples, network) || !network->backend)
			continue;
		backend_devices(network->backend, &devices);
		for (size_t i = 0; i < devices.count && count < DEVICES_MAX; i++) {
			struct device_sample *device = &ret[count];
			const char *name = devices.devices[i].link.name;
			if (link_stats_get(samples->agent->nl, name, &device->stats, NULL) < 0)
				continue; // it is being made, and has carried nothing
			device->network = network;
			(void)text_copy(device->name, sizeof(device->name), name);
			count++;
		}
	}
	return count;
}

static void metrics_devices(const struct samples *samples)
{
	_cleanup_free_ struct device_sample *devices = xnew0_array(struct device_sample, DEVICES_MAX);
	size_t count = read_devices(samples, devices);
	for (size_t i = 0; i < ARRAY_SIZE(device_counters); i++) {
		metric_family(samples->out, METRIC_COUNTER, device_counters[i].name,
			      device_counters[i].help);
		for (size_t k = 0; k < count; k++) {
			const struct metric_label labels[] = {
				{ "backend", backend_type(devices[k].network->backend) },
				{ "device", devices[k].name },
			};
			uint64_t value;
			memcpy(&value, (const char *)&devices[k].stats + device_counters[i].offset,
			       sizeof(value));
			sample_labelled(samples, devices[k].network, device_counters[i].name,
					labels, ARRAY_SIZE(labels), (double)value);
		}
	}
}

static void metrics_backend(const struct samples *samples)
{
	metric_family(samples->out, METRIC_GAUGE, "weft_backend_info",
		      "Always 1; the label tells the backend.");
	for (struct network *network = samples->agent->networks; network; network = network->next)
		if (is_asked(samples, network) && network->backend)
			sample(samples, network, "weft_backend_info",
			       &(struct metric_label){ "type", backend_type(network->backend) }, 1);
	metrics_devices(samples);
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
	metric_build(out);
	family(&samples, METRIC_GAUGE, "weft_ready", "1 if /readyz says ready.", ready);
	metrics_lease(&samples);
	metrics_peers(&samples);
	metrics_addresses(&samples);
	metrics_reconcile(&samples);
	for (struct network *network = scope->agent->networks; network; network = network->next)
		if (is_asked(&samples, network))
			view_udp_metrics(out, network);
	metrics_netlink(scope->agent, out);
	metrics_backend(&samples);
	firewall_metrics(scope->agent, out);
	metrics_store(&samples);
	metric_log(out);
	view_mesh_metrics(scope->agent, out);
	view_path_mtu_metrics(scope->agent, out);
	metric_process(out);
}
