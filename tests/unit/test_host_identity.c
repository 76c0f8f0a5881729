// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the secret by which a host proves that a lease is its own.
#include "temporary_dir.h"
#include "unit.h"

#include "agent/host_identity.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "store/owner.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct temporary_dir dir;
static char path[128];

static int setup(void **state)
{
	(void)state;
	temporary_dir_make(&dir);
	return text_format(path, sizeof(path), "%s/identity", dir.path);
}

static int teardown(void **state)
{
	(void)state;
	temporary_dir_remove(&dir);
	return 0;
}

static void test_made_once(void **state)
{
	_cleanup_free_ char *first = NULL, *second = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(host_identity_open(dir.path, &first, NULL), 0);
	assert_int_equal(strlen(first), 64);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(host_identity_open(dir.path, &second, NULL), 0);
	assert_string_equal(first, second);
}

static void test_cut_short(void **state)
{
	_cleanup_free_ char *identity = NULL;

	(void)state;
	assert_int_equal(file_write_atomic(path, "", 0, 0600, NULL), 0);
	assert_int_equal(host_identity_open(dir.path, &identity, NULL), 0);
	assert_int_equal(strlen(identity), 64);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		int r;
		const char *words;
	} cases[] = {
		{ "short\n", 0600, -EINVAL, "remove it for a new one" },
		{ "0123456789abcdef 0123456789abcdef\n", 0600, -EINVAL, "visible" },
		{ "0123456789abcdef0123456789abcdef\n", 0640, -EPERM, "chmod 600" },
	};
	char *identity = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(file_write_atomic(path, cases[i].text, strlen(cases[i].text),
						   cases[i].mode, NULL),
				 0);
		assert_int_equal(host_identity_open(dir.path, &identity, &e), cases[i].r);
		check(strstr(e.msg, path) && strstr(e.msg, cases[i].words), "%s", e.msg);
	}
	assert_null(identity);
}

static void test_mark(void **state)
{
	char owner[OWNER_MAX], other[OWNER_MAX];
	_cleanup_free_ char *bare = NULL, *more = NULL, *again = NULL;
	struct owner_claim claim;
	static const char wrong[] = "{\"PublicIP\":\"192.0.2.1\",\"WeftOwner\":5}";

	(void)state;
	owner_of("0123456789abcdef0123456789abcdef", owner);
	owner_of("0123456789abcdef0123456789abcdee", other);
	assert_int_equal(strlen(owner), OWNER_MAX - 1);
	assert_string_not_equal(owner, other);
	bare = owner_mark(NULL, owner);
	assert_true(owner_is_marked(bare, owner));
	assert_false(owner_is_marked(bare, other));
	assert_false(owner_is_marked(NULL, owner));
	more = owner_mark("{\"Theirs\":[1]}", other);
	again = owner_mark(more, owner);
	assert_true(owner_is_marked(again, owner));
	assert_non_null(strstr(again, "\"Theirs\":[1]"));
	owner_read(wrong, strlen(wrong), &claim);
	assert_true(claim.is_lease && claim.is_marked);
	assert_string_equal(claim.mark, "");
	owner_read("[]", 2, &claim);
	assert_false(claim.is_lease || claim.is_marked);
	owner_read(NULL, 100000, &claim);
	assert_false(claim.is_lease || claim.is_marked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_short, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
		cmocka_unit_test(test_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
