// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of subnet.env: the bytes that flannel writes, and what its reader takes.
#include "unit.h"

#include "agent/subnet_env.h"
#include "core/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ipnet net(const char *text)
{
	struct ipnet value = { 0 };

	if (text)
		check(ipnet_parse(text, &value) == 0, "%s", text);
	return value;
}

static const struct {
	const char *network, *subnet, *network6, *subnet6;
	uint32_t mtu;
	bool masq;
	const char *bytes;
} formats[] = {
	{ "10.5.0.0/16", "10.5.34.0/24", NULL, NULL, 1450, true,
	  "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n" },
	{ "10.5.0.0/16", "10.5.34.0/24", "fd00:10:5::/56", "fd00:10:5:22::/64", 1430, false,
	  "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.34.1/24\nFLANNEL_IPV6_NETWORK=fd00:10:5::/56\n"
	  "FLANNEL_IPV6_SUBNET=fd00:10:5:22::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n" },
	{ NULL, NULL, "fd00:10:5::/56", "fd00:10:5:22::/64", 1430, false,
	  "FLANNEL_IPV6_NETWORK=fd00:10:5::/56\nFLANNEL_IPV6_SUBNET=fd00:10:5:22::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n" },
};

static struct subnet_env env_of(size_t i)
{
	return (struct subnet_env){
		.network = { .v4 = net(formats[i].network), .v6 = net(formats[i].network6) },
		.subnet = { .v4 = net(formats[i].subnet), .v6 = net(formats[i].subnet6) },
		.mtu_bytes = formats[i].mtu,
		.ip_masq = formats[i].masq,
	};
}

static void assert_env_equal(const struct subnet_env *a, const struct subnet_env *b)
{
	assert_true(subnet_equal(&a->network, &b->network));
	assert_true(subnet_equal(&a->subnet, &b->subnet));
	assert_int_equal(a->mtu_bytes, b->mtu_bytes);
	assert_int_equal(a->ip_masq, b->ip_masq);
}

static void test_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(4096), notices = STRBUF_INIT(4096);
		struct subnet_env env = env_of(i), again;

		subnet_env_format(&env, &out);
		assert_string_equal(strbuf_text(&out), formats[i].bytes);
		subnet_env_parse(out.data, out.len, &again, &notices);
		assert_env_equal(&env, &again);
		assert_string_equal(strbuf_text(&notices), "");
	}
}

static const struct {
	const char *text, *subnet, *subnet6, *notices;
} reads[] = {
	{ "", NULL, NULL, "" },
	{ "FLANNEL_SUBNET=10.5.34.1/24", "10.5.34.0/24", NULL, "" },
	{ "# c\n\n  export FLANNEL_SUBNET = '10.5.34.1/24'  # why\r\n", "10.5.34.0/24", NULL, "" },
	{ "export\tFLANNEL_IPV6_SUBNET=\"fd00:1::1/64\"\n", NULL, "fd00:1::/64", "" },
	{ "FLANNEL_SUBNET=10.5.34.1/24 # comment\n", "10.5.34.0/24", NULL, "" },
	{ "FLANNEL_SUBNET=#10.5.34.1/24\n", NULL, NULL, "FLANNEL_SUBNET: \"\" is not an IPv4 subnet\n" },
	{ "FLANNEL_SUBNET=x, 10.5.34.1/24\n", "10.5.34.0/24", NULL,
	  "FLANNEL_SUBNET: \"x\" is not an IPv4 subnet\n" },
	{ "FLANNEL_SUBNET=10.5.34.1/24,10.5.35.1/24\n", NULL, NULL,
	  "FLANNEL_SUBNET: \"...\" lists several subnets: none is used\n" },
	{ "FLANNEL_SUBNET=10.5.34.1/33\n", NULL, NULL,
	  "FLANNEL_SUBNET: \"10.5.34.1/33\" is not an IPv4 subnet\n" },
	{ "FLANNEL_SUBNET=fd00::1/64\n", NULL, NULL,
	  "FLANNEL_SUBNET: \"fd00::1/64\" is not an IPv4 subnet\n" },
	{ "FLANNEL_IPV6_SUBNET=10.5.34.1/24\n", NULL, NULL,
	  "FLANNEL_IPV6_SUBNET: \"10.5.34.1/24\" is not an IPv6 subnet\n" },
	{ "FLANNEL_SUBNET='10.5.34.1/24\n", NULL, NULL,
	  "FLANNEL_SUBNET: \"...\" is not closed by its quote, or too long\n" },
	{ "FLANNEL_SUBNET=\"10.5.34.1\\/24\"\n", "10.5.34.0/24", NULL, "" },
	{ "FLANNEL_SUBNETS=10.5.34.1/24\nOTHER=1\nnonsense\n=\n", NULL, NULL, "" },
	{ "FLANNEL_SUBNET=10.1.1.1/24\nFLANNEL_SUBNET=10.1.2.1/24\n", "10.1.2.0/24", NULL, "" },
	{ "FLANNEL_SUBNET=10.1.1.1/24\nFLANNEL_SUBNET=none\n", NULL, NULL,
	  "FLANNEL_SUBNET: \"none\" is not an IPv4 subnet\n" },
	{ "exportFLANNEL_SUBNET=10.1.1.1/24\n", NULL, NULL, "" },
	{ "FLANNEL_MTU=many\nFLANNEL_IPMASQ=on\n", NULL, NULL,
	  "FLANNEL_MTU: \"many\" is not an MTU\nFLANNEL_IPMASQ: \"on\" is neither true nor false\n" },
};

