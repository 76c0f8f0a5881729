// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of TLS between io/http_server and io/http_client: who is taken for whom.
#include "tls_maker.h"
#include "unit.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/http_client.h"
#include "io/http_pin.h"
#include "io/http_server.h"
#include "loop_end.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OTHER_PIN "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define PIECES 200
#define IDLE_CLIENTS 200

struct files {
	char ca[64];
	char server_cert[64];
	char server_key[64];
	char client_cert[64];
	char client_key[64];
};

struct bench {
	struct loop *loop;
	char directory[32];
	struct files files;
	struct tls_maker *ca;
	struct http_server *server;
	struct http_exchange *stream; // of the latest /pieces
	unsigned int streams;
	unsigned int pieces; // how many it still has
	unsigned int rounds; // of /long
};

// ---- the server ----

static int next_piece(void *arg, struct strbuf *out)
{
	struct bench *bench = arg;

	if (bench->pieces == 0)
		return -EAGAIN;
	bench->pieces--;
	strbuf_puts(out, "piece;");
	return 1;
}

static int next_round(void *arg, struct strbuf *out)
{
	struct bench *bench = arg;

	for (size_t i = 0; i < 1000; i++)
		strbuf_printf(out, "%04u %04zu;", bench->rounds, i);
	return --bench->rounds == 0 ? 0 : 1;
}

static void on_closed(void *arg)
{
	struct bench *bench = arg;

	bench->streams--;
	bench->stream = NULL;
}

static void handle(void *arg, struct http_exchange *exchange)
{
	const char *header = http_exchange_header(exchange, "x-said");
	struct ip peer = http_exchange_peer(exchange);
	char text[IP_STR_MAX];
	struct bench *bench = arg;

	if (strcmp(http_exchange_path(exchange), "/pieces") == 0) {
		bench->streams++;
		bench->stream = exchange;
		http_answer_stream(exchange, 200, "text/plain", next_piece, on_closed, bench);
	} else if (strcmp(http_exchange_path(exchange), "/long") == 0) {
		bench->streams++;
		bench->rounds = PIECES;
		http_answer_stream(exchange, 200, "text/plain", next_round, on_closed, bench);
	} else if (strcmp(http_exchange_path(exchange), "/peer") == 0) {
		http_answer_text(exchange, 200, "text/plain", ip_str(&peer, text));
	} else {
		http_answer_text(exchange, 200, "text/plain", header ? header : "none");
	}
}

static void name_files(const struct bench *bench, const char *suffix, struct files *ret)
{
	char *const paths[] = { ret->ca, ret->server_cert, ret->server_key, ret->client_cert,
				ret->client_key };
	static const char *const names[] = { "ca", "server.crt", "server.key", "client.crt",
					     "client.key" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(text_format(paths[i], sizeof(ret->ca), "%s/%s%s", bench->directory,
					     names[i], suffix),
				 0);
}

static void write_files(struct tls_maker *ca, const struct files *files)
{
	tls_maker_write_ca(ca, files->ca);
	tls_maker_write_server(ca, files->server_cert, files->server_key);
	tls_maker_write_client(ca, files->client_cert, files->client_key);
}

static void serve(struct bench *bench, bool asks_clients)
{
	const struct http_server_config config = {
		.address = ip_v4(0x7f000001),
		.connections_max = 2 * IDLE_CLIENTS,
		.tls = { .cert_file = bench->files.server_cert,
			 .key_file = bench->files.server_key,
			 .ca_file = asks_clients ? bench->files.ca : NULL },
	};
	struct err e = { 0 };

	if (http_server_new(bench->loop, &config, handle, bench, &bench->server, &e) < 0)
		fail_msg("%s", err_msg(&e));
}

static int setup(void **state)
{
	struct bench *bench = xnew(struct bench);

	bench->loop = loop_new();
	assert_int_equal(text_copy(bench->directory, sizeof(bench->directory), "/tmp/weft-tls-XXXXXX"),
			 0);
	assert_non_null(mkdtemp(bench->directory));
	name_files(bench, "", &bench->files);
	bench->ca = tls_maker_new();
	write_files(bench->ca, &bench->files);
	*state = bench;
	return 0;
}

static void remove_files(const struct files *files)
{
	const char *const paths[] = { files->ca, files->server_cert, files->server_key,
				      files->client_cert, files->client_key };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		(void)unlink(paths[i]); // not every test makes all
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	struct files other;

	http_server_free(bench->server);
	tls_maker_free(bench->ca);
	loop_end(bench->loop);
	remove_files(&bench->files);
	name_files(bench, ".2", &other);
	remove_files(&other);
	assert_int_equal(rmdir(bench->directory), 0);
	free(bench);
	return 0;
}

// ---- the client ----

struct request {
	struct bench *bench;
	struct http_client *client;
	struct http_call *call;
	struct strbuf got;
	bool is_done;
	int r;
	int status;
	struct err err;
};

static int on_chunk(void *arg, const char *data, size_t len)
{
	struct request *request = arg;

	return strbuf_add(&request->got, data, len);
}

static void on_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct request *request = arg;

	request->is_done = true;
	request->call = NULL;
	request->r = r;
	request->status = response->status;
	if (e)
		request->err = *e;
}

