// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the messages of etcd's JSON gateway, but for its pairs.
#include "store/etcd3_json.h"

#include "core/base64.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "core/text.h"
#include "store/kv_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define BODY_MAX (16 * 1024 * 1024)

// ---- what we send ----

static void add_base64(struct strbuf *body, const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *encoded = base64_encode_new(data, len);

	strbuf_printf(body, "\"%s\":\"", name);
	strbuf_puts(body, encoded);
	strbuf_puts(body, "\"");
}

static void add_key(struct strbuf *body, const char *key, size_t len)
{
	add_base64(body, "key", key, kv_key_len(key, len));
}

// The first key behind all that start with the prefix: its last byte plus one, where bytes of 0xff
// fall away.
static void add_prefix_end(struct strbuf *body, const char *prefix)
{
	_cleanup_free_ char *end = xstrdup(prefix);
	size_t len = strlen(end);

	while (len > 0 && (unsigned char)end[len - 1] == 0xff)
		len--;
	strbuf_puts(body, ",");
	if (len == 0) {
		add_base64(body, "range_end", "\0", 1);
		return;
	}
	end[len - 1]++;
	add_base64(body, "range_end", end, len);
}

char *etcd3_key_body(const char *key)
{
	struct strbuf body = STRBUF_INIT(BODY_MAX);

	strbuf_puts(&body, "{");
	add_key(&body, key, 0);
	strbuf_puts(&body, "}");
	return strbuf_take(&body);
}

char *etcd3_page_body(const char *prefix, const struct etcd3_page *page)
{
	struct strbuf body = STRBUF_INIT(BODY_MAX);

	strbuf_puts(&body, "{");
	if (page->after) {
		// The next possible key is this one with a zero byte behind it.
		_cleanup_free_ char *key = xnew0_array(char, page->after_len + 1);

		memcpy(key, page->after, page->after_len);
		add_key(&body, key, page->after_len + 1);
	} else {
		add_key(&body, prefix, 0);
	}
	add_prefix_end(&body, prefix);
	if (page->limit > 0)
		strbuf_printf(&body, ",\"limit\":\"%" PRId64 "\"", page->limit);
	if (page->revision > 0)
		strbuf_printf(&body, ",\"revision\":\"%" PRId64 "\"", page->revision);
	strbuf_puts(&body, "}");
	return strbuf_take(&body);
}

char *etcd3_probe_body(const char *key)
{
	struct strbuf body = STRBUF_INIT(BODY_MAX);

	strbuf_puts(&body, "{");
	add_key(&body, key, 0);
	strbuf_puts(&body, ",\"count_only\":true}");
	return strbuf_take(&body);
}

static void add_compare(struct strbuf *body, const struct kv_compare *compare)
{
	strbuf_puts(body, "{");
	add_key(body, compare->key, compare->key_len);
	switch (compare->kind) {
	case KV_ABSENT:
		strbuf_puts(body, ",\"target\":\"VERSION\",\"result\":\"EQUAL\",\"version\":\"0\"}");
		return;
	case KV_PRESENT:
		strbuf_puts(body, ",\"target\":\"VERSION\",\"result\":\"GREATER\",\"version\":\"0\"}");
		return;
	case KV_MOD_REVISION:
		strbuf_printf(body,
			      ",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"%" PRId64
			      "\"}",
			      compare->mod_revision);
		return;
	}
}

static void add_write(struct strbuf *body, const struct kv_write *write)
{
	strbuf_puts(body, write->value ? "{\"requestPut\":{" : "{\"requestDeleteRange\":{");
	add_key(body, write->key, write->key_len);
	if (write->value) {
		strbuf_puts(body, ",");
		add_base64(body, "value", write->value, write->value_len);
	}
	if (write->value && write->session != 0)
		strbuf_printf(body, ",\"lease\":\"%" PRId64 "\"", write->session);
	strbuf_puts(body, "}}");
}

