// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the operations of a store, asked of a server of flannel 0.5 to 0.7.
//
// DOC: steps of an operation
//
//   config       GET config
//   networks     GET /v1/ -> GET config of each
//   leases       GET leases, handed on as they come
//   one lease    GET leases -> the one of them -> what is to be done with it: nothing, POST, PUT, DELETE
//   a new one    POST leases
#include "store/remote_v1.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define FRESH_PART 24 // a renewal is asked for when so much of its time has gone: one 24th
#define NAMES_MAX 10000

enum op_kind { OP_RANGE, OP_TXN, OP_KEEP_ALIVE, OP_QUERY, OP_CLOSE, OP_OPEN };

struct v1_op {
	struct remote_v1 *v1;
	struct v1_op *previous;
	struct v1_op *next;
	enum op_kind kind;
	struct v1_place place;
	char *key;
	kv_pair_fn *each;
	union {
		kv_range_done_fn *range;
		kv_txn_done_fn *txn;
		kv_session_fn *session;
	} done;
	void *arg;
	struct timer *timer; // ends it from the loop
	struct err err;
	struct err refusal; // of a first question

	// networks
	char **names;
	size_t name_count, name_next;
	char *name_config; // its key

	// what is there
	bool found;
	struct v1_told told;
	int64_t mod;
	int64_t date_ms;

	// transaction
	bool has_compare;
	struct kv_compare compare;
	char *value; // NULL: delete
	int64_t session;

	int64_t ttl_s; // answer of a session's operation
};

// ---- life ----

static void op_free(struct v1_op *op)
{
	for (size_t i = 0; i < op->name_count; i++)
		free(op->names[i]);
	free(op->names);
	free(op->name_config);
	v1_told_free(&op->told);
	timer_free(op->timer);
	free(op->key);
	free(op->value);
	free(op);
}

void v1_ops_end(struct remote_v1 *v1)
{
	while (v1->ops) {
		struct v1_op *op = v1->ops;

		v1->ops = op->next;
		op_free(op);
	}
}

static struct v1_op *op_new(struct remote_v1 *v1, enum op_kind kind, kv_pair_fn *each, void *arg)
{
	struct v1_op *op = xnew(struct v1_op);

	op->v1 = v1;
	op->kind = kind;
	op->each = each;
	op->arg = arg;
	op->next = v1->ops;
	if (op->next)
		op->next->previous = op;
	v1->ops = op;
	return op;
}

static void op_end(struct v1_op *op, int r, bool succeeded, const struct err *e)
{
	struct kv_header header = v1_header(op->v1);
	int64_t session = op->session, ttl_s = op->ttl_s;

	if (op->previous)
		op->previous->next = op->next;
	else
		op->v1->ops = op->next;
	if (op->next)
		op->next->previous = op->previous;
	if (r == 0)
		v1_confirm(op->v1);
	if (op->kind == OP_RANGE)
		op->done.range(op->arg, r, r == 0 ? &header : NULL, e);
	else if (op->kind == OP_TXN)
		op->done.txn(op->arg, r, succeeded, r == 0 ? &header : NULL, e);
	else
		op->done.session(op->arg, r, r == 0 ? session : 0, r == 0 ? ttl_s : 0, e);
	op_free(op);
}

static void op_fail(struct v1_op *op, const struct err *e)
{
	struct err told = *e;

	// Nobody above knows what it would mean.
	if (told.code == -EPROTONOSUPPORT)
		told.code = -EPROTO;
	if (op->refusal.code < 0 && (told.code == -EPROTO || told.code == -EINVAL))
		told = op->refusal;
	op_end(op, told.code, false, &told);
}

static void on_timer(void *arg)
{
	struct v1_op *op = arg;

	if (op->err.code < 0)
		op_fail(op, &op->err);
	else
		op_end(op, 0, true, NULL);
}

// With op->err, if that is set.
static void op_end_soon(struct v1_op *op)
{
	op->timer = timer_new(op->v1->remote->base.loop, on_timer, op);
	timer_start(op->timer, 0);
}

