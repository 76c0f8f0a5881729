// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the text that a WireGuard in user space speaks, and of keys and peers as values.
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "kernel/wg_text.h"

#include <errno.h>
#include <string.h>

#define HEX_A "a8dac1a0be16d7a5f2b7e3bb3f3d4a5a1d2c4b6e8f90a1b2c3d4e5f601122334"
#define HEX_B "0101010101010101010101010101010101010101010101010101010101010101"
#define HEX_0 "0000000000000000000000000000000000000000000000000000000000000000"
#define END "errno=0\n\n"

static struct wg_key key_of(uint8_t byte)
{
	struct wg_key key;
	memset(key.bytes, byte, sizeof(key.bytes));
	return key;
}

struct list {
	struct wg_peer peers[8];
	struct wg_contact contacts[8];
	size_t count;
};

static void on_peer(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	struct list *list = arg;
	assert_true(list->count < ARRAY_SIZE(list->peers));
	list->peers[list->count] = *peer;
	list->contacts[list->count++] = *contact;
}

static int read_text(const char *text, const struct wg_settings *settings, struct list *list,
		     struct wg_text_reader *reader, struct err *e)
{
	memset(list, 0, sizeof(*list));
	wg_text_begin(reader, settings, on_peer, list);
	return wg_text_feed(reader, text, strlen(text), e);
}