char *etcd3_txn_body(const struct kv_txn *txn)
{
	struct strbuf body = STRBUF_INIT(BODY_MAX);
	size_t i;

	strbuf_puts(&body, "{\"compare\":[");
	for (i = 0; i < txn->compare_count; i++) {
		strbuf_puts(&body, i ? "," : "");
		add_compare(&body, &txn->compares[i]);
	}
	strbuf_puts(&body, "],\"success\":[");
	for (i = 0; i < txn->write_count; i++) {
		strbuf_puts(&body, i ? "," : "");
		add_write(&body, &txn->writes[i]);
	}
	strbuf_puts(&body, "],\"failure\":[");
	for (i = 0; i < txn->compare_count; i++) {
		strbuf_puts(&body, i ? "," : "");
		strbuf_puts(&body, "{\"requestRange\":{");
		add_key(&body, txn->compares[i].key, txn->compares[i].key_len);
		strbuf_puts(&body, "}}");
	}
	strbuf_puts(&body, "]}");
	return strbuf_take(&body);
}

char *etcd3_grant_body(int64_t session, int64_t ttl_s)
{
	return xasprintf("{\"ID\":\"%" PRId64 "\",\"TTL\":\"%" PRId64 "\"}", session, ttl_s);
}

char *etcd3_session_body(int64_t session)
{
	return xasprintf("{\"ID\":\"%" PRId64 "\"}", session);
}

char *etcd3_authenticate_body(const char *username, const char *password)
{
	_cleanup_json_ json_t *body = json_object();

	json_object_set_new(body, "name", json_string(username));
	json_object_set_new(body, "password", json_string(password));
	return json_text(body);
}

char *etcd3_watch_body(const char *prefix, int64_t start_revision)
{
	struct strbuf body = STRBUF_INIT(BODY_MAX);

	strbuf_puts(&body, "{\"create_request\":{");
	add_key(&body, prefix, 0);
	add_prefix_end(&body, prefix);
	strbuf_printf(&body, ",\"start_revision\":\"%" PRId64 "\",\"progress_notify\":true}}\n",
		      start_revision);
	return strbuf_take(&body);
}

// ---- what comes: members ----

int etcd3_read_int(const json_t *object, const char *name, int64_t *ret, struct err *e)
{
	const json_t *member = json_object_get(object, name);

	if (!member || json_is_null(member)) {
		*ret = 0;
		return 0;
	}
	if (json_is_integer(member)) {
		*ret = json_integer_value(member);
		return 0;
	}
	if (json_is_string(member) && parse_whole_i64(json_string_value(member), ret) == 0)
		return 0;
	return err_set(e, -EPROTO, "answer: \"%s\" is not a whole number", name);
}

static int read_unsigned(const json_t *object, const char *name, uint64_t *ret, struct err *e)
{
	const json_t *member = json_object_get(object, name);

	if (!member || json_is_null(member)) {
		*ret = 0;
		return 0;
	}
	if (json_is_integer(member) && json_integer_value(member) >= 0) {
		*ret = (uint64_t)json_integer_value(member);
		return 0;
	}
	if (json_is_string(member) && parse_whole_u64(json_string_value(member), UINT64_MAX, ret) == 0)
		return 0;
	return err_set(e, -EPROTO, "answer: \"%s\" is not a whole number", name);
}

