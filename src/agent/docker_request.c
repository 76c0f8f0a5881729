// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what Docker's daemon asks of its plugin, checked.
#include "agent/docker_request.h"

#include "core/json.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "store/registry.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define GENERIC_OPTIONS "com.docker.network.generic"
#define INTERNAL "com.docker.network.internal"
#define PORT_MAP "com.docker.network.portmap"
#define ADDRESS_TYPE "RequestAddressType"
#define ADDRESS_TYPE_GATEWAY "com.docker.network.gateway"
#define NET_OPTION "net"

const char *const docker_method_names[] = {
	[DOCKER_ACTIVATE] = "Plugin.Activate",
	[DOCKER_NETWORK_CAPABILITIES] = "NetworkDriver.GetCapabilities",
	[DOCKER_CREATE_NETWORK] = "NetworkDriver.CreateNetwork",
	[DOCKER_DELETE_NETWORK] = "NetworkDriver.DeleteNetwork",
	[DOCKER_CREATE_ENDPOINT] = "NetworkDriver.CreateEndpoint",
	[DOCKER_DELETE_ENDPOINT] = "NetworkDriver.DeleteEndpoint",
	[DOCKER_ENDPOINT_INFO] = "NetworkDriver.EndpointOperInfo",
	[DOCKER_JOIN] = "NetworkDriver.Join",
	[DOCKER_LEAVE] = "NetworkDriver.Leave",
	[DOCKER_DISCOVER_NEW] = "NetworkDriver.DiscoverNew",
	[DOCKER_DISCOVER_DELETE] = "NetworkDriver.DiscoverDelete",
	[DOCKER_PROGRAM_EXTERNAL] = "NetworkDriver.ProgramExternalConnectivity",
	[DOCKER_REVOKE_EXTERNAL] = "NetworkDriver.RevokeExternalConnectivity",
	[DOCKER_IPAM_CAPABILITIES] = "IpamDriver.GetCapabilities",
	[DOCKER_ADDRESS_SPACES] = "IpamDriver.GetDefaultAddressSpaces",
	[DOCKER_REQUEST_POOL] = "IpamDriver.RequestPool",
	[DOCKER_RELEASE_POOL] = "IpamDriver.ReleasePool",
	[DOCKER_REQUEST_ADDRESS] = "IpamDriver.RequestAddress",
	[DOCKER_RELEASE_ADDRESS] = "IpamDriver.ReleaseAddress",
};
static_assert(ARRAY_SIZE(docker_method_names) == DOCKER_METHOD_COUNT, "a name for each method");

bool docker_method_parse(const char *path, enum docker_method *ret)
{
	for (int i = 0; *path == '/' && i < DOCKER_METHOD_COUNT; i++)
		if (strcmp(path + 1, docker_method_names[i]) == 0) {
			*ret = (enum docker_method)i;
			return true;
		}
	return false;
}

void docker_request_free(struct docker_request *request)
{
	json_decref(request->body);
	*request = (struct docker_request){ 0 };
}

// ---- members ----

bool docker_id_is_good(const char *id)
{
	size_t len = strspn(id, "0123456789abcdef");

	return !id[len] && len >= DOCKER_ID_MIN && len <= DOCKER_ID_MAX;
}

static int read_id(const json_t *object, const char *name, const char **ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	const char *text = "";
	int r = json_get_string(object, name, &text, e);

	if (r < 0)
		return r;
	if (!docker_id_is_good(text))
		return err_set(e, -EINVAL, "%s: \"%s\" is not an id of %d to %d hex digits", name,
			       text_excerpt(text, strlen(text), shown), DOCKER_ID_MIN, DOCKER_ID_MAX);
	*ret = text;
	return 0;
}

static int read_endpoint(const json_t *object, struct docker_request *ret, struct err *e)
{
	int r = read_id(object, "NetworkID", &ret->network, e);

	return r < 0 ? r : read_id(object, "EndpointID", &ret->endpoint, e);
}

// "10.1.2.3" or "10.1.2.3/24"; "" is none.
static int read_address(const json_t *object, const char *name, struct ip *ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX], address[IP_STR_MAX] = "";
	const char *text = "";
	struct ipnet net;
	size_t len;
	int r = json_get_string(object, name, &text, e);

	if (r < 0 || !*text)
		return r;
	len = strcspn(text, "/");
	if (len < sizeof(address))
		memcpy(address, text, len);
	if (ip_parse(address, ret) == 0 && (!text[len] || ipnet_parse(text, &net) == 0))
		return 0;
	return err_set(e, -EINVAL, "%s: \"%s\" is no address", name,
		       text_excerpt(text, strlen(text), shown));
}

static int read_pool(const json_t *object, struct ipnet *ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	const char *text = "";
	int r = json_get_string(object, "Pool", &text, e);

	if (r < 0 || !*text)
		return r;
	if (ipnet_parse(text, ret) < 0)
		return err_set(e, -EINVAL, "Pool: \"%s\" is no CIDR",
			       text_excerpt(text, strlen(text), shown));
	return 0;
}

