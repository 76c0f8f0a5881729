// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of decoding the kernel's WireGuard messages: a peer that goes on in the next one, secrets, and what is malformed.
#include "unit.h"

#include "kernel/wg_decode.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct list {
	struct wg_peer peers[4];
	struct wg_contact contacts[4];
	size_t count;
};

static void on_peer(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	struct list *list = arg;
	assert_true(list->count < 4);
	list->peers[list->count] = *peer;
	list->contacts[list->count++] = *contact;
}

static struct wg_key key_of(uint8_t byte)
{
	struct wg_key key;
	memset(&key, byte, sizeof(key));
	return key;
}

static void begin(struct nlmsg *msg, void *buffer, size_t size)
{
	struct genlmsghdr header = { .cmd = WG_CMD_GET_DEVICE, .version = 1 };
	nlmsg_begin(msg, buffer, size, 30, 0);
	nlmsg_put_header(msg, &header, sizeof(header));
}

static void put_key(struct nlmsg *msg, uint16_t type, uint8_t byte)
{
	struct wg_key key = key_of(byte);
	nlmsg_put(msg, type, &key, sizeof(key));
}

static void put_allowed(struct nlmsg *msg, const char *text, uint8_t len)
{
	struct ip ip;
	assert_int_equal(ip_parse(text, &ip), 0);
	size_t nest = nlmsg_nest_begin(msg, 0);
	nlmsg_put_u16(msg, WGALLOWEDIP_A_FAMILY, ip.family);
	nlmsg_put_ip(msg, WGALLOWEDIP_A_IPADDR, &ip);
	nlmsg_put_u8(msg, WGALLOWEDIP_A_CIDR_MASK, len);
	nlmsg_nest_end(msg, nest);
}

static int decode(struct wg_decoder *decoder, struct nlmsg *msg)
{
	struct nlmsg_view view;
	size_t offset = 0, len = nlmsg_end(msg);
	assert_true(len > 0);
	assert_int_equal(nlmsg_next(msg->data, len, &offset, &view), 1);
	return wg_decode(decoder, &view);
}

static void test_peer_in_two_messages(void **state)
{
	const struct wg_settings settings = { .private_key = key_of(9), .preshared_key = key_of(8) };
	struct sockaddr_in6 endpoint = { .sin6_family = AF_INET6, .sin6_port = htons(51821) };
	int64_t time[2] = { 1700000001, 5 };
	uint64_t bytes = 148;
	struct list list = { 0 };
	struct wg_decoder decoder = { .settings = &settings, .fn = on_peer, .arg = &list };
	uint8_t buffer[2048];
	struct nlmsg msg;
	char text[IPNET_STR_MAX];
	(void)state;
	begin(&msg, buffer, sizeof(buffer));
	nlmsg_put_u16(&msg, WGDEVICE_A_LISTEN_PORT, 51820);
	put_key(&msg, WGDEVICE_A_PRIVATE_KEY, 9);
	size_t peers = nlmsg_nest_begin(&msg, WGDEVICE_A_PEERS), peer = nlmsg_nest_begin(&msg, 0);
	put_key(&msg, WGPEER_A_PUBLIC_KEY, 1);
	put_key(&msg, WGPEER_A_PRESHARED_KEY, 8);
	nlmsg_put(&msg, WGPEER_A_LAST_HANDSHAKE_TIME, time, sizeof(time));
	nlmsg_put(&msg, WGPEER_A_TX_BYTES, &bytes, sizeof(bytes));
	nlmsg_put_u16(&msg, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, 25);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::7", &endpoint.sin6_addr), 1);
	nlmsg_put(&msg, WGPEER_A_ENDPOINT, &endpoint, sizeof(endpoint));
	size_t list_nest = nlmsg_nest_begin(&msg, WGPEER_A_ALLOWEDIPS);
	put_allowed(&msg, "fd00::", 64);
	nlmsg_nest_end(&msg, list_nest);
	nlmsg_nest_end(&msg, peer);
	nlmsg_nest_end(&msg, peers);
	assert_int_equal(decode(&decoder, &msg), 0);
	assert_int_equal(list.count, 0); // it may go on
	begin(&msg, buffer, sizeof(buffer));
	peers = nlmsg_nest_begin(&msg, WGDEVICE_A_PEERS);
	peer = nlmsg_nest_begin(&msg, 0);
	put_key(&msg, WGPEER_A_PUBLIC_KEY, 1);
	list_nest = nlmsg_nest_begin(&msg, WGPEER_A_ALLOWEDIPS);
	put_allowed(&msg, "10.1.2.0", 24);
	nlmsg_nest_end(&msg, list_nest);
	nlmsg_nest_end(&msg, peer);
	peer = nlmsg_nest_begin(&msg, 0);
	put_key(&msg, WGPEER_A_PUBLIC_KEY, 2);
	nlmsg_nest_end(&msg, peer);
	nlmsg_nest_end(&msg, peers);
	assert_int_equal(decode(&decoder, &msg), 0);
	assert_int_equal(list.count, 1);
	wg_decode_end(&decoder);
	assert_int_equal(list.count, 2);
	assert_true(decoder.state.has_private_key);
	assert_int_equal(decoder.state.listen_port, 51820);
	const struct wg_peer *first = &list.peers[0];
	assert_false(first->odd);
	assert_int_equal(first->keepalive_s, 25);
	assert_int_equal(first->port, 51821);
	assert_string_equal(ip_str(&first->endpoint, text), "2001:db8::7");
	assert_int_equal(first->allowed_count, 2);
	assert_string_equal(ipnet_str(&first->allowed[0], text), "10.1.2.0/24");
	assert_int_equal(list.contacts[0].handshake_s, 1700000001);
	assert_int_equal(list.contacts[0].sent_bytes, 148);
	assert_true(list.peers[1].odd); // without our preshared key
}