static void hand_on(struct v1_op *op, const char *key, const struct v1_told *told)
{
	struct kv_pair pair;

	v1_told_pair(op->v1, key, told, &pair);
	if (op->each)
		op->each(op->arg, &pair);
}

// A call of this operation; path is taken over.
static struct v1_ask ask_of(struct v1_op *op, const char *method, char *path, v1_done_fn *done)
{
	return (struct v1_ask){ .method = method, .path = path, .done = done, .arg = op };
}

// ---- config ----

static int check_config(const struct http_response *response, struct err *e)
{
	_cleanup_json_ json_t *config = NULL;

	if (json_read(response->body, response->len, NETCONF_TEXT_MAX, &config, e) == 0 &&
	    json_is_object(config))
		return 0;
	return err_set(e, -EPROTO, "not a config of a server of flannel");
}

static void tell_config(struct v1_op *op, const char *key, const struct http_response *response)
{
	const struct v1_entry *entry = v1_note(op->v1, key, response->body, NULL);
	const struct kv_pair pair = {
		.key = key,
		.raw_key = key,
		.raw_key_len = strlen(key),
		.value = response->body,
		.value_len = response->len,
		.create_revision = entry->create,
		.mod_revision = entry->mod,
	};

	op->each(op->arg, &pair);
}

static void config_answered(void *arg, int r, const struct http_response *response, int64_t date_ms,
			    const struct err *e)
{
	struct v1_op *op = arg;

	(void)date_ms;
	if (r == 0 && check_config(response, &op->err) < 0) {
		r = -EPROTO;
		e = &op->err;
	}
	if (r < 0 && r != -ENOENT) {
		op_fail(op, e);
		return;
	}
	if (r == 0)
		tell_config(op, op->key, response);
	op_end(op, 0, false, NULL);
}

// ---- networks ----

static void next_network(struct v1_op *op);

static void network_answered(void *arg, int r, const struct http_response *response,
			     int64_t date_ms, const struct err *e)
{
	struct v1_op *op = arg;

	(void)date_ms;
	if (r < 0 && r != -ENOENT && r != -EAGAIN) {
		op_fail(op, e);
		return;
	}
	if (r == 0)
		tell_config(op, op->name_config, response);
	next_network(op);
}

static void next_network(struct v1_op *op)
{
	struct v1_place place = { .kind = V1_CONFIG };
	const char *name;
	struct v1_ask ask;

	if (op->name_next == op->name_count) {
		op_end(op, 0, false, NULL);
		return;
	}
	name = op->names[op->name_next++];
	(void)text_copy(place.network, sizeof(place.network), name);
	free(op->name_config);
	if (strcmp(name, V1_NO_NETWORK) == 0)
		op->name_config = xasprintf("%sconfig", op->v1->prefix);
	else
		op->name_config = xasprintf("%s%s/config", op->v1->prefix, name);
	ask = ask_of(op, "GET", v1_path(&place, "config"), network_answered);
	v1_call_start(op->v1, &ask);
}

