// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the text by which a WireGuard in user space is asked and answers.
#include "kernel/wg_text.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// ---- requests ----

#define SETTINGS_MAX 128
#define PEER_MAX 896
#define HEX_MAX (2 * WG_KEY_BYTES + 1)

// Room was made for all of it: a buffer that grows would leave keys behind where it was before.
static void __attribute__((format(printf, 2, 3))) add(struct wg_text *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = vsnprintf(text->data + text->len, text->capacity - text->len, format, args);
	va_end(args);
	if (len > 0 && (size_t)len < text->capacity - text->len)
		text->len += (size_t)len;
}

static void add_key(struct wg_text *text, const char *name, const struct wg_key *key)
{
	char hex[HEX_MAX];
	text_hex(hex, key->bytes, sizeof(key->bytes));
	add(text, "%s=%s\n", name, hex);
	explicit_bzero(hex, sizeof(hex));
}

static void add_update(struct wg_text *text, const struct wg_peer *peer, uint16_t keepalive_s)
{
	add_key(text, "public_key", &peer->public_key);
	add(text, "update_only=true\npersistent_keepalive_interval=%u\n", keepalive_s);
}

// A keepalive that is switched on is sent at once, and with it the handshake. Before that it is off.
static void add_greeting(struct wg_text *text, const struct wg_peer *peer)
{
	add_update(text, peer, peer->keepalive_s ? peer->keepalive_s : 1);
	if (peer->keepalive_s == 0)
		add_update(text, peer, 0);
}

static void add_peer(struct wg_text *text, const struct wg_peer *peer, const struct wg_key *preshared)
{
	char ip[IP_STR_MAX], net[IPNET_STR_MAX];
	add_key(text, "public_key", &peer->public_key);
	add_key(text, "preshared_key", preshared);
	if (peer->endpoint.family == AF_INET6)
		add(text, "endpoint=[%s]:%u\n", ip_str(&peer->endpoint, ip), peer->port);
	else if (ip_is_set(&peer->endpoint))
		add(text, "endpoint=%s:%u\n", ip_str(&peer->endpoint, ip), peer->port);
	// A peer that is new drops packets until all of its lines were read: one that is greeted gets its addresses then.
	if (peer->greet)
		add_update(text, peer, 0);
	add(text, "replace_allowed_ips=true\n");
	for (size_t i = 0; i < peer->allowed_count; i++)
		add(text, "allowed_ip=%s\n", ipnet_str(&peer->allowed[i], net));
	if (peer->greet)
		add_greeting(text, peer);
	else
		add(text, "persistent_keepalive_interval=%u\n", peer->keepalive_s);
}

void wg_text_set(const struct wg_settings *settings, const struct wg_key *preshared_key,
		 const struct wg_change *changes, size_t count, struct wg_text *ret)
{
	struct wg_text text = { .capacity = SETTINGS_MAX + count * PEER_MAX };
	text.data = xmalloc(text.capacity);
	add(&text, "set=1\n");
	if (settings) {
		add_key(&text, "private_key", &settings->private_key);
		add(&text, "listen_port=%u\n", settings->listen_port);
	}
	for (size_t i = 0; i < count; i++) {
		if (changes[i].only_greet) {
			add_update(&text, &changes[i].peer, 0);
			add_greeting(&text, &changes[i].peer);
			continue;
		}
		if (!changes[i].remove) {
			add_peer(&text, &changes[i].peer, preshared_key);
			continue;
		}
		add_key(&text, "public_key", &changes[i].peer.public_key);
		add(&text, "remove=true\n");
	}
	add(&text, "\n");
	*ret = text;
}

void wg_text_free(struct wg_text *text)
{
	if (text->data)
		explicit_bzero(text->data, text->capacity);
	free(text->data);
	*text = (struct wg_text){ 0 };
}

