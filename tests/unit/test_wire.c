// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the JSON between a controller and its clients.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

static json_t *parse(const char *text)
{
	json_t *json;

	check(json_read(text, strlen(text), JSON_TEXT_MAX, &json, NULL) == 0, "not JSON: %s", text);
	return json;
}

// ---- bytes ----

struct bytes_case {
	const char *bytes;
	size_t len;
	const char *json;
};

#define BYTES(text) text, sizeof(text) - 1

static const struct bytes_case bytes_cases[] = {
	{ BYTES(""), "{\"key\":\"\"}" },
	{ BYTES("/p/a"), "{\"key\":\"/p/a\"}" },
	{ BYTES("\"\\/"), "{\"key\":\"\\\"\\\\/\"}" },
	{ BYTES("a\n\tb"), "{\"key\":\"a\\n\\tb\"}" },
	{ BYTES("\xc3\xa4\xf0\x9f\x98\x80"), "{\"key\":\"\xc3\xa4\xf0\x9f\x98\x80\"}" },
	{ BYTES("\x7f"), "{\"key\":\"\x7f\"}" },
	{ BYTES("\0"), "{\"key64\":\"AA==\"}" },
	{ BYTES("a\0b"), "{\"key64\":\"YQBi\"}" },
	{ BYTES("\r"), "{\"key64\":\"DQ==\"}" },
	{ BYTES("\x1f"), "{\"key64\":\"Hw==\"}" },
	{ BYTES("\xff\xfe"), "{\"key64\":\"//4=\"}" },
	{ BYTES("\xc3"), "{\"key64\":\"ww==\"}" },		   // cut off
	{ BYTES("\xc0\x80"), "{\"key64\":\"wIA=\"}" },		   // overlong
	{ BYTES("\xed\xa0\x80"), "{\"key64\":\"7aCA\"}" },	   // a surrogate
	{ BYTES("\xf4\x90\x80\x80"), "{\"key64\":\"9JCAgA==\"}" }, // beyond Unicode
};

static void test_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bytes_cases); i++) {
		const struct bytes_case *c = &bytes_cases[i];
		_cleanup_json_ json_t *object = json_object();
		_cleanup_json_ json_t *again = NULL;
		_cleanup_free_ char *text = NULL;
		_cleanup_free_ char *bytes = NULL;
		size_t len;

		wire_set_bytes(object, "key", c->bytes, c->len);
		text = json_text(object);
		check(strcmp(text, c->json) == 0, "%s instead of %s", text, c->json);
		again = parse(text);
		assert_int_equal(wire_read_bytes(again, "key", &bytes, &len, NULL), 0);
		assert_int_equal(len, c->len);
		assert_memory_equal(bytes, c->bytes, len);
		assert_int_equal(bytes[len], 0);
	}
}

// What counts as text here is text to the JSON library as well: otherwise a member would be missing.
static void test_every_start(void **state)
{
	(void)state;
	for (unsigned int first = 0; first < 0x10000; first++) {
		const char bytes[4] = { (char)(first >> 8), (char)first, '\x80', '\xbf' };

		for (size_t len = 1; len <= sizeof(bytes); len++) {
			_cleanup_json_ json_t *object = json_object();
			_cleanup_free_ char *back = NULL;
			size_t back_len;

			wire_set_bytes(object, "k", bytes, len);
			check(wire_read_bytes(object, "k", &back, &back_len, NULL) == 0, "%04x", first);
			assert_int_equal(back_len, len);
			assert_memory_equal(back, bytes, len);
		}
	}
}

static void test_bad_bytes(void **state)
{
	static const char *const texts[] = {
		"{}",
		"{\"key\":5}",
		"{\"key\":null}",
		"{\"key64\":5}",
		"{\"key64\":\"*\"}",
		"{\"key64\":\"YQ\"}",
		"{\"key64\":\"YQ==\\n\"}",
		"{\"key\":[\"a\"]}",
		"[]",
		"5",
	};
	char *bytes = NULL;
	size_t len;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *json = parse(texts[i]);

		check(wire_read_bytes(json, "key", &bytes, &len, &e) == -EINVAL, "%s", texts[i]);
		check(strncmp(e.msg, "key", 3) == 0, "%s: %s", texts[i], e.msg);
		assert_null(bytes);
	}
}

// ---- pairs ----