static void add_name(struct v1_op *op, const char *name)
{
	op->names = xrealloc_array(op->names, op->name_count + 1, sizeof(*op->names));
	op->names[op->name_count++] = xstrdup(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_answered(void *arg, int r, const struct http_response *response, int64_t date_ms,
			   const struct err *e)
{
	struct v1_op *op = arg;
	_cleanup_json_ json_t *answer = NULL;
	const json_t *names;

	(void)date_ms;
	// Version 0.5 has no list of them.
	if (r < 0 && r != -EPROTONOSUPPORT) {
		op_fail(op, e);
		return;
	}
	if (r == 0 && json_read(response->body, response->len, JSON_TEXT_MAX, &answer, &op->err) < 0) {
		op->err.code = -EPROTO;
		op_fail(op, &op->err);
		return;
	}
	names = answer ? json_member(answer, "snapshot") : NULL;
	for (size_t i = 0; i < json_array_size(names) && i < NAMES_MAX; i++) {
		const char *name = json_string_value(json_array_get(names, i));

		if (name && v1_is_network_name(name))
			add_name(op, name);
	}
	if (op->name_count > 0)
		qsort(op->names, op->name_count, sizeof(*op->names), by_name);
	add_name(op, V1_NO_NETWORK);
	next_network(op);
}

// ---- leases ----

static int read_element(const struct v1_op *op, const char *text, size_t len, struct v1_told *ret)
{
	_cleanup_json_ json_t *object = NULL;
	struct err e;

	if (json_read(text, len, len, &object, &e) == 0 && v1_told_read(object, ret, &e) == 0)
		return 0;
	log_rl(LOG_LEVEL_WARN, "controller: pass over a lease of %s: %s",
	       endpoint_set_url(&op->v1->remote->endpoints), err_msg(&e));
	return -EPROTO;
}

static int range_element(void *arg, const char *text, size_t len)
{
	struct v1_op *op = arg;
	_cleanup_(v1_told_free) struct v1_told told = { 0 };
	_cleanup_free_ char *key = NULL;

	if (read_element(op, text, len, &told) < 0)
		return 0; // it alone
	key = v1_lease_key_of(op->v1, op->place.network, &told.subnet);
	hand_on(op, key, &told);
	return 0;
}

static int keep_cursor(struct v1_op *op, const struct http_response *rest, struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_free_ char *cursor = NULL;

	if (json_read(rest->body, rest->len, JSON_TEXT_MAX, &answer, e) < 0 ||
	    v1_read_next(answer, &cursor, e) < 0)
		return e->code = -EPROTO;
	v1_cursor_set(op->v1, op->place.network, cursor);
	return 0;
}

static void leases_answered(void *arg, int r, const struct http_response *rest, int64_t date_ms,
			    const struct err *e)
{
	struct v1_op *op = arg;
	struct err why;

	(void)date_ms;
	if (r < 0 && r != -ENOENT) {
		op_fail(op, e);
		return;
	}
	if (r == 0 && keep_cursor(op, rest, &why) < 0) {
		op_fail(op, &why);
		return;
	}
	v1_forget_unseen(op->v1, op->key);
	op_end(op, 0, false, NULL);
}

static void list(struct v1_op *op, json_element_fn *element, v1_done_fn *done)
{
	const struct v1_place all = { .kind = V1_LEASES };
	struct v1_place place = all;
	struct v1_ask ask;

	memcpy(place.network, op->place.network, sizeof(place.network));
	ask = ask_of(op, "GET", v1_path(&place, "leases"), done);
	ask.array = "snapshot";
	ask.element = element;
	v1_call_start(op->v1, &ask);
}

// ---- one lease, as it is now ----

static void found_told(struct v1_op *op);

static int find_element(void *arg, const char *text, size_t len)
{
	struct v1_op *op = arg;
	struct v1_told told = { 0 };
	struct kv_pair pair;

	if (read_element(op, text, len, &told) < 0)
		return 0;
	if (!op->found && ipnet_equal(&told.subnet, &op->place.subnet)) {
		v1_told_pair(op->v1, op->key, &told, &pair);
		op->found = true;
		op->mod = pair.mod_revision;
		op->told = told;
	} else {
		v1_told_free(&told);
	}
	return 0;
}

static void find_answered(void *arg, int r, const struct http_response *rest, int64_t date_ms,
			  const struct err *e)
{
	struct v1_op *op = arg;

	(void)rest;
	if (r < 0 && r != -ENOENT) {
		op_fail(op, e);
		return;
	}
	if (!op->found && v1_entry_find(op->v1, op->key))
		v1_forget(op->v1, op->key);
	op->date_ms = date_ms;
	found_told(op);
}

static void find(struct v1_op *op)
{
	list(op, find_element, find_answered);
}

// ---- writing ----

// Until when, by the server's clock. One that says nothing that makes sense has given what flannel gives.
static int64_t granted_s(const struct v1_told *told, int64_t date_ms)
{
	int64_t left_s = told->expires_ms == TIMESTAMP_ZERO_MS
				 ? 0
				 : (told->expires_ms - date_ms + 500) / 1000;

	return left_s > 0 && left_s <= 10LL * V1_TTL_S ? left_s : V1_TTL_S;
}

static void tie(struct v1_op *op, const char *key, const struct v1_told *told, int64_t date_ms)
{
	struct v1_session *session = v1_session_find(op->v1, op->session);
	struct v1_session *before = v1_session_of_key(op->v1, key);

	if (!session || !ip_is_set(&told->ip))
		return;
	if (before && before != session)
		v1_session_drop(op->v1, before);
	free(session->key);
	session->key = xstrdup(key);
	session->synonym = v1_synonym(key, &told->ip);
	session->ttl_s = granted_s(told, date_ms);
	session->granted_ms = loop_boottime_ms();
	session->is_doubtful = false;
}

// The lease that an answer has. It was done, whatever it is.
static int read_written(const struct http_response *response, struct v1_told *ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;

	if (json_read(response->body, response->len, V1_BODY_MAX + 4096, &object, e) < 0 ||
	    v1_told_read(object, ret, e) < 0)
		return e->code = -EINPROGRESS;
	return 0;
}

static void written(void *arg, int r, const struct http_response *response, int64_t date_ms,
		    const struct err *e)
{
	struct v1_op *op = arg;
	_cleanup_(v1_told_free) struct v1_told told = { 0 };
	_cleanup_free_ char *key = NULL;
	struct kv_pair pair;
	struct err why;

	if (r < 0) {
		op_fail(op, e);
		return;
	}
	if (read_written(response, &told, &why) < 0) {
		op_fail(op, &why);
		return;
	}
	key = v1_lease_key_of(op->v1, op->place.network, &told.subnet);
	v1_told_pair(op->v1, key, &told, &pair); // ends the session of who had it before
	tie(op, key, &told, date_ms);
	if (op->kind == OP_KEEP_ALIVE) {
		op->ttl_s = granted_s(&told, date_ms);
		op_end(op, 0, true, NULL);
		return;
	}
	pair.session = op->session != 0 ? op->session : pair.session;
	if (op->place.kind == V1_LEASES && op->each)
		op->each(op->arg, &pair);
	op_end(op, 0, true, NULL);
}

static void post(struct v1_op *op)
{
	struct v1_ask ask = ask_of(op, "POST", v1_path(&op->place, "leases"), written);

	ask.body = xstrdup(op->value);
	v1_call_start(op->v1, &ask);
}

static void put(struct v1_op *op, const char *value)
{
	struct v1_ask ask = ask_of(op, "PUT", v1_path(&op->place, "leases"), written);
	char net[IPNET_STR_MAX], expires[TIMESTAMP_MAX];

	timestamp_format(op->date_ms + V1_TTL_S * 1000LL, expires);
	ask.body = xasprintf("{\"Subnet\":\"%s\",\"Attrs\":%s,\"Expiration\":\"%s\"}",
			     ipnet_str(&op->place.subnet, net), value, expires);
	v1_call_start(op->v1, &ask);
}

static void removed(void *arg, int r, const struct http_response *response, int64_t date_ms,
		    const struct err *e)
{
	struct v1_op *op = arg;

	(void)response;
	(void)date_ms;
	if (r < 0 && r != -ENOENT) {
		op_fail(op, e);
		return;
	}
	v1_forget(op->v1, op->key);
	op_end(op, 0, true, NULL);
}

static void remove_lease(struct v1_op *op)
{
	struct v1_ask ask = ask_of(op, "DELETE", v1_path(&op->place, "leases"), removed);

	v1_call_start(op->v1, &ask);
}

static void reserved(void *arg, int r, const struct http_response *response, int64_t date_ms,
		     const struct err *e)
{
	struct v1_op *op = arg;

	(void)response;
	(void)date_ms;
	if (r < 0) {
		op_fail(op, e);
		return;
	}
	v1_note(op->v1, op->key, op->value, NULL);
	op_end(op, 0, true, NULL);
}

static void reserve(struct v1_op *op)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 };
	struct v1_place place = op->place;
	char net[IPNET_STR_MAX], ip[IP_STR_MAX];
	struct v1_ask ask;

	if (lease_attrs_parse(op->value, strlen(op->value), &attrs, &op->err) < 0) {
		op_fail(op, &op->err);
		return;
	}
	place.kind = V1_LEASES;
	ask = ask_of(op, "POST", v1_path(&place, "reservations"), reserved);
	ask.body = xasprintf("{\"Subnet\":\"%s\",\"PublicIP\":\"%s\"}",
			     ipnet_str(&op->place.subnet, net), ip_str(&attrs.public_ip, ip));
	v1_call_start(op->v1, &ask);
}

