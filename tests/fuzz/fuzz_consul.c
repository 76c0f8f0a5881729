// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what reads Consul's answers: pairs, results, refusals, sessions, errors.
#include "fuzz.h"

#include "core/mem.h"
#include "core/text.h"
#include "store/consul_json.h"

#include <errno.h>

// A key is always text that begins with a slash and can be shown, whatever it was.
static void must_be_fit(const struct consul_pair *pair)
{
	const char *key = pair->pair.key;
	size_t len = strlen(key);
	size_t at = 0;

	must(key[0] == '/' && len > 1 && len <= 4 * KV_KEY_SHOWN_MAX + 8);
	while (at < len) {
		size_t step = text_utf8_len(key + at, len - at);

		must(step > 0 && (unsigned char)key[at] >= ' ');
		at += step;
	}
	must(consul_key_check(pair->raw_key, pair->pair.raw_key_len, NULL) == 0);
	must(pair->session[0] == '\0' || consul_id_is_good(pair->session, strlen(pair->session)));
	must(pair->pair.mod_revision > 0 && pair->pair.create_revision >= 0);
}

static void try_pair(const char *text, size_t size, bool is_result)
{
	_cleanup_consul_pair_ struct consul_pair pair = { 0 };
	struct err e = { 0 };
	int r = consul_read_pair(text, size, is_result, &pair, &e);

	must(r == 0 || (r == -EPROTO && e.code == r && !pair.raw_key));
	if (r < 0)
		return;
	must_be_fit(&pair);
	r = consul_decode_value(&pair, &e);
	must(r == -EPROTO || (r == 0 && (pair.value || pair.pair.value_len > KV_VALUE_MAX)));
}

static void try_refusals(const char *text, size_t size)
{
	struct consul_refusal refusals[4];
	size_t count = 0;
	size_t i;
	int r = consul_read_refusals(text, size, refusals, 4, &count, NULL);

	must(r == -EPROTO || (r == 0 && count > 0 && count <= 4));
	for (i = 0; i < count; i++) {
		must(refusals[i].operation >= -1 && refusals[i].operation < CONSUL_OPERATIONS_MAX);
		must(refusals[i].session[0] == '\0' ||
		     consul_id_is_good(refusals[i].session, strlen(refusals[i].session)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL;
	char id[CONSUL_ID_LEN + 1];
	int64_t ttl_s = -1;
	struct err e = { 0 };
	int r;

	if (size > 4096)
		return 0;
	text = text_of(data, size);
	try_pair(text, size, false);
	try_pair(text, size, true);
	try_refusals(text, size);
	r = consul_read_created(text, size, id, &e);
	must(r == -EPROTO || (r == 0 && consul_id_is_good(id, strlen(id))));
	r = consul_read_ttl(text, size, &ttl_s, &e);
	must(r == -EPROTO || r == -ENOENT || (r == 0 && ttl_s >= 0 && ttl_s <= CONSUL_TTL_MAX_S));
	r = consul_nearest_ttl(text, 2, &ttl_s);
	must(r == -EPROTO || (r == 0 && ttl_s >= 0 && ttl_s <= CONSUL_TTL_MAX_S));
	(void)consul_read_error(500, text, size, &e);
	must(e.code < 0 && e.msg[0] != '\0');
	return 0;
}
