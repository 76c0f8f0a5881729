// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the socket of Docker's plugin, of an agent that has no network yet. With networks: tests/clients.
#include "raw_http.h"
#include "unit.h"

#include "agent/docker_plugin.h"
#include "agent/docker_request.h"
#include "core/log.h"
#include "core/mem.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/weft-plugin-XXXXXX";
static char *path, *made;
static struct options options = { .docker_plugin = true, .state_dir = directory, .run_dir = directory };
static struct agent agent = { .options = &options };
static struct docker_plugin *plugin;

static int begin(void **state)
{
	struct err e = { 0 };

	(void)state;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	assert_non_null(mkdtemp(directory));
	made = xasprintf("%s/plugins", directory);
	path = options.docker_plugin_socket = xasprintf("%s/weft.sock", made);
	agent.loop = loop_new();
	check(docker_plugin_new(&agent, &plugin, &e) == 0, "%s", e.msg);
	assert_non_null(plugin);
	return 0;
}

static int end(void **state)
{
	(void)state;
	docker_plugin_free(plugin);
	loop_free(agent.loop);
	assert_int_equal(rmdir(made), 0);
	assert_int_equal(rmdir(directory), 0);
	free(path);
	free(made);
	return 0;
}

static void ask(const char *verb, const char *method, const char *body, const char *status,
		const char *text)
{
	_cleanup_free_ char *request = xasprintf(
		"%s /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
		verb, method, strlen(body), body);
	struct raw_http peer;

	raw_http_open_unix(&peer, agent.loop, path);
	raw_http_send(&peer, request);
	check(raw_http_expect_end(&peer), "%s: no end", method);
	check(strstr(strbuf_text(&peer.got), status), "%s: %s", method, strbuf_text(&peer.got));
	check(strstr(strbuf_text(&peer.got), text), "%s: %s", method, strbuf_text(&peer.got));
	raw_http_close(&peer);
}

static void test_what_needs_no_network(void **state)
{
	(void)state;
	ask("POST", "Plugin.Activate", "", " 200 ",
	    "{\"Implements\":[\"NetworkDriver\",\"IpamDriver\"]}");
	ask("POST", "Plugin.Activate", "", " 200 ", "application/vnd.docker.plugins.v1.1+json");
	ask("POST", "NetworkDriver.GetCapabilities", "null", " 200 ",
	    "{\"Scope\":\"local\",\"ConnectivityScope\":\"local\"}");
	ask("POST", "IpamDriver.GetCapabilities", "", " 200 ",
	    "{\"RequiresMACAddress\":false,\"RequiresRequestReplay\":false}");
	ask("POST", "IpamDriver.GetDefaultAddressSpaces", "", " 200 ",
	    "{\"LocalDefaultAddressSpace\":\"weft-local\",\"GlobalDefaultAddressSpace\":\"weft-global\"}");
	ask("POST", "NetworkDriver.DiscoverNew", "{\"DiscoveryType\":1}", " 200 ", "{}");
	ask("POST", "NetworkDriver.EndpointOperInfo",
	    "{\"NetworkID\":\"0123456789ab\",\"EndpointID\":\"0123456789ab\"}", " 200 ",
	    "{\"Value\":{}}");
}

static void test_what_cannot_be_served(void **state)
{
	_cleanup_free_ char *large = xasprintf("{\"PoolID\":\"%0*d\"}", DOCKER_BODY_MAX, 0);

	(void)state;
	ask("GET", "Plugin.Activate", "", " 405 ", "{\"Err\":");
	ask("POST", "VolumeDriver.Create", "{}", " 404 ", "{\"Err\":\"no such method\"}");
	ask("POST", "NetworkDriver.Join", "{]", " 400 ", "{\"Err\":");
	ask("POST", "NetworkDriver.Join", "{\"NetworkID\":5}", " 400 ", "NetworkID");
	ask("POST", "IpamDriver.RequestPool", large, " 413 ", "");
	ask("POST", "IpamDriver.RequestPool", "{}", " 500 ", "the agent is starting");
	ask("POST", "IpamDriver.RequestAddress", "{\"PoolID\":\"@10.1.2.0/24\"}", " 500 ",
	    "the agent is starting");
	ask("POST", "NetworkDriver.Join",
	    "{\"NetworkID\":\"0123456789ab\",\"EndpointID\":\"0123456789ab\"}", " 500 ",
	    "network 0123456789ab is not known");
	// It is for later, and Docker need not wait.
	ask("POST", "IpamDriver.ReleaseAddress",
	    "{\"PoolID\":\"@10.1.2.0/24\",\"Address\":\"10.1.2.9\"}", " 200 ", "{}");
}

static void test_socket_is_roots(void **state)
{
	struct stat status;

	(void)state;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_needs_no_network),
		cmocka_unit_test(test_what_cannot_be_served),
		cmocka_unit_test(test_socket_is_roots),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
