// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the Consul store against a real Consul, in what the contract suite does not ask.
#include "unit.h"

#include "consul_process.h"
#include "core/mem.h"
#include "kv_client.h"
#include "loop_end.h"
#include "netns.h"
#include "store/registry.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define EXIT_SKIPPED 77 // as meson understands it
#define SERVER "http://127.0.0.1:8500/v1"

static struct loop *loop;
static struct consul_process *consul;
static struct kv *kv;

static const char *const all[] = { "/seq/", NULL };

static struct kv *open_store(struct store_config config)
{
	struct kv *opened;
	struct err e;

	config.kind = "consul";
	if (!config.endpoints)
		config.endpoints = consul_urls(consul, CONSUL_SERVER);
	check(kv_open(loop, &config, &opened, &e) == 0, "%s", e.msg);
	return opened;
}

// Without a Consul: what is special about it the test starts itself.
static int setup_bare(void **state)
{
	(void)state;
	netns_enter();
	loop = loop_new();
	return 0;
}

static int setup(void **state)
{
	setup_bare(state);
	consul = consul_start("http", NULL, NULL);
	kv = open_store((struct store_config){ 0 });
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	consul = consul_free(consul); // first: what a failed test left open ends the rest
	kv = kv_close(kv);
	loop = loop_end(loop);
	return 0;
}