static int read_object(const json_t *object, const char *name, const json_t **ret, struct err *e)
{
	const json_t *value = json_member(object, name);

	*ret = json_is_object(value) ? value : NULL;
	if (value && !json_is_null(value) && !*ret)
		return err_set(e, -EINVAL, "%s: must be an object", name);
	return 0;
}

static int read_list(const json_t *object, const char *name, const json_t **ret, struct err *e)
{
	const json_t *value = json_member(object, name);

	*ret = json_is_array(value) ? value : NULL;
	if (value && !json_is_null(value) && !*ret)
		return err_set(e, -EINVAL, "%s: must be a list", name);
	return 0;
}

// ---- the pool's id ----

void docker_pool_id(const char *net, const struct ipnet *pool, char ret[static DOCKER_POOL_ID_MAX])
{
	char text[IPNET_STR_MAX];

	(void)text_format(ret, DOCKER_POOL_ID_MAX, "%s@%s", net, ipnet_str(pool, text));
}

static int read_pool_id(const json_t *object, struct docker_request *ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	const char *text = "";
	char *at;
	int r = json_get_string(object, "PoolID", &text, e);

	if (r < 0)
		return r;
	(void)text_copy(ret->net_of_pool, sizeof(ret->net_of_pool), text);
	at = strchr(ret->net_of_pool, '@');
	if (strlen(text) >= sizeof(ret->net_of_pool) || !at || ipnet_parse(at + 1, &ret->pool) < 0)
		return err_set(e, -EINVAL, "PoolID: \"%s\" is none of ours",
			       text_excerpt(text, strlen(text), shown));
	*at = '\0';
	ret->net = ret->net_of_pool;
	return 0;
}

// ---- bodies ----

static int read_network(const json_t *object, struct docker_request *ret, struct err *e)
{
	return read_id(object, "NetworkID", &ret->network, e);
}

static int read_ipv4_data(const json_t *object, struct docker_request *ret, struct err *e)
{
	const json_t *list, *v6;
	int r = read_list(object, "IPv4Data", &list, e);

	r = r < 0 ? r : read_list(object, "IPv6Data", &v6, e);
	if (r < 0)
		return r;
	if (json_array_size(v6) > 0)
		return err_set(e, -EINVAL, "IPv6Data: the plugin gives containers IPv4 addresses only");
	if (json_array_size(list) != 1 || !json_is_object(json_array_get(list, 0)))
		return err_set(e, -EINVAL, "IPv4Data: a network of weft has exactly one subnet");
	r = read_pool(json_array_get(list, 0), &ret->pool, e);
	r = r < 0 ? r : read_address(json_array_get(list, 0), "Gateway", &ret->gateway, e);
	if (r == 0 && (!ipnet_is_set(&ret->pool) || !ip_is_set(&ret->gateway)))
		r = err_set(e, -EINVAL, "IPv4Data: has no Pool or no Gateway");
	return r;
}

// What a user asked for and would not get is refused. Docker tells much else, of which nothing is wanted.
static int read_network_options(const json_t *object, struct err *e)
{
	const json_t *options, *generic;
	const char *name;
	json_t *value;
	bool is_internal = false;
	int r = read_object(object, "Options", &options, e);

	if (r < 0 || !options)
		return r;
	r = json_get_bool(options, INTERNAL, &is_internal, e);
	r = r < 0 ? r : read_object(options, GENERIC_OPTIONS, &generic, e);
	if (r < 0)
		return r;
	if (is_internal)
		return err_set(e, -EINVAL, "--internal: networks of weft are routed");
	json_object_foreach((json_t *)(uintptr_t)generic, name, value) {
		char shown[TEXT_EXCERPT_MAX];

		return err_set(e, -EINVAL, "--opt %s: networks of weft have no options",
			       text_excerpt(name, strlen(name), shown));
	}
	return 0;
}

static int read_create_network(const json_t *object, struct docker_request *ret, struct err *e)
{
	int r = read_network(object, ret, e);

	r = r < 0 ? r : read_network_options(object, e);
	return r < 0 ? r : read_ipv4_data(object, ret, e);
}

static int read_port_map(const json_t *object, struct err *e)
{
	const json_t *options, *map;
	int r = read_object(object, "Options", &options, e);

	if (r < 0 || !options)
		return r;
	r = read_list(options, PORT_MAP, &map, e);
	if (r == 0 && json_array_size(map) > 0)
		r = err_set(e, -EINVAL,
			    "--publish: ports of containers in a network of weft are not published; they "
			    "are reached at the container's own address");
	return r;
}

