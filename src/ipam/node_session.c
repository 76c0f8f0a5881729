// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the session that all records of this host hang on, so that those of a host that died vanish, and the node's record.
//
// DOC: one session
//
//   none --needed--> the journal has one: KEEP ALIVE --alive--> in use --a third of its time--> KEEP ALIVE ...
//                                                    --gone--> OPEN --> in use
//   It is not the lease's: flannel takes a new one for each renewal, and with it the records would go.
//   A session that is gone took the records along: all are written anew.
#include "ipam/ipam_internal.h"

#include "core/json.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RENEWALS 3 // in the time of one session
#define PAUSE_BASE_MS 500
#define PAUSE_MAX_MS 30000
#define NODE_ROUNDS_MAX 3

struct node_write {
	struct ipam *ipam;
	char *key;
	char *value;
	int64_t revision; // 0: absent
	unsigned int rounds;
};

// ---- the node's record ----

static void node_write_end(struct node_write *write)
{
	write->ipam->node_write = NULL;
	free(write->key);
	free(write->value);
	free(write);
}

static void node_write_send(struct node_write *write);

static void on_node_pair(void *arg, const struct kv_pair *pair)
{
	struct node_write *write = arg;

	write->revision = pair->mod_revision;
}

static void on_node_written(void *arg, int r, bool succeeded, const struct kv_header *header,
			    const struct err *e)
{
	struct node_write *write = arg;

	(void)header;
	if (r == 0 && !succeeded && ++write->rounds < NODE_ROUNDS_MAX) {
		node_write_send(write);
		return;
	}
	if (r < 0)
		log_debug("%s: the node's record: %s", write->ipam->config.who, err_msg(e));
	node_write_end(write);
}

static void node_write_send(struct node_write *write)
{
	const struct kv_compare compare = { .key = write->key,
					    .kind = write->revision == 0 ? KV_ABSENT : KV_MOD_REVISION,
					    .mod_revision = write->revision };
	const struct kv_write put = { .key = write->key,
				      .value = write->value,
				      .value_len = strlen(write->value),
				      .session = write->ipam->session };
	const struct kv_txn txn = { &compare, 1, &put, 1 };

	write->revision = 0;
	kv_txn(write->ipam->config.kv, &txn, on_node_pair, on_node_written, write);
}

static char *node_value(const struct ipam *ipam)
{
	_cleanup_json_ json_t *object = json_object();
	_cleanup_free_ char *agent = NULL;
	char host[256] = "", subnet[SUBNET_STR_MAX];

	(void)gethostname(host, sizeof(host) - 1);
	agent = xasprintf("%s:%d", host, (int)getpid());
	text_sanitize(agent);
	json_object_set_new(object, "v", json_integer(1));
	json_object_set_new(object, "node", json_string(ipam->node));
	json_object_set_new(object, "boot", json_string(ipam->config.boot));
	json_object_set_new(object, "agent", json_string(agent));
	json_object_set_new(object, "subnets",
			    json_pack("[s]", subnet_str(&ipam->lease.subnet, subnet)));
	json_object_set_new(object, "t", json_integer((json_int_t)time(NULL)));
	if (*ipam->config.owner)
		json_object_set_new(object, OWNER_MEMBER, json_string(ipam->config.owner));
	return json_text(object);
}

static void node_write_start(struct ipam *ipam)
{
	if (ipam->node_write)
		return;
	ipam->node_write = xnew(struct node_write);
	ipam->node_write->ipam = ipam;
	ipam->node_write->key =
		xasprintf("%s/" ADDRESS_NODE_PART "%s", ipam->config.prefix, ipam->node);
	ipam->node_write->value = node_value(ipam);
	node_write_send(ipam->node_write);
}

// ---- the session ----

static void renew_later(struct ipam *ipam, int64_t ttl_s)
{
	uint64_t ms = ttl_s > 0 ? (uint64_t)ttl_s * 1000 / RENEWALS : PAUSE_MAX_MS;

	timer_start(ipam->session_timer, ms < PAUSE_BASE_MS ? PAUSE_BASE_MS : ms);
}

