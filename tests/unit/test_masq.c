// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the firewall rules: which are wanted, how they stand in the kernel, and that they come back; nft is the second pair of eyes.
#include "loop_end.h"
#include "netns.h"
#include "unit.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "masq/masq.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- which rules ----

#define V4 "10.1.0.0/16", "10.1.5.0/24"
#define V6 "fc00:1::/48", "fc00:1:0:5::/64"

static struct masq_network network(const char *v4, const char *own_v4, const char *v6,
				   const char *own_v6)
{
	struct masq_network network = { 0 };
	if (v4) {
		assert_int_equal(ipnet_parse(v4, &network.network.v4), 0);
		assert_int_equal(ipnet_parse(own_v4, &network.own.v4), 0);
	}
	if (v6) {
		assert_int_equal(ipnet_parse(v6, &network.network.v6), 0);
		assert_int_equal(ipnet_parse(own_v6, &network.own.v6), 0);
	}
	return network;
}

static const struct {
	const char *name;
	bool masquerade, fully_random, forward;
	const char *never;
	size_t networks;
	const char *v4, *v6;
} wishes[] = {
	{ "nothing", false, false, false, NULL, 1, "", "" },
	{ "no network", true, true, true, NULL, 0, "", "" },
	{ "forward", false, false, true, NULL, 1,
	  "forward ip saddr 10.1.0.0/16 accept\nforward ip daddr 10.1.0.0/16 accept\n",
	  "forward ip6 saddr fc00:1::/48 accept\nforward ip6 daddr fc00:1::/48 accept\n" },
	{ "masquerade", true, false, false, NULL, 1,
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.5.0/24 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade\n",
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr fc00:1::/48 return\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1:0:5::/64 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr != ff00::/8 masquerade\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1::/48 masquerade\n" },
	{ "excluded, random", true, true, false, "172.16.0.0/12", 1,
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr 172.16.0.0/12 return\n"
	  "postrtg ip saddr 172.16.0.0/12 ip daddr 10.1.0.0/16 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.5.0/24 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade fully-random\n",
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr fc00:1::/48 return\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1:0:5::/64 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr != ff00::/8 masquerade fully-random\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1::/48 masquerade fully-random\n" },
	{ "everything excluded", true, false, false, "::/0", 1,
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.5.0/24 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade\n",
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip6 saddr fc00:1::/48 return\n"
	  "postrtg ip6 daddr fc00:1::/48 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr fc00:1::/48 return\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1:0:5::/64 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr != ff00::/8 masquerade\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1::/48 masquerade\n" },
	// What masquerades comes behind the returns of both.
	{ "two networks, one without IPv6", true, false, true, NULL, 2,
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr 10.1.0.0/16 return\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.5.0/24 return\n"
	  "postrtg ip saddr 10.2.0.0/16 ip daddr 10.2.0.0/16 return\n"
	  "postrtg ip saddr != 10.2.0.0/16 ip daddr 10.2.7.0/24 return\n"
	  "postrtg ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade\n"
	  "postrtg ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade\n"
	  "postrtg ip saddr 10.2.0.0/16 ip daddr != 224.0.0.0/4 masquerade\n"
	  "postrtg ip saddr != 10.2.0.0/16 ip daddr 10.2.0.0/16 masquerade\n"
	  "forward ip saddr 10.1.0.0/16 accept\n"
	  "forward ip daddr 10.1.0.0/16 accept\n"
	  "forward ip saddr 10.2.0.0/16 accept\n"
	  "forward ip daddr 10.2.0.0/16 accept\n",
	  "postrtg mark & 0x4000 == 0x4000 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr fc00:1::/48 return\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1:0:5::/64 return\n"
	  "postrtg ip6 saddr fc00:1::/48 ip6 daddr != ff00::/8 masquerade\n"
	  "postrtg ip6 saddr != fc00:1::/48 ip6 daddr fc00:1::/48 masquerade\n"
	  "forward ip6 saddr fc00:1::/48 accept\n"
	  "forward ip6 daddr fc00:1::/48 accept\n" },
};

static void test_wanted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
		struct masq_network networks[] = { network(V4, V6),
						   network("10.2.0.0/16", "10.2.7.0/24", NULL, NULL) };
		const char *expected[] = { wishes[i].v4, wishes[i].v6 };
		struct ipnet never = { 0 };
		struct masq_wish wish = { wishes[i].masquerade, wishes[i].fully_random,
					  wishes[i].forward, &never, wishes[i].never != NULL };
		if (wishes[i].never)
			assert_int_equal(ipnet_parse(wishes[i].never, &never), 0);
		for (int family = 0; family < MASQ_FAMILY_COUNT; family++) {
			_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(65536);
			_cleanup_(masq_rules_free) struct masq_rules rules = { 0 };
			masq_rules_make(&wish, networks, wishes[i].networks, family, &rules);
			for (size_t j = 0; j < rules.count; j++) {
				char line[MASQ_RULE_TEXT_MAX];
				(void)strbuf_printf(&text, "%s\n",
						    masq_rule_text(&rules.rules[j], family, line));
			}
			check(strcmp(strbuf_text(&text), expected[family]) == 0, "%s: %s",
			      wishes[i].name, strbuf_text(&text));
		}
	}
}

