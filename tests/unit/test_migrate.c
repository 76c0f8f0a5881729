// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of each step of moving a network, from a store in memory into one and into a database.
#include "unit.h"

#include "cli/migrate_network.h"
#include "core/mem.h"
#include "kv_client.h"
#include "loop_end.h"
#include "store/memory.h"
#include "temporary_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BASE "/net"
#define SUBNETS BASE "/subnets/"
#define CONFIG "{ \"Network\" : \"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"} }"
#define VALUE(ip) "{\"PublicIP\":\"" ip "\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\"}"

static struct loop *loop;
static struct cli_options options;
static struct cli cli = { .options = &options };
static struct store_access source, target;
static bool target_is_database;
static unsigned int source_txn_max;
static struct temporary_dir directory;

static void open_store(const struct store_config *config, const char *where, struct store_access *ret)
{
	struct err e;

	*ret = (struct store_access){ .cli = &cli, .base = xstrdup(BASE), .where = xstrdup(where) };
	check(kv_open(loop, config, &ret->kv, &e) == 0, "%s", e.msg);
}

static void put(const char *key, const char *value, int64_t session)
{
	memory_put(source.kv, key, value, strlen(value), session);
}

static int64_t open_session(int64_t ttl_s)
{
	struct kv_answer answer;
	int64_t session;

	do_session_open(source.kv, ttl_s, &answer);
	session = answer.session;
	kv_answer_free(&answer);
	return session;
}

