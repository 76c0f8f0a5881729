// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of netlink messages as bytes, without a kernel: what we write, and that nothing we read can hurt.

#include "core/mem.h"
#include "kernel/decode.h"
#include "kernel/encode.h"
#include "kernel/nlmsg.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct nlmsg_view first(const void *data, size_t len)
{
	struct nlmsg_view msg = { 0 };
	size_t offset = 0;

	assert_int_equal(nlmsg_next(data, len, &offset, &msg), 1);
	assert_int_equal(offset, len);
	assert_int_equal(nlmsg_next(data, len, &offset, &msg), 0);
	return msg;
}

static void test_writer_keeps_within_its_buffer(void **state)
{
	uint8_t buffer[36];
	struct nlmsg msg;

	(void)state;
	memset(buffer, 0xaa, sizeof(buffer));
	nlmsg_begin(&msg, buffer, 32, 1, 2);
	nlmsg_put_u32(&msg, 3, 4);
	nlmsg_put_string(&msg, 5, "abc");
	assert_false(msg.overflow);
	assert_int_equal(nlmsg_end(&msg), 32);
	nlmsg_put_u8(&msg, 6, 7);
	assert_true(msg.overflow);
	assert_int_equal(nlmsg_end(&msg), 0);
	assert_int_equal(buffer[32], 0xaa);
	nlmsg_begin(&msg, buffer, 12, 1, 2);
	assert_true(msg.overflow);
	nlmsg_nest_end(&msg, nlmsg_nest_begin(&msg, 1));
	assert_int_equal(nlmsg_end(&msg), 0);
}

static void test_writer_lays_out_bytes(void **state)
{
	uint8_t buffer[64];
	struct nlattr_view table[8], inner[8];
	struct nlmsg_view view;
	struct nlmsg msg;
	uint16_t port = 0;
	uint32_t number = 0;
	size_t nest;

	(void)state;
	nlmsg_begin(&msg, buffer, sizeof(buffer), RTM_NEWLINK, NLM_F_REQUEST);
	nest = nlmsg_nest_begin(&msg, 5);
	nlmsg_put_be16(&msg, 1, 8472);
	nlmsg_put_u8(&msg, 2, 9);
	nlmsg_nest_end(&msg, nest);
	nlmsg_put_u32(&msg, 6, 77);
	nlmsg_put_flag(&msg, 7);
	nlmsg_set_sequence(buffer, 99);
	view = first(buffer, nlmsg_end(&msg));
	assert_int_equal(view.sequence, 99);
	assert_int_equal(view.type, RTM_NEWLINK);
	assert_int_equal(view.flags, NLM_F_REQUEST);
	assert_int_equal(nlattr_index(view.data, view.len, table, 8), 0);
	assert_null(table[1].data);
	assert_non_null(table[7].data);
	assert_int_equal(table[7].len, 0);
	assert_int_equal(nlattr_u32(&table[6], &number), 0);
	assert_int_equal(number, 77);
	assert_int_equal(nlattr_index(table[5].data, table[5].len, inner, 8), 0);
	assert_int_equal(inner[1].data[0], 0x21);
	assert_int_equal(inner[1].data[1], 0x18);
	assert_int_equal(nlattr_be16(&inner[1], &port), 0);
	assert_int_equal(port, 8472);
}

// An attribute that says to be attr_len long, in len bytes.
static int index_one(uint16_t attr_len, uint16_t type, size_t len, struct nlattr_view table[2])
{
	static uint8_t bytes[8]; // the views point into it
	struct nlattr header = { attr_len, type };

	memcpy(bytes, &header, sizeof(header));
	return nlattr_index(bytes, len, table, 2);
}

