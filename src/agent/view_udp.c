// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent tells of weft-udp: in the status, in the reasons for not being ready, and in the metrics.
#include "agent/agent_internal.h"

#include "io/metrics.h"
#include "core/mem.h"

#include <string.h>

#define DROP_PREFIX "drop_"

const struct err *view_udp_error(const struct network *network)
{
	static const struct err none;
	return network->udp ? udp_process_error(network->udp) : &none;
}

void view_udp_fill(json_t *backend, const struct network *network)
{
	if (!network->udp)
		return;
	view_set_text(backend, "engine", udp_process_engine(network->udp));
	view_set_number(backend, "engine_pid", (uint64_t)udp_process_pid(network->udp));
}

void view_udp_ready(const struct network *network, struct strbuf *reasons)
{
	if (!network->udp)
		return;
	const struct err *why = udp_process_error(network->udp);
	if (why->code != 0)
		(void)strbuf_printf(reasons, "%s\n", why->msg);
	else if (!udp_process_is_up(network->udp))
		(void)strbuf_puts(reasons, "weft-udp is not up yet\n");
}

// ---- metrics ----

static const struct {
	enum counter counter;
	const char *name;
	const char *help;
} families[] = {
	{ COUNTER_TUN_READS, "weft_udp_tun_reads_total", "Packets and superpackets from containers." },
	{ COUNTER_TUN_BYTES, "weft_udp_tun_read_bytes_total", "Bytes of them." },
	{ COUNTER_TUN_WRITES, "weft_udp_tun_writes_total",
	  "Packets and superpackets given to containers." },
	{ COUNTER_SENT_DATAGRAMS, "weft_udp_sent_datagrams_total", "Datagrams sent to other hosts." },
	{ COUNTER_SENT_BYTES, "weft_udp_sent_bytes_total", "Bytes of them." },
	{ COUNTER_SENDS, "weft_udp_sends_total",
	  "Messages that they were sent in; the kernel cuts each into datagrams." },
	{ COUNTER_SEND_CALLS, "weft_udp_send_calls_total", "System calls for them." },
	{ COUNTER_SENT_SINGLY, "weft_udp_sent_singly_total",
	  "Messages that the kernel did not take whole." },
	{ COUNTER_RECEIVED_DATAGRAMS, "weft_udp_received_datagrams_total",
	  "Datagrams received from other hosts." },
	{ COUNTER_RECEIVED_BYTES, "weft_udp_received_bytes_total", "Bytes of them." },
	{ COUNTER_RECEIVES, "weft_udp_receives_total",
	  "Messages that they came in; the kernel joined them." },
	{ COUNTER_RECEIVE_CALLS, "weft_udp_receive_calls_total", "System calls for them." },
	{ COUNTER_JOINED, "weft_udp_joined_datagrams_total",
	  "Datagrams that were given to containers together with the one before." },
	{ COUNTER_JOINS_REFUSED, "weft_udp_joins_refused_total",
	  "Superpackets that the kernel did not take." },
	{ COUNTER_WAITS, "weft_udp_waits_total", "Times that a worker slept." },
	{ COUNTER_ICMP_SENT, "weft_udp_icmp_sent_total", "ICMP errors sent to containers." },
};

static void sample_drops(struct strbuf *out, const struct metric_label *network, const uint64_t *values)
{
	for (size_t i = 0; i < COUNTER_COUNT; i++) {
		const char *name = counter_name((enum counter)i);
		struct metric_label labels[2] = { { "reason", name + strlen(DROP_PREFIX) } };
		if (strncmp(name, DROP_PREFIX, strlen(DROP_PREFIX)) != 0)
			continue;
		if (network)
			labels[1] = *network;
		metric_sample(out, "weft_udp_drops_total", labels, network ? 2 : 1, (double)values[i]);
	}
}

// There is one weft-udp on a host at most: its device has one name.
void view_udp_metrics(struct strbuf *out, const struct network *network)
{
	const uint64_t *values;
	struct metric_label label = { "network", network->name };
	const struct metric_label *labels = network->agent->has_several ? &label : NULL;
	if (!network->udp)
		return;
	metric_family(out, METRIC_GAUGE, "weft_udp_up", "1 if weft-udp carries packets.");
	metric_sample(out, "weft_udp_up", labels, labels != NULL, udp_process_is_up(network->udp));
	if (!udp_process_counters(network->udp, &values))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		metric_family(out, METRIC_COUNTER, families[i].name, families[i].help);
		metric_sample(out, families[i].name, labels, labels != NULL,
			      (double)values[families[i].counter]);
	}
	metric_family(out, METRIC_COUNTER, "weft_udp_drops_total",
		      "Packets that weft-udp dropped, and ICMP errors that it did not send.");
	sample_drops(out, labels, values);
}
