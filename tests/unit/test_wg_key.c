// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of a host's WireGuard key on disk.
#include "temporary_dir.h"
#include "unit.h"

#include "agent/wg_key.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct temporary_dir dir;
static char path[128];

static int setup(void **state)
{
	(void)state;
	temporary_dir_make(&dir);
	return text_format(path, sizeof(path), "%s/wireguard.key", dir.path);
}

static int teardown(void **state)
{
	(void)state;
	temporary_dir_remove(&dir);
	return 0;
}

// RFC 7748 section 6.1, Alice.
static void test_public_key(void **state)
{
	struct wg_key key, public_key;
	char text[WG_KEY_STR_MAX];
	(void)state;
	assert_int_equal(wg_key_parse("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", &key), 0);
	wg_key_public(&key, &public_key);
	assert_string_equal(wg_key_str(&public_key, text),
			    "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
}

static void test_made_once(void **state)
{
	struct wg_key key, again, public_key, public_again;
	struct stat st;
	(void)state;
	assert_int_equal(wg_key_open(dir.path, &key, &public_key, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(wg_key_open(dir.path, &again, &public_again, NULL), 0);
	assert_true(wg_key_equal(&key, &again) && wg_key_equal(&public_key, &public_again));
	assert_int_equal(key.bytes[0] & 7, 0);
	assert_int_equal(key.bytes[31] & 0xc0, 0x40);
}

static void test_replaced(void **state)
{
	struct wg_key key, public_key, read, read_public;
	(void)state;
	assert_int_equal(wg_key_open(dir.path, &read, &read_public, NULL), 0);
	assert_int_equal(wg_key_generate(&key, &public_key, NULL), 0);
	assert_false(wg_key_equal(&key, &read));
	assert_int_equal(wg_key_replace(dir.path, &key, NULL), 0);
	assert_int_equal(wg_key_open(dir.path, &read, &read_public, NULL), 0);
	assert_true(wg_key_equal(&key, &read) && wg_key_equal(&public_key, &read_public));
}

static void test_bad(void **state)
{
	static const char *const bad[] = { "x\n", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ\n" };
	struct wg_key key, public_key;
	struct err e;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(file_write_atomic(path, bad[i], strlen(bad[i]), 0600, NULL), 0);
		assert_int_equal(wg_key_open(dir.path, &key, &public_key, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "no WireGuard key; put it back"));
	}
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(wg_key_open(dir.path, &key, &public_key, &e), -EACCES);
	assert_int_equal(e.code, -EACCES);
	assert_non_null(strstr(e.msg, "chmod 600"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public_key),
		cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
