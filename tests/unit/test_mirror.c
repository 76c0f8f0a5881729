// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the mirror over the store in memory.
#include "unit.h"

#include "controller/mirror.h"
#include "core/mem.h"
#include "kv_client.h"
#include "loop_end.h"
#include "store/memory.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

static struct loop *loop;
static struct kv *kv;	 // the mirror's
static struct kv *other; // who changes the store
static struct mirror *mirror;
static unsigned int changes, states, replacements;
static bool was_torn; // keys that change together were seen apart

static const char *value_of(const struct pair *pair)
{
	return pair ? pair->bytes + pair->key_len + 1 : "";
}

static struct pair *find(const char *key)
{
	struct pair_set *pairs = mirror_pairs(mirror);

	return pairs ? pair_set_find(pairs, key, strlen(key)) : NULL;
}

static void look(void)
{
	const struct pair *a = find("/p/both/a"), *b = find("/p/both/b");
	int64_t a_revision = a ? a->mod_revision : 0, b_revision = b ? b->mod_revision : 0;

	was_torn = was_torn || a_revision != b_revision ||
		   (a && a_revision > mirror_header(mirror).revision);
}

static void on_changed(void *arg)
{
	(void)arg;
	changes++;
	look();
}

static void on_state(void *arg)
{
	(void)arg;
	states++;
}

static void on_replaced(void *arg)
{
	(void)arg;
	replacements++;
}

static const struct mirror_hooks hooks = { on_changed, on_state, on_replaced };

