// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how pairs, transactions and errors are written as JSON between a controller and its clients.
#include "store/wire.h"

#include "core/base64.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

// ---- bytes ----

// Without what JSON writes in six bytes, too: base64 is shorter.
static bool is_text(const char *data, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t step = text_utf8_len(data + i, len - i);

		if (step == 0 || ((unsigned char)data[i] < ' ' && data[i] != '\n' && data[i] != '\t'))
			return false;
		i += step;
	}
	return true;
}

void wire_set_bytes(json_t *object, const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *encoded = NULL;
	char other[32];

	if (is_text(data, len)) {
		json_object_set_new(object, name, json_stringn(data, len));
		return;
	}
	encoded = base64_encode_new(data, len);
	(void)text_format(other, sizeof(other), "%s64", name);
	json_object_set_new(object, other, json_string(encoded));
}

int wire_read_bytes(const json_t *object, const char *name, char **ret, size_t *ret_len, struct err *e)
{
	const json_t *text = json_object_get(object, name);
	const json_t *encoded;
	char other[32];
	char *decoded;

	if (json_is_string(text)) {
		*ret_len = json_string_length(text);
		*ret = xstrndup(json_string_value(text), *ret_len);
		return 0;
	}
	(void)text_format(other, sizeof(other), "%s64", name);
	encoded = json_object_get(object, other);
	if (!json_is_string(encoded))
		return err_set(e, -EINVAL, "%s: absent, or no text", name);
	decoded = xcalloc(json_string_length(encoded) + 1, 1);
	if (base64_decode(json_string_value(encoded), json_string_length(encoded), decoded,
			  ret_len) < 0) {
		free(decoded);
		return err_set(e, -EINVAL, "%s: not base64", other);
	}
	decoded[*ret_len] = '\0';
	*ret = decoded;
	return 0;
}

// ---- numbers ----

int wire_read_int(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *ret,
		  struct err *e)
{
	const json_t *number = json_object_get(object, name);

	if (!number || json_is_null(number))
		return err_set(e, -EINVAL, "%s: absent", name);
	return json_get_int(object, name, min, max, ret, e);
}

// ---- pairs ----

char *wire_pair_text(const struct kv_pair *pair)
{
	_cleanup_json_ json_t *object = json_object();

	wire_set_bytes(object, "key", pair->raw_key, pair->raw_key_len);
	if (pair->value)
		wire_set_bytes(object, "value", pair->value, pair->value_len);
	else
		json_object_set_new(object, "size", json_integer((json_int_t)pair->value_len));
	json_object_set_new(object, "create", json_integer(pair->create_revision));
	json_object_set_new(object, "mod", json_integer(pair->mod_revision));
	json_object_set_new(object, "session", json_integer(pair->session));
	return json_text(object);
}

void wire_pair_free(struct wire_pair *pair)
{
	free(pair->raw_key);
	free(pair->shown_key);
	free(pair->value);
	*pair = (struct wire_pair){ 0 };
}

static int read_members(const json_t *object, struct wire_pair *pair, struct err *e)
{
	int64_t size = 0;
	int r = wire_read_bytes(object, "key", &pair->raw_key, &pair->pair.raw_key_len, e);

	// A length of 0 says "terminated" where keys are compared and written.
	if (r == 0 && pair->pair.raw_key_len == 0)
		r = err_set(e, -EINVAL, "key: empty");
	if (r == 0 && !json_object_get(object, "size"))
		r = wire_read_bytes(object, "value", &pair->value, &pair->pair.value_len, e);
	else if (r == 0)
		r = wire_read_int(object, "size", 0, INT64_MAX, &size, e);
	if (r == 0 && !pair->value)
		pair->pair.value_len = (size_t)size;
	if (r == 0)
		r = json_get_int(object, "create", 0, WIRE_REVISION_MAX,
				 &pair->pair.create_revision, e);
	if (r == 0)
		r = wire_read_int(object, "mod", 1, WIRE_REVISION_MAX, &pair->pair.mod_revision, e);
	if (r == 0)
		r = json_get_int(object, "session", INT64_MIN, INT64_MAX, &pair->pair.session, e);
	return r;
}

