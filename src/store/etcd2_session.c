// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which session of ours stands for which key of etcd's.
//
// DOC: sessions where only a key can have a time to live
//
// In etcd v2 a key itself may have a time to live (ttl), and that is all. So a session is of one key,
// and is made of it:
//
//   - A key with a ttl has a session. Its number is made of the key and the index at which the key was
//     created, which stays when the key is changed by compare or refreshed, and is another one when the
//     key is made anew. So who takes over a key that expired has another session than the one before:
//     that must be, for whoever is tied to a key's session takes the key for its own.
//   - A session that is opened has no key yet, and so can have no such number. It gets one by chance,
//     which this client keeps with the ttl that was asked for, and which etcd does not hear of. The
//     first write that names it ties it to its key. From then on this client tells the number in place
//     of the key's own one. Other clients, and this one after a restart, tell the key's own.
//
// What of kv.h is done how:
//
//   open        nothing is sent; without a key it lives here for its ttl
//   put         with the ttl; a second key is refused, -EINVAL
//   keep alive  refresh=true: the ttl alone is set, and watchers are told of nothing (etcd 2.3 and later)
//   query       what is left, as the key says
//   close       the key is deleted, if it is still the one
//
// Refreshing moves the key's modifiedIndex, which callers know as its revision and of which they hear
// nothing. As each refresh compares the index, nothing else can have happened from the first index to the
// last one: they are one and the same revision, which is told as the first and compared as the last.
//
// A session that was opened elsewhere, or before a restart, is refreshed to a day, which is what flannel
// writes with: etcd tells what is left of a ttl, not what it was.
//
// Of each key that was seen with a ttl the key is kept, in a table whose places are chosen by the upper
// half of the number, so that a call with a number finds it. It grows with the number of different keys
// and has an end, beyond which all of it is forgotten: who calls reads the key first then.
#include "store/etcd2_internal.h"

#include "core/hash.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define PLACES 4096
#define SEEN_MAX 200000

struct etcd2_sessions {
	struct etcd2_session *own;	    // opened here
	struct etcd2_session *seen[PLACES]; // on keys that were read
	size_t seen_count;
};

struct etcd2_sessions *etcd2_sessions_new(void)
{
	return xnew(struct etcd2_sessions);
}

static void free_list(struct etcd2_session **list)
{
	while (*list) {
		struct etcd2_session *session = *list;

		*list = session->next;
		free(session->key);
		free(session);
	}
}

static void forget_seen(struct etcd2_sessions *sessions)
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		free_list(&sessions->seen[i]);
	sessions->seen_count = 0;
}

struct etcd2_sessions *etcd2_sessions_free(struct etcd2_sessions *sessions)
{
	if (!sessions)
		return NULL;
	free_list(&sessions->own);
	forget_seen(sessions);
	free(sessions);
	return NULL;
}

// ---- numbers ----

static int64_t number_of(const char *key, int64_t created_index)
{
	uint64_t upper = hash_stable(key, strlen(key)) >> 33;
	uint64_t number = upper << 32 | ((uint64_t)created_index & UINT32_MAX);

	return number != 0 ? (int64_t)number : 1;
}

static struct etcd2_session **place_of(struct etcd2_sessions *sessions, int64_t number)
{
	return &sessions->seen[(uint64_t)number >> 32 & (PLACES - 1)];
}

// ---- finding ----

static struct etcd2_session *find_own(const struct etcd2 *etcd, const char *key)
{
	struct etcd2_session *session;

	for (session = etcd->sessions->own; session; session = session->next)
		if (session->key && strcmp(session->key, key) == 0)
			return session;
	return NULL;
}

static struct etcd2_session *find_seen(const struct etcd2 *etcd, const char *key)
{
	struct etcd2_session *session = *place_of(etcd->sessions, number_of(key, 0));

	while (session && strcmp(session->key, key) != 0)
		session = session->next;
	return session;
}

static struct etcd2_session *find_number(struct etcd2_session *session, int64_t number)
{
	while (session && session->number != number)
		session = session->next;
	return session;
}

static bool unlink_number(struct etcd2_session **list, int64_t number)
{
	struct etcd2_session *session;

	for (; (session = *list); list = &session->next)
		if (session->number == number) {
			*list = session->next;
			free(session->key);
			free(session);
			return true;
		}
	return false;
}

void etcd2_session_drop(struct etcd2 *etcd, int64_t number)
{
	if (unlink_number(&etcd->sessions->own, number))
		return;
	if (unlink_number(place_of(etcd->sessions, number), number))
		etcd->sessions->seen_count--;
}

static void drop_ended(struct etcd2 *etcd)
{
	struct etcd2_session *session = etcd->sessions->own;
	uint64_t now = loop_boottime_ms();

	while (session) {
		int64_t number = session->number;
		bool ended = !session->key && session->ends_ms <= now;

		session = session->next;
		if (ended)
			etcd2_session_drop(etcd, number);
	}
}

struct etcd2_session *etcd2_session_find(struct etcd2 *etcd, int64_t number)
{
	struct etcd2_session *session;

	drop_ended(etcd);
	session = find_number(etcd->sessions->own, number);
	return session ? session : find_number(*place_of(etcd->sessions, number), number);
}

struct etcd2_session *etcd2_session_add(struct etcd2 *etcd, int64_t ttl_s)
{
	struct etcd2_session *session = xnew(struct etcd2_session);

