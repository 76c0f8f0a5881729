// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent tells of the paths' MTU.
#include "agent/agent_internal.h"

#include "io/metrics.h"

void view_path_mtu_of_peer(json_t *object, const struct network *network, const struct lease *lease)
{
	static const int families[] = { AF_INET, AF_INET6 };
	unsigned int narrowest = 0;

	for (size_t i = 0; network->probes && i < ARRAY_SIZE(families); i++) {
		const struct target *target =
			probe_group_find(network->probes, &lease->subnet, families[i]);

		if (target && path_mtu_is_known(target) &&
		    (narrowest == 0 || target->path_mtu_bytes < narrowest))
			narrowest = target->path_mtu_bytes;
	}
	json_object_set_new(object, "path_mtu", narrowest > 0 ? json_integer(narrowest) : json_null());
}

json_t *view_path_mtu(const struct network *network)
{
	const struct target *narrowest = path_mtu_narrowest(network);
	json_t *object = json_object();

	json_object_set_new(object, "narrowest",
			    narrowest ? json_integer(narrowest->path_mtu_bytes) : json_null());
	view_set_number(object, "needed",
			network->backend ? backend_outer_mtu_bytes(network->backend) : 0);
	json_object_set_new(object, "auto", json_boolean(path_mtu_is_auto(network)));
	return object;
}

static void sample(struct strbuf *out, const char *name, const struct network *network, double value)
{
	metric_sample(out, name, &(struct metric_label){ "network", network->name },
		      network->agent->has_several ? 1 : 0, value);
}

static double count_narrow(const struct network *network)
{
	size_t count = network->probes ? probe_group_count(network->probes) : 0, narrow = 0;
	uint32_t needed = network->backend ? backend_outer_mtu_bytes(network->backend) : 0;

	for (size_t i = 0; i < count; i++) {
		const struct target *target = probe_group_at(network->probes, i);

		narrow += path_mtu_is_known(target) && target->path_mtu_bytes < needed;
	}
	return (double)narrow;
}

void view_path_mtu_metrics(const struct agent *agent, struct strbuf *out)
{
	metric_family(out, METRIC_GAUGE, "weft_path_mtu_bytes",
		      "The smallest MTU of the paths to peers that was measured.");
	for (const struct network *network = agent->networks; network; network = network->next) {
		const struct target *narrowest = path_mtu_narrowest(network);

		if (narrowest)
			sample(out, "weft_path_mtu_bytes", network, narrowest->path_mtu_bytes);
	}
	metric_family(out, METRIC_GAUGE, "weft_path_mtu_narrow_peers",
		      "Peers to which the path carries less than our largest packets.");
	for (const struct network *network = agent->networks; network; network = network->next)
		sample(out, "weft_path_mtu_narrow_peers", network, count_narrow(network));
}
