// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: snapshots and long polls of flannel's API: leases of a network, one lease, or the networks.
//
// DOC: a poll
//
//   PLACE: find the cursor's revision in the mirror; wait for a mirror that is not there yet
//     |-> too old, of another store, or nonsense --> SNAPSHOT
//     '-> POLL --changes--> EVENTS, all of them up to the mirror's revision, and the next cursor
//           |--> nothing for a long time: a lease is told once more, as if it had been written
//           '--> the store is another one: SNAPSHOT
//
// The answer's head goes out at once and a blank now and then: so a client that is gone is noticed, and what stands
// between does not take the connection for dead. JSON begins with blanks as well as without. An answer with neither
// events nor a snapshot is taken for an empty network by flannel, so that there is none for "nothing has happened".
// Of a single lease the present state is told, with the store's word for when it ends.
#include "controller/v1_internal.h"

#include "core/mem.h"
#include "core/netconf_freeze.h"
#include "store/v1_wire.h"

#include <errno.h>
#include <string.h>

#define POLLS_MAX 8192 // of the controller's connections

enum v1_kind { KIND_LEASES, KIND_LEASE, KIND_NETWORKS };
enum v1_mode { MODE_POLL, MODE_EVENTS, MODE_ASKING, MODE_ASKED, MODE_SNAPSHOT };

struct v1_poll {
	struct v1 *v1;
	struct v1_poll *previous;
	struct v1_poll *next;
	struct http_exchange *exchange;
	struct v1_network *network; // NULL: KIND_NETWORKS
	enum v1_kind kind;
	enum v1_mode mode;
	char *key;	 // of the lease
	uint64_t number; // of the change that is next
	bool is_lost;	 // a snapshot is due
	uint64_t until_ms;
	uint64_t blank_ms;
	size_t told; // elements of the array that is being written
	struct kv_header header;
	// snapshot
	struct pair_set *view;
	struct pair_position position;
	// one lease
	struct lease lease;
	bool as_snapshot;
	int64_t expires_ms;
	int failure;
};

static const struct mirror *mirror_of(const struct v1_poll *poll)
{
	return poll->v1->controller->mirror;
}

// ---- which pairs are of interest ----

// All that the poll is about begin so.
static const char *poll_prefix(const struct v1_poll *poll)
{
	if (poll->kind == KIND_LEASE)
		return poll->key;
	return poll->kind == KIND_LEASES ? poll->network->leases_prefix : poll->v1->controller->prefix;
}

static bool concerns(const struct v1_poll *poll, const struct pair *pair)
{
	const char *prefix = poll_prefix(poll);
	size_t len = strlen(prefix);

	return pair_starts_with(pair, prefix, len) &&
	       (poll->kind != KIND_LEASE || pair->key_len == len);
}

// A change that may be told: of a revision that is there as a whole.
static const struct change *peek(const struct v1_poll *poll)
{
	const struct change *change = mirror_change(mirror_of(poll), poll->number);

	return change && change->pair->mod_revision <= mirror_header(mirror_of(poll)).revision
		       ? change
		       : NULL;
}

// Goes on to the first change that concerns it.
static const struct change *seek(struct v1_poll *poll)
{
	const struct change *change;

	for (; (change = peek(poll)); poll->number++)
		if (concerns(poll, change->pair))
			return change;
	return NULL;
}

// ---- elements ----

static void begin_element(struct v1_poll *poll, struct strbuf *out)
{
	if (poll->told++ > 0)
		strbuf_putc(out, ',');
}

static void add_event(struct v1_poll *poll, struct strbuf *out, bool is_added,
		      const struct lease *lease, const char *network, int64_t expires_ms)
{
	static const struct ipnet none = { .addr = { .family = AF_INET } };

	if (poll->told == 0)
		strbuf_puts(out, "{\"events\":[");
	begin_element(poll, out);
	strbuf_printf(out, "{\"type\":\"%s\",\"lease\":", is_added ? "added" : "removed");
	if (lease)
		v1_add_lease(out, &lease->subnet.v4, is_added ? &lease->attrs : NULL, expires_ms);
	else
		v1_add_lease(out, &none, NULL, TIMESTAMP_ZERO_MS);
	if (network) {
		_cleanup_json_ json_t *name = json_string(network);
		_cleanup_free_ char *text = json_text(name);

		strbuf_printf(out, ",\"network\":%s", text);
	}
	strbuf_putc(out, '}');
}

