// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of a host's addresses over a store in memory: what is written, refused, read again, and when it fails.
#include "kv_client.h"
#include "temporary_dir.h"
#include "unit.h"

#include "core/log.h"
#include "core/mem.h"
#include "ipam/ipam.h"
#include "store/address_record.h"
#include "store/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "/weft"
#define LEASE PREFIX "/subnets/10.1.2.0-24"
#define LEASE_VALUE "{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null}"
#define AT(ip) PREFIX "/ipam/v1/ip/10.1.2.0-24/" ip

static struct loop *loop;
static struct kv *store, *direct;
static struct ipam *ipam;
static struct temporary_dir dir;
static char *journal;
static struct lease lease;
static const char *boot;

static void hold_lease(void)
{
	struct kv_pair pair;

	memory_put(direct, LEASE, LEASE_VALUE, strlen(LEASE_VALUE), 0);
	assert_true(memory_get(direct, LEASE, &pair));
	lease.mod_revision = pair.mod_revision;
}

static void start(void)
{
	const struct ipam_config config = {
		.loop = loop,
		.kv = store,
		.prefix = PREFIX,
		.owner = "",
		.who = "test",
		.journal_path = journal,
		.boot = boot,
		.results_dir = dir.path,
		.quarantine_ms = 0,
		.leak_interval_ms = 3600000,
		.session_ttl_s = 600,
		.has_records = true,
	};
	struct err e;

	check(ipam_new(&config, &ipam, &e) == 0, "%s", e.msg);
	ipam_set_lease(ipam, FABRIC_LEASE_HELD, &lease, NULL);
	turn_until(loop, ipam_is_ready(ipam));
}

// As after a crash: nothing is told to anybody.
static void restart(void)
{
	ipam_free(ipam);
	start();
}

static int begin(void **state)
{
	struct store_config config = { .kind = "memory" };

	(void)state;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	loop = loop_new();
	assert_int_equal(kv_open(loop, &config, &store, NULL), 0);
	direct = memory_share(store);
	temporary_dir_make(&dir);
	journal = xasprintf("%s/journal", dir.path);
	boot = "boot-1";
	lease = (struct lease){ 0 };
	assert_int_equal(ipnet_parse("10.1.2.0/24", &lease.subnet.v4), 0);
	assert_int_equal(ip_parse("192.0.2.1", &lease.attrs.public_ip), 0);
	hold_lease();
	return 0;
}

static int end(void **state)
{
	(void)state;
	ipam = ipam_free(ipam);
	kv_close(store);
	kv_close(direct);
	loop_free(loop);
	free(journal);
	temporary_dir_remove(&dir);
	return 0;
}

// ---- requests ----

struct answer {
	bool done;
	int code; // 0: granted
	char ip[IP_STR_MAX];
	struct refusal why;
};

static void on_answer(void *arg, const struct ipam_grant *grant, const struct refusal *why)
{
	struct answer *answer = arg;

	check(!answer->done, "answered twice");
	answer->done = true;
	if (grant) {
		(void)ip_str(&grant->ips[FAMILY_V4], answer->ip);
		return;
	}
	answer->why = *why;
	answer->code = why->code;
}

static void ask(const char *cid, const char *ip, enum ipam_mode mode, struct answer *ret)
{
	struct allocator_request request = { .key = { "net", cid, "eth0" }, .ns = "ns", .pod = cid };

	*ret = (struct answer){ 0 };
	if (ip)
		assert_int_equal(ip_parse(ip, &request.ips[FAMILY_V4]), 0);
	ipam_add(ipam, &request, mode, on_answer, ret);
}

static struct answer add_at(const char *cid, const char *ip, enum ipam_mode mode)
{
	struct answer answer;

	ask(cid, ip, mode, &answer);
	turn_until(loop, answer.done);
	return answer;
}

static struct answer add(const char *cid)
{
	struct answer answer = add_at(cid, NULL, IPAM_BEST);