static void test_reader_refuses_lengths_that_lie(void **state)
{
	struct nlmsghdr header = { .nlmsg_len = 16, .nlmsg_type = 20 };
	static const uint32_t bad[] = { 0, 15, 21, UINT32_MAX };
	struct nlmsg_view msg;
	uint8_t bytes[20] = { 0 };
	struct nlattr_view table[2];
	size_t offset;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		header.nlmsg_len = bad[i];
		memcpy(bytes, &header, sizeof(header));
		offset = 0;
		assert_int_equal(nlmsg_next(bytes, sizeof(bytes), &offset, &msg), -EBADMSG);
		assert_int_equal(offset, 0);
	}
	offset = 8; // less than a header is left
	assert_int_equal(nlmsg_next(bytes, sizeof(bytes), &offset, &msg), -EBADMSG);
	// A length that is no multiple of four may be the last one.
	header.nlmsg_len = 17;
	memcpy(bytes, &header, sizeof(header));
	offset = 0;
	assert_int_equal(nlmsg_next(bytes, 17, &offset, &msg), 1);
	assert_int_equal(offset, 17);
	assert_int_equal(msg.len, 1);

	assert_int_equal(index_one(3, 1, 4, table), -EBADMSG);
	assert_int_equal(index_one(5, 1, 4, table), -EBADMSG);
	assert_int_equal(index_one(5, 1, 5, table), 0);
	assert_int_equal(table[1].len, 1);
	assert_int_equal(index_one(4, 1, 6, table), 0);	   // padding
	assert_int_equal(index_one(4, 4095, 4, table), 0); // a type that is not ours
	assert_null(table[1].data);
}

static void test_values_of_wrong_length(void **state)
{
	struct nlattr_view absent = { 0 }, three = { (const uint8_t *)"\1\2\3", 3 };
	struct ip ip = { 0 };
	struct mac mac = { { 9 } };
	char text[3] = "?";
	uint32_t u32 = 5;
	uint16_t u16 = 6;
	uint8_t u8 = 7;
	bool truth = true;

	(void)state;
	assert_int_equal(nlattr_u32(&absent, &u32), 0);
	assert_int_equal(nlattr_be16(&absent, &u16), 0);
	assert_int_equal(nlattr_bool(&absent, &truth), 0);
	assert_int_equal(nlattr_ip(&absent, AF_INET, &ip), 0);
	assert_int_equal(nlattr_string(&absent, text, sizeof(text)), 0);
	assert_int_equal(u32, 5);
	assert_int_equal(u16, 6);
	assert_true(truth);
	assert_string_equal(text, "?");
	assert_int_equal(nlattr_u32(&three, &u32), -EBADMSG);
	assert_int_equal(nlattr_u16(&three, &u16), -EBADMSG);
	assert_int_equal(nlattr_be16(&three, &u16), -EBADMSG);
	assert_int_equal(nlattr_u8(&three, &u8), -EBADMSG);
	assert_int_equal(nlattr_bool(&three, &truth), -EBADMSG);
	assert_int_equal(nlattr_ip(&three, AF_INET, &ip), -EBADMSG);
	assert_int_equal(nlattr_ip(&three, AF_INET6, &ip), -EBADMSG);
	assert_int_equal(u32 + u16 + u8, 18);
	// A device without a 48-bit address is no mistake.
	assert_int_equal(nlattr_mac(&three, &mac), 0);
	assert_int_equal(mac.bytes[0], 9);
	assert_int_equal(nlattr_string(&three, text, sizeof(text)), 0);
	assert_string_equal(text, "\1\2");
}

// An acknowledgement as the kernel sends it: the refused request's header, all of the request if not capped, the words.
static size_t make_ack(uint8_t *buffer, size_t size, int error, size_t request_len, bool capped,
		       const char *text)
{
	struct nlmsgerr body = { .error = error, .msg = { .nlmsg_len = (uint32_t)request_len } };
	static const uint8_t request[64];
	struct nlmsg msg;

	nlmsg_begin(&msg, buffer, size, NLMSG_ERROR,
		    (text ? NLM_F_ACK_TLVS : 0) | (capped ? NLM_F_CAPPED : 0));
	nlmsg_put_header(&msg, &body, sizeof(body));
	if (!capped)
		nlmsg_put_header(&msg, request, request_len - sizeof(body.msg));
	if (text)
		nlmsg_put_string(&msg, NLMSGERR_ATTR_MSG, text);
	return nlmsg_end(&msg);
}