bool etcd3_read_bool(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

const char *etcd3_read_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

int etcd3_read_header(const json_t *answer, struct etcd3_header *ret, struct err *e)
{
	const json_t *header = json_object_get(answer, "header");
	struct etcd3_header found = { 0 };
	int r;

	if (!json_is_object(header))
		return err_set(e, -EPROTO, "answer: no header; is this etcd?");
	r = etcd3_read_int(header, "revision", &found.kv.revision, e);
	if (r == 0)
		r = read_unsigned(header, "cluster_id", &found.kv.cluster_id, e);
	if (r == 0)
		r = read_unsigned(header, "raft_term", &found.raft_term, e);
	if (r < 0)
		return r;
	*ret = found;
	return 0;
}

// ---- what comes: errors ----

// Codes of gRPC, as far as etcd uses them.
enum {
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

static bool says(const char *message, const char *words)
{
	return strstr(message, words) != NULL;
}

static enum etcd3_verdict judge_argument(const char *message, struct err *e)
{
	if (says(message, "auth store is old")) {
		err_set(e, -EACCES, "%s", message);
		return ETCD3_TOKEN_REFUSED;
	}
	if (says(message, "user name is empty")) {
		err_set(e, -EACCES, "the store demands a user name and a password");
		return ETCD3_TOKEN_REFUSED;
	}
	if (says(message, "authentication failed")) {
		err_set(e, -EACCES, "wrong user name or password");
		return ETCD3_REFUSED;
	}
	err_set(e, -EPROTO, "%s", message);
	return ETCD3_REFUSED;
}

enum etcd3_verdict etcd3_judge(int status, int grpc_code, const char *message, struct err *e)
{
	switch (grpc_code) {
	case GRPC_INVALID_ARGUMENT:
		return judge_argument(message, e);
	case GRPC_UNAUTHENTICATED:
		err_set(e, -EACCES, "%s", message);
		return ETCD3_TOKEN_REFUSED;
	case GRPC_PERMISSION_DENIED:
		err_set(e, -EACCES, "%s", message);
		return ETCD3_REFUSED;
	case GRPC_NOT_FOUND:
		err_set(e, -ENOENT, "%s", message);
		return ETCD3_REFUSED;
	case GRPC_RESOURCE_EXHAUSTED:
		// It passes, and is told before anything was done; a full database is for an
		// operator.
		if (says(message, "too many requests")) {
			err_set(e, -EAGAIN, "%s", message);
			return ETCD3_NOT_DONE;
		}
		err_set(e, -ENOSPC, "%s", message);
		return ETCD3_REFUSED;
	case GRPC_FAILED_PRECONDITION:
		err_set(e, says(message, "already exists") ? -EEXIST : -EOPNOTSUPP, "%s", message);
		return ETCD3_REFUSED;
	case GRPC_OUT_OF_RANGE:
		err_set(e, -ESTALE, "%s", message);
		return ETCD3_REFUSED;
	case GRPC_UNAVAILABLE:
		err_set(e, -EAGAIN, "%s", message);
		// Of all ways of being unavailable only this one is told before the request was
		// handed to the others.
		return strcmp(message, "etcdserver: no leader") == 0 ? ETCD3_NOT_DONE : ETCD3_UNKNOWN;
	case GRPC_CANCELLED:
	case GRPC_UNKNOWN:
	case GRPC_DEADLINE_EXCEEDED:
		err_set(e, says(message, "time") ? -ETIMEDOUT : -EAGAIN, "%s", message);
		return ETCD3_UNKNOWN;
	}
	if (status >= 500) {
		err_set(e, -EAGAIN, "HTTP status %d: %s", status, message);
		return ETCD3_UNKNOWN;
	}
	err_set(e, -EPROTO, "HTTP status %d: %s", status, message);
	return ETCD3_REFUSED;
}

// Of something that is not etcd's gateway: a proxy in front of it, which may have handed the request
// on before it failed, or another service altogether.
static enum etcd3_verdict judge_foreign(int status, const char *text, size_t len, struct err *e)
{
	static const char cn_refused[] = "CommonName of client sending a request";
	char excerpt[TEXT_EXCERPT_MAX];

	// The gateway says so before it is one.
	if (len >= strlen(cn_refused) && memcmp(text, cn_refused, strlen(cn_refused)) == 0) {
		err_set(e, -EACCES,
			"etcd with users takes no client certificate that has a common name (CN): "
			"make one without");
		return ETCD3_REFUSED;
	}
	err_set(e, status >= 500 ? -EAGAIN : -EPROTO, "HTTP status %d, not of etcd: \"%s\"", status,
		text_excerpt(text, len, excerpt));
	return status >= 500 ? ETCD3_UNKNOWN : ETCD3_NOT_DONE;
}

enum etcd3_verdict etcd3_read_error(int status, const char *text, size_t len, struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	const json_t *error;
	const char *message;
	int64_t code = 0;

	if (json_read(text, len, ETCD3_ANSWER_MAX, &answer, NULL) < 0) {
		// A page of words: a gateway that has no such path, or no gateway at all.
		if (status == 404) {
			err_set(e, -EPROTO, "not found: is this etcd 3.3 or later?");
			return ETCD3_NO_SUCH_PATH;
		}
		return judge_foreign(status, text, len, e);
	}
	// A stream's error is wrapped, a request's is not.
	error = json_object_get(answer, "error");
	if (!json_is_object(error))
		error = answer;
	message = etcd3_read_text(error, "message");
	if (!message[0])
		message = etcd3_read_text(error, "error");
	if (etcd3_read_int(error, "grpc_code", &code, NULL) < 0 || code == 0)
		(void)etcd3_read_int(error, "code", &code, NULL);
	if (!message[0] || code < GRPC_CANCELLED || code > GRPC_UNAUTHENTICATED)
		return judge_foreign(status, text, len, e);
	return etcd3_judge(status, (int)code, message, e);
}
