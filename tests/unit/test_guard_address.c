// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what an agent may write of the addresses of containers through a controller.
#include "controller_world.h"
#include "unit.h"

#include "core/mem.h"
#include "store/address_record.h"
#include "store/owner.h"

#include <errno.h>
#include <string.h>

#define HERS "10.1.3.0-24"
#define HIS "10.1.4.0-24"
#define HERS_6 "fd00:1::-64"
#define AT(subnet, ip) "/weft/ipam/v1/ip/" subnet "/" ip

static int64_t her_session, his_session;

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

static int write_key(struct kv *by, const char *key, const char *value, int64_t compared,
		     int64_t session, int64_t *ret_revision)
{
	struct kv_answer answer;
	int r;

	do_write(by, key, value, compared, session, &answer);
	r = answer.r == 0 && !answer.succeeded ? -ESTALE : answer.r;
	if (r == 0 && ret_revision)
		*ret_revision = answer.header.revision;
	kv_answer_free(&answer);
	return r;
}

static char *lease_of(const char *identity, const char *ip)
{
	_cleanup_free_ char *mark = NULL;
	char owner[OWNER_MAX];

	owner_of(identity, owner);
	mark = owner_mark(NULL, owner);
	return xasprintf("{\"PublicIP\":\"%s\",\"PublicIPv6\":null,%s", ip, mark + 1);
}

// identity NULL: without a mark.
static char *record_in(const char *identity, const char *address, const char *more)
{
	char owner[OWNER_MAX] = "";

	if (identity)
		owner_of(identity, owner);
	return xasprintf(
		"{\"v\":1,\"ip\":\"%s\",\"net\":\"n\",\"cid\":\"c\",\"if\":\"eth0\",\"t\":1%s%s%s%s}",
		address, more, identity ? ",\"WeftOwner\":\"" : "", owner, identity ? "\"" : "");
}

static void begin(void)
{
	_cleanup_free_ char *hers = lease_of(ALICE, "192.0.2.1");
	_cleanup_free_ char *his = lease_of(BOB, "192.0.2.2");

	her_session = open_session(alice);
	his_session = open_session(bob);
	assert_int_equal(write_key(alice, "/weft/subnets/" HERS "&" HERS_6, hers, 0,
				   open_session(alice), NULL),
			 0);
	assert_int_equal(write_key(bob, "/weft/subnets/" HIS, his, 0, open_session(bob), NULL), 0);
	wait_read(alice);
	wait_read(bob);
}

// Until the controller's mirror has heard of the leases.
static void write_once_known(struct kv *by, const char *key, const char *value, int64_t session,
			     int64_t *ret)
{
	turn_until(loop, write_key(by, key, value, 0, session, ret) == 0);
}

static void test_own_records(void **state)
{
	_cleanup_free_ char *v4 = record_in(ALICE, "10.1.3.7/24", "");
	_cleanup_free_ char *v6 = record_in(ALICE, "fd00:1::7/64", "");
	int64_t revision, revision6;

	(void)state;
	begin();
	write_once_known(alice, AT(HERS, "10.1.3.7"), v4, her_session, &revision);
	assert_int_equal(write_key(alice, AT(HERS_6, "fd00:1::7"), v6, 0, her_session, &revision6), 0);
	assert_int_equal(write_key(alice, AT(HERS, "10.1.3.7"), v4, revision, 0, &revision), 0);
	assert_int_equal(write_key(alice, AT(HERS, "10.1.3.7"), v4, revision, her_session, &revision),
			 0);
	assert_int_equal(write_key(alice, AT(HERS, "10.1.3.7"), v4, -1, her_session, NULL), -EACCES);
	assert_int_equal(write_key(alice, AT(HERS, "10.1.3.7"), NULL, revision, 0, NULL), 0);
	assert_int_equal(write_key(alice, AT(HERS_6, "fd00:1::7"), NULL, revision6, 0, NULL), 0);
}