static void test_pair(void **state)
{
	const struct kv_pair pairs[] = {
		{ .raw_key = "/p/a",
		  .raw_key_len = 4,
		  .value = "v",
		  .value_len = 1,
		  .create_revision = 3,
		  .mod_revision = 5,
		  .session = -7 },
		{ .raw_key = "/p/\0\xff",
		  .raw_key_len = 5,
		  .value = "\0",
		  .value_len = 1,
		  .create_revision = 1,
		  .mod_revision = WIRE_REVISION_MAX,
		  .session = INT64_MAX },
		{ .raw_key = "k", .raw_key_len = 1, .value = "", .value_len = 0, .mod_revision = 1 },
		{ .raw_key = "k", .raw_key_len = 1, .value_len = 70000, .mod_revision = 1, .session = INT64_MIN },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const struct kv_pair *from = &pairs[i];
		_cleanup_free_ char *text = wire_pair_text(from);
		_cleanup_json_ json_t *json = parse(text);
		_cleanup_wire_pair_ struct wire_pair to = { 0 };
		struct err e;

		check(wire_read_pair(json, &to, &e) == 0, "%s: %s", text, e.msg);
		assert_int_equal(to.pair.raw_key_len, from->raw_key_len);
		assert_memory_equal(to.pair.raw_key, from->raw_key, from->raw_key_len);
		assert_int_equal(to.pair.value != NULL, from->value != NULL);
		assert_int_equal(to.pair.value_len, from->value_len);
		if (from->value)
			assert_memory_equal(to.pair.value, from->value, from->value_len);
		assert_int_equal(to.pair.create_revision, from->create_revision);
		assert_int_equal(to.pair.mod_revision, from->mod_revision);
		assert_int_equal(to.pair.session, from->session);
		if (i == 1)
			assert_string_equal(to.pair.key, "/p/\\x00\\xff");
	}
}

static void test_longest_line(void **state)
{
	static const char fills[] = { '"', '\\', '\n', 'a', '\0', '\xff' };
	_cleanup_free_ char *key = xmalloc(WIRE_KEY_MAX);
	_cleanup_free_ char *value = xmalloc(KV_VALUE_MAX);

	(void)state;
	for (size_t i = 0; i < sizeof(fills); i++) {
		struct kv_pair pair = { .raw_key = key,
					.raw_key_len = WIRE_KEY_MAX,
					.value = value,
					.value_len = KV_VALUE_MAX,
					.create_revision = INT64_MAX,
					.mod_revision = INT64_MAX,
					.session = INT64_MIN };
		_cleanup_free_ char *text = NULL;

		memset(key, fills[i], WIRE_KEY_MAX);
		memset(value, fills[i], KV_VALUE_MAX);
		text = wire_pair_text(&pair);
		check(strlen(text) + strlen("{\"delete\":}\n") <= WIRE_LINE_MAX,
		      "fill %d: %zu bytes", fills[i], strlen(text));
	}
}

static void test_bad_pairs(void **state)
{
	static const char *const texts[] = {
		"{}",
		"5",
		"[]",
		"null",
		"{\"value\":\"v\",\"mod\":5}",
		"{\"key\":\"k\",\"mod\":5}",
		"{\"key\":\"k\",\"value\":5,\"mod\":5}",
		"{\"key\":\"k\",\"value\":null,\"mod\":5}",
		"{\"key\":\"\",\"value\":\"v\",\"mod\":5}",
		"{\"key64\":\"\",\"value\":\"v\",\"mod\":5}",
		"{\"key\":\"k\",\"value64\":\"*\",\"mod\":5}",
		"{\"key\":\"k\",\"size\":-1,\"mod\":5}",
		"{\"key\":\"k\",\"size\":null,\"mod\":5}",
		"{\"key\":\"k\",\"size\":\"1\",\"mod\":5}",
		"{\"key\":\"k\",\"value\":\"v\"}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":null}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":0}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":-1}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":5.0}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":9223372036854775807}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":5,\"create\":-1}",
		"{\"key\":\"k\",\"value\":\"v\",\"mod\":5,\"session\":\"7\"}",
	};
	struct wire_pair pair;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_json_ json_t *json = parse(texts[i]);

		check(wire_read_pair(json, &pair, &e) == -EPROTO, "taken: %s", texts[i]);
		check(e.code == -EPROTO && strncmp(e.msg, "pair: ", 6) == 0, "%s: %s", texts[i], e.msg);
		assert_null(pair.raw_key);
		assert_null(pair.value);
		assert_int_equal(wire_read_pair(json, &pair, NULL), -EPROTO);
	}
}

// ---- headers ----

