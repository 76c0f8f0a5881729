// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what is written to a server of flannel 0.5 to 0.7: leases, after they were compared.
#include "store/remote_v1_op.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

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
		v1_op_fail(op, e);
		return;
	}
	if (read_written(response, &told, &why) < 0) {
		v1_op_fail(op, &why);
		return;
	}
	key = v1_lease_key_of(op->v1, op->place.network, &told.subnet);
	v1_told_pair(op->v1, key, &told, &pair); // ends the session of who had it before
	tie(op, key, &told, date_ms);
	if (op->kind == OP_KEEP_ALIVE) {
		op->ttl_s = granted_s(&told, date_ms);
		v1_op_end(op, 0, true, NULL);
		return;
	}
	pair.session = op->session != 0 ? op->session : pair.session;
	if (op->place.kind == V1_LEASES && op->each)
		op->each(op->arg, &pair);
	v1_op_end(op, 0, true, NULL);
}

void v1_op_post(struct v1_op *op)
{
	struct v1_ask ask = v1_op_ask(op, "POST", v1_path(&op->place, "leases"), written);

	ask.body = xstrdup(op->value);
	v1_call_start(op->v1, &ask);
}

static void put(struct v1_op *op, const char *value)
{
	struct v1_ask ask = v1_op_ask(op, "PUT", v1_path(&op->place, "leases"), written);
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
		v1_op_fail(op, e);
		return;
	}
	v1_forget(op->v1, op->key);
	v1_op_end(op, 0, true, NULL);
}

static void remove_lease(struct v1_op *op)
{
	struct v1_ask ask = v1_op_ask(op, "DELETE", v1_path(&op->place, "leases"), removed);

	v1_call_start(op->v1, &ask);
}

static void reserved(void *arg, int r, const struct http_response *response, int64_t date_ms,
		     const struct err *e)
{
	struct v1_op *op = arg;

	(void)response;
	(void)date_ms;
	if (r == -EPROTONOSUPPORT) {
		err_set(&op->err, -EOPNOTSUPP,
			"a server of flannel from before 0.6 knows no reservations: %s", err_msg(e));
		v1_op_fail(op, &op->err);
		return;
	}
	if (r < 0) {
		v1_op_fail(op, e);
		return;
	}
	v1_note(op->v1, op->key, op->value, NULL);
	v1_op_end(op, 0, true, NULL);
}

static void reserve(struct v1_op *op)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 };
	struct v1_place place = op->place;
	char net[IPNET_STR_MAX], ip[IP_STR_MAX];
	struct v1_ask ask;

	if (lease_attrs_parse(op->value, strlen(op->value), &attrs, &op->err) < 0) {
		v1_op_fail(op, &op->err);
		return;
	}
	place.kind = V1_LEASES;
	ask = v1_op_ask(op, "POST", v1_path(&place, "reservations"), reserved);
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
			v1_op_hand_on(op, op->key, &op->told);
		v1_op_end(op, 0, false, NULL);
	} else if (!op->value && !op->found) {
		v1_op_end(op, 0, true, NULL);
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
		v1_op_fail(op, &op->err);
	} else if (op->kind == OP_KEEP_ALIVE) {
		put(op, op->told.value);
	} else if (op->kind == OP_CLOSE) {
		remove_lease(op);
	} else {
		op->ttl_s = (op->told.expires_ms - op->date_ms) / 1000;
		op->ttl_s = op->ttl_s > 0 ? op->ttl_s : 0;
		v1_op_end(op, 0, true, NULL);
	}
}

void v1_op_go_on(struct v1_op *op)
{
	if (op->kind == OP_TXN) {
		go_on_with_txn(op);
	} else if (op->kind == OP_RANGE) {
		if (op->found)
			v1_op_hand_on(op, op->key, &op->told);
		v1_op_end(op, 0, false, NULL);
	} else {
		go_on_with_session(op);
	}
}
