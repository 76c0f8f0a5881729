// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: HTTP requests over libcurl's multi interface.
//
// DOC: who calls whom
//
//   loop: descriptor or timer -> curl_multi_socket_action -> our callbacks, which only store what came
//                             -> dispatch                 -> the callers' functions
//
// libcurl forbids most of its functions inside its callbacks. As callers' functions run after it
// has returned, they may start and cancel any call.
#include "io/http_client.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/http_sockets.h"
#include "io/http_trust.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

// What comes on top waits: a server is not to be run over, nor memory to be filled. A host in 64 networks has two
// long polls open for each and one more for their list; requests must find room beside these.
#define HOST_CONNECTIONS_MAX 192L
#define UPLOAD_MAX (16 * 1024 * 1024)
// Of a streamed answer so much is handed on in one turn: the reader must not hold the loop for long.
#define PIECE_MAX (64 * 1024)
#define HEADERS_MAX (64 * 1024) // bytes of an answer's headers
#define DEADLINE_GRACE_MS 20

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct timer *timer;
	struct http_sockets *open_sockets;
	struct socket_watch *sockets;
	struct http_call *calls;
	struct http_call *ready_first; // calls that have something to tell
	struct http_call *ready_last;
	struct http_trust *trust;
	char *user_agent;
	char *unix_socket;
	bool dispatching;
	bool freed; // while dispatching
};

struct socket_watch {
	struct http_client *client;
	struct socket_watch *previous;
	struct socket_watch *next;
	struct fd_watch *watch;
	curl_socket_t fd;
};

struct http_call {
	struct http_client *client;
	struct http_call *previous;
	struct http_call *next;
	struct http_call *next_ready;
	CURL *easy;
	struct curl_slist *headers;
	char error[CURL_ERROR_SIZE];
	struct strbuf upload; // not yet sent
	struct strbuf body;   // kept for done
	struct strbuf piece;  // to be handed to chunk
	size_t headers_len;   // of the answer
	http_head_fn *head;   // NULL: not asked for, or told
	http_chunk_fn *chunk;
	http_done_fn *done;
	void *arg;
	struct timer *idle_timer;
	struct timer *total_timer; // a little behind libcurl's own
	uint32_t idle_timeout_ms;
	bool upload_stays_open;
	bool upload_paused;
	bool upload_begun;
	bool download_paused;
	bool head_complete;
	bool ready;
	bool finished;
	bool delivering;
	bool cancelled; // while delivering
	int r;
	struct err err;
};

// ---- calls with news ----

static void make_ready(struct http_call *call)
{
	struct http_client *client = call->client;

	if (call->ready)
		return;
	call->ready = true;
	if (client->ready_last)
		client->ready_last->next_ready = call;
	else
		client->ready_first = call;
	client->ready_last = call;
}

static struct http_call *take_ready(struct http_client *client)
{
	struct http_call *call = client->ready_first;

	if (!call)
		return NULL;
	client->ready_first = call->next_ready;
	if (!client->ready_first)
		client->ready_last = NULL;
	call->next_ready = NULL;
	call->ready = false;
	return call;
}

static void leave_ready(struct http_call *call)
{
	struct http_client *client = call->client;
	struct http_call **link = &client->ready_first;
	struct http_call *previous = NULL;

	if (!call->ready)
		return;
	while (*link != call) {
		previous = *link;
		link = &previous->next_ready;
	}
	*link = call->next_ready;
	if (client->ready_last == call)
		client->ready_last = previous;
	call->ready = false;
}

// Takes the call out of libcurl and the client; the memory stays.
static void call_detach(struct http_call *call)
{
	struct http_client *client = call->client;

	if (!call->easy)
		return;
	leave_ready(call);
	call->finished = true; // the socket's removal is our doing
	curl_multi_remove_handle(client->multi, call->easy);
	curl_easy_cleanup(call->easy);
	call->easy = NULL;
	call->idle_timer = timer_free(call->idle_timer);
	call->total_timer = timer_free(call->total_timer);
	if (call->previous)
		call->previous->next = call->next;
	else
		client->calls = call->next;
	if (call->next)
		call->next->previous = call->previous;
}

static void call_free(struct http_call *call)
{
	curl_slist_free_all(call->headers);
	strbuf_free(&call->upload);
	strbuf_free(&call->body);
	strbuf_free(&call->piece);
	free(call);
}

static int status_of(const struct http_call *call)
{
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

static bool was_sent(const struct http_call *call)
{
	long request_size = 0;

	curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &request_size);
	return request_size > 0 || call->upload_begun;
}

static void call_finish(struct http_call *call)
{
	struct http_response response = {
		.status = status_of(call),
		.body = strbuf_text(&call->body),
		.len = call->body.len,
		.sent = was_sent(call),
	};

	call_detach(call);
	call->done(call->arg, call->r, &response, call->r < 0 ? &call->err : NULL);
	call_free(call);
}

