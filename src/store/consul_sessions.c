// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which ids of Consul the numbers of sessions stand for: a hash table with open addressing.
#include "store/consul_sessions.h"

#include "core/hash.h"
#include "core/mem.h"
#include "store/consul_json.h"

#include <errno.h>
#include <string.h>

#define SLOTS_MIN 64
#define SESSIONS_MAX 65536

struct session {
	int64_t number; // 0: the slot is free
	char id[CONSUL_ID_LEN + 1];
	bool is_ambiguous;
	uint64_t seen; // count of all seen, then
};
struct consul_sessions {
	struct session *slots;
	size_t slot_count; // a power of two
	size_t count;
	uint64_t seen;
};

struct consul_sessions *consul_sessions_new(void)
{
	struct consul_sessions *sessions = xnew(struct consul_sessions);

	sessions->slot_count = SLOTS_MIN;
	sessions->slots = xnew0_array(struct session, sessions->slot_count);
	return sessions;
}

struct consul_sessions *consul_sessions_free(struct consul_sessions *sessions)
{
	if (!sessions)
		return NULL;
	free(sessions->slots);
	free(sessions);
	return NULL;
}

// The slot of this number, or the free one where it belongs.
static struct session *find(const struct consul_sessions *sessions, int64_t number)
{
	size_t at = (size_t)number & (sessions->slot_count - 1);

	while (sessions->slots[at].number != 0 && sessions->slots[at].number != number)
		at = (at + 1) & (sessions->slot_count - 1);
	return &sessions->slots[at];
}

static void resize(struct consul_sessions *sessions, size_t slot_count, uint64_t oldest)
{
	struct session *old = sessions->slots;
	size_t old_count = sessions->slot_count;
	size_t i;

	sessions->slots = xnew0_array(struct session, slot_count);
	sessions->slot_count = slot_count;
	sessions->count = 0;
	for (i = 0; i < old_count; i++) {
		if (old[i].number == 0 || old[i].seen < oldest)
			continue;
		*find(sessions, old[i].number) = old[i];
		sessions->count++;
	}
	free(old);
}

static void make_room(struct consul_sessions *sessions)
{
	if (sessions->count >= SESSIONS_MAX)
		resize(sessions, sessions->slot_count, sessions->seen - SESSIONS_MAX / 2);
	else if (sessions->count >= sessions->slot_count / 2)
		resize(sessions, sessions->slot_count * 2, 0);
}

int64_t consul_session_number(struct consul_sessions *sessions, const char *id)
{
	int64_t number = (int64_t)(hash_stable(id, strlen(id)) & INT64_MAX);
	struct session *session;

	if (id[0] == '\0')
		return 0;
	if (number == 0)
		number = 1;
	make_room(sessions);
	session = find(sessions, number);
	if (session->number == 0) {
		session->number = number;
		(void)text_copy(session->id, sizeof(session->id), id);
		sessions->count++;
	} else if (strcmp(session->id, id) != 0) {
		session->is_ambiguous = true;
	}
	session->seen = ++sessions->seen;
	return number;
}

int consul_session_id(const struct consul_sessions *sessions, int64_t number, const char **ret)
{
	const struct session *session;

	if (number == 0)
		return -ENOENT;
	session = find(sessions, number);
	if (session->number == 0)
		return -ENOENT;
	if (session->is_ambiguous)
		return -EPROTO;
	*ret = session->id;
	return 0;
}