	drop_ended(etcd);
	do
		session->number = 1 + (int64_t)random_below(INT64_MAX - 1);
	while (etcd2_session_find(etcd, session->number));
	session->ttl_s = ttl_s;
	session->ends_ms = loop_boottime_ms() + (uint64_t)ttl_s * 1000;
	session->next = etcd->sessions->own;
	etcd->sessions->own = session;
	return session;
}

// ---- what is read ----

static void note_index(struct etcd2_session *session, const struct etcd2_node *node)
{
	session->created_index = node->created_index;
	// An older one is of an answer that was overtaken.
	if (node->modified_index <= session->last_index)
		return;
	session->first_index = node->modified_index;
	session->last_index = node->modified_index;
}

// Is it the key that we wrote, although the answer was lost?
static bool is_what_was_written(const struct etcd2_session *session, const struct etcd2_node *node)
{
	return node->value && hash_bytes(node->value, node->value_len) == session->value_hash;
}

static struct etcd2_session *own_of(struct etcd2 *etcd, const struct etcd2_node *node)
{
	struct etcd2_session *session = find_own(etcd, node->key);

	if (!session)
		return NULL;
	if (session->created_index == 0)
		return is_what_was_written(session, node) ? session : NULL;
	// What was told before the key was made is of the one before it.
	if (session->created_index == node->created_index)
		return session;
	if (session->created_index < node->created_index)
		etcd2_session_drop(etcd, session->number);
	return NULL;
}

static struct etcd2_session *seen_of(struct etcd2 *etcd, const struct etcd2_node *node)
{
	struct etcd2_sessions *sessions = etcd->sessions;
	struct etcd2_session *session = find_seen(etcd, node->key);
	struct etcd2_session **place;

	if (session && session->created_index == node->created_index)
		return session;
	if (session)
		etcd2_session_drop(etcd, session->number);
	if (sessions->seen_count >= SEEN_MAX)
		forget_seen(sessions);
	session = xnew(struct etcd2_session);
	session->number = number_of(node->key, node->created_index);
	session->key = xstrdup(node->key);
	place = place_of(sessions, session->number);
	session->next = *place;
	*place = session;
	sessions->seen_count++;
	return session;
}

void etcd2_pair_of(struct etcd2 *etcd, const struct etcd2_node *node, struct kv_pair *ret,
		   char **ret_shown)
{
	struct etcd2_session *session = NULL;

	*ret_shown = kv_key_shown(node->key, node->key_len);
	*ret = (struct kv_pair){
		.key = *ret_shown ? *ret_shown : node->key,
		.raw_key = node->key,
		.raw_key_len = node->key_len,
		.value = node->value		? node->value
			 : node->value_len == 0 ? ""
						: NULL,
		.value_len = node->value_len,
		.create_revision = node->created_index,
		.mod_revision = node->modified_index,
	};
	// One with a NUL in it is none that could be written.
	if (!node->has_ttl || strlen(node->key) != node->key_len)
		return;
	session = own_of(etcd, node);
	if (!session)
		session = seen_of(etcd, node);
	note_index(session, node);
	ret->session = session->number;
	if (node->modified_index <= session->last_index && node->modified_index >= session->first_index)
		ret->mod_revision = session->first_index;
}

void etcd2_session_gone(struct etcd2 *etcd, const char *key, int64_t created_index)
{
	struct etcd2_session *session = find_own(etcd, key);

	if (session && session->created_index == created_index)
		etcd2_session_drop(etcd, session->number);
	session = find_seen(etcd, key);
	if (session && session->created_index == created_index)
		etcd2_session_drop(etcd, session->number);
}

// ---- what is written ----

int etcd2_session_tie(struct etcd2 *etcd, int64_t session, const char *key, const void *value,
		      size_t value_len, int64_t *ret_ttl_s, struct err *e)
{
	struct etcd2_session *found = etcd2_session_find(etcd, session);

	if (!found)
		return err_set(e, -ENOENT, "etcd: no session %016llx", (unsigned long long)session);
	if (found->key && strcmp(found->key, key) != 0)
		return err_set(e, -EINVAL, "etcd v2: a session is of one key, this one of %s",
			       found->key);
	if (!found->key)
		found->key = xstrdup(key);
	if (found->created_index == 0)
		found->value_hash = hash_bytes(value, value_len);
	*ret_ttl_s = found->ttl_s > 0 ? found->ttl_s : ETCD2_TTL_UNKNOWN_S;
	return 0;
}

void etcd2_session_tied(struct etcd2 *etcd, int64_t session, const char *key,
			const struct etcd2_node *node)
{
	struct etcd2_session *found = session != 0 ? etcd2_session_find(etcd, session) : NULL;

	if (!found || !found->key || strcmp(found->key, key) != 0)
		return;
	if (node) {
		note_index(found, node);
	} else if (found->created_index == 0) {
		free(found->key);
		found->key = NULL;
	}
}

int64_t etcd2_session_index(const struct etcd2 *etcd, const char *key, int64_t revision)
{
	const struct etcd2_session *session = find_own(etcd, key);

	if (!session)
		session = find_seen(etcd, key);
	if (session && session->created_index != 0 && session->first_index <= revision &&
	    revision <= session->last_index)
		return session->last_index;
	return revision;
}