static void fail(struct http_call *call, int r, const char *why)
{
	if (call->r == 0)
		call->r = err_set(&call->err, r, "%s", why);
	call->finished = true;
	make_ready(call);
}

static void unpause(struct http_call *call)
{
	int mask = CURLPAUSE_CONT;

	if (call->upload_paused)
		mask |= CURLPAUSE_SEND;
	if (call->download_paused)
		mask |= CURLPAUSE_RECV;
	curl_easy_pause(call->easy, mask);
}

// libcurl keeps the headers; this is a call seen from there.
struct http_head {
	struct http_call *call;
};

int http_head_status(const struct http_head *head)
{
	return status_of(head->call);
}

const char *http_head_get(const struct http_head *head, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(head->call->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK
		       ? header->value
		       : NULL;
}

// False: the call was cancelled by its head function, and is gone.
static bool deliver_head(struct http_call *call)
{
	struct http_head head = { call };
	http_head_fn *fn = call->head;
	int r;

	call->head = NULL;
	call->delivering = true;
	r = fn(call->arg, &head);
	call->delivering = false;
	if (call->cancelled) {
		call_free(call);
		return false;
	}
	if (r != 0) {
		strbuf_reset(&call->piece);
		fail(call, r < 0 ? r : -ECANCELED, "ended by the reader");
	}
	return true;
}

// False: the call was cancelled by its chunk function, and is gone.
static bool deliver_piece(struct http_call *call)
{
	int r;

	call->delivering = true;
	r = call->chunk(call->arg, call->piece.data, call->piece.len);
	call->delivering = false;
	if (call->cancelled) {
		call_free(call);
		return false;
	}
	// The buffer of a burst is not kept for the life of a long stream.
	strbuf_free(&call->piece);
	if (r != 0) {
		fail(call, r < 0 ? r : -ECANCELED, "ended by the reader");
	} else if (call->download_paused) {
		call->download_paused = false;
		unpause(call);
	}
	return true;
}

static void client_destroy(struct http_client *client);

static void dispatch(struct http_client *client)
{
	struct http_call *call;

	if (client->dispatching)
		return;
	client->dispatching = true;
	while (!client->freed && (call = take_ready(client))) {
		if (call->head && call->head_complete && !deliver_head(call))
			continue;
		if (client->freed)
			break;
		if (call->piece.len > 0 && !deliver_piece(call))
			continue;
		if (client->freed)
			break;
		if (call->finished)
			call_finish(call);
	}
	client->dispatching = false;
	if (client->freed)
		client_destroy(client);
}

// ---- libcurl's results ----

static int code_of_connect(CURL *easy)
{
	long os_errno = 0;

	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
	return os_errno > 0 ? (int)-os_errno : -ECONNREFUSED;
}

static int code_of_result(CURL *easy, CURLcode result)
{
	switch (result) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return code_of_connect(easy);
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_CLIENTCERT:
		return -EKEYREJECTED;
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_FAIL_REWIND:
		return -EPIPE;
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	default:
		return -EPROTO;
	}
}

static void read_results(struct http_client *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left))) {
		struct http_call *call;
		int r;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		r = code_of_result(message->easy_handle, message->data.result);
		if (message->data.result == CURLE_SSL_PINNEDPUBKEYNOTMATCH && call->r == 0)
			call->r = http_trust_pin_failed(client->trust, &call->err);
		if (r < 0) {
			fail(call, r,
			     call->error[0] ? call->error : curl_easy_strerror(message->data.result));
			continue;
		}
		call->finished = true;
		make_ready(call);
	}
}

static void drive(struct http_client *client, curl_socket_t fd, int events)
{
	int running;

	curl_multi_socket_action(client->multi, fd, events, &running);
	read_results(client);
	dispatch(client);
}

// ---- libcurl's callbacks: they store, and call nobody ----

