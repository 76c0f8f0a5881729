// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: writing a key of etcd's v2 API, if what is there is as expected.
//
// DOC: life of a transaction
//
//   WRITE, with prevExist or prevIndex --done--> done, succeeded
//                                      --the compare failed--> READ --> done, not succeeded
//
// A put without a compare is a change of the key that is there, or the making of one that is not, by turns
// until one of them fits: etcd's own way, "set", would make the key anew, with another created index.
//
// What is read may be newer than what the compare saw, which is the better for the caller. One without a
// write is a READ that is compared here.
#include "store/etcd2_internal.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define FORM_MAX (16 * 1024 * 1024)
#define ROUNDS_MAX 8

struct txn {
	struct etcd2 *etcd;
	kv_pair_fn *each;
	kv_txn_done_fn *done;
	void *arg;
	char *key;
	bool has_compare;
	enum kv_compare_kind kind;
	int64_t index; // to compare with
	bool is_write;
	bool is_delete;
	bool creates; // the key was not there; of a write without a compare
	unsigned int rounds;
	char *content; // of a put
	int64_t session;
};

static void txn_free(void *arg)
{
	struct txn *txn = arg;

	free(txn->key);
	free(txn->content);
	free(txn);
}

static void tell(struct txn *txn, int r, bool succeeded, const struct kv_header *header,
		 const struct err *e)
{
	txn->done(txn->arg, r, succeeded, r == 0 ? header : NULL, r < 0 ? e : NULL);
}

// ---- reading ----

struct read {
	struct txn *txn;
	bool found;
	int64_t modified_index;
};

static void read_free(void *arg)
{
	struct read *read = arg;

	txn_free(read->txn);
	free(read);
}

static int read_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct read *read = arg;
	struct txn *txn = read->txn;
	_cleanup_free_ char *shown = NULL;
	struct kv_pair pair;

	(void)so_far;
	// Of a directory its nodes come.
	if (node->is_dir || node->is_previous || node->key_len != strlen(txn->key) ||
	    memcmp(node->key, txn->key, node->key_len) != 0)
		return 0;
	read->found = true;
	read->modified_index = node->modified_index;
	etcd2_pair_of(txn->etcd, node, &pair, &shown);
	if (txn->is_write || txn->kind == KV_ABSENT || node->modified_index != txn->index)
		txn->each(txn->arg, &pair);
	return 0;
}

static void read_done(void *arg, const struct etcd2_answer *answer)
{
	struct read *read = arg;
	struct txn *txn = read->txn;
	bool holds = false;

	if (!txn->is_write && !txn->has_compare)
		holds = true;
	else if (!txn->is_write && txn->kind == KV_ABSENT)
		holds = !read->found;
	else if (!txn->is_write && txn->kind == KV_PRESENT)
		holds = read->found;
	else if (!txn->is_write)
		holds = read->found && read->modified_index == txn->index;
	tell(txn, answer->r, holds, &answer->head.kv, answer->err);
}

static void read_start(struct txn *txn)
{
	struct read *read = xnew(struct read);
	struct etcd2_request request = {
		.method = "GET",
		.key = xstrdup(txn->key),
		.query = xstrdup("quorum=true"),
		.idempotent = true,
		.node = read_node,
		.done = read_done,
		.arg = read,
		.free_arg = read_free,
	};

	read->txn = txn;
	etcd2_call_start(txn->etcd, &request);
}

// ---- writing ----

// What is freed with a call; the transaction itself may live on in a read.
struct write {
	struct txn *txn; // NULL: handed on
	struct etcd2_node node;
	bool written;
};

static void write_free(void *arg)
{
	struct write *write = arg;

	if (write->txn)
		txn_free(write->txn);
	free(write);
}

static void write_start(struct txn *txn);

static int write_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct write *write = arg;

	(void)so_far;
	if (node->is_previous)
		return 0;
	write->node = (struct etcd2_node){ .modified_index = node->modified_index,
					   .created_index = node->created_index,
					   .has_ttl = node->has_ttl };
	write->written = true;
	return 0;
}

static void not_written(struct txn *txn)
{
	if (!txn->is_delete)
		etcd2_session_tied(txn->etcd, txn->session, txn->key, NULL);
}

static void write_done(void *arg, const struct etcd2_answer *answer)
{
	struct write *write = arg;
	struct txn *txn = write->txn;
	bool refused = answer->r == 0 && answer->reply->error_code != 0;
	struct kv_header header = answer->head.kv;
	struct err e;

	if (answer->r == 0 && !refused && write->written) {
		write->node.key = txn->key;
		header.revision = write->node.modified_index;
		if (txn->is_delete)
			etcd2_session_gone(txn->etcd, txn->key, write->node.created_index);
		else
			etcd2_session_tied(txn->etcd, txn->session, txn->key, &write->node);
		tell(txn, 0, true, &header, NULL);
		return;
	}
	if (refused && txn->has_compare) {
		not_written(txn);
		write->txn = NULL;
		read_start(txn);
	} else if (refused && txn->is_delete) {
		// What is not there is deleted.
		tell(txn, 0, true, &header, NULL);
	} else if (refused && answer->reply->error_code != ETCD2_NOT_A_FILE &&
		   txn->rounds++ < ROUNDS_MAX) {
		txn->creates = !txn->creates;
		write->txn = NULL;
		write_start(txn);
	} else if (refused) {
		not_written(txn);
		err_set(&e, -EINVAL, "%s: %s", txn->key, answer->reply->message);
		tell(txn, -EINVAL, false, NULL, &e);
	} else {
		// If it may have been done, what the key is tied to is known when it is read.
		if (answer->r != -EINPROGRESS)
			not_written(txn);
		tell(txn, answer->r, false, NULL, answer->err);
	}
}

