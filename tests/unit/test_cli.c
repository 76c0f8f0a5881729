// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what cli/ works out: differences of configs, what is wrong among leases, durations.
#include "unit.h"

#include "cli/json_diff.h"
#include "cli/lease_rows.h"
#include "cli/show.h"
#include "core/json.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

// ---- differences ----

static json_t *read_json(const char *text)
{
	json_t *value = NULL;
	struct err e = { 0 };

	if (text && json_read(text, strlen(text), 100000, &value, &e) < 0)
		fail_msg("%s", err_msg(&e));
	return value;
}

static void test_json_diff(void **state)
{
	static const struct {
		const char *before;
		const char *after;
		const char *want;
	} cases[] = {
		{ "{}", "{}", "" },
		{ "{\"a\":1,\"b\":{\"c\":2}}", "{\"b\":{\"c\":2},\"a\":1}", "" },
		{ NULL, "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}",
		  "+ Network: \"10.1.0.0/16\"\n+ Backend.Type: \"vxlan\"\n" },
		{ "{\"Network\":\"10.1.0.0/16\",\"SubnetLen\":24,\"Backend\":{\"VNI\":1,\"Port\":2}}",
		  "{\"Network\":\"10.2.0.0/16\",\"Backend\":{\"VNI\":1,\"Port\":3}}",
		  "  Network: \"10.1.0.0/16\" -> \"10.2.0.0/16\"\n  Backend.Port: 2 -> 3\n- SubnetLen: 24\n" },
		{ "{\"a\":{\"b\":1}}", "{\"a\":5}", "  a: {\"b\":1} -> 5\n" },
		{ "{\"a\":{\"b\":1}}", "{\"a\":{}}", "- a.b: 1\n" },
		{ "{}", "{\"a\":{}}", "+ a: {}\n" },
		{ "{}", "{\"a\\u001b[31m\":\"\\u0007\"}", "+ a?[31m: \"\\u0007\"\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *before = read_json(cases[i].before);
		_cleanup_json_ json_t *after = read_json(cases[i].after);
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(100000);

		json_diff(before, after, &out);
		check(strcmp(strbuf_text(&out), cases[i].want) == 0, "case %zu: %s", i,
		      strbuf_text(&out));
	}
}

// Deep input ends in a comparison as a whole, not in a deep recursion.
static void test_json_diff_is_bounded(void **state)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(10000);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(10000);
	_cleanup_json_ json_t *after = NULL;

	(void)state;
	for (int i = 0; i < 20; i++)
		strbuf_puts(&text, "{\"m\":");
	strbuf_puts(&text, "1");
	for (int i = 0; i < 20; i++)
		strbuf_puts(&text, "}");
	after = read_json(text.data);
	json_diff(NULL, after, &out);
	assert_non_null(strstr(strbuf_text(&out), "+ m.m.m.m.m.m.m.m.m: {\"m\":"));
}

// ---- what is wrong among leases ----

static void add_row(struct lease_rows *rows, const char *key, const char *public_ip)
{
	struct lease_row row = { .expires_in_s = EXPIRY_UNKNOWN };
	struct err e = { 0 };

	if (subnet_parse_key(key, strlen(key), &row.lease.subnet, &e) < 0)
		fail_msg("%s", err_msg(&e));
	if (public_ip)
		assert_int_equal(ip_parse(public_ip, &row.lease.attrs.public_ip), 0);
	rows->rows = xrealloc_array(rows->rows, rows->count + 1, sizeof(*rows->rows));
	rows->rows[rows->count++] = row;
}