static void test_acknowledgements(void **state)
{
	uint8_t buffer[256];
	struct nlmsg_view msg;
	struct nlmsg_ack ack;
	size_t len;

	(void)state;
	msg = first(buffer, make_ack(buffer, sizeof(buffer), 0, 40, true, NULL));
	assert_int_equal(nlmsg_read_error(&msg, &ack), 0);
	assert_int_equal(ack.error, 0);
	assert_string_equal(ack.text, "");
	msg = first(buffer, make_ack(buffer, sizeof(buffer), -17, 40, true, "It is there"));
	assert_int_equal(nlmsg_read_error(&msg, &ack), 0);
	assert_int_equal(ack.error, -17);
	assert_string_equal(ack.text, "It is there");
	msg = first(buffer, make_ack(buffer, sizeof(buffer), -17, 40, false, "It is there"));
	assert_int_equal(nlmsg_read_error(&msg, &ack), 0);
	assert_string_equal(ack.text, "It is there");
	// Cut on the way: the code counts, the words are a help.
	for (len = sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr); len < msg.len; len++) {
		msg.len = len;
		assert_int_equal(nlmsg_read_error(&msg, &ack), 0);
		assert_int_equal(ack.error, -17);
	}
	msg.len = sizeof(struct nlmsgerr) - 1;
	assert_int_equal(nlmsg_read_error(&msg, &ack), -EBADMSG);
	msg = first(buffer, make_ack(buffer, sizeof(buffer), 17, 40, true, NULL));
	assert_int_equal(nlmsg_read_error(&msg, &ack), -EBADMSG);
	msg = first(buffer, make_ack(buffer, sizeof(buffer), INT32_MIN, 40, true, NULL));
	assert_int_equal(nlmsg_read_error(&msg, &ack), -EBADMSG);
	// The end of a dump: nothing, a count, an error.
	msg = (struct nlmsg_view){ .type = NLMSG_DONE };
	assert_int_equal(nlmsg_read_done(&msg, &ack), 0);
	assert_int_equal(ack.error, 0);
	msg.data = (const uint8_t *)&(int32_t){ -19 };
	msg.len = 4;
	assert_int_equal(nlmsg_read_done(&msg, &ack), 0);
	assert_int_equal(ack.error, -19);
	msg.data = (const uint8_t *)&(int32_t){ 7 };
	assert_int_equal(nlmsg_read_done(&msg, &ack), 0);
	assert_int_equal(ack.error, 0);
}

// Requests have the shape of notifications: what we write is what we read.
static void round_trip(const struct kernel_object *object, struct decoded *ret)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct nlmsg_view msg = first(buffer, encode_object(NETLINK_REPLACE, object, buffer));

	assert_int_equal(msg.flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
	assert_int_equal(decode_object(&msg, ret), 0);
	assert_int_equal(ret->object.kind, object->kind);
	assert_false(ret->removed);
}

static const struct kernel_object examples[] = {
	{ .kind = KERNEL_ADDR,
	  .addr = { .ifindex = 3, .ip = { AF_INET, { 10, 1, 2, 0 } }, .len = 32, .flags = 0x200 } },
	{ .kind = KERNEL_NEIGH,
	  .neigh = { 3, { AF_INET6, { 0xfd, 1 } }, { { 2, 3, 4, 5, 6, 7 } }, NUD_PERMANENT } },
	{ .kind = KERNEL_FDB,
	  .fdb = { .ifindex = 3,
		   .mac = { { 2, 3 } },
		   .remote = { AF_INET, { 9, 9 } },
		   .state = NUD_PERMANENT } },
	{ .kind = KERNEL_NEXTHOP,
	  .nexthop = { .id = 7,
		       .ifindex = 3,
		       .gateway = { AF_INET, { 10, 1, 2 } },
		       .protocol = 157,
		       .onlink = true } },
	{ .kind = KERNEL_ROUTE,
	  .route = { .dst = { { AF_INET, { 10, 1, 2 } }, 24 },
		     .table = RT_TABLE_MAIN,
		     .nexthop_id = 7,
		     .protocol = 157,
		     .type = RTN_UNICAST } },
	{ .kind = KERNEL_ROUTE,
	  .route = { .dst = { { AF_INET, { 10, 1, 2 } }, 24 },
		     .table = 70000,
		     .metric = 5,
		     .gateway = { AF_INET6, { 0xfe, 0x80 } },
		     .ifindex = 3,
		     .protocol = 3,
		     .scope = 253,
		     .type = RTN_UNICAST,
		     .onlink = true,
		     .prefsrc = { AF_INET, { 10, 1, 1 } } } },
};

static void test_round_trips(void **state)
{
	struct decoded got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		char want_text[KERNEL_OBJECT_STR_MAX], got_text[KERNEL_OBJECT_STR_MAX];

		round_trip(&examples[i], &got);
		assert_string_equal(kernel_object_str(&examples[i], want_text),
				    kernel_object_str(&got.object, got_text));
	}
	round_trip(&examples[0], &got);
	assert_memory_equal(&got.object.addr, &examples[0].addr, sizeof(got.object.addr));
	round_trip(&examples[1], &got);
	assert_memory_equal(&got.object.neigh, &examples[1].neigh, sizeof(got.object.neigh));
	round_trip(&examples[5], &got);
	assert_int_equal(got.object.route.table, 70000);
	assert_int_equal(got.object.route.metric, 5);
	assert_int_equal(got.object.route.scope, 253);
	assert_true(ip_equal(&got.object.route.gateway, &examples[5].route.gateway));
	assert_true(ip_equal(&got.object.route.prefsrc, &examples[5].route.prefsrc));
}

