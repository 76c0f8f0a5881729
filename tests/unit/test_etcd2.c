// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the etcd v2 store on real members: what is special of it, and that it gets over what
// fails.
#include "unit.h"

#include "core/mem.h"
#include "etcd_process.h"
#include "kv_client.h"
#include "loop_end.h"
#include "netns.h"
#include "store/registry.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define DEAD_MAN_MS 1500

static const char *const words[] = { "--enable-v2", NULL };
static struct loop *loop;
static struct etcd_cluster *cluster;

static struct kv *open_store(const struct store_config *given)
{
	struct store_config config = *given;
	struct kv *kv;
	struct err e;

	config.kind = "etcd2";
	if (!config.endpoints)
		config.endpoints = etcd_cluster_urls(cluster);
	if (!config.request_timeout_ms)
		config.request_timeout_ms = 1000;
	config.dead_man_ms = DEAD_MAN_MS;
	check(kv_open(loop, &config, &kv, &e) == 0, "%s", e.msg);
	return kv;
}

static struct kv *open_usual(void)
{
	return open_store(&(struct store_config){ 0 });
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	netns_enter();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster = etcd_cluster_free(cluster);
	loop = loop_end(loop);
	return 0;
}

// ---- keys ----

// Names are sorted within their directory, keys as a whole.
static void test_order_of_keys(void **state)
{
	static const char *const keys[] = { "/o/a/x",	"/o/a/y",   "/o/a-b",
					    "/o/b/c/d", "/o/b/c.d", "/o/c" };
	struct kv_answer answer;
	struct kv *kv;
	size_t i;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		must_put(kv, keys[i], "v");
	do_range(kv, "/o/", true, &answer);
	assert_int_equal(answer.pair_count, 6);
	assert_true(answer.sorted);
	kv_answer_free(&answer);
	// A prefix that is no directory, and one that no key begins with.
	do_range(kv, "/o/a", true, &answer);
	assert_int_equal(answer.pair_count, 3);
	assert_true(answer.sorted);
	kv_answer_free(&answer);
	do_range(kv, "/o/c/", true, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 0);
	kv_answer_free(&answer);
	do_range(kv, "/", true, &answer);
	assert_int_equal(answer.pair_count, 6);
	kv_answer_free(&answer);
	// A directory is no key.
	do_range(kv, "/o/a", false, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 0);
	kv_answer_free(&answer);
	kv_close(kv);
}

static void check_refused(struct kv *kv, const char *key, const char *value, size_t len)
{
	struct kv_write write = { .key = key, .value = value, .value_len = len };
	struct kv_txn txn = { .writes = &write, .write_count = 1 };
	struct kv_answer answer;

	do_txn(kv, &txn, &answer);
	check(answer.r == -EINVAL, "%s: %d", key, answer.r);
	kv_answer_free(&answer);
}

static void test_what_cannot_be_written(void **state)
{
	struct kv_compare compare = { .key = "/a/b", .kind = KV_ABSENT };
	struct kv_write write = { .key = "/a/c", .value = "v", .value_len = 1 };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	must_put(kv, "/a/b", "v");
	check_refused(kv, "a", "v", 1);
	check_refused(kv, "/", "v", 1);
	check_refused(kv, "/x/", "v", 1);
	check_refused(kv, "/x//y", "v", 1);
	check_refused(kv, "/x/./y", "v", 1);
	check_refused(kv, "/x/../y", "v", 1);
	check_refused(kv, "/x/\xff", "v", 1);
	check_refused(kv, "/x/y", "\xff", 1);
	check_refused(kv, "/a", "v", 1);     // a directory
	check_refused(kv, "/a/b/c", "v", 1); // below a key
	do_txn(kv, &txn, &answer);	     // two keys
	assert_int_equal(answer.r, -EINVAL);
	kv_answer_free(&answer);
	do_range(kv, "/", true, &answer);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	kv_close(kv);
}

