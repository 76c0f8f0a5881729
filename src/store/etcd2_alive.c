// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what is asked of etcd for a session: keep alive, query, close.
//
// DOC: life of a call
//
//   keep alive:  REFRESH at the index known --done--> done
//                  ^                        --no such key--> -ENOENT
//                  |                        --another index--> READ
//                  +-- still the same key -- READ -- another one --> -ENOENT
//   query:       READ --> what is left
//   close:       READ --still the same key--> DELETE at that index --done--> done
//                  ^                                               --another index, or lost--+
//                  +-------------------------------------------------------------------------+
//
// Whether it is the same key is told by the index at which it was created.
#include "store/etcd2_internal.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

#define ROUNDS_MAX 5

enum kind { KEEP_ALIVE, QUERY, CLOSE };
enum step { STEP_READ, STEP_REFRESH, STEP_DELETE };

struct operation {
	struct etcd2 *etcd;
	enum kind kind;
	enum step step;
	int64_t number;
	int64_t ttl_s; // asked for
	kv_session_fn *done;
	void *arg;
	unsigned int rounds;
	bool deleted; // a delete was sent, of which the answer was lost
	// The key as answered.
	bool found;
	int64_t created_index;
	int64_t modified_index;
	bool same_key;
	int64_t found_ttl_s;
};

// The operation goes from call to call; the last one frees it.
struct step_arg {
	struct operation *operation;
};

static void step_free(void *arg)
{
	struct step_arg *step = arg;

	free(step->operation);
	free(step);
}

static void step_start(struct operation *operation, enum step next);

static void tell(struct operation *operation, int r, int64_t ttl_s, const struct err *e)
{
	operation->done(operation->arg, r, operation->number, ttl_s, r < 0 ? e : NULL);
}

static void tell_gone(struct operation *operation)
{
	struct err e;

	etcd2_session_drop(operation->etcd, operation->number);
	err_set(&e, -ENOENT, "etcd: no session %016llx", (unsigned long long)operation->number);
	tell(operation, operation->deleted ? 0 : -ENOENT, 0, &e);
}

static int got_node(void *arg, const struct etcd2_node *node, const struct etcd2_reply *so_far)
{
	struct operation *operation = ((struct step_arg *)arg)->operation;
	struct etcd2_session *session = etcd2_session_find(operation->etcd, operation->number);
	_cleanup_free_ char *shown = NULL;
	struct kv_pair pair;

	(void)so_far;
	if (node->is_dir || node->is_previous || !session || !session->key ||
	    strcmp(node->key, session->key) != 0)
		return 0;
	operation->found = true;
	operation->created_index = node->created_index;
	operation->modified_index = node->modified_index;
	operation->found_ttl_s = node->ttl_s;
	if (operation->step == STEP_READ) {
		etcd2_pair_of(operation->etcd, node, &pair, &shown);
		operation->same_key = pair.session == operation->number;
	}
	return 0;
}

static void refreshed(struct operation *operation)
{
	struct etcd2_session *session = etcd2_session_find(operation->etcd, operation->number);

	if (!operation->found || !session || session->created_index != operation->created_index) {
		tell_gone(operation);
		return;
	}
	session->last_index = operation->modified_index;
	tell(operation, 0, operation->ttl_s, NULL);
}

// -1: the operation goes on.
static int was_read(struct operation *operation)
{
	if (!operation->found || !operation->same_key) {
		tell_gone(operation);
		return 0;
	}
	if (operation->kind == QUERY) {
		tell(operation, 0, operation->found_ttl_s, NULL);
		return 0;
	}
	step_start(operation, operation->kind == CLOSE ? STEP_DELETE : STEP_REFRESH);
	return -1;
}

static int try_again(struct operation *operation)
{
	struct err e;

	if (++operation->rounds < ROUNDS_MAX) {
		step_start(operation, STEP_READ);
		return -1;
	}
	err_set(&e, -EAGAIN, "etcd: the key of session %016llx keeps changing",
		(unsigned long long)operation->number);
	tell(operation, -EAGAIN, 0, &e);
	return 0;
}

static int answered_well(struct operation *operation, int64_t error_code)
{
	if (error_code == ETCD2_COMPARE_FAILED)
		return try_again(operation);
	if (error_code != 0) {
		tell_gone(operation);
		return 0;
	}
	switch (operation->step) {
	case STEP_READ:
		return was_read(operation);
	case STEP_REFRESH:
		refreshed(operation);
		return 0;
	case STEP_DELETE:
		etcd2_session_drop(operation->etcd, operation->number);
		tell(operation, 0, 0, NULL);
		return 0;
	}
	return 0;
}

static void answered(void *arg, const struct etcd2_answer *answer)
{
	struct step_arg *step = arg;
	struct operation *operation = step->operation;
	int r = 0;

	if (answer->r == 0) {
		r = answered_well(operation, answer->reply->error_code);
	} else if (answer->r == -EINPROGRESS) {
		operation->deleted = true;
		r = try_again(operation);
	} else {
		tell(operation, answer->r, 0, answer->err);
	}
	if (r < 0)
		step->operation = NULL;
}

