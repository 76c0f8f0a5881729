// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the watch of a network at a server of flannel 0.5 to 0.7.
//
// DOC: life of a watch
//
//   CHECK: GET config -> up -> POLL: GET leases?next=CURSOR -> events -> POLL ...
//     ^                         '--- a snapshot in their place: lost, what happened is not known any more
//     +--- back-off <---- either failed
//
// A poll says nothing for as long as nothing happens, and so not whether the server is alive: the config is read again
// meanwhile, which is also how a change of it is seen. Going on with the same cursor nothing is missed.
#include "store/remote_v1.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

struct v1_watch {
	struct remote_v1 *v1;
	struct kv_watch *base;
	struct watch_life life; // its timer is for the next check
	struct v1_place place;	// of the leases
	char *config_key;
	char *cursor; // NULL: not known yet
	struct kv_http_call *check;
	struct kv_http_call *poll;
	bool lists;  // the poll is a first reading
	size_t told; // events of the poll
};

static void poll_start(struct v1_watch *watch);
static void check_start(struct v1_watch *watch);

// ---- telling ----

static bool emit(struct v1_watch *watch, enum kv_watch_kind kind, const struct kv_pair *pair)
{
	struct kv_watch_event event = {
		.kind = kind,
		.pair = *pair,
		.header = v1_header(watch->v1),
	};

	event.header.revision = pair->mod_revision;
	return kv_watch_emit(watch->base, &event);
}

static void stop(void *arg)
{
	struct v1_watch *watch = arg;

	watch->check = kv_http_call_cancel(watch->check);
	watch->poll = kv_http_call_cancel(watch->poll);
}

static void fail(struct v1_watch *watch, int r, const struct err *e)
{
	if (r == -EPROTONOSUPPORT) { // a controller by now, or nothing that we know
		v1_unconfirm(watch->v1);
		watch_life_lose(&watch->life, true, err_msg(e));
	} else {
		watch_life_down(&watch->life, e);
	}
}

// ---- polls ----

static bool tell_put(struct v1_watch *watch, const json_t *lease)
{
	_cleanup_(v1_told_free) struct v1_told told = { 0 };
	_cleanup_free_ char *key = NULL;
	struct kv_pair pair;

	if (v1_told_read(lease, &told, NULL) < 0)
		return true; // it alone
	key = v1_lease_key_of(watch->v1, watch->place.network, &told.subnet);
	v1_told_pair(watch->v1, key, &told, &pair);
	return emit(watch, KV_WATCH_PUT, &pair);
}

static bool tell_removed(struct v1_watch *watch, const json_t *lease)
{
	_cleanup_free_ char *key = NULL;
	struct ipnet subnet;
	struct kv_pair pair = { 0 };

	if (v1_read_subnet(lease, &subnet, NULL) < 0)
		return true;
	key = v1_lease_key_of(watch->v1, watch->place.network, &subnet);
	pair.key = pair.raw_key = key;
	pair.raw_key_len = strlen(key);
	pair.mod_revision = v1_forget(watch->v1, key);
	return emit(watch, KV_WATCH_DELETE, &pair);
}

// Ended by -ECANCELED if the owner freed the watch.
static int tell_event(struct v1_watch *watch, const json_t *event)
{
	const json_t *lease = json_member(event, "lease");
	const char *type = NULL;
	bool goes_on = true;

	if (watch->lists)
		goes_on = tell_put(watch, event);
	else if (json_get_string(event, "type", &type, NULL) < 0 || !type)
		return -EPROTO;
	else if (strcmp(type, "added") == 0)
		goes_on = tell_put(watch, lease);
	else if (strcmp(type, "removed") == 0)
		goes_on = tell_removed(watch, lease);
	return goes_on ? 0 : -ECANCELED;
}

static int poll_element(void *arg, const char *text, size_t len)
{
	struct v1_watch *watch = arg;
	_cleanup_json_ json_t *event = NULL;

	if (json_read(text, len, len, &event, NULL) < 0)
		return -EPROTO;
	watch->told++;
	return tell_event(watch, event);
}

static int poll_read(struct v1_watch *watch, const struct http_response *rest, bool *ret_lost,
		     struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	char *cursor = NULL;

	if (json_read(rest->body, rest->len, JSON_TEXT_MAX, &answer, e) < 0 ||
	    v1_read_next(answer, &cursor, e) < 0)
		return e->code = -EPROTO;
	*ret_lost = !watch->lists && watch->told == 0;
	free(watch->cursor);
	watch->cursor = cursor;
	return 0;
}

static void poll_answered(void *arg, int r, const struct http_response *rest, int64_t date_ms,
			  const struct err *e)
{
	struct v1_watch *watch = arg;
	const struct kv_header header = v1_header(watch->v1);
	bool is_lost = false;
	struct err why;

	(void)date_ms;
	watch->poll = NULL;
	if (r == 0 && poll_read(watch, rest, &is_lost, &why) < 0) {
		r = -EPROTO;
		e = &why;
	}
	// A snapshot that is larger than what is read beside events is one all the same.
	if (r == -E2BIG || is_lost) {
		watch_life_lose(&watch->life, false, "what happened since then is not known any more");
	} else if (r < 0) {
		fail(watch, r, e);
	} else if (kv_watch_progress(watch->base, &header)) {
		poll_start(watch);
	}
}

