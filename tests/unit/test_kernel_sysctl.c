// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of kernel/sysctl.h.

#include "kernel/sysctl.h"
#include "netns.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_read_and_write(void **state)
{
	char text[32] = "untouched", tiny[1];
	int64_t value = 4711;
	struct err e = { 0 };

	(void)state;
	netns_enter();
	assert_int_equal(sysctl_write("net/ipv4/ip_forward", "1", &e), 0);
	assert_int_equal(sysctl_read("net/ipv4/ip_forward", text, sizeof(text), &e), 0);
	assert_string_equal(text, "1");
	assert_int_equal(sysctl_read_int("net/ipv4/ip_forward", &value, &e), 0);
	assert_int_equal(value, 1);
	assert_int_equal(sysctl_write("net/ipv4/ip_forward", "0", &e), 0);
	assert_int_equal(sysctl_read_int("net/ipv4/ip_forward", &value, &e), 0);
	assert_int_equal(value, 0);

	assert_int_equal(sysctl_read("net/ipv4/ip_forward", tiny, sizeof(tiny), &e), -ENOSPC);
	assert_int_equal(sysctl_write("net/ipv4/ip_forward", "many", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "net/ipv4/ip_forward"));
	assert_non_null(strstr(e.msg, "many"));
	value = 4711;
	assert_int_equal(sysctl_read_int("net/ipv4/tcp_congestion_control", &value, &e), -EINVAL);
	assert_int_equal(value, 4711);
}

// Whatever this test's namespace says, the one that started it keeps its own.
static void test_of_this_namespace(void **state)
{
	int64_t first, second;
	struct err e = { 0 };

	(void)state;
	netns_enter();
	assert_int_equal(sysctl_write("net/ipv4/ip_default_ttl", "77", &e), 0);
	assert_int_equal(sysctl_read_int("net/ipv4/ip_default_ttl", &first, &e), 0);
	netns_enter();
	assert_int_equal(sysctl_read_int("net/ipv4/ip_default_ttl", &second, &e), 0);
	assert_int_equal(first, 77);
	assert_int_not_equal(second, 77);
}

static void test_bad_paths(void **state)
{
	static const char *const bad[] = { "/etc/passwd", "../../etc/passwd", "net/../../version" };
	char text[32];
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(sysctl_read(bad[i], text, sizeof(text), &e), -EINVAL);
		assert_int_equal(sysctl_write(bad[i], "1", &e), -EINVAL);
	}
	assert_int_equal(sysctl_read("net/ipv4/no_such_thing", text, sizeof(text), &e), -ENOENT);
	assert_non_null(strstr(e.msg, "no_such_thing"));
}

static void test_device_path(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "a..b", "0123456789abcdef" };
	char path[64] = "untouched", tiny[20];
	int64_t value;
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sysctl_device_path("net/ipv6/conf", bad[i], "accept_ra", path,
						    sizeof(path)),
				 -EINVAL);
	assert_int_equal(sysctl_device_path("net/ipv6/conf", "flannel.1", "accept_ra", tiny,
					    sizeof(tiny)),
			 -ENOSPC);
	assert_string_equal(path, "untouched");
	assert_int_equal(sysctl_device_path("net/ipv6/conf", "flannel.1", "accept_ra", path,
					    sizeof(path)),
			 0);
	assert_string_equal(path, "net/ipv6/conf/flannel.1/accept_ra");
	netns_enter();
	netns_run("ip", "link", "add", "flannel.1", "type", "vxlan", "id", "1", "local", "10.0.0.1",
		  "dstport", "8472", NULL);
	assert_int_equal(sysctl_write(path, "0", &e), 0);
	assert_int_equal(sysctl_read_int(path, &value, &e), 0);
	assert_int_equal(value, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_and_write),
		cmocka_unit_test(test_of_this_namespace),
		cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_device_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
