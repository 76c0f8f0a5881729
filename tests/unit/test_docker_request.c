// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what Docker asks of its plugin, and of what only looks like it.
#include "unit.h"

#include "agent/docker_request.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define N "\"NetworkID\":\"0123456789abcdef\""
#define E "\"EndpointID\":\"fedcba9876543210\""
#define DATA \
	"\"IPv4Data\":[{\"AddressSpace\":\"x\",\"Pool\":\"10.1.2.0/24\",\"Gateway\":\"10.1.2.1/24\"}]"
#define INTERFACE \
	"\"Interface\":{\"Address\":\"10.1.2.7/24\",\"AddressIPv6\":\"\",\"MacAddress\":\"\"}"

static int parse(enum docker_method method, const char *text, struct docker_request *ret, struct err *e)
{
	return docker_request_parse(method, text, strlen(text), ret, e);
}

static void test_methods(void **state)
{
	enum docker_method method;

	(void)state;
	for (int i = 0; i < DOCKER_METHOD_COUNT; i++) {
		_cleanup_free_ char *path = xasprintf("/%s", docker_method_names[i]);

		assert_true(docker_method_parse(path, &method));
		assert_int_equal(method, i);
		assert_false(docker_method_parse(path + 1, &method));
	}
	assert_false(docker_method_parse("/NetworkDriver.Join/", &method));
	assert_false(docker_method_parse("/networkdriver.join", &method));
	assert_false(docker_method_parse("/", &method));
}

static void test_what_docker_sends(void **state)
{
	struct docker_request request;
	char text[IPNET_STR_MAX];
	struct err e = { 0 };

	(void)state;
	check(parse(DOCKER_ACTIVATE, "", &request, &e) == 0, "%s", e.msg);
	docker_request_free(&request);
	check(parse(DOCKER_NETWORK_CAPABILITIES, "null\n", &request, &e) == 0, "%s", e.msg);
	docker_request_free(&request);
	check(parse(DOCKER_CREATE_NETWORK,
		    "{" N
		    ",\"Options\":{\"com.docker.network.enable_ipv6\":false,\"com.docker.network.generic\":{}}," DATA
		    ",\"IPv6Data\":null}",
		    &request, &e) == 0,
	      "%s", e.msg);
	assert_string_equal(request.network, "0123456789abcdef");
	assert_string_equal(ipnet_str(&request.pool, text), "10.1.2.0/24");
	assert_string_equal(ip_str(&request.gateway, text), "10.1.2.1");
	docker_request_free(&request);
	check(parse(DOCKER_CREATE_ENDPOINT,
		    "{" N "," E "," INTERFACE ",\"Options\":{\"com.docker.network.portmap\":[]}}",
		    &request, &e) == 0,
	      "%s", e.msg);
	assert_string_equal(request.endpoint, "fedcba9876543210");
	assert_string_equal(ip_str(&request.address, text), "10.1.2.7");
	docker_request_free(&request);
	check(parse(DOCKER_REQUEST_POOL,
		    "{\"AddressSpace\":\"x\",\"Pool\":\"\",\"SubPool\":\"\",\"Options\":{\"net\":\"blue\"},\"V6\":false}",
		    &request, &e) == 0,
	      "%s", e.msg);
	assert_string_equal(request.net, "blue");
	assert_false(ipnet_is_set(&request.pool));
	docker_request_free(&request);
}

static void test_pool_ids(void **state)
{
	static const char *const nets[] = { "", "blue" };
	struct docker_request request;
	char id[DOCKER_POOL_ID_MAX], text[IPNET_STR_MAX];
	struct ipnet pool;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(ipnet_parse("10.1.2.0/24", &pool), 0);
	for (size_t i = 0; i < ARRAY_SIZE(nets); i++) {
		_cleanup_free_ char *body = NULL;

		docker_pool_id(nets[i], &pool, id);
		body = xasprintf("{\"PoolID\":\"%s\",\"Address\":\"\",\"Options\":{\"RequestAddressType\":"
				 "\"com.docker.network.gateway\"}}",
				 id);
		check(parse(DOCKER_REQUEST_ADDRESS, body, &request, &e) == 0, "%s", e.msg);
		assert_string_equal(request.net, nets[i]);
		assert_string_equal(ipnet_str(&request.pool, text), "10.1.2.0/24");
		assert_true(request.is_gateway);
		docker_request_free(&request);
	}
}

