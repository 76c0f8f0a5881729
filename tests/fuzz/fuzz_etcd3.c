// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what reads etcd's answers: pairs, events, responses, headers, errors, and the
// cutting of a stream into messages, which must not depend on how the bytes arrive.
#include "fuzz.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "store/etcd3_json.h"
#include "store/etcd3_lines.h"

#include <errno.h>

// A key is always text that can be shown, whatever it was.
static void must_be_fit(const struct kv_pair *pair)
{
	size_t len = strlen(pair->key);
	size_t at = 0;

	must(len <= 4 * KV_KEY_SHOWN_MAX + 8);
	while (at < len) {
		size_t step = text_utf8_len(pair->key + at, len - at);

		must(step > 0 && (unsigned char)pair->key[at] >= ' ');
		at += step;
	}
	must(pair->value || pair->value_len > KV_VALUE_MAX);
}

static void got_pair(void *arg, const struct kv_pair *pair)
{
	(void)arg;
	must_be_fit(pair);
}

static void try_decoders(const char *text, size_t size)
{
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	_cleanup_etcd3_pair_ struct etcd3_pair event = { 0 };
	_cleanup_json_ json_t *answer = NULL;
	struct etcd3_header header;
	bool is_delete;
	struct err e = { 0 };
	int r;

	r = etcd3_read_pair(text, size, &pair, &e);
	must(r == 0 || (r == -EPROTO && e.code == r && !pair.raw_key));
	if (r == 0)
		must_be_fit(&pair.pair);
	r = etcd3_read_event(text, size, &is_delete, &event, &e);
	must(r == 0 || (r == -EPROTO && !event.raw_key));
	if (r == 0)
		must_be_fit(&event.pair);
	r = etcd3_read_response(text, size, got_pair, NULL, &e);
	must(r == 0 || r == -EPROTO);
	(void)etcd3_read_error(503, text, size, &e);
	must(e.code < 0 && e.msg[0] != '\0');
	if (json_read(text, size, ETCD3_ANSWER_MAX, &answer, NULL) == 0) {
		r = etcd3_read_header(answer, &header, &e);
		must(r == 0 || r == -EPROTO);
	}
}

static int cut_element(void *arg, const char *text, size_t len)
{
	struct strbuf *out = arg;

	must(len >= 2 && text[0] == '{');
	must(strbuf_add(out, text, len) == 0 && strbuf_putc(out, ';') == 0);
	return 0;
}

static int cut_message(void *arg, bool is_error, const char *text, size_t len)
{
	struct strbuf *out = arg;

	must(strbuf_putc(out, is_error ? 'E' : 'R') == 0 && strbuf_add(out, text, len) == 0 &&
	     strbuf_putc(out, '\n') == 0);
	return 0;
}

static int cut(const uint8_t *data, size_t size, size_t step, struct strbuf *ret)
{
	struct etcd3_lines *lines = etcd3_lines_new(cut_element, cut_message, ret);
	size_t at;
	int r = 0;

	for (at = 0; r == 0 && at < size; at += step) {
		size_t len = step < size - at ? step : size - at;
		_cleanup_free_ char *piece = xmemdup(data + at, len);

		r = etcd3_lines_feed(lines, piece, len, NULL);
	}
	etcd3_lines_free(lines);
	return r;
}

static void try_lines(const uint8_t *data, size_t size)
{
	struct strbuf whole = STRBUF_INIT(SIZE_MAX);
	int r = cut(data, size, size + 1, &whole);
	size_t step;

	must(r == 0 || r == -EPROTO);
	for (step = 1; step < 8; step += 3) {
		struct strbuf pieces = STRBUF_INIT(SIZE_MAX);

		must(cut(data, size, step, &pieces) == r);
		must(strcmp(strbuf_text(&whole), strbuf_text(&pieces)) == 0);
		strbuf_free(&pieces);
	}
	strbuf_free(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = NULL;

	if (size > 4096)
		return 0;
	text = text_of(data, size);
	try_decoders(text, size);
	try_lines(data, size);
	return 0;
}