static void test_deletes_are_marked(void **state)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct nlmsg_view msg;
	struct decoded got;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples); i++) {
		msg = first(buffer, encode_object(NETLINK_DELETE, &examples[i], buffer));
		assert_int_equal(msg.flags, NLM_F_REQUEST | NLM_F_ACK);
		assert_int_equal(decode_object(&msg, &got), 0);
		assert_true(got.removed);
	}
}

// The example as a message, with one byte of its family's header changed.
static int decode_changed(size_t example, size_t offset, uint8_t value, struct decoded *ret)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	size_t len = encode_object(NETLINK_REPLACE, &examples[example], buffer);
	struct nlmsg_view msg;

	buffer[sizeof(struct nlmsghdr) + offset] = value;
	msg = first(buffer, len);
	return decode_object(&msg, ret);
}

static void test_what_is_not_ours_or_not_true(void **state)
{
	struct decoded got;

	(void)state;
	// Prefixes longer than their addresses.
	assert_int_equal(decode_changed(0, offsetof(struct ifaddrmsg, ifa_prefixlen), 32, &got), 0);
	assert_int_equal(decode_changed(0, offsetof(struct ifaddrmsg, ifa_prefixlen), 33, &got),
			 -EBADMSG);
	assert_int_equal(decode_changed(4, offsetof(struct rtmsg, rtm_dst_len), 32, &got), 0);
	assert_int_equal(decode_changed(4, offsetof(struct rtmsg, rtm_dst_len), 33, &got), -EBADMSG);
	// An address of the other family's length.
	assert_int_equal(decode_changed(1, offsetof(struct ndmsg, ndm_family), AF_INET, &got),
			 -EBADMSG);
	assert_int_equal(decode_changed(4, offsetof(struct rtmsg, rtm_family), AF_INET6, &got),
			 -EBADMSG);
	// Families and entries that we have no object for.
	assert_int_equal(decode_changed(0, offsetof(struct ifaddrmsg, ifa_family), AF_MPLS, &got),
			 -ENOMSG);
	assert_int_equal(decode_changed(4, offsetof(struct rtmsg, rtm_family), AF_MPLS, &got), -ENOMSG);
	assert_int_equal(decode_changed(1, offsetof(struct ndmsg, ndm_flags), NTF_PROXY, &got),
			 -ENOMSG);
	assert_int_equal(decode_changed(2, offsetof(struct ndmsg, ndm_flags), NTF_MASTER, &got),
			 -ENOMSG);
	assert_int_equal(decode_changed(3, offsetof(struct nhmsg, nh_family), AF_UNSPEC, &got), 0);
	assert_true(got.object.nexthop.other);
	// A source-specific route is not the route to that place.
	assert_int_equal(decode_changed(4, offsetof(struct rtmsg, rtm_src_len), 8, &got), 0);
	assert_true(got.object.route.other);
}

// Every message cut at every length, and every byte of it changed in turn: an answer, never a crash. Run under a
// sanitizer this is worth most.
static void test_damage_is_survived(void **state)
{
	uint8_t buffer[ENCODE_REQUEST_MAX], copy[ENCODE_REQUEST_MAX];
	struct link link = {
		.name = "flannel.1",
		.ifindex = 3,
		.vxlan = { .vni = 1, .local = { AF_INET6, { 0xfd } }, .port = 4789, .gbp = true },
		.ipip = { .local = { AF_INET, { 10, 9 } }, .remote = { AF_INET, { 10, 9, 0, 2 } } }
	};
	size_t refused = 0, accepted = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(examples) + 2; i++) {
		size_t len = i < ARRAY_SIZE(examples)
				     ? encode_object(NETLINK_REPLACE, &examples[i], buffer)
			     : i == ARRAY_SIZE(examples) ? encode_vxlan_create(&link, buffer)
							 : encode_ipip_change(3, &link, buffer);

		for (size_t at = 0; at < 2 * len; at++) {
			uint8_t *exact = xmemdup(buffer, len);
			size_t offset = 0, part = at < len ? at : len;
			struct nlmsg_view msg;
			struct decoded got;
			int r;

			memcpy(copy, exact, len);
			if (at >= len)
				copy[at - len] ^= 0x81;
			free(exact);
			exact = xmemdup(copy, part ? part : 1);
			r = nlmsg_next(exact, part, &offset, &msg);
			if (r == 1)
				r = decode_object(&msg, &got);
			assert_true(r == 0 || r == -EBADMSG || r == -ENOMSG);
			refused += r < 0;
			accepted += r == 0;
			free(exact);
		}
	}
	assert_true(refused > 100);
	assert_true(accepted > 100);
}

