// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of core/json.
#include "unit.h"

#include "core/json.h"

#include <errno.h>
#include <string.h>

static json_t *value_of(const char *text)
{
	struct err e = { 0 };
	json_t *value = NULL;

	check(json_read(text, strlen(text), JSON_TEXT_MAX, &value, &e) == 0, "%s: %s", text, e.msg);
	return value;
}

static void test_read_and_text(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ " { \"b\" : 1 , \"a\" : [ true , null ] } \n", "{\"b\":1,\"a\":[true,null]}" },
		{ "{\"a\":1,\"a\":2}", "{\"a\":2}" }, // the last wins
		{ "{\"a\":1,\"b\":{\"c\":1,\"d\":[1,{}],\"c\":{\"\":null}},\"a\":\"\"}",
		  "{\"b\":{\"d\":[1,{}],\"c\":{\"\":null}},\"a\":\"\"}" },
		{ "[{\"a\":1,\"a\":2}]", "[{\"a\":2}]" },
		{ "\"text\"", "\"text\"" },
		{ "17", "17" },
		{ "null", "null" },
		{ "\"\xc3\xa9\\u00e9/\"", "\"\xc3\xa9\xc3\xa9/\"" },
		{ "-9223372036854775808", "-9223372036854775808" },
		{ "[]", "[]" },
		{ "{}", "{}" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *value = value_of(cases[i].text);
		_cleanup_free_ char *text = json_text(value);

		assert_string_equal(text, cases[i].want);
	}
}

static void test_read_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len; // 0: strlen
	} cases[] = {
		{ "" },
		{ " " },
		{ "{" },
		{ "{}x" },
		{ "{} {}" },
		{ "{'a':1}" },
		{ "{\"a\":}" },
		{ "[1,]" },
		{ "nul" },
		{ "\"\xff\"" },
		{ "\"a\nb\"" },
		{ "\"\\u0000\"" },
		{ "\"\\ud800\"" },
		{ "01" },
		{ "1e999" },
		{ "{\"\\u0000\":1}" },
		{ "{}\0", 3 },
		{ "\0{}", 3 },
		{ "{\"a\0\":1}", 8 },
		{ "18446744073709551616" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = cases[i].len > 0 ? cases[i].len : strlen(cases[i].text);
		json_t *value = NULL;
		struct err e = { 0 };

		check(json_read(cases[i].text, len, JSON_TEXT_MAX, &value, &e) == -EINVAL,
		      "case %zu, %s", i, cases[i].text);
		assert_null(value);
		check(strncmp(e.msg, "not valid JSON: ", 16) == 0, "case %zu says %s", i, e.msg);
	}
}

static void test_read_bounds(void **state)
{
	static char nested[1000000];
	json_t *value = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(json_read("[1]", 3, 2, &value, &e), -E2BIG);
	assert_string_equal(e.msg, "JSON of 3 bytes is too long: at most 2");
	memset(nested, '[', sizeof(nested));
	assert_int_equal(json_read(nested, sizeof(nested), JSON_TEXT_MAX, &value, &e), -EINVAL);
	assert_null(value);
	assert_int_equal(json_read("[1]", 3, 3, &value, NULL), 0);
	json_decref(value);
}