// ---- what is to be done with the lease that was found ----

static bool holds(const struct v1_op *op)
{
	if (!op->has_compare)
		return true;
	switch (op->compare.kind) {
	case KV_ABSENT:
		return !op->found;
	case KV_PRESENT:
		return op->found;
	case KV_MOD_REVISION:
		return op->found && op->mod == op->compare.mod_revision;
	}
	return false;
}

static void go_on_with_txn(struct v1_op *op)
{
	if (!holds(op)) {
		if (op->found)
			hand_on(op, op->key, &op->told);
		op_end(op, 0, false, NULL);
	} else if (!op->value && !op->found) {
		op_end(op, 0, true, NULL);
	} else if (!op->value) {
		remove_lease(op);
	} else if (op->session == 0 && !op->found) {
		reserve(op);
	} else {
		put(op, op->value);
	}
}

static void go_on_with_session(struct v1_op *op)
{
	const struct v1_entry *entry = op->found ? v1_entry_find(op->v1, op->key) : NULL;

	if (!entry || v1_entry_session(op->v1, entry) != op->session) {
		err_set(&op->err, -ENOENT, "the lease is not there any more");
		op_fail(op, &op->err);
	} else if (op->kind == OP_KEEP_ALIVE) {
		put(op, op->told.value);
	} else if (op->kind == OP_CLOSE) {
		remove_lease(op);
	} else {
		op->ttl_s = (op->told.expires_ms - op->date_ms) / 1000;
		op->ttl_s = op->ttl_s > 0 ? op->ttl_s : 0;
		op_end(op, 0, true, NULL);
	}
}