// ---- in the kernel ----

struct host {
	struct loop *loop;
	struct masq *masq;
	size_t repairs, wars;
};

static void on_repaired(void *arg, const char *what, bool war)
{
	struct host *host = arg;
	(void)what;
	host->repairs += !war;
	host->wars += war;
}

static const struct masq_hooks hooks = { .repaired = on_repaired };

static void open_host(struct host *host, bool fully_random)
{
	struct masq_config config = {
		.wish = { .masquerade = true, .fully_random = fully_random, .forward = true },
		.resync_ms = 3600000
	};
	netns_enter();
	*host = (struct host){ .loop = loop_new() };
	host->masq = masq_new(host->loop, &config, &hooks, host);
}

static void close_host(struct host *host)
{
	host->masq = masq_free(host->masq);
	loop_end(host->loop);
}

static bool is_in_order(const struct host *host)
{
	return masq_status(host->masq)->is_in_order;
}

static void turn_until(struct host *host, bool (*condition)(const struct host *), const char *what)
{
	uint64_t end_ms = loop_now_ms() + 20000;
	while (!condition(host)) {
		check(loop_now_ms() < end_ms, "still waiting until %s: %s", what,
		      masq_status(host->masq)->error.msg);
		loop_turn(host->loop, 50);
	}
}

static void set_dual(struct host *host)
{
	struct masq_network dual = network(V4, V6);
	masq_set(host->masq, &dual, 1, false);
	turn_until(host, is_in_order, "the rules are in place");
}

#define ADDRESS(FAMILY, FIELD) \
	"\"left\":{\"payload\":{\"protocol\":\"" FAMILY "\",\"field\":\"" FIELD "\"}},"
#define NET(FAMILY, OP, FIELD, ADDR, LEN)                                                        \
	"{\"match\":{\"op\":\"" OP                                                               \
	"\"," ADDRESS(FAMILY, FIELD) "\"right\":{\"prefix\":{\"addr\":\"" ADDR "\",\"len\":" LEN \
				     "}}}}"
#define MARK \
	"[{\"match\":{\"op\":\"==\",\"left\":{\"&\":[{\"meta\":{\"key\":\"mark\"}},16384]},\"right\":16384}},{\"return\":null}]"
#define RULES(FAMILY, ADDR, LEN, OWN, OWN_LEN, GROUPS, GROUPS_LEN, MASQUERADE)                                                                                       \
	"[" MARK                                                                                                                                                     \
	",[" NET(FAMILY, "==", "saddr", ADDR, LEN) "," NET(FAMILY, "==", "daddr", ADDR, LEN) ",{\"return\":null}],[" NET(FAMILY, "!=", "saddr", ADDR, LEN) "," NET(  \
		FAMILY, "==", "daddr", OWN,                                                                                                                          \
		OWN_LEN) ",{\"return\":null}],[" NET(FAMILY, "==", "saddr", ADDR,                                                                                    \
						     LEN) "," NET(FAMILY, "!=", "daddr", GROUPS,                                                                     \
								  GROUPS_LEN) ",{\"masquerade\":" MASQUERADE                                                         \
									      "}],[" NET(FAMILY, "!=", "saddr", ADDR, LEN) "," NET(                                  \
										      FAMILY,                                                                        \
										      "==", "daddr",                                                                 \
										      ADDR,                                                                          \
										      LEN) ",{\"masquerade\":" MASQUERADE                                            \
											   "}],[" NET(FAMILY, "==", "saddr", ADDR, LEN) ",{\"accept\":null}],[" NET( \
												   FAMILY,                                                           \
												   "==", "daddr",                                                    \
												   ADDR,                                                             \
												   LEN) ",{\"accept\":null}]]"
