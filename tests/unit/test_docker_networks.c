// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the file of networks that Docker has of us.
#include "unit.h"

#include "agent/docker_link.h"
#include "agent/docker_networks.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GOOD "{\"id\":\"" ID "\",\"net\":\"\",\"pool\":\"10.1.2.0/24\",\"gateway\":\"10.1.2.1\"}"
#define OTHER \
	"{\"id\":\"aaaaaaaaaaaa\",\"net\":\"blue\",\"pool\":\"10.2.2.0/24\",\"gateway\":\"10.2.2.1\"}"
#define FILE_OF(list) "{\"version\":1,\"networks\":[" list "]}"

static void test_saved_and_loaded(void **state)
{
	char directory[] = "/tmp/weft-docker-XXXXXX";
	_cleanup_free_ char *path = NULL;
	struct docker_network *list = NULL, *again = NULL;
	struct err e = { 0 };
	char text[IPNET_STR_MAX];

	(void)state;
	assert_non_null(mkdtemp(directory));
	path = xasprintf("%s/networks", directory);
	assert_int_equal(docker_networks_load(path, &list, &e), 0);
	assert_null(list);
	assert_int_equal(docker_networks_parse(FILE_OF(GOOD "," OTHER),
					       strlen(FILE_OF(GOOD "," OTHER)), &list, &e),
			 0);
	assert_int_equal(docker_networks_save(path, list, &e), 0);
	assert_int_equal(docker_networks_load(path, &again, &e), 0);
	assert_non_null(docker_networks_find(again, ID));
	assert_null(docker_networks_find(again, "0123456789ab"));
	assert_string_equal(docker_networks_of(again, "blue")->id, "aaaaaaaaaaaa");
	assert_string_equal(ipnet_str(&docker_networks_of(again, "")->pool, text), "10.1.2.0/24");
	docker_networks_free(list);
	docker_networks_free(again);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(directory), 0);
}

static const struct {
	const char *text;
	int result;
	size_t count;
} cases[] = {
	{ FILE_OF(""), 0, 0 },
	{ FILE_OF(GOOD), 0, 1 },
	{ FILE_OF(GOOD "," GOOD), 1, 1 },
	{ FILE_OF("5," GOOD), 1, 1 },
	{ FILE_OF("{}," GOOD), 1, 1 },
	{ FILE_OF("{\"id\":\"../../etc/x\",\"pool\":\"10.1.2.0/24\",\"gateway\":\"10.1.2.1\"}"), 1, 0 },
	{ FILE_OF("{\"id\":\"aaaaaaaaaaaa\",\"pool\":\"10.1.2.0/24\",\"gateway\":\"10.1.3.1\"}"), 1, 0 },
	{ FILE_OF("{\"id\":\"aaaaaaaaaaaa\",\"pool\":\"fd00::/64\",\"gateway\":\"fd00::1\"}"), 1, 0 },
	{ FILE_OF("{\"id\":\"aaaaaaaaaaaa\",\"net\":\"a/b\",\"pool\":\"10.1.2.0/24\",\"gateway\":\"10.1.2.1\"}"),
	  1, 0 },
	{ "{\"version\":2,\"networks\":[]}", -EINVAL, 0 },
	{ "{\"version\":1}", -EINVAL, 0 },
	{ "[]", -EINVAL, 0 },
	{ "", -EINVAL, 0 },
};

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct docker_network *list = NULL;
		struct err e = { 0 };
		size_t count = 0;
		int r = docker_networks_parse(cases[i].text, strlen(cases[i].text), &list, &e);

		for (const struct docker_network *at = list; at; at = at->next)
			count++;
		check(r == cases[i].result, "case %zu: %d %s", i, r, e.msg);
		check(count == cases[i].count, "case %zu: %zu", i, count);
		check(r == 0 || *e.msg, "case %zu: no message", i);
		docker_networks_free(list);
	}
}

static void test_names_of_devices(void **state)
{
	struct link link = { .kind = "bridge" };
	char name[IFNAMSIZ];

	(void)state;
	docker_bridge_name(ID, link.name);
	assert_string_equal(link.name, "weft-0123456789");
	assert_true(docker_bridge_is_ours(&link));
	(void)text_copy(link.kind, sizeof(link.kind), "veth");
	assert_false(docker_bridge_is_ours(&link));
	(void)text_copy(link.kind, sizeof(link.kind), "bridge");
	(void)text_copy(link.name, sizeof(link.name), "weft-br");
	assert_false(docker_bridge_is_ours(&link));
	(void)text_copy(link.name, sizeof(link.name), "weft-lanbridge0");
	assert_false(docker_bridge_is_ours(&link));
	docker_host_end_name(ID, name);
	assert_string_equal(name, "vethw0123456789");
	docker_container_end_name(ID, name);
	assert_string_equal(name, "vethc0123456789");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saved_and_loaded),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_names_of_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