	check(answer.code == 0, "%s: %s", cid, answer.why.msg);
	return answer;
}

static void del(const char *cid)
{
	assert_int_equal(ipam_del(ipam, &(struct owner_key){ "net", cid, "eth0" }, NULL, 0), 0);
}

static size_t unwritten(void)
{
	struct ipam_status status;

	ipam_status(ipam, &status);
	return status.unwritten;
}

static size_t used(void)
{
	struct ipam_status status;

	ipam_status(ipam, &status);
	return status.counts[FAMILY_V4].used;
}

static bool has_record(const char *key, const char *cid)
{
	_cleanup_record_ struct address_record record = { 0 };
	struct kv_pair pair;

	return memory_get(direct, key, &pair) &&
	       address_record_parse(pair.value, pair.value_len, &record, NULL) == 0 &&
	       strcmp(record.cid, cid) == 0;
}

static bool has_key(const char *key)
{
	struct kv_pair pair;

	return memory_get(direct, key, &pair);
}

static void put_record(const char *ip, const char *cid, const char *node, const char *boot_id,
		       const char *more)
{
	_cleanup_free_ char *key = xasprintf(PREFIX "/ipam/v1/ip/10.1.2.0-24/%s", ip);
	_cleanup_free_ char *value = xasprintf(
		"{\"v\":1,\"ip\":\"%s/24\",\"net\":\"net\",\"cid\":\"%s\",\"if\":\"eth0\",\"node\":\"%s\","
		"\"boot\":\"%s\",\"t\":1%s}",
		ip, cid, node, boot_id, more);

	memory_put(direct, key, value, strlen(value), 0);
}

// ---- the usual ----

static void test_add_and_del(void **state)
{
	struct kv_pair pair;
	int64_t session;

	(void)state;
	start();
	assert_int_equal(memory_session_count(direct), 0);
	assert_string_equal(add("a").ip, "10.1.2.2");
	assert_true(has_record(AT("10.1.2.2"), "a"));
	assert_true(memory_get(direct, AT("10.1.2.2"), &pair));
	session = pair.session;
	assert_true(session != 0);
	assert_string_equal(add("b").ip, "10.1.2.3");
	assert_true(memory_get(direct, AT("10.1.2.3"), &pair));
	assert_true(pair.session == session);
	turn_until(loop, has_key(PREFIX "/ipam/v1/node/192.0.2.1"));
	assert_string_equal(add("a").ip, "10.1.2.2");
	del("a");
	turn_until(loop, !has_key(AT("10.1.2.2")));
	assert_int_equal(used(), 1);
	del("a");
	del("never");
}

static void test_modes_without_a_store(void **state)
{
	struct answer strict;

	(void)state;
	start();
	add("a");
	memory_set_reachable(store, false);
	assert_string_equal(add("b").ip, "10.1.2.3");
	strict = add_at("c", NULL, IPAM_STRICT);
	assert_int_equal(strict.code, REFUSED_LATER);
	assert_string_equal(add_at("d", NULL, IPAM_ASYNC).ip, "10.1.2.4");
	assert_int_equal(used(), 3);
	assert_true(unwritten() >= 2);
	assert_false(has_key(AT("10.1.2.3")));
	del("a");
	memory_set_reachable(store, true);
	ipam_store_is_back(ipam);
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.3"), "b"));
	assert_true(has_record(AT("10.1.2.4"), "d"));
	assert_false(has_key(AT("10.1.2.2")));
	assert_int_equal(add_at("c", NULL, IPAM_STRICT).code, 0);
}

// The store goes while the record is being written: strict leaves nothing behind.
static void test_strict_undoes(void **state)
{
	struct answer answer;

	(void)state;
	start();
	add("a");
	ask("b", NULL, IPAM_STRICT, &answer);
	memory_set_reachable(store, false);
	turn_until(loop, answer.done);
	assert_int_equal(answer.code, REFUSED_LATER);
	assert_int_equal(used(), 1);
	memory_set_reachable(store, true);
	ipam_store_is_back(ipam);
	turn_until(loop, unwritten() == 0);
	assert_false(has_record(AT("10.1.2.3"), "b"));
}