static void test_vxlan_link_as_written(void **state)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	struct link want = { .name = "flannel.1",
			     .mac = { { 2, 3 } },
			     .mtu_bytes = 1450,
			     .vxlan = { .vni = 7,
					.underlay_ifindex = 4,
					.local = { AF_INET, { 10, 9 } },
					.port = 4789,
					.learning = true,
					.gbp = true } };
	struct nlmsg_view msg = first(buffer, encode_vxlan_create(&want, buffer));
	struct ifinfomsg header;
	struct link got;

	(void)state;
	assert_int_equal(decode_link(&msg, &got), -EBADMSG); // a request has no index yet
	memcpy(&header, msg.data, sizeof(header));
	header.ifi_index = 9;
	header.ifi_flags = IFF_UP;
	memcpy(buffer + sizeof(struct nlmsghdr), &header, sizeof(header));
	assert_int_equal(decode_link(&msg, &got), 0);
	assert_int_equal(got.ifindex, 9);
	assert_true(got.up);
	assert_string_equal(got.name, "flannel.1");
	assert_string_equal(got.kind, "vxlan");
	assert_true(mac_equal(&got.mac, &want.mac));
	assert_int_equal(got.mtu_bytes, 1450);
	assert_int_equal(got.vxlan.vni, 7);
	assert_int_equal(got.vxlan.underlay_ifindex, 4);
	assert_true(ip_equal(&got.vxlan.local, &want.vxlan.local));
	assert_int_equal(got.vxlan.port, 4789);
	assert_true(got.vxlan.learning && got.vxlan.gbp);
	assert_false(got.vxlan.proxy || got.vxlan.l2miss || got.vxlan.l3miss);
	// A bridge's word about its port is not about the device.
	header.ifi_family = AF_BRIDGE;
	memcpy(buffer + sizeof(struct nlmsghdr), &header, sizeof(header));
	assert_int_equal(decode_link(&msg, &got), -ENOMSG);
}

static void give_index(void *request)
{
	struct ifinfomsg header = { .ifi_index = 9 };
	memcpy((uint8_t *)request + sizeof(struct nlmsghdr), &header, sizeof(header));
}