static const struct {
	enum docker_method method;
	const char *text, *message;
} bad[] = {
	{ DOCKER_JOIN, "", "JSON" },
	{ DOCKER_JOIN, "[]", "must be a JSON object" },
	{ DOCKER_JOIN, "{}", "NetworkID" },
	{ DOCKER_JOIN, "{" N "}", "EndpointID" },
	{ DOCKER_JOIN, "{" N ",\"EndpointID\":5}", "EndpointID" },
	{ DOCKER_JOIN, "{\"NetworkID\":\"../../../etc\"," E "}", "NetworkID" },
	{ DOCKER_JOIN, "{\"NetworkID\":\"0123456789A\"," E "}", "NetworkID" },
	{ DOCKER_JOIN,
	  "{\"NetworkID\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\"," E "}",
	  "NetworkID" },
	{ DOCKER_CREATE_NETWORK, "{" N "}", "exactly one subnet" },
	{ DOCKER_CREATE_NETWORK, "{" N ",\"IPv4Data\":{}}", "IPv4Data: must be a list" },
	{ DOCKER_CREATE_NETWORK, "{" N ",\"IPv4Data\":[5]}", "exactly one subnet" },
	{ DOCKER_CREATE_NETWORK, "{" N ",\"IPv4Data\":[{\"Pool\":\"10.1.2.0/24\"}]}", "no Gateway" },
	{ DOCKER_CREATE_NETWORK, "{" N "," DATA ",\"IPv6Data\":[{}]}", "IPv4 addresses only" },
	{ DOCKER_CREATE_NETWORK, "{" N "," DATA ",\"Options\":[]}", "Options: must be an object" },
	{ DOCKER_CREATE_NETWORK,
	  "{" N "," DATA ",\"Options\":{\"com.docker.network.internal\":true}}", "--internal" },
	{ DOCKER_CREATE_NETWORK,
	  "{" N "," DATA ",\"Options\":{\"com.docker.network.generic\":{\"mtu\":\"9\"}}}",
	  "--opt mtu" },
	{ DOCKER_CREATE_ENDPOINT, "{" N "," E "}", "Interface" },
	{ DOCKER_CREATE_ENDPOINT, "{" N "," E ",\"Interface\":{\"Address\":\"x\"}}", "Address" },
	{ DOCKER_CREATE_ENDPOINT, "{" N "," E ",\"Interface\":{\"Address\":\"fd00::1/64\"}}", "IPv4" },
	{ DOCKER_CREATE_ENDPOINT,
	  "{" N "," E "," INTERFACE ",\"Options\":{\"com.docker.network.portmap\":[{}]}}",
	  "--publish" },
	{ DOCKER_PROGRAM_EXTERNAL,
	  "{" N "," E ",\"Options\":{\"com.docker.network.portmap\":[{}]}}", "--publish" },
	{ DOCKER_REQUEST_POOL, "{\"V6\":true}", "--ipv6" },
	{ DOCKER_REQUEST_POOL, "{\"V6\":\"no\"}", "V6" },
	{ DOCKER_REQUEST_POOL, "{\"Pool\":\"fd00::/64\"}", "--ipv6" },
	{ DOCKER_REQUEST_POOL, "{\"Pool\":\"10.1.2.0\"}", "Pool" },
	{ DOCKER_REQUEST_POOL, "{\"SubPool\":\"10.1.2.0/28\"}", "--ip-range" },
	{ DOCKER_REQUEST_POOL, "{\"Options\":{\"color\":\"red\"}}", "--ipam-opt color" },
	{ DOCKER_REQUEST_POOL, "{\"Options\":{\"net\":5}}", "--ipam-opt net" },
	{ DOCKER_REQUEST_POOL, "{\"Options\":{\"net\":\"a/b\"}}", "a network's name" },
	{ DOCKER_REQUEST_ADDRESS, "{\"PoolID\":\"10.1.2.0/24\"}", "PoolID" },
	{ DOCKER_REQUEST_ADDRESS, "{\"PoolID\":\"@10.1.2.0\"}", "PoolID" },
	{ DOCKER_REQUEST_ADDRESS, "{\"PoolID\":\"@10.1.2.0/24\",\"Address\":\"10.1.2\"}", "Address" },
	{ DOCKER_RELEASE_ADDRESS, "{\"PoolID\":\"@10.1.2.0/24\"}", "Address: is missing" },
};

static void test_what_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct docker_request request;
		struct err e = { 0 };
		int r = parse(bad[i].method, bad[i].text, &request, &e);

		check(r == -EINVAL, "%s: %d", bad[i].text, r);
		check(strstr(e.msg, bad[i].message), "%s: %s", bad[i].text, e.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_what_docker_sends),
		cmocka_unit_test(test_pool_ids),
		cmocka_unit_test(test_what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