// ---- another name ----

static int rename_to(const char *ip, const char *cid, struct refusal *why)
{
	const struct allocator_request owner = { .key = { "net-1", cid, "eth0" }, .host_if = "veth1" };
	struct ip address;

	assert_int_equal(ip_parse(ip, &address), 0);
	return ipam_rename(ipam, &address, "net", &owner, why);
}

static void test_renamed(void **state)
{
	const struct owner_key key = { "net-1", "endpoint", "eth0" };
	struct owner_key owner;
	struct refusal why;
	struct ip ip;

	(void)state;
	start();
	add("a");
	add("b");
	assert_int_equal(rename_to("10.1.2.9", "x", &why), -1);
	assert_int_equal(rename_to("10.1.2.2", "endpoint", &why), 0);
	turn_until(loop, has_record(AT("10.1.2.2"), "endpoint"));
	assert_int_equal(rename_to("10.1.2.2", "again", &why), -1); // it is of another name now
	assert_int_equal(rename_to("10.1.2.3", "endpoint", &why), -1);
	assert_int_equal(ip_parse("10.1.2.2", &ip), 0);
	assert_true(ipam_owner_of(ipam, &ip, &owner));
	assert_string_equal(owner.cid, "endpoint");
	del("a"); // whom it is not any more
	restart();
	assert_true(has_record(AT("10.1.2.2"), "endpoint"));
	assert_int_equal(used(), 2);
	assert_int_equal(ipam_del(ipam, &key, NULL, 0), 0);
	turn_until(loop, !has_key(AT("10.1.2.2")));
	assert_false(ipam_owner_of(ipam, &ip, &owner));
	assert_int_equal(used(), 1);
}

// What was released just now is its last owner's, by his last name, or theirs who insist.
static void test_renamed_and_released(void **state)
{
	struct allocator_request again = { .key = { "net-1", "endpoint", "eth0" } };
	struct allocator_request other = { .key = { "net", "c", "eth0" }, .skips_rest = true };
	struct answer answer = { 0 }, insists = { 0 };
	struct refusal why;

	(void)state;
	start();
	add("a");
	assert_int_equal(ip_parse("10.1.2.2", &again.ips[FAMILY_V4]), 0);
	other.ips[FAMILY_V4] = again.ips[FAMILY_V4];
	assert_int_equal(rename_to("10.1.2.2", "endpoint", &why), 0);
	assert_int_equal(ipam_del(ipam, &again.key, NULL, 0), 0);
	assert_int_equal(add_at("b", "10.1.2.2", IPAM_BEST).code, REFUSED_TAKEN);
	ipam_add(ipam, &again, IPAM_BEST, on_answer, &answer);
	turn_until(loop, answer.done);
	assert_int_equal(answer.code, 0);
	assert_int_equal(ipam_del(ipam, &again.key, NULL, 0), 0);
	ipam_add(ipam, &other, IPAM_BEST, on_answer, &insists);
	turn_until(loop, insists.done);
	assert_int_equal(insists.code, 0);
	assert_true(has_record(AT("10.1.2.2"), "c"));
}

// The record under way has the former name in it.
static void test_renamed_while_written(void **state)
{
	struct answer answer = { 0 };
	struct refusal why;

	(void)state;
	start();
	add("a");
	ask("b", NULL, IPAM_ASYNC, &answer);
	assert_true(answer.done);
	// As soon as it is on its way.
	turn_until(loop, unwritten() == 1);
	loop_turn(loop, 0);
	assert_int_equal(rename_to("10.1.2.3", "endpoint", &why), 0);
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.3"), "endpoint"));
	// Nor if the answer is lost.
	memory_lose_answers(store, 1);
	ask("c", NULL, IPAM_ASYNC, &answer);
	loop_turn(loop, 0);
	assert_int_equal(rename_to("10.1.2.4", "other", &why), 0);
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.4"), "other"));
}