// One compare, one write or none.
static bool do_compare(struct kv *kv, enum kv_compare_kind kind, int64_t revision, bool write_it,
		       const char *value)
{
	struct kv_compare compare = { .key = "/c/k", .kind = kind, .mod_revision = revision };
	struct kv_write write = { .key = "/c/k", .value = value, .value_len = value ? 1 : 0 };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = write_it
	};
	struct kv_answer answer;

	do_txn(kv, &txn, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	return answer.succeeded;
}

// etcd takes a compare with 0 for none, and does not compare whether a key exists before it deletes.
static void test_compares(void **state)
{
	int64_t revision;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	assert_false(do_compare(kv, KV_PRESENT, 0, true, NULL));
	assert_false(do_compare(kv, KV_PRESENT, 0, true, "v"));
	assert_true(do_compare(kv, KV_ABSENT, 0, true, NULL));
	assert_true(do_compare(kv, KV_ABSENT, 0, false, NULL));
	revision = must_put(kv, "/c/k", "v");
	assert_false(do_compare(kv, KV_ABSENT, 0, true, NULL));
	assert_false(do_compare(kv, KV_MOD_REVISION, 0, true, NULL));
	assert_false(do_compare(kv, KV_MOD_REVISION, 0, true, "w"));
	assert_false(do_compare(kv, KV_MOD_REVISION, revision + 1, false, NULL));
	assert_true(do_compare(kv, KV_MOD_REVISION, revision, false, NULL));
	assert_true(do_compare(kv, KV_PRESENT, 0, false, NULL));
	assert_true(do_compare(kv, KV_PRESENT, 0, true, "w"));
	assert_true(do_compare(kv, KV_PRESENT, 0, true, NULL));
	kv_close(kv);
}

static void test_etcdctl(void **state)
{
	static const char *const prefixes[] = { "/net/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	char output[1024];
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	etcd_ctl2(cluster, output, sizeof(output), "mk", "/net/config",
		  "{\"Network\":\"10.0.0.0/8\"}", NULL);
	do_range(kv, "/net/config", false, &answer);
	assert_non_null(
		strstr(strbuf_text(&answer.pairs), "/net/config={\"Network\":\"10.0.0.0/8\"}@"));
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, answer.header.revision + 1, 0);
	must_put(kv, "/net/subnets/10.1.2.0-24", "a=b&c d%\"\xc3\xbc");
	etcd_ctl2(cluster, output, sizeof(output), "get", "/net/subnets/10.1.2.0-24", NULL);
	assert_string_equal(output, "a=b&c d%\"\xc3\xbc\n");
	etcd_ctl2(cluster, output, sizeof(output), "ls", "--recursive", "/net", NULL);
	assert_non_null(strstr(output, "/net/subnets/10.1.2.0-24\n"));
	etcd_ctl2(cluster, output, sizeof(output), "set", "/net/config", "c", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "mkdir", "/net/empty", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "rm", "/net/config", NULL);
	turn_until(loop, log.events == 3);
	assert_string_equal(strbuf_text(&log.text), "PUT /net/subnets/10.1.2.0-24=a=b&c d%\"\xc3\xbc\n"
						    "PUT /net/config=c\nDELETE /net/config\n");
	// Of what was in it nothing is said.
	etcd_ctl2(cluster, output, sizeof(output), "rm", "--recursive", "/net/empty", NULL);
	must_put(kv, "/net/x", "1");
	turn_until(loop, log.events == 4 || log.losts == 1);
	if (log.losts == 0) {
		etcd_ctl2(cluster, output, sizeof(output), "rm", "--recursive", "/net/subnets", NULL);
		turn_until(loop, log.losts == 1);
	}
	assert_false(log.store_changed);
	watch_log_free(&log);
	kv_close(kv);
}

// ---- sessions ----

