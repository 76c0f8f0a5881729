// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the etcd store on real members that fail in every way they can.
#include "unit.h"

#include "core/mem.h"
#include "etcd_process.h"
#include "fake_http.h"
#include "io/file.h"
#include "kv_client.h"
#include "loop_end.h"
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define DEAD_MAN_MS 1500

static struct loop *loop;
static struct etcd_cluster *cluster;

static struct kv *open_store(const struct store_config *given)
{
	struct store_config config = *given;
	struct kv *kv;
	struct err e;

	config.kind = "etcd3";
	if (!config.endpoints)
		config.endpoints = etcd_cluster_urls(cluster);
	if (!config.request_timeout_ms)
		config.request_timeout_ms = 1000;
	config.dead_man_ms = DEAD_MAN_MS;
	check(kv_open(loop, &config, &kv, &e) == 0, "%s", e.msg);
	return kv;
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	netns_enter();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cluster = etcd_cluster_free(cluster);
	loop = loop_end(loop);
	return 0;
}

// Until this member has a leader: it may take a moment to see that it lost one.
static void await_leader(size_t member)
{
	const char *const endpoints[] = { etcd_cluster_url(cluster, member), NULL };
	struct kv *kv = open_store(&(struct store_config){ .endpoints = endpoints });
	bool led = false;

	turn_until(loop, ({
			   struct kv_answer answer;

			   do_range(kv, "/k", false, &answer);
			   led = answer.r == 0;
			   kv_answer_free(&answer);
			   led;
		   }));
	kv_close(kv);
}

// ---- one of several members fails ----