static void step_start(struct operation *operation, enum step next)
{
	const struct etcd2_session *session = etcd2_session_find(operation->etcd, operation->number);
	struct step_arg *step = xnew(struct step_arg);
	struct etcd2_request request = {
		.method = "GET",
		.key = xstrdup(session && session->key ? session->key : "/"),
		.idempotent = true,
		.node = got_node,
		.done = answered,
		.arg = step,
		.free_arg = step_free,
	};

	step->operation = operation;
	operation->step = next;
	operation->found = false;
	operation->same_key = false;
	switch (next) {
	case STEP_READ:
		request.query = xstrdup("quorum=true");
		break;
	case STEP_REFRESH:
		// A second sending finds another index, and reads.
		request.method = "PUT";
		request.form = xasprintf("refresh=true&prevExist=true&prevIndex=%lld&ttl=%lld",
					 (long long)(session ? session->last_index : INT64_MAX),
					 (long long)operation->ttl_s);
		break;
	case STEP_DELETE:
		request.method = "DELETE";
		request.query = xasprintf("prevIndex=%lld", (long long)operation->modified_index);
		request.form = xstrdup("\n"); // so that libcurl does not send it again by itself
		request.idempotent = false;
		break;
	}
	etcd2_call_start(operation->etcd, &request);
}

// ---- start ----

struct local {
	kv_session_fn *done;
	void *arg;
	int64_t number;
	int64_t ttl_s;
};

static void local_done(void *arg, const struct etcd2_answer *answer)
{
	const struct local *local = arg;

	local->done(local->arg, answer->r, local->number, local->ttl_s, answer->err);
}

// What needs no word with etcd.
static void end_soon(struct etcd2 *etcd, const struct local *local, int r, const struct err *e)
{
	struct etcd2_request request = { .done = local_done, .arg = xmemdup(local, sizeof(*local)) };

	etcd2_call_end_soon(etcd, &request, r, e);
}

void etcd2_session_open(struct etcd2 *etcd, int64_t ttl_s, kv_session_fn *done, void *arg)
{
	struct local local = { .done = done, .arg = arg, .ttl_s = ttl_s };
	struct err e;

	if (ttl_s <= 0) {
		err_set(&e, -EINVAL, "etcd: a session of %lld s", (long long)ttl_s);
		end_soon(etcd, &local, -EINVAL, &e);
		return;
	}
	local.number = etcd2_session_add(etcd, ttl_s)->number;
	end_soon(etcd, &local, 0, NULL);
}

static void without_key(struct etcd2 *etcd, struct etcd2_session *session, enum kind kind,
			struct local *local)
{
	uint64_t now = loop_boottime_ms();

	switch (kind) {
	case KEEP_ALIVE:
		session->ends_ms = now + (uint64_t)session->ttl_s * 1000;
		local->ttl_s = session->ttl_s;
		break;
	case QUERY:
		local->ttl_s = (int64_t)((session->ends_ms - now) / 1000);
		break;
	case CLOSE:
		etcd2_session_drop(etcd, session->number);
		break;
	}
	end_soon(etcd, local, 0, NULL);
}

static void start(struct etcd2 *etcd, enum kind kind, int64_t number, kv_session_fn *done, void *arg)
{
	struct etcd2_session *session = etcd2_session_find(etcd, number);
	struct local local = { .done = done, .arg = arg, .number = number };
	struct operation *operation;
	struct err e;

	if (!session) {
		err_set(&e, -ENOENT, "etcd: no session %016llx", (unsigned long long)number);
		end_soon(etcd, &local, -ENOENT, &e);
		return;
	}
	if (!session->key) {
		without_key(etcd, session, kind, &local);
		return;
	}
	operation = xnew(struct operation);
	*operation = (struct operation){ .etcd = etcd,
					 .kind = kind,
					 .number = number,
					 .ttl_s = session->ttl_s > 0 ? session->ttl_s
								     : ETCD2_TTL_UNKNOWN_S,
					 .done = done,
					 .arg = arg };
	step_start(operation,
		   kind == KEEP_ALIVE && session->created_index != 0 ? STEP_REFRESH : STEP_READ);
}

void etcd2_session_keep_alive(struct etcd2 *etcd, int64_t session, kv_session_fn *done, void *arg)
{
	start(etcd, KEEP_ALIVE, session, done, arg);
}

void etcd2_session_query(struct etcd2 *etcd, int64_t session, kv_session_fn *done, void *arg)
{
	start(etcd, QUERY, session, done, arg);
}

void etcd2_session_close(struct etcd2 *etcd, int64_t session, kv_session_fn *done, void *arg)
{
	start(etcd, CLOSE, session, done, arg);
}