#define LISTED_V4(MASQUERADE) \
	RULES("ip", "10.1.0.0", "16", "10.1.5.0", "24", "224.0.0.0", "4", MASQUERADE)
#define LISTED_V6(MASQUERADE) \
	RULES("ip6", "fc00:1::", "48", "fc00:1:0:5::", "64", "ff00::", "8", MASQUERADE)

static void check_listed(const char *family, const char *table, const char *expected)
{
	_cleanup_json_ json_t *rules = json_array();
	json_t *listing = netns_json("nft", "-j", "list", "table", family, table, NULL);
	json_t *item;
	size_t i;
	json_array_foreach(json_object_get(listing, "nftables"), i, item)
		if (json_object_get(item, "rule"))
			json_array_append(rules,
					  json_object_get(json_object_get(item, "rule"), "expr"));
	_cleanup_free_ char *text = json_text(rules);
	assert_string_equal(text, expected);
}

static void check_both_listed(void)
{
	check_listed("ip", "flannel-ipv4", LISTED_V4("{\"flags\":\"fully-random\"}"));
	check_listed("ip6", "flannel-ipv6", LISTED_V6("{\"flags\":\"fully-random\"}"));
}

static void test_listed(void **state)
{
	struct host host;
	(void)state;
	open_host(&host, true);
	set_dual(&host);
	check_both_listed();
	assert_int_equal(host.repairs, 0);
	// Nothing is applied that is there, by an earlier life for instance.
	host.masq = masq_free(host.masq);
	struct masq_config config = { .wish = { true, true, true, NULL, 0 }, .resync_ms = 3600000 };
	host.masq = masq_new(host.loop, &config, &hooks, &host);
	set_dual(&host);
	assert_int_equal(masq_status(host.masq)->changes, 0);
	// One family less.
	struct masq_network v4 = network(V4, NULL, NULL);
	masq_set(host.masq, &v4, 1, false);
	turn_until(&host, is_in_order, "IPv6 is off");
	check_listed("ip", "flannel-ipv4", LISTED_V4("{\"flags\":\"fully-random\"}"));
	netns_run("sh", "-c", "test \"$(nft list tables)\" = 'table ip flannel-ipv4'", NULL);
	masq_set(host.masq, NULL, 0, false);
	turn_until(&host, is_in_order, "nothing is wanted");
	netns_run("sh", "-c", "test -z \"$(nft list tables)\"", NULL);
	close_host(&host);
}

static void test_not_random(void **state)
{
	struct host host;
	(void)state;
	open_host(&host, false);
	set_dual(&host);
	check_listed("ip", "flannel-ipv4", LISTED_V4("null"));
	check_listed("ip6", "flannel-ipv6", LISTED_V6("null"));
	close_host(&host);
}

// ---- what others do ----

static const char *const acts[] = {
	"nft flush ruleset",
	"nft delete table ip flannel-ipv4",
	"nft flush chain ip6 flannel-ipv6 forward",
	"nft add rule ip flannel-ipv4 postrtg masquerade",
	"nft insert rule ip flannel-ipv4 forward drop",
	"nft add chain ip flannel-ipv4 more",
	"nft add set ip6 flannel-ipv6 s '{ type ipv6_addr; }'",
	"nft delete rule ip flannel-ipv4 postrtg handle $(nft -a list table ip flannel-ipv4 |"
	" sed -n 's/.*daddr 10.1.5.0.*handle //p')",
	"nft 'delete table ip flannel-ipv4; add table ip flannel-ipv4; add chain ip flannel-ipv4 forward"
	" { type filter hook forward priority 5; policy drop; }'",
};

static size_t repairs_before;

static bool is_repaired(const struct host *host)
{
	return host->repairs > repairs_before && is_in_order(host);
}

