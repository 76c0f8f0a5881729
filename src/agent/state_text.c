// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the lines of the state files.
#include "agent/state_text.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LINE_MAX_BYTES (2 * JSON_TEXT_MAX)

// ---- making ----

// {"NAME":TEXT, with TEXT as a JSON string. false when it cannot be one.
static bool put_string_member(struct strbuf *out, const char *name, const char *text)
{
	_cleanup_json_ json_t *object = json_pack("{s:s}", name, text);
	_cleanup_free_ char *encoded = NULL;

	if (!object)
		return false;
	encoded = json_text(object);
	return strbuf_add(out, encoded, strlen(encoded) - 1) == 0;
}

void state_put_header(struct strbuf *out, const char *prefix)
{
	// A prefix that is not UTF-8 fits no file: nothing is read back then but the MACs.
	if (!put_string_member(out, "prefix", prefix))
		(void)put_string_member(out, "prefix", "");
	(void)strbuf_printf(out, ",\"schema\":%d}\n", STATE_SCHEMA);
}

bool state_put_config(struct strbuf *out, const char *config_text)
{
	if (!put_string_member(out, "config", config_text))
		return false;
	return strbuf_puts(out, "}\n") == 0;
}

// The same shape for both, since peers are read by their shape.
static void put_lease(struct strbuf *out, const char *name, const struct lease *lease)
{
	_cleanup_free_ char *value = lease_attrs_format(&lease->attrs);
	char key[LEASE_KEY_MAX];

	subnet_format_key(&lease->subnet, key);
	(void)strbuf_printf(out,
			    "{\"%s\":\"%s\",\"revision\":%" PRId64 ",\"session\":%" PRId64
			    ",\"value\":",
			    name, key, lease->mod_revision, lease->session);
	(void)strbuf_puts(out, value);
	(void)strbuf_puts(out, "}\n");
}

void state_put_lease(struct strbuf *out, const struct lease *lease)
{
	put_lease(out, "lease", lease);
}

void state_put_peer(struct strbuf *out, const struct lease *lease)
{
	put_lease(out, "peer", lease);
}

void state_put_mac(struct strbuf *out, const struct state_mac *mac)
{
	char text[MAC_STR_MAX];

	if (put_string_member(out, "device", mac->device))
		(void)strbuf_printf(out, ",\"mac\":\"%s\"}\n", mac_str(&mac->mac, text));
}

void state_put_end(struct strbuf *out, uint64_t lines)
{
	(void)strbuf_printf(out, "{\"end\":%" PRIu64 "}\n", lines);
}

// ---- reading ----

void state_free(struct state *state)
{
	free(state->config_text);
	lease_free(&state->lease);
	lease_set_free(state->peers);
	*state = (struct state){ 0 };
}

const struct mac *state_mac_find(const struct state *state, const char *device)
{
	for (size_t i = 0; i < state->mac_count; i++)
		if (strcmp(state->macs[i].device, device) == 0)
			return &state->macs[i].mac;
	return NULL;
}

struct decoding {
	const char *prefix;
	struct state *state;
	bool other_network;
	bool ended;
	uint64_t lines; // before the current one
};

static bool parse_i64(const char **cursor, int64_t *ret)
{
	const char *p = *cursor;
	bool negative = parse_char(&p, '-');
	uint64_t value;

	if (!parse_u64(&p, INT64_MAX, &value))
		return false;
	*ret = negative ? -(int64_t)value : (int64_t)value;
	*cursor = p;
	return true;
}

// Reads what put_lease wrote, by its shape: a JSON parser for the whole line would read each value
// twice.
static int decode_lease(const char *line, size_t len, const char *name, struct lease *ret,
			struct err *e)
{
	const char *end = line + len, *p = line, *key;
	struct lease lease = { 0 };
	size_t key_len;
	int r;

	if (!parse_literal(&p, "{\"") || !parse_literal(&p, name) || !parse_literal(&p, "\":\""))
		return err_set(e, -EBADMSG, "not a %s", name);
	key = p;
	key_len = strcspn(p, "\"\n");
	p += key_len;
	if (!parse_literal(&p, "\",\"revision\":") || !parse_i64(&p, &lease.mod_revision) ||
	    !parse_literal(&p, ",\"session\":") || !parse_i64(&p, &lease.session) ||
	    !parse_literal(&p, ",\"value\":") || p >= end || end[-1] != '}')
		return err_set(e, -EBADMSG, "a malformed %s", name);
	r = subnet_parse_key(key, key_len, &lease.subnet, e);
	if (r == 0)
		r = lease_attrs_parse(p, (size_t)(end - 1 - p), &lease.attrs, e);
	if (r < 0)
		return r;
	*ret = lease;
	return 0;
}

static int decode_peer(struct decoding *decoding, const char *line, size_t len, struct err *e)
{
	struct lease lease;
	int r;

	if (decoding->other_network)
		return 0;
	r = decode_lease(line, len, "peer", &lease, e);
	if (r == 0)
		(void)lease_set_put(decoding->state->peers, &lease);
	return r;
}