static void found_told(struct v1_op *op)
{
	if (op->kind == OP_TXN) {
		go_on_with_txn(op);
	} else if (op->kind == OP_RANGE) {
		if (op->found)
			hand_on(op, op->key, &op->told);
		op_end(op, 0, false, NULL);
	} else {
		go_on_with_session(op);
	}
}

// ---- what is asked ----

void v1_range(struct remote_v1 *v1, const char *key, bool is_prefix, const struct err *refusal,
	      kv_pair_fn *each, kv_range_done_fn *done, void *arg)
{
	struct v1_op *op = op_new(v1, OP_RANGE, each, arg);
	struct v1_ask ask;

	op->done.range = done;
	if (refusal)
		op->refusal = *refusal;
	op->key = xstrdup(key);
	if (v1_read_place(v1, key, strlen(key), &op->place, &op->err) < 0) {
		op_end_soon(op);
	} else if (op->place.kind == V1_CONFIG) {
		ask = ask_of(op, "GET", v1_path(&op->place, "config"), config_answered);
		v1_call_start(v1, &ask);
	} else if (op->place.kind == V1_LEASE) {
		find(op);
	} else if (op->place.kind == V1_LEASES && is_prefix) {
		v1_unsee(v1, key);
		list(op, range_element, leases_answered);
	} else if (op->place.kind == V1_NETWORKS && is_prefix) {
		ask = ask_of(op, "GET", xstrdup("/v1/"), names_answered);
		v1_call_start(v1, &ask);
	} else {
		op_end_soon(op); // there is no such key
	}
}

