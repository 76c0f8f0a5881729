// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what is read of a server of flannel 0.5 to 0.7: configs, networks, leases.
#include "store/remote_v1_op.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define NAMES_MAX 10000

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
		v1_op_fail(op, e);
		return;
	}
	if (r == 0)
		tell_config(op, op->key, response);
	v1_op_end(op, 0, false, NULL);
}

void v1_op_read_config(struct v1_op *op)
{
	const struct v1_ask ask = v1_op_ask(op, "GET", v1_path(&op->place, "config"), config_answered);

	v1_call_start(op->v1, &ask);
}

// ---- networks ----

static void next_network(struct v1_op *op);

static void network_answered(void *arg, int r, const struct http_response *response,
			     int64_t date_ms, const struct err *e)
{
	struct v1_op *op = arg;

	(void)date_ms;
	if (r < 0 && r != -ENOENT && r != -EAGAIN) {
		v1_op_fail(op, e);
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
		v1_op_end(op, 0, false, NULL);
		return;
	}
	name = op->names[op->name_next++];
	(void)text_copy(place.network, sizeof(place.network), name);
	free(op->name_config);
	if (strcmp(name, V1_NO_NETWORK) == 0)
		op->name_config = xasprintf("%sconfig", op->v1->prefix);
	else
		op->name_config = xasprintf("%s%s/config", op->v1->prefix, name);
	ask = v1_op_ask(op, "GET", v1_path(&place, "config"), network_answered);
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
		v1_op_fail(op, e);
		return;
	}
	if (r == 0 && json_read(response->body, response->len, JSON_TEXT_MAX, &answer, &op->err) < 0) {
		op->err.code = -EPROTO;
		v1_op_fail(op, &op->err);
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

void v1_op_read_networks(struct v1_op *op)
{
	const struct v1_ask ask = v1_op_ask(op, "GET", xstrdup("/v1/"), names_answered);

	v1_call_start(op->v1, &ask);
}

// ---- leases ----

static int read_element(const struct v1_op *op, const char *text, size_t len, struct v1_told *ret)
{
	_cleanup_json_ json_t *object = NULL;
	struct err e;

	if (json_read(text, len, len, &object, &e) == 0 && v1_told_read(object, ret, &e) == 0)
		return 0;
	log_rl(LOG_LEVEL_WARN, "controller: pass over a lease of %s: %s",
	       endpoint_set_url(&op->v1->remote->http.endpoints), err_msg(&e));
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
	v1_op_hand_on(op, key, &told);
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
		v1_op_fail(op, e);
		return;
	}
	if (r == 0 && keep_cursor(op, rest, &why) < 0) {
		v1_op_fail(op, &why);
		return;
	}
	v1_forget_unseen(op->v1, op->key);
	v1_op_end(op, 0, false, NULL);
}

static void list(struct v1_op *op, json_element_fn *element, v1_done_fn *done)
{
	const struct v1_place all = { .kind = V1_LEASES };
	struct v1_place place = all;
	struct v1_ask ask;

	memcpy(place.network, op->place.network, sizeof(place.network));
	ask = v1_op_ask(op, "GET", v1_path(&place, "leases"), done);
	ask.array = "snapshot";
	ask.element = element;
	v1_call_start(op->v1, &ask);
}

void v1_op_read_leases(struct v1_op *op)
{
	v1_unsee(op->v1, op->key);
	list(op, range_element, leases_answered);
}

// ---- one lease, as it is now ----

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
		v1_op_fail(op, e);
		return;
	}
	if (!op->found && v1_entry_find(op->v1, op->key))
		v1_forget(op->v1, op->key);
	op->date_ms = date_ms;
	v1_op_go_on(op);
}

void v1_op_find(struct v1_op *op)
{
	list(op, find_element, find_answered);
}