static void test_header(void **state)
{
	static const struct kv_header headers[] = { { 0, 0 },
						    { 1, 1 },
						    { WIRE_REVISION_MAX, UINT64_MAX } };
	static const char *const bad[] = {
		"null",
		"{}",
		"[]",
		"{\"revision\":5}",
		"{\"cluster_id\":\"1\"}",
		"{\"revision\":-1,\"cluster_id\":\"1\"}",
		"{\"revision\":\"5\",\"cluster_id\":\"1\"}",
		"{\"revision\":null,\"cluster_id\":\"1\"}",
		"{\"revision\":9223372036854775807,\"cluster_id\":\"1\"}",
		"{\"revision\":5,\"cluster_id\":1}",
		"{\"revision\":5,\"cluster_id\":\"\"}",
		"{\"revision\":5,\"cluster_id\":\"x\"}",
		"{\"revision\":5,\"cluster_id\":\"1 \"}",
		"{\"revision\":5,\"cluster_id\":\"11112222333344445\"}",
	};
	struct kv_header read;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		_cleanup_json_ json_t *json = wire_header(&headers[i]);

		assert_int_equal(wire_read_header(json, &read, &e), 0);
		assert_int_equal(read.revision, headers[i].revision);
		assert_true(read.cluster_id == headers[i].cluster_id);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *json = parse(bad[i]);

		check(wire_read_header(json, &read, &e) == -EPROTO, "taken: %s", bad[i]);
	}
	assert_int_equal(wire_read_header(NULL, &read, &e), -EPROTO);
}

// ---- errors ----

static void test_errors(void **state)
{
	static const int known[] = { -ETIMEDOUT,   -ECONNREFUSED, -EACCES, -EAGAIN, -EPROTO,
				     -EINPROGRESS, -ENOENT,	  -ENOSPC, -EINVAL, -E2BIG };
	static const char *const bad[] = {
		"{}",
		"[]",
		"null",
		"{\"error\":null}",
		"{\"error\":\"no\"}",
		"{\"error\":{}}",
		"{\"error\":{\"code\":\"denied\"}}",
		"{\"error\":{\"text\":\"t\"}}",
		"{\"error\":{\"code\":5,\"text\":\"t\"}}",
		"{\"error\":{\"code\":\"denied\",\"text\":[]}}",
		"{\"error\":{\"code\":\"denied\",\"text\":null}}",
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		_cleanup_json_ json_t *json = wire_error(known[i], "why %s");

		assert_int_equal(wire_read_error(json, &e), known[i]);
		assert_int_equal(e.code, known[i]);
		assert_string_equal(e.msg, "why %s");
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *json = parse(bad[i]);

		check(wire_read_error(json, &e) == -EPROTO && e.code == -EPROTO, "%s", bad[i]);
	}
	// One that has no code of its own, and a code of a later version.
	{
		_cleanup_json_ json_t *other = wire_error(-EPIPE, "broke");
		_cleanup_json_ json_t *later = parse("{\"error\":{\"code\":\"new\",\"text\":\"t\"}}");

		assert_int_equal(wire_read_error(other, &e), -ECONNREFUSED);
		assert_int_equal(wire_read_error(later, &e), -EPROTO);
		assert_string_equal(e.msg, "t (new)");
	}
}

// ---- transactions ----

static void test_txn(void **state)
{
	static const struct kv_compare compares[] = {
		{ .key = "/p/a", .kind = KV_ABSENT },
		{ .key = "/p/b", .kind = KV_PRESENT },
		{ .key = "/p/\0\xff", .key_len = 5, .kind = KV_MOD_REVISION, .mod_revision = 7 },
	};
	static const struct kv_write writes[] = {
		{ .key = "/p/a", .value = "v", .value_len = 1, .session = -5 },
		{ .key = "/p/b", .value = "", .value_len = 0 },
		{ .key = "/p/c" },
		{ .key = "/p/\0", .key_len = 4, .value = "\0\xff", .value_len = 2 },
	};
	const struct kv_txn txn = { compares, ARRAY_SIZE(compares), writes, ARRAY_SIZE(writes) };
	_cleanup_json_ json_t *json = wire_txn(&txn);
	struct wire_txn read;
	struct err e;

	(void)state;
	check(wire_read_txn(json, &read, &e) == 0, "%s", e.msg);
	assert_int_equal(read.txn.compare_count, ARRAY_SIZE(compares));
	assert_int_equal(read.txn.write_count, ARRAY_SIZE(writes));
	for (size_t i = 0; i < ARRAY_SIZE(compares); i++) {
		size_t len = kv_key_len(compares[i].key, compares[i].key_len);

		assert_int_equal(read.compares[i].key_len, len);
		assert_memory_equal(read.compares[i].key, compares[i].key, len);
		assert_int_equal(read.compares[i].kind, compares[i].kind);
		assert_int_equal(read.compares[i].mod_revision, compares[i].mod_revision);
	}
	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		size_t len = kv_key_len(writes[i].key, writes[i].key_len);

		assert_int_equal(read.writes[i].key_len, len);
		assert_memory_equal(read.writes[i].key, writes[i].key, len);
		assert_int_equal(read.writes[i].value != NULL, writes[i].value != NULL);
		assert_int_equal(read.writes[i].value_len, writes[i].value_len);
		if (writes[i].value)
			assert_memory_equal(read.writes[i].value, writes[i].value, writes[i].value_len);
		assert_int_equal(read.writes[i].session, writes[i].session);
	}
	wire_txn_free(&read);
	wire_txn_free(&read); // again does nothing
}

