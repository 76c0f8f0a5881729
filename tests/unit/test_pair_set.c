// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the set of pairs, against a sorted array that does the same.
#include "unit.h"

#include "controller/pair_set.h"
#include "core/mem.h"

#include <string.h>

#define KEYS_MAX 700 // more than ten leaves
#define ROUNDS 20000
#define VIEWS 64

// ---- the model ----

struct model {
	size_t count;
	struct {
		char key[8];
		size_t len;
		int64_t revision;
	} items[KEYS_MAX];
};

static uint32_t seed;

static uint32_t random_number(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

// Bytes from both ends of what a byte can be, and keys of which one begins with another.
static size_t random_key(char ret[static 8])
{
	static const char bytes[] = { '\0', '\x01', '/', 'a', '\x7f', '\x80', '\xff' };
	size_t len = 1 + random_number(5);

	for (size_t i = 0; i < len; i++)
		ret[i] = bytes[random_number(sizeof(bytes))];
	return len;
}

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

// The first that is not before the key.
static size_t model_seek(const struct model *model, const char *key, size_t len)
{
	size_t at = 0;

	while (at < model->count && compare(model->items[at].key, model->items[at].len, key, len) < 0)
		at++;
	return at;
}

static bool model_has(const struct model *model, size_t at, const char *key, size_t len)
{
	return at < model->count && compare(model->items[at].key, model->items[at].len, key, len) == 0;
}

static bool model_put(struct model *model, const char *key, size_t len, int64_t revision)
{
	size_t at = model_seek(model, key, len);

	if (!model_has(model, at, key, len)) {
		if (model->count == KEYS_MAX)
			return false;
		memmove(&model->items[at + 1], &model->items[at],
			(model->count - at) * sizeof(model->items[0]));
		model->count++;
		memcpy(model->items[at].key, key, len);
		model->items[at].len = len;
	}
	model->items[at].revision = revision;
	return true;
}

static bool model_remove(struct model *model, const char *key, size_t len)
{
	size_t at = model_seek(model, key, len);

	if (!model_has(model, at, key, len))
		return false;
	model->count--;
	memmove(&model->items[at], &model->items[at + 1],
		(model->count - at) * sizeof(model->items[0]));
	return true;
}

// ---- set and model ----

static void put(struct pair_set **set, const char *key, size_t len, int64_t revision)
{
	const struct kv_pair from = {
		.raw_key = key, .raw_key_len = len, .value = "v", .value_len = 1, .mod_revision = revision
	};
	struct pair *pair = pair_new(&from);

	pair_set_put(set, pair);
	pair_unref(pair);
}

static void must_equal_from(const struct pair_set *set, struct pair_position position,
			    const struct model *model, size_t at)
{
	const struct pair *pair;

	for (; (pair = pair_set_next(set, &position)); at++) {
		assert_true(at < model->count);
		assert_int_equal(pair->key_len, model->items[at].len);
		assert_memory_equal(pair->bytes, model->items[at].key, pair->key_len);
		assert_int_equal(pair->mod_revision, model->items[at].revision);
	}
	assert_int_equal(at, model->count);
	assert_null(pair_set_next(set, &position));
}

static void must_equal(const struct pair_set *set, const struct model *model)
{
	assert_int_equal(pair_set_count(set), model->count);
	must_equal_from(set, (struct pair_position){ 0 }, model, 0);
}

struct view {
	struct pair_set *set;
	struct model model;
};

// Grows while `puts` of 8 steps put something, shrinks otherwise.
static void random_step(struct pair_set **set, struct model *model, uint32_t puts, int64_t revision)
{
	char key[8];
	size_t len = random_key(key);
	size_t at;

	if (random_number(8) < puts) {
		if (model_put(model, key, len, revision))
			put(set, key, len, revision);
	} else {
		if (model->count > 0 && random_number(4) > 0) { // one that is there
			at = random_number((uint32_t)model->count);
			len = model->items[at].len;
			memcpy(key, model->items[at].key, len);
		}
		assert_int_equal(pair_set_remove(set, key, len), model_remove(model, key, len));
	}
	len = random_key(key);
	at = model_seek(model, key, len);
	assert_int_equal(pair_set_find(*set, key, len) != NULL, model_has(model, at, key, len));
	if (random_number(50) == 0)
		must_equal_from(*set, pair_set_seek(*set, key, len), model, at);
}

static void test_random(void **state)
{
	struct pair_set *set = pair_set_new();
	struct model *model = xnew(struct model);
	struct view *views = xnew0_array(struct view, VIEWS);
	size_t view_count = 0, most = 0;
	bool was_emptied = false;

	(void)state;
	seed = 1;
	for (int64_t i = 1; i <= ROUNDS; i++) {
		// Waves, so that leaves are filled, split and emptied again.
		random_step(&set, model, (i / 2500) % 2 == 0 ? 7 : 1, i);
		most = model->count > most ? model->count : most;
		was_emptied = was_emptied || (i > 2500 && model->count == 0);
		if (view_count < VIEWS && random_number(ROUNDS / VIEWS) == 0) {
			views[view_count].model = *model;
			views[view_count++].set = pair_set_ref(set);
		}
		if (i % 500 == 0)
			must_equal(set, model);
	}
	must_equal(set, model);
	assert_true(most == KEYS_MAX && was_emptied && view_count > VIEWS / 2);
	for (size_t i = 0; i < view_count; i++) {
		must_equal(views[i].set, &views[i].model);
		pair_set_unref(views[i].set);
	}
	pair_set_unref(set);
	free(views);
	free(model);
}

static void test_rising_and_falling_keys(void **state)
{
	struct pair_set *set = pair_set_new();
	struct model *model = xnew(struct model);

	(void)state;
	for (int i = 0; i < KEYS_MAX; i++) {
		// Upwards from the middle, and downwards.
		uint16_t number = (uint16_t)(i % 2 == 0 ? 30000 + i : 30000 - i);
		const char key[2] = { (char)(number >> 8), (char)number };

		put(&set, key, sizeof(key), i);
		assert_true(model_put(model, key, sizeof(key), i));
	}
	must_equal(set, model);
	while (model->count > 0) {
		char key[2];

		memcpy(key, model->items[model->count / 2].key, sizeof(key));
		assert_true(pair_set_remove(&set, key, sizeof(key)));
		assert_true(model_remove(model, key, sizeof(key)));
		must_equal(set, model);
	}
	pair_set_unref(set);
	free(model);
}

static void test_empty(void **state)
{
	struct pair_set *set = pair_set_new();
	struct pair_set *view = pair_set_ref(set);
	struct pair_position position = pair_set_seek(set, "a", 1);

	(void)state;
	assert_null(pair_set_next(set, &position));
	assert_null(pair_set_find(set, "a", 1));
	assert_false(pair_set_remove(&set, "a", 1));
	assert_ptr_equal(set, view);
	put(&set, "a", 1, 1);
	assert_int_equal(pair_set_count(set), 1);
	assert_int_equal(pair_set_count(view), 0);
	pair_set_unref(view);
	view = pair_set_ref(set);
	assert_true(pair_set_remove(&set, "a", 1));
	assert_int_equal(pair_set_count(set), 0);
	assert_non_null(pair_set_find(view, "a", 1));
	pair_set_unref(view);
	assert_null(pair_set_unref(set));
	assert_null(pair_set_unref(NULL));
}

static void test_text(void **state)
{
	const struct kv_pair from = { .raw_key = "\xff", .raw_key_len = 1, .value_len = 70000 };
	struct pair *pair = pair_new(&from);
	const char *text, *again;
	size_t len;

	(void)state;
	text = pair_text(pair, &len);
	assert_string_equal(text,
			    "{\"key64\":\"/w==\",\"size\":70000,\"create\":0,\"mod\":0,\"session\":0}");
	assert_int_equal(len, strlen(text));
	again = pair_text(pair, &len);
	assert_ptr_equal(again, text);
	pair_unref(pair_ref(pair));
	assert_null(pair_unref(pair));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_rising_and_falling_keys),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