static void ask(struct request *request, const char *scheme, const char *path)
{
	static const char *const headers[] = { "X-Said: hello", NULL };
	_cleanup_free_ char *url = xasprintf("%s://127.0.0.1:%u%s", scheme,
					     http_server_port(request->bench->server), path);
	const struct http_request http = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.response_max = 1000,
		.chunk = on_chunk,
		.done = on_done,
		.arg = request,
	};

	strbuf_reset(&request->got);
	request->is_done = false;
	request->err = (struct err){ 0 };
	request->call = http_call_start(request->client, &http);
}

static struct request *request_new(struct bench *bench, const struct http_client_config *config)
{
	struct request *request = xnew(struct request);
	struct err e = { 0 };

	request->bench = bench;
	request->got = STRBUF_INIT(8 * 1024 * 1024);
	if (http_client_new(bench->loop, config, &request->client, &e) < 0)
		fail_msg("%s", err_msg(&e));
	return request;
}

static struct request *request_free(struct request *request)
{
	http_client_free(request->client);
	strbuf_free(&request->got);
	free(request);
	return NULL;
}

// Turns the loop until the condition holds.
#define wait_until(bench, condition)                                    \
	do {                                                            \
		uint64_t end_ = loop_now_ms() + 10000;                  \
		while (!(condition) && loop_now_ms() < end_)            \
			loop_turn((bench)->loop, 5);                    \
		check(condition, "waited in vain for: %s", #condition); \
	} while (0)

static struct request *fetch(struct bench *bench, const struct http_client_config *config,
			     const char *path)
{
	struct request *request = request_new(bench, config);

	ask(request, "https", path);
	wait_until(bench, request->is_done);
	return request;
}

static void check_taken(struct bench *bench, const struct http_client_config *config)
{
	struct request *request = fetch(bench, config, "/x");

	check(request->r == 0, "%s", err_msg(&request->err));
	assert_int_equal(request->status, 200);
	assert_string_equal(strbuf_text(&request->got), "hello");
	request_free(request);
}

// words: in the message, or NULL.
static void check_refused(struct bench *bench, const struct http_client_config *config,
			  const char *words)
{
	struct request *request = fetch(bench, config, "/x");

	check(request->r < 0, "answered with %d", request->status);
	check(!words || strstr(err_msg(&request->err), words), "%s", err_msg(&request->err));
	request_free(request);
}

// ---- the server's certificate ----

static void test_chain(void **state)
{
	struct bench *bench = *state;
	struct request *request;

	serve(bench, false);
	check_taken(bench, &(struct http_client_config){ .ca_file = bench->files.ca });
	check_refused(bench, &(struct http_client_config){ 0 }, NULL); // the system's roots
	request = fetch(bench, &(struct http_client_config){ .ca_file = bench->files.ca }, "/peer");
	assert_string_equal(strbuf_text(&request->got), "127.0.0.1");
	request_free(request);
}

static void test_pin(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *both = NULL;

	serve(bench, false);
	assert_int_equal(strlen(http_server_pin(bench->server)), TLS_PIN_MAX - 1);
	check_taken(bench, &(struct http_client_config){ .pin = http_server_pin(bench->server) });
	check_refused(bench, &(struct http_client_config){ .pin = OTHER_PIN }, OTHER_PIN);
	both = xasprintf("%s,%s", OTHER_PIN, http_server_pin(bench->server));
	check_taken(bench, &(struct http_client_config){ .pin = both });
}

// A chain that is good does not make up for a wrong pin, nor a good pin for a wrong chain.
static void test_pin_and_chain(void **state)
{
	struct bench *bench = *state;
	struct tls_maker *other = tls_maker_new();
	struct files files;

	name_files(bench, ".2", &files);
	tls_maker_write_ca(other, files.ca);
	tls_maker_free(other);
	serve(bench, false);
	check_taken(bench, &(struct http_client_config){ .pin = http_server_pin(bench->server),
							 .ca_file = bench->files.ca });
	check_refused(bench,
		      &(struct http_client_config){ .pin = OTHER_PIN, .ca_file = bench->files.ca },
		      OTHER_PIN);
	check_refused(bench,
		      &(struct http_client_config){ .pin = http_server_pin(bench->server),
						    .ca_file = files.ca },
		      NULL);
}

static void run_shell(const char *command)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %d", command, status);
}