static int setup(void **state)
{
	static const struct store_config config = { .kind = "memory" };

	(void)state;
	loop = loop_new();
	assert_int_equal(kv_open(loop, &config, &kv, NULL), 0);
	other = memory_share(kv);
	changes = states = replacements = 0;
	was_torn = false;
	must_put(other, "/p/first", "1");
	must_put(other, "/q/not", "ours");
	mirror = mirror_new(kv, "/p/", &hooks, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mirror = mirror_free(mirror);
	kv = kv_close(kv);
	other = kv_close(other);
	loop = loop_end(loop);
	return 0;
}

static void wait_up(void)
{
	turn_until(loop, mirror_is_up(mirror, NULL));
}

static void wait_revision(int64_t revision)
{
	turn_until(loop, mirror_header(mirror).revision >= revision);
}

// "put /p/a=1@5 delete /p/b@7 ...", from this number on. Caller frees.
static char *changes_from(uint64_t number)
{
	struct strbuf text = STRBUF_INIT(SIZE_MAX);
	const struct change *change;

	assert_false(mirror_has_dropped(mirror, number));
	for (; (change = mirror_change(mirror, number)); number++)
		strbuf_printf(&text, change->is_delete ? "delete %s%s@%lld " : "put %s=%s@%lld ",
			      change->pair->bytes, change->is_delete ? "" : value_of(change->pair),
			      (long long)change->pair->mod_revision);
	return strbuf_take(&text);
}

static void expect(uint64_t number, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void expect(uint64_t number, const char *format, ...)
{
	_cleanup_free_ char *got = changes_from(number);
	char wanted[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(wanted, sizeof(wanted), format, args);
	va_end(args);
	assert_string_equal(got, wanted);
}

static void write_both(const char *value)
{
	struct kv_write writes[] = { { .key = "/p/both/a", .value = value, .value_len = 1 },
				     { .key = "/p/both/b", .value = value, .value_len = 1 } };
	struct kv_txn txn = { .writes = writes, .write_count = 2 };
	struct kv_answer answer;

	do_txn(other, &txn, &answer);
	assert_true(answer.succeeded);
	kv_answer_free(&answer);
	wait_revision(answer.header.revision);
}

// ---- the ordinary course ----

static void test_begin(void **state)
{
	const struct err *why;
	uint64_t number;

	(void)state;
	assert_null(mirror_pairs(mirror));
	assert_false(mirror_is_up(mirror, &why));
	assert_non_null(strstr(why->msg, "not read its store yet"));
	wait_up();
	assert_int_equal(pair_set_count(mirror_pairs(mirror)), 1);
	assert_int_equal(mirror_header(mirror).revision, memory_revision(kv));
	assert_true(mirror_header(mirror).cluster_id == memory_cluster_id(kv));
	// What was before it began, it does not know.
	assert_false(mirror_find(mirror, memory_revision(kv), &number));
	assert_true(mirror_find(mirror, memory_revision(kv) + 1, &number));
	assert_null(mirror_change(mirror, number));
}

static void test_changes(void **state)
{
	int64_t a, b, gone;
	uint64_t number, at;

	(void)state;
	wait_up();
	assert_true(mirror_find(mirror, INT64_MAX, &number));
	a = must_put(other, "/p/a", "1");
	must_put(other, "/q/a", "not ours");
	b = must_put(other, "/p/b", "2");
	gone = must_delete(other, "/p/a");
	wait_revision(gone);
	expect(number, "put /p/a=1@%lld put /p/b=2@%lld delete /p/a@%lld ", (long long)a,
	       (long long)b, (long long)gone);
	assert_null(find("/p/a"));
	assert_string_equal(value_of(find("/p/b")), "2");
	assert_true(mirror_find(mirror, a, &at));
	assert_int_equal(at, number);
	assert_true(mirror_find(mirror, a + 1, &at)); // of a key that is not here
	assert_int_equal(at, number + 1);
	assert_true(mirror_find(mirror, gone, &at));
	assert_int_equal(at, number + 2);
	assert_true(mirror_find(mirror, gone + 1, &at));
	assert_int_equal(at, number + 3);
}

// Who asks within a revision would get half of it as if it were the whole, and go on behind it.
static void test_a_revision_is_seen_whole(void **state)
{
	(void)state;
	wait_up();
	for (char value[] = "1"; value[0] <= '5'; value[0]++)
		write_both(value);
	assert_false(was_torn);
	assert_string_equal(value_of(find("/p/both/b")), "5");
}

static void test_oldest_are_dropped(void **state)
{
	struct kv_write writes[KV_TXN_MAX];
	struct kv_txn txn = { .writes = writes, .write_count = KV_TXN_MAX };
	char keys[KV_TXN_MAX][16];
	uint64_t first, number;
	int64_t first_revision = 0;
	struct kv_answer answer;

	(void)state;
	wait_up();
	assert_true(mirror_find(mirror, INT64_MAX, &first));
	for (size_t i = 0; i < KV_TXN_MAX; i++) {
		assert_int_equal(text_format(keys[i], sizeof(keys[i]), "/p/%zu", i), 0);
		writes[i] = (struct kv_write){ .key = keys[i], .value = "v", .value_len = 1 };
	}
	for (size_t i = 0; i < MIRROR_CHANGES_MAX / KV_TXN_MAX; i++) {
		do_txn(other, &txn, &answer);
		first_revision = first_revision ? first_revision : answer.header.revision;
		kv_answer_free(&answer);
	}
	wait_revision(answer.header.revision);
	assert_false(mirror_has_dropped(mirror, first));
	assert_true(mirror_find(mirror, first_revision, &number));
	assert_int_equal(number, first);
	wait_revision(must_put(other, "/p/0", "one more"));
	assert_true(mirror_has_dropped(mirror, first));
	assert_false(mirror_has_dropped(mirror, first + 1));
	// The first revision is not whole any more.
	assert_false(mirror_find(mirror, first_revision, &number));
	assert_true(mirror_find(mirror, first_revision + 1, &number));
	assert_int_equal(number, first + KV_TXN_MAX);
}

static void test_keys_that_are_too_long(void **state)
{
	_cleanup_free_ char *key = xcalloc(1, WIRE_KEY_MAX + 2);
	uint64_t number;
	int64_t last;

	(void)state;
	wait_up();
	assert_true(mirror_find(mirror, INT64_MAX, &number));
	memset(key, 'k', WIRE_KEY_MAX + 1);
	memcpy(key, "/p/", 3);
	must_put(other, key, "v");
	must_delete(other, key); // of what nobody was told
	last = must_put(other, "/p/a", "1");
	wait_revision(last);
	expect(number, "put /p/a=1@%lld ", (long long)last);
	key[WIRE_KEY_MAX] = '\0'; // just not too long
	wait_revision(must_put(other, key, "v"));
	assert_non_null(find(key));
	key[WIRE_KEY_MAX] = 'k';
	must_put(other, key, "v");
	memory_set_reachable(kv, false);
	memory_compact(kv);
	turn_until(loop, !mirror_is_up(mirror, NULL));
	memory_set_reachable(kv, true);
	wait_up();
	assert_int_equal(pair_set_count(mirror_pairs(mirror)), 3);
}

// ---- faults ----

static void test_down_and_up(void **state)
{
	const struct err *why;
	uint64_t number;
	int64_t a;

	(void)state;
	wait_up();
	assert_true(mirror_find(mirror, INT64_MAX, &number));
	memory_set_reachable(kv, false);
	turn_until(loop, !mirror_is_up(mirror, &why));
	assert_non_null(strstr(why->msg, "not reachable"));
	a = must_put(other, "/p/a", "1");
	assert_null(find("/p/a"));
	memory_set_reachable(kv, true);
	wait_up();
	wait_revision(a);
	expect(number, "put /p/a=1@%lld ", (long long)a);
	assert_int_equal(states, 3);
	assert_int_equal(replacements, 0);
}

static void test_not_reachable_at_first(void **state)
{
	const struct err *why;

	(void)state;
	memory_set_reachable(kv, false);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 20);
	assert_false(mirror_is_up(mirror, &why));
	assert_non_null(strstr(why->msg, "not reachable"));
	memory_set_reachable(kv, true);
	wait_up();
	assert_non_null(find("/p/first"));
}

static void cut_off_and_compact(void (*meanwhile)(void))
{
	memory_set_reachable(kv, false);
	turn_until(loop, !mirror_is_up(mirror, NULL));
	meanwhile();
	memory_compact(kv);
	memory_set_reachable(kv, true);
	wait_up();
}

static int64_t put_b, put_a, put_c;

static void change_much(void)
{
	must_delete(other, "/p/first");
	must_put(other, "/p/c", "0");
	put_b = must_put(other, "/p/b", "1");
	put_a = must_put(other, "/p/a", "2");
	must_put(other, "/p/gone", "at once");
	must_delete(other, "/p/gone");
	put_c = must_put(other, "/p/c", "3");
	must_put(other, "/q/later", "not ours");
}

// A reader by number or by revision sees the last state of each key, in the store's order, and what
// was deleted.
static void test_history_is_gone(void **state)
{
	uint64_t number, at;
	int64_t before;

	(void)state;
	wait_up();
	before = must_put(other, "/p/same", "s");
	wait_revision(before);
	assert_true(mirror_find(mirror, before + 1, &number));
	cut_off_and_compact(change_much);
	expect(number, "put /p/b=1@%lld put /p/a=2@%lld put /p/c=3@%lld delete /p/first@%lld ",
	       (long long)put_b, (long long)put_a, (long long)put_c, (long long)memory_revision(kv));
	assert_true(mirror_find(mirror, before + 1, &at));
	assert_int_equal(at, number);
	assert_true(mirror_find(mirror, before, &at));
	assert_int_equal(at, number - 1);
	assert_int_equal(mirror_header(mirror).revision, memory_revision(kv));
	assert_int_equal(replacements, 0);
	must_put(other, "/p/z", "new");
	wait_revision(memory_revision(kv));
	assert_non_null(find("/p/z"));
}

static struct kv *reborn;

static void wipe(void)
{
	memory_wipe(reborn);
	must_put(other, "/p/new", "1");
}

static void test_replaced(void **state)
{
	uint64_t number;

	(void)state;
	reborn = kv;
	wait_up();
	for (int i = 0; i < 5; i++)
		must_put(other, "/p/a", "1");
	wait_revision(memory_revision(kv));
	cut_off_and_compact(wipe);
	assert_int_equal(replacements, 1);
	assert_int_equal(pair_set_count(mirror_pairs(mirror)), 1);
	assert_non_null(find("/p/new"));
	assert_true(mirror_header(mirror).cluster_id == memory_cluster_id(kv));
	assert_int_equal(mirror_header(mirror).revision, memory_revision(kv));
	assert_false(mirror_find(mirror, memory_revision(kv), &number));
	assert_true(mirror_find(mirror, memory_revision(kv) + 1, &number));
	wait_revision(must_put(other, "/p/more", "2"));
	assert_non_null(find("/p/more"));
}

// Freed at any moment of its life.
static void test_free_early(void **state)
{
	(void)state;
	for (int turns = 0; turns < 12; turns++) {
		for (int i = 0; i < turns; i++)
			loop_turn(loop, 0);
		mirror = mirror_free(mirror);
		mirror = mirror_new(kv, "/p/", &hooks, NULL);
	}
	wait_up();
	memory_put(kv, "/p/a", "1", 1, 0);
	loop_turn(loop, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_begin),
		TEST(test_changes),
		TEST(test_a_revision_is_seen_whole),
		TEST(test_oldest_are_dropped),
		TEST(test_keys_that_are_too_long),
		TEST(test_down_and_up),
		TEST(test_not_reachable_at_first),
		TEST(test_history_is_gone),
		TEST(test_replaced),
		TEST(test_free_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