// ---- answers that were lost ----

static void test_lost_answer(void **state)
{
	(void)state;
	start();
	add("a");
	memory_lose_answers(store, 1);
	assert_string_equal(add("b").ip, "10.1.2.3");
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.3"), "b"));
	memory_lose_requests(store, 1);
	assert_string_equal(add("c").ip, "10.1.2.4");
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.4"), "c"));
	memory_lose_answers(store, 1);
	del("b");
	turn_until(loop, unwritten() == 0);
	assert_false(has_key(AT("10.1.2.3")));
}

// A release that comes late deletes what it was for and nothing else: told by revision, or by what is read.
static void test_late_release(void **state)
{
	(void)state;
	start();
	add("a");
	add("b");
	memory_set_reachable(store, false);
	del("a");
	del("b");
	put_record("10.1.2.2", "x", "192.0.2.1", "boot-1", "");
	put_record("10.1.2.3", "b", "192.0.2.1", "boot-1", "");
	memory_set_reachable(store, true);
	ipam_store_is_back(ipam);
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.2"), "x"));
	assert_false(has_key(AT("10.1.2.3")));
	restart();
	del("x");
	turn_until(loop, unwritten() == 0);
	assert_false(has_key(AT("10.1.2.2")));
}

static void test_released_while_written(void **state)
{
	struct answer answer;

	(void)state;
	start();
	add("a");
	ask("b", NULL, IPAM_BEST, &answer);
	loop_turn(loop, 0);
	del("b");
	turn_until(loop, answer.done);
	turn_until(loop, unwritten() == 0);
	assert_false(has_key(AT("10.1.2.3")));
	assert_int_equal(used(), 1);
}

// ---- what others have there ----

static void test_foreign_record_is_passed_over(void **state)
{
	(void)state;
	start();
	put_record("10.1.2.2", "x", "192.0.2.9", "other-boot", "");
	put_record("10.1.2.3", "", "", "", ",\"st\":\"reserved\"");
	assert_string_equal(add("a").ip, "10.1.2.4");
	assert_true(has_record(AT("10.1.2.4"), "a"));
	turn_until(loop, !has_key(AT("10.1.2.2")));
	assert_true(has_key(AT("10.1.2.3")));
	assert_int_equal(add_at("b", "10.1.2.3", IPAM_BEST).code, REFUSED_TAKEN);
	turn_until(loop, unwritten() == 0);
	assert_true(has_key(AT("10.1.2.3")));
	assert_int_equal(used(), 1);
}

static void test_own_stale_record_is_written_over(void **state)
{
	(void)state;
	start();
	put_record("10.1.2.2", "x", "192.0.2.1", "boot-0", "");
	assert_string_equal(add("a").ip, "10.1.2.2");
	assert_true(has_record(AT("10.1.2.2"), "a"));
}

static void test_unreadable_record(void **state)
{
	(void)state;
	start();
	memory_put(direct, AT("10.1.2.2"), "junk", 4, 0);
	assert_string_equal(add("a").ip, "10.1.2.3");
	assert_true(has_key(AT("10.1.2.2")));
	restart();
	assert_string_equal(add("b").ip, "10.1.2.4");
}

// ---- the lease ----