// As openssl and curl have it: computed there, and not by us.
static void test_pin_is_the_usual_digest(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *command =
		xasprintf("openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform der | "
			  "openssl dgst -sha256 -r >%s",
			  bench->files.server_cert, bench->files.client_cert);
	_cleanup_free_ char *digest = NULL;

	serve(bench, false);
	run_shell(command);
	assert_int_equal(file_read(bench->files.client_cert, 200, &digest, NULL, NULL), 0);
	assert_true(strlen(digest) > 64);
	assert_memory_equal(http_server_pin(bench->server) + 7, digest, 64);
}

static void test_pin_wants_tls(void **state)
{
	struct bench *bench = *state;
	const struct http_server_config config = { .address = ip_v4(0x7f000001) };
	struct request *request;

	assert_int_equal(http_server_new(bench->loop, &config, handle, bench, &bench->server, NULL), 0);
	assert_string_equal(http_server_pin(bench->server), "");
	request = request_new(bench, &(struct http_client_config){ .pin = OTHER_PIN });
	ask(request, "http", "/x");
	wait_until(bench, request->is_done);
	assert_true(request->r < 0);
	request_free(request);
}

static void test_pin_text(void **state)
{
	static const char *const bad[] = {
		"",
		"sha256:",
		"sha256:00",
		"sha1:00",
		OTHER_PIN "0",
		OTHER_PIN ",",
		OTHER_PIN " ",
		"sha256:zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"sha256:0 112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	};
	_cleanup_free_ char *many = NULL;
	char *text = NULL;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(http_pin_read(bad[i], &text, &e) == -EINVAL, "\"%s\"", bad[i]);
	many = xasprintf("%s,%s,%s,%s,%s,%s,%s,%s", OTHER_PIN, OTHER_PIN, OTHER_PIN, OTHER_PIN,
			 OTHER_PIN, OTHER_PIN, OTHER_PIN, OTHER_PIN);
	assert_int_equal(http_pin_read(many, &text, &e), 0);
	free(text);
	_cleanup_free_ char *more = xasprintf("%s,%s", many, OTHER_PIN);
	assert_int_equal(http_pin_read(more, &text, &e), -EINVAL);
}

// ---- the client's certificate ----