static void socket_ready(void *arg, unsigned int events)
{
	struct socket_watch *socket = arg;
	int flags = 0;

	if (events & FD_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & FD_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	drive(socket->client, socket->fd, flags);
}

static void socket_watch_free(struct socket_watch *socket)
{
	if (socket->previous)
		socket->previous->next = socket->next;
	else
		socket->client->sockets = socket->next;
	if (socket->next)
		socket->next->previous = socket->previous;
	fd_watch_free(socket->watch);
	free(socket);
}

static struct socket_watch *socket_watch_new(struct http_client *client, curl_socket_t fd)
{
	struct socket_watch *socket = xnew(struct socket_watch);

	socket->client = client;
	socket->fd = fd;
	socket->watch = fd_watch_new(client->loop, fd, socket_ready, socket);
	socket->next = client->sockets;
	if (client->sockets)
		client->sockets->previous = socket;
	client->sockets = socket;
	curl_multi_assign(client->multi, fd, socket);
	return socket;
}

// The server closed a stream on which we have nothing to say at the moment. libcurl would tell only
// when there is something to upload again.
static void tell_closed_stream(CURL *easy)
{
	struct http_call *call = NULL;

	// NULL: a handle of libcurl's own, by which it closes kept connections.
	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call);
	if (call && call->upload_paused && !call->download_paused && !call->finished)
		fail(call, -EPIPE, "the server closed the stream");
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_client *client = arg;
	struct socket_watch *socket = socket_arg;

	if (what == CURL_POLL_REMOVE) {
		if (socket) {
			curl_multi_assign(client->multi, fd, NULL);
			socket_watch_free(socket);
		}
		tell_closed_stream(easy);
		return 0;
	}
	if (!socket)
		socket = socket_watch_new(client, fd);
	fd_watch_set(socket->watch, (what & CURL_POLL_IN ? FD_READABLE : 0) |
					    (what & CURL_POLL_OUT ? FD_WRITABLE : 0));
	return 0;
}

static void timer_due(void *arg)
{
	drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct http_client *client = arg;

	(void)multi;
	if (timeout_ms < 0)
		timer_stop(client->timer);
	else
		timer_start(client->timer, (uint64_t)timeout_ms);
	return 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	size_t len = size * count;

	if (call->idle_timer)
		timer_start(call->idle_timer, call->idle_timeout_ms);
	call->headers_len += len;
	if (call->headers_len > HEADERS_MAX) {
		call->r = err_set(&call->err, -E2BIG, "headers of more than %d bytes", HEADERS_MAX);
		return 0;
	}
	// An empty line ends them; those of a status below 200 are not the answer's.
	if (call->head && (data[0] == '\r' || data[0] == '\n') && status_of(call) >= 200) {
		call->head_complete = true;
		make_ready(call);
	}
	return len;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	size_t len = size * count;
	int status = status_of(call);
	bool streamed = call->chunk && status >= 200 && status <= 299;

	if (call->idle_timer)
		timer_start(call->idle_timer, call->idle_timeout_ms);
	if (streamed && call->piece.len > 0 && call->piece.len + len > PIECE_MAX) {
		call->download_paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (strbuf_add(streamed ? &call->piece : &call->body, data, len) < 0) {
		call->r = err_set(&call->err, -E2BIG, "answer of more than %zu bytes", call->body.max);
		return 0;
	}
	if (streamed)
		make_ready(call);
	return len;
}

static size_t on_upload(char *buffer, size_t size, size_t count, void *arg)
{
	struct http_call *call = arg;
	size_t len = size * count;

	call->upload_begun = true;
	if (call->upload.len == 0 && call->upload_stays_open) {
		call->upload_paused = true;
		return CURL_READFUNC_PAUSE;
	}
	if (len > call->upload.len)
		len = call->upload.len;
	memcpy(buffer, strbuf_text(&call->upload), len);
	strbuf_consume(&call->upload, len);
	return len;
}

// libcurl sends a request again when a kept connection closes before an answer. Then it may already
// have been done.
static int on_rewind(void *arg, curl_off_t offset, int origin)
{
	const struct http_call *call = arg;

	(void)offset;
	(void)origin;
	return call->upload_begun ? CURL_SEEKFUNC_FAIL : CURL_SEEKFUNC_OK;
}

// ---- starting and ending ----

static void took_too_long(void *arg)
{
	struct http_call *call = arg;
	struct http_client *client = call->client;

	fail(call, -ETIMEDOUT, "no answer in time");
	dispatch(client);
}

static void set_body(struct http_call *call, const struct http_request *request)
{
	CURL *easy = call->easy;

	if (request->upload_stays_open || request->once) {
		strbuf_add(&call->upload, request->body, request->body_len);
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
		curl_easy_setopt(easy, CURLOPT_READDATA, call);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
				 request->upload_stays_open ? (curl_off_t)-1
							    : (curl_off_t)request->body_len);
	} else if (request->body) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
		curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
	}
	if (strcmp(request->method, request->body ? "POST" : "GET") != 0)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_headers(struct http_call *call, const struct http_request *request)
{
	const char *const *header;

	// libcurl would wait a second for a "100 Continue" that Go's servers send only when they
	// read.
	call->headers = curl_slist_append(call->headers, "Expect:");
	if (request->upload_stays_open) {
		call->headers = curl_slist_append(call->headers, "Transfer-Encoding: chunked");
		// Only on a connection that closes does libcurl see the end of an answer while its
		// upload pauses.
		call->headers = curl_slist_append(call->headers, "Connection: close");
	}
	for (header = request->headers; header && *header; header++)
		call->headers = curl_slist_append(call->headers, *header);
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static void set_transport(const struct http_call *call)
{
	const struct http_client *client = call->client;
	CURL *easy = call->easy;

	http_sockets_set(client->open_sockets, easy);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	// A host's http_proxy is meant for downloads; what goes to the store goes there and nowhere
	// else.
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
	if (client->user_agent)
		curl_easy_setopt(easy, CURLOPT_USERAGENT, client->user_agent);
	if (client->unix_socket)
		curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->unix_socket);
	http_trust_set(client->trust, easy);
}