static int read_create_endpoint(const json_t *object, struct docker_request *ret, struct err *e)
{
	const json_t *interface;
	struct ip v6 = { 0 };
	int r = read_endpoint(object, ret, e);

	r = r < 0 ? r : read_port_map(object, e);
	r = r < 0 ? r : read_object(object, "Interface", &interface, e);
	if (r < 0)
		return r;
	if (!interface)
		return err_set(e, -EINVAL,
			       "Interface: is missing: networks of weft need --ipam-driver weft");
	r = read_address(interface, "Address", &ret->address, e);
	r = r < 0 ? r : read_address(interface, "AddressIPv6", &v6, e);
	if (r == 0 && (ret->address.family != AF_INET || ip_is_set(&v6)))
		r = err_set(e, -EINVAL, "Interface: must have an IPv4 address, and no other");
	return r;
}

static int read_external(const json_t *object, struct docker_request *ret, struct err *e)
{
	int r = read_endpoint(object, ret, e);

	return r < 0 ? r : read_port_map(object, e);
}

static int read_request_pool(const json_t *object, struct docker_request *ret, struct err *e)
{
	const json_t *options;
	const char *part = "", *name;
	bool is_v6 = false;
	json_t *value;
	int r = read_pool(object, &ret->pool, e);

	r = r < 0 ? r : json_get_string(object, "SubPool", &part, e);
	r = r < 0 ? r : json_get_bool(object, "V6", &is_v6, e);
	r = r < 0 ? r : read_object(object, "Options", &options, e);
	if (r < 0)
		return r;
	if (*part)
		return err_set(e, -EINVAL,
			       "--ip-range: a network of weft has the whole of its host's subnet");
	if (is_v6 || ret->pool.addr.family == AF_INET6)
		return err_set(e, -EINVAL, "--ipv6: the plugin gives containers IPv4 addresses only");
	json_object_foreach((json_t *)(uintptr_t)options, name, value) {
		char shown[TEXT_EXCERPT_MAX];

		if (strcmp(name, NET_OPTION) != 0 || !json_is_string(value))
			return err_set(e, -EINVAL, "--ipam-opt %s: only net=NAME is understood",
				       text_excerpt(name, strlen(name), shown));
		ret->net = json_string_value(value);
	}
	return *ret->net ? registry_network_check(ret->net, e) : 0;
}

static int read_request_address(const json_t *object, struct docker_request *ret, struct err *e)
{
	const json_t *options;
	const char *type = "";
	int r = read_pool_id(object, ret, e);

	r = r < 0 ? r : read_address(object, "Address", &ret->address, e);
	r = r < 0 ? r : read_object(object, "Options", &options, e);
	if (r == 0 && options)
		r = json_get_string(options, ADDRESS_TYPE, &type, e);
	ret->is_gateway = strcmp(type, ADDRESS_TYPE_GATEWAY) == 0;
	return r;
}

static int read_release_address(const json_t *object, struct docker_request *ret, struct err *e)
{
	int r = read_pool_id(object, ret, e);

	r = r < 0 ? r : read_address(object, "Address", &ret->address, e);
	if (r == 0 && !ip_is_set(&ret->address))
		r = err_set(e, -EINVAL, "Address: is missing");
	return r;
}

typedef int read_fn(const json_t *object, struct docker_request *ret, struct err *e);
// Those without one need no body, and get none from Docker.
static read_fn *const readers[DOCKER_METHOD_COUNT] = {
	[DOCKER_CREATE_NETWORK] = read_create_network,
	[DOCKER_DELETE_NETWORK] = read_network,
	[DOCKER_CREATE_ENDPOINT] = read_create_endpoint,
	[DOCKER_DELETE_ENDPOINT] = read_endpoint,
	[DOCKER_ENDPOINT_INFO] = read_endpoint,
	[DOCKER_JOIN] = read_endpoint,
	[DOCKER_LEAVE] = read_endpoint,
	[DOCKER_PROGRAM_EXTERNAL] = read_external,
	[DOCKER_REVOKE_EXTERNAL] = read_endpoint,
	[DOCKER_REQUEST_POOL] = read_request_pool,
	[DOCKER_RELEASE_POOL] = read_pool_id,
	[DOCKER_REQUEST_ADDRESS] = read_request_address,
	[DOCKER_RELEASE_ADDRESS] = read_release_address,
};

int docker_request_parse(enum docker_method method, const char *text, size_t len,
			 struct docker_request *ret, struct err *e)
{
	struct docker_request request = { .net = "" };
	int r = 0;

	if (readers[method]) {
		r = json_read(text, len, DOCKER_BODY_MAX, &request.body, e);
		if (r == 0 && !json_is_object(request.body))
			r = err_set(e, -EINVAL, "the body must be a JSON object");
		r = r < 0 ? r : readers[method](request.body, &request, e);
	}
	if (r < 0) {
		docker_request_free(&request);
		return -EINVAL;
	}
	*ret = request;
	if (request.net == request.net_of_pool)
		ret->net = ret->net_of_pool;
	return 0;
}
