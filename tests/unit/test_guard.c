// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what an agent may write through a controller, and what not.
#include "controller_world.h"
#include "unit.h"

#include "core/mem.h"
#include "store/owner.h"

#include <errno.h>
#include <string.h>

#define CONFIG "/weft/config"
#define KEY "/weft/subnets/10.1.3.0-24"
#define KEY2 "/weft/subnets/10.1.4.0-24"

// ---- what is asked for ----

static char *value_of(const char *identity, const char *ip)
{
	_cleanup_free_ char *mark = NULL;
	char owner[OWNER_MAX];

	if (!identity)
		return xasprintf("{\"PublicIP\":\"%s\",\"PublicIPv6\":null}", ip);
	owner_of(identity, owner);
	mark = owner_mark(NULL, owner);
	return xasprintf("{\"PublicIP\":\"%s\",\"PublicIPv6\":null,%s", ip, mark + 1);
}

static int64_t open_session(struct kv *by)
{
	struct kv_answer answer;
	int64_t session;

	do_session_open(by, 60, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	session = answer.session;
	kv_answer_free(&answer);
	return session;
}

// value NULL: deletes. The key's new revision, if it is done; compared: as do_write has it.
static int write_key(struct kv *by, const char *key, const char *value, int64_t compared,
		     int64_t session, int64_t *ret_revision)
{
	struct kv_answer answer;
	int r;

	do_write(by, key, value, compared, session, &answer);
	r = answer.r;
	if (r == 0 && !answer.succeeded)
		r = -ESTALE;
	if (r == 0 && ret_revision)
		*ret_revision = answer.header.revision;
	if (r == -EACCES)
		check(strstr(answer.err.msg, key) || strstr(answer.err.msg, "session"), "%s",
		      answer.err.msg);
	kv_answer_free(&answer);
	return r;
}

struct held {
	char *value;
	int64_t session;
	int64_t revision;
};

static void hold(struct kv *by, const char *identity, const char *key, const char *ip, struct held *ret)
{
	ret->value = value_of(identity, ip);
	ret->session = open_session(by);
	assert_int_equal(write_key(by, key, ret->value, 0, ret->session, &ret->revision), 0);
}

static int session_call(void (*call)(struct kv *, int64_t, struct kv_answer *), struct kv *by,
			int64_t session)
{
	struct kv_answer answer;
	int r;

	call(by, session, &answer);
	r = answer.r;
	kv_answer_free(&answer);
	return r;
}

// ---- leases ----

static void test_own_lease(void **state)
{
	struct held lease;

	(void)state;
	hold(alice, ALICE, KEY, "192.0.2.1", &lease);
	assert_int_equal(write_key(alice, KEY, lease.value, lease.revision, lease.session,
				   &lease.revision),
			 0);
	assert_int_equal(session_call(do_session_keep_alive, alice, lease.session), 0);
	assert_int_equal(write_key(alice, KEY, NULL, lease.revision, 0, NULL), 0);
	assert_int_equal(session_call(do_session_close, alice, lease.session), 0);
	free(lease.value);
}

static void test_lease_of_another(void **state)
{
	_cleanup_free_ char *forged = value_of(BOB, "192.0.2.2");
	struct held lease;
	int64_t session;

	(void)state;
	hold(alice, ALICE, KEY, "192.0.2.1", &lease);
	session = open_session(bob);
	assert_int_equal(write_key(bob, KEY, forged, lease.revision, session, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY, forged, lease.revision, lease.session, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY, lease.value, lease.revision, lease.session, NULL),
			 -EACCES);
	assert_int_equal(write_key(bob, KEY, NULL, lease.revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY, forged, -1, session, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY, NULL, -1, 0, NULL), -EACCES);
	// It is taken: an answer like any other's.
	assert_int_equal(write_key(bob, KEY, forged, 0, session, NULL), -ESTALE);
	// A key of his tied to her session would let him end it.
	assert_int_equal(write_key(bob, KEY2, forged, 0, lease.session, NULL), -EACCES);
	assert_int_equal(session_call(do_session_close, bob, lease.session), -EACCES);
	assert_int_equal(session_call(do_session_keep_alive, bob, lease.session), -EACCES);
	assert_int_equal(session_call(do_session_query, bob, lease.session), 0);
	assert_int_equal(session_call(do_session_keep_alive, alice, lease.session), 0);
	assert_int_equal(write_key(admin, KEY, NULL, lease.revision, 0, NULL), 0);
	free(lease.value);
}

// The mirror has not heard of it when it is asked for, or never will.
static void test_revision_of_the_moment(void **state)
{
	_cleanup_free_ char *forged = value_of(BOB, "192.0.2.2");
	_cleanup_free_ char *hers = value_of(ALICE, "192.0.2.1");
	struct held lease;
	int64_t revision = must_put(direct, KEY, hers), session = open_session(bob);

	(void)state;
	for (int i = 0; i < 5; i++) {
		revision = must_put(direct, KEY, hers);
		assert_int_equal(write_key(bob, KEY, forged, revision, session, NULL), -EACCES);
		assert_int_equal(write_key(bob, KEY, forged, revision + 1, session, NULL), -ESTALE);
		revision = must_put(direct, KEY, hers);
		assert_int_equal(write_key(alice, KEY, hers, revision, open_session(alice), &revision),
				 0);
	}
	assert_int_equal(write_key(bob, KEY2, forged, 12345, session, NULL), -ESTALE);
	hold(bob, BOB, KEY2, "192.0.2.2", &lease);
	free(lease.value);
}

static void test_values(void **state)
{
	static const char *const bad[] = { "",
					   "{",
					   "[]",
					   "\"x\"",
					   "{\"PublicIP\":\"x\"}",
					   "{\"PublicIP\":\"192.0.2.9\",\"WeftOwner\":7}" };
	_cleanup_free_ char *unmarked = value_of(NULL, "192.0.2.2");
	_cleanup_free_ char *hers = value_of(ALICE, "192.0.2.2");
	_cleanup_free_ char *his = value_of(BOB, "192.0.2.1");
	struct held lease;
	int64_t session;

	(void)state;
	hold(alice, ALICE, KEY, "192.0.2.1", &lease);
	session = open_session(bob);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(write_key(bob, KEY2, bad[i], 0, session, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY2, unmarked, 0, session, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY2, hers, 0, session, NULL), -EACCES);
	// With her address.
	wait_read(bob);
	assert_int_equal(write_key(bob, KEY2, his, 0, session, NULL), -EACCES);
	assert_int_equal(write_key(admin, "/weft/net/config", "{}", 0, 0, NULL), 0);
	assert_int_equal(write_key(bob, "/weft/net/subnets/10.1.3.0-24", his, 0, session, NULL), 0);
	free(lease.value);
}

static void test_keys(void **state)
{
	static const char *const keys[] = { CONFIG,
					    "/weft/net/config",
					    "/weft/x",
					    "/weft/subnets/",
					    "/weft/subnets/x",
					    "/weft/subnets/10.1.3.1-24",
					    "/weft/subnets/0.0.0.0-0",
					    "/weft/subnets/10.1.3.0-24/x",
					    "/weft/subnets/../config",
					    "/weft/../subnets/10.1.3.0-24/..",
					    "/weft/a/b/subnets/10.1.3.0-24",
					    "/weft//subnets/10.1.3.0-24",
					    "/weft/.weft/tokens/x" };
	_cleanup_free_ char *value = value_of(BOB, "192.0.2.2");
	int64_t session = open_session(bob);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct kv_answer answer;

		do_write(bob, keys[i], value, 0, session, &answer);
		check(answer.r == -EACCES, "%s: %d", keys[i], answer.r);
		kv_answer_free(&answer);
	}
	assert_int_equal(write_key(admin, "/weft/net/config", "{}", 0, 0, NULL), 0);
}

