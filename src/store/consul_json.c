// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the messages of Consul's HTTP API, but for its pairs.
#include "store/consul_json.h"

#include "core/base64.h"
#include "core/parse.h"
#include "core/text.h"
#include "store/kv_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define BODY_MAX (16 * 1024 * 1024)

// ---- transactions ----

struct operations {
	struct strbuf body;
	int64_t flags;
	size_t count;
	int *writes;
	int write;
};

static void add_text(struct strbuf *body, const char *text, size_t len)
{
	size_t i;

	strbuf_putc(body, '"');
	for (i = 0; i < len; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == '"' || text[i] == '\\')
			strbuf_printf(body, "\\u%04x", (unsigned char)text[i]);
		else
			strbuf_putc(body, text[i]);
	}
	strbuf_putc(body, '"');
}

static void begin(struct operations *operations, const char *verb, const char *key, size_t key_len)
{
	assert(operations->count < CONSUL_OPERATIONS_MAX);
	operations->writes[operations->count] = operations->write;
	strbuf_printf(&operations->body,
		      "%s{\"KV\":{\"Verb\":\"%s\",\"Key\":", operations->count++ > 0 ? "," : "", verb);
	add_text(&operations->body, key + 1, kv_key_len(key, key_len) - 1);
}

static void end(struct operations *operations)
{
	strbuf_puts(&operations->body, "}}");
}

static void add_compare(struct operations *operations, const struct kv_compare *compare)
{
	switch (compare->kind) {
	case KV_ABSENT:
		begin(operations, "check-not-exists", compare->key, compare->key_len);
		break;
	case KV_PRESENT:
		begin(operations, "get", compare->key, compare->key_len);
		break;
	case KV_MOD_REVISION:
		begin(operations, "check-index", compare->key, compare->key_len);
		strbuf_printf(&operations->body, ",\"Index\":%" PRId64, compare->mod_revision);
		break;
	}
	end(operations);
}

static void add_put(struct operations *operations, const char *verb, const struct kv_write *write,
		    const char *session)
{
	_cleanup_free_ char *encoded = base64_encode_new(write->value, write->value_len);

	begin(operations, verb, write->key, write->key_len);
	strbuf_printf(&operations->body, ",\"Flags\":%" PRId64 ",\"Value\":\"", operations->flags);
	strbuf_puts(&operations->body, encoded);
	strbuf_puts(&operations->body, "\"");
	if (session)
		strbuf_printf(&operations->body, ",\"Session\":\"%s\"", session);
	end(operations);
}

// A put keeps the session that a key has. Then this says which, and none of all is done.
static void add_put_if_free(struct operations *operations, const struct kv_write *write)
{
	add_put(operations, "set", write, NULL);
	begin(operations, "check-session", write->key, write->key_len);
	strbuf_puts(&operations->body, ",\"Session\":\"\"");
	end(operations);
}

static void add_write(struct operations *operations, const struct kv_write *write,
		      const struct consul_write *how)
{
	if (!write->value) {
		begin(operations, "delete", write->key, write->key_len);
		end(operations);
		return;
	}
	if (how->way == CONSUL_RELEASE)
		add_put(operations, "unlock", write, how->present);
	else if (how->way != CONSUL_LOCK)
		add_put_if_free(operations, write);
	if (how->has_session)
		add_put(operations, "lock", write, how->session);
}

char *consul_txn_body(const struct kv_txn *txn, const struct consul_write *writes, int64_t flags,
		      int ret_writes[static CONSUL_OPERATIONS_MAX])
{
	struct operations operations = {
		.body = STRBUF_INIT(BODY_MAX), .flags = flags, .writes = ret_writes, .write = -1
	};
	size_t i;

	strbuf_puts(&operations.body, "[");
	for (i = 0; i < txn->compare_count; i++)
		add_compare(&operations, &txn->compares[i]);
	for (i = 0; i < txn->write_count; i++) {
		operations.write = (int)i;
		add_write(&operations, &txn->writes[i], &writes[i]);
	}
	strbuf_puts(&operations.body, "]");
	return strbuf_take(&operations.body);
}

// Consul's words: ... current session "ID" != ...
static void find_session(const char *what, char ret[static CONSUL_ID_LEN + 1])
{
	static const char words[] = "current session \"";
	const char *found = NULL;
	const char *next = what;

	// The key is before it, and may hold the same words.
	while ((next = strstr(next, words)))
		found = next += strlen(words);
	ret[0] = '\0';
	if (found && consul_id_is_good(found, strnlen(found, CONSUL_ID_LEN)))
		(void)text_format(ret, CONSUL_ID_LEN + 1, "%.*s", CONSUL_ID_LEN, found);
}

int consul_read_refusals(const char *text, size_t len, struct consul_refusal *ret, size_t max,
			 size_t *ret_count, struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	const json_t *errors;
	const json_t *error;
	size_t i;

	if (json_read(text, len, CONSUL_ANSWER_MAX, &answer, NULL) == 0) {
		errors = json_object_get(answer, "Errors");
	} else {
		errors = NULL;
	}
	if (json_array_size(errors) == 0)
		return err_set(e, -EPROTO, "answer: refused, and no reason given");
	*ret_count = 0;
	json_array_foreach(errors, i, error) {
		const char *what = json_string_value(json_object_get(error, "What"));
		const json_t *index = json_object_get(error, "OpIndex");
		json_int_t operation = json_is_integer(index) ? json_integer_value(index) : -1;

		if (*ret_count == max)
			break;
		ret->operation = operation >= 0 && operation < CONSUL_OPERATIONS_MAX ? (int)operation
										     : -1;
		find_session(what ? what : "", ret->session);
		(void)text_copy(ret->what, sizeof(ret->what), what ? what : "no reason given");
		text_sanitize(ret->what);
		ret++;
		++*ret_count;
	}
	return 0;
}