static void test_lease_lost(void **state)
{
	struct answer answer;

	(void)state;
	start();
	add("a");
	memory_put(direct, LEASE, "{\"PublicIP\":\"192.0.2.9\"}", 24, 0);
	answer = add_at("b", NULL, IPAM_BEST);
	assert_int_equal(answer.code, REFUSED_LATER);
	assert_string_equal(answer.why.msg, "subnet lease lost");
	assert_false(has_key(AT("10.1.2.3")));
	ipam_set_lease(ipam, FABRIC_LEASE_FOREIGN, &lease, "192.0.2.9 has it");
	answer = add_at("c", NULL, IPAM_ASYNC);
	assert_int_equal(answer.code, REFUSED_LATER);
	assert_string_equal(answer.why.details, "192.0.2.9 has it");
	assert_int_equal(used(), 1);
	hold_lease();
	ipam_set_lease(ipam, FABRIC_LEASE_HELD, &lease, NULL);
	ipam_store_is_back(ipam);
	assert_int_equal(add("c").code, 0);
}

// Our own agent wrote the lease anew, of which we have not heard yet.
static void test_lease_written_anew(void **state)
{
	(void)state;
	start();
	add("a");
	memory_put(direct, LEASE, LEASE_VALUE, strlen(LEASE_VALUE), 0);
	assert_string_equal(add_at("b", NULL, IPAM_STRICT).ip, "10.1.2.3");
	assert_true(has_record(AT("10.1.2.3"), "b"));
}

static void test_session_gone(void **state)
{
	struct kv_pair pair;

	(void)state;
	start();
	add("a");
	assert_true(memory_get(direct, AT("10.1.2.2"), &pair));
	turn_until(loop, has_key(PREFIX "/ipam/v1/node/192.0.2.1"));
	assert_true(memory_expire_session(direct, pair.session));
	assert_false(has_key(AT("10.1.2.2")));
	assert_string_equal(add("b").ip, "10.1.2.3");
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.2"), "a"));
	assert_true(has_record(AT("10.1.2.3"), "b"));
}

// ---- another life ----

static void test_restart(void **state)
{
	struct kv_pair before, after;

	(void)state;
	start();
	add("a");
	add("b");
	assert_true(memory_get(direct, AT("10.1.2.2"), &before));
	int64_t session = before.session;
	restart();
	assert_string_equal(add("a").ip, "10.1.2.2");
	assert_string_equal(add("c").ip, "10.1.2.4");
	assert_true(memory_get(direct, AT("10.1.2.4"), &after));
	assert_true(after.session == session);
	assert_int_equal(memory_session_count(direct), 1);
}

// The journal is lost, the machine was not started anew: what the store knows is in use.
static void test_journal_lost(void **state)
{
	(void)state;
	start();
	add("a");
	add("b");
	ipam = ipam_free(ipam);
	assert_int_equal(remove(journal), 0);
	start();
	assert_int_equal(used(), 2);
	assert_string_equal(add("b").ip, "10.1.2.3");
	assert_string_equal(add("c").ip, "10.1.2.4");
}

// Between what the journal has and what the store has.
static void test_killed_before_the_store_knew(void **state)
{
	(void)state;
	start();
	add("a");
	add("b");
	memory_set_reachable(store, false);
	assert_string_equal(add("c").ip, "10.1.2.4");
	del("a");
	ipam = ipam_free(ipam);
	memory_set_reachable(store, true);
	assert_true(has_key(AT("10.1.2.2")));
	start();
	turn_until(loop, unwritten() == 0);
	assert_false(has_key(AT("10.1.2.2")));
	assert_true(has_record(AT("10.1.2.4"), "c"));
	assert_int_equal(used(), 2);
}

static void test_reboot(void **state)
{
	(void)state;
	put_record("10.1.2.9", "s", "192.0.2.1", "boot-0",
		   ",\"st\":\"used\",\"keep\":\"sticky\",\"ns\":\"ns\",\"pod\":\"db\"");
	start();
	add("a");
	add("b");
	ipam = ipam_free(ipam);
	boot = "boot-2";
	start();
	assert_int_equal(used(), 0);
	turn_until(loop, !has_key(AT("10.1.2.2")) && !has_key(AT("10.1.2.3")));
	turn_until(loop, unwritten() == 0);
	assert_true(has_record(AT("10.1.2.9"), ""));
	assert_string_equal(add("db").ip, "10.1.2.9");
}