static int64_t open_session(struct kv *kv, int64_t ttl_s)
{
	struct kv_answer answer;

	do_session_open(kv, ttl_s, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	return answer.session;
}

static int64_t tie(struct kv *kv, const char *key, int64_t session)
{
	struct kv_answer answer;

	do_write(kv, key, "v", 0, session, &answer);
	check(answer.r == 0 && answer.succeeded, "%s", err_msg(&answer.err));
	kv_answer_free(&answer);
	return answer.header.revision;
}

static int keep_alive(struct kv *kv, int64_t session)
{
	struct kv_answer answer;

	do_session_keep_alive(kv, session, &answer);
	kv_answer_free(&answer);
	return answer.r;
}

static struct kv_pair read_key(struct kv *kv, const char *key)
{
	struct kv_answer answer;

	do_range(kv, key, false, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	return answer.last;
}

// A refresh moves the key's index, which nobody is told of: the revision stays the one that callers know.
static void test_refresh_is_no_event(void **state)
{
	static const char *const prefixes[] = { "/s/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv, *other;
	int64_t revision;
	int64_t session;
	int i;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	other = open_usual();
	session = open_session(kv, 100);
	revision = tie(kv, "/s/k", session);
	watch_log_start(&log, kv, prefixes, revision, 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(keep_alive(kv, session), 0);
	must_put(kv, "/s/end", "e");
	turn_until(loop, log.events == 2);
	assert_string_equal(strbuf_text(&log.text), "PUT /s/k=v\nPUT /s/end=e\n");
	watch_log_free(&log);
	assert_int_equal(read_key(kv, "/s/k").mod_revision, revision);
	assert_true(read_key(other, "/s/k").mod_revision > revision);
	do_write(kv, "/s/k", "w", revision, session, &answer);
	assert_true(answer.succeeded);
	kv_answer_free(&answer);
	assert_int_equal(read_key(kv, "/s/k").session, session);
	// Somebody else's change is one.
	revision = read_key(other, "/s/k").mod_revision;
	do_write(other, "/s/k", "x", revision, read_key(other, "/s/k").session, &answer);
	assert_true(answer.succeeded);
	kv_answer_free(&answer);
	assert_int_equal(keep_alive(kv, session), 0);
	do_write(kv, "/s/k", "y", revision, session, &answer);
	assert_int_equal(answer.r, 0);
	assert_false(answer.succeeded);
	kv_answer_free(&answer);
	kv_close(kv);
	kv_close(other);
}

static void test_session_of_one_key(void **state)
{
	struct kv_answer answer;
	struct kv *kv;
	int64_t session;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	session = open_session(kv, 100);
	// A write that was not done ties nothing.
	must_put(kv, "/s/taken", "t");
	do_write(kv, "/s/taken", "v", 0, session, &answer);
	assert_int_equal(answer.r, 0);
	assert_false(answer.succeeded);
	kv_answer_free(&answer);
	tie(kv, "/s/k", session);
	do_write(kv, "/s/second", "v", 0, session, &answer);
	assert_int_equal(answer.r, -EINVAL);
	kv_answer_free(&answer);
	do_session_close(kv, session, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	do_range(kv, "/s/", true, &answer);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);

	// One that never got a key.
	session = open_session(kv, 1);
	assert_int_equal(keep_alive(kv, session), 0);
	turn_until(loop, ({
			   do_session_query(kv, session, &answer);
			   kv_answer_free(&answer);
			   answer.r == -ENOENT;
		   }));
	kv_close(kv);
}

// The write is found by what was written, and is tied to the session that it named.
static void test_session_of_a_lost_answer(void **state)
{
	struct kv_answer answer;
	struct kv *kv, *other;
	int64_t session;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_store(&(struct store_config){ .request_timeout_ms = 300 });
	other = open_usual();
	tie(other, "/s/other", open_session(other, 100));
	session = open_session(kv, 100);
	etcd_member_signal(cluster, 0, SIGSTOP);
	do_write(kv, "/s/k", "v", 0, session, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	etcd_member_signal(cluster, 0, SIGCONT);
	turn_until(loop, ({
			   do_range(kv, "/s/k", false, &answer);
			   kv_answer_free(&answer);
			   answer.pair_count == 1;
		   }));
	assert_int_equal(answer.last.session, session);
	assert_int_equal(keep_alive(kv, session), 0);
	do_session_close(kv, session, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	// Of another's key it is none, and closing it does no harm.
	session = open_session(kv, 100);
	etcd_member_signal(cluster, 0, SIGSTOP);
	do_write(kv, "/s/other", "mine", 0, session, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	etcd_member_signal(cluster, 0, SIGCONT);
	turn_until(loop, ({
			   do_session_close(kv, session, &answer);
			   kv_answer_free(&answer);
			   answer.r == -ENOENT;
		   }));
	do_range(kv, "/s/other", false, &answer);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	kv_close(other);
	kv_close(kv);
}

// Who takes over a key has another session than who had it before, whose calls do no harm to it.
static void test_session_is_not_the_next_ones(void **state)
{
	char output[1024];
	struct kv_answer answer;
	struct kv *kv, *other;
	int64_t before, mine, theirs;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	other = open_usual();
	mine = open_session(kv, 100);
	tie(kv, "/s/k", mine);
	before = read_key(other, "/s/k").session;
	assert_int_not_equal(before, 0);
	etcd_ctl2(cluster, output, sizeof(output), "rm", "/s/k", NULL);
	tie(other, "/s/k", open_session(other, 100));
	theirs = read_key(kv, "/s/k").session;
	assert_int_not_equal(theirs, mine);
	assert_int_not_equal(theirs, before);
	assert_int_equal(keep_alive(kv, mine), -ENOENT);
	assert_int_equal(keep_alive(kv, before), -ENOENT);
	do_session_close(kv, mine, &answer);
	assert_int_equal(answer.r, -ENOENT);
	kv_answer_free(&answer);
	do_session_close(other, before, &answer);
	assert_int_equal(answer.r, -ENOENT);
	kv_answer_free(&answer);
	// A third, who has read it, may do with it what it likes; the number is the key's own one.
	assert_int_equal(keep_alive(kv, theirs), 0);
	do_session_query(kv, theirs, &answer);
	assert_int_equal(answer.r, 0);
	assert_in_range(answer.ttl_s, 86300, 86400);
	kv_answer_free(&answer);
	// Neither is one whose key lost its time to live.
	do_write(other, "/s/k", "w", read_key(other, "/s/k").mod_revision, 0, &answer);
	assert_true(answer.succeeded);
	kv_answer_free(&answer);
	assert_int_equal(keep_alive(kv, theirs), -ENOENT);
	assert_int_equal(read_key(kv, "/s/k").session, 0);
	kv_close(kv);
	kv_close(other);
}

// ---- leases ----

struct told {
	bool done;
	int r;
	struct lease lease;
	int64_t ttl_s;
};

static void lease_told(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *told = arg;

	(void)e;
	told->done = true;
	told->r = r;
	lease_free(&told->lease);
	if (lease)
		lease_copy(lease, &told->lease);
}

static void session_told(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct told *told = arg;

	(void)session;
	(void)e;
	told->done = true;
	told->r = r;
	told->ttl_s = ttl_s;
}

static void done_told(void *arg, int r, const struct err *e)
{
	lease_told(arg, r, NULL, e);
}

#define await(told, call)                       \
	do {                                    \
		(told)->done = false;           \
		call;                           \
		turn_until(loop, (told)->done); \
	} while (0)

static void test_registry(void **state)
{
	static const char value[] = "{\"PublicIP\":\"192.0.2.1\"}";
	struct lease_attrs attrs = { 0 };
	struct told told = { 0 };
	struct registry *registry;
	struct subnet subnet;
	int64_t revision;
	int64_t session;
	struct lease current = { 0 };
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	assert_int_equal(registry_new(kv, "/coreos.com/network", &registry, NULL), 0);
	assert_int_equal(lease_attrs_parse(value, strlen(value), &attrs, NULL), 0);
	assert_int_equal(subnet_parse_key("10.1.2.0-24", 11, &subnet, NULL), 0);
	await(&told, registry_lease_create(registry, &subnet, &attrs,
					   &(struct registry_create_terms){ .ttl_s = 0 },
					   lease_told, &told));
	assert_int_equal(told.r, 0);
	revision = told.lease.mod_revision;
	session = told.lease.session;
	await(&told, registry_lease_create(registry, &subnet, &attrs,
					   &(struct registry_create_terms){ .ttl_s = 0 },
					   lease_told, &told));
	assert_int_equal(told.r, -EEXIST);
	assert_int_equal(told.lease.session, session);
	await(&told, registry_lease_renew(registry, session, session_told, &told));
	assert_int_equal(told.r, 0);
	assert_int_equal(told.ttl_s, LEASE_TTL_S);
	// The lease is as it was before it was renewed.
	await(&told, registry_lease_get(registry, &subnet, lease_told, &told));
	assert_int_equal(told.lease.mod_revision, revision);
	lease_copy(&told.lease, &current);
	await(&told, registry_lease_update(registry, &current, &attrs, lease_told, &told));
	assert_int_equal(told.r, 0);
	assert_true(told.lease.mod_revision > revision);
	assert_int_equal(told.lease.session, session);
	await(&told, registry_lease_update(registry, &current, &attrs, lease_told, &told));
	check(told.r == 0 || told.r == -ESTALE, "%d", told.r);
	await(&told, registry_lease_ttl(registry, session, session_told, &told));
	assert_int_equal(told.r, 0);
	assert_in_range(told.ttl_s, LEASE_TTL_S - 100, LEASE_TTL_S);
	await(&told, registry_lease_delete(registry, &subnet, 0, done_told, &told));
	assert_int_equal(told.r, 0);
	await(&told, registry_lease_get(registry, &subnet, lease_told, &told));
	assert_int_equal(told.r, -ENOENT);
	await(&told, registry_lease_renew(registry, session, session_told, &told));
	assert_int_equal(told.r, -ENOENT);
	// A reservation has no time to live.
	await(&told, registry_lease_create(registry, &subnet, &attrs,
					   &(struct registry_create_terms){ .ttl_s = -1 },
					   lease_told, &told));
	assert_int_equal(told.r, 0);
	assert_int_equal(read_key(kv, "/coreos.com/network/subnets/10.1.2.0-24").session, 0);
	lease_free(&told.lease);
	lease_free(&current);
	lease_attrs_free(&attrs);
	registry_free(registry);
	kv_close(kv);
}

// ---- the history of 1,000 events ----

static void write_elsewhere(struct kv *kv, int count)
{
	int i;

	for (i = 0; i < count; i++)
		must_put(kv, "/elsewhere/k", "v");
}

static void test_history_passes_elsewhere(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv *kv, *writer;
	int i;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	writer = open_usual();
	watch_log_start(&log, kv, prefixes, must_put(writer, "/seq/a", "1"), 0);
	turn_until(loop, log.events == 1 && log.ups == 1);
	for (i = 0; i < 8; i++) {
		uint64_t requests = kv_stats(kv)->requests;

		write_elsewhere(writer, 300);
		// A new poll or two, and the question for the leader.
		turn_until(loop, kv_stats(kv)->requests >= requests + 3);
	}
	must_put(writer, "/seq/a", "2");
	turn_until(loop, log.events == 2 || log.losts > 0);
	kv_close(writer);
	check(log.losts == 0, "%s", log.err.msg);
	assert_int_equal(log.downs, 0);
	assert_int_equal(log.ups, 1);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_history_passes_while_down(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct loop *watched_loop = loop;
	struct watch_log log = { 0 };
	struct kv *kv, *writer;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	watch_log_start(&log, kv, prefixes, must_put(kv, "/seq/a", "1"), 0);
	turn_until(loop, log.events == 1);
	etcd_member_end(cluster, 0, SIGKILL);
	etcd_member_begin(cluster, 0);
	etcd_member_await(cluster, 0);
	// The watch, which is not turned meanwhile, does not see it.
	loop = loop_new();
	writer = open_usual();
	write_elsewhere(writer, 1100);
	kv_close(writer);
	loop_end(loop);
	loop = watched_loop;
	turn_until(loop, log.losts == 1);
	assert_false(log.store_changed);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_catch_up(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	int64_t revision = 0;
	struct kv *kv;
	int i;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	for (i = 0; i < 900; i++) {
		int64_t written = must_put(kv, i % 2 ? "/seq/odd" : "/seq/even", "v");

		revision = revision ? revision : written;
	}
	watch_log_start(&log, kv, prefixes, revision, 0);
	turn_until(loop, log.events == 900);
	assert_true(log.in_order);
	watch_log_free(&log);
	kv_close(kv);
}

// ---- one of several members fails ----

// Until this member has a leader: it may take a moment to see that it lost one.
static void await_leader(size_t member)
{
	const char *const endpoints[] = { etcd_cluster_url(cluster, member), NULL };
	struct kv *kv = open_store(&(struct store_config){ .endpoints = endpoints });
	bool led = false;

	turn_until(loop, ({
			   struct kv_answer answer;

			   do_range(kv, "/k", false, &answer);
			   led = answer.r == 0;
			   kv_answer_free(&answer);
			   led;
		   }));
	kv_close(kv);
}

static void test_fail_over(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv;
	size_t i;

	(void)state;
	cluster = etcd_cluster_start(3, "http", words);
	await_leader(0);
	kv = open_usual();
	watch_log_start(&log, kv, prefixes, 1, 0);
	must_put(kv, "/seq/a", "1");
	assert_string_equal(kv_endpoint(kv), etcd_cluster_url(cluster, 0));
	turn_until(loop, log.events == 1);
	for (i = 0; i < 3; i++) {
		etcd_member_end(cluster, i, i == 1 ? SIGTERM : SIGKILL);
		await_leader((i + 1) % 3);
		await_leader((i + 2) % 3);
		do_range(kv, "/seq/a", false, &answer);
		check(answer.r == 0, "%s", answer.err.msg);
		assert_int_equal(answer.pair_count, 1);
		kv_answer_free(&answer);
		assert_string_not_equal(kv_endpoint(kv), etcd_cluster_url(cluster, i));
		must_put(kv, "/seq/a", "2");
		turn_until(loop, log.events == 2 + i);
		etcd_member_begin(cluster, i);
		etcd_member_await(cluster, i);
	}
	assert_true(log.downs > 0);
	check(log.losts == 0, "%s", log.err.msg);
	assert_true(log.in_order);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_member_hangs(void **state)
{
	const char *const endpoints[] = { "http://127.0.0.1:2379", "http://127.0.0.1:2479", NULL };
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	uint64_t started;
	struct kv *kv, *watching;

	(void)state;
	cluster = etcd_cluster_start(3, "http", words);
	await_leader(0);
	kv = open_store(&(struct store_config){ .endpoints = endpoints });
	watching = open_store(&(struct store_config){ .endpoints = endpoints });
	watch_log_start(&log, watching, prefixes, must_put(kv, "/seq/a", "1"), 0);
	turn_until(loop, log.events == 1 && log.ups == 1);
	etcd_member_signal(cluster, 0, SIGSTOP);
	started = loop_now_ms();
	do_write(kv, "/seq/a", "2", -1, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, DEAD_MAN_MS / 2, 3 * DEAD_MAN_MS);
	turn_until(loop, log.ups == 2);
	await_leader(1);
	must_put(kv, "/seq/b", "3");
	turn_until(loop, strstr(strbuf_text(&log.text), "PUT /seq/b=3\n") != NULL);
	etcd_member_signal(cluster, 0, SIGCONT);
	assert_int_equal(log.losts, 0);
	watch_log_free(&log);
	kv_close(watching);
	kv_close(kv);
}

// A member without the others tells of nothing, and says so only when it is asked.
static void test_without_quorum(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(3, "http", words);
	await_leader(0);
	kv = open_usual();
	watch_log_start(&log, kv, prefixes, 1, 0);
	must_put(kv, "/seq/a", "1");
	turn_until(loop, log.events == 1 && log.ups == 1);
	etcd_member_end(cluster, 1, SIGKILL);
	etcd_member_end(cluster, 2, SIGKILL);
	turn_until(loop, log.downs == 1);
	do_range(kv, "/seq/a", false, &answer);
	assert_true(answer.r < 0);
	kv_answer_free(&answer);
	do_write(kv, "/seq/a", "2", -1, 0, &answer);
	assert_true(answer.r < 0);
	kv_answer_free(&answer);
	assert_int_equal(log.ups, 1);
	etcd_member_begin(cluster, 1);
	etcd_member_begin(cluster, 2);
	turn_until(loop, log.ups == 2);
	await_leader(0);
	await_leader(1);
	await_leader(2);
	must_put(kv, "/seq/b", "3");
	turn_until(loop, strstr(strbuf_text(&log.text), "PUT /seq/b=3\n") != NULL);
	assert_int_equal(log.losts, 0);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_wiped(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/seq/a", "1");
	must_put(kv, "/seq/a", "2");
	turn_until(loop, log.events == 2);
	// The new cluster has the same id, as it has the same names and addresses: only its index tells.
	etcd_member_end(cluster, 0, SIGKILL);
	etcd_member_wipe(cluster, 0);
	etcd_member_begin(cluster, 0);
	turn_until(loop, log.losts == 1);
	assert_true(log.store_changed);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_quiet_watch_stays_up(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	uint64_t end;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	kv = open_usual();
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	// The time itself is what is tested: three dead-man timers without an event.
	end = loop_now_ms() + 3 * DEAD_MAN_MS;
	turn_until(loop, loop_now_ms() > end);
	assert_int_equal(log.downs, 0);
	assert_int_equal(log.ups, 1);
	watch_log_free(&log);
	kv_close(kv);
}

// ---- who may ask ----

static void test_auth(void **state)
{
	static const char *const prefixes[] = { "/net/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	char output[1024];
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	etcd_ctl2(cluster, output, sizeof(output), "user", "add", "root:secret", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "user", "add", "weft:word:pass", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "role", "add", "net", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "role", "grant", "net", "-path", "/net*",
		  "-readwrite", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "user", "grant", "weft", "-roles", "net", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "auth", "enable", NULL);
	etcd_ctl2(cluster, output, sizeof(output), "--username", "root:secret", "role", "revoke",
		  "guest", "-path", "/*", "-readwrite", NULL);

	kv = open_store(&(struct store_config){ .username = "weft", .password = "word:pass" });
	must_put(kv, "/net/a", "1");
	do_range(kv, "/net/", true, &answer);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	do_write(kv, "/elsewhere/a", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, answer.header.revision + 1, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/net/a", "2");
	turn_until(loop, strstr(strbuf_text(&log.text), "PUT /net/a=2\n") != NULL);
	assert_int_equal(log.downs, 0);
	watch_log_free(&log);
	kv_close(kv);

	kv = open_store(&(struct store_config){ .username = "weft", .password = "hunter2" });
	do_range(kv, "/net/a", false, &answer);
	assert_int_equal(answer.r, -EACCES);
	assert_null(strstr(answer.err.msg, "hunter2"));
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -EACCES);
	watch_log_free(&log);
	kv_close(kv);
}

// etcd has its v2 API only if it was told so.
static void test_without_v2(void **state)
{
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_usual();
	do_range(kv, "/net/", true, &answer);
	assert_int_equal(answer.r, -EPROTO);
	assert_non_null(strstr(answer.err.msg, "--enable-v2"));
	kv_answer_free(&answer);
	kv_close(kv);
}

#define ETCD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ETCD_TEST(test_order_of_keys),
		ETCD_TEST(test_what_cannot_be_written),
		ETCD_TEST(test_compares),
		ETCD_TEST(test_etcdctl),
		ETCD_TEST(test_refresh_is_no_event),
		ETCD_TEST(test_session_of_one_key),
		ETCD_TEST(test_session_is_not_the_next_ones),
		ETCD_TEST(test_session_of_a_lost_answer),
		ETCD_TEST(test_registry),
		ETCD_TEST(test_history_passes_elsewhere),
		ETCD_TEST(test_history_passes_while_down),
		ETCD_TEST(test_catch_up),
		ETCD_TEST(test_fail_over),
		ETCD_TEST(test_member_hangs),
		ETCD_TEST(test_without_quorum),
		ETCD_TEST(test_wiped),
		ETCD_TEST(test_quiet_watch_stays_up),
		ETCD_TEST(test_auth),
		ETCD_TEST(test_without_v2),
	};

	if (!etcd_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
