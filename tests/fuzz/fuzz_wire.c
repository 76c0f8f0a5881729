// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what goes between a controller and its clients: pairs, headers, errors, transactions,
// and the cutting of a stream into lines, which must not depend on how the bytes arrive.
#include "fuzz.h"

#include "core/mem.h"
#include "store/remote_internal.h"
#include "store/wire.h"

#include <errno.h>

// What was read can be written, and is then read as the same.
static void try_pair(const json_t *json)
{
	_cleanup_wire_pair_ struct wire_pair pair = { 0 };
	_cleanup_wire_pair_ struct wire_pair again = { 0 };
	_cleanup_json_ json_t *rewritten = NULL;
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int r = wire_read_pair(json, &pair, &e);

	must(r == 0 || (r == -EPROTO && e.code == r && e.msg[0] != '\0' && !pair.raw_key));
	if (r < 0)
		return;
	must(pair.pair.raw_key_len > 0 && pair.pair.mod_revision > 0);
	must(strlen(pair.pair.key) <= 4 * KV_KEY_SHOWN_MAX + 8);
	text = wire_pair_text(&pair.pair);
	must(json_read(text, strlen(text), SIZE_MAX, &rewritten, NULL) == 0);
	must(wire_read_pair(rewritten, &again, NULL) == 0);
	must(again.pair.raw_key_len == pair.pair.raw_key_len &&
	     memcmp(again.raw_key, pair.raw_key, pair.pair.raw_key_len) == 0);
	must(again.pair.value_len == pair.pair.value_len && !again.value == !pair.value);
	must(!pair.value || memcmp(again.value, pair.value, pair.pair.value_len) == 0);
	must(again.pair.session == pair.pair.session &&
	     again.pair.mod_revision == pair.pair.mod_revision);
}

static void try_txn(const json_t *json)
{
	struct wire_txn txn, again;
	_cleanup_json_ json_t *rewritten = NULL;
	struct err e = { 0 };
	int r = wire_read_txn(json, &txn, &e);

	must(r == 0 || (r == -EINVAL && e.code == r && txn.text_count == 0));
	if (r < 0)
		return;
	must(txn.txn.compare_count <= KV_TXN_MAX && txn.txn.write_count <= KV_TXN_MAX);
	for (size_t i = 0; i < txn.txn.compare_count; i++)
		must(txn.compares[i].key_len > 0);
	for (size_t i = 0; i < txn.txn.write_count; i++)
		must(txn.writes[i].key_len > 0);
	rewritten = wire_txn(&txn.txn);
	must(wire_read_txn(rewritten, &again, NULL) == 0);
	must(again.text_count == txn.text_count);
	wire_txn_free(&again);
	wire_txn_free(&txn);
}

static int got_line(void *arg, const json_t *line)
{
	struct strbuf *out = arg;
	_cleanup_free_ char *text = json_text(line);
	struct kv_header header;

	must(json_is_object(line));
	must(strbuf_puts(out, text) == 0 && strbuf_putc(out, '\n') == 0);
	try_pair(json_object_get(line, "put"));
	try_pair(json_object_get(line, "pair"));
	try_pair(line);
	try_txn(line);
	if (wire_read_header(json_object_get(line, "header"), &header, NULL) == 0)
		must(header.revision >= 0 && header.revision <= WIRE_REVISION_MAX);
	must(wire_read_error(line, NULL) < 0);
	return json_object_get(line, "lost") ? -ESTALE : 0;
}

static int cut(const uint8_t *data, size_t size, size_t step, struct strbuf *ret)
{
	struct remote_lines lines;
	int r = 0;

	remote_lines_init(&lines, got_line, ret);
	for (size_t at = 0; r == 0 && at < size; at += step) {
		size_t len = step < size - at ? step : size - at;
		_cleanup_free_ char *piece = xmemdup(data + at, len); // so that a read beyond is seen

		r = remote_lines_feed(&lines, piece, len);
	}
	remote_lines_free(&lines);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strbuf whole = STRBUF_INIT(SIZE_MAX);
	int r;

	if (size > 8192)
		return 0;
	r = cut(data, size, size + 1, &whole);
	must(r == 0 || r == -EPROTO || r == -ESTALE);
	for (size_t step = 1; step < 8; step += 3) {
		struct strbuf pieces = STRBUF_INIT(SIZE_MAX);

		must(cut(data, size, step, &pieces) == r);
		must(strcmp(strbuf_text(&whole), strbuf_text(&pieces)) == 0);
		strbuf_free(&pieces);
	}
	strbuf_free(&whole);
	return 0;
}
