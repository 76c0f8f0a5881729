// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of io/http_server and io/listen.
#include "raw_http.h"
#include "unit.h"

#include "core/mem.h"
#include "io/http_server.h"
#include "io/listen.h"
#include "loop_end.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define PIECES 200

// What the handler under test does is chosen by the path.
struct bench {
	struct loop *loop;
	char directory[32];
	char path[64];
	struct http_server *server;
	struct http_exchange *kept;   // of /later
	struct http_exchange *stream; // of the streams
	unsigned int pieces;	      // how many the stream still has
	unsigned int closed;
	unsigned int handled;
};

static int next_piece(void *arg, struct strbuf *out)
{
	struct bench *bench = arg;

	if (bench->pieces == 0)
		return -EAGAIN;
	bench->pieces--;
	strbuf_printf(out, "piece;");
	return 1;
}

static int next_until_end(void *arg, struct strbuf *out)
{
	struct bench *bench = arg;

	for (size_t i = 0; i < 1000; i++)
		strbuf_printf(out, "%04u %04zu;", bench->pieces, i);
	return --bench->pieces == 0 ? 0 : 1;
}

static int next_without_end(void *arg, struct strbuf *out)
{
	static const char block[HTTP_PIECE_GOOD];

	(void)arg;
	strbuf_add(out, block, sizeof(block));
	return 1;
}

static int next_breaks(void *arg, struct strbuf *out)
{
	struct bench *bench = arg;

	if (bench->pieces-- == 0)
		return -EIO;
	strbuf_puts(out, "before");
	return 1;
}

// Something came while it was being asked, too late for this call.
static int next_wakes_itself(void *arg, struct strbuf *out)
{
	struct bench *bench = arg;

	if (bench->pieces-- > 0) {
		http_stream_wake(bench->stream);
		return -EAGAIN;
	}
	strbuf_puts(out, "woken");
	return 0;
}

static void on_closed(void *arg)
{
	struct bench *bench = arg;

	bench->closed++;
	bench->stream = NULL;
}

static void answer_stream(struct bench *bench, struct http_exchange *exchange, http_next_fn *next)
{
	bench->stream = exchange;
	http_answer_stream(exchange, 200, "text/plain", next, on_closed, bench);
}

static void handle(void *arg, struct http_exchange *exchange)
{
	const char *path = http_exchange_path(exchange);
	struct bench *bench = arg;
	const char *body;
	size_t len;

	bench->handled++;
	if (strcmp(path, "/later") == 0) {
		bench->kept = exchange;
	} else if (strcmp(path, "/pieces") == 0) {
		answer_stream(bench, exchange, next_piece);
	} else if (strcmp(path, "/long") == 0) {
		bench->pieces = PIECES;
		answer_stream(bench, exchange, next_until_end);
	} else if (strcmp(path, "/endless") == 0) {
		answer_stream(bench, exchange, next_without_end);
	} else if (strcmp(path, "/broken") == 0) {
		bench->pieces = 1;
		answer_stream(bench, exchange, next_breaks);
	} else if (strcmp(path, "/waking") == 0) {
		bench->pieces = 2;
		answer_stream(bench, exchange, next_wakes_itself);
	} else if (strcmp(path, "/query") == 0) {
		const char *value = http_exchange_query(exchange, "name");

		http_answer_text(exchange, 200, "text/plain", value ? value : "none");
	} else if (strcmp(path, "/body") == 0) {
		body = http_exchange_body(exchange, &len);
		http_answer(exchange, 200, "text/plain", body, len);
	} else {
		http_answer_text(exchange, 200, "text/x-test", http_exchange_method(exchange));
	}
}

static void serve(struct bench *bench, struct http_server_config config)
{
	struct err e = { 0 };

	config.unix_path = bench->path;
	if (http_server_new(bench->loop, &config, handle, bench, &bench->server, &e) < 0)
		fail_msg("%s", err_msg(&e));
}