static void in_use(struct ipam *ipam, int64_t session, int64_t ttl_s)
{
	bool is_new = !ipam->is_session_checked;

	ipam->session = session;
	ipam->is_session_checked = true;
	ipam->session_backoff = (struct backoff){ .base_ms = PAUSE_BASE_MS, .max_ms = PAUSE_MAX_MS };
	renew_later(ipam, ttl_s);
	if (is_new)
		node_write_start(ipam);
	writes_start(ipam);
}

static void try_later(struct ipam *ipam, int r, const struct err *e)
{
	if (ipam->write_error.code == 0)
		log_warn("%s: addresses are not written to the store, and will be later: %s",
			 ipam->config.who, e ? err_msg(e) : strerror(-r));
	(void)err_set(&ipam->write_error, r, "%s", e ? err_msg(e) : strerror(-r));
	timer_start(ipam->session_timer, backoff_next_ms(&ipam->session_backoff));
	adds_store_failed(ipam);
}

static void on_opened(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct ipam *ipam = arg;
	struct err why;

	ipam->is_opening = false;
	if (r < 0) {
		// One of which the answer was lost expires, and has no keys.
		try_later(ipam, r, e);
		return;
	}
	if (journal_add_session(ipam->journal, session, &why) < 0)
		log_warn("%s: journal of addresses: %s", ipam->config.who, err_msg(&why));
	in_use(ipam, session, ttl_s);
}

static void open_one(struct ipam *ipam)
{
	ipam->is_opening = true;
	kv_session_open(ipam->config.kv, ipam->config.session_ttl_s, on_opened, ipam);
}

static void want_put(void *arg, struct slot *slot)
{
	struct ipam *ipam = arg;

	if (slot->state != SLOT_USED || slot->is_busy)
		return;
	slot->revision = 0;
	allocator_want(ipam->allocator, slot, WANT_PUT);
}

void session_lost(struct ipam *ipam)
{
	if (ipam->is_session_checked)
		log_warn("%s: the session of its addresses is gone: writing all anew",
			 ipam->config.who);
	ipam->session = 0;
	ipam->is_session_checked = false;
	timer_stop(ipam->session_timer);
	allocator_each_slot(ipam->allocator, want_put, ipam);
	session_need(ipam);
}

static void on_kept_alive(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct ipam *ipam = arg;

	ipam->is_opening = false;
	if (r == -ENOENT)
		session_lost(ipam);
	else if (r < 0)
		try_later(ipam, r, e);
	else
		in_use(ipam, session, ttl_s);
}

static void keep_alive(struct ipam *ipam)
{
	ipam->is_opening = true;
	kv_session_keep_alive(ipam->config.kv, ipam->session, on_kept_alive, ipam);
}

static void on_session_timer(void *arg)
{
	struct ipam *ipam = arg;

	if (ipam->is_opening)
		return;
	if (ipam->session != 0)
		keep_alive(ipam);
	else
		session_need(ipam);
}

void session_need(struct ipam *ipam)
{
	if (!ipam->session_timer)
		ipam->session_timer = timer_new(ipam->config.loop, on_session_timer, ipam);
	if (!ipam->config.has_records || ipam->is_sessionless || !ipam_holds_lease(ipam) ||
	    !ipam->is_read || ipam->is_opening || ipam->is_session_checked ||
	    timer_is_pending(ipam->session_timer))
		return;
	if (ipam->session != 0)
		keep_alive(ipam);
	else
		open_one(ipam);
}

void session_forget(struct ipam *ipam)
{
	ipam->session_timer = timer_free(ipam->session_timer);
	if (!ipam->node_write)
		return;
	kv_forget(ipam->config.kv, ipam->node_write);
	node_write_end(ipam->node_write);
}
