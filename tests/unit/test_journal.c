// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the journal of addresses: what a killed agent knows again.
#include "temporary_dir.h"
#include "unit.h"

#include "core/mem.h"
#include "io/file.h"
#include "ipam/journal.h"
#include "ipam/journal_text.h"

#include <stdio.h>
#include <string.h>

#define BOOT "boot-1"
#define PREFIX "/weft"

static struct temporary_dir dir;
static char *path;

static int begin(void **state)
{
	(void)state;
	temporary_dir_make(&dir);
	path = xasprintf("%s/ipam.journal", dir.path);
	return 0;
}

static int end(void **state)
{
	(void)state;
	free(path);
	temporary_dir_remove(&dir);
	return 0;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	check(ip_parse(text, &ip) == 0, "%s", text);
	return ip;
}

static struct holder holder_of(const char *cid, const char *ip)
{
	static char name[] = "net", ifname[] = "eth0", ns[] = "ns", pod[] = "pod \"quoted\"\n",
		    uid[] = "", netns[] = "/run/netns/x", host_if[] = "veth1";

	return (struct holder){ .name = name,
				.cid = (char *)(uintptr_t)cid,
				.ifname = ifname,
				.ns = ns,
				.pod = pod,
				.uid = uid,
				.netns = netns,
				.host_if = host_if,
				.netns_inode = 4026531840,
				.since_s = 12,
				.keep = ADDRESS_STICKY,
				.ips = { ip_of(ip) } };
}

static struct journal *open_it(const char *boot, const char *prefix, struct journal_content *ret)
{
	struct journal *journal;
	struct err e;

	check(journal_open(path, boot, prefix, &journal, ret, &e) == 0, "%s", e.msg);
	return journal;
}

static void use(struct journal *journal, const char *cid, const char *ip)
{
	const struct holder holder = holder_of(cid, ip);
	struct err e;

	check(journal_add_use(journal, &holder, &e) == 0, "%s", e.msg);
}

static size_t count_uses(const struct journal_content *content)
{
	size_t count = 0;

	for (const struct journal_use *at = content->uses; at; at = at->next)
		count++;
	return count;
}

static void test_reads_what_it_wrote(void **state)
{
	struct journal_content content;
	struct journal *journal = open_it(BOOT, PREFIX, &content);
	const struct ip freed = ip_of("10.1.2.4"), done = ip_of("10.1.2.5");
	char text[IP_STR_MAX];

	(void)state;
	assert_null(content.uses);
	use(journal, "a", "10.1.2.3");
	use(journal, "b", "10.1.2.4");
	use(journal, "c", "10.1.2.5");
	assert_int_equal(journal_add_free(journal, &freed, 0xfedcba9876543210, 777, NULL), 0);
	assert_int_equal(journal_add_free(journal, &done, 5, 778, NULL), 0);
	assert_int_equal(journal_add_done(journal, &done, NULL), 0);
	assert_int_equal(journal_add_session(journal, -5, NULL), 0);
	journal_close(journal);
	journal = open_it(BOOT, PREFIX, &content);
	assert_int_equal(count_uses(&content), 1);
	assert_string_equal(content.uses->cid, "a");
	assert_string_equal(content.uses->pod, "pod \"quoted\"\n");
	assert_string_equal(content.uses->netns, "/run/netns/x");
	assert_string_equal(content.uses->host_if, "veth1");
	assert_true(content.uses->netns_inode == 4026531840);
	assert_int_equal(content.uses->keep, ADDRESS_STICKY);
	assert_string_equal(ip_str(&content.uses->ips[0], text), "10.1.2.3");
	assert_string_equal(ip_str(&content.frees->ip, text), "10.1.2.4");
	assert_true(content.frees->key_hash == 0xfedcba9876543210);
	assert_int_equal(content.frees->at_ms, 777);
	assert_false(content.frees->is_done);
	// It rests, though the store knows it no more.
	assert_string_equal(ip_str(&content.frees->next->ip, text), "10.1.2.5");
	assert_int_equal(content.frees->next->at_ms, 778);
	assert_true(content.frees->next->is_done);
	assert_null(content.frees->next->next);
	assert_int_equal(content.session, -5);
	assert_int_equal(content.bad_lines, 0);
	journal_content_free(&content);
	journal_close(journal);
}

static void test_latest_word_counts(void **state)
{
	struct journal_content content;
	struct journal *journal = open_it(BOOT, PREFIX, &content);
	const struct ip ip = ip_of("10.1.2.3");
	char text[IP_STR_MAX];

	(void)state;
	use(journal, "a", "10.1.2.3");
	use(journal, "a", "10.1.2.9"); // passed over
	assert_int_equal(journal_add_free(journal, &ip, 1, 5, NULL), 0);
	use(journal, "b", "10.1.2.3");
	use(journal, "c", "10.1.2.3"); // in place of b
	journal_close(journal);
	journal = open_it(BOOT, PREFIX, &content);
	assert_int_equal(count_uses(&content), 2);
	assert_null(content.frees);
	assert_string_equal(content.uses->cid, "c");
	assert_string_equal(content.uses->next->cid, "a");
	assert_string_equal(ip_str(&content.uses->next->ips[0], text), "10.1.2.9");
	journal_content_free(&content);
	journal_close(journal);
}

