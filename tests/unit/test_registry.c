// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the registry over the store in memory.
#include "unit.h"

#include "core/mem.h"
#include "registry_world.h"

#include <errno.h>
#include <string.h>

#define PREFIX "/coreos.com/network"
#define KEY PREFIX "/subnets/10.1.2.0-24"
#define VALUE "{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null}"

static unsigned int txn_max; // of the store

static int setup(void **state)
{
	(void)state;
	registry_world_open(PREFIX "/", txn_max);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	registry_world_close();
	return 0;
}

// ---- calls that wait ----

struct told {
	bool done;
	int r;
	char text[512];
	int64_t mod_revision;
	int64_t revision; // of the answer
	bool has_lease;
	struct lease lease;
	struct err err;
	int64_t ttl_s;
};

static void told(struct told *ret, int r, const struct err *e)
{
	assert_false(ret->done);
	ret->done = true;
	ret->r = r;
	if (r < 0)
		ret->err = *e;
}

static void config_told(void *arg, int r, const char *text, int64_t mod_revision,
			const struct kv_header *header, const struct err *e)
{
	struct told *ret = arg;

	told(ret, r, e);
	ret->revision = header ? header->revision : 0;
	(void)text_copy(ret->text, sizeof(ret->text), text ? text : "");
	ret->mod_revision = mod_revision;
}

static void done_told(void *arg, int r, const struct err *e)
{
	told(arg, r, e);
}

static void lease_told(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *ret = arg;

	told(ret, r, e);
	ret->has_lease = lease != NULL;
	if (lease)
		lease_copy(lease, &ret->lease);
}

static void session_told(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	struct told *ret = arg;

	(void)session;
	told(ret, r, e);
	ret->ttl_s = ttl_s;
}

static struct subnet subnet_of(const char *key)
{
	struct subnet subnet;

	assert_int_equal(subnet_parse_key(key, strlen(key), &subnet, NULL), 0);
	return subnet;
}

// By the config that there is.
static void create(const char *key, const char *value, int64_t ttl_s, struct told *ret)
{
	struct registry_create_terms terms = { .ttl_s = ttl_s };
	struct subnet subnet = subnet_of(key);
	struct lease_attrs attrs = { 0 };
	struct kv_pair config;

	if (memory_get(kv, PREFIX "/config", &config))
		terms.config_revision = config.mod_revision;
	*ret = (struct told){ 0 };
	assert_int_equal(lease_attrs_parse(value, strlen(value), &attrs, NULL), 0);
	registry_lease_create(registry, &subnet, &attrs, &terms, lease_told, ret);
	lease_attrs_free(&attrs);
	turn_until(loop, ret->done);
}

static void update(const struct lease *current, const char *value, struct told *ret)
{
	struct lease_attrs attrs = { 0 };

	*ret = (struct told){ 0 };
	assert_int_equal(lease_attrs_parse(value, strlen(value), &attrs, NULL), 0);
	registry_lease_update(registry, current, &attrs, lease_told, ret);
	lease_attrs_free(&attrs);
	turn_until(loop, ret->done);
}

static void delete (const char *key, int64_t mod_revision, struct told *ret)
{
	struct subnet subnet = subnet_of(key);

	*ret = (struct told){ 0 };
	registry_lease_delete(registry, &subnet, mod_revision, done_told, ret);
	turn_until(loop, ret->done);
}

static void check_stored(const char *key, const char *value)
{
	struct kv_pair pair;

	check(memory_get(kv, key, &pair), "%s is not there", key);
	assert_int_equal(pair.value_len, strlen(value));
	assert_memory_equal(pair.value, value, strlen(value));
}

static void put(const char *key, const char *value)
{
	memory_put(kv, key, value, strlen(value), 0);
}

// ---- prefix and config ----