int wire_read_pair(const json_t *object, struct wire_pair *ret, struct err *e)
{
	*ret = (struct wire_pair){ 0 };
	if (read_members(object, ret, e) < 0) {
		wire_pair_free(ret);
		err_wrap(e, "pair");
		if (e)
			e->code = -EPROTO;
		return -EPROTO;
	}
	ret->shown_key = kv_key_shown(ret->raw_key, ret->pair.raw_key_len);
	ret->pair.key = ret->shown_key ? ret->shown_key : ret->raw_key;
	ret->pair.raw_key = ret->raw_key;
	ret->pair.value = ret->value;
	return 0;
}

// ---- headers ----

// As text: numbers of 64 bits without a sign are not for every reader of JSON.
void wire_cluster_id(uint64_t cluster_id, char ret[static WIRE_CLUSTER_ID_MAX])
{
	(void)text_format(ret, WIRE_CLUSTER_ID_MAX, "%llx", (unsigned long long)cluster_id);
}

json_t *wire_header(const struct kv_header *header)
{
	char cluster_id[WIRE_CLUSTER_ID_MAX];

	wire_cluster_id(header->cluster_id, cluster_id);
	return json_pack("{s:I,s:s}", "revision", (json_int_t)header->revision, "cluster_id",
			 cluster_id);
}

int wire_read_cluster_id(const char *text, uint64_t *ret)
{
	return parse_hex(&text, 16, ret) && parse_end(text) ? 0 : -EINVAL;
}

int wire_read_header(const json_t *object, struct kv_header *ret, struct err *e)
{
	const char *cluster_id = "";

	*ret = (struct kv_header){ .revision = -1 };
	if (json_get_int(object, "revision", 0, WIRE_REVISION_MAX, &ret->revision, NULL) < 0 ||
	    ret->revision < 0 || json_get_string(object, "cluster_id", &cluster_id, NULL) < 0 ||
	    wire_read_cluster_id(cluster_id, &ret->cluster_id) < 0)
		return err_set(e, -EPROTO, "header: not one of a controller");
	return 0;
}

// ---- errors ----

static const struct {
	int r;
	const char *code;
} codes[] = {
	{ -ETIMEDOUT, "timeout" },  { -ECONNREFUSED, "unreachable" },
	{ -EACCES, "denied" },	    { -EAGAIN, "no-leader" },
	{ -EPROTO, "bad-answer" },  { -EINPROGRESS, "unknown-outcome" },
	{ -ENOENT, "no-session" },  { -ENOSPC, "no-space" },
	{ -EINVAL, "bad-request" }, { -E2BIG, "too-large" },
	{ -EBUSY, "too-many" },
};

json_t *wire_error(int r, const char *text)
{
	const char *code = "unreachable";

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].r == r)
			code = codes[i].code;
	return json_pack("{s:{s:s,s:s}}", "error", "code", code, "text", text);
}

int wire_read_error(const json_t *answer, struct err *e)
{
	const json_t *error = json_object_get(answer, "error");
	const char *code = NULL;
	const char *text = NULL;
	char shown[TEXT_EXCERPT_MAX];

	if (json_get_string(error, "code", &code, NULL) < 0 ||
	    json_get_string(error, "text", &text, NULL) < 0 || !code || !text)
		return err_set(e, -EPROTO, "not an answer of a controller");
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return err_set(e, codes[i].r, "%s", text);
	return err_set(e, -EPROTO, "%s (%s)", text, text_excerpt(code, strlen(code), shown));
}

// ---- transactions ----

