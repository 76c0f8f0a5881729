// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the address service on the agent's socket (docs/agent-ipam.md).
#include "agent/addresses.h"
#include "agent/docker_plugin.h"
#include "agent/ipam_request.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define BASE "/agent/v1/ipam/"
#define TYPE_JSON "application/json"

// ---- answers ----

// Takes value over.
static void answer(struct http_exchange *exchange, unsigned int status, json_t *value)
{
	_cleanup_free_ char *text = json_text(value);

	http_answer_text(exchange, status, TYPE_JSON, text);
	json_decref(value);
}

static unsigned int status_of(int code)
{
	switch (code) {
	case REFUSED_CONFIG:
		return 400;
	case REFUSED_LATER:
	case REFUSED_STATUS:
	case REFUSED_LIMITED:
		return 503;
	case REFUSED_FULL:
	case REFUSED_TAKEN:
		return 409;
	default:
		return 500;
	}
}

static json_t *refusal_json(const struct refusal *why)
{
	return json_pack("{s:i, s:s, s:s}", "code", why->code, "msg", why->msg, "details",
			 why->details);
}

static void answer_refusal(struct http_exchange *exchange, const struct refusal *why)
{
	answer(exchange, status_of(why->code), refusal_json(why));
}

static void answer_status(struct http_exchange *exchange, unsigned int status, const char *msg)
{
	struct refusal why;

	(void)refuse(&why, status == 404 || status == 405 ? REFUSED_CONFIG : REFUSED_INTERNAL, "%s",
		     msg);
	answer(exchange, status, refusal_json(&why));
}

static void add_net(json_t *list, const struct ipnet *net)
{
	char text[IPNET_STR_MAX];

	if (ipnet_is_set(net))
		json_array_append_new(list, json_string(ipnet_str(net, text)));
}

// What plugins need besides the address.
static void add_network(json_t *object, const struct network *network)
{
	const struct subnet_env *env = &network->env;
	const struct subnet *subnet = network_own_subnet(network);
	json_t *subnets = json_array(), *networks = json_array();

	if (subnet) {
		add_net(subnets, &subnet->v4);
		add_net(subnets, &subnet->v6);
	}
	add_net(networks, &env->network.v4);
	add_net(networks, &env->network.v6);
	json_object_set_new(object, "mtu", json_integer(env->mtu_bytes));
	json_object_set_new(object, "subnets", subnets);
	json_object_set_new(object, "networks", networks);
}

static json_t *grant_json(const struct ipam_grant *grant, const struct network *network)
{
	json_t *object = json_object(), *ips = json_array(), *routes = json_array();
	const struct ipnet *networks[FAMILY_COUNT] = { &network->env.network.v4,
						       &network->env.network.v6 };

	for (int family = 0; family < FAMILY_COUNT; family++) {
		char ip[IP_STR_MAX], address[IPNET_STR_MAX], gateway[IP_STR_MAX], dst[IPNET_STR_MAX];

		if (!ip_is_set(&grant->ips[family]))
			continue;
		(void)text_format(address, sizeof(address), "%s/%u",
				  ip_str(&grant->ips[family], ip), grant->lens[family]);
		json_array_append_new(ips, json_pack("{s:s, s:s}", "address", address, "gateway",
						     ip_str(&grant->gateways[family], gateway)));
		if (ipnet_is_set(networks[family]))
			json_array_append_new(routes, json_pack("{s:s}", "dst",
								ipnet_str(networks[family], dst)));
	}
	json_object_set_new(object, "ips", ips);
	json_object_set_new(object, "routes", routes);
	add_network(object, network);
	return object;
}

// ---- which network ----

struct network *ipam_api_network(struct agent *agent, const char *net, struct refusal *why)
{
	char shown[TEXT_EXCERPT_MAX];
	struct network *network;

	if (!agent->has_several) {
		if (!*net) {
			if (!agent->networks)
				(void)refuse(why, REFUSED_LATER, "the agent is starting");
			return agent->networks;
		}
		(void)refuse(why, REFUSED_CONFIG,
			     "net: this agent has one network, without a name, and not \"%s\"",
			     text_excerpt(net, strlen(net), shown));
		return NULL;
	}
	if (!*net) {
		(void)refuse(why, REFUSED_CONFIG, "net: this agent has several networks: name one");
		return NULL;
	}
	network = networks_find(agent, net);
	if (!network)
		(void)refuse(why, REFUSED_LATER, "net: this agent is not in network \"%s\"",
			     text_excerpt(net, strlen(net), shown));
	return network;
}