static void test_records_of_another(void **state)
{
	_cleanup_free_ char *hers = record_in(ALICE, "10.1.3.7/24", "");
	_cleanup_free_ char *forged = record_in(BOB, "10.1.3.7/24", "");
	_cleanup_free_ char *free_one = record_in(BOB, "10.1.3.8/24", "");
	_cleanup_free_ char *his = record_in(BOB, "10.1.4.7/24", "");
	_cleanup_free_ char *with_her_mark = record_in(ALICE, "10.1.4.7/24", "");
	_cleanup_free_ char *without_mark = record_in(NULL, "10.1.4.7/24", "");
	int64_t revision;

	(void)state;
	begin();
	write_once_known(alice, AT(HERS, "10.1.3.7"), hers, her_session, &revision);
	assert_int_equal(write_key(bob, AT(HERS, "10.1.3.7"), NULL, revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(bob, AT(HERS, "10.1.3.7"), forged, revision, his_session, NULL),
			 -EACCES);
	assert_int_equal(write_key(bob, AT(HERS, "10.1.3.8"), free_one, 0, his_session, NULL), -EACCES);
	// Her mark, his hand; his mark, her session.
	assert_int_equal(write_key(bob, AT(HIS, "10.1.4.7"), with_her_mark, 0, his_session, NULL),
			 -EACCES);
	assert_int_equal(write_key(bob, AT(HIS, "10.1.4.7"), without_mark, 0, his_session, NULL),
			 -EACCES);
	assert_int_equal(write_key(bob, AT(HIS, "10.1.4.7"), hers, 0, his_session, NULL), -EACCES);
	assert_int_equal(write_key(bob, AT(HIS, "10.1.4.7"), his, 0, her_session, NULL), -EACCES);
	write_once_known(bob, AT(HIS, "10.1.4.7"), his, his_session, &revision);
}

// A subnet changes hands: the new owner clears what the former left, and the former may still take his own away.
static void test_subnet_changes_hands(void **state)
{
	_cleanup_free_ char *hers = record_in(ALICE, "10.1.4.9/24", "");
	_cleanup_free_ char *other = record_in(ALICE, "10.1.4.8/24", "");
	_cleanup_free_ char *his = record_in(BOB, "10.1.4.9/24", "");
	int64_t revision, theirs;

	(void)state;
	begin();
	revision = must_put(admin, AT(HIS, "10.1.4.9"), hers);
	theirs = must_put(admin, AT(HIS, "10.1.4.8"), other);
	wait_read(bob);
	wait_read(alice);
	assert_int_equal(write_key(alice, AT(HIS, "10.1.4.9"), hers, revision, her_session, NULL),
			 -EACCES);
	turn_until(loop,
		   write_key(bob, AT(HIS, "10.1.4.9"), his, revision, his_session, &revision) == 0);
	assert_int_equal(write_key(alice, AT(HIS, "10.1.4.8"), NULL, theirs, 0, NULL), 0);
	assert_int_equal(write_key(alice, AT(HIS, "10.1.4.9"), NULL, revision, 0, NULL), -EACCES);
}

static void test_reservations(void **state)
{
	_cleanup_free_ char *reserved =
		record_in(NULL, "10.1.3.5/24", ",\"st\":\"reserved\",\"ns\":\"a\",\"pod\":\"b\"");
	_cleanup_free_ char *taken = record_in(ALICE, "10.1.3.5/24", "");
	_cleanup_free_ char *others =
		record_in(ALICE, "10.1.3.5/24", ",\"keep\":\"reserved\",\"ns\":\"a\",\"pod\":\"c\"");
	_cleanup_free_ char *lent = record_in(ALICE, "10.1.3.5/24",
					      ",\"keep\":\"reserved\",\"ns\":\"a\",\"pod\":\"b\"");
	_cleanup_free_ char *back =
		record_in(ALICE, "10.1.3.5/24", ",\"st\":\"reserved\",\"ns\":\"a\",\"pod\":\"b\"");
	const char *key = AT(HERS, "10.1.3.5");
	int64_t revision;

	(void)state;
	begin();
	revision = must_put(admin, key, reserved);
	wait_read(alice);
	assert_int_equal(write_key(alice, key, NULL, revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(alice, key, taken, revision, her_session, NULL), -EACCES);
	assert_int_equal(write_key(alice, key, others, revision, her_session, NULL), -EACCES);
	turn_until(loop, write_key(alice, key, lent, revision, her_session, &revision) == 0);
	assert_int_equal(write_key(alice, key, NULL, revision, 0, NULL), -EACCES);
	assert_int_equal(write_key(alice, key, back, revision, 0, &revision), 0);
	assert_int_equal(write_key(admin, key, NULL, revision, 0, NULL), 0);
}

static void test_values_and_keys(void **state)
{
	static const struct {
		const char *key;
		const char *address;
		const char *more;
	} cases[] = {
		{ AT(HERS, "10.1.3.7"), "10.1.3.8/24", "" }, // of another address
		{ AT(HERS, "10.1.3.7"), "10.1.3.7/16", "" },
		{ AT(HERS, "10.1.3.7"), "10.1.3.7/24", ",\"st\":\"mine\"" },
		{ AT(HERS, "10.1.4.7"), "10.1.4.7/24", "" }, // outside its subnet
		{ AT(HERS, "10.1.3.07"), "10.1.3.7/24", "" },
		{ AT("10.1.0.0-16", "10.1.3.7"), "10.1.3.7/16", "" },
		{ "/weft/ipam/v1/ip/" HERS, "10.1.3.7/24", "" },
		{ "/weft/ipam/v1/other/x", "10.1.3.7/24", "" },
		{ "/weft/other" AT(HERS, "10.1.3.7"), "10.1.3.7/24", "" },
		{ "/weft/blue/ipam/v1/ip/" HERS "/10.1.3.7", "10.1.3.7/24", "" }, // of another network
	};
	_cleanup_free_ char *good = record_in(ALICE, "10.1.3.7/24", "");
	int64_t revision;

	(void)state;
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *value = record_in(ALICE, cases[i].address, cases[i].more);
		int r = write_key(alice, cases[i].key, value, 0, her_session, NULL);

		check(r == -EACCES, "%s %s: %d", cases[i].key, cases[i].address, r);
	}
	write_once_known(alice, AT(HERS, "10.1.3.7"), good, her_session, &revision);
}

static void test_node_record(void **state)
{
	char owner[OWNER_MAX];
	_cleanup_free_ char *value = NULL, *his = NULL;
	int64_t revision;

	(void)state;
	begin();
	owner_of(ALICE, owner);
	value = xasprintf("{\"v\":1,\"boot\":\"x\",\"WeftOwner\":\"%s\"}", owner);
	owner_of(BOB, owner);
	his = xasprintf("{\"v\":1,\"boot\":\"x\",\"WeftOwner\":\"%s\"}", owner);
	write_once_known(alice, "/weft/ipam/v1/node/192.0.2.1", value, her_session, &revision);
	assert_int_equal(write_key(alice, "/weft/ipam/v1/node/192.0.2.2", value, 0, her_session, NULL),
			 -EACCES);
	assert_int_equal(write_key(alice, "/weft/ipam/v1/node/192.0.2.9", value, 0, her_session, NULL),
			 -EACCES);
	assert_int_equal(write_key(bob, "/weft/ipam/v1/node/192.0.2.1", his, revision, his_session,
				   NULL),
			 -EACCES);
	assert_int_equal(write_key(bob, "/weft/ipam/v1/node/192.0.2.2", value, 0, his_session, NULL),
			 -EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_own_records, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_records_of_another, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_subnet_changes_hands, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_reservations, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_values_and_keys, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(test_node_record, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