json_t *wire_txn(const struct kv_txn *txn)
{
	json_t *compares = json_array();
	json_t *writes = json_array();

	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct kv_compare *compare = &txn->compares[i];
		json_t *object = json_object();

		wire_set_bytes(object, "key", compare->key,
			       kv_key_len(compare->key, compare->key_len));
		if (compare->kind == KV_MOD_REVISION)
			json_object_set_new(object, "mod", json_integer(compare->mod_revision));
		else
			json_object_set_new(object, "exists",
					    json_boolean(compare->kind == KV_PRESENT));
		json_array_append_new(compares, object);
	}
	for (size_t i = 0; i < txn->write_count; i++) {
		const struct kv_write *write = &txn->writes[i];
		json_t *object = json_object();

		wire_set_bytes(object, "key", write->key, kv_key_len(write->key, write->key_len));
		if (write->value) {
			wire_set_bytes(object, "value", write->value, write->value_len);
			json_object_set_new(object, "session", json_integer(write->session));
		} else {
			json_object_set_new(object, "delete", json_true());
		}
		json_array_append_new(writes, object);
	}
	return json_pack("{s:o,s:o}", "compares", compares, "writes", writes);
}

static int read_key(const json_t *object, struct wire_txn *txn, const char **ret, size_t *ret_len,
		    struct err *e)
{
	char *key;
	int r = wire_read_bytes(object, "key", &key, ret_len, e);

	if (r < 0)
		return r;
	txn->texts[txn->text_count++] = key;
	*ret = key;
	// A length of 0 says "terminated".
	return *ret_len > 0 ? 0 : err_set(e, -EINVAL, "key: empty");
}

static int read_compare(const json_t *object, struct wire_txn *txn, struct kv_compare *ret,
			struct err *e)
{
	bool exists = false;
	int r = read_key(object, txn, &ret->key, &ret->key_len, e);

	if (r < 0)
		return r;
	if (json_object_get(object, "mod")) {
		ret->kind = KV_MOD_REVISION;
		// To an etcd, 0 is that of a key which is not there.
		return wire_read_int(object, "mod", 1, WIRE_REVISION_MAX, &ret->mod_revision, e);
	}
	if (!json_object_get(object, "exists") || json_is_null(json_object_get(object, "exists")))
		return err_set(e, -EINVAL, "compare: neither mod nor exists");
	r = json_get_bool(object, "exists", &exists, e);
	ret->kind = exists ? KV_PRESENT : KV_ABSENT;
	return r;
}

static int read_write(const json_t *object, struct wire_txn *txn, struct kv_write *ret, struct err *e)
{
	bool is_delete = false;
	char *value;
	int r = read_key(object, txn, &ret->key, &ret->key_len, e);

	if (r == 0)
		r = json_get_bool(object, "delete", &is_delete, e);
	if (r < 0 || is_delete)
		return r;
	r = wire_read_bytes(object, "value", &value, &ret->value_len, e);
	if (r < 0)
		return r;
	txn->texts[txn->text_count++] = value;
	ret->value = value;
	return json_get_int(object, "session", INT64_MIN, INT64_MAX, &ret->session, e);
}

static int read_all(const json_t *object, struct wire_txn *txn, struct err *e)
{
	const json_t *compares = json_object_get(object, "compares");
	const json_t *writes = json_object_get(object, "writes");
	int r = 0;

	if (!json_is_array(compares) || !json_is_array(writes) ||
	    json_array_size(compares) > KV_TXN_MAX || json_array_size(writes) > KV_TXN_MAX)
		return err_set(e, -EINVAL, "compares and writes must be arrays of at most %d",
			       KV_TXN_MAX);
	txn->txn.compare_count = json_array_size(compares);
	txn->txn.write_count = json_array_size(writes);
	for (size_t i = 0; r == 0 && i < txn->txn.compare_count; i++)
		r = read_compare(json_array_get(compares, i), txn, &txn->compares[i], e);
	for (size_t i = 0; r == 0 && i < txn->txn.write_count; i++)
		r = read_write(json_array_get(writes, i), txn, &txn->writes[i], e);
	return r;
}

int wire_read_txn(const json_t *object, struct wire_txn *ret, struct err *e)
{
	*ret = (struct wire_txn){ 0 };
	ret->txn.compares = ret->compares;
	ret->txn.writes = ret->writes;
	int r = read_all(object, ret, e);
	if (r < 0)
		wire_txn_free(ret);
	return r;
}

void wire_txn_free(struct wire_txn *txn)
{
	for (size_t i = 0; i < txn->text_count; i++)
		free(txn->texts[i]);
	txn->text_count = 0;
}