static int read_txn(struct v1_op *op, const struct kv_txn *txn, struct err *e)
{
	const struct kv_write *write = txn->writes;
	int r;

	if (txn->write_count != 1 || txn->compare_count > 1)
		return err_set(e, -EINVAL, "a server of flannel writes one lease at a time");
	op->key = xstrndup(write->key, kv_key_len(write->key, write->key_len));
	r = v1_read_place(op->v1, op->key, kv_key_len(write->key, write->key_len), &op->place, e);
	if (r < 0)
		return r;
	if (op->place.kind != V1_LEASE && !(op->place.kind == V1_LEASES && write->value))
		return err_set(e, -EACCES,
			       "a server of flannel changes leases only; write the config to its etcd");
	if (txn->compare_count == 1) {
		const struct kv_compare *compare = txn->compares;

		if (kv_key_len(compare->key, compare->key_len) != strlen(op->key) ||
		    memcmp(compare->key, op->key, strlen(op->key)) != 0)
			return err_set(e, -EINVAL, "a server of flannel compares what it writes");
		op->has_compare = true;
		op->compare = (struct kv_compare){ .kind = compare->kind,
						   .mod_revision = compare->mod_revision };
	}
	op->value = write->value ? xstrndup(write->value, write->value_len) : NULL;
	op->session = write->session;
	return 0;
}

void v1_txn(struct remote_v1 *v1, const struct kv_txn *txn, kv_pair_fn *each, kv_txn_done_fn *done,
	    void *arg)
{
	struct v1_op *op = op_new(v1, OP_TXN, each, arg);

	op->done.txn = done;
	if (read_txn(op, txn, &op->err) < 0)
		op_end_soon(op);
	else if (op->place.kind == V1_LEASES)
		post(op);
	else
		find(op);
}

void v1_session_open(struct remote_v1 *v1, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	struct v1_op *op = op_new(v1, OP_OPEN, NULL, arg);

	op->done.session = done;
	op->session = v1_session_new(v1, ttl_s)->number;
	op->ttl_s = ttl_s;
	op_end_soon(op);
}

static const char *key_of_session(struct remote_v1 *v1, int64_t number)
{
	const struct v1_session *session = v1_session_find(v1, number);

	if (session)
		return session->key;
	for (size_t i = 0; i < V1_BUCKETS; i++)
		for (const struct v1_entry *entry = v1->entries[i]; entry; entry = entry->next)
			if (entry->session == number)
				return entry->key;
	return NULL;
}

static struct v1_op *session_op(struct remote_v1 *v1, enum op_kind kind, int64_t session,
				kv_session_fn *done, void *arg)
{
	struct v1_op *op = op_new(v1, kind, NULL, arg);
	const char *key = key_of_session(v1, session);

	op->done.session = done;
	op->session = session;
	op->key = xstrdup(key);
	if (!key || v1_read_place(v1, key, strlen(key), &op->place, NULL) < 0)
		err_set(&op->err, -ENOENT, "no such session");
	return op;
}

// What is left without asking, if it was renewed just now.
static bool is_fresh(struct remote_v1 *v1, int64_t number, int64_t *ret_left_s)
{
	const struct v1_session *session = v1_session_find(v1, number);
	uint64_t gone_ms = session ? loop_boottime_ms() - session->granted_ms : 0;

	if (!session || session->is_doubtful || gone_ms >= (uint64_t)session->ttl_s * 1000 / FRESH_PART)
		return false;
	*ret_left_s = session->ttl_s - (int64_t)(gone_ms / 1000);
	return true;
}

void v1_session_keep_alive(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg)
{
	struct v1_op *op = session_op(v1, OP_KEEP_ALIVE, session, done, arg);

	if (op->err.code < 0 || is_fresh(v1, session, &op->ttl_s))
		op_end_soon(op);
	else
		find(op);
}

void v1_session_query(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg)
{
	struct v1_op *op = session_op(v1, OP_QUERY, session, done, arg);

	if (op->err.code < 0)
		op_end_soon(op);
	else
		find(op);
}

void v1_session_close(struct remote_v1 *v1, int64_t session, kv_session_fn *done, void *arg)
{
	struct v1_session *opened = v1_session_find(v1, session);
	struct v1_op *op = session_op(v1, OP_CLOSE, session, done, arg);

	if (opened && !opened->key) {
		v1_session_drop(v1, opened);
		op->err.code = 0;
	}
	if (op->err.code < 0 || !op->key)
		op_end_soon(op);
	else
		find(op);
}
