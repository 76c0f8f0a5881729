// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of who gets which address.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "ipam/allocator.h"

#include <stdio.h>
#include <string.h>

#define QUARANTINE_MS 30000

static struct allocator *world;
static uint64_t now;

static void open_subnet(const char *v4, const char *v6)
{
	struct subnet subnet = { 0 };

	if (v4)
		assert_int_equal(ipnet_parse(v4, &subnet.v4), 0);
	if (v6)
		assert_int_equal(ipnet_parse(v6, &subnet.v6), 0);
	allocator_set_subnet(world, &subnet);
}

static int begin(void **state)
{
	(void)state;
	world = allocator_new(QUARANTINE_MS);
	now = 1000000;
	return 0;
}

static int end(void **state)
{
	(void)state;
	world = allocator_free(world);
	return 0;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	check(ip_parse(text, &ip) == 0, "%s", text);
	return ip;
}

static int add_full(const struct allocator_request *request, struct holder **ret, struct refusal *why)
{
	return allocator_add(world, request, now, ret, why);
}

static struct holder *add(const char *cid)
{
	const struct allocator_request request = { .key = { "net", cid, "eth0" } };
	struct refusal why = { 0 };
	struct holder *holder = NULL;
	int r = add_full(&request, &holder, &why);

	check(r == 0, "%s: %d %s", cid, r, why.msg);
	return holder;
}

static int refused(const char *cid, const char *ip, const char *ns, const char *pod,
		   struct refusal *ret)
{
	struct allocator_request request = { .key = { "net", cid, "eth0" }, .ns = ns, .pod = pod };
	struct holder *holder;

	if (ip)
		request.ips[strchr(ip, ':') ? FAMILY_V6 : FAMILY_V4] = ip_of(ip);
	*ret = (struct refusal){ 0 };
	return add_full(&request, &holder, ret) < 0 ? ret->code : 0;
}

static const char *v4_of(const struct holder *holder)
{
	static char text[IP_STR_MAX];

	return ip_str(&holder->ips[FAMILY_V4], text);
}

// All that was to be told to the store has been.
static void settle(void)
{
	struct slot *slot;

	while ((slot = allocator_next_wanting(world))) {
		slot->revision = slot->want == WANT_PUT ? 7 : 0;
		slot->want = WANT_NOTHING;
	}
}

static void give_back(const char *cid)
{
	struct holder *holder = allocator_find(world, &(struct owner_key){ "net", cid, "eth0" });

	check(holder, "%s", cid);
	allocator_release(world, holder, now);
}

static struct allocator_counts count(void)
{
	struct allocator_counts counts;

	allocator_count(world, FAMILY_V4, now, &counts);
	return counts;
}

// ---- sizes ----