static void test_taken_over_subnet(void **state)
{
	(void)state;
	put_record("10.1.2.2", "x", "192.0.2.9", "other-boot", "");
	put_record("10.1.2.200", "y", "192.0.2.9", "other-boot", "");
	put_record("10.1.2.5", "", "", "", ",\"st\":\"reserved\"");
	start();
	assert_string_equal(add("a").ip, "10.1.2.3");
	turn_until(loop, !has_key(AT("10.1.2.2")) && !has_key(AT("10.1.2.200")));
	assert_true(has_key(AT("10.1.2.5")));
}

// Another host wrote over the record of a container that lives here: the subnet is ours.
static void test_written_over(void **state)
{
	(void)state;
	start();
	add("a");
	put_record("10.1.2.2", "x", "192.0.2.9", "other-boot", "");
	ipam_set_lease(ipam, FABRIC_LEASE_CACHED, &lease, NULL);
	ipam_set_lease(ipam, FABRIC_LEASE_HELD, &lease, NULL); // reads them again
	turn_until(loop, has_record(AT("10.1.2.2"), "a"));
	assert_int_equal(used(), 1);
}

// A store that compares one key a time: there is a window, but no address is had twice.
static void test_single_keys(void **state)
{
	(void)state;
	memory_set_txn_max(store, 1);
	start();
	assert_string_equal(add("a").ip, "10.1.2.2");
	assert_true(has_record(AT("10.1.2.2"), "a"));
	put_record("10.1.2.3", "x", "192.0.2.9", "other-boot", "");
	assert_string_equal(add("b").ip, "10.1.2.4");
	del("a");
	turn_until(loop, !has_key(AT("10.1.2.2")));
}

// The store has it already when it is asked for for the first time; nothing is said before it was read.
static void test_not_ready(void **state)
{
	struct answer answer;
	const struct owner_key key = { "net", "a", "eth0" };

	(void)state;
	start();
	ipam = ipam_free(ipam);
	const struct ipam_config config = { .loop = loop,
					    .kv = store,
					    .prefix = PREFIX,
					    .owner = "",
					    .who = "test",
					    .journal_path = journal,
					    .boot = "boot-3",
					    .results_dir = dir.path,
					    .leak_interval_ms = 3600000,
					    .session_ttl_s = 600,
					    .has_records = true };
	assert_int_equal(ipam_new(&config, &ipam, NULL), 0);
	ask("a", NULL, IPAM_BEST, &answer);
	assert_int_equal(answer.code, REFUSED_LATER);
	assert_int_equal(ipam_del(ipam, &key, NULL, 0), -EAGAIN);
	ipam_set_lease(ipam, FABRIC_LEASE_HELD, &lease, NULL);
	ask("a", NULL, IPAM_BEST, &answer);
	assert_int_equal(answer.code, REFUSED_LATER);
	assert_int_equal(ipam_gc(ipam, "net", NULL, 0), -EAGAIN);
	turn_until(loop, ipam_is_ready(ipam));
	assert_int_equal(add("a").code, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_add_and_del),
		CASE(test_modes_without_a_store),
		CASE(test_strict_undoes),
		CASE(test_renamed),
		CASE(test_renamed_and_released),
		CASE(test_renamed_while_written),
		CASE(test_lost_answer),
		CASE(test_late_release),
		CASE(test_released_while_written),
		CASE(test_foreign_record_is_passed_over),
		CASE(test_own_stale_record_is_written_over),
		CASE(test_unreadable_record),
		CASE(test_lease_lost),
		CASE(test_lease_written_anew),
		CASE(test_session_gone),
		CASE(test_restart),
		CASE(test_journal_lost),
		CASE(test_killed_before_the_store_knew),
		CASE(test_reboot),
		CASE(test_taken_over_subnet),
		CASE(test_written_over),
		CASE(test_single_keys),
		CASE(test_not_ready),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