static void test_mutual(void **state)
{
	struct bench *bench = *state;
	struct tls_maker *stranger = tls_maker_new();
	struct http_client_config config = { 0 };
	struct files other;

	name_files(bench, ".2", &other);
	write_files(stranger, &other);
	tls_maker_free(stranger);
	serve(bench, true);
	config.pin = http_server_pin(bench->server);
	check_refused(bench, &config, NULL);
	config.cert_file = other.client_cert;
	config.key_file = other.client_key;
	check_refused(bench, &config, NULL);
	config.cert_file = bench->files.server_cert; // signed by the CA, for another purpose
	config.key_file = bench->files.server_key;
	check_refused(bench, &config, NULL);
	config.cert_file = bench->files.client_cert;
	config.key_file = bench->files.client_key;
	check_taken(bench, &config);
	assert_int_equal(bench->streams, 0);
}

// ---- streams ----

static void test_stream_sleeps_and_wakes(void **state)
{
	struct bench *bench = *state;
	struct request *request;

	serve(bench, false);
	request = request_new(bench, &(struct http_client_config){ .ca_file = bench->files.ca });
	ask(request, "https", "/pieces");
	for (unsigned int i = 1; i <= 20; i++) {
		wait_until(bench, bench->stream);
		bench->pieces = 1;
		http_stream_wake(bench->stream);
		wait_until(bench, request->got.len == i * strlen("piece;"));
	}
	request_free(request);
	loop_turn(bench->loop, 10);
	bench->pieces = 2;
	http_stream_wake(bench->stream); // finds that nobody is there
	wait_until(bench, bench->streams == 0);
	wait_until(bench, http_server_connections(bench->server) == 0);
}

static void test_long_stream_is_whole(void **state)
{
	struct bench *bench = *state;
	struct request *request;
	char expected[16];

	serve(bench, false);
	request = fetch(bench, &(struct http_client_config){ .ca_file = bench->files.ca }, "/long");
	check(request->r == 0, "%s", err_msg(&request->err));
	assert_int_equal(request->got.len, PIECES * 1000 * 10);
	for (size_t i = 0; i < PIECES * 1000; i++) {
		assert_int_equal(text_format(expected, sizeof(expected), "%04zu %04zu;",
					     PIECES - i / 1000, i % 1000),
				 0);
		assert_memory_equal(request->got.data + i * 10, expected, 10);
	}
	request_free(request);
}

// ---- other files ----

static void test_reload(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *old_pin = NULL;
	struct request *open;
	struct err e = { 0 };

	serve(bench, false);
	old_pin = xstrdup(http_server_pin(bench->server));
	open = request_new(bench, &(struct http_client_config){ .pin = old_pin });
	ask(open, "https", "/pieces");
	wait_until(bench, bench->stream);
	tls_maker_write_server(bench->ca, bench->files.server_cert, bench->files.server_key);
	assert_int_equal(http_server_reload(bench->server, &e), 0);
	assert_string_not_equal(http_server_pin(bench->server), old_pin);
	check_taken(bench, &(struct http_client_config){ .pin = http_server_pin(bench->server) });
	check_refused(bench, &(struct http_client_config){ .pin = old_pin }, old_pin);
	bench->pieces = 1;
	http_stream_wake(bench->stream);
	wait_until(bench, open->got.len == strlen("piece;"));
	request_free(open);
}

static void test_reload_of_bad_files(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *pin = NULL;
	struct err e = { 0 };

	serve(bench, false);
	pin = xstrdup(http_server_pin(bench->server));
	assert_int_equal(file_write_atomic(bench->files.server_key, "rubbish", 7, 0600, NULL), 0);
	assert_int_equal(http_server_reload(bench->server, &e), -EINVAL);
	assert_non_null(strstr(e.msg, bench->files.server_key));
	assert_string_equal(http_server_pin(bench->server), pin);
	check_taken(bench, &(struct http_client_config){ .pin = pin });
	assert_int_equal(unlink(bench->files.server_cert), 0);
	assert_int_equal(http_server_reload(bench->server, &e), -ENOENT);
	assert_non_null(strstr(e.msg, bench->files.server_cert));
	check_taken(bench, &(struct http_client_config){ .pin = pin });
}

