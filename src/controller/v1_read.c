// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what clients of flannel's API read at once: a config, one lease, the reservations.
#include "controller/v1_internal.h"

#include "core/mem.h"
#include "store/v1_wire.h"

#include <string.h>

#define ANSWER_MAX ((size_t)16 * 1024 * 1024) // of reservations, which somebody made one by one

void v1_add_cursor(struct strbuf *out, const struct kv_header *header)
{
	char text[V1_CURSOR_MAX];

	v1_cursor(header->revision, header->cluster_id, text);
	strbuf_printf(out, "\"%s\"", text);
}

void v1_add_pair(struct strbuf *out, const struct lease *lease, int64_t expires_ms)
{
	v1_add_lease(out, &lease->subnet.v4, &lease->attrs, expires_ms);
}

void v1_serve_config(struct v1_request *request)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_free_ char *text = NULL;
	char network[IPNET_STR_MAX], min[IP_STR_MAX], max[IP_STR_MAX];
	bool has_backend;

	if (!v1_read_config(request, &conf))
		return;
	has_backend = strcmp(conf.backend, "{}") != 0;
	text = xasprintf("{\"Network\":\"%s\",\"SubnetMin\":\"%s\",\"SubnetMax\":\"%s\",\"SubnetLen\":%u%s%s}",
			 ipnet_str(&conf.v4.network, network), ip_str(&conf.v4.subnet_min, min),
			 ip_str(&conf.v4.subnet_max, max), conf.v4.subnet_len,
			 has_backend ? ",\"Backend\":" : "", has_backend ? conf.backend : "");
	http_answer_text(request->exchange, 200, V1_TYPE_JSON, text);
	v1_request_end(request);
}

// ---- one lease, whose owner wants to know when it ends ----

static void answer_lease(struct v1_request *request, int64_t expires_ms)
{
	struct kv_header header = mirror_header(request->v1->controller->mirror);
	struct strbuf out = STRBUF_INIT(2 * (size_t)LEASE_VALUE_MAX + 1024);

	strbuf_puts(&out, "{\"events\":null,\"snapshot\":[");
	v1_add_pair(&out, &request->lease, expires_ms);
	strbuf_puts(&out, "],\"cursor\":");
	v1_add_cursor(&out, &header);
	strbuf_puts(&out, "}");
	http_answer(request->exchange, 200, V1_TYPE_JSON, strbuf_text(&out), out.len);
	strbuf_free(&out);
	v1_request_end(request);
}

static void on_ttl(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct v1_request *request = arg;

	(void)session;
	if (r < 0)
		v1_request_fail(request, err_msg(e));
	else
		answer_lease(request, timestamp_now_ms() + ttl_s * 1000);
}

void v1_serve_lease(struct v1_request *request)
{
	_cleanup_free_ char *key = v1_lease_key(request->network, &request->subnet);
	const struct pair *pair = v1_find(request->v1, key);

	if (!pair || !v1_pair_lease(request->network, pair, &request->lease))
		v1_request_not_found(request, key);
	else if (request->lease.session == 0)
		answer_lease(request, TIMESTAMP_ZERO_MS);
	else
		kv_session_query(request->v1->controller->kv, request->lease.session, on_ttl, request);
}

// ---- reservations: leases without an end ----

static void add_reservation(struct strbuf *out, const struct lease *lease, bool is_first)
{
	char net[IPNET_STR_MAX], ip[IP_STR_MAX] = "0.0.0.0";

	if (ip_is_set(&lease->attrs.public_ip))
		(void)ip_str(&lease->attrs.public_ip, ip);
	strbuf_printf(out, "%s{\"Subnet\":\"%s\",\"PublicIP\":\"%s\"}", is_first ? "" : ",",
		      ipnet_str(&lease->subnet.v4, net), ip);
}

void v1_serve_reservations(struct v1_request *request)
{
	const struct v1_network *network = request->network;
	const struct pair_set *pairs = mirror_pairs(request->v1->controller->mirror);
	size_t len = strlen(network->leases_prefix);
	struct pair_position position = pair_set_seek(pairs, network->leases_prefix, len);
	struct strbuf out = STRBUF_INIT(ANSWER_MAX);
	const struct pair *pair;

	strbuf_puts(&out, "[");
	while ((pair = pair_set_next(pairs, &position)) &&
	       pair_starts_with(pair, network->leases_prefix, len)) {
		_cleanup_lease_ struct lease lease = { 0 };

		if (pair->session == 0 && v1_pair_lease(network, pair, &lease))
			add_reservation(&out, &lease, out.len == 1);
	}
	strbuf_puts(&out, "]");
	if (out.overflow)
		v1_answer_error(request->exchange, "more reservations than fit into an answer");
	else
		http_answer(request->exchange, 200, V1_TYPE_JSON, strbuf_text(&out), out.len);
	strbuf_free(&out);
	v1_request_end(request);
}
