// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of following the networks below a prefix, over the store in memory.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "registry_world.h"

#include <errno.h>
#include <string.h>

#define PREFIX "/coreos.com/network"

static struct registry_follow *follow;

// What was told: "listed a b", with " other" if of another store; "+a", "-a"; one a line.
static struct strbuf told;
static unsigned int lists, unread;
static bool puts_while_listed; // "late" is written the moment that a list is told

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void on_listed(void *arg, char *const *names, size_t count, bool store_changed)
{
	_cleanup_free_ char **sorted = xnew0_array(char *, count + 1);

	(void)arg;
	lists++;
	for (size_t i = 0; i < count; i++)
		sorted[i] = names[i];
	qsort(sorted, count, sizeof(*sorted), compare_names);
	strbuf_puts(&told, "listed");
	for (size_t i = 0; i < count; i++)
		strbuf_printf(&told, " %s", sorted[i]);
	strbuf_puts(&told, store_changed ? " other\n" : "\n");
	if (puts_while_listed)
		memory_put(kv, PREFIX "/late/config", "{}", 2, 0);
}

static void on_changed(void *arg, const char *name, bool is_there)
{
	(void)arg;
	strbuf_printf(&told, "%s%s\n", is_there ? "+" : "-", name);
}

static void on_unread(void *arg, const struct err *e)
{
	(void)arg;
	assert_string_not_equal(e->msg, "");
	unread++;
}

static const struct registry_follow_fns fns = {
	.listed = on_listed,
	.changed = on_changed,
	.unread = on_unread,
};

static int setup(void **state)
{
	(void)state;
	registry_world_open(PREFIX "/", KV_TXN_MAX);
	told = STRBUF_INIT(64 * 1024);
	lists = unread = 0;
	puts_while_listed = false;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	follow = registry_follow_free(follow);
	registry_world_close();
	strbuf_free(&told);
	return 0;
}

static void put(const char *key)
{
	memory_put(kv, key, "{}", 2, 0);
}

static void start(void)
{
	follow = registry_follow_start(registry, &fns, NULL);
	assert_int_equal(lists, 0); // never from within the call
	turn_until(loop, lists == 1);
}

static void await(const char *text)
{
	turn_until(loop, strstr(strbuf_text(&told), text));
}

static void test_list_and_changes(void **state)
{
	(void)state;
	put(PREFIX "/config");
	put(PREFIX "/b/config");
	put(PREFIX "/a/config");
	put(PREFIX "/a/subnets/10.1.2.0-24");
	put(PREFIX "/only-leases/subnets/10.1.2.0-24");
	put(PREFIX "/a/b/config");
	put(PREFIX "/subnets/config");
	put(PREFIX "/../config");
	put(PREFIX "/x y/config");
	put(PREFIX "//config");
	put(PREFIX "2/c/config");
	start();
	assert_string_equal(strbuf_text(&told), "listed a b\n");
	put(PREFIX "/c/config");
	put(PREFIX "/c/subnets/10.1.2.0-24");
	put(PREFIX "/c/configuration");
	put(PREFIX "/../config");
	assert_true(memory_delete(kv, PREFIX "/a/subnets/10.1.2.0-24"));
	assert_true(memory_delete(kv, PREFIX "/config"));
	assert_true(memory_delete(kv, PREFIX "/b/config"));
	put(PREFIX "/c/config");
	await("-b\n+c\n");
	assert_string_equal(strbuf_text(&told), "listed a b\n+c\n-b\n+c\n");
}

// What is written between the answer and the watch.
static void test_nothing_is_missed(void **state)
{
	(void)state;
	puts_while_listed = true;
	start();
	await("+late\n");
	assert_string_equal(strbuf_text(&told), "listed\n+late\n");
}

static void test_lost_watch(void **state)
{
	(void)state;
	put(PREFIX "/a/config");
	start();
	memory_set_reachable(kv, false);
	put(PREFIX "/b/config");
	assert_true(memory_delete(kv, PREFIX "/a/config"));
	memory_compact(kv);
	memory_set_reachable(kv, true);
	turn_until(loop, lists == 2);
	assert_string_equal(strbuf_text(&told), "listed a\nlisted b\n");
	put(PREFIX "/c/config");
	await("+c\n");
}

static void test_another_store(void **state)
{
	(void)state;
	put(PREFIX "/a/config");
	start();
	memory_wipe(kv);
	turn_until(loop, lists == 2);
	assert_string_equal(strbuf_text(&told), "listed a\nlisted other\n");
	memory_compact(kv);
	put(PREFIX "/a/config");
	await("+a\n");
	assert_int_equal(lists, 2);
}

static void test_unreachable_at_first(void **state)
{
	(void)state;
	put(PREFIX "/a/config");
	memory_set_reachable(kv, false);
	follow = registry_follow_start(registry, &fns, NULL);
	turn_until(loop, unread >= 2);
	memory_set_reachable(kv, true);
	turn_until(loop, lists == 1);
	assert_string_equal(strbuf_text(&told), "listed a\n");
}

static void test_free_at_any_time(void **state)
{
	(void)state;
	follow = registry_follow_start(registry, &fns, NULL);
	follow = registry_follow_free(follow);
	loop_turn(loop, 10);
	assert_int_equal(lists, 0);
}

static void test_names(void **state)
{
	static const char *const good[] = { "a", "A-b_c.d", "0", ".hidden", "...", "config2" };
	static const char *const bad[] = { "",	     "a/b", "..",	".",  "subnets",
					   "config", "a b", "\xc3\xa4", "a\n" };
	char longest[REGISTRY_NETWORK_MAX + 2];
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check(registry_network_check(good[i], NULL) == 0, "%s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(registry_network_check(bad[i], &e) == -EINVAL && e.msg[0], "%s", bad[i]);
	memset(longest, 'a', sizeof(longest));
	longest[REGISTRY_NETWORK_MAX + 1] = '\0';
	assert_int_equal(registry_network_check(longest, NULL), -EINVAL);
	longest[REGISTRY_NETWORK_MAX] = '\0';
	assert_int_equal(registry_network_check(longest, NULL), 0);
}

#define FOLLOW_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FOLLOW_TEST(test_list_and_changes),	FOLLOW_TEST(test_nothing_is_missed),
		FOLLOW_TEST(test_lost_watch),		FOLLOW_TEST(test_another_store),
		FOLLOW_TEST(test_unreachable_at_first), FOLLOW_TEST(test_free_at_any_time),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