// Networks are made by operators.
static void test_lease_without_a_network(void **state)
{
	struct held lease;

	(void)state;
	lease.value = value_of(BOB, "192.0.2.2");
	lease.session = open_session(bob);
	assert_int_equal(write_key(bob, "/weft/net/subnets/10.1.3.0-24", lease.value, 0,
				   lease.session, NULL),
			 -EAGAIN);
	assert_int_equal(write_key(admin, "/weft/net/config", "{}", 0, 0, NULL), 0);
	assert_int_equal(write_key(bob, "/weft/net/subnets/10.1.3.0-24", lease.value, 0,
				   lease.session, NULL),
			 0);
	free(lease.value);
}

// ---- what has no mark ----

static void test_reservation(void **state)
{
	_cleanup_free_ char *here = value_of(NULL, "127.0.0.1");
	_cleanup_free_ char *elsewhere = value_of(NULL, "192.0.2.9");
	_cleanup_free_ char *taken = value_of(BOB, "127.0.0.1");
	int64_t revision = must_put(admin, KEY, here), other = must_put(admin, KEY2, elsewhere);
	struct kv_answer answer;

	(void)state;
	wait_read(bob);
	assert_int_equal(write_key(bob, KEY2, taken, other, 0, NULL), -EACCES);
	do_write(bob, KEY2, taken, other, 0, &answer);
	check(strstr(answer.err.msg, "for a client at 192.0.2.9, not at 127.0.0.1"), "%s",
	      answer.err.msg);
	kv_answer_free(&answer);
	assert_int_equal(write_key(bob, KEY, taken, revision, 0, &revision), 0);
	// From now on it is his alone, whatever address others come from.
	wait_read(alice);
	assert_int_equal(write_key(alice, KEY, taken, revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(alice, KEY, NULL, revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(bob, KEY, taken, revision, 0, NULL), 0);
	// None makes one of his own, nor of a lease.
	assert_int_equal(write_key(bob, "/weft/subnets/10.1.5.0-24", taken, 0, 0, NULL), -EACCES);
}

static void test_lease_to_reservation(void **state)
{
	struct held lease;

	(void)state;
	hold(bob, BOB, KEY, "192.0.2.2", &lease);
	assert_int_equal(write_key(bob, KEY, lease.value, lease.revision, 0, NULL), -EACCES);
	free(lease.value);
}

// Of an earlier version, of flannel.
static void test_unmarked_lease(void **state)
{
	_cleanup_free_ char *here = value_of(NULL, "127.0.0.1");
	_cleanup_free_ char *claimed = value_of(BOB, "127.0.0.1");
	int64_t session = open_session(direct), revision;

	(void)state;
	assert_int_equal(write_key(direct, KEY, here, 0, session, &revision), 0);
	wait_read(bob);
	turn_until(loop, session_call(do_session_keep_alive, bob, session) == 0);
	assert_int_equal(write_key(bob, KEY, claimed, revision, session, NULL), 0);
}

// ---- sessions ----

static void test_session_without_a_key(void **state)
{
	_cleanup_free_ char *his = value_of(BOB, "192.0.2.2");
	int64_t session = open_session(alice), foreign = open_session(direct);

	(void)state;
	assert_int_equal(session_call(do_session_keep_alive, alice, session), 0);
	assert_int_equal(session_call(do_session_close, bob, session), -ENOENT);
	assert_int_equal(session_call(do_session_close, admin, session), -ENOENT);
	assert_int_equal(write_key(bob, KEY, his, 0, session, NULL), -ENOENT);
	assert_int_equal(session_call(do_session_query, direct, session), 0);
	// Whoever else uses the store.
	assert_int_equal(session_call(do_session_close, alice, foreign), -ENOENT);
	assert_int_equal(session_call(do_session_close, admin, foreign), -ENOENT);
	assert_int_equal(session_call(do_session_query, admin, foreign), -ENOENT);
	assert_int_equal(session_call(do_session_query, direct, foreign), 0);
	assert_int_equal(session_call(do_session_close, alice, session), 0);
	assert_int_equal(session_call(do_session_query, direct, session), -ENOENT);
}

static void move(struct kv **client_of, const struct controller *to, const char *identity)
{
	kv_close(*client_of);
	*client_of = agent(to, identity);
}

// The same at another controller, by an agent that remembers nothing but its identity, and after a controller's restart.
static void test_restarts(void **state)
{
	struct held lease;

	(void)state;
	hold(alice, ALICE, KEY, "192.0.2.1", &lease);
	move(&alice, second, ALICE);
	move(&bob, second, BOB);
	wait_read(alice);
	turn_until(loop, session_call(do_session_keep_alive, alice, lease.session) == 0);
	assert_int_equal(session_call(do_session_close, bob, lease.session), -EACCES);
	assert_int_equal(write_key(bob, KEY, NULL, lease.revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(alice, KEY, lease.value, lease.revision, lease.session,
				   &lease.revision),
			 0);
	second = controller_free(second);
	second = serve(RATE);
	move(&alice, second, ALICE);
	move(&bob, second, BOB);
	wait_read(alice);
	assert_int_equal(write_key(bob, KEY, NULL, lease.revision, 0, NULL), -EACCES);
	assert_int_equal(session_call(do_session_close, bob, lease.session), -EACCES);
	assert_int_equal(session_call(do_session_close, alice, lease.session), 0);
	free(lease.value);
}

// What the first controller opened, the second takes: a client moves on between the two.
static void test_proof_at_another_controller(void **state)
{
	_cleanup_free_ char *hers = value_of(ALICE, "192.0.2.1");
	_cleanup_free_ char *one = xasprintf("http://127.0.0.1:%u", controller_port(first));
	_cleanup_free_ char *two = xasprintf("http://127.0.0.1:%u", controller_port(second));
	const char *const endpoints[] = { one, two, NULL };
	char token[JOIN_TOKEN_MAX];
	const struct store_config config = {
		.kind = "controller", .endpoints = endpoints, .token = token, .identity = ALICE
	};
	struct kv *both;
	int64_t session;

	(void)state;
	join_token_of(ADMIN, token);
	assert_int_equal(kv_open(loop, &config, &both, NULL), 0);
	session = open_session(both);
	first = controller_free(first);
	wait_read(both);
	assert_int_equal(write_key(both, KEY, hers, 0, session, NULL), 0);
	session = open_session(both);
	assert_int_equal(session_call(do_session_close, both, session), 0);
	kv_close(both);
}

// ---- who asks ----

// A proof is for its session and its owner.
static void test_forged_proofs(void **state)
{
	static const char *const proofs[] = {
		"\"\"", "5", "\"x\"", "\"0000000000000000000000000000000000000000000000000000000000000000\""
	};
	char token[JOIN_TOKEN_MAX];
	_cleanup_free_ char *opened = NULL;
	_cleanup_free_ char *body = NULL, *stolen = NULL;
	const char *text;

	(void)state;
	join_token_of(ADMIN, token);
	for (size_t i = 0; i < ARRAY_SIZE(proofs); i++) {
		_cleanup_free_ char *asked = xasprintf("{\"session\":%lld,\"proof\":%s}",
						       (long long)open_session(alice), proofs[i]);
		_cleanup_free_ char *answer = post(token, ALICE, "/v2/session/close", asked);

		check(strstr(answer, i == 1 ? " 400 " : " 404 "), "%s", answer);
	}
	opened = post(token, ALICE, "/v2/session/open", "{\"ttl_s\":60}");
	text = strstr(opened, "\"session\"");
	assert_non_null(text);
	body = xasprintf("{%s", text);
	stolen = post(token, BOB, "/v2/session/close", body);
	check(strstr(stolen, " 404 "), "%s", stolen);
	free(stolen);
	stolen = post(token, ALICE, "/v2/session/close", body);
	check(strstr(stolen, " 200 "), "%s", stolen);
}

static void test_without_identity(void **state)
{
	_cleanup_free_ char *value = value_of(BOB, "192.0.2.2");
	struct kv *nobody = agent(first, NULL);
	struct kv_answer answer;

	(void)state;
	do_write(nobody, KEY, value, 0, open_session(nobody), &answer);
	assert_int_equal(answer.r, -EACCES);
	check(strstr(answer.err.msg, "does not say who it is"), "%s", answer.err.msg);
	kv_answer_free(&answer);
	kv_close(nobody);
}

// ---- reading ----

static void test_hidden_keys(void **state)
{
	static const char *const prefixes[] = { "/weft/", NULL };
	struct kv *const clients[] = { alice, admin };

	(void)state;
	must_put(direct, "/weft/.weft/tokens/x", "secret");
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		struct watch_log log = { 0 };
		struct kv_answer answer;

		do_range(clients[i], "/weft/.weft/", true, &answer);
		assert_int_equal(answer.r, -EACCES);
		kv_answer_free(&answer);
		do_range(clients[i], "/weft/.weft/tokens/x", false, &answer);
		assert_int_equal(answer.r, -EACCES);
		kv_answer_free(&answer);
		do_write(clients[i], "/weft/.weft/tokens/x", "", -1, 0, &answer);
		assert_int_equal(answer.r, -EACCES);
		kv_answer_free(&answer);
		do {
			kv_answer_free(&answer);
			do_range(clients[i], "/weft/", true, &answer);
		} while (answer.r == 0 && answer.pair_count == 0);
		assert_string_equal(answer.last_key, CONFIG);
		assert_int_equal(answer.pair_count, 1);
		watch_log_start(&log, clients[i], prefixes, answer.header.revision + 1,
				answer.header.cluster_id);
		must_put(direct, "/weft/.weft/tokens/x", "secret");
		must_put(direct, "/weft/seen", "1");
		turn_until(loop, strstr(strbuf_text(&log.text), "/weft/seen"));
		assert_null(strstr(strbuf_text(&log.text), "secret"));
		watch_log_free(&log);
		kv_answer_free(&answer);
		must_delete(admin, "/weft/seen");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_own_lease, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_lease_of_another, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_revision_of_the_moment, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(test_values, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_keys, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_lease_without_a_network, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(test_reservation, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_lease_to_reservation, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_unmarked_lease, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_session_without_a_key, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_restarts, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_proof_at_another_controller, world_setup,
						world_teardown),
		cmocka_unit_test_setup_teardown(test_forged_proofs, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_without_identity, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_hidden_keys, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
