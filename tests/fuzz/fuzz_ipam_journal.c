// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the journal of addresses. A line's sum would keep the fuzzer out, so each line of the input gets the right one.
#include "fuzz.h"

#include "core/hash.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "ipam/journal.h"

static void check_content(struct journal_content *content)
{
	// No address is had twice.
	for (const struct journal_use *a = content->uses; a; a = a->next) {
		must(*a->name && *a->cid && *a->ifname);
		must(ip_is_set(&a->ips[FAMILY_V4]) || ip_is_set(&a->ips[FAMILY_V6]));
		for (const struct journal_use *b = a->next; b; b = b->next)
			for (int i = 0; i < FAMILY_COUNT; i++)
				must(!ip_is_set(&a->ips[i]) || !ip_equal(&a->ips[i], &b->ips[i]));
		for (const struct journal_free *b = content->frees; b; b = b->next)
			must(!ip_equal(&a->ips[family_of(&b->ip)], &b->ip));
	}
	must(content->bad_lines <= content->lines);
	journal_content_free(content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(1 << 20);
	const char *at = (const char *)data, *end = at + size;
	struct journal_content content;

	journal_parse(at, size, &content);
	check_content(&content);
	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		size_t len = (size_t)((stop ? stop : end) - at);

		(void)strbuf_printf(&text, "%08x ", (unsigned int)(hash_stable(at, len) >> 32));
		(void)strbuf_add(&text, at, len);
		(void)strbuf_putc(&text, '\n');
		at += len + (stop != NULL);
	}
	journal_parse(strbuf_text(&text), text.len, &content);
	check_content(&content);
	return 0;
}