static void test_sizes(void **state)
{
	static const struct {
		const char *subnet;
		size_t total;
		const char *first;
	} cases[] = {
		{ "10.1.2.0/24", 253, "10.1.2.2" },  { "10.1.2.0/29", 5, "10.1.2.2" },
		{ "10.1.2.4/30", 1, "10.1.2.6" },    { "10.1.2.0/31", 0, NULL },
		{ "10.1.2.0/32", 0, NULL },	     { "10.1.0.0/16", 65533, "10.1.0.2" },
		{ "10.0.0.0/8", 65534, "10.0.0.2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin(state);
		open_subnet(cases[i].subnet, NULL);
		check(count().total == cases[i].total && count().free == cases[i].total, "%s: %zu",
		      cases[i].subnet, count().total);
		if (cases[i].first)
			assert_string_equal(v4_of(add("a")), cases[i].first);
		end(state);
	}
}

static void test_exhaustion(void **state)
{
	struct refusal why;
	char seen[256] = { 0 };

	(void)state;
	open_subnet("10.5.34.0/24", NULL);
	for (int i = 0; i < 253; i++) {
		char cid[16];
		struct ip ip;

		snprintf(cid, sizeof(cid), "c%d", i);
		ip = add(cid)->ips[FAMILY_V4];
		check(!seen[ip.bytes[3]]++, "%d twice", ip.bytes[3]);
	}
	assert_false(seen[0] || seen[1] || seen[255]);
	assert_int_equal(refused("one-more", NULL, NULL, NULL, &why), REFUSED_FULL);
	assert_string_equal(why.msg,
			    "failed to allocate for range 0: no IP addresses available in range set: "
			    "10.5.34.2-10.5.34.254 (used 253, quarantined 0, reserved 0)");
	give_back("c17");
	assert_int_equal(refused("one-more", NULL, NULL, NULL, &why), REFUSED_FULL);
	assert_non_null(strstr(why.msg, "(used 252, quarantined 1, reserved 0)"));
}

static void test_without_subnet(void **state)
{
	struct refusal why;

	(void)state;
	assert_int_equal(refused("a", NULL, NULL, NULL, &why), REFUSED_LATER);
}

// ---- the queue ----

static void test_same_again(void **state)
{
	const struct allocator_request request = { .key = { "net", "a", "eth0" } };
	const struct allocator_request other_if = { .key = { "net", "a", "eth1" } };
	const struct allocator_request other_net = { .key = { "other", "a", "eth0" } };
	struct holder *first, *again, *third, *fourth;
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/24", NULL);
	assert_int_equal(add_full(&request, &first, &why), 0);
	assert_int_equal(add_full(&request, &again, &why), 1);
	assert_ptr_equal(first, again);
	assert_int_equal(add_full(&other_if, &third, &why), 0);
	assert_int_equal(add_full(&other_net, &fourth, &why), 0);
	assert_int_equal(count().used, 3);
}

static void test_fifo_and_quarantine(void **state)
{
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/29", NULL);
	for (int i = 0; i < 5; i++)
		add((const char *[]){ "a", "b", "c", "d", "e" }[i]);
	settle();
	give_back("c");
	now += 10;
	give_back("a");
	settle();
	now += QUARANTINE_MS - 11;
	assert_int_equal(refused("x", NULL, NULL, NULL, &why), REFUSED_FULL);
	assert_int_equal(count().resting, 2);
	assert_int_equal(count().free, 0);
	now += 1;
	assert_int_equal(count().resting, 1);
	assert_int_equal(count().free, 1);
	assert_string_equal(v4_of(add("x")), "10.1.2.4");
	assert_int_equal(refused("y", NULL, NULL, NULL, &why), REFUSED_FULL);
	now += 10;
	assert_string_equal(v4_of(add("y")), "10.1.2.2");
}

// What the store was not told yet is not given again, however long it rests.
static void test_rests_until_the_store_knows(void **state)
{
	struct refusal why;
	struct slot *slot;

	(void)state;
	open_subnet("10.1.2.0/30", NULL);
	add("a");
	settle();
	give_back("a");
	now += QUARANTINE_MS * 2;
	assert_int_equal(refused("b", NULL, NULL, NULL, &why), REFUSED_FULL);
	assert_int_equal(count().resting, 1);
	slot = allocator_next_wanting(world);
	assert_int_equal(slot->want, WANT_DELETE);
	slot->is_busy = true;
	slot->want = WANT_NOTHING;
	assert_int_equal(refused("b", NULL, NULL, NULL, &why), REFUSED_FULL);
	slot->is_busy = false;
	assert_string_equal(v4_of(add("b")), "10.1.2.2");
}

static void test_fresh_ones_first(void **state)
{
	(void)state;
	open_subnet("10.1.2.0/24", NULL);
	add("a");
	settle();
	give_back("a");
	settle();
	now += QUARANTINE_MS;
	for (int i = 0; i < 252; i++) {
		char cid[16];

		snprintf(cid, sizeof(cid), "c%d", i);
		check(strcmp(v4_of(add(cid)), "10.1.2.2") != 0, "%d", i);
	}
	assert_string_equal(v4_of(add("z")), "10.1.2.2");
}

// ---- asked for ----

static void test_requested(void **state)
{
	static const char *const bad[] = { "10.1.2.0", "10.1.2.1", "10.1.2.255",
					   "10.1.3.7", "10.1.2.9", "fd00::7" };
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/24", NULL);
	assert_int_equal(refused("a", "10.1.2.9", NULL, NULL, &why), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(refused("b", bad[i], NULL, NULL, &why) == REFUSED_TAKEN, "%s: %d", bad[i],
		      why.code);
	assert_int_equal(count().used, 1);
	(void)refused("b", "10.1.2.9", NULL, NULL, &why);
	assert_string_equal(
		why.msg,
		"requested IP address 10.1.2.9 is not available in range set 10.1.2.2-10.1.2.254");
	assert_non_null(strstr(why.details, "container a interface eth0 of net"));
	settle();
	give_back("a");
	settle();
	assert_int_equal(refused("b", "10.1.2.9", NULL, NULL, &why), REFUSED_TAKEN);
	assert_int_equal(refused("a", "10.1.2.9", NULL, NULL, &why), 0);
	settle();
	give_back("a");
	settle();
	now += QUARANTINE_MS;
	assert_int_equal(refused("b", "10.1.2.9", NULL, NULL, &why), 0);
}

// ---- two families ----

static void test_dual_stack(void **state)
{
	struct allocator_counts v6;
	char text[IP_STR_MAX];
	struct refusal why;
	struct holder *holder;

	(void)state;
	open_subnet("10.1.2.0/30", "fd00:1::/64");
	holder = add("a");
	assert_string_equal(v4_of(holder), "10.1.2.2");
	assert_string_equal(ip_str(&holder->ips[FAMILY_V6], text), "fd00:1::2");
	assert_int_equal(refused("b", NULL, NULL, NULL, &why), REFUSED_FULL);
	allocator_count(world, FAMILY_V6, now, &v6);
	assert_int_equal(v6.used, 1);
	assert_int_equal(v6.total, ALLOCATOR_V6_MAX - 2);
	assert_int_equal(refused("b", "fd00:1::1:0:0", NULL, NULL, &why), REFUSED_FULL);
}

static void test_requested_half(void **state)
{
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/24", "fd00:1::/64");
	assert_int_equal(refused("a", "fd00:1::ffff:ffff", NULL, NULL, &why), REFUSED_TAKEN);
	assert_int_equal(count().used, 0);
}

// ---- kept ----

static struct address_record *record_of(const char *ip, enum address_state state, const char *ns,
					const char *pod)
{
	struct address_record *record = xnew(struct address_record);

	record->ip = ip_of(ip);
	record->len = 24;
	record->net = xstrdup("");
	record->cid = xstrdup("");
	record->ifname = xstrdup("");
	record->ns = xstrdup(ns);
	record->pod = xstrdup(pod);
	record->uid = xstrdup("");
	record->node = xstrdup("192.0.2.9");
	record->boot = xstrdup("");
	record->state = state;
	return record;
}

static struct slot *slot_at(const char *text)
{
	const struct ip ip = ip_of(text);

	return allocator_slot(world, &ip);
}

static void test_reserved(void **state)
{
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/29", NULL);
	allocator_keep(world, slot_at("10.1.2.2"),
		       record_of("10.1.2.2", ADDRESS_RESERVED, "ns", "lb"), 5);
	assert_int_equal(count().kept, 1);
	assert_string_equal(v4_of(add("a")), "10.1.2.3");
	assert_int_equal(refused("b", "10.1.2.2", "ns", "other", &why), REFUSED_TAKEN);
	assert_non_null(strstr(why.details, "reserved: ns/lb"));
	assert_int_equal(refused("b", "10.1.2.2", "other", "lb", &why), REFUSED_TAKEN);
	assert_int_equal(refused("b", NULL, "ns", "lb", &why), 0);
	assert_int_equal(count().kept, 0);
	assert_int_equal(slot_at("10.1.2.2")->state, SLOT_USED);
	assert_int_equal(slot_at("10.1.2.2")->revision, 5);
	settle();
	give_back("b");
	assert_int_equal(slot_at("10.1.2.2")->state, SLOT_KEPT);
	assert_int_equal(slot_at("10.1.2.2")->want, WANT_PUT);
	assert_int_equal(slot_at("10.1.2.2")->record->state, ADDRESS_RESERVED);
	allocator_set_free(world, slot_at("10.1.2.2"), now);
	now += QUARANTINE_MS;
	assert_int_equal(refused("c", "10.1.2.2", NULL, NULL, &why), 0);
}

static void test_sticky(void **state)
{
	const struct allocator_request request = {
		.key = { "net", "a", "eth0" }, .ns = "ns", .pod = "db-0", .sticky = true
	};
	struct allocator_request again = request;
	struct holder *holder;
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/24", NULL);
	assert_int_equal(add_full(&request, &holder, &why), 0);
	settle();
	give_back("a");
	assert_int_equal(count().kept, 1);
	assert_string_equal(v4_of(add("b")), "10.1.2.3");
	again.key.cid = "a2";
	again.key.ifname = "eth1";
	assert_int_equal(add_full(&again, &holder, &why), 0);
	assert_string_equal(v4_of(holder), "10.1.2.4");
	again.key.cid = "a3";
	again.key.ifname = "eth0";
	again.sticky = false;
	assert_int_equal(add_full(&again, &holder, &why), 0);
	assert_string_equal(v4_of(holder), "10.1.2.2");
	assert_int_equal(holder->keep, ADDRESS_STICKY);
}

static void test_pass_over(void **state)
{
	struct holder *holder;
	struct refusal why;

	(void)state;
	open_subnet("10.1.2.0/29", NULL);
	holder = add("a");
	assert_int_equal(allocator_pass_over(world, holder, slot_at("10.1.2.2"),
					     record_of("10.1.2.2", ADDRESS_USED, "", ""), now, &why),
			 0);
	assert_string_equal(v4_of(holder), "10.1.2.3");
	assert_int_equal(slot_at("10.1.2.2")->state, SLOT_FOREIGN);
	assert_int_equal(count().foreign, 1);
	for (int i = 3; i < 6; i++) {
		char ip[16];

		snprintf(ip, sizeof(ip), "10.1.2.%d", i);
		assert_int_equal(allocator_pass_over(world, holder, slot_at(ip), NULL, now, &why), 0);
	}
	assert_int_equal(allocator_pass_over(world, holder, slot_at("10.1.2.6"), NULL, now, &why), -1);
	assert_int_equal(why.code, REFUSED_FULL);
	assert_false(ip_is_set(&holder->ips[FAMILY_V4]));
	allocator_release(world, holder, now);
	assert_int_equal(count().foreign, 5);
}

// ---- a restart ----

static void test_restore(void **state)
{
	const struct allocator_request request = { .key = { "net", "a", "eth0" } };
	const struct allocator_request other = { .key = { "net", "b", "eth0" } };
	struct ip ips[FAMILY_COUNT] = { ip_of("10.1.2.7") };
	const struct ip resting = ip_of("10.1.2.2");
	struct slot *slot;

	(void)state;
	open_subnet("10.1.2.0/24", NULL);
	assert_non_null(allocator_restore(world, &request, ips, ADDRESS_USED));
	assert_null(allocator_next_wanting(world));
	assert_null(allocator_restore(world, &other, ips, ADDRESS_USED));
	ips[0] = ip_of("10.1.9.7");
	assert_null(allocator_restore(world, &other, ips, ADDRESS_USED));
	assert_int_equal(count().used, 1);
	assert_true(allocator_restore_resting(world, &resting, 77, now - 5, true));
	assert_false(allocator_restore_resting(world, &ips[0], 77, now, true));
	slot = allocator_next_wanting(world);
	assert_ptr_equal(slot, slot_at("10.1.2.2"));
	assert_int_equal(slot->last_key, 77);
	assert_string_equal(v4_of(add("c")), "10.1.2.3");
}

static void test_other_subnet(void **state)
{
	(void)state;
	open_subnet("10.1.2.0/24", "fd00:1::/64");
	add("a");
	open_subnet("10.1.2.0/24", "fd00:1::/64");
	assert_int_equal(count().used, 1);
	open_subnet("10.1.3.0/24", NULL);
	assert_int_equal(count().used, 0);
	assert_null(allocator_next_wanting(world));
	assert_null(allocator_find(world, &(struct owner_key){ "net", "a", "eth0" }));
}

// ---- anything at all ----

struct model {
	bool used[256];
	uint64_t released[256];
};

// Random adds, releases and answers of the store: no address twice, none before its time, the counts always right.
static void test_random(void **state)
{
	struct model model = { 0 };
	uint64_t random = 88172645463325252ULL;
	size_t used = 0;

	(void)state;
	open_subnet("10.1.2.0/27", NULL);
	for (int step = 0; step < 200000; step++) {
		char cid[16];
		struct holder *holder;
		struct refusal why;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		now += random % 3000;
		snprintf(cid, sizeof(cid), "c%d", (int)(random >> 20) % 40);
		holder = allocator_find(world, &(struct owner_key){ "net", cid, "eth0" });
		if (holder) {
			uint8_t last = holder->ips[FAMILY_V4].bytes[3];

			allocator_release(world, holder, now);
			model.used[last] = false;
			model.released[last] = now;
			used--;
		} else if (refused(cid, NULL, NULL, NULL, &why) == 0) {
			uint8_t last = allocator_find(world, &(struct owner_key){ "net", cid, "eth0" })
					       ->ips[FAMILY_V4]
					       .bytes[3];

			check(last >= 2 && last <= 30 && !model.used[last], "%u twice", last);
			check(model.released[last] == 0 || now - model.released[last] >= QUARANTINE_MS,
			      "%u after %llu ms", last,
			      (unsigned long long)(now - model.released[last]));
			model.used[last] = true;
			used++;
		}
		if (random % 7 == 0)
			settle();
		check(count().used == used && count().total == 29 &&
			      count().free + count().resting + used == 29,
		      "step %d", step);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test_setup_teardown(test_exhaustion, begin, end),
		cmocka_unit_test_setup_teardown(test_without_subnet, begin, end),
		cmocka_unit_test_setup_teardown(test_same_again, begin, end),
		cmocka_unit_test_setup_teardown(test_fifo_and_quarantine, begin, end),
		cmocka_unit_test_setup_teardown(test_rests_until_the_store_knows, begin, end),
		cmocka_unit_test_setup_teardown(test_fresh_ones_first, begin, end),
		cmocka_unit_test_setup_teardown(test_requested, begin, end),
		cmocka_unit_test_setup_teardown(test_dual_stack, begin, end),
		cmocka_unit_test_setup_teardown(test_requested_half, begin, end),
		cmocka_unit_test_setup_teardown(test_reserved, begin, end),
		cmocka_unit_test_setup_teardown(test_sticky, begin, end),
		cmocka_unit_test_setup_teardown(test_pass_over, begin, end),
		cmocka_unit_test_setup_teardown(test_restore, begin, end),
		cmocka_unit_test_setup_teardown(test_other_subnet, begin, end),
		cmocka_unit_test_setup_teardown(test_random, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
