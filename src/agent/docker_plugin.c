// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the socket of Docker's plugin: who answers what, and what is followed when the lease or the kernel changes.
#include "agent/docker_plugin_internal.h"

#include "agent/addresses.h"
#include "agent/docker_link.h"
#include "agent/subnet_owner.h"
#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TYPE "application/vnd.docker.plugins.v1.1+json"
#define CONNECTIONS_MAX 64

// ---- answers ----

void docker_answer(struct http_exchange *exchange, json_t *value)
{
	_cleanup_free_ char *text = json_text(value);

	http_answer_text(exchange, 200, TYPE, text);
	json_decref(value);
}

static void answer_error(struct http_exchange *exchange, unsigned int status, const char *msg)
{
	_cleanup_json_ json_t *object = json_pack("{s:s}", "Err", msg);
	_cleanup_free_ char *text = json_text(object);

	http_answer_text(exchange, status, TYPE, text);
}

// Docker shows Err to who asked for it, after the name of the method.
void docker_refuse(struct http_exchange *exchange, const char *format, ...)
{
	char msg[2 * ERR_MSG_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(msg, sizeof(msg), format, args);
	va_end(args);
	text_sanitize(msg);
	log_warn("docker: refused: %s", msg);
	answer_error(exchange, 500, msg);
}

// ---- which network ----

struct network *docker_serving_network(const struct docker_plugin *plugin, const char *net,
				       struct err *e)
{
	struct refusal why;
	struct network *network = ipam_api_network(plugin->agent, net, &why);
	const struct subnet *subnet = network ? network_own_subnet(network) : NULL;

	if (!network)
		(void)err_set(e, -ENOENT, "%s (--ipam-opt net=NAME)", why.msg);
	else if (!network->ipam)
		(void)err_set(e, -EAGAIN, "this agent gives no addresses: %s",
			      err_msg(&network->ipam_error));
	else if (!network->env_written || !subnet)
		(void)err_set(e, -EAGAIN, "this host has no subnet yet: `weft status` tells why");
	else if (!ipnet_is_set(&subnet->v4))
		(void)err_set(e, -EINVAL, "this host's lease has no IPv4 subnet");
	else
		return network;
	return NULL;
}

int docker_check_pool(const struct network *network, const struct ipnet *pool, struct err *e)
{
	const struct ipnet *own = &network_own_subnet(network)->v4;
	char a[IPNET_STR_MAX], b[IPNET_STR_MAX];

	if (ipnet_equal(own, pool))
		return 0;
	return err_set(e, -ESTALE,
		       "Docker's network has %s, and the lease is %s now: its containers are not reached; docker network rm it and make it again",
		       ipnet_str(pool, a), ipnet_str(own, b));
}

// ---- methods ----

static void serve_activate(struct docker_plugin *plugin, struct http_exchange *exchange,
			   const struct docker_request *request)
{
	(void)plugin, (void)request;
	docker_answer(exchange, json_pack("{s:[s, s]}", "Implements", "NetworkDriver", "IpamDriver"));
}

// Each host has a subnet of its own, so that each Docker has a network of its own.
static void serve_network_capabilities(struct docker_plugin *plugin, struct http_exchange *exchange,
				       const struct docker_request *request)
{
	(void)plugin, (void)request;
	docker_answer(exchange,
		      json_pack("{s:s, s:s}", "Scope", "local", "ConnectivityScope", "local"));
}

static void serve_ipam_capabilities(struct docker_plugin *plugin, struct http_exchange *exchange,
				    const struct docker_request *request)
{
	(void)plugin, (void)request;
	docker_answer(exchange,
		      json_pack("{s:b, s:b}", "RequiresMACAddress", 0, "RequiresRequestReplay", 0));
}

static void serve_address_spaces(struct docker_plugin *plugin, struct http_exchange *exchange,
				 const struct docker_request *request)
{
	(void)plugin, (void)request;
	docker_answer(exchange, json_pack("{s:s, s:s}", "LocalDefaultAddressSpace", "weft-local",
					  "GlobalDefaultAddressSpace", "weft-global"));
}

static void serve_endpoint_info(struct docker_plugin *plugin, struct http_exchange *exchange,
				const struct docker_request *request)
{
	(void)plugin, (void)request;
	docker_answer(exchange, json_pack("{s:{}}", "Value"));
}

// What there is to do is done elsewhere: Docker takes the device back at Leave, and deletes the endpoint after it.
static void serve_nothing(struct docker_plugin *plugin, struct http_exchange *exchange,
			  const struct docker_request *request)
{
	(void)plugin, (void)request;
	docker_answer(exchange, json_object());
}

static docker_serve_fn *const methods[] = {
	[DOCKER_ACTIVATE] = serve_activate,
	[DOCKER_NETWORK_CAPABILITIES] = serve_network_capabilities,
	[DOCKER_CREATE_NETWORK] = docker_serve_create_network,
	[DOCKER_DELETE_NETWORK] = docker_serve_delete_network,
	[DOCKER_CREATE_ENDPOINT] = docker_serve_create_endpoint,
	[DOCKER_DELETE_ENDPOINT] = docker_serve_delete_endpoint,
	[DOCKER_ENDPOINT_INFO] = serve_endpoint_info,
	[DOCKER_JOIN] = docker_serve_join,
	[DOCKER_LEAVE] = serve_nothing,
	[DOCKER_DISCOVER_NEW] = serve_nothing,
	[DOCKER_DISCOVER_DELETE] = serve_nothing,
	[DOCKER_PROGRAM_EXTERNAL] = serve_nothing,
	[DOCKER_REVOKE_EXTERNAL] = serve_nothing,
	[DOCKER_IPAM_CAPABILITIES] = serve_ipam_capabilities,
	[DOCKER_ADDRESS_SPACES] = serve_address_spaces,
	[DOCKER_REQUEST_POOL] = docker_serve_request_pool,
	[DOCKER_RELEASE_POOL] = serve_nothing,
	[DOCKER_REQUEST_ADDRESS] = docker_serve_request_address,
	[DOCKER_RELEASE_ADDRESS] = docker_serve_release_address,
};
static_assert(ARRAY_SIZE(methods) == DOCKER_METHOD_COUNT, "a function for each method");

static void on_request(void *arg, struct http_exchange *exchange)
{
	struct docker_plugin *plugin = arg;
	struct docker_request request;
	enum docker_method method;
	size_t len;
	const char *body = http_exchange_body(exchange, &len);
	struct err e;

	if (strcmp(http_exchange_method(exchange), "POST") != 0) {
		answer_error(exchange, 405, "only POST is understood");
	} else if (!docker_method_parse(http_exchange_path(exchange), &method)) {
		answer_error(exchange, 404, "no such method");
	} else if (docker_request_parse(method, body ? body : "", len, &request, &e) < 0) {
		log_rl(LOG_LEVEL_WARN, "docker: %s: %s", docker_method_names[method], err_msg(&e));
		answer_error(exchange, 400, err_msg(&e));
	} else {
		log_debug("docker: %s", docker_method_names[method]);
		methods[method](plugin, exchange, &request);
		docker_request_free(&request);
	}
}

// ---- following ----

static void set_trouble(struct docker_network *docker, const struct err *e)
{
	const char *text = e && e->code != 0 ? err_msg(e) : NULL;

	if (text && !text_equal(text, docker->trouble))
		log_warn("docker: network %.12s: %s", docker->id, text);
	else if (!text && docker->trouble)
		log_info("docker: network %.12s is as it should be again", docker->id);
	free(docker->trouble);
	docker->trouble = text ? xstrdup(text) : NULL;
}

void docker_plugin_follow(struct docker_plugin *plugin, struct network *network)
{
	struct docker_network *docker = plugin ? plugin->networks : NULL;

	for (; docker && network->env_written && network_own_subnet(network); docker = docker->next) {
		struct err e = { 0 };
		uint32_t ifindex;
		int r;

		if (strcmp(docker->net, network->name) != 0)
			continue;
		r = docker_check_pool(network, &docker->pool, &e);
		r = r < 0 ? r
			  : docker_bridge_keep(plugin->agent->nl, docker, network->env.mtu_bytes,
					       &ifindex, &e);
		r = r < 0 ? r
			  : subnet_owner_claim(plugin->agent->options->run_dir, &docker->pool,
					       docker->id, &e);
		// What is sent to that subnet is its new owner's.
		if (r == -ESTALE) {
			subnet_owner_release(plugin->agent->options->run_dir, &docker->pool);
			(void)docker_bridge_silence(plugin->agent->nl, docker, NULL);
		}
		set_trouble(docker, &e);
	}
}

void docker_plugin_kernel_event(struct docker_plugin *plugin, const struct kernel_event *event)
{
	const struct kernel_object *object = &event->object;

	if (!plugin || !plugin->networks || !event->removed ||
	    (object->kind != KERNEL_ADDR &&
	     !(object->kind == KERNEL_LINK && docker_bridge_is_ours(&object->link))))
		return;
	for (struct network *network = plugin->agent->networks; network; network = network->next)
		docker_plugin_follow(plugin, network);
}

const char *docker_plugin_trouble(const struct docker_plugin *plugin, const struct network *network)
{
	const struct docker_network *docker =
		plugin ? docker_networks_of(plugin->networks, network->name) : NULL;

	return docker ? docker->trouble : NULL;
}

const char *docker_plugin_owner(const struct docker_plugin *plugin, const struct network *network)
{
	const struct docker_network *docker =
		plugin ? docker_networks_of(plugin->networks, network->name) : NULL;

	return docker ? docker->id : NULL;
}

// ---- life ----

static int listen_on(struct docker_plugin *plugin, const char *path, struct err *e)
{
	const struct http_server_config config = {
		.unix_path = path,
		.root_only = true,
		.connections_max = CONNECTIONS_MAX,
		.body_max = DOCKER_BODY_MAX,
	};
	_cleanup_free_ char *copy = xstrdup(path);
	int r = directory_make(dirname(copy), 0755, e);

	r = r < 0 ? r
		  : http_server_new(plugin->agent->loop, &config, on_request, plugin,
				    &plugin->server, e);
	return r < 0 ? err_wrap(e, "--docker-plugin") : 0;
}

int docker_plugin_new(struct agent *agent, struct docker_plugin **ret, struct err *e)
{
	const struct options *options = agent->options;
	struct docker_plugin *plugin;
	struct err notice;
	int r;

	*ret = NULL;
	if (!options->docker_plugin)
		return 0;
	plugin = xnew(struct docker_plugin);
	plugin->agent = agent;
	plugin->state_path = xasprintf("%s/" DOCKER_NETWORKS_FILE, options->state_dir);
	if (docker_networks_load(plugin->state_path, &plugin->networks, &notice) != 0)
		log_warn("docker: left out of what is known of Docker's networks: %s",
			 err_msg(&notice));
	r = listen_on(plugin, options->docker_plugin_socket, e);
	if (r < 0) {
		docker_plugin_free(plugin);
		return r;
	}
	*ret = plugin;
	return 0;
}

struct docker_plugin *docker_plugin_free(struct docker_plugin *plugin)
{
	if (!plugin)
		return NULL;
	http_server_free(plugin->server);
	docker_networks_free(plugin->networks);
	while (plugin->releases) {
		struct docker_release *later = plugin->releases;

		plugin->releases = later->next;
		free(later);
	}
	free(plugin->state_path);
	free(plugin);
	return NULL;
}
