// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading keys of etcd.
//
// DOC: pages
//
// etcd puts the whole of an answer together before it sends the first byte of it, for 60,000 leases most of a second. A prefix is therefore
// read in up to four pages, all at the revision of the first one: while etcd makes the next page, the caller works on the last. Each is twice
// as large as the one before, which takes the caller about as long as etcd takes for the larger one. There are never more, whatever the
// number of keys, for each is a request; few keys come in one, and the last page is no small one.
#include "store/etcd3_range.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>

#define FIRST_PAGE_KEYS 5000
#define PAGES_MAX 4

struct range {
	struct etcd3 *etcd;
	kv_pair_fn *each;
	kv_range_done_fn *done;
	void *arg;
	char *key;
	bool is_prefix;
	unsigned int page;	 // from 1 on
	struct kv_header header; // of the first page
	struct strbuf last;	 // raw key of this page; empty: none came
	struct err element_err;	 // of an element that made no sense
};

static void range_free(void *arg)
{
	struct range *range = arg;

	free(range->key);
	strbuf_free(&range->last);
	free(range);
}

static int range_element(void *arg, const char *text, size_t len)
{
	struct range *range = arg;
	_cleanup_etcd3_pair_ struct etcd3_pair pair = { 0 };
	int r = etcd3_read_pair(text, len, &pair, &range->element_err);

	if (r < 0)
		return r;
	strbuf_reset(&range->last);
	// It fits: it is a part of the element.
	(void)strbuf_add(&range->last, pair.raw_key, pair.pair.raw_key_len);
	range->each(range->arg, &pair.pair);
	return 0;
}

static void page_start(struct range *range, const struct etcd3_page *page);

// 1: another page was asked for. 0: that was all.
static int go_on(struct range *range, const struct etcd3_answer *answer, struct err *e)
{
	int64_t count = 0, keys = (int64_t)FIRST_PAGE_KEYS << (range->page - 1);
	struct etcd3_page page = { .revision = range->header.revision,
				   .after = strbuf_text(&range->last),
				   .after_len = range->last.len };
	struct range *next;
	int r;

	if (!range->is_prefix || !etcd3_read_bool(answer->json, "more"))
		return 0;
	if (range->page == PAGES_MAX || range->last.len == 0)
		return err_set(e, -EPROTO, "etcd: more keys than were asked for");
	r = etcd3_read_int(answer->json, "count", &count, e);
	if (r < 0)
		return r;
	// The count is of all that were in the range of this page.
	if (range->page + 1 < PAGES_MAX && count - keys > 3 * keys)
		page.limit = 2 * keys;
	next = xnew(struct range);
	*next = *range;
	next->key = TAKE_PTR(range->key);
	next->last = STRBUF_INIT(ETCD3_ELEMENT_MAX);
	next->page = page.limit > 0 ? range->page + 1 : PAGES_MAX;
	page_start(next, &page);
	return 1;
}

static void page_answered(void *arg, const struct etcd3_answer *answer)
{
	struct range *range = arg;
	struct etcd3_header header = { 0 };
	struct err e;
	int r = answer->r;

	if (r == 0)
		r = etcd3_read_header(answer->json, &header, &e);
	else
		e = range->element_err.code < 0 ? range->element_err : *answer->err;
	if (r == 0 && range->page == 1)
		range->header = header.kv;
	if (r == 0)
		r = go_on(range, answer, &e);
	if (r <= 0)
		range->done(range->arg, r, r == 0 ? &range->header : NULL, r < 0 ? &e : NULL);
}

static void page_start(struct range *range, const struct etcd3_page *page)
{
	struct etcd3_request request = {
		.path = "/kv/range",
		.body = range->is_prefix ? etcd3_page_body(range->key, page)
					 : etcd3_key_body(range->key),
		.idempotent = true,
		.is_long = range->is_prefix,
		.array = "kvs",
		.element = range_element,
		.done = page_answered,
		.arg = range,
		.free_arg = range_free,
	};

	etcd3_call_start(range->etcd, &request);
}

void etcd3_range(struct etcd3 *etcd, const char *key, bool is_prefix, kv_pair_fn *each,
		 kv_range_done_fn *done, void *arg)
{
	static const struct etcd3_page first = { .limit = FIRST_PAGE_KEYS };
	struct range *range = xnew(struct range);

	*range = (struct range){
		.etcd = etcd,
		.each = each,
		.done = done,
		.arg = arg,
		.key = xstrdup(key),
		.is_prefix = is_prefix,
		.page = 1,
		.last = STRBUF_INIT(ETCD3_ELEMENT_MAX),
	};
	page_start(range, &first);
}
