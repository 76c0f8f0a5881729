// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of who is called without an answer.
#include "unit.h"

#include "reconcile/wg_contacts.h"

#include <string.h>

#define NOW_S 1700000000

static struct wg_peer peer_of(uint8_t byte, uint32_t ifindex)
{
	struct wg_peer peer = { .ifindex = ifindex };
	memset(&peer.public_key, byte, sizeof(peer.public_key));
	return peer;
}

struct told {
	struct wg_peer peer;
	int64_t handshake_s;
	uint64_t sent;
};

static void read_all(struct wg_contacts *contacts, uint64_t now_ms, const struct told *told,
		     size_t count)
{
	wg_contacts_begin(contacts);
	for (size_t i = 0; i < count; i++) {
		struct wg_contact contact = { .handshake_s = told[i].handshake_s,
					      .sent_bytes = told[i].sent };
		wg_contacts_note(contacts, &told[i].peer, &contact, NOW_S + (int64_t)now_ms / 1000,
				 now_ms);
	}
	wg_contacts_end(contacts, now_ms);
}

static uint64_t silent_ms(const struct wg_contacts *contacts, const struct wg_peer *peer,
			  uint64_t now_ms)
{
	struct wg_heard heard = { .silent_ms = 1 };
	assert_true(wg_contacts_find(contacts, peer, now_ms, &heard));
	return heard.silent_ms;
}

static void test_who_is_called_and_who_answers(void **state)
{
	struct wg_contacts *contacts = wg_contacts_new();
	// One that nobody calls, one that is called, one that has a session and is sent data.
	struct told told[] = { { peer_of(3, 7), 0, 0 },
			       { peer_of(1, 7), 0, 0 },
			       { peer_of(2, 7), NOW_S, 0 } };
	struct wg_heard heard;
	(void)state;
	for (uint64_t now_ms = 1000; now_ms <= 20000; now_ms += 1000) {
		if (now_ms % 5000 == 0)
			told[1].sent += 148;
		told[2].sent += 1000;
		read_all(contacts, now_ms, told, 3);
		assert_int_equal(silent_ms(contacts, &told[0].peer, now_ms), 0);
		assert_int_equal(silent_ms(contacts, &told[2].peer, now_ms), 0);
		assert_int_equal(silent_ms(contacts, &told[1].peer, now_ms) != 0, now_ms >= 17000);
		assert_int_equal(wg_contacts_silent(contacts), now_ms >= 17000);
	}
	told[1].handshake_s = NOW_S + 20;
	read_all(contacts, 21000, told, 3);
	assert_int_equal(silent_ms(contacts, &told[1].peer, 21000), 0);
	assert_int_equal(wg_contacts_silent(contacts), 0);
	assert_true(wg_contacts_find(contacts, &told[1].peer, 21000, &heard));
	assert_int_equal(heard.handshake_s, NOW_S + 20);
	// Who is not told of is forgotten.
	read_all(contacts, 22000, told, 1);
	assert_false(wg_contacts_find(contacts, &told[1].peer, 22000, &heard));
	wg_contacts_free(contacts);
}

static void test_nobody_calls_any_more(void **state)
{
	struct wg_contacts *contacts = wg_contacts_new();
	struct told told = { peer_of(1, 7), 0, 0 };
	(void)state;
	read_all(contacts, 1000, &told, 1);
	told.sent = 148;
	read_all(contacts, 2000, &told, 1);
	read_all(contacts, 100000, &told, 1);
	assert_int_not_equal(silent_ms(contacts, &told.peer, 100000), 0);
	read_all(contacts, 2000 + WG_REJECT_AFTER_S * 1000 + 1, &told, 1);
	assert_int_equal(silent_ms(contacts, &told.peer, 200000), 0);
	wg_contacts_free(contacts);
}

// One key on two devices is one peer.
static void test_two_devices(void **state)
{
	struct wg_contacts *contacts = wg_contacts_new();
	struct told told[] = { { peer_of(1, 8), 0, 0 },
			       { peer_of(1, 7), 0, 0 },
			       { peer_of(2, 7), 0, 0 } };
	(void)state;
	read_all(contacts, 1000, told, 3);
	for (size_t i = 0; i < 3; i++)
		told[i].sent = 148;
	read_all(contacts, 2000, told, 3);
	read_all(contacts, 20000, told, 3);
	assert_int_equal(wg_contacts_silent(contacts), 2);
	told[0].handshake_s = NOW_S + 20;
	read_all(contacts, 21000, told, 3);
	assert_int_equal(wg_contacts_silent(contacts), 2);
	told[1].handshake_s = NOW_S + 20;
	read_all(contacts, 22000, told, 3);
	assert_int_equal(wg_contacts_silent(contacts), 1);
	wg_contacts_free(contacts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_called_and_who_answers),
		cmocka_unit_test(test_nobody_calls_any_more),
		cmocka_unit_test(test_two_devices),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
