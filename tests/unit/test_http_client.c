// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the HTTP client's bargain with libcurl. What it does on the wire is tested by the
// stores on top of it.
#include "unit.h"

#include "io/http_client.h"
#include "io/loop.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <stdarg.h>

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handle_of_libcurl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