static void test_repaired(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
		struct host host;
		open_host(&host, true);
		set_dual(&host);
		// Its own echoes are over, so that it is what is told that makes it look.
		for (int turn = 0; turn < 10; turn++)
			loop_turn(host.loop, 100);
		repairs_before = host.repairs;
		netns_run("sh", "-c", acts[i], NULL);
		turn_until(&host, is_repaired, acts[i]);
		check_both_listed();
		close_host(&host);
	}
}

static bool is_at_war(const struct host *host)
{
	return host->wars > 0;
}

static void test_war(void **state)
{
	struct host host;
	(void)state;
	open_host(&host, true);
	set_dual(&host);
	for (size_t i = 0; i < 5; i++) {
		repairs_before = host.repairs;
		netns_run("nft", "flush", "ruleset", NULL);
		turn_until(&host, is_repaired, "repaired before the war");
	}
	netns_run("nft", "flush", "ruleset", NULL);
	turn_until(&host, is_at_war, "it is a war");
	assert_int_equal(host.repairs, 5);
	assert_false(is_in_order(&host));
	uint64_t now_ms = loop_now_ms();
	assert_true(masq_status(host.masq)->hold_until_ms > now_ms);
	for (int turn = 0; turn < 10; turn++)
		loop_turn(host.loop, 50);
	netns_run("sh", "-c", "test -z \"$(nft list tables)\"", NULL);
	close_host(&host);
}

// As flannel 0.28 leaves them, its fourth rule included.
#define OF_FLANNEL                                                                            \
	"nft -f - <<E\n"                                                                      \
	"table ip flannel-ipv4 {\n comment \"rules for flannel-ipv4\"\n"                      \
	" chain postrtg {\n  comment \"chain to manage traffic masquerading by flannel\"\n"   \
	"  type nat hook postrouting priority srcnat; policy accept;\n"                       \
	"  meta mark 0x00004000 return\n  ip saddr 10.1.5.0/24 ip daddr 10.1.0.0/16 return\n" \
	"  ip saddr 10.1.0.0/16 ip daddr 10.1.5.0/24 return\n"                                \
	"  ip saddr != 10.1.5.0/24 ip daddr 10.1.0.0/16 return\n"                             \
	"  ip saddr 10.1.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random\n"            \
	"  ip saddr != 10.1.0.0/16 ip daddr 10.1.0.0/16 masquerade fully-random\n }\n"        \
	" chain forward {\n  type filter hook forward priority filter; policy accept;\n"      \
	"  ip saddr 10.1.0.0/16 accept\n  ip daddr 10.1.0.0/16 accept\n }\n}\n"               \
	"table ip6 flannel-ipv6 {\n comment \"rules for flannel-ipv6\"\n}\nE"

static void test_adopted(void **state)
{
	struct host host;
	(void)state;
	open_host(&host, true);
	netns_run("sh", "-c", OF_FLANNEL, NULL);
	netns_run("nft", "add", "table", "ip", "others", NULL);
	set_dual(&host);
	check_both_listed();
	assert_int_equal(host.repairs, 0);
	netns_run("nft", "list", "table", "ip", "others", NULL);
	close_host(&host);
}

// What is not ours costs nothing: only the loop's own time counts, which a busy machine does not lengthen.
static void test_many_rules_of_others(void **state)
{
	struct timespec before, after;
	struct host host;
	(void)state;
	open_host(&host, true);
	netns_run("sh", "-c",
		  "{ echo 'table inet big {\nchain c {'; seq 20000 | sed 's|.*|ip saddr 10.9.8.7 tcp dport & counter accept|'; echo '}\n}'; } | nft -f -",
		  NULL);
	set_dual(&host);
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before), 0);
	for (int i = 0; i < 3; i++) {
		repairs_before = host.repairs;
		netns_run("nft", "delete", "table", "ip", "flannel-ipv4", NULL);
		turn_until(&host, is_repaired, "it is put back beside 20,000 others");
	}
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after), 0);
	double spent_ms = (double)(after.tv_sec - before.tv_sec) * 1e3 +
			  (double)(after.tv_nsec - before.tv_nsec) / 1e6;
	check(spent_ms < 20, "the loop was busy for %.1f ms", spent_ms);
	close_host(&host);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wanted),
		cmocka_unit_test(test_listed),
		cmocka_unit_test(test_not_random),
		cmocka_unit_test(test_repaired),
		cmocka_unit_test(test_war),
		cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_many_rules_of_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