static int64_t open_session(struct kv *by, int64_t ttl_s)
{
	struct kv_answer answer;

	do_session_open(by, ttl_s, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	return answer.session;
}

// Returns the revision.
static int64_t put_tied(struct kv *by, const char *key, const char *value, int64_t session)
{
	struct kv_answer answer;

	do_write(by, key, value, -1, session, &answer);
	check(answer.r == 0 && answer.succeeded, "%s", err_msg(&answer.err));
	kv_answer_free(&answer);
	return answer.header.revision;
}

static struct kv_pair must_get(struct kv *by, const char *key)
{
	struct kv_answer answer;

	do_range(by, key, false, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	return answer.last;
}

// ---- sessions ----

// A default Consul, with other bounds than the contract suite's.
static void test_session(void **state)
{
	struct kv_answer answer;
	const json_t *session;
	json_t *sessions;
	int64_t number;

	(void)state;
	do_session_open(kv, 1, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.ttl_s, 10);
	number = answer.session;
	kv_answer_free(&answer);
	sessions = netns_json("curl", "-s", SERVER "/session/list", NULL);
	assert_int_equal(json_array_size(sessions), 1);
	session = json_array_get(sessions, 0);
	assert_int_equal(json_array_size(json_object_get(session, "NodeChecks")), 0);
	assert_int_equal(json_array_size(json_object_get(session, "ServiceChecks")), 0);
	assert_string_equal(json_text_of(session, "Node"), "weft");
	assert_string_equal(json_text_of(session, "Behavior"), "delete");
	assert_string_equal(json_text_of(session, "TTL"), "10s");
	assert_int_equal(json_int_of(session, "LockDelay"), 0);
	json_decref(sessions);

	do_session_keep_alive(kv, number, &answer);
	assert_int_equal(answer.ttl_s, 10);
	kv_answer_free(&answer);
	do_session_open(kv, 1000000, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.ttl_s, 86400);
	kv_answer_free(&answer);
}

static void test_ties(void **state)
{
	int64_t first = open_session(kv, 60), second = open_session(kv, 60);
	int64_t revision = put_tied(kv, "/tie/key", "a", first);
	struct kv_pair pair;

	(void)state;
	// The same value again is a write all the same, and keeps the tie.
	assert_true(put_tied(kv, "/tie/key", "a", first) > revision);
	pair = must_get(kv, "/tie/key");
	assert_int_equal(pair.session, first);
	assert_int_equal(pair.create_revision, revision);
	assert_true(pair.mod_revision > revision);

	revision = put_tied(kv, "/tie/key", "b", second);
	pair = must_get(kv, "/tie/key");
	assert_int_equal(pair.session, second);
	assert_int_equal(pair.mod_revision, revision);
	revision = must_put(kv, "/tie/key", "c");
	pair = must_get(kv, "/tie/key");
	assert_int_equal(pair.session, 0);
	assert_int_equal(pair.mod_revision, revision);
	assert_true(must_put(kv, "/tie/key", "c") > revision);

	put_tied(kv, "/tie/key", "d", first);
	assert_true(must_delete(kv, "/tie/key") > revision);
}

static void test_session_is_not_there(void **state)
{
	int64_t session = open_session(kv, 60);
	struct kv *other = open_store((struct store_config){ 0 });
	struct kv_answer answer;

	(void)state;
	put_tied(kv, "/seq/key", "v", session);
	assert_int_equal(must_get(other, "/seq/key").session, session);
	do_session_close(other, session, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	do_write(kv, "/seq/key", "v", 0, session, &answer);
	assert_int_equal(answer.r, -ENOENT);
	kv_answer_free(&answer);
	do_session_query(kv, session, &answer);
	assert_int_equal(answer.r, -ENOENT);
	kv_answer_free(&answer);
	kv_close(other);
}

// By default an agent that is ended leaves its cluster, and takes its node along.
static void test_restart_of_local_agent(void **state)
{
	static const int signals[] = { SIGTERM, SIGKILL };
	struct store_config config = { .dead_man_ms = 3000 };
	struct watch_log log = { 0 };
	struct kv *local;
	size_t i;

	(void)state;
	consul_begin(consul, CONSUL_CLIENT);
	config.endpoints = consul_urls(consul, CONSUL_CLIENT);
	local = open_store(config);
	put_tied(local, "/seq/lease", "v", open_session(local, 600));
	watch_log_start(&log, kv, all, now_revision(kv, NULL) + 1, 0);
	turn_until(loop, log.ups == 1);
	for (i = 0; i < 2; i++) {
		consul_end(consul, CONSUL_CLIENT, signals[i]);
		// The servers have taken note of its end when they do not list it as alive.
		turn_until(loop,
			   netns_json_count("curl", "-s", SERVER "/health/state/passing", NULL) == 1);
		consul_begin(consul, CONSUL_CLIENT);
		turn_until(loop,
			   netns_json_count("curl", "-s", SERVER "/health/state/passing", NULL) == 2);
	}
	must_put(local, "/seq/behind", "b");
	turn_until(loop, log.events == 1);
	assert_string_equal(strbuf_text(&log.text), "PUT /seq/behind=b\n");
	assert_int_equal(log.downs + log.losts, 0);
	assert_true(must_get(local, "/seq/lease").session != 0);
	watch_log_free(&log);
	kv_close(local);
}

// ---- watches ----

static void test_watch_merges(void **state)
{
	struct watch_log log = { 0 };
	int64_t revision;

	(void)state;
	must_put(kv, "/seq/a", "1");
	must_put(kv, "/seq/b", "1");
	revision = must_put(kv, "/seq/c", "1");
	must_put(kv, "/seq/b", "2");
	must_put(kv, "/seq/a", "2");
	watch_log_start(&log, kv, all, revision, 0);
	turn_until(loop, log.events == 3);
	assert_string_equal(strbuf_text(&log.text), "PUT /seq/c=1\nPUT /seq/b=2\nPUT /seq/a=2\n");
	assert_true(log.in_order);
	must_delete(kv, "/seq/b");
	must_put(kv, "/seq/a", "3");
	turn_until(loop, log.events == 5);
	assert_non_null(strstr(strbuf_text(&log.text), "DELETE /seq/b\n"));
	assert_true(log.in_order);
	assert_int_equal(log.ups, 1);
	assert_int_equal(log.downs + log.losts, 0);
	watch_log_free(&log);
}

static void test_watch_freed_within(void **state)
{
	struct watch_log log = { .free_at_event = 2 };
	int64_t revision = must_put(kv, "/seq/a", "1");

	(void)state;
	must_put(kv, "/seq/b", "1");
	must_put(kv, "/seq/c", "1");
	watch_log_start(&log, kv, all, revision, 0);
	turn_until(loop, log.events == 2);
	assert_null(log.watch);
	must_put(kv, "/seq/d", "1");
	assert_int_equal(log.events, 2);
	watch_log_free(&log);
}

// What the range showed and is gone when the watch begins was deleted between them.
static void test_deletion_before_watch(void **state)
{
	struct kv *other = open_store((struct store_config){ 0 });
	struct watch_log log = { 0 };
	struct kv_answer answer;

	(void)state;
	must_put(other, "/seq/a", "1");
	must_put(other, "/seq/b", "1");
	do_range(kv, "/seq/", true, &answer);
	kv_answer_free(&answer);
	must_delete(other, "/seq/a");
	must_put(other, "/seq/b", "2");
	watch_log_start(&log, kv, all, answer.header.revision + 1, 0);
	turn_until(loop, log.events == 2);
	assert_non_null(strstr(strbuf_text(&log.text), "DELETE /seq/a\n"));
	assert_non_null(strstr(strbuf_text(&log.text), "PUT /seq/b=2\n"));
	watch_log_free(&log);

	// Nothing is known to one who has read nothing.
	must_delete(other, "/seq/b");
	kv_close(kv);
	kv = open_store((struct store_config){ 0 });
	watch_log_start(&log, kv, all, answer.header.revision + 1, 0);
	turn_until(loop, log.losts == 1);
	assert_false(log.store_changed);
	watch_log_free(&log);
	kv_close(other);
}

// No read of the watch ever saw it.
static void test_deletion_of_own_write(void **state)
{
	struct store_config config = { .request_timeout_ms = 20000, .dead_man_ms = 30000 };
	struct kv *other = open_store((struct store_config){ 0 });
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *writer = open_store(config);

	(void)state;
	do_range(writer, "/seq/", true, &answer);
	kv_answer_free(&answer);
	must_put(writer, "/seq/a", "1");
	must_delete(other, "/seq/a");
	watch_log_start(&log, writer, all, answer.header.revision + 1, 0);
	turn_until(loop, log.events == 1);
	assert_string_equal(strbuf_text(&log.text), "DELETE /seq/a\n");
	watch_log_free(&log);
	kv_close(writer);
	kv_close(other);
}

// Whoever waits for a watch to come as far as its own write waits for no change of what is not watched.
static void test_revision_of_deletion(void **state)
{
	struct kv_write elsewhere = { .key = "/elsewhere", .value = "x", .value_len = 1 };
	struct kv_write gone = { .key = "/seq/a" };
	struct kv_txn puts = { .writes = &elsewhere, .write_count = 1 };
	struct kv_txn delete = { .writes = &gone, .write_count = 1 };
	struct kv *other = open_store((struct store_config){ 0 });
	struct kv_answer answer, others[8];
	struct watch_log log = { 0 };

	(void)state;
	watch_log_start(&log, other, all, now_revision(other, NULL) + 1, 0);
	for (unsigned int round = 1; round <= 10; round++) {
		int64_t put = put_tied(kv, "/seq/a", "1", 0);

		turn_until(loop, log.progress >= put);
		start_txn(kv, &delete, &answer);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			start_txn(other, &puts, &others[i]);
		turn_until(loop, answer.done && log.progress >= answer.header.revision);
		assert_int_equal(answer.r, 0);
		assert_int_equal(answer.header.revision, log.last_revision);
		kv_answer_free(&answer);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
			turn_until(loop, others[i].done);
			kv_answer_free(&others[i]);
		}
	}
	watch_log_free(&log);
	kv_close(other);
}

static void test_restart_of_server(void **state)
{
	struct watch_log log = { 0 };
	struct kv_answer answer;

	(void)state;
	kv_close(kv);
	kv = open_store((struct store_config){ .request_timeout_ms = 20000 });
	must_put(kv, "/seq/a", "1");
	must_put(kv, "/seq/b", "1");
	do_range(kv, "/seq/", true, &answer);
	kv_answer_free(&answer);
	watch_log_start(&log, kv, all, answer.header.revision + 1, 0);
	turn_until(loop, log.ups == 1);
	consul_end(consul, CONSUL_SERVER, SIGKILL);
	turn_until(loop, log.downs == 1);
	consul_begin(consul, CONSUL_SERVER);
	must_put(kv, "/seq/c", "1");
	must_delete(kv, "/seq/a");
	turn_until(loop, log.ups == 2 && log.events == 2);
	assert_non_null(strstr(strbuf_text(&log.text), "PUT /seq/c=1\n"));
	assert_non_null(strstr(strbuf_text(&log.text), "DELETE /seq/a\n"));
	assert_int_equal(log.losts, 0);
	watch_log_free(&log);
}

static void test_wiped_server(void **state)
{
	struct watch_log log = { 0 };
	int64_t revision;
	int i;

	(void)state;
	for (i = 0; i < 50; i++)
		revision = must_put(kv, "/seq/a", "1");
	watch_log_start(&log, kv, all, revision + 1, 0);
	turn_until(loop, log.ups == 1);
	consul_end(consul, CONSUL_SERVER, SIGKILL);
	consul_wipe(consul);
	consul_begin(consul, CONSUL_SERVER);
	turn_until(loop, log.losts == 1);
	assert_true(log.store_changed);
	assert_int_equal(log.events, 0);
	watch_log_free(&log);
}

// It says nothing at all; the watch goes elsewhere.
static void test_agent_that_hangs(void **state)
{
	const char *urls[] = { NULL, NULL, NULL };
	struct watch_log log = { 0 };
	uint64_t hung_ms;
	struct kv *two;

	(void)state;
	consul_begin(consul, CONSUL_CLIENT);
	urls[0] = consul_urls(consul, CONSUL_CLIENT)[0];
	urls[1] = consul_urls(consul, CONSUL_SERVER)[0];
	two = open_store((struct store_config){
		.endpoints = urls, .dead_man_ms = 3000, .request_timeout_ms = 1000 });
	watch_log_start(&log, two, all, now_revision(two, NULL) + 1, 0);
	turn_until(loop, log.ups == 1);
	assert_string_equal(kv_endpoint(two), urls[0]);
	consul_signal(consul, CONSUL_CLIENT, SIGSTOP);
	hung_ms = loop_now_ms();
	must_put(kv, "/seq/a", "1");
	turn_until(loop, log.events == 1);
	check(loop_now_ms() - hung_ms < 8000, "%d ms", (int)(loop_now_ms() - hung_ms));
	assert_string_equal(kv_endpoint(two), urls[1]);
	watch_log_free(&log);
	kv_close(two);
}

// ---- who may ----

#define MASTER "11111111-2222-3333-4444-555555555555"
#define LIMITED "66666666-7777-8888-9999-aaaaaaaaaaaa"

static void acl_put(const char *path, const char *body)
{
	_cleanup_free_ char *url = xasprintf(SERVER "/acl/%s", path);

	netns_run("curl", "-sf", "-o", "/dev/null", "-X", "PUT", "-H", "X-Consul-Token: " MASTER,
		  "-d", body, url, NULL);
}

static void test_acl(void **state)
{
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *denied;

	(void)state;
	consul = consul_start("http",
			      "acl { enabled = true default_policy = \"deny\" "
			      "tokens { master = \"" MASTER "\" } }",
			      MASTER);
	acl_put("policy",
		"{\"Name\":\"weft\",\"Rules\":\"key_prefix \\\"seq\\\" { policy = \\\"write\\\" } "
		"session \\\"weft\\\" { policy = \\\"write\\\" } node \\\"weft\\\" { policy = \\\"write\\\" }\"}");
	acl_put("token", "{\"SecretID\":\"" LIMITED "\",\"Policies\":[{\"Name\":\"weft\"}]}");
	kv = open_store((struct store_config){ .token = LIMITED });
	put_tied(kv, "/seq/a", "1", open_session(kv, 60));
	do_range(kv, "/seq/", true, &answer);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	watch_log_start(&log, kv, all, 1, 0);
	turn_until(loop, log.events == 1);
	watch_log_free(&log);
	do_write(kv, "/elsewhere", "1", -1, 0, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);
	do_write(kv, "/elsewhere", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);

	denied = open_store((struct store_config){ .token = "wrong" });
	do_range(denied, "/seq/", true, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);
	do_session_open(denied, 60, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);
	watch_log_start(&log, denied, all, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -EACCES);
	watch_log_free(&log);
	kv_close(denied);
}

static void test_tls(void **state)
{
	static const char make[] =
		"cd \"$1\" && exec >/dev/null 2>&1 && "
		"printf 'subjectAltName=IP:127.0.0.1,DNS:localhost' > ext && "
		"new() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key && "
		"openssl req -new -key $1.key -subj /CN=$1 -out $1.csr; } && "
		"new ca && openssl x509 -req -in ca.csr -signkey ca.key -days 2 -out ca.pem && "
		"new host && openssl x509 -req -in host.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
		"-days 2 -extfile ext -out host.pem";
	char dir[] = "/tmp/weft-test-tls-XXXXXX";
	_cleanup_free_ char *config = NULL, *ca = NULL, *cert = NULL, *key = NULL;
	struct kv_answer answer;
	struct kv *stranger;

	(void)state;
	assert_non_null(mkdtemp(dir));
	netns_run("sh", "-c", make, "sh", dir, NULL);
	ca = xasprintf("%s/ca.pem", dir);
	cert = xasprintf("%s/host.pem", dir);
	key = xasprintf("%s/host.key", dir);
	config = xasprintf("ca_file = \"%s\" cert_file = \"%s\" key_file = \"%s\" verify_incoming = true",
			   ca, cert, key);
	consul = consul_start("https", config, NULL);
	kv = open_store((struct store_config){ .ca_file = ca, .cert_file = cert, .key_file = key });
	// It listens before it has a leader.
	do {
		do_write(kv, "/seq/a", "1", -1, 0, &answer);
		kv_answer_free(&answer);
	} while (answer.r == -EAGAIN || answer.r == -EINPROGRESS);
	check(answer.r == 0, "%s", answer.err.msg);
	stranger = open_store((struct store_config){ .ca_file = ca });
	do_range(stranger, "/seq/", true, &answer);
	assert_true(answer.r < 0);
	kv_answer_free(&answer);
	kv_close(stranger);
	netns_run("rm", "-r", dir, NULL);
}

// ---- leases ----

struct told {
	bool done;
	int r;
	struct lease lease;
};

static void lease_told(void *arg, int r, const struct lease *lease, const struct err *e)
{
	struct told *told = arg;

	check(r == 0 || e, "no reason");
	told->done = true;
	told->r = r;
	if (lease)
		lease_copy(lease, &told->lease);
}

static void done_told(void *arg, int r, const struct err *e)
{
	lease_told(arg, r, NULL, e);
}

static void renew_told(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	(void)session;
	check(r < 0 || ttl_s == 60, "%d s", (int)ttl_s);
	lease_told(arg, r, NULL, e);
}

static struct told renew(struct registry *registry, int64_t session)
{
	struct told told = { 0 };

	registry_lease_renew(registry, session, renew_told, &told);
	turn_until(loop, told.done);
	return told;
}

static void test_lease(void **state)
{
	static const char first[] = "{\"PublicIP\":\"192.0.2.1\"}";
	static const char second[] = "{\"PublicIP\":\"192.0.2.2\"}";
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 }, changed = { 0 };
	struct told created = { 0 }, again = { 0 }, updated = { 0 }, deleted = { 0 };
	struct registry *registry;
	struct subnet subnet;

	(void)state;
	assert_int_equal(registry_new(kv, "/seq", &registry, NULL), 0);
	assert_int_equal(subnet_parse_key("10.1.2.0-24", strlen("10.1.2.0-24"), &subnet, NULL), 0);
	assert_int_equal(lease_attrs_parse(first, strlen(first), &attrs, NULL), 0);
	assert_int_equal(lease_attrs_parse(second, strlen(second), &changed, NULL), 0);
	registry_lease_create(registry, &subnet, &attrs,
			      &(struct registry_create_terms){ .ttl_s = 60 }, lease_told, &created);
	turn_until(loop, created.done);
	assert_int_equal(created.r, 0);
	assert_true(created.lease.session != 0);
	registry_lease_create(registry, &subnet, &changed,
			      &(struct registry_create_terms){ .ttl_s = 60 }, lease_told, &again);
	turn_until(loop, again.done);
	assert_int_equal(again.r, -EEXIST);
	assert_int_equal(again.lease.mod_revision, created.lease.mod_revision);
	registry_lease_update(registry, &created.lease, &changed, lease_told, &updated);
	turn_until(loop, updated.done);
	assert_int_equal(updated.r, 0);
	assert_int_equal(updated.lease.session, created.lease.session);
	assert_int_equal(must_get(kv, "/seq/subnets/10.1.2.0-24").session, created.lease.session);
	assert_int_equal(renew(registry, created.lease.session).r, 0);
	registry_lease_delete(registry, &subnet, updated.lease.mod_revision, done_told, &deleted);
	turn_until(loop, deleted.done);
	assert_int_equal(deleted.r, 0);
	assert_int_equal(renew(registry, created.lease.session).r, -ENOENT);
	// The loser's session was closed as well.
	turn_until(loop, netns_json_count("curl", "-s", SERVER "/session/list", NULL) == 0);
	lease_free(&created.lease);
	lease_free(&again.lease);
	lease_free(&updated.lease);
	registry_free(registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_session, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ties, setup, teardown),
		cmocka_unit_test_setup_teardown(test_session_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_of_local_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_merges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch_freed_within, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deletion_before_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deletion_of_own_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_revision_of_deletion, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_of_server, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wiped_server, setup, teardown),
		cmocka_unit_test_setup_teardown(test_agent_that_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acl, setup_bare, teardown),
		cmocka_unit_test_setup_teardown(test_tls, setup_bare, teardown),
		cmocka_unit_test_setup_teardown(test_lease, setup, teardown),
	};

	if (!consul_can_run())
		return EXIT_SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