static struct network *serving_network(struct agent *agent, const char *net, struct refusal *why)
{
	struct network *network = ipam_api_network(agent, net, why);

	if (network && network->ipam)
		return network;
	if (network) {
		(void)refuse(why, REFUSED_LATER, "this agent gives no addresses");
		(void)text_copy(why->details, sizeof(why->details), err_msg(&network->ipam_error));
	}
	return NULL;
}

// ---- add ----

struct pending_add {
	struct agent *agent;
	struct http_exchange *exchange;
	uint64_t serial; // of the network
};

static void on_added(void *arg, const struct ipam_grant *grant, const struct refusal *why)
{
	struct pending_add *add = arg;
	const struct network *network = networks_by_serial(add->agent, add->serial);
	struct refusal gone;

	if (grant && network) {
		answer(add->exchange, 200, grant_json(grant, network));
	} else if (why) {
		answer_refusal(add->exchange, why);
	} else {
		(void)refuse(&gone, REFUSED_LATER, "the network has gone");
		answer_refusal(add->exchange, &gone);
	}
	free(add);
}

// Its containers would hang on another bridge with the same subnet.
static bool docker_has_subnet(const struct network *network, struct refusal *why)
{
	const char *owner = docker_plugin_owner(network->agent->docker_plugin, network);

	if (owner)
		(void)refuse(why, REFUSED_CONFIG,
			     "this host's subnet belongs to Docker's network %.12s: docker network rm it, or name "
			     "another network of weft",
			     owner);
	return owner != NULL;
}

static void serve_add(struct network *network, struct http_exchange *exchange,
		      const struct ipam_request *request)
{
	struct allocator_request add = {
		.key = request->key,
		.ns = request->ns,
		.pod = request->pod,
		.uid = request->uid,
		.netns = request->netns,
		.host_if = request->host_if,
		.netns_inode = ipam_netns_inode(request->netns),
		.since_s = time(NULL),
		.sticky = request->sticky,
	};
	struct pending_add *pending;
	struct refusal why;

	if (docker_has_subnet(network, &why)) {
		answer_refusal(exchange, &why);
		return;
	}
	// Without it a plugin would make an interface that is too large for the tunnel.
	if (!network->env_written) {
		(void)refuse(&why, REFUSED_LATER, "the network is being brought up");
		answer_refusal(exchange, &why);
		return;
	}
	memcpy(add.ips, request->asked, sizeof(add.ips));
	pending = xnew(struct pending_add);
	pending->agent = network->agent;
	pending->exchange = exchange;
	pending->serial = network->serial;
	ipam_add(network->ipam, &add, request->mode, on_added, pending);
}

// ---- the others ----

static void serve_del(struct network *network, struct http_exchange *exchange,
		      const struct ipam_request *request)
{
	struct refusal why;
	struct err e;
	size_t len;
	const char *body = http_exchange_body(exchange, &len);

	if (ipam_del(network->ipam, &request->key, request->ips, request->ip_count) == -EAGAIN &&
	    ipam_del_dir_add(network->agent->ipam_del_dir, body, len, &e) < 0) {
		(void)refuse(&why, REFUSED_LATER, "%s", err_msg(&e));
		answer_refusal(exchange, &why);
		return;
	}
	answer(exchange, 200, json_object());
}

static void serve_check(struct network *network, struct http_exchange *exchange,
			const struct ipam_request *request)
{
	struct refusal why;

	if (ipam_check(network->ipam, &request->key, request->ips, request->ip_count, &why) < 0)
		answer_refusal(exchange, &why);
	else
		answer(exchange, 200, json_object());
}

static void serve_gc(struct network *network, struct http_exchange *exchange,
		     const struct ipam_request *request)
{
	struct refusal why;
	int r = ipam_gc(network->ipam, request->key.name, request->keep, request->keep_count);

	if (r >= 0) {
		answer(exchange, 200, json_pack("{s:i}", "released", r));
		return;
	}
	(void)refuse(&why, REFUSED_LATER, "the addresses of this host are being read");
	answer_refusal(exchange, &why);
}