static void test_prefix(void **state)
{
	struct registry *other = NULL;
	char longest[REGISTRY_PREFIX_MAX + 2] = "";
	struct err e;

	(void)state;
	memset(longest, 'p', REGISTRY_PREFIX_MAX);
	assert_int_equal(registry_new(kv, longest, &other, &e), 0);
	other = registry_free(other);
	longest[REGISTRY_PREFIX_MAX] = 'p';
	assert_int_equal(registry_new(kv, longest, &other, &e), -EINVAL);
	assert_int_equal(registry_new(kv, "/a\xff", &other, &e), -EINVAL);
	assert_int_equal(registry_new(kv, "", &other, &e), -EINVAL);
	assert_int_equal(registry_new(kv, "//", &other, &e), -EINVAL);
	assert_int_equal(registry_new(kv, "/a b", &other, &e), -EINVAL);
	assert_int_equal(registry_new(kv, "/a\n", &other, &e), -EINVAL);
	assert_null(other);
}

static void test_config(void **state)
{
	struct told got = { 0 };
	struct told set = { 0 };

	(void)state;
	registry_config_get(registry, config_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, -ENOENT);
	assert_int_equal(got.revision, memory_revision(kv));
	assert_non_null(strstr(got.err.msg, PREFIX "/config"));

	registry_config_set(registry, "{\"a\":1}", 0, done_told, &set);
	turn_until(loop, set.done);
	assert_int_equal(set.r, 0);
	check_stored(PREFIX "/config", "{\"a\":1}");
	got = (struct told){ 0 };
	registry_config_get(registry, config_told, &got);
	turn_until(loop, got.done);
	assert_string_equal(got.text, "{\"a\":1}");

	set = (struct told){ 0 };
	registry_config_set(registry, "{\"a\":2}", 0, done_told, &set);
	turn_until(loop, set.done);
	assert_int_equal(set.r, -EEXIST);
	set = (struct told){ 0 };
	registry_config_set(registry, "{\"a\":2}", got.mod_revision + 5, done_told, &set);
	turn_until(loop, set.done);
	assert_int_equal(set.r, -ESTALE);
	check_stored(PREFIX "/config", "{\"a\":1}");
	set = (struct told){ 0 };
	memory_lose_answers(kv, 1);
	registry_config_set(registry, "{\"a\":2}", got.mod_revision, done_told, &set);
	turn_until(loop, set.done);
	assert_int_equal(set.r, 0);
	check_stored(PREFIX "/config", "{\"a\":2}");
	set = (struct told){ 0 };
	memory_lose_requests(kv, 1);
	registry_config_set(registry, "{\"a\":3}", memory_revision(kv), done_told, &set);
	turn_until(loop, set.done);
	assert_int_equal(set.r, -EINPROGRESS);
}

static void test_config_unusable(void **state)
{
	_cleanup_free_ char *large = xcalloc(1, KV_VALUE_MAX + 2);
	struct told got = { 0 };

	(void)state;
	memset(large, ' ', KV_VALUE_MAX + 1);
	put(PREFIX "/config", large);
	registry_config_get(registry, config_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, -E2BIG);
	memory_put(kv, PREFIX "/config", "{}\0{}", 5, 0);
	got = (struct told){ 0 };
	registry_config_get(registry, config_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, -EINVAL);
}

// ---- leases ----

static void test_create(void **state)
{
	struct told got;
	struct kv_pair pair;

	(void)state;
	create("10.1.2.0-24", VALUE, 0, &got);
	assert_int_equal(got.r, 0);
	assert_true(got.has_lease);
	assert_true(got.lease.session != 0);
	assert_int_equal(got.lease.mod_revision, memory_revision(kv));
	check_stored(KEY, VALUE);
	assert_true(memory_get(kv, KEY, &pair));
	assert_int_equal(pair.session, got.lease.session);
	assert_int_equal(memory_session_count(kv), 1);
	lease_free(&got.lease);

	// Another one is told who is there, and leaves no session behind.
	create("10.1.2.0-24", "{\"PublicIP\":\"192.0.2.9\"}", 0, &got);
	assert_int_equal(got.r, -EEXIST);
	assert_true(got.has_lease);
	assert_int_equal(got.lease.session, pair.session);
	lease_free(&got.lease);
	turn_until(loop, memory_session_count(kv) == 1);
	check_stored(KEY, VALUE);

	put(KEY, "junk");
	create("10.1.2.0-24", VALUE, 0, &got);
	assert_int_equal(got.r, -EEXIST);
	assert_false(got.has_lease);
}