// Of another boot no container lives, and another network's addresses are others.
static void test_of_another_life(void **state)
{
	static const struct {
		const char *boot;
		const char *prefix;
	} cases[] = { { "boot-2", PREFIX }, { BOOT, "/other" } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct journal_content content;
		struct journal *journal;

		begin(state);
		journal = open_it(BOOT, PREFIX, &content);
		use(journal, "a", "10.1.2.3");
		journal_close(journal);
		journal = open_it(cases[i].boot, cases[i].prefix, &content);
		assert_null(content.uses);
		journal_close(journal);
		journal = open_it(cases[i].boot, cases[i].prefix, &content);
		assert_null(content.uses);
		assert_int_equal(content.lines, 1);
		journal_content_free(&content);
		journal_close(journal);
		end(state);
	}
}

// Cut anywhere, what was whole before the cut is read, and what is added behind it too.
static void test_torn_anywhere(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct journal_content content;
	struct journal *journal = open_it(BOOT, PREFIX, &content);
	size_t len, head;

	(void)state;
	use(journal, "a", "10.1.2.3");
	use(journal, "b", "10.1.2.4");
	journal_close(journal);
	assert_int_equal(file_read(path, 100000, &text, &len, NULL), 0);
	head = strcspn(text, "\n") + 1;
	for (size_t cut = head; cut <= len; cut++) {
		size_t whole = 0;

		for (size_t i = head; i < cut; i++)
			whole += text[i + 1] == '\n';
		assert_int_equal(file_write_atomic(path, text, cut, 0600, NULL), 0);
		journal = open_it(BOOT, PREFIX, &content);
		check(count_uses(&content) == whole, "cut at %zu: %zu of %zu", cut,
		      count_uses(&content), whole);
		check(content.bad_lines == (cut < len && text[cut - 1] != '\n' && text[cut] != '\n'),
		      "cut at %zu", cut);
		journal_content_free(&content);
		use(journal, "c", "10.1.2.5");
		journal_close(journal);
		journal = open_it(BOOT, PREFIX, &content);
		check(count_uses(&content) == whole + 1, "cut at %zu, and one more", cut);
		journal_content_free(&content);
		journal_close(journal);
	}
}

static void test_damaged_bytes(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct journal_content content;
	struct journal *journal = open_it(BOOT, PREFIX, &content);
	size_t len, head;

	(void)state;
	use(journal, "a", "10.1.2.3");
	use(journal, "b", "10.1.2.4");
	journal_close(journal);
	assert_int_equal(file_read(path, 100000, &text, &len, NULL), 0);
	head = strcspn(text, "\n") + 1;
	for (size_t i = head; i < len; i++) {
		if (text[i] == '\n')
			continue;
		text[i] ^= 1;
		journal_parse(text, len, &content);
		check(content.bad_lines == 1 && count_uses(&content) == 1, "byte %zu", i);
		journal_content_free(&content);
		text[i] ^= 1;
	}
}

static void test_compaction(void **state)
{
	struct allocator *allocator = allocator_new(0);
	struct journal_content content;
	struct journal *journal = open_it(BOOT, PREFIX, &content);
	const struct allocator_request request = { .key = { "net", "stays", "eth0" } };
	const struct ip resting = ip_of("10.1.2.9");
	struct subnet subnet = { 0 };
	struct holder *holder;
	struct refusal why;
	struct err e;

	(void)state;
	assert_int_equal(ipnet_parse("10.1.2.0/24", &subnet.v4), 0);
	allocator_set_subnet(allocator, &subnet);
	assert_int_equal(allocator_add(allocator, &request, 0, &holder, &why), 0);
	assert_true(allocator_restore_resting(allocator, &resting, 6, 55, true));
	assert_int_equal(journal_add_session(journal, 99, NULL), 0);
	for (int i = 0; i < 5000; i++) {
		const struct ip ip = ip_of("10.1.2.77");

		use(journal, "comes-and-goes", "10.1.2.77");
		assert_int_equal(journal_add_free(journal, &ip, 1, 5, NULL), 0);
		assert_int_equal(journal_add_done(journal, &ip, NULL), 0);
		check(journal_compact(journal, allocator, &e) == 0, "%s", e.msg);
	}
	journal_close(journal);
	journal = open_it(BOOT, PREFIX, &content);
	check(content.lines < 5000, "%zu lines", content.lines);
	assert_int_equal(count_uses(&content), 1);
	assert_string_equal(content.uses->cid, "stays");
	assert_int_equal(content.session, 99);
	assert_int_equal(content.frees->at_ms, 55);
	journal_content_free(&content);
	journal_close(journal);
	allocator_free(allocator);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reads_what_it_wrote, begin, end),
		cmocka_unit_test_setup_teardown(test_latest_word_counts, begin, end),
		cmocka_unit_test(test_of_another_life),
		cmocka_unit_test_setup_teardown(test_torn_anywhere, begin, end),
		cmocka_unit_test_setup_teardown(test_damaged_bytes, begin, end),
		cmocka_unit_test_setup_teardown(test_compaction, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
