// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of Docker's options by subnet.env, against what flannel's script writes.
#include "unit.h"

#include "cli/docker_text.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define ENV                                                                            \
	"FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.34.1/24\nFLANNEL_MTU=1450\n" \
	"FLANNEL_IPMASQ=true\n"
#define LINES(MASQ)                                                                  \
	"DOCKER_OPT_BIP=\"--bip=10.5.34.1/24\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=" MASQ \
	"\"\nDOCKER_OPT_MTU=\"--mtu=1450\"\n"
#define OPTIONS(MASQ) " --bip=10.5.34.1/24 --ip-masq=" MASQ " --mtu=1450"

static const struct {
	const char *name, *env;
	bool individual, combined, no_masq;
	const char *key;
	const char *environment[4];
	const char *text;
} cases[] = {
	{ "both", ENV, true, true, false, NULL, { NULL }, LINES("false") "DOCKER_OPTS=\"" OPTIONS("false") "\"\n" },
	{ "individual", ENV, true, false, false, NULL, { NULL }, LINES("false") },
	{ "combined", ENV, false, true, false, NULL, { NULL }, "DOCKER_OPTS=\"" OPTIONS("false") "\"\n" },
	{ "not masqueraded by us",
	  "FLANNEL_SUBNET=10.5.34.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
	  true,
	  true,
	  false,
	  NULL,
	  { NULL },
	  LINES("true") "DOCKER_OPTS=\"" OPTIONS("true") "\"\n" },
	{ "without masq, another key",
	  ENV,
	  false,
	  true,
	  true,
	  "DOCKER_NETWORK_OPTIONS",
	  { NULL },
	  "DOCKER_NETWORK_OPTIONS=\" --bip=10.5.34.1/24 --mtu=1450\"\n" },
	{ "the key was set",
	  ENV,
	  false,
	  true,
	  false,
	  NULL,
	  { "DOCKER_OPTS=-D", "OTHER=x", NULL },
	  "DOCKER_OPTS=\"-D  --bip=10.5.34.1/24 --ip-masq=false --mtu=1450\"\n" },
	{ "others beside ours",
	  ENV,
	  true,
	  true,
	  false,
	  NULL,
	  { "DOCKER_OPT_LOG=--log-driver=x", "DOCKER_OPT_AUTH=--a", "DOCKER_OPT_MTU=--mtu=9", NULL },
	  "DOCKER_OPT_AUTH=\"--a\"\nDOCKER_OPT_BIP=\"--bip=10.5.34.1/24\"\nDOCKER_OPT_IPMASQ=\"--ip-masq=false\"\n"
	  "DOCKER_OPT_LOG=\"--log-driver=x\"\nDOCKER_OPT_MTU=\"--mtu=1450\"\n"
	  "DOCKER_OPTS=\" --a --bip=10.5.34.1/24 --ip-masq=false --log-driver=x --mtu=1450\"\n" },
	{ "no file", "", true, true, false, NULL, { NULL }, "DOCKER_OPTS=\"\"\n" },
	{ "no MTU",
	  "FLANNEL_SUBNET=10.5.34.1/24\n",
	  true,
	  true,
	  false,
	  NULL,
	  { NULL },
	  "DOCKER_OPT_BIP=\"--bip=10.5.34.1/24\"\nDOCKER_OPTS=\" --bip=10.5.34.1/24\"\n" },
	{ "as a shell reads it",
	  "# told by weftd\n  export FLANNEL_SUBNET=\"10.5.34.1/24\" \r\nFLANNEL_MTU='1450'\nFLANNEL_IPMASQ=\n\nx\n",
	  false,
	  true,
	  false,
	  NULL,
	  { NULL },
	  "DOCKER_OPTS=\" --bip=10.5.34.1/24 --mtu=1450\"\n" },
	{ "in the environment only",
	  "",
	  false,
	  true,
	  false,
	  NULL,
	  { "FLANNEL_MTU=1400", NULL },
	  "DOCKER_OPTS=\" --mtu=1400\"\n" },
};

static void test_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(4096);
		struct docker_text_options options = { cases[i].individual, cases[i].combined,
						       cases[i].no_masq,
						       cases[i].key ? cases[i].key : "DOCKER_OPTS" };
		struct ip bridge;
		struct ipnet subnet;
		struct err e = { 0 };
		int r = docker_text(cases[i].env, (char *const *)cases[i].environment, &options,
				    &out, &bridge, &subnet, &e);
		check(r == 0, "%s: %s", cases[i].name, e.msg);
		check(strcmp(strbuf_text(&out), cases[i].text) == 0, "%s: %s", cases[i].name,
		      strbuf_text(&out));
		check(ip_is_set(&bridge) == (strstr(cases[i].text, "--bip") != NULL), "%s",
		      cases[i].name);
	}
}

static const struct {
	const char *env, *key, *message;
} refusals[] = {
	{ "FLANNEL_IPMASQ=yes\n", "DOCKER_OPTS", "FLANNEL_IPMASQ: \"yes\" is neither true nor false" },
	{ "FLANNEL_SUBNET=10.5.34.1\n", "DOCKER_OPTS",
	  "FLANNEL_SUBNET: \"10.5.34.1\" is not an address with its length" },
	{ "FLANNEL_SUBNET=10.5.34.1/24,10.5.35.1/24\n", "DOCKER_OPTS",
	  "FLANNEL_SUBNET: \"10.5.34.1/24,10.5.35.1/24\" is not an address with its length" },
	{ "FLANNEL_MTU=15oo\n", "DOCKER_OPTS", "FLANNEL_MTU: \"15oo\" is not an MTU" },
	{ "FLANNEL_MTU=$(reboot)\n", "DOCKER_OPTS",
	  "FLANNEL_MTU: \"$(reboot)\" cannot stand in a file of variables" },
	{ "DOCKER_OPT_X=a\"b\n", "DOCKER_OPTS",
	  "DOCKER_OPT_X: \"a\"b\" cannot stand in a file of variables" },
	{ "", "1X", "-k: not the name of a variable" },
};

static void test_refusals(void **state)
{
	static char *const no_environment[] = { NULL };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(4096);
		struct docker_text_options options = { true, true, false, refusals[i].key };
		struct ip bridge;
		struct ipnet subnet;
		struct err e = { 0 };
		int r = docker_text(refusals[i].env, no_environment, &options, &out, &bridge,
				    &subnet, &e);
		check(r == -EINVAL && strcmp(e.msg, refusals[i].message) == 0, "%s: %d %s",
		      refusals[i].env, r, e.msg);
		assert_int_equal(out.len, 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_refusals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