static void test_member(void **state)
{
	_cleanup_json_ json_t *object = value_of(
		"{\"NETWORK\":1,\"Network\":2,\"network\":3,\"subnetlen\":4,\"SUBNETLEN\":5}");
	static const struct {
		const char *text;
		int want;
	} cases[] = {
		{ "{\"Kiss\":1,\"kiss\":2}", 2 },
		{ "{\"kiss\":1,\"Kiss\":2}", 2 },
		{ "{\"Kiss\":1,\"kiss\":2,\"Kiss\":3}", 3 },
		{ " { \"Kiss\" : 1 ,\n\"kiss\":-2.5e1 , \"Kiss\" : 3 , \"x\":{ } , \"y\":[ {} ]} ", 3 },
		{ "{\"kiss\":1,\"Kiss\":2,\"kiss\":{},\"KISS\":4}", 4 },
		{ "{\"x\":\"}\",\"x\":\"\\\"\",\"\\u004biss\":1,\"kiss\":2,\"\\u004biss\":3}", 3 },
		{ "{\"kiss\":1,\"\xe2\x84\xaai\xc5\xbfs\":2}", 2 },
		{ "{\"kiss\":1,\"kis\xc3\x9f\":2,\"kis\":3,\"kisss\":4,\"\":5}", 1 },
	};
	_cleanup_json_ json_t *array = value_of("[1]");

	(void)state;
	assert_int_equal(json_integer_value(json_member(object, "Network")), 3);
	assert_int_equal(json_integer_value(json_member(object, "SubnetLen")), 5);
	assert_null(json_member(object, "Networ"));
	assert_null(json_member(object, "Networks"));
	assert_null(json_member(array, "Network"));
	assert_null(json_member(NULL, "Network"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *value = value_of(cases[i].text);

		check(json_integer_value(json_member(value, "Kiss")) == cases[i].want, "%s",
		      cases[i].text);
	}
}

// What each getter makes of each kind of value. NULL message: it is taken.
static void test_bool(void **state)
{
	static const struct {
		const char *text;
		bool want;
		const char *message;
	} cases[] = {
		{ "{}", true, NULL },
		{ "{\"x\":null}", true, NULL },
		{ "{\"x\":false}", false, NULL },
		{ "{\"X\":false}", false, NULL },
		{ "{\"x\":\"false\"}", true, "x: \"false\" is not true or false" },
		{ "{\"x\":0}", true, "x: 0 is not true or false" },
		{ "{\"x\":{}}", true, "x: an object is not true or false" },
		{ "{\"x\":[]}", true, "x: an array is not true or false" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *object = value_of(cases[i].text);
		struct err e = { 0 };
		bool value = true;
		int r = json_get_bool(object, "x", &value, &e);

		assert_int_equal(r, cases[i].message ? -EINVAL : 0);
		assert_string_equal(e.msg, cases[i].message ? cases[i].message : "");
		assert_int_equal(value, cases[i].want);
	}
}

static void test_int(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
		const char *message;
	} cases[] = {
		{ "{}", 4711, NULL },
		{ "{\"x\":null}", 4711, NULL },
		{ "{\"x\":24}", 24, NULL },
		{ "{\"x\":-5}", -5, NULL },
		{ "{\"x\":100}", 100, NULL },
		{ "{\"x\":101}", 4711, "x: 101 is more than 100" },
		{ "{\"x\":-6}", 4711, "x: -6 is less than -5" },
		{ "{\"x\":24.0}", 4711, "x: 24.0 is not a whole number" },
		{ "{\"x\":\"24\"}", 4711, "x: \"24\" is not a whole number" },
		{ "{\"x\":true}", 4711, "x: true is not a whole number" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *object = value_of(cases[i].text);
		struct err e = { 0 };
		int64_t value = 4711;
		int r = json_get_int(object, "x", -5, 100, &value, &e);

		assert_int_equal(r, cases[i].message ? -EINVAL : 0);
		assert_string_equal(e.msg, cases[i].message ? cases[i].message : "");
		assert_int_equal(value, cases[i].want);
	}
}

static void test_string(void **state)
{
	static const struct {
		const char *text, *want, *message;
	} cases[] = {
		{ "{}", "before", NULL },
		{ "{\"x\":null}", "before", NULL },
		{ "{\"x\":\"\"}", "", NULL },
		{ "{\"x\":\"vxlan\"}", "vxlan", NULL },
		{ "{\"x\":1}", "before", "x: 1 is not a string" },
		{ "{\"x\":{\"y\":1}}", "before", "x: an object is not a string" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *object = value_of(cases[i].text);
		const char *value = "before";
		struct err e = { 0 };
		int r = json_get_string(object, "x", &value, &e);

		assert_int_equal(r, cases[i].message ? -EINVAL : 0);
		assert_string_equal(e.msg, cases[i].message ? cases[i].message : "");
		assert_string_equal(value, cases[i].want);
	}
}

static void test_ip_and_net(void **state)
{
	static const struct {
		const char *text;
		const char *ip; // "none": refused, "-": untouched
		const char *net;
	} cases[] = {
		{ "{}", "-", "-" },
		{ "{\"x\":null}", "none", "none" },
		{ "{\"x\":\"10.1.2.3\"}", "10.1.2.3", "none" },
		{ "{\"x\":\"fd00::1\"}", "fd00::1", "none" },
		{ "{\"x\":\"10.1.2.3/16\"}", "none", "10.1.0.0/16" },
		{ "{\"x\":\"fd00::1/64\"}", "none", "fd00::/64" },
		{ "{\"x\":\"\"}", "none", "none" },
		{ "{\"x\":10}", "none", "none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_json_ json_t *object = value_of(cases[i].text);
		struct ip ip = ip_v4(0x01010101);
		struct ipnet net = ipnet_of(&ip, 32);
		char text[IPNET_STR_MAX];
		struct err e = { 0 };
		int r;

		r = json_get_ip(object, "x", &ip, &e);
		assert_int_equal(r, strcmp(cases[i].ip, "none") == 0 ? -EINVAL : 0);
		assert_int_equal(r != 0, strstr(e.msg, "x: ") == e.msg);
		assert_string_equal(ip_str(&ip, text),
				    r == 0 && cases[i].ip[0] != '-' ? cases[i].ip : "1.1.1.1");

		e = (struct err){ 0 };
		r = json_get_ipnet(object, "x", &net, &e);
		assert_int_equal(r, strcmp(cases[i].net, "none") == 0 ? -EINVAL : 0);
		assert_int_equal(r != 0, strstr(e.msg, "x: ") == e.msg);
		assert_string_equal(ipnet_str(&net, text),
				    r == 0 && cases[i].net[0] != '-' ? cases[i].net : "1.1.1.1/32");
	}
}

static void test_messages_are_bounded(void **state)
{
	char text[2000] = "{\"x\":\"";
	_cleanup_json_ json_t *object = NULL;
	struct err e = { 0 };
	struct ip ip;

	(void)state;
	memset(text + 6, 'a', 1500);
	memcpy(text + 1506, "\"}", 3);
	object = value_of(text);
	assert_int_equal(json_get_ip(object, "x", &ip, &e), -EINVAL);
	assert_string_equal(e.msg,
			    "x: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa... is not an IP address");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_and_text),
		cmocka_unit_test(test_read_refused),
		cmocka_unit_test(test_read_bounds),
		cmocka_unit_test(test_member),
		cmocka_unit_test(test_bool),
		cmocka_unit_test(test_int),
		cmocka_unit_test(test_string),
		cmocka_unit_test(test_ip_and_net),
		cmocka_unit_test(test_messages_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