static void test_create_reservation(void **state)
{
	struct told got;

	(void)state;
	create("10.1.2.0-24", VALUE, -1, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(got.lease.session, 0);
	lease_free(&got.lease);
	assert_int_equal(memory_session_count(kv), 0);
	check_stored(KEY, VALUE);
}

static void test_create_answer_lost(void **state)
{
	struct told got;

	(void)state;
	memory_lose_answers(kv, 1);
	create("10.1.2.0-24", VALUE, 0, &got);
	assert_int_equal(got.r, 0);
	assert_true(got.lease.session != 0);
	assert_int_equal(memory_session_count(kv), 1);
	lease_free(&got.lease);

	// Not done, and fenced off: it cannot be done later either.
	memory_lose_requests(kv, 1);
	create("10.1.3.0-24", VALUE, 0, &got);
	assert_int_equal(got.r, -ETIMEDOUT);
	assert_int_equal(memory_session_count(kv), 1);
	assert_false(is_stored(PREFIX "/subnets/10.1.3.0-24"));

	// It was another's already.
	memory_lose_requests(kv, 1);
	create("10.1.2.0-24", "{\"PublicIP\":\"192.0.2.9\"}", 0, &got);
	assert_int_equal(got.r, -EEXIST);
	assert_true(got.has_lease);
	lease_free(&got.lease);
	assert_int_equal(memory_session_count(kv), 1);

	// Without a session nothing can be fenced off.
	memory_lose_requests(kv, 1);
	create("10.1.3.0-24", VALUE, -1, &got);
	assert_int_equal(got.r, -EINPROGRESS);
	memory_lose_answers(kv, 1);
	create("10.1.3.0-24", VALUE, -1, &got);
	assert_int_equal(got.r, 0);
	lease_free(&got.lease);
}

// The answer is lost together with the store: it is found out when the store is back.
static void test_create_answer_lost_in_outage(void **state)
{
	struct subnet subnet = subnet_of("10.1.2.0-24");
	struct lease_attrs attrs = { 0 };
	struct told got = { 0 };

	(void)state;
	assert_int_equal(lease_attrs_parse(VALUE, strlen(VALUE), &attrs, NULL), 0);
	memory_lose_answers(kv, 1);
	registry_lease_create(registry, &subnet, &attrs,
			      &(struct registry_create_terms){ .ttl_s = 0 }, lease_told, &got);
	lease_attrs_free(&attrs);
	turn_until(loop, is_stored(KEY));
	memory_set_reachable(kv, false);
	turn_until(loop, kv_stats(kv)->failures >= 3);
	assert_false(got.done);
	memory_set_reachable(kv, true);
	turn_until(loop, got.done);
	assert_int_equal(got.r, 0);
	lease_free(&got.lease);
}

static void test_create_refused(void **state)
{
	struct told got;

	(void)state;
	memory_set_reachable(kv, false);
	create("10.1.2.0-24", VALUE, 0, &got);
	assert_int_equal(got.r, -ECONNREFUSED);
	assert_false(got.has_lease);
}

static void test_update(void **state)
{
	static const char changed[] = "{\"PublicIP\":\"192.0.2.2\",\"PublicIPv6\":null}";
	struct told made;
	struct told got;

	(void)state;
	create("10.1.2.0-24", VALUE, 0, &made);
	update(&made.lease, changed, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(got.lease.session, made.lease.session);
	assert_true(got.lease.mod_revision > made.lease.mod_revision);
	check_stored(KEY, changed);
	lease_free(&got.lease);

	// By a revision that is not the present one: what is there is told.
	update(&made.lease, VALUE, &got);
	assert_int_equal(got.r, -ESTALE);
	assert_true(got.has_lease);
	lease_free(&got.lease);
	check_stored(KEY, changed);

	assert_true(memory_delete(kv, KEY));
	update(&made.lease, VALUE, &got);
	assert_int_equal(got.r, -ENOENT);
	assert_false(got.has_lease);
	lease_free(&made.lease);
}

static void test_update_answer_lost(void **state)
{
	static const char changed[] = "{\"PublicIP\":\"192.0.2.2\",\"PublicIPv6\":null}";
	struct told made;
	struct told got;

	(void)state;
	create("10.1.2.0-24", VALUE, 0, &made);
	memory_lose_answers(kv, 1);
	update(&made.lease, changed, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(got.lease.mod_revision, memory_revision(kv));
	lease_free(&made.lease);
	made.lease = got.lease;
	memory_lose_requests(kv, 1);
	update(&made.lease, VALUE, &got);
	assert_int_equal(got.r, -EINPROGRESS);
	check_stored(KEY, changed);
	assert_int_equal(memory_session_count(kv), 1);
	lease_free(&made.lease);
}

static void test_update_session_gone(void **state)
{
	struct lease lease = { .subnet = subnet_of("10.1.2.0-24") };
	struct told got;
	struct kv_pair pair;

	(void)state;
	put(KEY, VALUE);
	lease.mod_revision = memory_revision(kv);
	lease.session = 4711;
	update(&lease, "{\"PublicIP\":\"192.0.2.2\"}", &got);
	assert_int_equal(got.r, 0);
	assert_true(got.lease.session != 0 && got.lease.session != 4711);
	assert_true(memory_get(kv, KEY, &pair));
	assert_int_equal(pair.session, got.lease.session);
	assert_int_equal(memory_session_count(kv), 1);
	lease_free(&got.lease);

	lease.session = 4712; // and the key has moved on
	update(&lease, VALUE, &got);
	assert_int_equal(got.r, -ESTALE);
	lease_free(&got.lease);
	turn_until(loop, memory_session_count(kv) == 1);
}

static void test_update_reservation(void **state)
{
	struct told made;
	struct told got;
	struct kv_pair pair;

	(void)state;
	create("10.1.2.0-24", VALUE, -1, &made);
	update(&made.lease, "{\"PublicIP\":\"192.0.2.2\"}", &got);
	assert_int_equal(got.r, 0);
	assert_true(memory_get(kv, KEY, &pair));
	assert_int_equal(pair.session, 0);
	assert_int_equal(memory_session_count(kv), 0);
	lease_free(&made.lease);
	lease_free(&got.lease);
}

static void test_delete(void **state)
{
	struct told made;
	struct told got;

	(void)state;
	delete ("10.1.2.0-24", 0, &got);
	assert_int_equal(got.r, -ENOENT);
	create("10.1.2.0-24", VALUE, 0, &made);
	delete ("10.1.2.0-24", made.lease.mod_revision + 1, &got);
	assert_int_equal(got.r, -ESTALE);
	assert_true(is_stored(KEY));
	delete ("10.1.2.0-24", made.lease.mod_revision, &got);
	assert_int_equal(got.r, 0);
	assert_false(is_stored(KEY));
	assert_int_equal(memory_session_count(kv), 0);
	lease_free(&made.lease);

	put(KEY, "junk");
	delete ("10.1.2.0-24", 0, &got);
	assert_int_equal(got.r, 0);
	assert_false(is_stored(KEY));

	create("10.1.2.0-24", VALUE, 0, &made);
	lease_free(&made.lease);
	memory_lose_answers(kv, 1);
	delete ("10.1.2.0-24", 0, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(memory_session_count(kv), 0);
	create("10.1.2.0-24", VALUE, 0, &made);
	lease_free(&made.lease);
	memory_lose_requests(kv, 1);
	delete ("10.1.2.0-24", 0, &got);
	assert_int_equal(got.r, 0);
	assert_false(is_stored(KEY));
	assert_int_equal(memory_session_count(kv), 0);
}

static void test_get_and_renew(void **state)
{
	struct subnet subnet = subnet_of("10.1.2.0-24");
	struct told made;
	struct told got = { 0 };

	(void)state;
	registry_lease_get(registry, &subnet, lease_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, -ENOENT);
	create("10.1.2.0-24", VALUE, 100, &made);
	got = (struct told){ 0 };
	registry_lease_get(registry, &subnet, lease_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, 0);
	assert_int_equal(got.lease.mod_revision, made.lease.mod_revision);
	assert_true(lease_attrs_equal(&got.lease.attrs, &made.lease.attrs));
	lease_free(&got.lease);
	got = (struct told){ 0 };
	registry_lease_renew(registry, made.lease.session, session_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, 0);
	assert_int_equal(got.ttl_s, 100);
	got = (struct told){ 0 };
	registry_lease_ttl(registry, 4711, session_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, -ENOENT);
	lease_free(&made.lease);
	put(KEY, "junk");
	got = (struct told){ 0 };
	registry_lease_get(registry, &subnet, lease_told, &got);
	turn_until(loop, got.done);
	assert_int_equal(got.r, -EINVAL);
}

// ---- snapshot and events ----

struct seen {
	struct strbuf text;
	bool done;
	int r;
	int64_t revision;
	struct registry_watch *watch;
	bool frees_at_lease;
	bool up;
	bool lost;
};

static void seen_lease(void *arg, struct lease *lease)
{
	struct seen *seen = arg;
	char key[LEASE_KEY_MAX];

	subnet_format_key(&lease->subnet, key);
	strbuf_printf(&seen->text, "%s\n", key);
}

static void seen_bad(void *arg, const struct registry_bad *bad)
{
	struct seen *seen = arg;

	assert_true(bad->why[0] != '\0');
	strbuf_printf(&seen->text, "bad %s%s\n", bad->key, bad->has_subnet ? " with subnet" : "");
}

static void seen_done(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct seen *seen = arg;

	(void)e;
	seen->done = true;
	seen->r = r;
	if (r == 0)
		seen->revision = header->revision;
}

static const struct registry_snapshot_fns seen_fns = { seen_lease, seen_bad, seen_done };

static void put_junk(void)
{
	_cleanup_free_ char *large = xcalloc(1, KV_VALUE_MAX + 2);

	memset(large, ' ', KV_VALUE_MAX + 1);
	put(PREFIX "/subnets/10.1.3.0-24", "junk");
	put(PREFIX "/subnets/10.1.4.0-24", large);
	put(PREFIX "/subnets/10.1.5.0-24", "{\"PublicIP\":null}");
	put(PREFIX "/subnets/hello\tthere", VALUE);
	put(PREFIX "/subnets/10.1.6.0-24&fd00:0::-64", VALUE);
	put(PREFIX "/subnets/", VALUE);
	put(PREFIX "/subnets-not/10.1.7.0-24", VALUE);
}

static void test_snapshot(void **state)
{
	struct seen seen = { .text = STRBUF_INIT(10000) };

	(void)state;
	put(KEY, VALUE);
	put(PREFIX "/subnets/10.1.9.0-24&fd00::-64", VALUE);
	put_junk();
	registry_leases(registry, &seen_fns, &seen);
	turn_until(loop, seen.done);
	assert_int_equal(seen.r, 0);
	assert_int_equal(seen.revision, memory_revision(kv));
	assert_string_equal(strbuf_text(&seen.text),
			    "bad \n10.1.2.0-24\nbad 10.1.3.0-24 with subnet\nbad 10.1.4.0-24 with subnet\n"
			    "bad 10.1.5.0-24 with subnet\nbad 10.1.6.0-24&fd00:0::-64 with subnet\n"
			    "10.1.9.0-24&fd00::-64\nbad hello\\x09there\n");
	strbuf_free(&seen.text);
}

static void seen_event(void *arg, const struct registry_event *event)
{
	struct seen *seen = arg;

	switch (event->kind) {
	case REGISTRY_LEASE_PUT:
		strbuf_puts(&seen->text, "put ");
		seen_lease(seen, event->lease);
		if (seen->frees_at_lease)
			seen->watch = registry_watch_free(seen->watch);
		return;
	case REGISTRY_LEASE_DELETE:
		strbuf_puts(&seen->text, "delete ");
		seen_lease(seen, event->lease);
		return;
	case REGISTRY_LEASE_BAD:
		seen_bad(seen, event->bad);
		return;
	case REGISTRY_BAD_GONE:
		strbuf_printf(&seen->text, "gone %s\n", event->bad->key);
		return;
	case REGISTRY_CONFIG_PUT:
		strbuf_printf(&seen->text, "config %s%s\n", event->text, event->err ? "unusable" : "");
		return;
	case REGISTRY_CONFIG_DELETE:
		strbuf_puts(&seen->text, "no config\n");
		return;
	case REGISTRY_UP:
		seen->up = true;
		return;
	case REGISTRY_DOWN:
		seen->up = false;
		return;
	case REGISTRY_LOST:
		seen->lost = true;
		return;
	}
}

static void test_events(void **state)
{
	struct seen seen = { .text = STRBUF_INIT(10000) };

	(void)state;
	seen.watch = registry_watch_start(registry, memory_revision(kv) + 1, memory_cluster_id(kv),
					  seen_event, &seen);
	turn_until(loop, seen.up);
	put(KEY, VALUE);
	put_junk();
	put(PREFIX "/config", "{}");
	put(PREFIX "/config-more", "{}");
	memory_put(kv, PREFIX "/config", "\0", 1, 0);
	memory_delete(kv, PREFIX "/config");
	memory_delete(kv, PREFIX "/subnets/hello\tthere");
	memory_delete(kv, PREFIX "/subnets/10.1.3.0-24");
	memory_delete(kv, KEY);
	turn_until(loop, strstr(strbuf_text(&seen.text), "delete 10.1.2.0-24\n"));
	assert_string_equal(strbuf_text(&seen.text),
			    "put 10.1.2.0-24\nbad 10.1.3.0-24 with subnet\nbad 10.1.4.0-24 with subnet\n"
			    "bad 10.1.5.0-24 with subnet\nbad hello\\x09there\n"
			    "bad 10.1.6.0-24&fd00:0::-64 with subnet\nbad \nconfig {}\nconfig unusable\nno config\n"
			    "gone hello\\x09there\ndelete 10.1.3.0-24\ndelete 10.1.2.0-24\n");
	memory_wipe(kv);
	turn_until(loop, seen.lost);
	registry_watch_free(seen.watch);
	strbuf_free(&seen.text);
}

static void test_watch_freed_within(void **state)
{
	struct seen seen = { .text = STRBUF_INIT(10000), .frees_at_lease = true };

	(void)state;
	put(KEY, VALUE);
	put(PREFIX "/subnets/10.1.3.0-24", VALUE);
	seen.watch = registry_watch_start(registry, 2, 0, seen_event, &seen);
	turn_until(loop, !seen.watch);
	loop_turn(loop, 10);
	assert_string_equal(strbuf_text(&seen.text), "put 10.1.2.0-24\n");
	strbuf_free(&seen.text);
}

// ---- networks ----

struct listed {
	struct told told;
	struct strbuf text;
};

static void listed_network(void *arg, const char *name, const char *text)
{
	struct listed *listed = arg;

	strbuf_printf(&listed->text, "[%s]=%s;", name, text);
}

static void listed_done(void *arg, int r, const struct err *e)
{
	struct listed *listed = arg;

	told(&listed->told, r, e);
}

static void test_networks(void **state)
{
	struct listed listed = { .text = STRBUF_INIT(1000) };

	(void)state;
	put(PREFIX "/config", "0");
	put(PREFIX "/blue/config", "1");
	put(PREFIX "/blue/subnets/config", "no");
	put(PREFIX "/subnets/config", "no");
	put(PREFIX "/config/config/config", "no");
	put(PREFIX "//config", "no");
	put(PREFIX "x/config", "no");
	put(PREFIX "/red/config", "2");
	put(KEY, VALUE);
	registry_network_list(registry, listed_network, listed_done, &listed);
	turn_until(loop, listed.told.done);
	assert_int_equal(listed.told.r, 0);
	assert_string_equal(strbuf_text(&listed.text), "[blue]=1;[]=0;[red]=2;");
	strbuf_free(&listed.text);
}

static void network_delete(bool force, struct told *ret)
{
	*ret = (struct told){ 0 };
	registry_network_delete(registry, force, done_told, ret);
	turn_until(loop, ret->done);
}

// More leases than fit a transaction.
static void put_many(void)
{
	char key[64];

	for (int i = 0; i < 150; i++) {
		assert_int_equal(text_format(key, sizeof(key), PREFIX "/subnets/10.2.%d.0-24", i), 0);
		put(key, VALUE);
	}
}

static void test_network_delete(void **state)
{
	struct told got;
	struct told made;

	(void)state;
	network_delete(false, &got);
	assert_int_equal(got.r, -ENOENT);
	put(PREFIX "/config", "{}");
	network_delete(false, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(memory_key_count(kv), 0);

	put(PREFIX "/config", "{}");
	put(PREFIX "/blue/config", "{}");
	put_many();
	create("10.1.2.0-24", VALUE, 0, &made);
	lease_free(&made.lease);
	network_delete(false, &got);
	assert_int_equal(got.r, -EBUSY);
	assert_non_null(strstr(got.err.msg, "151"));
	assert_int_equal(memory_key_count(kv), 153);
	network_delete(true, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(memory_key_count(kv), 1); // the other network
	assert_int_equal(memory_session_count(kv), 0);
}

static void put_raw(const char *raw_key, size_t len)
{
	struct kv_write write = { .key = raw_key, .key_len = len, .value = "x", .value_len = 1 };
	struct kv_txn txn = { .writes = &write, .write_count = 1 };
	struct kv_answer answer;

	do_txn(kv, &txn, &answer);
	assert_true(answer.succeeded);
	kv_answer_free(&answer);
}

static void test_network_delete_odd_keys(void **state)
{
	static const char odd[] = PREFIX "/subnets/bad\x01key\0\xff";
	char long_key[20000];
	struct told got;
	int i;

	(void)state;
	put(PREFIX "/config", "{}");
	put(KEY, VALUE);
	put_raw(odd, sizeof(odd) - 1);
	put_raw(odd, sizeof(odd) - 2);
	memset(long_key, 'k', sizeof(long_key));
	memcpy(long_key, PREFIX "/subnets/", strlen(PREFIX "/subnets/"));
	for (i = 0; i < 20; i++)
		put_raw(long_key, sizeof(long_key) - (size_t)i);
	network_delete(true, &got);
	check(got.r == 0, "%s", got.err.msg);
	assert_int_equal(memory_key_count(kv), 0);
}

// What cannot go is named, keeps nothing else, and goes when it can.
static void test_network_delete_refused_key(void **state)
{
	struct told got;
	struct told made;

	(void)state;
	put(PREFIX "/config", "{}");
	put_many();
	create("10.2.200.0-24", VALUE, 0, &made);
	lease_free(&made.lease);
	memory_refuse_key(kv, PREFIX "/subnets/10.2.77.0-24");
	network_delete(true, &got);
	assert_int_equal(got.r, -EPROTO);
	assert_non_null(strstr(got.err.msg, "cannot delete 10.2.77.0-24"));
	assert_int_equal(memory_key_count(kv), 1);
	assert_int_equal(memory_session_count(kv), 0);
	network_delete(true, &got);
	assert_int_equal(got.r, -EPROTO);
	memory_refuse_key(kv, NULL);
	network_delete(true, &got);
	assert_int_equal(got.r, 0);
	assert_int_equal(memory_key_count(kv), 0);
}

// The store breaks at any step of the deletion: the next one finishes.
static void test_network_delete_half_way(void **state)
{
	struct told got;
	struct told made;
	unsigned int turns;
	unsigned int i;
	bool finished = false;

	(void)state;
	for (turns = 0; !finished; turns++) {
		put(PREFIX "/config", "{}");
		create("10.1.2.0-24", VALUE, 0, &made);
		lease_free(&made.lease);
		put(PREFIX "/subnets/junk", "x");
		got = (struct told){ 0 };
		registry_network_delete(registry, true, done_told, &got);
		for (i = 0; i < turns; i++)
			loop_turn(loop, 10);
		finished = got.done;
		memory_set_reachable(kv, false);
		turn_until(loop, got.done);
		memory_set_reachable(kv, true);
		check(got.r == (finished ? 0 : -ECONNREFUSED), "after %u turns: %d", turns, got.r);
		if (memory_key_count(kv) == 2) // without the config
			assert_non_null(strstr(got.err.msg, "the config is deleted"));
		if (memory_key_count(kv) > 0) {
			network_delete(true, &got);
			check(got.r == 0, "after %u turns: %s", turns, got.err.msg);
		}
		assert_int_equal(memory_key_count(kv), 0);
	}
	assert_true(turns > 4);
}

static void test_network_delete_answer_lost(void **state)
{
	struct told got;
	unsigned int i;

	(void)state;
	for (i = 1; i < 4; i++) {
		put(PREFIX "/config", "{}");
		put(KEY, VALUE);
		memory_lose_answers(kv, i);
		network_delete(true, &got);
		assert_int_equal(got.r, 0);
		assert_int_equal(memory_key_count(kv), 0);
		memory_lose_answers(kv, 0);
		put(PREFIX "/config", "{}");
		put(KEY, VALUE);
		memory_lose_requests(kv, i);
		network_delete(true, &got);
		assert_int_equal(got.r, 0);
		assert_int_equal(memory_key_count(kv), 0);
	}
}

// ---- ends ----

static void test_freed_with_calls(void **state)
{
	struct subnet subnet = subnet_of("10.1.2.0-24");
	struct lease_attrs attrs = { 0 };
	struct seen seen = { .text = STRBUF_INIT(1000) };
	struct told got = { 0 };

	(void)state;
	assert_int_equal(lease_attrs_parse(VALUE, strlen(VALUE), &attrs, NULL), 0);
	registry_config_get(registry, config_told, &got);
	registry_leases(registry, &seen_fns, &seen);
	registry_lease_create(registry, &subnet, &attrs,
			      &(struct registry_create_terms){ .ttl_s = 0 }, lease_told, &got);
	registry_lease_delete(registry, &subnet, 0, done_told, &got);
	registry_network_delete(registry, true, done_told, &got);
	registry_lease_ttl(registry, 5, session_told, &got);
	registry_watch_start(registry, 1, 0, seen_event, &seen);
	registry = registry_free(registry);
	lease_attrs_free(&attrs);
	(void)now_revision(kv, NULL);
	assert_false(got.done || seen.done || seen.up);
	strbuf_free(&seen.text);
}

#define REGISTRY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		REGISTRY_TEST(test_prefix),
		REGISTRY_TEST(test_config),
		REGISTRY_TEST(test_config_unusable),
		REGISTRY_TEST(test_create),
		REGISTRY_TEST(test_create_reservation),
		REGISTRY_TEST(test_create_answer_lost),
		REGISTRY_TEST(test_create_answer_lost_in_outage),
		REGISTRY_TEST(test_create_refused),
		REGISTRY_TEST(test_update),
		REGISTRY_TEST(test_update_answer_lost),
		REGISTRY_TEST(test_update_session_gone),
		REGISTRY_TEST(test_update_reservation),
		REGISTRY_TEST(test_delete),
		REGISTRY_TEST(test_get_and_renew),
		REGISTRY_TEST(test_snapshot),
		REGISTRY_TEST(test_events),
		REGISTRY_TEST(test_watch_freed_within),
		REGISTRY_TEST(test_networks),
		REGISTRY_TEST(test_network_delete),
		REGISTRY_TEST(test_network_delete_odd_keys),
		REGISTRY_TEST(test_network_delete_refused_key),
		REGISTRY_TEST(test_network_delete_half_way),
		REGISTRY_TEST(test_network_delete_answer_lost),
		REGISTRY_TEST(test_freed_with_calls),
	};
	int failed;

	txn_max = KV_TXN_MAX;
	failed = cmocka_run_group_tests_name("many keys at once", tests, NULL, NULL);
	txn_max = 1;
	return failed + cmocka_run_group_tests_name("one key at a time", tests, NULL, NULL);
}
