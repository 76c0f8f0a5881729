// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the HTTP client's bargain with libcurl. What it does on the wire is tested by the
// stores on top of it.
#include "unit.h"

#include "core/strbuf.h"
#include "fake_http.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "kv_client.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

// What the client gave libcurl to call.
static curl_socket_callback socket_fn;
static void *socket_arg;

// In place of libcurl's, to which everything is handed on.
#undef curl_multi_setopt
CURLMcode curl_multi_setopt(CURLM *multi, CURLMoption option, ...)
{
	CURLMcode (*real)(CURLM *, CURLMoption, ...) =
		(CURLMcode(*)(CURLM *, CURLMoption, ...))dlsym(RTLD_NEXT, "curl_multi_setopt");
	va_list list;
	void *value;

	va_start(list, option);
	value = va_arg(list, void *);
	va_end(list);
	if (option == CURLMOPT_SOCKETFUNCTION)
		socket_fn = (curl_socket_callback)value;
	else if (option == CURLMOPT_SOCKETDATA)
		socket_arg = value;
	return real(multi, option, value);
}

// libcurl closes kept connections by a handle of its own, which is no call of ours.
static void test_handle_of_libcurl(void **state)
{
	static const struct http_client_config config = { 0 };
	struct loop *loop = loop_new();
	struct http_client *client;
	CURL *foreign = curl_easy_init();

	(void)state;
	assert_int_equal(http_client_new(loop, &config, &client, NULL), 0);
	assert_non_null(socket_fn);
	assert_int_equal(socket_fn(foreign, 0, CURL_POLL_REMOVE, socket_arg, NULL), 0);
	curl_easy_cleanup(foreign);
	http_client_free(client);
	loop_free(loop);
}

// ---- headers ----

struct headers {
	struct http_call *call;
	int status;
	char value[32];
	bool has_other;
	unsigned int heads;
	size_t body_len;
	int end_with;
	bool cancel;
	bool done;
	int r;
};

static int got_head(void *arg, const struct http_head *head)
{
	struct headers *headers = arg;
	const char *value = http_head_get(head, "x-index");

	assert_int_equal(headers->body_len, 0);
	assert_false(headers->done);
	headers->heads++;
	headers->status = http_head_status(head);
	(void)text_copy(headers->value, sizeof(headers->value), value ? value : "");
	headers->has_other = http_head_get(head, "X-Other") != NULL;
	if (headers->cancel)
		http_call_cancel(headers->call);
	return headers->end_with;
}

static int got_chunk(void *arg, const char *data, size_t len)
{
	struct headers *headers = arg;

	(void)data;
	headers->body_len += len;
	return 0;
}

static void headers_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct headers *headers = arg;

	(void)e;
	headers->done = true;
	headers->r = r;
	if (headers->status != 200)
		headers->body_len += response->len;
}

static void read_headers(const char *raw, const char *drip, struct headers *headers)
{
	static const struct http_client_config config = { 0 };
	const struct fake_answer answers[] = { { "/", raw, 0, false, drip }, { 0 } };
	struct fake_http *fake = fake_http_start(answers);
	struct http_request request = {
		.method = "GET",
		.url = fake_http_url(fake),
		.response_max = 1000,
		.head = got_head,
		.chunk = got_chunk,
		.done = headers_done,
		.arg = headers,
	};
	struct loop *loop = loop_new();
	struct http_client *client;

	assert_int_equal(http_client_new(loop, &config, &client, NULL), 0);
	headers->call = http_call_start(client, &request);
	turn_until(loop, headers->done || (headers->cancel && headers->heads > 0));
	http_client_free(client);
	loop_free(loop);
	fake_http_free(fake);
}

#define ANSWER(status) "HTTP/1.1 " status "\r\nX-Index: 5\r\nConnection: close\r\n\r\nbody"

static void test_headers(void **state)
{
	struct headers headers = { 0 };
	struct headers ended = { .end_with = -ESTALE };
	struct headers cancelled = { .cancel = true };
	struct headers failed = { 0 };

	(void)state;
	// Those of a status below 200 are not the answer's.
	read_headers("HTTP/1.1 100 Continue\r\nX-Other: 4\r\n\r\n",
		     "HTTP/1.1 200 OK\r\nX-Index: 5\r\nContent-Length: 4\r\n\r\nbody", &headers);
	assert_int_equal(headers.r, 0);
	assert_int_equal(headers.heads, 1);
	assert_int_equal(headers.status, 200);
	assert_string_equal(headers.value, "5");
	assert_false(headers.has_other);
	assert_int_equal(headers.body_len, 4);
	read_headers(ANSWER("404 No"), NULL, &failed);
	assert_int_equal(failed.heads, 1);
	assert_int_equal(failed.status, 404);
	assert_int_equal(failed.body_len, 4);
	read_headers(ANSWER("200 OK"), NULL, &ended);
	assert_int_equal(ended.r, -ESTALE);
	assert_int_equal(ended.body_len, 0);
	read_headers(ANSWER("200 OK"), NULL, &cancelled);
	assert_false(cancelled.done);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handle_of_libcurl),
		cmocka_unit_test(test_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