static int setup(void **state)
{
	static const struct store_config memory = { .kind = "memory" };
	struct store_config database = { .kind = "sqlite" };
	char path[256];

	(void)state;
	loop = cli.loop = loop_new();
	open_store(&memory, "there", &source);
	memory_set_txn_max(source.kv, source_txn_max);
	if (target_is_database) {
		temporary_dir_make(&directory);
		snprintf(path, sizeof(path), "%s/weft.db", directory.path);
		database.path = path;
	}
	open_store(target_is_database ? &database : &memory, "here", &target);
	put(BASE "/config", CONFIG, 0);
	put(SUBNETS "10.1.2.0-24", VALUE("192.0.2.2"), open_session(500));
	put(SUBNETS "10.1.3.0-24", VALUE("192.0.2.3"), open_session(90000));
	put(SUBNETS "10.1.4.0-24", "{\"PublicIP\":\"192.0.2.4\",\"PublicIPv6\":null}", 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_access_close(&source);
	store_access_close(&target);
	loop = cli.loop = loop_end(loop);
	if (target_is_database)
		temporary_dir_remove(&directory);
	return 0;
}

static struct migration begin(void)
{
	struct migration migration = { .name = xstrdup(""), .shortest_s = -1 };

	assert_int_equal(store_access_network(&source, "", &migration.source, NULL), 0);
	assert_int_equal(store_access_network(&target, "", &migration.target, NULL), 0);
	return migration;
}

#define must(call, migration)                                                                    \
	do {                                                                                     \
		int r_ = (call);                                                                 \
		check(r_ == 0, "line %d: " #call ": %d, %s", __LINE__, r_, (migration).err.msg); \
	} while (0)
#define must_fail(call, code, migration, words)                                         \
	do {                                                                            \
		int r_ = (call);                                                        \
		check(r_ == (code) && strstr((migration).err.msg, words),               \
		      "line %d: " #call ": %d, %s", __LINE__, r_, (migration).err.msg); \
	} while (0)

static int whole_run(struct migration *migration)
{
	int r = migration_look(migration);

	return r == 0 ? migration_run(migration) : r;
}

// ---- what is there ----

// "10.1.2.0/24 192.0.2.2 session", a line each.
static void describe_leases(const struct store_access *store, char *ret, size_t size)
{
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	struct store_access network;
	size_t at = 0;

	assert_int_equal(store_access_network(store, "", &network, NULL), 0);
	assert_int_equal(lease_rows_read(&network, &rows), 0);
	ret[0] = '\0';
	for (size_t i = 0; i < rows.count; i++) {
		const struct lease *lease = &rows.rows[i].lease;
		char subnet[SUBNET_STR_MAX], ip[IP_STR_MAX];

		at += (size_t)snprintf(ret + at, size - at, "%s %s%s%s\n",
				       subnet_str(&lease->subnet, subnet),
				       ip_str(&lease->attrs.public_ip, ip),
				       lease->session ? " session" : "", lease->attrs.backend_type);
	}
	store_access_leave(&network);
}

static void same_leases(int line)
{
	char a[2048], b[2048];

	describe_leases(&source, a, sizeof(a));
	describe_leases(&target, b, sizeof(b));
	check(strcmp(a, b) == 0, "line %d: source:\n%starget:\n%s", line, a, b);
}

// What the config of the network is: the text, or the state of a mark.
static void config_is(const struct store_access *store, const char *want, int line)
{
	static const char *const states[] = { "filling", "copying", "opening", "moved" };
	_cleanup_stored_config_ struct stored_config config = { 0 };
	_cleanup_freeze_ struct netconf_freeze mark = { 0 };
	struct store_access network;
	const char *found = "none";

	assert_int_equal(store_access_network(store, "", &network, NULL), 0);
	if (store_access_config(&network, &config) == 0)
		found = netconf_freeze_parse(config.text, strlen(config.text), &mark, NULL) == 0
				? states[mark.state]
				: config.text;
	check(strcmp(found, want) == 0, "line %d: %s, not %s", line, found, want);
	if (mark.config)
		assert_string_equal(mark.config, CONFIG);
	store_access_leave(&network);
}

// What an agent that knew the config before would get.
static int agent_creates(const struct store_access *store, const char *key, int64_t config_revision);

struct told {
	bool done;
	int r;
};

static void on_created(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *told = arg;

	(void)lease;
	(void)e;
	told->done = true;
	told->r = r;
}

static int agent_creates(const struct store_access *store, const char *key, int64_t config_revision)
{
	const struct registry_create_terms terms = { .config_revision = config_revision };
	struct lease_attrs attrs = { .public_ip = ip_v4(0xc0000263) }; // 192.0.2.99
	struct store_access network;
	struct subnet subnet;
	struct told told = { 0 };

	assert_int_equal(store_access_network(store, "", &network, NULL), 0);
	assert_int_equal(subnet_parse_key(key, strlen(key), &subnet, NULL), 0);
	registry_lease_create(network.registry, &subnet, &attrs, &terms, on_created, &told);
	turn_until(loop, told.done);
	store_access_leave(&network);
	return told.r;
}

// ---- the steps ----

static void test_all_of_it(void **state)
{
	struct migration migration = begin();
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };
	struct kv_pair pair;

	(void)state;
	must(whole_run(&migration), migration);
	assert_int_equal(migration.stage, MIGRATION_DONE);
	assert_int_equal(migration.leases, 3);
	assert_int_equal(migration.reservations, 1);
	assert_int_equal(migration.copied, 3);
	config_is(&source, "moved", __LINE__);
	config_is(&target, CONFIG, __LINE__);
	same_leases(__LINE__);
	// Sessions of their own, with the time that was left.
	assert_int_equal(lease_rows_read(&migration.target, &rows), 0);
	assert_int_equal(lease_rows_ask_expiry(&rows, 0, rows.count), 0);
	assert_true(rows.rows[0].expires_in_s > 480 && rows.rows[0].expires_in_s <= 500);
	assert_true(rows.rows[1].expires_in_s > 89900 && rows.rows[1].expires_in_s <= 90000);
	assert_int_equal(rows.rows[2].expires_in_s, EXPIRY_NEVER);
	assert_true(migration.shortest_s > 480 && migration.shortest_s <= 500);
	assert_true(memory_get(source.kv, SUBNETS "10.1.2.0-24", &pair));
	migration_free(&migration);
}

// From each step to the next one nobody gets a lease in the one store while the other gives any.
static void test_step_by_step(void **state)
{
	struct migration migration = begin();
	int64_t before, opened;

	(void)state;
	must(migration_look(&migration), migration);
	assert_int_equal(migration.stage, MIGRATION_NEW);
	before = migration.source_revision;
	config_is(&source, CONFIG, __LINE__);
	must(migration_freeze(&migration), migration);
	config_is(&source, "copying", __LINE__);
	config_is(&target, "none", __LINE__);
	assert_int_equal(agent_creates(&source, "10.1.9.0-24", before), -EBUSY);
	must(migration_fill(&migration), migration);
	config_is(&target, "filling", __LINE__);
	assert_int_equal(agent_creates(&target, "10.1.9.0-24", 0), -EBUSY);
	must(migration_copy(&migration), migration);
	config_is(&target, "filling", __LINE__);
	same_leases(__LINE__);
	must(migration_open(&migration), migration);
	opened = migration.target_revision;
	config_is(&source, "moved", __LINE__);
	assert_int_equal(agent_creates(&source, "10.1.9.0-24", before), -EBUSY);
	assert_int_equal(agent_creates(&target, "10.1.2.0-24", opened), -EEXIST);
	assert_int_equal(agent_creates(&target, "10.1.9.0-24", opened), 0);
	must(migration_catch_up(&migration), migration);
	migration_free(&migration);
}

// A run ends behind each of the steps, and another one finishes.
static void test_broken_off(void **state)
{
	static int (*const steps[])(struct migration *) = { migration_freeze, migration_fill,
							    migration_copy };

	(void)state;
	for (size_t count = 0; count <= ARRAY_SIZE(steps); count++) {
		struct migration migration = begin();

		must(migration_look(&migration), migration);
		for (size_t i = 0; i < count; i++)
			must(steps[i](&migration), migration);
		migration_free(&migration);
		migration = begin();
		must(whole_run(&migration), migration);
		assert_int_equal(migration.stage, MIGRATION_DONE);
		assert_int_equal(migration.copied, count == 3 ? 0 : 3);
		config_is(&source, "moved", __LINE__);
		config_is(&target, CONFIG, __LINE__);
		same_leases(__LINE__);
		migration_free(&migration);
		(void)teardown(state);
		(void)setup(state);
	}
}

// The target goes away in the middle of being opened, and the source right after it was.
static void test_broken_off_while_opening(void **state)
{
	struct migration migration = begin();

	(void)state;
	must(migration_look(&migration), migration);
	must(migration_freeze(&migration), migration);
	must(migration_fill(&migration), migration);
	must(migration_copy(&migration), migration);
	migration.target_revision++; // as if another had written it: the compare fails
	must_fail(migration_open(&migration), -ESTALE, migration, "changed");
	migration_free(&migration);
	config_is(&source, "opening", __LINE__);
	config_is(&target, "filling", __LINE__);

	migration = begin();
	must(migration_look(&migration), migration);
	assert_int_equal(migration.stage, MIGRATION_OPENING);
	migration.source_revision++;
	must_fail(migration_open(&migration), -ESTALE, migration, "changed");
	migration_free(&migration);
	config_is(&source, "opening", __LINE__);
	config_is(&target, CONFIG, __LINE__);

	migration = begin();
	must(whole_run(&migration), migration);
	config_is(&source, "moved", __LINE__);
	config_is(&target, CONFIG, __LINE__);
	same_leases(__LINE__);
	migration_free(&migration);
	// And once more, when all is done.
	migration = begin();
	must(whole_run(&migration), migration);
	assert_int_equal(migration.stage, MIGRATION_DONE);
	migration_free(&migration);
}

static void test_source_in_motion(void **state)
{
	struct migration migration = begin();
	struct kv_pair pair;
	int64_t session;

	(void)state;
	must(migration_look(&migration), migration);
	must(migration_freeze(&migration), migration);
	must(migration_fill(&migration), migration);
	must(migration_copy(&migration), migration);
	// Hosts rewrite theirs, lose one, make one a reservation and the other way round.
	assert_true(memory_get(source.kv, SUBNETS "10.1.2.0-24", &pair));
	session = pair.session;
	put(SUBNETS "10.1.2.0-24", "{\"PublicIP\":\"192.0.2.2\",\"BackendType\":\"wireguard\"}",
	    session);
	memory_delete(source.kv, SUBNETS "10.1.3.0-24");
	put(SUBNETS "10.1.4.0-24", VALUE("192.0.2.4"), session);
	must(migration_copy(&migration), migration);
	same_leases(__LINE__);
	put(SUBNETS "10.1.4.0-24", VALUE("192.0.2.4"), 0);
	must(migration_copy(&migration), migration);
	same_leases(__LINE__);
	migration_free(&migration);
}

// ---- what is refused ----

static void put_in_target(const char *key, const char *value)
{
	must_put(target.kv, key, value);
}

static void test_target_that_is_used(void **state)
{
	struct migration migration = begin();
	char mark[1024];

	(void)state;
	put_in_target(SUBNETS "10.1.2.0-24", VALUE("192.0.2.9"));
	must_fail(migration_look(&migration), -EEXIST, migration, "leases without a config");
	put_in_target(BASE "/config", CONFIG);
	must_fail(migration_look(&migration), -EEXIST, migration, "has a network there already");
	snprintf(mark, sizeof(mark),
		 "{\"Frozen\":{\"Id\":\"7\",\"State\":\"filling\",\"Store\":\"elsewhere\",\"Config\":\"{}\"}}");
	put_in_target(BASE "/config", mark);
	must_fail(migration_look(&migration), -EEXIST, migration, "another migration");
	config_is(&source, CONFIG, __LINE__);
	must(migration_freeze(&migration), migration);
	must_fail(migration_look(&migration), -EEXIST, migration, "another migration");
	migration_free(&migration);
}

// Somebody else opens the target between two of our runs, or while we copy.
static void test_target_that_is_taken_over(void **state)
{
	struct migration migration = begin();

	(void)state;
	must(migration_look(&migration), migration);
	must(migration_freeze(&migration), migration);
	must(migration_fill(&migration), migration);
	put_in_target(BASE "/config", CONFIG);
	must_fail(migration_copy(&migration), -EBUSY, migration, "config was changed");
	must_fail(migration_look(&migration), -EEXIST, migration, "has a network there already");
	config_is(&source, "copying", __LINE__);
	config_is(&target, CONFIG, __LINE__);
	migration_free(&migration);
}

static void test_one_store_for_both(void **state)
{
	struct migration migration = begin();

	(void)state;
	store_access_leave(&migration.target);
	assert_int_equal(store_access_network(&source, "", &migration.target, NULL), 0);
	must_fail(migration_look(&migration), -EEXIST, migration, "has a network there already");
	must(migration_freeze(&migration), migration);
	must_fail(migration_look(&migration), -EEXIST, migration, "the very place");
	must_fail(migration_abort(&migration), -EEXIST, migration, "the very place");
	migration_free(&migration);
}

static void test_what_cannot_be_moved(void **state)
{
	struct migration migration = begin();

	(void)state;
	put(SUBNETS "10.1.7.0-24", "junk", 0);
	must_fail(migration_look(&migration), -EINVAL, migration, "10.1.7.0-24");
	migration.force = true;
	must(whole_run(&migration), migration);
	same_leases(__LINE__);
	migration_free(&migration);
	put(BASE "/config", "{\"Network\":\"10.1.0.0/33\"}", 0);
	migration = begin();
	must_fail(migration_look(&migration), -EINVAL, migration, "10.1.0.0/33");
	memory_delete(source.kv, BASE "/config");
	must_fail(migration_look(&migration), -ENOENT, migration, "no network config");
	migration_free(&migration);
}

// ---- undoing ----

static void test_abort(void **state)
{
	struct migration migration = begin();
	_cleanup_lease_rows_ struct lease_rows rows = { 0 };

	(void)state;
	must_fail(migration_abort(&migration), -ENOENT, migration, "not frozen");
	must(migration_look(&migration), migration);
	must(migration_freeze(&migration), migration);
	must(migration_fill(&migration), migration);
	must(migration_copy(&migration), migration);
	migration_free(&migration);
	migration = begin();
	must(migration_abort(&migration), migration);
	assert_true(migration.leases > 0);
	config_is(&source, CONFIG, __LINE__);
	config_is(&target, "none", __LINE__);
	assert_int_equal(lease_rows_read(&migration.target, &rows), 0);
	assert_int_equal(rows.count, 0);
	must(whole_run(&migration), migration);
	migration_free(&migration);
}

// A run that was only held up goes on after another one was undone: it must not open anything.
static void test_abort_behind_a_run(void **state)
{
	struct migration slow = begin(), migration = begin();

	(void)state;
	must(migration_look(&slow), slow);
	must(migration_freeze(&slow), slow);
	must(migration_fill(&slow), slow);
	must(migration_copy(&slow), slow);
	must(migration_abort(&migration), migration);
	must_fail(migration_open(&slow), -ESTALE, slow, "changed");
	config_is(&source, CONFIG, __LINE__);
	config_is(&target, "none", __LINE__);
	migration_free(&slow);
	migration_free(&migration);
}

static void test_abort_when_it_is_done(void **state)
{
	struct migration migration = begin();

	(void)state;
	must(whole_run(&migration), migration);
	must_fail(migration_abort(&migration), -EPERM, migration, "--force");
	config_is(&source, "moved", __LINE__);
	migration.force = true;
	must(migration_abort(&migration), migration);
	config_is(&source, CONFIG, __LINE__);
	config_is(&target, "moved", __LINE__);
	migration_free(&migration);
}

// ---- what came behind the mark ----

static void test_late_lease(void **state)
{
	struct migration migration = begin();

	(void)state;
	must(migration_look(&migration), migration);
	must(migration_freeze(&migration), migration);
	must(migration_fill(&migration), migration);
	must(migration_copy(&migration), migration);
	must(migration_open(&migration), migration);
	put(SUBNETS "10.1.8.0-24", VALUE("192.0.2.8"), open_session(1000)); // flannel's
	must(migration_catch_up(&migration), migration);
	assert_int_equal(migration.late, 1);
	same_leases(__LINE__);
	put(SUBNETS "10.1.9.0-24", VALUE("192.0.2.9"), 0);
	assert_int_equal(agent_creates(&target, "10.1.9.0-24", migration.target_revision), 0);
	must_fail(migration_catch_up(&migration), -EADDRINUSE, migration, "192.0.2.99 in the target");
	memory_delete(source.kv, SUBNETS "10.1.9.0-24");
	put(SUBNETS "10.1.8.0-23", VALUE("192.0.2.7"), 0);
	must_fail(migration_catch_up(&migration), -EADDRINUSE, migration, "192.0.2.7 in the source");
	migration_free(&migration);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_all_of_it),
		TEST(test_step_by_step),
		TEST(test_broken_off),
		TEST(test_broken_off_while_opening),
		TEST(test_source_in_motion),
		TEST(test_target_that_is_used),
		TEST(test_target_that_is_taken_over),
		TEST(test_one_store_for_both),
		TEST(test_what_cannot_be_moved),
		TEST(test_abort),
		TEST(test_abort_behind_a_run),
		TEST(test_abort_when_it_is_done),
		TEST(test_late_lease),
	};
	int failed;

	source_txn_max = KV_TXN_MAX;
	failed = cmocka_run_group_tests_name("into a store in memory", tests, NULL, NULL);
	source_txn_max = 1;
	target_is_database = true;
	return failed +
	       cmocka_run_group_tests_name("from one that takes one key at a time into a database",
					   tests, NULL, NULL);
}