static void add_lease_event(struct v1_poll *poll, struct strbuf *out, const struct change *change)
{
	_cleanup_lease_ struct lease lease = { 0 };

	if (change->is_delete ? v1_pair_subnet(poll->network, change->pair, &lease.subnet)
			      : v1_pair_lease(poll->network, change->pair, &lease))
		add_event(poll, out, !change->is_delete, &lease, NULL,
			  change->is_delete ? TIMESTAMP_ZERO_MS : v1_expires_ms(lease.session));
}

static bool is_config(const struct pair *pair)
{
	_cleanup_netconf_ struct netconf conf = { 0 };

	return pair->has_value &&
	       netconf_parse(v1_pair_value(pair), pair->value_len, &conf, NULL) == 0;
}

// A network that is frozen is one: who is in it goes on, and a list without it would end that.
static bool is_frozen(const struct pair *pair)
{
	_cleanup_freeze_ struct netconf_freeze mark = { 0 };

	return pair->has_value &&
	       netconf_freeze_parse(v1_pair_value(pair), pair->value_len, &mark, NULL) == 0;
}

static void add_network_event(struct v1_poll *poll, struct strbuf *out, const struct change *change)
{
	_cleanup_free_ char *name =
		v1_config_name(poll->v1, change->pair->bytes, change->pair->key_len);

	if (name && (change->is_delete || is_config(change->pair)))
		add_event(poll, out, !change->is_delete, NULL, name, 0);
}

static void add_element(struct v1_poll *poll, struct strbuf *out, const struct pair *pair)
{
	_cleanup_lease_ struct lease lease = { 0 };
	_cleanup_free_ char *name = NULL;

	if (poll->kind == KIND_LEASES) {
		if (!v1_pair_lease(poll->network, pair, &lease))
			return;
		begin_element(poll, out);
		v1_add_pair(out, &lease, v1_expires_ms(lease.session));
		return;
	}
	name = v1_config_name(poll->v1, pair->bytes, pair->key_len);
	if (name && (is_config(pair) || is_frozen(pair))) {
		_cleanup_json_ json_t *value = json_string(name);
		_cleanup_free_ char *text = json_text(value);

		begin_element(poll, out);
		strbuf_puts(out, text);
	}
}

// ---- answers in pieces; each returns what http_next_fn does ----

static int end_events(struct v1_poll *poll, struct strbuf *out)
{
	strbuf_puts(out, "],\"snapshot\":null,\"cursor\":");
	v1_add_cursor(out, &poll->header);
	strbuf_puts(out, "}");
	return 0;
}

static int next_snapshot(struct v1_poll *poll, struct strbuf *out)
{
	const char *prefix = poll_prefix(poll);
	size_t len = strlen(prefix);

	while (out->len < HTTP_PIECE_GOOD) {
		const struct pair *pair = pair_set_next(poll->view, &poll->position);

		if (!pair || !pair_starts_with(pair, prefix, len)) {
			strbuf_puts(out, "],\"cursor\":");
			v1_add_cursor(out, &poll->header);
			strbuf_puts(out, "}");
			return 0;
		}
		add_element(poll, out, pair);
	}
	return 1;
}

static int begin_snapshot(struct v1_poll *poll, struct strbuf *out)
{
	const char *prefix = poll_prefix(poll);

	poll->mode = MODE_SNAPSHOT;
	poll->view = pair_set_ref(mirror_pairs(mirror_of(poll)));
	poll->header = mirror_header(mirror_of(poll));
	poll->position = pair_set_seek(poll->view, prefix, strlen(prefix));
	poll->told = 0;
	strbuf_puts(out, "{\"events\":null,\"snapshot\":[");
	return next_snapshot(poll, out);
}

static int next_events(struct v1_poll *poll, struct strbuf *out)
{
	const struct change *change;

	// Behind what the mirror keeps there is no going on; the client asks again with its cursor.
	if (mirror_has_dropped(mirror_of(poll), poll->number))
		return -EPIPE;
	while ((change = seek(poll))) {
		poll->number++;
		if (poll->kind == KIND_LEASES)
			add_lease_event(poll, out, change);
		else
			add_network_event(poll, out, change);
		if (out->len >= HTTP_PIECE_GOOD)
			break;
	}
	if (poll->told == 0)
		return out->len > 0 ? 1 : -EAGAIN;
	poll->mode = MODE_EVENTS;
	if (change)
		return 1;
	poll->header = mirror_header(mirror_of(poll));
	return end_events(poll, out);
}