// libcurl may look at a deadline some microseconds before it is over, and then not again while other
// requests wait for longer.
static void set_total_timeout(struct http_call *call, uint32_t timeout_ms)
{
	curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	call->total_timer = timer_new(call->client->loop, took_too_long, call);
	timer_start(call->total_timer, (uint64_t)timeout_ms + DEADLINE_GRACE_MS);
}

struct http_call *http_call_start(struct http_client *client, const struct http_request *request)
{
	struct http_call *call = xnew(struct http_call);

	call->client = client;
	call->head = request->head;
	call->chunk = request->chunk;
	call->done = request->done;
	call->arg = request->arg;
	call->upload_stays_open = request->upload_stays_open;
	call->upload = STRBUF_INIT(UPLOAD_MAX);
	call->body = STRBUF_INIT(request->response_max);
	call->piece = STRBUF_INIT(2 * PIECE_MAX);
	call->easy = curl_easy_init();
	if (!call->easy)
		abort();
	call->next = client->calls;
	if (client->calls)
		client->calls->previous = call;
	client->calls = call;

	curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->error);
	curl_easy_setopt(call->easy, CURLOPT_URL, request->url);
	curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(call->easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
	if (request->connect_timeout_ms)
		curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS,
				 (long)request->connect_timeout_ms);
	if (request->total_timeout_ms)
		set_total_timeout(call, request->total_timeout_ms);
	set_transport(call);
	set_body(call, request);
	set_headers(call, request);
	if (request->idle_timeout_ms) {
		call->idle_timeout_ms = request->idle_timeout_ms;
		call->idle_timer = timer_new(client->loop, took_too_long, call);
		timer_start(call->idle_timer, call->idle_timeout_ms);
	}
	// Makes libcurl ask for a timer of 0, so that everything else happens from the loop.
	if (curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
		fail(call, -EIO, "cannot start the request");
		timer_start(client->timer, 0);
	}
	return call;
}

void http_call_cancel(struct http_call *call)
{
	call_detach(call);
	if (call->delivering)
		call->cancelled = true;
	else
		call_free(call);
}

void http_call_send(struct http_call *call, const void *data, size_t len)
{
	if (strbuf_add(&call->upload, data, len) < 0) {
		fail(call, -ENOBUFS, "the server does not read what we send");
		timer_start(call->client->timer, 0);
		return;
	}
	if (!call->upload_paused)
		return;
	call->upload_paused = false;
	unpause(call);
}

int http_client_new(struct loop *loop, const struct http_client_config *config,
		    struct http_client **ret, struct err *e)
{
	static bool initialized;
	struct http_trust *trust;
	struct http_client *client;
	int r = http_trust_new(config, &trust, e);

	if (r < 0)
		return r;
	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		http_trust_free(trust);
		return err_set(e, -EIO, "cannot initialize libcurl");
	}
	initialized = true;
	client = xnew(struct http_client);
	client->loop = loop;
	client->multi = curl_multi_init();
	if (!client->multi)
		abort();
	client->open_sockets = http_sockets_new();
	client->timer = timer_new(loop, timer_due, client);
	client->trust = trust;
	client->user_agent = xstrdup(config->user_agent);
	client->unix_socket = xstrdup(config->unix_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, HOST_CONNECTIONS_MAX);
	*ret = client;
	return 0;
}

static void client_destroy(struct http_client *client)
{
	curl_multi_cleanup(client->multi);
	http_sockets_free(client->open_sockets);
	while (client->sockets)
		socket_watch_free(client->sockets); // NOLINT(clang-analyzer-unix.Malloc): it takes itself off the list
	timer_free(client->timer);
	http_trust_free(client->trust);
	free(client->user_agent);
	free(client->unix_socket);
	free(client);
}

struct http_client *http_client_free(struct http_client *client)
{
	if (!client)
		return NULL;
	while (client->calls)
		http_call_cancel(client->calls); // NOLINT(clang-analyzer-unix.Malloc): as above
	if (client->dispatching)
		client->freed = true;
	else
		client_destroy(client);
	return NULL;
}

void http_client_disconnect(struct http_client *client)
{
	http_sockets_shut_down(client->open_sockets);
}
