// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what Prometheus is told of a store.
#include "store/kv_metrics.h"

#include "io/metrics.h"

void kv_metrics(const struct kv *kv, struct strbuf *out)
{
	const struct kv_stats *stats = kv_stats(kv);
	static const char latency[] = "weft_store_latency_seconds";

	metric_single(out, METRIC_COUNTER, "weft_store_requests_total", "Requests to the store.",
		      (double)stats->requests);
	metric_single(out, METRIC_COUNTER, "weft_store_failures_total",
		      "Requests to the store that failed.", (double)stats->failures);
	metric_single(out, METRIC_COUNTER, "weft_store_events_total",
		      "Changes that the store told.", (double)stats->events);
	metric_single(out, METRIC_COUNTER, "weft_store_watch_restarts_total",
		      "Watches begun again.", (double)stats->watch_restarts);
	metric_family(out, METRIC_HISTOGRAM, latency,
		      "How long the store took to answer, failures among them.");
	for (size_t op = 0; op < KV_OP_COUNT; op++)
		metric_histogram(out, latency, &(struct metric_label){ "op", kv_op_names[op] }, 1,
				 &stats->latency[op]);
}