static int decode_own_lease(struct decoding *decoding, const char *line, size_t len, struct err *e)
{
	struct lease lease;
	int r;

	if (decoding->other_network)
		return 0;
	r = decode_lease(line, len, "lease", &lease, e);
	if (r < 0)
		return r;
	lease_free(&decoding->state->lease);
	decoding->state->lease = lease;
	decoding->state->has_lease = true;
	return 0;
}

static int decode_config(struct decoding *decoding, const json_t *object, struct err *e)
{
	const char *text = NULL;
	int r;

	r = json_get_string(object, "config", &text, e);
	if (r < 0 || decoding->other_network || !text)
		return r;
	free(decoding->state->config_text);
	decoding->state->config_text = xstrdup(text);
	return 0;
}

static int decode_mac(struct decoding *decoding, const json_t *object, struct err *e)
{
	struct state *state = decoding->state;
	const char *device = NULL, *text = NULL;
	struct state_mac mac = { 0 };
	int r;

	r = json_get_string(object, "device", &device, e);
	if (r == 0)
		r = json_get_string(object, "mac", &text, e);
	if (r < 0)
		return r;
	if (!device || !text || text_copy(mac.device, sizeof(mac.device), device) < 0 ||
	    mac_parse(text, &mac.mac) < 0 || state->mac_count >= STATE_MACS_MAX)
		return err_set(e, -EBADMSG, "a malformed MAC");
	if (!state_mac_find(state, mac.device))
		state->macs[state->mac_count++] = mac;
	return 0;
}

static int decode_end(struct decoding *decoding, const json_t *object, struct err *e)
{
	int64_t lines = -1;
	int r;

	r = json_get_int(object, "end", 0, INT64_MAX, &lines, e);
	if (r < 0)
		return r;
	if ((uint64_t)lines != decoding->lines)
		return err_set(e, -EBADMSG, "%" PRId64 " lines were written, %" PRIu64 " are here",
			       lines, decoding->lines);
	decoding->ended = true;
	return 0;
}

static int decode_header(struct decoding *decoding, const json_t *object, struct err *e)
{
	const char *prefix = NULL;
	int64_t schema = 0;
	int r;

	r = json_get_int(object, "schema", 1, INT32_MAX, &schema, e);
	if (r < 0)
		return r;
	if (schema == 0)
		return err_set(e, -EBADMSG, "no schema version");
	if (schema > STATE_SCHEMA)
		return err_set(e, -EPROTONOSUPPORT,
			       "schema %" PRId64 " is of a newer weftd, this one knows %d", schema,
			       STATE_SCHEMA);
	r = json_get_string(object, "prefix", &prefix, e);
	if (r < 0)
		return r;
	decoding->other_network = !prefix || strcmp(prefix, decoding->prefix) != 0;
	return 0;
}

static int decode_object(struct decoding *decoding, const char *line, size_t len, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	int r;

	r = json_read(line, len, LINE_MAX_BYTES, &object, e);
	if (r < 0)
		return r;
	if (!json_is_object(object))
		return err_set(e, -EBADMSG, "not an object");
	if (decoding->lines == 0)
		return decode_header(decoding, object, e);
	if (json_member(object, "end"))
		return decode_end(decoding, object, e);
	if (json_member(object, "device"))
		return decode_mac(decoding, object, e);
	if (json_member(object, "config"))
		return decode_config(decoding, object, e);
	return 0; // a later weftd of the same schema may add kinds of lines
}

static int decode_line(struct decoding *decoding, const char *line, size_t len, struct err *e)
{
	if (decoding->ended)
		return err_set(e, -EBADMSG, "something after the end");
	if (memchr(line, '\0', len))
		return err_set(e, -EBADMSG, "a NUL byte");
	if (decoding->lines > 0 && strncmp(line, "{\"peer\":", 8) == 0)
		return decode_peer(decoding, line, len, e);
	if (decoding->lines > 0 && strncmp(line, "{\"lease\":", 9) == 0)
		return decode_own_lease(decoding, line, len, e);
	return decode_object(decoding, line, len, e);
}

static int decode_lines(struct decoding *decoding, const char *text, size_t len, struct err *e)
{
	const char *end = text + len;
	int r;

	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));

		if (!line_end)
			return err_set(e, -EBADMSG, "line %" PRIu64 " is cut off", decoding->lines + 1);
		r = decode_line(decoding, text, (size_t)(line_end - text), e);
		if (r == -EPROTONOSUPPORT)
			return r;
		if (r < 0) {
			(void)err_wrap(e, "line %" PRIu64, decoding->lines + 1);
			return -EBADMSG;
		}
		decoding->lines++;
		text = line_end + 1;
	}
	return decoding->ended ? 0 : err_set(e, -EBADMSG, "the end is missing");
}

int state_decode(const char *text, size_t len, const char *prefix, struct state *ret, struct err *e)
{
	struct decoding decoding = { .prefix = prefix, .state = ret };
	int r;

	ret->peers = lease_set_new();
	r = decode_lines(&decoding, text, len, e);
	if (r < 0) {
		state_free(ret);
		return r;
	}
	if (decoding.other_network)
		return err_set(e, -ESTALE, "of another network, not of the one at %s", prefix);
	return 0;
}