static void test_reader(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		_cleanup_strbuf_ struct strbuf notices = STRBUF_INIT(4096);
		struct subnet want = { .v4 = net(reads[i].subnet), .v6 = net(reads[i].subnet6) };
		struct subnet_env env;

		subnet_env_parse(reads[i].text, strlen(reads[i].text), &env, &notices);
		check(subnet_equal(&env.subnet, &want), "%s", reads[i].text);
		check(strcmp(strbuf_text(&notices), reads[i].notices) == 0, "%s: %s", reads[i].text,
		      strbuf_text(&notices));
		check(env.mtu_bytes == 0 && !env.ip_masq, "%s: invented", reads[i].text);
	}
}

static void test_too_long_values_and_no_notices(void **state)
{
	static char text[3000];
	struct subnet_env env;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "FLANNEL_SUBNET=", strlen("FLANNEL_SUBNET="));
	subnet_env_parse(text, sizeof(text), &env, NULL);
	assert_false(ipnet_is_set(&env.subnet.v4));
}

static void test_file(void **state)
{
	_cleanup_strbuf_ struct strbuf notices = STRBUF_INIT(4096);
	char directory[] = "/tmp/weft-subnet-env-XXXXXX";
	struct subnet_env env = env_of(1), again;
	_cleanup_free_ char *path = NULL, *sub = NULL;
	struct stat first, second;
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(directory));
	sub = xasprintf("%s/flannel", directory);
	path = xasprintf("%s/subnet.env", sub);
	umask(077);
	assert_int_equal(subnet_env_read(path, &again, &notices, &e), -ENOENT);
	assert_int_equal(subnet_env_write(path, &env, &e), 0);
	assert_int_equal(stat(path, &first), 0);
	assert_int_equal(first.st_mode & 07777, 0644);
	assert_int_equal(stat(sub, &second), 0);
	assert_int_equal(second.st_mode & 07777, 0755);
	assert_int_equal(subnet_env_read(path, &again, &notices, &e), 0);
	assert_env_equal(&env, &again);
	// The same again: not even the inode changes. Another: a new file, with the mode that somebody chose.
	assert_int_equal(subnet_env_write(path, &env, &e), 0);
	assert_int_equal(stat(path, &second), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(chmod(path, 0640), 0);
	env.mtu_bytes = 1400;
	assert_int_equal(subnet_env_write(path, &env, &e), 0);
	assert_int_equal(stat(path, &second), 0);
	assert_int_not_equal(first.st_ino, second.st_ino);
	assert_int_equal(second.st_mode & 07777, 0640);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(sub), 0);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_reader),
		cmocka_unit_test(test_too_long_values_and_no_notices),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