// ---- one lease ----

static void on_ttl(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct v1_poll *poll = arg;

	(void)session;
	(void)e;
	poll->mode = MODE_ASKED;
	poll->failure = r;
	poll->expires_ms = timestamp_now_ms() + ttl_s * 1000;
	http_stream_wake(poll->exchange);
}

static int answer_lease(struct v1_poll *poll, struct strbuf *out)
{
	if (poll->failure < 0)
		return poll->failure; // cut: the client asks again
	if (poll->as_snapshot) {
		strbuf_puts(out, "{\"events\":null,\"snapshot\":[");
		v1_add_pair(out, &poll->lease, poll->expires_ms);
		strbuf_puts(out, "],\"cursor\":");
		v1_add_cursor(out, &poll->header);
		strbuf_puts(out, "}");
		return 0;
	}
	add_event(poll, out, true, &poll->lease, NULL, poll->expires_ms);
	return end_events(poll, out);
}

static int tell_lease(struct v1_poll *poll, struct strbuf *out, bool as_snapshot)
{
	const struct pair *pair = v1_find(poll->v1, poll->key);

	poll->header = mirror_header(mirror_of(poll));
	poll->as_snapshot = as_snapshot;
	lease_free(&poll->lease);
	if (!pair || !v1_pair_lease(poll->network, pair, &poll->lease)) {
		const size_t len = strlen(poll->network->leases_prefix);

		(void)subnet_parse_key(poll->key + len, strlen(poll->key + len),
				       &poll->lease.subnet, NULL);
		add_event(poll, out, false, &poll->lease, NULL, TIMESTAMP_ZERO_MS);
		return end_events(poll, out);
	}
	if (poll->lease.session == 0) {
		poll->expires_ms = TIMESTAMP_ZERO_MS;
		return answer_lease(poll, out);
	}
	poll->mode = MODE_ASKING;
	kv_session_query(poll->v1->controller->kv, poll->lease.session, on_ttl, poll);
	return -EAGAIN;
}

// ---- polling ----

// Something that is so already, told once more: it changes nothing.
static int tell_anew(struct v1_poll *poll, struct strbuf *out)
{
	const char *prefix = poll_prefix(poll);
	const struct pair_set *pairs = mirror_pairs(mirror_of(poll));
	struct pair_position position = pair_set_seek(pairs, prefix, strlen(prefix));
	const struct pair *pair;

	if (poll->kind == KIND_LEASE)
		return tell_lease(poll, out, false);
	while (poll->kind == KIND_LEASES && (pair = pair_set_next(pairs, &position)) &&
	       concerns(poll, pair)) {
		const struct change change = { .pair = (struct pair *)(uintptr_t)pair };

		add_lease_event(poll, out, &change);
		if (poll->told == 0)
			continue;
		poll->header = mirror_header(mirror_of(poll));
		return end_events(poll, out);
	}
	return begin_snapshot(poll, out);
}

static int next_poll(struct v1_poll *poll, struct strbuf *out)
{
	uint64_t now_ms = loop_now_ms();
	bool is_lost = poll->is_lost || mirror_has_dropped(mirror_of(poll), poll->number);
	int r = -EAGAIN;

	if (is_lost)
		return poll->kind == KIND_LEASE ? tell_lease(poll, out, true)
						: begin_snapshot(poll, out);
	if (poll->kind != KIND_LEASE)
		r = next_events(poll, out);
	else if (seek(poll))
		r = tell_lease(poll, out, false);
	if (r != -EAGAIN || poll->mode != MODE_POLL)
		return r;
	if (now_ms >= poll->until_ms)
		return tell_anew(poll, out);
	if (now_ms < poll->blank_ms)
		return -EAGAIN;
	poll->blank_ms = now_ms + poll->v1->blank_ms;
	strbuf_putc(out, '\n');
	return 1;
}