static void test_ipip_link_as_written(void **state)
{
	static const struct ip any = { .family = AF_INET }; // the kernel's word for "none"
	uint8_t buffer[ENCODE_REQUEST_MAX];
	const struct {
		struct ip local, remote;
		bool has_local, has_remote;
	} cases[] = {
		{ { AF_INET, { 10, 9 } }, { 0 }, true, false },
		{ { AF_INET, { 10, 9 } }, { AF_INET, { 10, 9, 0, 2 } }, true, true },
		{ { AF_INET, { 10, 9 } }, any, true, false },
		{ { 0 }, { 0 }, false, false },
		{ any, any, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct link want = { .name = "flannel.ipip",
				     .mtu_bytes = 1480,
				     .ipip = { cases[i].local, cases[i].remote } };
		struct nlmsg_view msg = first(buffer, encode_ipip_create(&want, buffer));
		struct link got;

		give_index(buffer);
		assert_int_equal(decode_link(&msg, &got), 0);
		assert_string_equal(got.name, "flannel.ipip");
		assert_string_equal(got.kind, "ipip");
		assert_int_equal(got.mtu_bytes, 1480);
		assert_int_equal(ip_is_set(&got.ipip.local), cases[i].has_local);
		assert_int_equal(ip_is_set(&got.ipip.remote), cases[i].has_remote);
		if (cases[i].has_local)
			assert_true(ip_equal(&got.ipip.local, &cases[i].local));
		if (cases[i].has_remote)
			assert_true(ip_equal(&got.ipip.remote, &cases[i].remote));
	}
}

static void test_a_vxlan_that_tells_no_port(void **state)
{
	struct ifinfomsg header = { .ifi_index = 9 };
	uint8_t buffer[256];
	struct nlmsg_view view;
	struct nlmsg msg;
	struct link got;
	size_t info;

	(void)state;
	nlmsg_begin(&msg, buffer, sizeof(buffer), RTM_NEWLINK, 0);
	nlmsg_put_header(&msg, &header, sizeof(header));
	nlmsg_put_string(&msg, IFLA_IFNAME, "vx");
	info = nlmsg_nest_begin(&msg, IFLA_LINKINFO);
	nlmsg_put_string(&msg, IFLA_INFO_KIND, "vxlan");
	nlmsg_nest_end(&msg, nlmsg_nest_begin(&msg, IFLA_INFO_DATA));
	nlmsg_nest_end(&msg, info);
	view = first(buffer, nlmsg_end(&msg));
	assert_int_equal(decode_link(&view, &got), 0);
	assert_int_equal(got.vxlan.port, 8472);
}

static void test_texts(void **state)
{
	static const struct {
		struct kernel_object object;
		const char *text;
	} cases[] = {
		{ { .kind = KERNEL_LINK, .link = { .name = "flannel.1", .mtu_bytes = 1450, .up = true } },
		  "link flannel.1 00:00:00:00:00:00 mtu 1450 up" },
		{ { .kind = KERNEL_ADDR,
		    .addr = { .ifindex = 7, .ip = { AF_INET, { 10, 1 } }, .len = 32 } },
		  "address 10.1.0.0/32 dev 7" },
		{ { .kind = KERNEL_NEIGH, .neigh = { 7, { AF_INET, { 10, 1 } }, { { 2 } }, 0 } },
		  "neighbour 10.1.0.0 lladdr 02:00:00:00:00:00 dev 7" },
		{ { .kind = KERNEL_FDB, .fdb = { .ifindex = 7, .remote = { AF_INET, { 9 } } } },
		  "fdb 00:00:00:00:00:00 dst 9.0.0.0 dev 7" },
		{ { .kind = KERNEL_NEXTHOP,
		    .nexthop = { .id = 5, .ifindex = 7, .gateway = { AF_INET, { 9 } } } },
		  "nexthop 5 via 9.0.0.0 dev 7" },
		{ { .kind = KERNEL_NEXTHOP, .nexthop = { .id = 5, .other = true } },
		  "nexthop 5 of another kind" },
		{ { .kind = KERNEL_ROUTE,
		    .route = { .dst = { { AF_INET, { 10, 1, 2 } }, 24 },
			       .gateway = { AF_INET, { 10, 1, 2 } },
			       .ifindex = 7,
			       .onlink = true } },
		  "route 10.1.2.0/24 via 10.1.2.0 dev 7 onlink" },
		{ { .kind = KERNEL_ROUTE,
		    .route = { .dst = { { AF_INET, { 10, 1, 2 } }, 24 },
			       .gateway = { AF_INET, { 9, 1, 2 } } } },
		  "route 10.1.2.0/24 via 9.1.2.0" },
		{ { .kind = KERNEL_ROUTE,
		    .route = { .dst = { { AF_INET, { 10, 1, 2 } }, 24 }, .ifindex = 7 } },
		  "route 10.1.2.0/24 dev 7" },
		{ { .kind = KERNEL_ROUTE,
		    .route = { .dst = { { AF_INET, { 10, 1, 2 } }, 24 }, .nexthop_id = 5, .onlink = true } },
		  "route 10.1.2.0/24 nexthop 5" },
		{ { .kind = KERNEL_ROUTE,
		    .route = { .dst = { { AF_INET, { 10 } }, 8 }, .multipath = true } },
		  "route 10.0.0.0/8 over several nexthops" },
	};
	char text[KERNEL_OBJECT_STR_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(kernel_object_str(&cases[i].object, text), cases[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer_keeps_within_its_buffer),
		cmocka_unit_test(test_writer_lays_out_bytes),
		cmocka_unit_test(test_reader_refuses_lengths_that_lie),
		cmocka_unit_test(test_values_of_wrong_length),
		cmocka_unit_test(test_acknowledgements),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_deletes_are_marked),
		cmocka_unit_test(test_what_is_not_ours_or_not_true),
		cmocka_unit_test(test_damage_is_survived),
		cmocka_unit_test(test_vxlan_link_as_written),
		cmocka_unit_test(test_ipip_link_as_written),
		cmocka_unit_test(test_a_vxlan_that_tells_no_port),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