static void test_bad_files(void **state)
{
	struct bench *bench = *state;
	struct files *files = &bench->files, other;
	struct err e = { 0 };

	name_files(bench, ".2", &other);
	write_files(bench->ca, &other);
	assert_int_equal(file_write_atomic(other.ca, "rubbish", 7, 0600, NULL), 0);
	const struct {
		const char *cert, *key, *ca, *named;
		int r;
	} cases[] = {
		{ "/nowhere/cert", files->server_key, NULL, "/nowhere/cert", -ENOENT },
		{ files->server_cert, "/nowhere/key", NULL, "/nowhere/key", -ENOENT },
		{ files->server_cert, files->server_key, "/nowhere/ca", "/nowhere/ca", -ENOENT },
		{ other.ca, files->server_key, NULL, other.ca, -EINVAL },
		{ files->server_cert, other.ca, NULL, other.ca, -EINVAL },
		{ files->server_cert, files->server_key, other.ca, other.ca, -EINVAL },
		{ files->server_cert, other.server_key, NULL, other.server_key, -EINVAL },
		{ files->server_cert, files->server_cert, NULL, files->server_cert, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct http_server_config config = {
			.address = ip_v4(0x7f000001),
			.tls = { cases[i].cert, cases[i].key, cases[i].ca },
		};
		int r = http_server_new(bench->loop, &config, handle, bench, &bench->server, &e);

		check(r == cases[i].r, "case %zu: %d", i, r);
		check(strstr(e.msg, cases[i].named), "case %zu: %s", i, e.msg);
	}
}

// ---- what is no TLS ----

static void test_plain_request_is_cut(void **state)
{
	struct bench *bench = *state;
	struct request *request;

	serve(bench, false);
	request = request_new(bench, &(struct http_client_config){ 0 });
	ask(request, "http", "/x");
	wait_until(bench, request->is_done);
	assert_true(request->r < 0);
	request_free(request);
	wait_until(bench, http_server_connections(bench->server) == 0);
}

// ---- memory ----

static uint64_t resident_bytes(void)
{
	_cleanup_free_ char *text = NULL;
	const char *cursor;
	uint64_t pages = 0;

	assert_int_equal(file_read("/proc/self/statm", 4096, &text, NULL, NULL), 0);
	cursor = strchr(text, ' ');
	assert_non_null(cursor);
	cursor++;
	assert_true(parse_u64(&cursor, UINT64_MAX, &pages));
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

// In a process of its own: open streams until it is killed.
static void be_idle_clients(struct bench *bench, const char *pin)
{
	struct loop *loop = loop_new();
	struct bench child = { .loop = loop, .server = bench->server };

	for (size_t i = 0; i < IDLE_CLIENTS; i++) {
		struct request *request =
			request_new(&child, &(struct http_client_config){ .pin = pin });

		ask(request, "https", "/pieces");
	}
	for (;;)
		loop_turn(loop, 1000);
}

static void test_memory_of_idle_connections(void **state)
{
	struct bench *bench = *state;
	uint64_t before, after;
	pid_t child;
	int status;

	serve(bench, false);
	before = resident_bytes();
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		be_idle_clients(bench, http_server_pin(bench->server));
		_exit(1);
	}
	for (uint64_t end = loop_now_ms() + 30000;
	     bench->streams < IDLE_CLIENTS && loop_now_ms() < end;)
		loop_turn(bench->loop, 5);
	after = resident_bytes();
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(bench->streams, IDLE_CLIENTS);
	printf("memory of an idle TLS connection: %.1f KiB\n",
	       (double)(after - before) / IDLE_CLIENTS / 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin_and_chain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin_is_the_usual_digest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pin_wants_tls, setup, teardown),
		cmocka_unit_test(test_pin_text),
		cmocka_unit_test_setup_teardown(test_mutual, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_sleeps_and_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_stream_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload_of_bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plain_request_is_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_of_idle_connections, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