static int poll_next(void *arg, struct strbuf *out)
{
	struct v1_poll *poll = arg;

	switch (poll->mode) {
	case MODE_POLL:
		return next_poll(poll, out);
	case MODE_EVENTS:
		return next_events(poll, out);
	case MODE_ASKING:
		return -EAGAIN;
	case MODE_ASKED:
		return answer_lease(poll, out);
	case MODE_SNAPSHOT:
		return next_snapshot(poll, out);
	}
	return -EINVAL;
}

void v1_polls_wake(struct v1 *v1)
{
	for (struct v1_poll *poll = v1->polls; poll; poll = poll->next)
		if (poll->mode == MODE_POLL &&
		    (mirror_has_dropped(mirror_of(poll), poll->number) || seek(poll)))
			http_stream_wake(poll->exchange);
}

void v1_polls_tick(struct v1 *v1)
{
	uint64_t now_ms = loop_now_ms();

	for (struct v1_poll *poll = v1->polls; poll; poll = poll->next)
		if (poll->mode == MODE_POLL && (now_ms >= poll->until_ms || now_ms >= poll->blank_ms))
			http_stream_wake(poll->exchange);
}

void v1_polls_lose(struct v1 *v1)
{
	for (struct v1_poll *poll = v1->polls; poll; poll = poll->next) {
		poll->is_lost = true;
		http_stream_wake(poll->exchange);
	}
}

// ---- life ----

static void poll_closed(void *arg)
{
	struct v1_poll *poll = arg;
	struct v1 *v1 = poll->v1;

	kv_forget(v1->controller->kv, poll);
	v1->poll_count--;
	if (poll->previous)
		poll->previous->next = poll->next;
	else
		v1->polls = poll->next;
	if (poll->next)
		poll->next->previous = poll->previous;
	v1_network_put(poll->network);
	pair_set_unref(poll->view);
	lease_free(&poll->lease);
	free(poll->key);
	free(poll);
}

static struct v1_poll *poll_new(struct v1_request *request)
{
	struct v1 *v1 = request->v1;
	struct v1_poll *poll = xnew(struct v1_poll);

	poll->v1 = v1;
	poll->exchange = request->exchange;
	poll->network = TAKE_PTR(request->network);
	poll->kind = !poll->network		      ? KIND_NETWORKS
		     : ipnet_is_set(&request->subnet) ? KIND_LEASE
						      : KIND_LEASES;
	if (poll->kind == KIND_LEASE)
		poll->key = v1_lease_key(poll->network, &request->subnet);
	poll->blank_ms = loop_now_ms() + v1->blank_ms;
	poll->until_ms = loop_now_ms() + v1->poll_ms - random_below(v1->poll_ms / 4);
	poll->next = v1->polls;
	if (poll->next)
		poll->next->previous = poll;
	v1->polls = poll;
	v1->poll_count++;
	return poll;
}

// Ends the request: its exchange is the poll's.
static void start(struct v1_request *request, bool is_lost, uint64_t number)
{
	struct v1_poll *poll;

	if (request->v1->poll_count >= POLLS_MAX) {
		v1_request_fail(request, "too many clients are waiting");
		return;
	}
	poll = poll_new(request);
	poll->is_lost = is_lost;
	poll->number = number;
	v1_tick_soon(poll->v1);
	http_answer_stream(poll->exchange, 200, V1_TYPE_JSON, poll_next, poll_closed, poll);
	v1_request_end(request);
}

void v1_serve_snapshot(struct v1_request *request)
{
	start(request, true, 0);
}

// ---- cursors ----

static void place(struct v1_request *request)
{
	uint64_t number = 0;
	bool found = mirror_find(request->v1->controller->mirror, request->revision + 1, &number);

	start(request, !found, number);
}

static void find_store(struct v1_request *request)
{
	struct kv_header header = mirror_header(request->v1->controller->mirror);
	const char *cursor = http_exchange_query(request->exchange, "next");
	int64_t revision = 0;
	uint64_t mark;

	if (!cursor || !v1_read_cursor(cursor, &revision, &mark) ||
	    mark != v1_cursor_mark(header.cluster_id)) {
		v1_serve_snapshot(request);
		return;
	}
	// Another controller may be further than this one. One that has gone back in time gives a snapshot.
	request->revision = revision;
	request->late = v1_serve_snapshot;
	v1_request_wait(request, place);
}

void v1_serve_poll(struct v1_request *request)
{
	request->revision = 0;
	v1_request_wait(request, find_store);
}