static void test_keys(void **state)
{
	static const char *const bad[] = { "",
					   "AQ==",
					   "abc",
					   "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
					   "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE==",
					   "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=",
					   "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==" };
	struct wg_key key, same = key_of(1);
	char text[WG_KEY_STR_MAX];
	(void)state;
	assert_int_equal(wg_key_parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", &key), 0);
	assert_true(wg_key_equal(&key, &same) && wg_key_is_set(&key));
	assert_string_equal(wg_key_str(&key, text), "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
	same.bytes[31] ^= 0x80;
	assert_false(wg_key_equal(&key, &same));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(wg_key_parse(bad[i], &key) == -EINVAL, "%s", bad[i]);
}

static void test_answer(void **state)
{
	const struct wg_settings settings = { .private_key = key_of(1) };
	struct wg_text_reader reader;
	struct list list;
	struct err e;
	char text[IPNET_STR_MAX];
	(void)state;
	int r = read_text("private_key=" HEX_B "\nlisten_port=51820\nfwmark=0\nof_later=x=y\n"
			  "public_key=" HEX_A "\npreshared_key=" HEX_0 "\nprotocol_version=1\n"
			  "endpoint=[2001:db8::7]:51821\nlast_handshake_time_sec=1700000001\n"
			  "last_handshake_time_nsec=5\ntx_bytes=148\nrx_bytes=92\n"
			  "persistent_keepalive_interval=25\nallowed_ip=fd00:1::/64\nallowed_ip=10.1.2.0/24\n"
			  "public_key=" HEX_B "\nallowed_ip=10.0.0.0/8\nallowed_ip=10.9.0.0/16\n"
			  "allowed_ip=10.8.0.0/16\n" END,
			  &settings, &list, &reader, &e);
	assert_int_equal(r, 0);
	assert_int_equal(reader.error, 0);
	assert_true(reader.state.has_private_key);
	assert_int_equal(reader.state.listen_port, 51820);
	assert_int_equal(list.count, 2);
	const struct wg_peer *peer = &list.peers[0];
	assert_int_equal(peer->public_key.bytes[0], 0xa8);
	assert_int_equal(peer->public_key.bytes[31], 0x34);
	assert_int_equal(peer->port, 51821);
	assert_int_equal(peer->keepalive_s, 25);
	assert_int_equal(peer->allowed_count, 2);
	assert_string_equal(ipnet_str(&peer->allowed[0], text), "10.1.2.0/24");
	assert_string_equal(ipnet_str(&peer->allowed[1], text), "fd00:1::/64");
	assert_false(peer->odd);
	assert_int_equal(list.contacts[0].handshake_s, 1700000001);
	assert_int_equal(list.contacts[0].sent_bytes, 148);
	assert_int_equal(list.contacts[0].received_bytes, 92);
	assert_true(list.peers[1].odd); // three addresses
	assert_false(ip_is_set(&list.peers[1].endpoint));
}

// A peer's preshared key is the device's, or the peer is odd; so with the device's own.
static void test_secrets_are_compared(void **state)
{
	const struct wg_settings with = { .private_key = key_of(1), .preshared_key = key_of(1) },
				 without = { .private_key = key_of(2) };
	static const struct {
		const char *line;
		bool odd_with, odd_without;
	} cases[] = { { "", true, false },
		      { "preshared_key=" HEX_0 "\n", true, false },
		      { "preshared_key=" HEX_B "\n", false, true },
		      { "preshared_key=" HEX_A "\n", true, true } };
	struct wg_text_reader reader;
	struct list list;
	struct err e;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = xasprintf("private_key=" HEX_B "\npublic_key=" HEX_A
						      "\n%s" END,
						      cases[i].line);
		assert_int_equal(read_text(text, &with, &list, &reader, &e), 0);
		check(list.peers[0].odd == cases[i].odd_with, "%s", cases[i].line);
		assert_true(reader.state.has_private_key);
		assert_int_equal(read_text(text, &without, &list, &reader, &e), 0);
		check(list.peers[0].odd == cases[i].odd_without, "%s", cases[i].line);
		assert_false(reader.state.has_private_key);
	}
}

static void test_hostile_answers(void **state)
{
	static const char *const bad[] = {
		"\n",
		"listen_port=1\n\n",
		"junk\n",
		"errno=x\n",
		"errno=99999\n",
		"errno=0\nlisten_port=1\n",
		"listen_port=65536\n",
		"listen_port=-1\n",
		"private_key=secretsecret\n",
		"public_key=" HEX_A "0\n",
		"public_key=g" HEX_A "\n",
		"allowed_ip=10.0.0.0/8\n",
		"rx_bytes=1\n",
		"public_key=" HEX_A "\nallowed_ip=10.0.0.0\n",
		"public_key=" HEX_A "\nallowed_ip=10.0.0.0/33\n",
		"public_key=" HEX_A "\nendpoint=192.0.2.1\n",
		"public_key=" HEX_A "\nendpoint=[192.0.2.1]:1\n",
		"public_key=" HEX_A "\nendpoint=2001:db8::1:1\n",
		"public_key=" HEX_A "\nendpoint=192.0.2.1:65536\n",
		"public_key=" HEX_A "\nendpoint=:1\n",
		"public_key=" HEX_A "\nendpoint=]:1\n",
		"public_key=" HEX_A "\nrx_bytes=18446744073709551616\n",
		"public_key=" HEX_A "\npersistent_keepalive_interval=65536\n",
	};
	static const struct wg_settings settings;
	struct wg_text_reader reader;
	struct list list;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = { 0 };
		int r = read_text(bad[i], &settings, &list, &reader, &e);
		check(r == -EBADMSG, "%s: %d", bad[i], r);
		check(strstr(e.msg, "makes no sense"), "%s: %s", bad[i], e.msg);
		check(!strstr(e.msg, "secret"), "a value is shown: %s", e.msg);
	}
	char line[WG_TEXT_LINE_MAX + 1];
	struct err e = { 0 };
	memset(line, 'a', sizeof(line));
	line[sizeof(line) - 1] = '\0';
	assert_int_equal(read_text(line, &settings, &list, &reader, &e), -EBADMSG);
	// A NUL inside a line hides nothing.
	wg_text_begin(&reader, &settings, on_peer, &list);
	assert_int_equal(wg_text_feed(&reader, "listen_port=1\0x\n", 16, &e), -EBADMSG);
}

