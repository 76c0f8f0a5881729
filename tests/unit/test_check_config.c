// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of weftd --check-config.
#include "unit.h"

#include "agent/check_config.h"
#include "core/mem.h"
#include "core/netconf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct fixture {
	char path[40];
	int saved_input;
};

static int set_up(void **state)
{
	struct fixture *f = xnew(struct fixture);

	(void)text_copy(f->path, sizeof(f->path), "/tmp/weft-check-config-XXXXXX");
	assert_int_equal(close(mkstemp(f->path)), 0);
	f->saved_input = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dup2(f->saved_input, STDIN_FILENO), STDIN_FILENO);
	assert_int_equal(close(f->saved_input), 0);
	assert_int_equal(unlink(f->path), 0);
	free(f);
	return 0;
}

static void put(const struct fixture *f, const char *text, size_t len)
{
	_cleanup_close_ int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
}

static void feed_input(const struct fixture *f)
{
	_cleanup_close_ int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
}

static const struct {
	const char *text, *out;
} good[] = {
	{ "{\"Network\":\"10.3.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":7}}",
	  "IPv4 network 10.3.0.0/16: 255 subnets of length /24, 10.3.1.0 to 10.3.255.0\n"
	  "backend vxlan {\"Type\":\"vxlan\",\"VNI\":7}\n" },
	{ "{\"EnableIPv4\":false,\"EnableIPv6\":true,\"IPv6Network\":\"fd00:1::/56\",\"Backend\":{\"type\":\"Alloc\"}}",
	  "IPv6 network fd00:1::/56: 255 subnets of length /64, fd00:1:0:1:: to fd00:1:0:ff::\n"
	  "backend alloc {\"type\":\"Alloc\"}\n" },
	{ "{\"Network\":\"10.3.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00:1::/56\",\"Backend\":{\"Type\":\"host-gw\"}}",
	  "IPv4 network 10.3.0.0/16: 255 subnets of length /24, 10.3.1.0 to 10.3.255.0\n"
	  "IPv6 network fd00:1::/56: 255 subnets of length /64, fd00:1:0:1:: to fd00:1:0:ff::\n"
	  "backend host-gw {\"Type\":\"host-gw\"}\n" },
	{ "{\"Network\":\"10.3.0.0/16\",\"Backend\":{\"Type\":\"ipip\",\"DirectRouting\":true}}",
	  "IPv4 network 10.3.0.0/16: 255 subnets of length /24, 10.3.1.0 to 10.3.255.0\n"
	  "backend ipip {\"Type\":\"ipip\",\"DirectRouting\":true}\n" },
};

static void test_good(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(4096), again = STRBUF_INIT(4096);
		struct err e = { 0 };

		put(f, good[i].text, strlen(good[i].text));
		check(check_config(f->path, &out, &e) == 0, "%s: %s", good[i].text, e.msg);
		assert_string_equal(strbuf_text(&out), good[i].out);
		feed_input(f);
		check(check_config("-", &again, &e) == 0, "%s: %s", good[i].text, e.msg);
		assert_string_equal(strbuf_text(&again), good[i].out);
	}
}

static void assert_refused(const char *path, int code, const char *start)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(4096);
	struct err e = { 0 };

	assert_int_equal(check_config(path, &out, &e), code);
	check(strncmp(e.msg, start, strlen(start)) == 0, "%s", e.msg);
	assert_int_equal(out.len, 0);
}

static void test_bad(void **state)
{
	static char longest[NETCONF_TEXT_MAX + 1];
	static const char bad[] = "{\"Network\":\"10.3.0.0/16\",\"SubnetLen\":31}";
	static const char bad_type[] = "{\"Network\":\"10.3.0.0/16\",\"Backend\":{\"Type\":\"ipsec\"}}";
	static const char bad_vni[] =
		"{\"Network\":\"10.3.0.0/16\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":16777216}}";
	static const char bad_ipip[] =
		"{\"Network\":\"10.3.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00:1::/56\","
		"\"Backend\":{\"Type\":\"ipip\"}}";
	_cleanup_free_ char *start = NULL;
	struct fixture *f = *state;

	put(f, bad, strlen(bad));
	start = xasprintf("%s: SubnetLen", f->path);
	assert_refused(f->path, -EINVAL, start);
	feed_input(f);
	assert_refused("-", -EINVAL, "standard input: SubnetLen");
	put(f, bad_type, strlen(bad_type));
	feed_input(f);
	assert_refused("-", -EOPNOTSUPP, "standard input: Backend.Type \"ipsec\" is not offered");
	put(f, bad_vni, strlen(bad_vni));
	feed_input(f);
	assert_refused("-", -EINVAL, "standard input: backend vxlan: VNI");
	put(f, bad_ipip, strlen(bad_ipip));
	feed_input(f);
	assert_refused("-", -EINVAL, "standard input: backend ipip: it carries IPv4 only");
	assert_refused("/no/such/file", -ENOENT, "/no/such/file: ");
	memset(longest, ' ', sizeof(longest));
	put(f, longest, sizeof(longest));
	assert_refused(f->path, -E2BIG, f->path);
	feed_input(f);
	assert_refused("-", -E2BIG, "standard input: longer than 65536 bytes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bad, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