// ---- sessions ----

char *consul_session_body(const char *node, int64_t ttl_s)
{
	return xasprintf("{\"Name\":\"weft\",\"Node\":\"%s\",\"TTL\":\"%" PRId64
			 "s\",\"Behavior\":\"delete\",\"LockDelay\":\"0s\",\"NodeChecks\":[]}",
			 node, ttl_s);
}

char *consul_node_body(const char *node)
{
	return xasprintf("{\"Node\":\"%s\",\"Address\":\"127.0.0.1\"}", node);
}

int consul_read_created(const char *text, size_t len, char ret_id[static CONSUL_ID_LEN + 1],
			struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	const char *id;

	if (json_read(text, len, CONSUL_ANSWER_MAX, &answer, NULL) < 0)
		return err_set(e, -EPROTO, "answer: not of Consul");
	id = json_string_value(json_object_get(answer, "ID"));
	if (!id || !consul_id_is_good(id, strlen(id)))
		return err_set(e, -EPROTO, "answer: a session without an ID");
	return text_copy(ret_id, CONSUL_ID_LEN + 1, id);
}

int consul_read_ttl(const char *text, size_t len, int64_t *ret_ttl_s, struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	const char *ttl;
	uint64_t ttl_ms;

	if (json_read(text, len, CONSUL_ANSWER_MAX, &answer, NULL) < 0 ||
	    (!json_is_array(answer) && !json_is_null(answer)))
		return err_set(e, -EPROTO, "answer: not of Consul");
	if (json_array_size(answer) == 0)
		return err_set(e, -ENOENT, "consul: no such session");
	ttl = json_string_value(json_object_get(json_array_get(answer, 0), "TTL"));
	if (!ttl || parse_go_duration_ms(ttl, &ttl_ms) < 0 || ttl_ms > CONSUL_TTL_MAX_S * 1000)
		return err_set(e, -EPROTO, "answer: a session without a TTL");
	*ret_ttl_s = (int64_t)(ttl_ms / 1000);
	return 0;
}

int consul_nearest_ttl(const char *message, int64_t ttl_s, int64_t *ret_ttl_s)
{
	// Invalid Session TTL '2000000000', must be between [10s=24h0m0s]
	const char *bounds = strrchr(message, '[');
	char minimum[32];
	size_t len = bounds ? strcspn(bounds + 1, "=]") : 0;
	uint64_t minimum_ms;

	if (ttl_s > CONSUL_TTL_MAX_S) {
		*ret_ttl_s = CONSUL_TTL_MAX_S;
		return 0;
	}
	if (len == 0 || len >= sizeof(minimum))
		return -EPROTO;
	memcpy(minimum, bounds + 1, len);
	minimum[len] = '\0';
	if (parse_go_duration_ms(minimum, &minimum_ms) < 0 || minimum_ms > CONSUL_TTL_MAX_S * 1000)
		return -EPROTO;
	*ret_ttl_s = (int64_t)((minimum_ms + 999) / 1000);
	return 0;
}

// ---- errors ----

static bool says_any(const char *message, const char *const *words)
{
	for (; *words; words++)
		if (strstr(message, *words))
			return true;
	return false;
}

// Told before anything was written, anywhere.
static const char *const not_done_words[] = { "No cluster leader",
					      "No known Consul servers",
					      "No path to datacenter",
					      "rpc error getting client",
					      "rate limit",
					      NULL };
static const char *const denied_words[] = { "Permission denied", "ACL not found", NULL };

enum consul_verdict consul_read_error(int status, const char *text, size_t len, struct err *e)
{
	_cleanup_free_ char *message = xstrndup(text, len < ERR_MSG_MAX ? len : ERR_MSG_MAX);

	text_sanitize(message);
	if (status == 403 || (status >= 500 && says_any(message, denied_words))) {
		err_set(e, -EACCES, "%s", message[0] ? message : "Permission denied");
		return CONSUL_REFUSED;
	}
	if (status == 429 || (status >= 500 && says_any(message, not_done_words))) {
		err_set(e, -EAGAIN, "%s", message);
		return CONSUL_NOT_DONE;
	}
	if (status >= 500 && strstr(message, "Invalid Session TTL")) {
		err_set(e, -ERANGE, "%s", message);
		return CONSUL_REFUSED;
	}
	if (status >= 500 && strstr(message, "Missing node registration")) {
		err_set(e, -ENODEV, "%s", message);
		return CONSUL_REFUSED;
	}
	if (status == 413) {
		err_set(e, -E2BIG, "too large for Consul: %s", message);
		return CONSUL_REFUSED;
	}
	err_set(e, status >= 500 ? -EAGAIN : -EPROTO, "HTTP status %d: \"%s\"", status, message);
	return status >= 500 ? CONSUL_UNKNOWN : CONSUL_NOT_DONE;
}