static void test_error_answer(void **state)
{
	static const struct wg_settings settings;
	struct wg_text_reader reader;
	struct list list;
	struct err e;
	(void)state;
	assert_int_equal(read_text("errno=-22\n\n", &settings, &list, &reader, &e), 0);
	assert_int_equal(reader.error, -EINVAL);
	assert_int_equal(read_text("errno=1\n\n", &settings, &list, &reader, &e), 0);
	assert_int_equal(reader.error, -EPERM);
	assert_int_equal(read_text("errno=0\n", &settings, &list, &reader, &e), 1);
}

static void test_request(void **state)
{
	const struct wg_settings settings = { .private_key = key_of(1), .listen_port = 51820 };
	struct wg_change changes[4] = {
		{ .peer = { .public_key = key_of(1), .port = 5, .keepalive_s = 9 } },
		{ .remove = true, .peer = { .public_key = key_of(1) } },
		{ .peer = { .public_key = key_of(1), .greet = true } },
		{ .only_greet = true, .peer = { .public_key = key_of(1), .keepalive_s = 25 } },
	};
	struct wg_key none = { 0 };
	struct wg_text text;
	struct ipnet net;
	(void)state;
	assert_int_equal(ip_parse("2001:db8::1", &changes[0].peer.endpoint), 0);
	assert_int_equal(ipnet_parse("fd00::/64", &net), 0);
	wg_peer_allow(&changes[0].peer, &net);
	assert_int_equal(ipnet_parse("10.1.2.0/24", &net), 0);
	wg_peer_allow(&changes[0].peer, &net);
	wg_text_set(&settings, &none, changes, ARRAY_SIZE(changes), &text);
	_cleanup_free_ char *copy = xstrndup(text.data, text.len);
	assert_string_equal(
		copy, "set=1\nprivate_key=" HEX_B "\nlisten_port=51820\n"
		      "public_key=" HEX_B "\npreshared_key=" HEX_0 "\nendpoint=[2001:db8::1]:5\n"
		      "replace_allowed_ips=true\nallowed_ip=10.1.2.0/24\nallowed_ip=fd00::/64\n"
		      "persistent_keepalive_interval=9\n"
		      "public_key=" HEX_B "\nremove=true\n"
		      "public_key=" HEX_B "\npreshared_key=" HEX_0 "\npublic_key=" HEX_B "\n"
		      "update_only=true\npersistent_keepalive_interval=0\nreplace_allowed_ips=true\n"
		      "public_key=" HEX_B "\nupdate_only=true\npersistent_keepalive_interval=1\n"
		      "public_key=" HEX_B "\nupdate_only=true\npersistent_keepalive_interval=0\n"
		      "public_key=" HEX_B "\nupdate_only=true\npersistent_keepalive_interval=0\n"
		      "public_key=" HEX_B "\nupdate_only=true\npersistent_keepalive_interval=25\n\n");
	wg_text_free(&text);
	assert_null(text.data);
}

// The longest peer fits the room that is made for it.
static void test_longest_request(void **state)
{
	struct wg_change changes[50] = { 0 };
	struct wg_key key = key_of(0xff);
	struct wg_text text;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct wg_peer *peer = &changes[i].peer;
		peer->public_key = key;
		peer->greet = true;
		peer->port = 65535;
		assert_int_equal(ip_parse("1111:2222:3333:4444:5555:6666:7777:8888", &peer->endpoint),
				 0);
		for (size_t j = 0; j < WG_ALLOWED_MAX; j++) {
			struct ipnet net = ipnet_of(&peer->endpoint, 128);
			wg_peer_allow(peer, &net);
		}
	}
	wg_text_set(NULL, &key, changes, ARRAY_SIZE(changes), &text);
	assert_true(text.len > 4 && memcmp(text.data + text.len - 4, "=0\n\n", 4) == 0);
	wg_text_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_secrets_are_compared),
		cmocka_unit_test(test_hostile_answers),
		cmocka_unit_test(test_error_answer),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_longest_request),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