#define COMPARE(text) "{\"compares\":[{\"key\":\"k\",\"exists\":true}," text "],\"writes\":[]}"
#define WRITE(text) "{\"compares\":[],\"writes\":[{\"key\":\"k\",\"value64\":\"YQ==\"}," text "]}"

static void test_bad_txns(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"null",
		"{\"compares\":[]}",
		"{\"writes\":[]}",
		"{\"compares\":{},\"writes\":[]}",
		"{\"compares\":[],\"writes\":null}",
		COMPARE("5"),
		COMPARE("{}"),
		COMPARE("{\"exists\":true}"),
		COMPARE("{\"key\":\"k\"}"),
		COMPARE("{\"key\":5,\"exists\":true}"),
		COMPARE("{\"key\":\"\",\"exists\":true}"),
		COMPARE("{\"key64\":\"\",\"exists\":true}"),
		COMPARE("{\"key64\":\"*\",\"exists\":true}"),
		COMPARE("{\"key\":\"k\",\"exists\":1}"),
		COMPARE("{\"key\":\"k\",\"exists\":null}"),
		COMPARE("{\"key\":\"k\",\"mod\":\"7\"}"),
		COMPARE("{\"key\":\"k\",\"mod\":null}"),
		COMPARE("{\"key\":\"k\",\"mod\":-1}"),
		COMPARE("{\"key\":\"k\",\"mod\":0}"),
		COMPARE("{\"key\":\"k\",\"mod\":1.5}"),
		COMPARE("{\"key\":\"k\",\"mod\":9223372036854775808}"),
		WRITE("5"),
		WRITE("{}"),
		WRITE("{\"key\":\"k\"}"),
		WRITE("{\"value\":\"v\"}"),
		WRITE("{\"key\":\"\",\"value\":\"v\"}"),
		WRITE("{\"key\":\"k\",\"value\":5}"),
		WRITE("{\"key\":\"k\",\"value\":null}"),
		WRITE("{\"key\":\"k\",\"value64\":\"YQ\"}"),
		WRITE("{\"key\":\"k\",\"delete\":false}"),
		WRITE("{\"key\":\"k\",\"delete\":1}"),
		WRITE("{\"key\":\"k\",\"value\":\"v\",\"session\":\"5\"}"),
		WRITE("{\"key\":\"k\",\"value\":\"v\",\"session\":5.5}"),
	};
	struct wire_txn txn;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *json = NULL;

		if (json_read(texts[i], strlen(texts[i]), JSON_TEXT_MAX, &json, NULL) < 0)
			continue; // a number that no parser takes
		e = (struct err){ 0 };
		check(wire_read_txn(json, &txn, &e) == -EINVAL, "taken: %s", texts[i]);
		check(e.msg[0] != '\0' && txn.text_count == 0, "%s", texts[i]);
		json_decref(json);
	}
}

static void test_txn_of_many(void **state)
{
	(void)state;
	for (size_t count = KV_TXN_MAX; count <= KV_TXN_MAX + 1; count++) {
		for (int is_write = 0; is_write < 2; is_write++) {
			_cleanup_json_ json_t *json = json_pack("{s:[],s:[]}", "compares", "writes");
			json_t *array = json_object_get(json, is_write ? "writes" : "compares");
			struct wire_txn txn;
			struct err e;

			for (size_t i = 0; i < count; i++)
				json_array_append_new(array, json_pack("{s:s,s:b,s:s}", "key", "k",
								       "exists", 1, "value", "v"));
			assert_int_equal(wire_read_txn(json, &txn, &e),
					 count > KV_TXN_MAX ? -EINVAL : 0);
			wire_txn_free(&txn);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),	     cmocka_unit_test(test_every_start),
		cmocka_unit_test(test_bad_bytes),    cmocka_unit_test(test_pair),
		cmocka_unit_test(test_longest_line), cmocka_unit_test(test_bad_pairs),
		cmocka_unit_test(test_header),	     cmocka_unit_test(test_errors),
		cmocka_unit_test(test_txn),	     cmocka_unit_test(test_bad_txns),
		cmocka_unit_test(test_txn_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
