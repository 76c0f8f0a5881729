// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the record of an address: its key and its value.
#include "unit.h"

#include "core/mem.h"
#include "store/address_record.h"

#include <errno.h>
#include <string.h>

#define FULL                                                                                        \
	"{\"v\":1,\"ip\":\"10.5.34.7/24\",\"net\":\"cbr0\",\"cid\":\"c1\",\"if\":\"eth0\","         \
	"\"ns\":\"default\",\"pod\":\"web-0\",\"uid\":\"u\",\"node\":\"192.0.2.1\",\"boot\":\"b\"," \
	"\"t\":1763933000,\"st\":\"used\",\"keep\":\"sticky\",\"WeftOwner\":\"0123456789abcdef0123456789abcdef\"}"
#define BARE "{\"v\":1,\"ip\":\"fd00::7/64\",\"t\":0,\"st\":\"reserved\"}"

static void test_round_trip(void **state)
{
	static const char *const texts[] = { FULL, BARE };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_record_ struct address_record record = { 0 };
		_cleanup_free_ char *again = NULL;
		struct err e;

		check(address_record_parse(texts[i], strlen(texts[i]), &record, &e) == 0, "%s", e.msg);
		again = address_record_format(&record);
		assert_string_equal(again, texts[i]);
	}
}

static void test_members(void **state)
{
	_cleanup_record_ struct address_record record = { 0 };

	(void)state;
	assert_int_equal(address_record_parse(FULL, strlen(FULL), &record, NULL), 0);
	assert_string_equal(record.net, "cbr0");
	assert_string_equal(record.cid, "c1");
	assert_string_equal(record.ifname, "eth0");
	assert_string_equal(record.ns, "default");
	assert_string_equal(record.pod, "web-0");
	assert_string_equal(record.node, "192.0.2.1");
	assert_string_equal(record.boot, "b");
	assert_string_equal(record.owner, "0123456789abcdef0123456789abcdef");
	assert_int_equal(record.len, 24);
	assert_int_equal(record.state, ADDRESS_USED);
	assert_int_equal(record.keep, ADDRESS_STICKY);
	assert_int_equal(record.since_s, 1763933000);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} cases[] = {
		{ "", "" },
		{ "[]", "is not a JSON object" },
		{ "{}", "v: 0" },
		{ "{\"v\":2,\"ip\":\"10.1.2.3/24\"}", "v: 2" },
		{ "{\"v\":1}", "ip: \"\"" },
		{ "{\"v\":1,\"ip\":\"10.1.2.3\"}", "ip: \"10.1.2.3\"" },
		{ "{\"v\":1,\"ip\":\"10.1.2.3/33\"}", "ip: " },
		{ "{\"v\":1,\"ip\":\"10.1.2.3/24\",\"cid\":5}", "cid" },
		{ "{\"v\":1,\"ip\":\"10.1.2.3/24\",\"st\":\"free\"}", "st: \"free\"" },
		{ "{\"v\":1,\"ip\":\"10.1.2.3/24\",\"t\":-1}", "t" },
		{ "{\"v\":1,\"ip\":\"10.1.2.3/24\",\"WeftOwner\":\"x\"}", "WeftOwner" },
		{ "{\"v\":1,\"ip\":\"10.1.2.3/24\"} x", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address_record record;
		struct err e = { 0 };
		int r = address_record_parse(cases[i].text, strlen(cases[i].text), &record, &e);

		check(r == -EINVAL && strstr(e.msg, cases[i].why), "%s: %d %s", cases[i].text, r,
		      e.msg);
	}
	assert_int_equal(address_record_parse(NULL, 5, &(struct address_record){ 0 }, NULL), -EINVAL);
}

static void test_long_text(void **state)
{
	char cid[ADDRESS_TEXT_MAX + 1];
	struct address_record record;

	(void)state;
	memset(cid, 'x', sizeof(cid));
	for (size_t len = ADDRESS_TEXT_MAX - 1; len <= ADDRESS_TEXT_MAX; len++) {
		_cleanup_free_ char *text =
			xasprintf("{\"v\":1,\"ip\":\"10.1.2.3/24\",\"cid\":\"%.*s\"}", (int)len, cid);
		int r = address_record_parse(text, strlen(text), &record, NULL);

		assert_int_equal(r, len < ADDRESS_TEXT_MAX ? 0 : -EINVAL);
		address_record_free(&record);
	}
}

static void test_keys(void **state)
{
	static const struct {
		const char *key;
		const char *subnet; // NULL: refused
		const char *ip;
	} cases[] = {
		{ "10.5.34.0-24/10.5.34.7", "10.5.34.0/24", "10.5.34.7" },
		{ "fd00:10:5:22::-64/fd00:10:5:22::7", "fd00:10:5:22::/64", "fd00:10:5:22::7" },
		{ "10.5.34.0-24/10.5.35.7", NULL, NULL },
		{ "10.5.34.0-24/10.5.34.07", NULL, NULL },
		{ "10.5.34.1-24/10.5.34.7", NULL, NULL },
		{ "10.5.34.0-24/", NULL, NULL },
		{ "10.5.34.0-24", NULL, NULL },
		{ "/10.5.34.7", NULL, NULL },
		{ "10.5.34.0-24/10.5.34.7/", NULL, NULL },
		{ "10.5.34.0-24/::ffff:10.5.34.7", NULL, NULL },
		{ "10.5.34.0-24&fd00::-64/10.5.34.7", NULL, NULL },
		{ "FD00::-64/fd00::7", NULL, NULL },
		{ "fd00::-64/fd00:0::7", NULL, NULL },
		{ "0.0.0.0-0/10.5.34.7", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[IPNET_STR_MAX], ip_text[IP_STR_MAX];
		struct ipnet subnet = { 0 };
		struct ip ip = { 0 };
		int r = address_key_parse(cases[i].key, strlen(cases[i].key), &subnet, &ip);

		check(r == (cases[i].subnet ? 0 : -EINVAL), "%s: %d", cases[i].key, r);
		if (r < 0)
			continue;
		assert_string_equal(ipnet_str(&subnet, text), cases[i].subnet);
		assert_string_equal(ip_str(&ip, ip_text), cases[i].ip);
		_cleanup_free_ char *key = address_key("/p", &subnet, &ip);
		check(strcmp(key + strlen("/p/ipam/v1/ip/"), cases[i].key) == 0, "%s", key);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_members),
		cmocka_unit_test(test_refused),	   cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