static void poll_start(struct v1_watch *watch)
{
	_cleanup_free_ char *path = v1_path(&watch->place, "leases");
	struct v1_ask ask = {
		.method = "GET",
		.element = poll_element,
		.done = poll_answered,
		.arg = watch,
	};

	watch->lists = watch->cursor == NULL;
	watch->told = 0;
	ask.is_poll = !watch->lists;
	ask.array = watch->lists ? "snapshot" : "events";
	ask.path = watch->lists ? TAKE_PTR(path) : xasprintf("%s?next=%s", path, watch->cursor);
	watch->poll = v1_call_start(watch->v1, &ask);
}

// ---- checks ----

// False: the owner freed the watch.
static bool tell_config(struct v1_watch *watch, const char *text)
{
	const struct v1_entry *entry = v1_entry_find(watch->v1, watch->config_key);
	int64_t before = entry ? entry->mod : 0;
	struct kv_pair pair = {
		.key = watch->config_key,
		.raw_key = watch->config_key,
		.raw_key_len = strlen(watch->config_key),
	};

	if (!text && !entry)
		return true;
	if (!text) {
		pair.mod_revision = v1_forget(watch->v1, watch->config_key);
		return emit(watch, KV_WATCH_DELETE, &pair);
	}
	entry = v1_note(watch->v1, watch->config_key, text, NULL);
	if (entry->mod == before)
		return true;
	pair.value = text;
	pair.value_len = strlen(text);
	pair.create_revision = entry->create;
	pair.mod_revision = entry->mod;
	return emit(watch, KV_WATCH_PUT, &pair);
}

static void check_answered(void *arg, int r, const struct http_response *response, int64_t date_ms,
			   const struct err *e)
{
	struct v1_watch *watch = arg;
	const struct kv_header header = v1_header(watch->v1);

	(void)date_ms;
	watch->check = NULL;
	if (r < 0 && r != -ENOENT) {
		fail(watch, r, e);
		return;
	}
	timer_start(watch->life.timer, watch->v1->remote->http.dead_man_ms);
	if (!watch->base->up) {
		if (watch->base->down_told)
			v1_sessions_doubt(watch->v1);
		if (!watch_life_up(&watch->life, &header))
			return;
	}
	if (!tell_config(watch, r == 0 ? response->body : NULL))
		return;
	if (!watch->poll)
		poll_start(watch);
}

static void check_start(struct v1_watch *watch)
{
	struct v1_ask ask = {
		.method = "GET",
		.path = v1_path(&watch->place, "config"),
		.done = check_answered,
		.arg = watch,
	};

	watch->check = v1_call_start(watch->v1, &ask);
}

static void on_timer(void *arg)
{
	struct v1_watch *watch = arg;
	struct err e;

	if (watch->place.kind == V1_NETWORKS) {
		err_set(&e, -EINVAL,
			"of a server of flannel one network is watched, by its leases and config");
		kv_watch_down(watch->base, &e);
	} else if (!watch->check) {
		check_start(watch);
	}
}

// ---- life ----

// The leases of one network, and its config. *ret stays for all networks else.
static void read_prefixes(const struct remote_v1 *v1, char *const *prefixes, size_t count,
			  struct v1_place *ret)
{
	struct v1_place place;

	ret->kind = V1_NETWORKS;
	for (size_t i = 0; i < count; i++) {
		if (v1_read_place(v1, prefixes[i], strlen(prefixes[i]), &place, NULL) < 0 ||
		    place.kind == V1_NETWORKS)
			continue;
		*ret = place;
		ret->kind = V1_LEASES;
	}
}

struct v1_watch *v1_watch_start(struct remote_v1 *v1, struct kv_watch *base, char *const *prefixes,
				size_t prefix_count)
{
	struct v1_watch *watch = xnew(struct v1_watch);
	bool is_base;

	watch->v1 = v1;
	watch->base = base;
	watch_life_begin(&watch->life, base, stop, on_timer, watch);
	read_prefixes(v1, prefixes, prefix_count, &watch->place);
	is_base = strcmp(watch->place.network, V1_NO_NETWORK) == 0;
	watch->config_key = xasprintf("%s%s%sconfig", v1->prefix,
				      is_base ? "" : watch->place.network, is_base ? "" : "/");
	watch->cursor = xstrdup(v1_cursor_get(v1, watch->place.network));
	timer_start(watch->life.timer, 0);
	return watch;
}

struct v1_watch *v1_watch_free(struct v1_watch *watch)
{
	if (!watch)
		return NULL;
	watch_life_end(&watch->life);
	free(watch->config_key);
	free(watch->cursor);
	free(watch);
	return NULL;
}