static void add_compare(const struct txn *txn, struct strbuf *form)
{
	if (!txn->has_compare) {
		if (!txn->is_delete)
			strbuf_puts(form, txn->creates ? "prevExist=false" : "prevExist=true");
		return;
	}
	switch (txn->kind) {
	case KV_ABSENT:
		strbuf_puts(form, "prevExist=false");
		break;
	case KV_PRESENT:
		strbuf_puts(form, "prevExist=true");
		break;
	case KV_MOD_REVISION:
		// 0 would be no compare at all.
		strbuf_printf(form, "prevIndex=%lld",
			      (long long)(txn->index > 0 ? txn->index : INT64_MAX));
		break;
	}
}

static void write_start(struct txn *txn)
{
	struct write *write = xnew(struct write);
	struct strbuf form = STRBUF_INIT(FORM_MAX);
	struct etcd2_request request = {
		.method = txn->is_delete ? "DELETE" : "PUT",
		.key = xstrdup(txn->key),
		.node = write_node,
		.done = write_done,
		.arg = write,
		.free_arg = write_free,
	};

	write->txn = txn;
	add_compare(txn, &form);
	if (txn->is_delete) {
		request.query = strbuf_take(&form);
		// libcurl resends what has no body when a kept connection turns out to be dead; a
		// DELETE's is not read.
		request.form = xstrdup("\n");
	} else {
		strbuf_puts(&form, txn->content);
		request.form = strbuf_take(&form);
	}
	etcd2_call_start(txn->etcd, &request);
}

static int check_value(const struct kv_write *write, struct err *e)
{
	const char *value = write->value;
	size_t i = 0;

	while (i < write->value_len) {
		size_t step = text_utf8_len(value + i, write->value_len - i);

		if (step == 0)
			return err_set(e, -EINVAL, "etcd v2 has no value that is not text");
		i += step;
	}
	return 0;
}

// What is written, as the rest of a form.
static int set_content(struct txn *txn, const struct kv_write *write, struct err *e)
{
	struct strbuf content = STRBUF_INIT(FORM_MAX - 64);
	int64_t ttl_s = 0;
	int r = check_value(write, e);

	if (r < 0)
		return r;
	strbuf_puts(&content, "&value=");
	etcd2_encode(&content, write->value, write->value_len, false);
	if (write->session != 0) {
		r = etcd2_session_tie(txn->etcd, write->session, txn->key, write->value,
				      write->value_len, &ttl_s, e);
		strbuf_printf(&content, "&ttl=%lld", (long long)ttl_s);
	}
	if (r == 0 && content.overflow)
		r = err_set(e, -E2BIG, "a value of %zu bytes", write->value_len);
	txn->content = strbuf_take(&content);
	return r;
}

// ---- start ----

static int check_txn(const struct kv_txn *txn, const char **ret_key, size_t *ret_len, struct err *e)
{
	const struct kv_compare *compare = txn->compare_count ? txn->compares : NULL;
	const struct kv_write *write = txn->write_count ? txn->writes : NULL;
	size_t len;

	if (!compare && !write)
		return err_set(e, -EINVAL, "a transaction of nothing");
	*ret_key = write ? write->key : compare->key;
	*ret_len = write ? kv_key_len(write->key, write->key_len)
			 : kv_key_len(compare->key, compare->key_len);
	if (compare && write) {
		len = kv_key_len(compare->key, compare->key_len);
		if (len != *ret_len || memcmp(compare->key, *ret_key, len) != 0)
			return err_set(e, -EINVAL, "etcd v2 cannot compare one key and write another");
	}
	return etcd2_key_check(*ret_key, *ret_len, e);
}

static void refuse(struct txn *txn, int r, const struct err *e)
{
	struct write *write = xnew(struct write);
	struct etcd2_request request = { .done = write_done, .arg = write, .free_arg = write_free };

	write->txn = txn;
	txn->is_delete = true; // it ties no key
	etcd2_call_end_soon(txn->etcd, &request, r, e);
}

void etcd2_txn(struct etcd2 *etcd, const struct kv_txn *asked, kv_pair_fn *each,
	       kv_txn_done_fn *done, void *arg)
{
	struct txn *txn = xnew(struct txn);
	const struct kv_write *write = asked->write_count ? &asked->writes[0] : NULL;
	const char *key = "";
	size_t len = 0;
	struct err e;
	int r = check_txn(asked, &key, &len, &e);

	txn->etcd = etcd;
	txn->each = each;
	txn->done = done;
	txn->arg = arg;
	if (r < 0) {
		refuse(txn, r, &e);
		return;
	}
	txn->key = xstrndup(key, len);
	if (asked->compare_count) {
		txn->has_compare = true;
		txn->kind = asked->compares[0].kind;
		txn->index = etcd2_session_index(etcd, txn->key, asked->compares[0].mod_revision);
	}
	// A DELETE does not know prevExist, and where the key is absent there is nothing to do.
	if (!write || (!write->value && txn->has_compare && txn->kind == KV_ABSENT)) {
		read_start(txn);
		return;
	}
	txn->is_write = true;
	txn->is_delete = !write->value;
	txn->session = write->session;
	if (write->value) {
		r = set_content(txn, write, &e);
		if (r < 0) {
			refuse(txn, r, &e);
			return;
		}
	}
	write_start(txn);
}
