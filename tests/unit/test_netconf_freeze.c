// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the mark that stands in place of a config.
#include "unit.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/netconf.h"
#include "core/netconf_freeze.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

static char *mark_of(enum netconf_freeze_state state, const char *store, const char *config)
{
	struct netconf_freeze freeze = { .id = "0123", .state = state };
	struct err e = { 0 };
	char *text = NULL;

	freeze.store = (char *)store;
	freeze.config = (char *)config;
	check(netconf_freeze_format(&freeze, &text, &e) == 0, "%s", e.msg);
	return text;
}

static void test_there_and_back(void **state)
{
	static const char config[] =
		"{ \"Network\" : \"10.1.0.0/16\",\n\t\"Backend\":{\"Type\":\"vxlan\"} } ü \\\"";

	(void)state;
	for (int i = 0; i < NETCONF_FREEZE_STATE_COUNT; i++) {
		_cleanup_free_ char *text = mark_of((enum netconf_freeze_state)i, "sqlite:/x", config);
		_cleanup_freeze_ struct netconf_freeze found = { 0 };

		assert_int_equal(netconf_freeze_parse(text, strlen(text), &found, NULL), 0);
		assert_int_equal(found.state, i);
		assert_string_equal(found.id, "0123");
		assert_string_equal(found.store, "sqlite:/x");
		assert_string_equal(found.config, config);
	}
}

// flannel decodes Network as a prefix, whatever else is there; so must what follows be none.
static void test_nobody_takes_it_for_a_config(void **state)
{
	static const char *const told[NETCONF_FREEZE_STATE_COUNT] = {
		[NETCONF_FREEZE_FILLING] = "copied from etcd3 http://a:1",
		[NETCONF_FREEZE_COPYING] = "moved to etcd3 http://a:1",
		[NETCONF_FREEZE_OPENING] = "moved to etcd3 http://a:1",
		[NETCONF_FREEZE_MOVED] = "was moved to etcd3 http://a:1",
	};

	(void)state;
	for (int i = 0; i < NETCONF_FREEZE_STATE_COUNT; i++) {
		_cleanup_free_ char *text = mark_of((enum netconf_freeze_state)i, "etcd3 http://a:1",
						    "{\"Network\":\"10.1.0.0/16\"}");
		_cleanup_json_ json_t *root = NULL;
		struct netconf conf = { 0 };
		struct ipnet net;
		struct err e = { 0 };

		assert_int_equal(netconf_parse(text, strlen(text), &conf, &e), -EBUSY);
		check(strstr(e.msg, told[i]) != NULL, "state %d: %s", i, e.msg);
		assert_int_equal(json_read(text, strlen(text), NETCONF_TEXT_MAX, &root, NULL), 0);
		assert_true(json_get_ipnet(root, "Network", &net, NULL) < 0);
	}
}

static void test_what_is_no_mark(void **state)
{
	static const struct {
		const char *text;
		int r, netconf_r;
	} cases[] = {
		{ "{\"Network\":\"10.1.0.0/16\"}", -ENOENT, 0 },
		{ "{\"Network\":\"10.1.0.0/16\",\"Frozen\":true}", -ENOENT, 0 },
		{ "[]", -ENOENT, -EINVAL },
		{ "", -ENOENT, -EINVAL },
		{ "{\"Frozen\":{}}", -EINVAL, -EBUSY },
		{ "{\"Frozen\":{\"Id\":\"1\",\"State\":\"later\",\"Store\":\"\",\"Config\":\"\"}}",
		  -EINVAL, -EBUSY },
		{ "{\"Frozen\":{\"Id\":\"0123456789012345678901234567890123\",\"State\":\"moved\",\"Store\":\"\","
		  "\"Config\":\"\"}}",
		  -EINVAL, -EBUSY },
		{ "{\"Frozen\":{\"Id\":1,\"State\":\"moved\",\"Store\":\"\",\"Config\":\"\"}}",
		  -EINVAL, -EBUSY },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_freeze_ struct netconf_freeze found = { 0 };
		_cleanup_netconf_ struct netconf conf = { 0 };
		size_t len = strlen(cases[i].text);

		check(netconf_freeze_parse(cases[i].text, len, &found, NULL) == cases[i].r,
		      "case %zu", i);
		check(netconf_parse(cases[i].text, len, &conf, NULL) == cases[i].netconf_r,
		      "case %zu", i);
	}
}

static void test_too_much(void **state)
{
	struct netconf_freeze freeze = { .state = NETCONF_FREEZE_COPYING };
	struct strbuf large = STRBUF_INIT(NETCONF_TEXT_MAX);
	char *text = NULL;

	(void)state;
	while (strbuf_putc(&large, '"') == 0) {
	}
	freeze.store = (char *)"s";
	freeze.config = large.data;
	assert_int_equal(netconf_freeze_format(&freeze, &text, NULL), -E2BIG);
	freeze.config = (char *)"\xff";
	assert_int_equal(netconf_freeze_format(&freeze, &text, NULL), -EINVAL);
	strbuf_free(&large);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_nobody_takes_it_for_a_config),
		cmocka_unit_test(test_what_is_no_mark),
		cmocka_unit_test(test_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