static void test_faults(void **state)
{
	static const struct {
		const char *leases[3][2]; // key and public IP
		const char *config;
		const char *want; // "key: why\n" of all
	} cases[] = {
		{ { { "10.1.1.0-24", "192.0.2.1" }, { "10.1.2.0-24", "192.0.2.2" } },
		  "{\"Network\":\"10.1.0.0/16\"}",
		  "" },
		{ { { "10.2.1.0-24", "192.0.2.1" } },
		  "{\"Network\":\"10.1.0.0/16\"}",
		  "10.2.1.0-24: outside the network 10.1.0.0/16\n" },
		{ { { "10.2.1.0-24", "192.0.2.1" } }, NULL, "" },
		{ { { "10.1.0.0-22", "192.0.2.1" },
		    { "10.1.1.0-24", "192.0.2.2" },
		    { "10.1.3.0-24", "192.0.2.3" } },
		  NULL,
		  "10.1.1.0-24: overlaps 10.1.0.0/22\n10.1.3.0-24: overlaps 10.1.0.0/22\n" },
		{ { { "10.1.1.0-24", "192.0.2.1" }, { "10.1.2.0-24", "192.0.2.1" } },
		  NULL,
		  "10.1.2.0-24: public IP 192.0.2.1 has 10.1.1.0/24 too\n" },
		{ { { "10.1.1.0-24", NULL } }, NULL, "10.1.1.0-24: has no public IP\n" },
		{ { { "10.1.1.0-24&fd00::-64", "192.0.2.1" } },
		  "{\"Network\":\"10.1.0.0/16\"}",
		  "10.1.1.0-24&fd00::-64: the network has no IPv6\n" },
		{ { { "10.1.1.0-24", "192.0.2.1" } }, // a peer for IPv4 all the same
		  "{\"Network\":\"10.1.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00::/48\"}",
		  "" },
		{ { { "10.1.1.0-24", "192.0.2.1" } },
		  "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fd00::/48\"}",
		  "10.1.1.0-24: the network has no IPv4\n10.1.1.0-24: has no IPv6 subnet\n" },
		// overlapping in one family only, and in both
		{ { { "10.1.1.0-24&fd00::-64", "192.0.2.1" }, { "10.1.2.0-24&fd00::-65", "192.0.2.2" } },
		  NULL,
		  "10.1.2.0-24&fd00::-65: overlaps 10.1.1.0/24,fd00::/64\n" },
		{ { { "10.1.0.0-23&fd00::-64", "192.0.2.1" }, { "10.1.1.0-24&fd00::-65", "192.0.2.2" } },
		  NULL,
		  "10.1.1.0-24&fd00::-65: overlaps 10.1.0.0/23,fd00::/64\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf got = STRBUF_INIT(10000);
		_cleanup_lease_rows_ struct lease_rows rows = { 0 };
		_cleanup_netconf_ struct netconf conf = { 0 };
		struct err e = { 0 };

		for (size_t j = 0; j < 3 && cases[i].leases[j][0]; j++)
			add_row(&rows, cases[i].leases[j][0], cases[i].leases[j][1]);
		if (cases[i].config &&
		    netconf_parse(cases[i].config, strlen(cases[i].config), &conf, &e) < 0)
			fail_msg("%s", err_msg(&e));
		lease_rows_check(&rows, cases[i].config ? &conf : NULL);
		for (size_t j = 0; j < rows.fault_count; j++)
			strbuf_printf(&got, "%s: %s\n", rows.faults[j].key, rows.faults[j].why);
		check(strcmp(strbuf_text(&got), cases[i].want) == 0, "case %zu: %s", i,
		      strbuf_text(&got));
	}
}

static void test_durations(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *want;
	} cases[] = {
		{ 0, "0s" },	    { 59, "59s" },	   { 60, "1m00s" },
		{ 3599, "59m59s" }, { 3600, "1h00m" },	   { 86399, "23h59m" },
		{ 86400, "1d00h" }, { 1000000, "11d13h" }, { UINT64_MAX, "213503982334601d07h" },
	};
	char text[SHOW_DURATION_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(show_duration(cases[i].seconds, text), cases[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_diff),
		cmocka_unit_test(test_json_diff_is_bounded),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_durations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