static void test_fail_over(void **state)
{
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(3, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	must_put(kv, "/k", "1");
	assert_string_equal(kv_endpoint(kv), etcd_cluster_url(cluster, 0));
	etcd_member_end(cluster, 0, SIGKILL);
	await_leader(1);
	await_leader(2);
	do_range(kv, "/k", false, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	assert_int_equal(answer.pair_count, 1);
	kv_answer_free(&answer);
	assert_string_not_equal(kv_endpoint(kv), etcd_cluster_url(cluster, 0));
	must_put(kv, "/k", "2");

	// The one in use hangs: a read moves on when its time is up, the next call does not ask it
	// again.
	etcd_member_begin(cluster, 0);
	etcd_member_await(cluster, 0);
	etcd_member_signal(cluster, 1, SIGSTOP);
	await_leader(0);
	await_leader(2);
	do_range(kv, "/k", false, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	assert_string_not_equal(kv_endpoint(kv), etcd_cluster_url(cluster, 1));
	etcd_member_signal(cluster, 1, SIGCONT);
	kv_close(kv);
}

static void test_txn_answer_lost(void **state)
{
	const char *const endpoints[] = { "http://127.0.0.1:2379", "http://127.0.0.1:2479", NULL };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(3, "http", NULL);
	await_leader(0); // a member that knows none would be left for the other one
	kv = open_store(&(struct store_config){ .endpoints = endpoints });
	must_put(kv, "/k", "1");
	assert_string_equal(kv_endpoint(kv), endpoints[0]);
	etcd_member_signal(cluster, 0, SIGSTOP);
	do_write(kv, "/k", "2", -1, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	// A connection that cannot even be made is no such case.
	etcd_member_signal(cluster, 0, SIGCONT);
	etcd_member_end(cluster, 0, SIGKILL);
	kv_close(kv);
	await_leader(1);
	kv = open_store(&(struct store_config){ .endpoints = endpoints });
	must_put(kv, "/k", "3");
	kv_close(kv);
}

static void test_no_endpoint(void **state)
{
	static const char *const nowhere[] = { "http://127.0.0.1:1", "http://127.0.0.1:2", NULL };
	static const char *const prefixes[] = { "/p/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	kv = open_store(&(struct store_config){ .endpoints = nowhere });
	do_range(kv, "/k", false, &answer);
	assert_int_equal(answer.r, -ECONNREFUSED);
	assert_non_null(strstr(answer.err.msg, "http://127.0.0.1:2"));
	kv_answer_free(&answer);
	assert_int_equal(kv_stats(kv)->requests, 2);
	do_write(kv, "/k", "v", 0, 0, &answer);
	assert_int_equal(answer.r, -ECONNREFUSED);
	kv_answer_free(&answer);
	do_session_open(kv, 5, &answer);
	assert_int_equal(answer.r, -ECONNREFUSED);
	assert_int_equal(answer.session, 0);
	kv_answer_free(&answer);
	assert_string_equal(kv_endpoint(kv), "");
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -ECONNREFUSED);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_comes_up_later(void **state)
{
	static const char *const prefixes[] = { "/p/", NULL };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	etcd_member_end(cluster, 0, SIGTERM);
	kv = open_store(&(struct store_config){ 0 });
	watch_log_start(&log, kv, prefixes, 2, 0);
	turn_until(loop, log.downs == 1);
	etcd_member_begin(cluster, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/p/a", "1");
	turn_until(loop, log.events == 1);
	assert_int_equal(log.downs, 1);
	watch_log_free(&log);
	kv_close(kv);
}

// Something else listens where the first member should be.
static void test_foreign_server_first(void **state)
{
	static const struct fake_answer answers[] = {
		{ "/", "HTTP/1.1 405 Not Allowed\r\nConnection: close\r\n\r\n<html></html>", 0 },
		{ 0 },
	};
	static const char *const prefixes[] = { "/p/", NULL };
	struct fake_http *foreign = fake_http_start(answers);
	const char *const endpoints[] = { fake_http_url(foreign), "http://127.0.0.1:2379", NULL };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ .endpoints = endpoints });
	must_put(kv, "/p/a", "1");
	kv_close(kv);
	kv = open_store(&(struct store_config){ .endpoints = endpoints });
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1 && log.events == 1);
	watch_log_free(&log);
	kv_close(kv);
	fake_http_free(foreign);
}

// ---- watching while members fail ----

// A writer that never gives up: what it writes is in the store's history, however often.
struct writer {
	struct kv *kv;
	unsigned int written;
	unsigned int failed;
	struct kv_answer answer;
	bool running;
	char value[32];
};

static void writer_step(struct writer *writer)
{
	struct kv_write write = { .key = "/seq/key", .value = writer->value };
	struct kv_txn txn = { .writes = &write, .write_count = 1 };

	if (writer->running && !writer->answer.done)
		return;
	if (writer->running) {
		if (writer->answer.r == 0)
			writer->written++;
		else
			writer->failed++;
		kv_answer_free(&writer->answer);
	}
	(void)text_format(writer->value, sizeof(writer->value), "%u", writer->written + writer->failed);
	write.value_len = strlen(writer->value);
	start_txn(writer->kv, &txn, &writer->answer);
	writer->running = true;
}

#define write_until(writer, condition)          \
	turn_until(loop, ({                     \
			   writer_step(writer); \
			   (condition);         \
		   }))

// All that was ever written, as a watch from the start sees it that nothing disturbs.
static void check_nothing_lost(struct kv *kv, const struct watch_log *log)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	int64_t revision = now_revision(kv, NULL);
	struct watch_log whole = { 0 };

	turn_until(loop, log->last_revision == revision);
	watch_log_start(&whole, kv, prefixes, 1, 0);
	turn_until(loop, whole.last_revision == revision);
	assert_int_equal(log->events, whole.events);
	assert_string_equal(strbuf_text(&log->text), strbuf_text(&whole.text));
	assert_true(log->in_order);
	watch_log_free(&whole);
}

static void test_watch_while_members_die(void **state)
{
	static const char *const prefixes[] = { "/seq/", "/other/", NULL };
	struct watch_log log = { 0 };
	struct writer writer = { 0 };
	struct kv *kv;
	size_t i;

	(void)state;
	cluster = etcd_cluster_start(3, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	writer.kv = open_store(&(struct store_config){ 0 });
	watch_log_start(&log, kv, prefixes, 1, 0);
	write_until(&writer, log.ups == 1 && log.events > 20);
	for (i = 0; i < 3; i++) {
		unsigned int downs = log.downs;
		unsigned int ups = log.ups;
		size_t events = log.events;

		// Whichever it watches at: each member dies once.
		etcd_member_end(cluster, i, i == 1 ? SIGTERM : SIGKILL);
		write_until(&writer, log.events > events + 20 && log.ups - ups == log.downs - downs);
		etcd_member_begin(cluster, i);
		write_until(&writer, log.events > events + 40);
		etcd_member_await(cluster, i);
	}
	assert_true(log.downs > 0);
	assert_int_equal(log.losts, 0);
	turn_until(loop, writer.answer.done);
	kv_answer_free(&writer.answer);
	check_nothing_lost(kv, &log);
	watch_log_free(&log);
	kv_close(writer.kv);
	kv_close(kv);
}

static void test_watch_while_member_hangs(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	uint64_t started;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(3, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/seq/a", "1");
	turn_until(loop, log.events == 1);
	etcd_member_signal(cluster, 0, SIGSTOP);
	started = loop_now_ms();
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -ETIMEDOUT);
	assert_in_range(loop_now_ms() - started, DEAD_MAN_MS / 2, 2 * DEAD_MAN_MS);
	turn_until(loop, log.ups == 2);
	await_leader(1);
	await_leader(2);
	must_put(kv, "/seq/b", "2");
	turn_until(loop, log.events == 2);
	etcd_member_signal(cluster, 0, SIGCONT);
	await_leader(0);
	must_put(kv, "/seq/c", "3");
	turn_until(loop, log.events == 3);
	check_nothing_lost(kv, &log);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_quiet_watch_stays_up(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	uint64_t end;
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	// The time itself is what is tested: three dead-man timers without an event.
	end = loop_now_ms() + 3 * DEAD_MAN_MS;
	turn_until(loop, loop_now_ms() > end);
	assert_int_equal(log.downs, 0);
	assert_int_equal(log.ups, 1);
	assert_int_equal(kv_stats(kv)->requests, 1);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_without_quorum(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(3, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/seq/a", "1");
	etcd_member_end(cluster, 1, SIGKILL);
	etcd_member_end(cluster, 2, SIGKILL);
	turn_until(loop, log.downs == 1);
	do_range(kv, "/seq/a", false, &answer);
	assert_true(answer.r < 0);
	kv_answer_free(&answer);
	do_write(kv, "/seq/a", "2", -1, 0, &answer);
	assert_true(answer.r < 0);
	kv_answer_free(&answer);
	etcd_member_begin(cluster, 1);
	etcd_member_begin(cluster, 2);
	turn_until(loop, log.ups == 2);
	await_leader(0);
	await_leader(1);
	await_leader(2);
	must_put(kv, "/seq/b", "3");
	check_nothing_lost(kv, &log);
	assert_int_equal(log.losts, 0);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_wiped(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/seq/a", "1");
	must_put(kv, "/seq/a", "2");
	turn_until(loop, log.events == 2);
	// The new cluster has the same id, as it has the same names and addresses: only its
	// revision tells.
	etcd_member_end(cluster, 0, SIGKILL);
	etcd_member_wipe(cluster, 0);
	etcd_member_begin(cluster, 0);
	turn_until(loop, log.losts == 1);
	assert_true(log.store_changed);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_compacted_meanwhile(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv *writer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ .request_timeout_ms = 300 });
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1);
	must_put(kv, "/seq/a", "1");
	turn_until(loop, log.events == 1);
	etcd_member_end(cluster, 0, SIGKILL);
	turn_until(loop, log.downs == 1);
	etcd_member_begin(cluster, 0);
	// Not seen by the watch, which is not turned meanwhile.
	etcd_member_await(cluster, 0);
	etcd_ctl(cluster, "put", "/seq/a", "2", NULL);
	etcd_ctl(cluster, "put", "/seq/a", "3", NULL);
	etcd_ctl(cluster, "compaction", "4", NULL);
	turn_until(loop, log.losts == 1);
	assert_false(log.store_changed);
	assert_int_equal(log.events, 1);
	watch_log_free(&log);
	writer = open_store(&(struct store_config){ 0 });
	assert_int_equal(now_revision(writer, NULL), 4);
	kv_close(writer);
	kv_close(kv);
}

// A watch that catches up gets thousands of events in one message.
static void test_catch_up(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct kv *kv;
	int i;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	for (i = 0; i < 3000; i++)
		must_put(kv, i % 2 ? "/seq/odd" : "/seq/even", "v");
	watch_log_start(&log, kv, prefixes, 2, 0);
	turn_until(loop, log.events == 3000);
	assert_true(log.in_order);
	watch_log_free(&log);
	kv_close(kv);
}

// ---- who may ask ----

static void enable_auth(void)
{
	etcd_ctl(cluster, "user", "add", "root:secret", NULL);
	etcd_ctl(cluster, "user", "grant-role", "root", "root", NULL);
	etcd_ctl(cluster, "user", "add", "weft:wordpass", NULL);
	etcd_ctl(cluster, "role", "add", "net", NULL);
	etcd_ctl(cluster, "role", "grant-permission", "net", "--prefix=true", "readwrite", "/net/",
		 NULL);
	etcd_ctl(cluster, "user", "grant-role", "weft", "net", NULL);
	etcd_ctl(cluster, "auth", "enable", NULL);
}

static void test_auth(void **state)
{
	static const char *const words[] = { "--auth-token-ttl=1", NULL };
	static const char *const prefixes[] = { "/net/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv_answer answers[3];
	size_t i;
	uint64_t requests;
	uint64_t end;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", words);
	enable_auth();
	kv = open_store(&(struct store_config){ .username = "weft", .password = "wordpass" });
	// Several calls that need a token get one.
	for (i = 0; i < 3; i++)
		start_range(kv, "/net/a", false, &answers[i]);
	turn_until(loop, answers[0].done && answers[1].done && answers[2].done);
	for (i = 0; i < 3; i++) {
		check(answers[i].r == 0, "%s", answers[i].err.msg);
		kv_answer_free(&answers[i]);
	}
	assert_int_equal(kv_stats(kv)->requests, 4);
	must_put(kv, "/net/a", "1");
	do_session_open(kv, 60, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	do_range(kv, "/elsewhere", false, &answer);
	assert_int_equal(answer.r, -EACCES);
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.ups == 1 && log.events == 1);

	// The token's life is over: one request more, for all who need a new one.
	end = loop_now_ms() + 3000;
	turn_until(loop, loop_now_ms() > end);
	requests = kv_stats(kv)->requests;
	must_put(kv, "/net/a", "2");
	assert_in_range(kv_stats(kv)->requests - requests, 3, 3);
	turn_until(loop, log.events == 2);
	assert_int_equal(log.downs, 0);
	watch_log_free(&log);

	watch_log_start(&log, kv, (const char *const[]){ "/elsewhere/", NULL }, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -EACCES);
	assert_int_equal(log.ups, 0);
	watch_log_free(&log);
	kv_close(kv);
}

static void test_auth_refused(void **state)
{
	static const char *const prefixes[] = { "/net/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	// A name and a password that the store does not ask for do no harm.
	kv = open_store(&(struct store_config){ .username = "weft", .password = "wordpass" });
	must_put(kv, "/net/a", "1");
	enable_auth();
	must_put(kv, "/net/a", "2");
	kv_close(kv);

	kv = open_store(&(struct store_config){ .username = "weft", .password = "hunter2" });
	do_range(kv, "/net/a", false, &answer);
	assert_int_equal(answer.r, -EACCES);
	assert_non_null(strstr(answer.err.msg, "weft"));
	assert_non_null(strstr(answer.err.msg, "wrong user name or password"));
	assert_null(strstr(answer.err.msg, "hunter2"));
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.downs == 1);
	assert_int_equal(log.err.code, -EACCES);
	watch_log_free(&log);
	kv_close(kv);

	kv = open_store(&(struct store_config){ 0 });
	do_range(kv, "/net/a", false, &answer);
	assert_int_equal(answer.r, -EACCES);
	assert_non_null(strstr(answer.err.msg, "demands a user name"));
	kv_answer_free(&answer);
	kv_close(kv);
}

// ---- TLS ----

static char *in_dir(const char *dir, const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

// ca.pem, server.pem and .key, client.pem and .key, and other-ca.pem that signed nothing.
static void make_certificates(const char *dir)
{
	_cleanup_free_ char *script = xasprintf(
		"cd %s && "
		"new() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key && openssl req -new -key $1.key -subj /CN=$1 -out $1.csr; } && "
		"for ca in ca other-ca; do new $ca && openssl x509 -req -in $ca.csr -signkey $ca.key -days 2 -extfile ca.ext -out $ca.pem || exit 1; done && "
		"for who in server client; do new $who && "
		"openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile host.ext -out $who.pem || exit 1; done",
		dir);
	_cleanup_free_ char *ca_ext = in_dir(dir, "ca.ext");
	_cleanup_free_ char *host_ext = in_dir(dir, "host.ext");
	static const char ca[] = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n";
	static const char host[] =
		"subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
	_cleanup_free_ char *quiet = NULL;

	assert_int_equal(file_write_atomic(ca_ext, ca, strlen(ca), 0, NULL), 0);
	assert_int_equal(file_write_atomic(host_ext, host, strlen(host), 0, NULL), 0);
	quiet = xasprintf("{ %s; } >/dev/null 2>&1", script);
	netns_run("sh", "-c", quiet, NULL);
}

struct tls_files {
	char dir[64];
	char *ca, *other_ca, *server, *server_key, *client, *client_key;
};

static void tls_files_make(struct tls_files *files)
{
	assert_int_equal(text_copy(files->dir, sizeof(files->dir), "/tmp/weft-test-tls-XXXXXX"), 0);
	assert_non_null(mkdtemp(files->dir));
	make_certificates(files->dir);
	files->ca = in_dir(files->dir, "ca.pem");
	files->other_ca = in_dir(files->dir, "other-ca.pem");
	files->server = in_dir(files->dir, "server.pem");
	files->server_key = in_dir(files->dir, "server.key");
	files->client = in_dir(files->dir, "client.pem");
	files->client_key = in_dir(files->dir, "client.key");
}

static void tls_files_remove(struct tls_files *files)
{
	netns_run("rm", "-r", files->dir, NULL);
	free(files->ca);
	free(files->other_ca);
	free(files->server);
	free(files->server_key);
	free(files->client);
	free(files->client_key);
}

static int read_with(const struct store_config *config, char ret_msg[static ERR_MSG_MAX])
{
	struct kv *kv = open_store(config);
	struct kv_answer answer;

	do_range(kv, "/k", false, &answer);
	(void)text_copy(ret_msg, ERR_MSG_MAX, answer.r < 0 ? answer.err.msg : "");
	kv_answer_free(&answer);
	kv_close(kv);
	return answer.r;
}

static void test_tls(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct tls_files files;
	char msg[ERR_MSG_MAX];
	struct kv *kv;

	(void)state;
	tls_files_make(&files);
	cluster = etcd_cluster_start(1, "https",
				     (const char *const[]){ "--cert-file", files.server,
							    "--key-file", files.server_key, NULL });
	kv = open_store(&(struct store_config){ .ca_file = files.ca });
	watch_log_start(&log, kv, prefixes, 1, 0);
	must_put(kv, "/seq/a", "1");
	turn_until(loop, log.events == 1);
	watch_log_free(&log);
	kv_close(kv);
	assert_int_equal(read_with(&(struct store_config){ .ca_file = files.other_ca }, msg),
			 -EKEYREJECTED);
	assert_int_equal(read_with(&(struct store_config){ 0 }, msg), -EKEYREJECTED);
	// An endpoint without a scheme is asked over TLS when a CA is given.
	assert_int_equal(
		read_with(&(struct store_config){ .ca_file = files.ca,
						  .endpoints = (const char *const[]){ "127.0.0.1:2379",
										      NULL } },
			  msg),
		0);
	tls_files_remove(&files);
}

// The system's CAs, in a mount namespace of our own.
static void replace_system_cas(const struct tls_files *files)
{
	_cleanup_free_ char *script =
		xasprintf("mkdir %s/certs && cp %s %s/certs/ca-certificates.crt && "
			  "cp %s %s/certs/trusted.pem && mount --bind %s/certs /etc/ssl/certs",
			  files->dir, files->ca, files->dir, files->ca, files->dir, files->dir);

	assert_int_equal(unshare(CLONE_NEWNS), 0);
	netns_run("mount", "--make-rprivate", "/", NULL);
	netns_run("sh", "-c", script, NULL);
}

static void test_tls_ca_replaces_system(void **state)
{
	struct tls_files files;
	char msg[ERR_MSG_MAX];

	(void)state;
	tls_files_make(&files);
	replace_system_cas(&files);
	cluster = etcd_cluster_start(1, "https",
				     (const char *const[]){ "--cert-file", files.server,
							    "--key-file", files.server_key, NULL });
	assert_int_equal(read_with(&(struct store_config){ 0 }, msg), 0);
	assert_int_equal(read_with(&(struct store_config){ .ca_file = files.other_ca }, msg),
			 -EKEYREJECTED);
	netns_run("umount", "/etc/ssl/certs", NULL);
	tls_files_remove(&files);
}

static void test_tls_client_certificate(void **state)
{
	static const char *const prefixes[] = { "/seq/", NULL };
	struct watch_log log = { 0 };
	struct tls_files files;
	char msg[ERR_MSG_MAX];
	struct store_config missing = { .kind = "etcd3", .ca_file = "/nonexistent/ca.pem" };
	struct err e;
	struct kv *kv;

	(void)state;
	tls_files_make(&files);
	cluster = etcd_cluster_start(1, "https",
				     (const char *const[]){ "--cert-file", files.server, "--key-file",
							    files.server_key, "--trusted-ca-file",
							    files.ca, "--client-cert-auth", NULL });
	kv = open_store(&(struct store_config){
		.ca_file = files.ca, .cert_file = files.client, .key_file = files.client_key });
	watch_log_start(&log, kv, prefixes, 1, 0);
	must_put(kv, "/seq/a", "1");
	turn_until(loop, log.events == 1);
	watch_log_free(&log);
	kv_close(kv);
	assert_true(read_with(&(struct store_config){ .ca_file = files.ca }, msg) < 0);
	missing.endpoints = etcd_cluster_urls(cluster);
	assert_int_equal(kv_open(loop, &missing, &kv, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "/nonexistent/ca.pem"));
	tls_files_remove(&files);
}

// ---- what others write ----

static void fill(struct kv *kv, unsigned int from, unsigned int to)
{
	static char keys[KV_TXN_MAX][32];
	struct kv_write writes[KV_TXN_MAX];

	while (from < to) {
		struct kv_txn txn = { .writes = writes };
		struct kv_answer answer;

		for (; txn.write_count < KV_TXN_MAX && from < to; txn.write_count++, from++) {
			snprintf(keys[txn.write_count], sizeof(keys[0]), "/p/%06u", from);
			writes[txn.write_count] = (struct kv_write){ .key = keys[txn.write_count],
								     .value = "1",
								     .value_len = 1 };
		}
		do_txn(kv, &txn, &answer);
		assert_true(answer.r == 0 && answer.succeeded);
		kv_answer_free(&answer);
	}
}

// Many keys come in pages, all of one revision, and never in more than four.
static void test_pages(void **state)
{
	static const struct {
		unsigned int keys, requests;
	} cases[] = { { 4999, 1 },  { 5000, 1 },  { 5001, 2 },	{ 20000, 2 },
		      { 20001, 3 }, { 45000, 3 }, { 45001, 4 }, { 85001, 4 } };
	unsigned int filled = 0;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kv_answer answer = { 0 };
		uint64_t requests;
		int64_t revision;

		fill(kv, filled, cases[i].keys);
		filled = cases[i].keys;
		etcd_ctl(cluster, "put", "/p0", "1", NULL); // the first one behind the prefix
		revision = now_revision(kv, NULL);
		requests = kv_stats(kv)->requests;
		start_range(kv, "/p/", true, &answer);
		turn_until(loop, answer.pair_count > 0);
		etcd_ctl(cluster, "put", "/p/x", "later", NULL);
		turn_until(loop, answer.done);
		assert_int_equal(answer.r, 0);
		assert_int_equal(answer.header.revision, revision);
		assert_int_equal(answer.pair_count, cases[i].keys);
		assert_true(answer.sorted);
		assert_int_equal(kv_stats(kv)->requests - requests, cases[i].requests);
		kv_answer_free(&answer);
		etcd_ctl(cluster, "del", "/p/x", NULL);
	}
	kv_close(kv);
}

// The last key of the first page is one that no text has, and longer than those that are shown.
static void test_page_ends_at_a_junk_key(void **state)
{
	_cleanup_free_ char *key = xnew0_array(char, 1503);
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	fill(kv, 0, 4999);
	memcpy(key, "/p/004998", 9);
	memset(key + 9, 0xff, 1490);
	etcd_ctl(cluster, "put", key, "1", NULL);
	fill(kv, 4999, 5010);
	do_range(kv, "/p/", true, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 5011);
	kv_answer_free(&answer);
	kv_close(kv);
}

static void test_junk_keys(void **state)
{
	static const char *const prefixes[] = { "/junk/", NULL };
	struct watch_log log = { 0 };
	struct kv_answer answer;
	struct kv *kv;

	(void)state;
	cluster = etcd_cluster_start(1, "http", NULL);
	kv = open_store(&(struct store_config){ 0 });
	etcd_ctl(cluster, "put", "/junk/a\x01\xff", "1", NULL);
	etcd_ctl(cluster, "put", "/junk/b", "2", NULL);
	do_range(kv, "/junk/", true, &answer);
	assert_int_equal(answer.r, 0);
	assert_int_equal(answer.pair_count, 2);
	assert_non_null(strstr(strbuf_text(&answer.pairs), "/junk/a\\x01\\xff=1@"));
	assert_non_null(strstr(strbuf_text(&answer.pairs), "/junk/b=2@"));
	kv_answer_free(&answer);
	watch_log_start(&log, kv, prefixes, 1, 0);
	turn_until(loop, log.events == 2);
	assert_string_equal(strbuf_text(&log.text), "PUT /junk/a\\x01\\xff=1\nPUT /junk/b=2\n");
	watch_log_free(&log);
	kv_close(kv);
}

#define EXIT_SKIPPED 77 // as meson understands it

#define ETCD_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		ETCD_TEST(test_fail_over),
		ETCD_TEST(test_txn_answer_lost),
		ETCD_TEST(test_no_endpoint),
		ETCD_TEST(test_foreign_server_first),
		ETCD_TEST(test_comes_up_later),
		ETCD_TEST(test_watch_while_members_die),
		ETCD_TEST(test_watch_while_member_hangs),
		ETCD_TEST(test_quiet_watch_stays_up),
		ETCD_TEST(test_without_quorum),
		ETCD_TEST(test_wiped),
		ETCD_TEST(test_compacted_meanwhile),
		ETCD_TEST(test_catch_up),
		ETCD_TEST(test_auth),
		ETCD_TEST(test_auth_refused),
		ETCD_TEST(test_tls),
		ETCD_TEST(test_tls_ca_replaces_system),
		ETCD_TEST(test_tls_client_certificate),
		ETCD_TEST(test_pages),
		ETCD_TEST(test_page_ends_at_a_junk_key),
		ETCD_TEST(test_junk_keys),
	};

	return etcd_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : EXIT_SKIPPED;
}