// Of two families the one that will run out first.
static const struct allocator_counts *scarcer(const struct ipam_status *status)
{
	const struct allocator_counts *v4 = &status->counts[FAMILY_V4];
	const struct allocator_counts *v6 = &status->counts[FAMILY_V6];

	return v4->total == 0 || (v6->total != 0 && v6->free + v6->resting < v4->free + v4->resting)
		       ? v6
		       : v4;
}

static int status_refusal(const struct network *network, enum ipam_mode mode,
			  const struct allocator_counts *counts, struct refusal *why)
{
	if (ipam_can_add(network->ipam, mode, why) < 0) {
		why->code = REFUSED_STATUS;
		return -1;
	}
	if (counts->free + counts->resting > 0)
		return 0;
	return refuse(why, REFUSED_STATUS,
		      "no address is free (used %zu, quarantined %zu, reserved %zu)", counts->used,
		      counts->resting, counts->kept);
}

static void serve_status(struct network *network, struct http_exchange *exchange)
{
	const char *text = http_exchange_query(exchange, "mode");
	const struct allocator_counts *counts;
	struct ipam_status status;
	enum ipam_mode mode;
	struct refusal why;
	struct err e;
	json_t *object;

	ipam_status(network->ipam, &status);
	counts = scarcer(&status);
	if (ipam_mode_parse(text ? text : "", &mode, &e) < 0) {
		(void)refuse(&why, REFUSED_CONFIG, "%s", err_msg(&e));
		answer_refusal(exchange, &why);
		return;
	}
	if (status_refusal(network, mode, counts, &why) < 0) {
		answer_refusal(exchange, &why);
		return;
	}
	object = json_object();
	json_object_set_new(object, "ready", json_true());
	view_set_number(object, "free", counts->free);
	view_set_number(object, "used", counts->used);
	view_set_number(object, "quarantined", counts->resting);
	add_network(object, network);
	answer(exchange, 200, object);
}

// ---- paths ----

static void serve_body(struct agent *agent, struct http_exchange *exchange, enum ipam_verb verb)
{
	static void (*const serve[IPAM_VERB_COUNT])(struct network * network,
						    struct http_exchange * exchange,
						    const struct ipam_request *request) = {
		[IPAM_ADD] = serve_add,
		[IPAM_DEL] = serve_del,
		[IPAM_CHECK] = serve_check,
		[IPAM_GC] = serve_gc,
	};
	struct ipam_request request;
	struct network *network = NULL;
	struct refusal why;
	struct err e;
	size_t len;
	const char *body = http_exchange_body(exchange, &len);

	if (ipam_request_parse(verb, body ? body : "", len, &request, &e) < 0)
		(void)refuse(&why, REFUSED_CONFIG, "%s", err_msg(&e));
	else
		network = serving_network(agent, request.net, &why);
	if (network)
		serve[verb](network, exchange, &request);
	else
		answer_refusal(exchange, &why);
	ipam_request_free(&request);
}

void ipam_api_serve(void *arg, struct http_exchange *exchange)
{
	static const char *const verbs[IPAM_VERB_COUNT] = {
		[IPAM_ADD] = "add", [IPAM_DEL] = "del", [IPAM_CHECK] = "check", [IPAM_GC] = "gc"
	};
	const struct view_scope *scope = arg;
	const char *verb = http_exchange_path(exchange) + strlen(BASE);
	const char *method = http_exchange_method(exchange);
	const char *net = http_exchange_query(exchange, "net");
	struct network *network;
	struct refusal why;

	if (strcmp(verb, "status") == 0) {
		network = serving_network(scope->agent, net ? net : "", &why);
		if (strcmp(method, "GET") != 0)
			answer_status(exchange, 405, "only GET is understood here");
		else if (network)
			serve_status(network, exchange);
		else
			answer_refusal(exchange, &why);
		return;
	}
	for (int i = 0; i < IPAM_VERB_COUNT; i++) {
		if (strcmp(verb, verbs[i]) != 0)
			continue;
		if (strcmp(method, "POST") != 0)
			answer_status(exchange, 405, "only POST is understood here");
		else
			serve_body(scope->agent, exchange, (enum ipam_verb)i);
		return;
	}
	answer_status(exchange, 404, "no such path");
}