static int setup(void **state)
{
	struct bench *bench = xnew(struct bench);

	bench->loop = loop_new();
	assert_int_equal(text_copy(bench->directory, sizeof(bench->directory), "/tmp/weft-http-XXXXXX"),
			 0);
	assert_non_null(mkdtemp(bench->directory));
	assert_int_equal(
		text_format(bench->path, sizeof(bench->path), "%s/run/s.sock", bench->directory), 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;
	char run[64];

	http_server_free(bench->server);
	loop_end(bench->loop);
	unlink(bench->path);
	assert_int_equal(text_format(run, sizeof(run), "%s/run", bench->directory), 0);
	(void)rmdir(run); // a test of paths may not have made it
	assert_int_equal(rmdir(bench->directory), 0);
	free(bench);
	return 0;
}

// Turns the loop until the condition holds.
#define wait_until(bench, condition)                                    \
	do {                                                            \
		uint64_t end_ = loop_now_ms() + 5000;                   \
		while (!(condition) && loop_now_ms() < end_)            \
			loop_turn((bench)->loop, 5);                    \
		check(condition, "waited in vain for: %s", #condition); \
	} while (0)

#define CLOSING " HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n\r\n"
#define OPEN " HTTP/1.1\r\nHost: weft\r\n\r\n"

// ---- whole answers ----

static void test_answers(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ 0 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /x" OPEN);
	assert_true(raw_http_expect(&peer, "\r\n\r\nGET"));
	assert_non_null(strstr(peer.got.data, "HTTP/1.1 200"));
	assert_non_null(strstr(peer.got.data, "Content-Type: text/x-test"));
	strbuf_reset(&peer.got);
	raw_http_send(&peer, "GET /query?a=1&name=some%20value" OPEN); // the same connection
	assert_true(raw_http_expect(&peer, "\r\n\r\nsome value"));
	strbuf_reset(&peer.got);
	raw_http_send(&peer, "HEAD /x" CLOSING);
	assert_true(raw_http_expect_end(&peer));
	assert_non_null(strstr(peer.got.data, "Content-Length: 3"));
	assert_null(strstr(peer.got.data, "GET"));
	raw_http_close(&peer);
	wait_until(bench, http_server_connections(bench->server) == 0);
}

static void test_later_answer(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ .deadline_ms = 100 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /later" CLOSING);
	wait_until(bench, bench->kept);
	// Our time is not the client's.
	for (uint64_t end = loop_now_ms() + 300; loop_now_ms() < end;)
		loop_turn(bench->loop, 10);
	http_answer_text(bench->kept, 503, "text/plain", "at last");
	assert_true(raw_http_expect_end(&peer));
	assert_non_null(strstr(peer.got.data, "HTTP/1.1 503"));
	assert_non_null(strstr(peer.got.data, "\r\n\r\nat last"));
	assert_int_equal(bench->handled, 1);
	raw_http_close(&peer);
}

static void test_later_answer_to_nobody(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ 0 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /later" CLOSING);
	wait_until(bench, bench->kept);
	raw_http_close(&peer);
	loop_turn(bench->loop, 10);
	http_answer_text(bench->kept, 200, "text/plain", "nobody hears");
	wait_until(bench, http_server_connections(bench->server) == 0);
}

static void test_free_with_all_kinds_open(void **state)
{
	struct bench *bench = *state;
	struct raw_http later, sleeping, half;

	serve(bench, (struct http_server_config){ 0 });
	raw_http_open_unix(&later, bench->loop, bench->path);
	raw_http_send(&later, "GET /later" OPEN);
	raw_http_open_unix(&sleeping, bench->loop, bench->path);
	raw_http_send(&sleeping, "GET /pieces" OPEN);
	raw_http_open_unix(&half, bench->loop, bench->path);
	raw_http_send(&half, "GET /x");
	assert_true(raw_http_expect(&sleeping, "200 OK"));
	wait_until(bench, bench->kept && http_server_connections(bench->server) == 3);
	bench->server = http_server_free(bench->server);
	assert_int_equal(bench->closed, 1);
	assert_true(raw_http_expect_end(&later));
	assert_true(raw_http_expect_end(&sleeping));
	assert_true(raw_http_expect_end(&half));
	assert_int_equal(access(bench->path, F_OK), -1);
	raw_http_close(&later);
	raw_http_close(&sleeping);
	raw_http_close(&half);
}

static void test_bodies(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ .body_max = 10 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
	raw_http_send(&peer, "56789");
	assert_true(raw_http_expect(&peer, "\r\n\r\n0123456789"));
	raw_http_send(&peer, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890");
	assert_true(raw_http_expect(&peer, "HTTP/1.1 413"));
	raw_http_send(&peer,
		      "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
	assert_true(raw_http_expect(&peer, "\r\n\r\nabc"));
	assert_int_equal(bench->handled, 2); // not for the one that is too long
	raw_http_close(&peer);
}

static void test_endless_body_is_cut(void **state)
{
	_cleanup_free_ char *block = xmalloc(65537);
	struct bench *bench = *state;
	struct raw_http peer;

	memset(block, 'x', 65536);
	block[65536] = '\0';
	serve(bench, (struct http_server_config){ .body_max = 10 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
	for (int i = 0; i < 100; i++)
		raw_http_send(&peer, block); // 6.5 MB of the 100
	assert_true(raw_http_expect_end(&peer));
	assert_int_equal(bench->handled, 0);
	raw_http_close(&peer);
}

static void test_hostile_heads(void **state)
{
	static const char *const heads[] = {
		"\r\n\r\n\r\n",
		"\x16\x03\x01\x02\r\nnot a TLS server\r\n\r\n",
		"GET\r\n\r\n",
		"GET / HTTP/9.9\r\n\r\n",
		"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
		"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
		"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	};
	_cleanup_strbuf_ struct strbuf big = STRBUF_INIT(1024 * 1024);
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ .body_max = 10, .deadline_ms = 200 });
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		raw_http_open_unix(&peer, bench->loop, bench->path);
		raw_http_send(&peer, heads[i]);
		check(raw_http_expect_end(&peer), "head %zu keeps its connection", i);
		check(!strstr(strbuf_text(&peer.got), " 200 "), "head %zu is served", i);
		raw_http_close(&peer);
	}
	strbuf_puts(&big, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 5000; i++)
		strbuf_printf(&big, "X-Header-%d: value\r\n", i);
	strbuf_puts(&big, "\r\n");
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, big.data);
	assert_true(raw_http_expect_end(&peer));
	assert_null(strstr(strbuf_text(&peer.got), " 200 "));
	raw_http_close(&peer);
	assert_int_equal(bench->handled, 0);
	raw_http_open_unix(&peer, bench->loop, bench->path);
	assert_non_null(strstr(raw_http_get(&peer, "/x"), "200 OK"));
	raw_http_close(&peer);
}

// ---- streams ----

static void test_stream_sleeps_and_wakes(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ .deadline_ms = 100 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /pieces" OPEN);
	assert_true(raw_http_expect(&peer, "200 OK"));
	for (unsigned int round = 1; round <= 3; round++) {
		// Longer than the deadline: silence is ours.
		for (uint64_t end = loop_now_ms() + 250; loop_now_ms() < end;)
			loop_turn(bench->loop, 10);
		assert_int_equal(raw_http_count(&peer, "piece;"), round - 1);
		bench->pieces = 1;
		http_stream_wake(bench->stream);
		http_stream_wake(bench->stream); // twice is once
		wait_until(bench, (loop_turn(bench->loop, 1), raw_http_expect(&peer, "piece;"),
				   raw_http_count(&peer, "piece;") == round));
	}
	assert_int_equal(bench->closed, 0);
	raw_http_close(&peer);
	loop_turn(bench->loop, 10);
	bench->pieces = 2;
	http_stream_wake(bench->stream); // finds that nobody is there
	wait_until(bench, bench->closed == 1);
	wait_until(bench, http_server_connections(bench->server) == 0);
}

static void test_stream_that_is_woken_while_asked(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ 0 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	assert_non_null(strstr(raw_http_get(&peer, "/waking"), "woken"));
	raw_http_close(&peer);
}

static void test_long_stream_is_whole(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ 0 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	(void)raw_http_get(&peer, "/long");
	assert_non_null(strstr(peer.got.data, "Transfer-Encoding: chunked"));
	assert_memory_equal(peer.got.data + peer.got.len - 5, "0\r\n\r\n", 5);
	// 10 bytes each and the chunks' own few
	assert_in_range(peer.got.len, PIECES * 10000, PIECES * 10000 + 20000);
	assert_non_null(strstr(peer.got.data, "0200 0000;"));
	assert_non_null(strstr(peer.got.data, "0001 0999;"));
	assert_int_equal(bench->closed, 1);
	raw_http_close(&peer);
}

static void test_broken_stream_is_seen(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ 0 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	(void)raw_http_get(&peer, "/broken");
	assert_non_null(strstr(peer.got.data, "before"));
	assert_memory_not_equal(peer.got.data + peer.got.len - 5, "0\r\n\r\n", 5); // no end of the chunks
	assert_int_equal(bench->closed, 1);
	raw_http_close(&peer);
}

// ---- slow clients, many clients ----

static void test_slow_sender_is_dropped(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;
	uint64_t began;

	serve(bench, (struct http_server_config){ .deadline_ms = 300 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	began = loop_now_ms();
	// One byte now and then: there is always something, but never a request.
	raw_http_send(&peer, "GET /x HTTP/1.1\r\n");
	while (!peer.ended && loop_now_ms() < began + 5000) {
		raw_http_send(&peer, "X");
		(void)raw_http_expect(&peer, "");
	}
	assert_true(peer.ended);
	assert_in_range(loop_now_ms() - began, 300, 4000);
	assert_int_equal(bench->handled, 0);
	raw_http_close(&peer);
}

static void test_slow_reader_is_dropped(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;

	serve(bench, (struct http_server_config){ .deadline_ms = 200 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /endless" OPEN);
	wait_until(bench, bench->stream);
	wait_until(bench, bench->closed == 1); // never read a byte
	wait_until(bench, http_server_connections(bench->server) == 0);
	raw_http_close(&peer);
}

static void test_quick_reader_is_not_dropped(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;
	uint64_t end;

	serve(bench, (struct http_server_config){ .deadline_ms = 100 });
	raw_http_open_unix(&peer, bench->loop, bench->path);
	raw_http_send(&peer, "GET /endless" OPEN);
	wait_until(bench, bench->stream);
	for (end = loop_now_ms() + 500; loop_now_ms() < end;) {
		(void)raw_http_expect(&peer, "");
		strbuf_reset(&peer.got);
	}
	assert_false(peer.ended);
	assert_int_equal(bench->closed, 0);
	raw_http_close(&peer);
}

static void test_connection_limit(void **state)
{
	struct bench *bench = *state;
	struct raw_http held[2], third;

	serve(bench, (struct http_server_config){ .connections_max = 2 });
	for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
		raw_http_open_unix(&held[i], bench->loop, bench->path);
		raw_http_send(&held[i], "GET /x" OPEN);
		assert_true(raw_http_expect(&held[i], "200 OK"));
	}
	raw_http_open_unix(&third, bench->loop, bench->path);
	raw_http_send(&third, "GET /x" CLOSING);
	for (int i = 0; i < 20; i++)
		loop_turn(bench->loop, 5);
	assert_int_equal(http_server_connections(bench->server), 2);
	assert_int_equal(bench->handled, 2);
	raw_http_close(&held[0]);
	assert_true(raw_http_expect(&third, "200 OK"));
	raw_http_close(&held[1]);
	raw_http_close(&third);
}

// ---- who may enter ----

// As nobody: the status line of a GET, or exit code 1.
static pid_t ask_as_nobody(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const char request[] = "GET /x" CLOSING;
	char answer[512] = "";
	size_t len = 0;
	ssize_t n;
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	(void)text_copy(address.sun_path, sizeof(address.sun_path), path);
	if (setuid(NOBODY) < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    write(fd, request, sizeof(request) - 1) < 0)
		_exit(1);
	while (len < sizeof(answer) - 1 && (n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	_exit(strncmp(answer, "HTTP/1.1 403", 12) == 0	 ? 43
	      : strncmp(answer, "HTTP/1.1 200", 12) == 0 ? 42
							 : 1);
}

static int exit_code(struct bench *bench, pid_t pid)
{
	int status = 0;
	pid_t ended = 0;

	assert_true(pid > 0);
	wait_until(bench, ended == pid || (ended = waitpid(pid, &status, WNOHANG)) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_only_root(void **state)
{
	struct bench *bench = *state;
	struct raw_http peer;
	struct stat st;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(bench->directory, 0755), 0);
	serve(bench, (struct http_server_config){ .root_only = true });
	assert_int_equal(stat(bench->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(exit_code(bench, ask_as_nobody(bench->path)), 1); // the file's mode
	assert_int_equal(chmod(bench->path, 0666), 0);
	assert_int_equal(exit_code(bench, ask_as_nobody(bench->path)), 43); // and who is asking
	assert_int_equal(bench->handled, 0);
	raw_http_open_unix(&peer, bench->loop, bench->path);
	assert_non_null(strstr(raw_http_get(&peer, "/x"), "200 OK"));
	raw_http_close(&peer);
	http_server_free(bench->server);
	serve(bench, (struct http_server_config){ .root_only = false });
	assert_int_equal(chmod(bench->path, 0666), 0);
	assert_int_equal(exit_code(bench, ask_as_nobody(bench->path)), 42);
}

// ---- sockets ----

static void test_unix_path(void **state)
{
	struct bench *bench = *state;
	_cleanup_close_ int fd = -1;
	struct http_server *other = NULL;
	struct http_server_config config = { .unix_path = bench->path };
	struct err e = { 0 };
	char text[200];
	int second;

	// A dead one is replaced.
	assert_int_equal(listen_unix(bench->path, &fd, &e), 0);
	close(TAKE_FD(fd));
	assert_int_equal(access(bench->path, F_OK), 0);
	serve(bench, config);
	// A live one is not.
	assert_int_equal(http_server_new(bench->loop, &config, handle, bench, &other, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, bench->path));
	assert_null(other);
	// Another's socket in the place of ours stays when we go.
	assert_int_equal(unlink(bench->path), 0);
	assert_int_equal(listen_unix(bench->path, &second, &e), 0);
	bench->server = http_server_free(bench->server);
	assert_int_equal(access(bench->path, F_OK), 0);
	close(second);
	assert_int_equal(unlink(bench->path), 0);
	// Something else is not ours to remove.
	fd = open(bench->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(listen_unix(bench->path, &second, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "remove it"));
	memset(text, 'a', sizeof(text) - 1);
	text[0] = '/';
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(listen_unix(text, &second, &e), -ENAMETOOLONG);
}

static void test_tcp(void **state)
{
	struct bench *bench = *state;
	struct http_server_config config = { .address = ip_v4(0x7f000001), .per_address_max = 1 };
	struct http_server *other = NULL;
	struct raw_http first, second;
	struct err e = { 0 };

	assert_int_equal(http_server_new(bench->loop, &config, handle, bench, &bench->server, &e), 0);
	assert_int_not_equal(http_server_port(bench->server), 0);
	raw_http_open_tcp(&first, bench->loop, &config.address, http_server_port(bench->server));
	raw_http_send(&first, "GET /x" OPEN);
	assert_true(raw_http_expect(&first, "200 OK"));
	raw_http_open_tcp(&second, bench->loop, &config.address, http_server_port(bench->server));
	assert_true(raw_http_expect_end(&second)); // one for each address
	config.port = http_server_port(bench->server);
	assert_int_equal(http_server_new(bench->loop, &config, handle, bench, &other, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, "127.0.0.1 port "));
	config.address = ip_v4(0xc0000201);
	assert_int_equal(http_server_new(bench->loop, &config, handle, bench, &other, &e),
			 -EADDRNOTAVAIL);
	raw_http_close(&first);
	raw_http_close(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_later_answer_to_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_with_all_kinds_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless_body_is_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_heads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_sleeps_and_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_that_is_woken_while_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_stream_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_stream_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_sender_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quick_reader_is_not_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connection_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unix_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
