// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the controller's metrics. Those of the store have the same names as an agent's.
#include "controller/controller_internal.h"

#include "core/mem.h"
#include "io/metrics.h"
#include "store/kv_metrics.h"

#include <assert.h>
#include <string.h>

#define METRICS_MAX (256 * 1024)
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

static const char *const kind_names[] = {
	[REQUEST_RANGE] = "range",     [REQUEST_TXN] = "txn",	  [REQUEST_WATCH] = "watch",
	[REQUEST_SESSION] = "session", [REQUEST_TOKEN] = "token", [REQUEST_FLANNEL] = "flannel",
};
static_assert(ARRAY_SIZE(kind_names) == REQUEST_KIND_COUNT, "a name for each kind");

static void metrics_requests(const struct controller *controller, struct strbuf *out)
{
	static const char requests[] = "weft_controller_requests_total";

	metric_family(out, METRIC_COUNTER, requests, "Requests of agents that were let in.");
	for (size_t kind = 0; kind < REQUEST_KIND_COUNT; kind++)
		metric_sample(out, requests, &(struct metric_label){ "kind", kind_names[kind] }, 1,
			      (double)controller->counts.requests[kind]);
	metric_single(out, METRIC_COUNTER, "weft_controller_refused_total",
		      "Requests without a token that is good.", (double)controller->counts.refused);
	metric_single(out, METRIC_COUNTER, "weft_controller_put_off_total",
		      "Requests of clients that asked too often.", (double)controller->counts.put_off);
}

static void metrics_mirror(const struct controller *controller, struct strbuf *out)
{
	const struct pair_set *pairs = mirror_pairs(controller->mirror);

	metric_single(out, METRIC_GAUGE, "weft_store_up", "1 if the store is reached and watched.",
		      mirror_is_up(controller->mirror, NULL));
	metric_single(out, METRIC_GAUGE, "weft_controller_keys",
		      "Keys below the prefix that are kept to be served.",
		      pairs ? (double)pair_set_count(pairs) : 0);
	metric_single(out, METRIC_GAUGE, "weft_controller_revision",
		      "The store's revision that is served.",
		      (double)mirror_header(controller->mirror).revision);
}

void serve_metrics(const struct controller *controller, struct http_exchange *exchange)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(METRICS_MAX);

	metric_build(&out);
	metrics_requests(controller, &out);
	metric_single(&out, METRIC_GAUGE, "weft_controller_connections",
		      "Connections that are open.", http_server_connections(controller->server));
	metric_single(&out, METRIC_GAUGE, "weft_controller_watchers",
		      "Agents' watches that are open.", (double)controller->watcher_count);
	metrics_mirror(controller, &out);
	kv_metrics(controller->kv, &out);
	metric_log(&out);
	metric_process(&out);
	http_answer(exchange, 200, TYPE_METRICS, strbuf_text(&out), out.len);
}