// ---- answers ----

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_hex_key(const char *value, struct wg_key *ret)
{
	if (strlen(value) != HEX_MAX - 1)
		return -EINVAL;
	for (size_t i = 0; i < WG_KEY_BYTES; i++) {
		int high = hex_digit(value[2 * i]), low = hex_digit(value[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		ret->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int parse_number(const char *value, uint64_t max, uint64_t *ret)
{
	return parse_whole_u64(value, max, ret);
}

// "192.0.2.1:51820" or "[2001:db8::1]:51820". One with a zone is none that we give a peer.
static int parse_endpoint(const char *value, struct wg_peer *peer)
{
	const char *colon = strrchr(value, ':');
	uint64_t port;
	char ip[IP_STR_MAX];
	struct ip address;
	if (!colon || parse_number(colon + 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	bool in_brackets = value[0] == '[' && colon > value + 1 && colon[-1] == ']';
	const char *start = value + in_brackets, *end = colon - in_brackets;
	const char *zone = memchr(start, '%', (size_t)(end - start));
	if (zone)
		end = zone;
	if ((size_t)(end - start) >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, start, (size_t)(end - start));
	ip[end - start] = '\0';
	if (ip_parse(ip, &address) < 0 || (address.family == AF_INET6) != in_brackets)
		return -EINVAL;
	peer->endpoint = address;
	peer->port = (uint16_t)port;
	return 0;
}

static void finish_peer(struct wg_text_reader *reader)
{
	if (!reader->in_peer)
		return;
	if (!reader->has_preshared_key && wg_key_is_set(&reader->settings->preshared_key))
		reader->peer.odd = true;
	reader->in_peer = false;
	if (reader->fn)
		reader->fn(reader->arg, &reader->peer, &reader->contact);
}

static int read_private_key(struct wg_text_reader *reader, const char *value)
{
	struct wg_key key;
	int r = parse_hex_key(value, &key);
	reader->state.has_private_key = r == 0 && wg_key_equal(&key, &reader->settings->private_key);
	explicit_bzero(&key, sizeof(key));
	return r;
}

static int read_preshared_key(struct wg_text_reader *reader, const char *value)
{
	struct wg_key key;
	int r = parse_hex_key(value, &key);
	if (r == 0 && !wg_key_equal(&key, &reader->settings->preshared_key))
		reader->peer.odd = true;
	explicit_bzero(&key, sizeof(key));
	reader->has_preshared_key = true;
	return r;
}

static int read_public_key(struct wg_text_reader *reader, const char *value)
{
	finish_peer(reader);
	memset(&reader->peer, 0, sizeof(reader->peer));
	memset(&reader->contact, 0, sizeof(reader->contact));
	reader->has_preshared_key = false;
	int r = parse_hex_key(value, &reader->peer.public_key);
	reader->in_peer = r == 0;
	return r;
}

static int read_allowed(struct wg_text_reader *reader, const char *value)
{
	struct ipnet net;
	int r = ipnet_parse(value, &net);
	if (r == 0)
		wg_peer_allow(&reader->peer, &net);
	return r;
}

static int read_number_line(struct wg_text_reader *reader, const char *name, const char *value)
{
	uint64_t number = 0;
	int r = 0;
	if (strcmp(name, "listen_port") == 0) {
		r = parse_number(value, UINT16_MAX, &number);
		reader->state.listen_port = (uint16_t)number;
	} else if (strcmp(name, "persistent_keepalive_interval") == 0) {
		r = parse_number(value, UINT16_MAX, &number);
		reader->peer.keepalive_s = (uint16_t)number;
	} else if (strcmp(name, "last_handshake_time_sec") == 0) {
		r = parse_number(value, INT64_MAX, &number);
		reader->contact.handshake_s = (int64_t)number;
	} else if (strcmp(name, "rx_bytes") == 0) {
		r = parse_number(value, UINT64_MAX, &reader->contact.received_bytes);
	} else if (strcmp(name, "tx_bytes") == 0) {
		r = parse_number(value, UINT64_MAX, &reader->contact.sent_bytes);
	}
	return r;
}

static int read_errno(struct wg_text_reader *reader, const char *value)
{
	int64_t number;
	int r = parse_whole_i64(value, &number);
	if (r < 0 || number < -4095 || number > 4095)
		return -EINVAL;
	finish_peer(reader);
	reader->has_error = true;
	reader->error = number > 0 ? -(int)number : (int)number;
	return 0;
}

// Lines of a peer outside of one are no answer; names that we do not know are of a later version.
static int read_line(struct wg_text_reader *reader, const char *name, const char *value)
{
	static const char *const of_peer[] = { "preshared_key",
					       "endpoint",
					       "allowed_ip",
					       "persistent_keepalive_interval",
					       "last_handshake_time_sec",
					       "rx_bytes",
					       "tx_bytes" };
	for (size_t i = 0; !reader->in_peer && i < ARRAY_SIZE(of_peer); i++)
		if (strcmp(name, of_peer[i]) == 0)
			return -EINVAL;
	if (strcmp(name, "errno") == 0)
		return read_errno(reader, value);
	if (strcmp(name, "private_key") == 0)
		return read_private_key(reader, value);
	if (strcmp(name, "public_key") == 0)
		return read_public_key(reader, value);
	if (strcmp(name, "preshared_key") == 0)
		return read_preshared_key(reader, value);
	if (strcmp(name, "endpoint") == 0)
		return parse_endpoint(value, &reader->peer);
	if (strcmp(name, "allowed_ip") == 0)
		return read_allowed(reader, value);
	return read_number_line(reader, name, value);
}

static int refuse(struct err *e, const char *name)
{
	char text[TEXT_EXCERPT_MAX];
	return err_set(e, -EBADMSG, "an answer that makes no sense, at \"%s\"",
		       text_excerpt(name, strlen(name), text));
}

static int take_line(struct wg_text_reader *reader, struct err *e)
{
	char *line = reader->line, *equals = strchr(line, '=');
	if (line[0] == '\0') {
		reader->ended = true;
		return reader->has_error ? 0 : refuse(e, "");
	}
	if (!equals)
		return refuse(e, "a line without a name");
	*equals = '\0';
	if (reader->has_error || strlen(equals + 1) + (size_t)(equals - line) + 1 != reader->line_len ||
	    read_line(reader, line, equals + 1) < 0)
		return refuse(e, line);
	return 1;
}

void wg_text_begin(struct wg_text_reader *reader, const struct wg_settings *settings,
		   wg_peer_fn *fn, void *arg)
{
	memset(reader, 0, sizeof(*reader));
	reader->settings = settings;
	reader->fn = fn;
	reader->arg = arg;
}

int wg_text_feed(struct wg_text_reader *reader, const char *data, size_t len, struct err *e)
{
	for (size_t i = 0; i < len && !reader->ended; i++) {
		if (data[i] != '\n') {
			if (reader->line_len == sizeof(reader->line) - 1)
				return err_set(e, -EBADMSG,
					       "an answer with a line of more than %d bytes",
					       WG_TEXT_LINE_MAX - 1);
			reader->line[reader->line_len++] = data[i];
			continue;
		}
		reader->line[reader->line_len] = '\0';
		int r = take_line(reader, e);
		explicit_bzero(reader->line, reader->line_len);
		reader->line_len = 0;
		if (r < 0)
			return r;
	}
	return reader->ended ? 0 : 1;
}

void wg_text_end(struct wg_text_reader *reader)
{
	explicit_bzero(reader->line, sizeof(reader->line));
	reader->line_len = 0;
}
