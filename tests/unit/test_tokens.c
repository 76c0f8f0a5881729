// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of tokens that are made while a controller runs.
#include "controller_world.h"
#include "unit.h"

#include "core/mem.h"
#include "store/memory.h"

#include <errno.h>
#include <string.h>

#define TOKEN_MAX 128
#define RANGE "{\"prefix\":\"/weft/\"}"

static void check_post(const char *token, const char *path, const char *body, const char *words)
{
	_cleanup_free_ char *answer = post(token, ALICE, path, body);

	check(strstr(answer, words), "%s %s: %s", path, body, answer);
}

// The text member of an answer, copied.
static void member(const char *answer, const char *name, char ret[static TOKEN_MAX])
{
	_cleanup_free_ char *start = xasprintf("\"%s\":\"", name);
	const char *at = strstr(answer, start);
	size_t len;

	check(at, "%s in %s", name, answer);
	at += strlen(start);
	len = strcspn(at, "\"");
	assert_in_range(len, 1, TOKEN_MAX - 1);
	memcpy(ret, at, len);
	ret[len] = '\0';
}

static void make_token(const char *body, char ret[static TOKEN_MAX])
{
	_cleanup_free_ char *answer = post(ADMIN, ALICE, "/v2/token/create", body);

	check(strstr(answer, " 200 "), "%s", answer);
	member(answer, "token", ret);
}

static bool is_taken(const char *token)
{
	_cleanup_free_ char *answer = post(token, ALICE, "/v2/range", RANGE);

	check(strstr(answer, " 200 ") || strstr(answer, " 401 "), "%s", answer);
	return strstr(answer, " 200 ");
}

static void test_of_agents(void **state)
{
	char token[TOKEN_MAX];
	struct kv_answer answer;
	struct kv *other;

	(void)state;
	make_token("{}", token);
	assert_true(is_taken(token));
	check_post(token, "/v2/txn",
		   "{\"compares\":[],\"writes\":[{\"key\":\"/weft/config\",\"value\":\"{}\"}]}",
		   " 403 ");
	check_post(token, "/v2/token/create", "{}",
		   "tokens are the business of those with an admin token");
	check_post(token, "/v2/token/list", "{}", " 403 ");
	check_post(token, "/v2/token/revoke", "{\"id\":\"x\"}", " 403 ");
	// At every controller of the store.
	other = client(second, token, ALICE);
	wait_read(other);
	kv_close(other);
	// Who reads the store cannot use what it has.
	do_range(direct, "/weft/.weft/tokens/", true, &answer);
	assert_int_equal(answer.pair_count, 1);
	assert_null(strstr(strbuf_text(&answer.pairs), token + 17));
	kv_answer_free(&answer);
}

static void test_of_admins(void **state)
{
	char token[TOKEN_MAX];

	(void)state;
	make_token("{\"admin\":true,\"ttl_s\":0}", token);
	check_post(token, "/v2/txn",
		   "{\"compares\":[],\"writes\":[{\"key\":\"/weft/config\",\"value\":\"{}\"}]}",
		   " 200 ");
	check_post(token, "/v2/token/list", "{}", "\"admin\":true");
	check_post(ADMIN, "/v2/token/list", "{}", "\"expires\":0");
}

static void test_nearly_right(void **state)
{
	char token[TOKEN_MAX], other[TOKEN_MAX];

	(void)state;
	make_token("{}", token);
	for (size_t i = 0; i < strlen(token); i++) {
		memcpy(other, token, sizeof(other));
		other[i] = other[i] == '0' ? '1' : '0';
		check(!is_taken(other), "%zu: %s", i, other);
	}
	assert_int_equal(text_format(other, sizeof(other), "%s0", token), 0);
	assert_false(is_taken(other));
	memcpy(other, token, sizeof(other));
	other[strlen(other) - 1] = '\0';
	assert_false(is_taken(other));
	assert_true(is_taken(token));
}

static void test_expiry(void **state)
{
	char token[TOKEN_MAX], another[TOKEN_MAX];
	struct kv_answer answer;

	(void)state;
	make_token("{\"ttl_s\":1}", token);
	turn_until(loop, !is_taken(token));
	check_post(ADMIN, "/v2/token/list", "{}", "\"expired\":true");
	// Its key goes with the next one that is made.
	make_token("{}", another);
	turn_until(loop, ({
			   do_range(direct, "/weft/.weft/tokens/", true, &answer);
			   kv_answer_free(&answer);
			   answer.pair_count == 1;
		   }));
	assert_true(is_taken(another));
}

// Whoever watches with it is cut off.
static void test_revoked(void **state)
{
	static const char *const prefixes[] = { "/weft/", NULL };
	_cleanup_free_ char *body = NULL;
	struct watch_log log = { 0 };
	struct kv_answer answer;
	char token[TOKEN_MAX], id[TOKEN_MAX];
	struct kv *watching;

	(void)state;
	make_token("{}", token);
	assert_int_equal(text_format(id, sizeof(id), "%.16s", token), 0);
	watching = client(second, token, ALICE);
	wait_read(watching);
	do_range(watching, "/weft/", true, &answer);
	watch_log_start(&log, watching, prefixes, answer.header.revision + 1, 0);
	kv_answer_free(&answer);
	turn_until(loop, log.ups > 0);
	check_post(ADMIN, "/v2/token/revoke", "{}", " 400 ");
	check_post(ADMIN, "/v2/token/revoke", "{\"id\":\"\"}", " 404 ");
	check_post(ADMIN, "/v2/token/revoke", "{\"id\":5}", " 400 ");
	check_post(ADMIN, "/v2/token/revoke", "{\"id\":\"../../config\"}", " 404 ");
	body = xasprintf("{\"id\":\"%s\"}", id);
	check_post(ADMIN, "/v2/token/revoke", body, " 200 ");
	assert_false(is_taken(token));
	turn_until(loop, log.downs > 0 && log.err.code == -EACCES);
	check(strstr(log.err.msg, "refuses our token"), "%s", log.err.msg);
	check_post(ADMIN, "/v2/token/revoke", body, " 404 ");
	watch_log_free(&log);
	kv_close(watching);
}

static void test_another_admin_token(void **state)
{
	char join[JOIN_TOKEN_MAX], before[JOIN_TOKEN_MAX], made[TOKEN_MAX];

	(void)state;
	make_token("{}", made);
	join_token_of(ADMIN, before);
	join_token_of("another-0123456789abcdef", join);
	assert_false(is_taken(join));
	controller_set_token(first, "another-0123456789abcdef");
	assert_false(is_taken(ADMIN));
	assert_false(is_taken(before));
	assert_true(is_taken(join));
	assert_true(is_taken("another-0123456789abcdef"));
	assert_true(is_taken(made));
}

static void test_before_the_store_was_read(void **state)
{
	char token[TOKEN_MAX];

	(void)state;
	make_token("{}", token);
	memory_set_reachable(store, false);
	first = controller_free(first);
	first = serve(RATE);
	check_post(token, "/v2/range", RANGE, " 503 ");
	check_post("0123456789abcdef0123", "/v2/range", RANGE, " 401 ");
	memory_set_reachable(store, true);
	turn_until(loop, ({
			   _cleanup_free_ char *answer = post(token, ALICE, "/v2/range", RANGE);
			   strstr(answer, " 200 ");
		   }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_of_agents, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_of_admins, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_nearly_right, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_expiry, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_revoked, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_another_admin_token, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_before_the_store_was_read, world_setup,
						world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