static void test_malformed(void **state)
{
	enum { SHORT_KEY, NO_KEY, MASK, FAMILY, ENDPOINT, TIME, CASES };
	const struct wg_settings settings = { 0 };
	(void)state;
	for (int i = 0; i < CASES; i++) {
		struct list list = { 0 };
		struct wg_decoder decoder = { .settings = &settings, .fn = on_peer, .arg = &list };
		uint8_t buffer[1024], bytes[20] = { 0 };
		struct nlmsg msg;
		begin(&msg, buffer, sizeof(buffer));
		size_t peers = nlmsg_nest_begin(&msg, WGDEVICE_A_PEERS),
		       peer = nlmsg_nest_begin(&msg, 0);
		if (i == SHORT_KEY)
			nlmsg_put(&msg, WGPEER_A_PUBLIC_KEY, bytes, sizeof(bytes));
		else if (i != NO_KEY)
			put_key(&msg, WGPEER_A_PUBLIC_KEY, 1);
		if (i == ENDPOINT)
			nlmsg_put(&msg, WGPEER_A_ENDPOINT, bytes, sizeof(bytes));
		if (i == TIME)
			nlmsg_put(&msg, WGPEER_A_LAST_HANDSHAKE_TIME, bytes, 4);
		size_t nest = nlmsg_nest_begin(&msg, WGPEER_A_ALLOWEDIPS);
		if (i == MASK)
			put_allowed(&msg, "10.0.0.0", 33);
		if (i == FAMILY)
			nlmsg_nest_end(&msg, nlmsg_nest_begin(&msg, 0));
		nlmsg_nest_end(&msg, nest);
		nlmsg_nest_end(&msg, peer);
		nlmsg_nest_end(&msg, peers);
		check(decode(&decoder, &msg) == -EBADMSG, "case %d", i);
	}
}

static void test_family(void **state)
{
	struct genlmsghdr header = { .cmd = CTRL_CMD_NEWFAMILY, .version = 1 };
	uint8_t buffer[256];
	struct nlmsg_view view;
	struct nlmsg msg;
	uint16_t id = 0;
	size_t offset = 0;
	(void)state;
	nlmsg_begin(&msg, buffer, sizeof(buffer), GENL_ID_CTRL, 0);
	nlmsg_put_header(&msg, &header, sizeof(header));
	nlmsg_put_u16(&msg, CTRL_ATTR_FAMILY_ID, 33);
	nlmsg_put_string(&msg, CTRL_ATTR_FAMILY_NAME, "wireguard");
	assert_int_equal(nlmsg_next(buffer, nlmsg_end(&msg), &offset, &view), 1);
	assert_int_equal(wg_decode_family(&view, &id), 0);
	assert_int_equal(id, 33);
	view.len = GENL_HDRLEN;
	assert_int_equal(wg_decode_family(&view, &id), -EBADMSG);
	view.type = 30;
	assert_int_equal(wg_decode_family(&view, &id), -ENOMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peer_in_two_messages),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_family),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
