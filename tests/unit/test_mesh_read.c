// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of reading another agent's measurements.
#include "unit.h"

#include "cli/mesh_read.h"
#include "core/json.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define WAY(state, sent, lost, rtt) \
	"{\"state\":\"" state "\",\"sent\":" sent ",\"lost\":" lost ",\"rtt_us\":" rtt "}"
#define PEER(underlay, overlay)                                                          \
	"{\"subnet\":\"10.1.2.0/24\",\"public_ip\":\"192.0.2.1\",\"underlay\":" underlay \
	",\"overlay\":" overlay "}"

static void test_peer(void **state)
{
	static const struct {
		const char *text;
		int r;
		enum mesh_state state;
	} cases[] = {
		{ PEER(WAY("ok", "16", "0", "100"), "null"), 0, MESH_OK },
		{ PEER(WAY("ok", "16", "0", "100"), WAY("lossy", "16", "1", "100")), 0, MESH_LOSSY },
		{ PEER(WAY("unreachable", "3", "3", "0"), "null"), 0, MESH_UNREACHABLE },
		{ PEER(WAY("new in a later version", "1", "0", "5"), "null"), 0, MESH_UNKNOWN },
		{ "{}", 0, MESH_UNKNOWN },
		{ "[]", -EINVAL },
		{ "{", -EINVAL },
		{ "{\"subnet\":\"all\"}", -EINVAL },
		{ "{\"public_ip\":\"\\u001b[2J\"}", -EINVAL },
		{ "{\"underlay\":7}", -EINVAL },
		{ PEER(WAY("ok", "-1", "0", "1"), "null"), -EINVAL },
		{ PEER(WAY("ok", "1001", "0", "1"), "null"), -EINVAL },
		{ PEER(WAY("ok", "1", "2", "1"), "null"), -EINVAL },
		{ PEER(WAY("ok", "1", "0", "1e300"), "null"), -EINVAL },
		{ PEER(WAY("ok", "1", "0", "9223372036854775807"), "null"), -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mesh_peer peer = { .network = "untouched" };
		struct err e = { 0 };
		int r = mesh_peer_read(cases[i].text, strlen(cases[i].text), &peer, &e);

		check(r == cases[i].r, "%s: %d %s", cases[i].text, r, e.msg);
		if (r == 0)
			check(mesh_peer_state(&peer) == cases[i].state, "%s: %s", cases[i].text,
			      mesh_state_names[mesh_peer_state(&peer)]);
		else
			assert_string_equal(peer.network, "untouched");
	}
}

static void test_badness(void **state)
{
	static const char *const from_worst[] = {
		PEER(WAY("ok", "16", "0", "1"), WAY("unreachable", "16", "3", "50")),
		PEER(WAY("lossy", "16", "15", "1"), WAY("ok", "16", "0", "1")),
		PEER(WAY("lossy", "16", "1", "1"), "null"),
		PEER(WAY("ok", "16", "0", "5"), WAY("ok", "16", "0", "900")),
		PEER(WAY("ok", "16", "0", "899"), "null"),
		PEER("null", "null"),
	};
	uint64_t before = UINT64_MAX;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(from_worst); i++) {
		struct mesh_peer peer;

		assert_int_equal(mesh_peer_read(from_worst[i], strlen(from_worst[i]), &peer, NULL), 0);
		check(mesh_peer_badness(&peer) < before, "%zu is worse than the one before", i);
		before = mesh_peer_badness(&peer);
	}
}

static size_t peers;

static void count_peer(void *arg, const struct mesh_peer *peer)
{
	(void)arg, (void)peer;
	peers++;
}

static int read_all(const char *text, struct mesh_head *ret, struct err *e)
{
	struct mesh_reader *reader = mesh_reader_new(count_peer, NULL);
	int r = 0;

	peers = 0;
	for (const char *at = text; r == 0 && *at; at++)
		r = mesh_reader_feed(reader, at, 1, e);
	if (r == 0)
		r = mesh_reader_end(reader, ret, e);
	mesh_reader_free(reader);
	return r;
}

static void test_answer(void **state)
{
	struct mesh_head head = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(read_all("{\"rate\":10,\"port\":8080,\"error\":\"a\\u0007b\",\"public_ip\":null,"
				  "\"peers\":[" PEER("null", "null") "," PEER("null", "null") "]}",
				  &head, &e),
			 0);
	assert_int_equal(peers, 2);
	assert_int_equal(head.rate, 10);
	assert_int_equal(head.port, 8080);
	assert_string_equal(head.error, "a?b");
	assert_int_equal(read_all("{\"rate\":10}", &head, &e), -EINVAL);
	assert_int_equal(read_all("{\"peers\":[{\"subnet\":1}]}", &head, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "subnet")); // what was wrong in it
	assert_int_equal(read_all("{\"peers\":[", &head, &e), -EINVAL);
	assert_int_equal(read_all("<html>", &head, &e), -EINVAL);
	assert_int_equal(read_all("{\"port\":65536,\"peers\":[]}", &head, &e), -EINVAL);
}

// Whatever another host sends, no more than so much of it is held.
static void test_endless(void **state)
{
	struct mesh_reader *reader = mesh_reader_new(count_peer, NULL);
	struct err e = { 0 };
	int r = mesh_reader_feed(reader, "{\"peers\":[{}", 12, &e);

	(void)state;
	peers = 0;
	while (r == 0)
		r = mesh_reader_feed(reader, ",{}", 3, &e);
	assert_int_equal(r, -E2BIG);
	assert_true(peers <= MESH_PEERS_MAX);
	mesh_reader_free(reader);
	reader = mesh_reader_new(count_peer, NULL);
	r = mesh_reader_feed(reader, "{\"peers\":[{\"subnet\":\"", 21, &e);
	while (r == 0)
		r = mesh_reader_feed(reader, "1111111111", 10, &e);
	assert_int_equal(r, -E2BIG);
	mesh_reader_free(reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_badness),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
