// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what the store in memory has beyond the contract: faults on demand.
#include "unit.h"

#include "kv_client.h"
#include "loop_end.h"
#include "store/memory.h"

#include <errno.h>
#include <string.h>

static const char *const prefixes[] = { "/p/", NULL };

static struct loop *loop;
static struct kv *kv;
static struct kv *other;

static int setup(void **state)
{
	static const struct store_config config = { .kind = "memory" };

	(void)state;
	loop = loop_new();
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	other = memory_share(kv);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kv = kv_close(kv);
	other = kv_close(other);
	loop = loop_end(loop);
	return 0;
}

static void test_unreachable(void **state)
{
	struct watch_log log = { 0 };
	struct kv_answer answer;

	(void)state;
	watch_log_start(&log, kv, prefixes, 2, 0);
	turn_until(loop, log.ups == 1);
	memory_set_reachable(kv, false);
	turn_until(loop, log.downs == 1);
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, -ECONNREFUSED);
	kv_answer_free(&answer);
	do_session_open(kv, 5, &answer);
	assert_int_equal(answer.r, -ECONNREFUSED);
	kv_answer_free(&answer);
	must_put(other, "/p/a", "1"); // only one client is cut off
	memory_set_reachable(kv, true);
	turn_until(loop, log.ups == 2 && log.events == 1);
	assert_int_equal(log.downs, 1);
	watch_log_free(&log);
	assert_int_equal(kv_stats(kv)->failures, 2);
}

static void test_lost_answers(void **state)
{
	struct kv_answer answer;
	struct kv_pair pair;

	(void)state;
	memory_lose_answers(kv, 1);
	do_write(kv, "/p/a", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	assert_true(memory_get(kv, "/p/a", &pair));
	memory_lose_requests(kv, 1);
	do_write(kv, "/p/b", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	assert_false(memory_get(kv, "/p/b", &pair));
	must_put(kv, "/p/b", "1");
	assert_int_equal(memory_key_count(kv), 2);
}

static void test_wipe(void **state)
{
	struct watch_log log = { 0 };
	uint64_t cluster_id = memory_cluster_id(kv);

	(void)state;
	memory_put(kv, "/p/a", "1", 1, 0);
	watch_log_start(&log, kv, prefixes, memory_revision(kv) + 1, cluster_id);
	turn_until(loop, log.ups == 1);
	memory_wipe(other);
	turn_until(loop, log.losts == 1);
	assert_true(log.store_changed);
	assert_true(memory_cluster_id(kv) != cluster_id);
	assert_int_equal(memory_key_count(kv), 0);
	watch_log_free(&log);
}

static void test_expire_session(void **state)
{
	struct kv_answer answer;
	int64_t session;

	(void)state;
	do_session_open(kv, 1000, &answer);
	session = answer.session;
	kv_answer_free(&answer);
	memory_put(kv, "/p/a", "1", 1, session);
	memory_put(kv, "/p/b", "1", 1, session);
	memory_put(kv, "/p/c", "1", 1, 0);
	assert_int_equal(memory_session_count(kv), 1);
	assert_true(memory_expire_session(other, session));
	assert_false(memory_expire_session(other, session));
	assert_int_equal(memory_session_count(kv), 0);
	assert_int_equal(memory_key_count(kv), 1);
}

static void test_delete_of_nothing_is_no_revision(void **state)
{
	int64_t revision = memory_revision(kv);

	(void)state;
	assert_false(memory_delete(kv, "/p/none"));
	must_delete(kv, "/p/none");
	assert_int_equal(memory_revision(kv), revision);
}

// A history that outgrows its limit is compacted, a whole revision at a time; a watch that lags
// behind is told.
static void test_history_is_bounded(void **state)
{
	struct watch_log log = { 0 };
	int i;

	(void)state;
	watch_log_start(&log, kv, prefixes, 2, 0);
	turn_until(loop, log.ups == 1);
	for (i = 0; i < 100001; i++)
		memory_put(kv, "/p/a", "1", 1, 0);
	turn_until(loop, log.losts == 1);
	assert_false(log.store_changed);
	watch_log_free(&log);
	watch_log_start(&log, kv, prefixes, memory_revision(kv) - 1000, 0);
	turn_until(loop, log.events == 1001);
	watch_log_free(&log);
}

static void test_unknown_kind(void **state)
{
	static const struct store_config config = { .kind = "cassette" };
	struct kv *opened = NULL;
	struct err e;

	(void)state;
	assert_int_equal(kv_open(loop, &config, &opened, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "cassette"));
	assert_null(opened);
	assert_string_equal(kv_kind(kv), "memory");
	assert_string_equal(kv_endpoint(kv), "");
	assert_int_equal(kv_txn_max(kv), KV_TXN_MAX);
}

#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		MEMORY_TEST(test_unreachable),
		MEMORY_TEST(test_lost_answers),
		MEMORY_TEST(test_wipe),
		MEMORY_TEST(test_expire_session),
		MEMORY_TEST(test_delete_of_nothing_is_no_revision),
		MEMORY_TEST(test_history_is_bounded),
		MEMORY_TEST(test_unknown_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
