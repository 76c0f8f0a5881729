// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one listening socket that speaks HTTP/1.1, by libmicrohttpd's epoll descriptor in our loop.
#include "io/http_server.h"

#include "core/hash.h"
#include "core/log.h"
#include "core/mem.h"
#include "io/listen.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECTIONS_DEFAULT 64
#define CONNECTION_MEMORY_DEFAULT (32 * 1024)
#define STREAM_BLOCK \
	1024 // kept for each stream; used for a client of HTTP/1.0 alone, others get chunks
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define DEADLINE_DEFAULT_MS 30000
#define PENDING_SLOTS 8192 // a power of two
#define SURPLUS_MAX (256 * 1024)

// One connection, from accept to close.
struct client {
	struct client *next;
	struct client *previous;
	struct http_server *server;
	int fd;
	bool is_allowed;
	bool is_pending; // counted among those of its address that have made no admitted request yet
	uint16_t pending_slot;
	struct tls_credentials *tls;	// that its session uses
	uint64_t deadline_ms;		// 0: not the client's time
	struct http_exchange *exchange; // in hand, or NULL
};

struct http_server {
	struct loop *loop;
	http_handler_fn *handler;
	http_admit_fn *admit;
	void *arg;
	struct MHD_Daemon *daemon;
	struct fd_watch *watch;
	struct timer *turn; // libmicrohttpd has more to do without waiting for a descriptor
	struct timer *sweep; // looks for clients past their deadline; runs only while there are some that have one
	struct client *clients;
	struct tls_credentials *tls; // of connections that come; NULL: plain HTTP
	char *cert_file;
	char *key_file;
	char *ca_file;
	char *unix_path;
	dev_t unix_device; // of the socket file, so that another's is not removed
	ino_t unix_inode;
	bool root_only;
	uint16_t port;
	size_t body_max;
	uint32_t deadline_ms;
	unsigned int pending_max;
	uint16_t *pending; // by address, hashed: PENDING_SLOTS; NULL without a limit
};

struct http_exchange {
	struct http_server *server;
	struct client *client;
	struct MHD_Connection *connection;
	char *path;
	char *method;
	struct strbuf body;
	size_t surplus;	   // bytes of the body beyond its limit
	bool is_admitted;  // its body is wanted
	bool was_handed;   // the handler has it, or had
	bool is_suspended; // libmicrohttpd leaves the connection alone
	struct MHD_Response *response;
	unsigned int status;

	http_next_fn *next; // NULL: not a stream
	http_closed_fn *closed;
	void *stream_arg;
	struct strbuf piece;
	size_t piece_sent;
	bool is_last;
	bool was_woken;
};

// ---- the client's time ----

static void client_clock_start(struct client *client)
{
	struct http_server *server = client->server;

	client->deadline_ms = loop_now_ms() + server->deadline_ms;
	if (!timer_is_pending(server->sweep))
		timer_start(server->sweep, server->deadline_ms / 4 + 1);
}

static void client_clock_stop(struct client *client)
{
	client->deadline_ms = 0;
}

static void on_sweep(void *arg)
{
	struct http_server *server = arg;
	uint64_t now = loop_now_ms();
	bool any = false;

	for (struct client *client = server->clients; client; client = client->next) {
		if (client->deadline_ms == 0)
			continue;
		any = true;
		if (now < client->deadline_ms)
			continue;
		log_rl(LOG_LEVEL_DEBUG, "http: drop a client that is too slow");
		// libmicrohttpd sees the end of the stream and closes by itself.
		(void)shutdown(client->fd, SHUT_RDWR);
	}
	if (any)
		timer_start(server->sweep, server->deadline_ms / 4 + 1);
}

// ---- connections that ask for nothing ----

static struct ip ip_of(const struct sockaddr *address)
{
	const struct in6_addr *v6;

	if (address && address->sa_family == AF_INET)
		return ip_from_bytes(AF_INET,
				     &((const struct sockaddr_in *)(const void *)address)->sin_addr);
	if (!address || address->sa_family != AF_INET6)
		return (struct ip){ 0 };
	v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	// What a socket of both families calls a client of IPv4.
	return IN6_IS_ADDR_V4MAPPED(v6) ? ip_from_bytes(AF_INET, &v6->s6_addr[12])
					: ip_from_bytes(AF_INET6, v6);
}

static struct ip peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	return ip_of(info ? info->client_addr : NULL);
}

// Cut at once if its address has too many.
static void pending_begin(struct client *client, struct MHD_Connection *connection)
{
	struct http_server *server = client->server;
	struct ip peer = peer_of(connection);
	char text[IP_STR_MAX];

	if (!server->pending)
		return;
	client->pending_slot = hash_bytes(&peer, sizeof(peer)) & (PENDING_SLOTS - 1);
	client->is_pending = true;
	if (server->pending[client->pending_slot]++ < server->pending_max)
		return;
	log_rl(LOG_LEVEL_WARN, "http: cut a connection of %s: it has %u that ask for nothing",
	       ip_str(&peer, text), server->pending_max);
	(void)shutdown(client->fd, SHUT_RDWR);
}

static void pending_end(struct client *client)
{
	if (client->is_pending)
		client->server->pending[client->pending_slot]--;
	client->is_pending = false;
}

// ---- connections ----

static bool client_may_enter(const struct http_server *server, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (!server->root_only)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return false;
	return peer.uid == 0;
}

// Before the first byte is read, so that the handshake has what is in force now.
static void client_secure(struct client *client, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	client->tls = tls_credentials_ref(client->server->tls);
	if (info && info->tls_session && tls_credentials_use(client->tls, info->tls_session) == 0)
		return;
	// What the library has instead takes nobody.
	log_rl(LOG_LEVEL_ERROR, "http: a connection cannot be secured");
}

static void client_open(struct http_server *server, struct MHD_Connection *connection, void **context)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct client *client = xnew(struct client);

	client->server = server;
	client->fd = info ? info->connect_fd : -1;
	client->is_allowed = client_may_enter(server, client->fd);
	if (server->tls)
		client_secure(client, connection);
	client->next = server->clients;
	if (client->next)
		client->next->previous = client;
	server->clients = client;
	client_clock_start(client);
	pending_begin(client, connection);
	*context = client;
}

static void client_close(struct client *client)
{
	if (client->next)
		client->next->previous = client->previous;
	if (client->previous)
		client->previous->next = client->next;
	else
		client->server->clients = client->next;
	pending_end(client);
	// At its limit of connections the daemon stops listening, and only looks at that when it is run.
	timer_start(client->server->turn, 0);
	tls_credentials_unref(client->tls);
	free(client);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		client_open(arg, connection, context);
	else if (*context)
		client_close(TAKE_PTR(*(struct client **)context));
}

// ---- exchanges ----

static struct http_exchange *exchange_new(struct http_server *server,
					  struct MHD_Connection *connection, const char *method,
					  const char *path)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_exchange *exchange = xnew(struct http_exchange);

	exchange->server = server;
	exchange->client = info->socket_context;
	exchange->client->exchange = exchange;
	exchange->connection = connection;
	exchange->path = xstrdup(path);
	exchange->method =
		xstrdup(strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ? MHD_HTTP_METHOD_GET : method);
	exchange->body = STRBUF_INIT(server->body_max);
	exchange->piece = STRBUF_INIT(HTTP_PIECE_MAX);
	return exchange;
}

static void exchange_free(struct http_exchange *exchange)
{
	if (exchange->next)
		exchange->closed(exchange->stream_arg);
	if (exchange->response)
		MHD_destroy_response(exchange->response);
	strbuf_free(&exchange->body);
	strbuf_free(&exchange->piece);
	free(exchange->path);
	free(exchange->method);
	free(exchange);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
			 enum MHD_RequestTerminationCode code)
{
	struct http_exchange *exchange = TAKE_PTR(*(struct http_exchange **)context);

	(void)arg;
	(void)connection;
	(void)code;
	if (!exchange)
		return;
	client_clock_start(exchange->client);
	exchange->client->exchange = NULL;
	exchange_free(exchange);
}

static void exchange_suspend(struct http_exchange *exchange)
{
	client_clock_stop(exchange->client);
	exchange->is_suspended = true;
	MHD_suspend_connection(exchange->connection);
}

static void exchange_resume(struct http_exchange *exchange)
{
	if (!exchange->is_suspended)
		return;
	exchange->is_suspended = false;
	client_clock_start(exchange->client);
	MHD_resume_connection(exchange->connection);
	// Its own wake-up descriptor is not among those that its epoll descriptor watches.
	timer_start(exchange->server->turn, 0);
}

static void exchange_hand_over(struct http_exchange *exchange)
{
	struct http_server *server = exchange->server;

	exchange->was_handed = true;
	if (!exchange->client->is_allowed)
		http_answer_text(exchange, MHD_HTTP_FORBIDDEN, "text/plain",
				 "only root may ask here\n");
	else if (exchange->body.overflow)
		http_answer_text(exchange, MHD_HTTP_CONTENT_TOO_LARGE, "text/plain",
				 "the request's body is too long\n");
	else
		server->handler(server->arg, exchange);
}

static void exchange_admit(struct http_exchange *exchange)
{
	const struct http_server *server = exchange->server;

	exchange->is_admitted = !server->admit || server->admit(server->arg, exchange);
	if (exchange->is_admitted)
		pending_end(exchange->client);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_len, void **context)
{
	struct http_exchange *exchange = *context;
	enum MHD_Result result;

	(void)version;
	if (!exchange) {
		exchange = *context = exchange_new(arg, connection, method, url);
		exchange_admit(exchange);
		return MHD_YES;
	}
	if (*upload_len > 0) {
		// A little more than what fits is read and dropped, so that the client gets to see why.
		if (!exchange->is_admitted || strbuf_add(&exchange->body, upload, *upload_len) < 0)
			exchange->surplus += *upload_len;
		if (exchange->surplus > SURPLUS_MAX)
			return MHD_NO;
		*upload_len = 0;
		return MHD_YES;
	}
	if (!exchange->was_handed)
		exchange_hand_over(exchange);
	if (!exchange->response) {
		exchange_suspend(exchange);
		return MHD_YES;
	}
	client_clock_start(exchange->client);
	result = MHD_queue_response(connection, exchange->status, exchange->response);
	MHD_destroy_response(TAKE_PTR(exchange->response));
	return result;
}

const char *http_exchange_method(const struct http_exchange *exchange)
{
	return exchange->method;
}

const char *http_exchange_path(const struct http_exchange *exchange)
{
	return exchange->path;
}

const char *http_exchange_query(const struct http_exchange *exchange, const char *name)
{
	return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *http_exchange_header(const struct http_exchange *exchange, const char *name)
{
	return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

struct ip http_exchange_peer(const struct http_exchange *exchange)
{
	return peer_of(exchange->connection);
}

bool http_exchange_is_admitted(const struct http_exchange *exchange)
{
	return exchange->is_admitted;
}

const char *http_exchange_body(const struct http_exchange *exchange, size_t *ret_len)
{
	*ret_len = exchange->body.len;
	return strbuf_text(&exchange->body);
}

// ---- answers ----

static void exchange_answer(struct http_exchange *exchange, unsigned int status,
			    const char *content_type, struct MHD_Response *response)
{
	assert(!exchange->response);
	if (!response)
		abort(); // only without memory
	(void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
	exchange->status = status;
	exchange->response = response;
	exchange_resume(exchange);
}

void http_answer(struct http_exchange *exchange, unsigned int status, const char *content_type,
		 const void *body, size_t len)
{
	exchange_answer(exchange, status, content_type,
			MHD_create_response_from_buffer(len, (void *)(uintptr_t)body,
							MHD_RESPMEM_MUST_COPY));
}

void http_answer_text(struct http_exchange *exchange, unsigned int status, const char *content_type,
		      const char *body)
{
	http_answer(exchange, status, content_type, body, strlen(body));
}

// Gets the next piece once the one before is with the kernel. 0: there is one, or the stream is over; -EAGAIN: not now.
static int stream_fill(struct http_exchange *exchange)
{
	int r;

	while (exchange->piece_sent == exchange->piece.len && !exchange->is_last) {
		strbuf_reset(&exchange->piece);
		exchange->piece_sent = 0;
		exchange->was_woken = false;
		r = exchange->next(exchange->stream_arg, &exchange->piece);
		if (exchange->piece.overflow)
			return -E2BIG;
		if (r == 0) {
			exchange->is_last = true;
		} else if (r == -EAGAIN && exchange->piece.len == 0 && !exchange->was_woken) {
			strbuf_free(&exchange->piece); // it may stay idle for days, and there are thousands
			return -EAGAIN;
		} else if (r < 0 && r != -EAGAIN) {
			return r;
		}
		client_clock_start(exchange->client);
	}
	return 0;
}

static ssize_t on_read(void *arg, uint64_t position, char *buf, size_t max)
{
	struct http_exchange *exchange = arg;
	size_t len;
	int r;

	(void)position;
	r = stream_fill(exchange);
	if (r == -EAGAIN) {
		exchange_suspend(exchange);
		return 0;
	}
	if (r < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	len = exchange->piece.len - exchange->piece_sent;
	if (len == 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (len > max)
		len = max;
	memcpy(buf, exchange->piece.data + exchange->piece_sent, len);
	exchange->piece_sent += len;
	return (ssize_t)len;
}

void http_answer_stream(struct http_exchange *exchange, unsigned int status, const char *content_type,
			http_next_fn *next, http_closed_fn *closed, void *arg)
{
	exchange->next = next;
	exchange->closed = closed;
	exchange->stream_arg = arg;
	exchange_answer(exchange, status, content_type,
			MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_read,
							  exchange, NULL));
}

void http_stream_wake(struct http_exchange *exchange)
{
	exchange->was_woken = true;
	exchange_resume(exchange);
}

// ---- the server ----

static void server_run(struct http_server *server)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	timer_stop(server->turn);
	(void)MHD_run(server->daemon);
	if (timer_is_pending(server->turn))
		return; // asked for by what ran
	if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES)
		timer_start(server->turn, wait_ms);
}

static void on_ready(void *arg, unsigned int events)
{
	(void)events;
	server_run(arg);
}

static void on_turn(void *arg)
{
	server_run(arg);
}

static void on_message(void *arg, const char *format, va_list args)
{
	char text[256];

	(void)arg;
	(void)vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	log_rl(LOG_LEVEL_DEBUG, "http: %s", text);
}

static int server_listen(struct http_server *server, const struct http_server_config *config,
			 int *ret_fd, struct err *e)
{
	struct stat st;
	int r;

	if (!config->unix_path)
		return listen_tcp(&config->address, config->port, ret_fd, &server->port, e);
	r = listen_unix(config->unix_path, ret_fd, e);
	if (r < 0)
		return r;
	if (lstat(config->unix_path, &st) == 0) {
		server->unix_path = xstrdup(config->unix_path);
		server->unix_device = st.st_dev;
		server->unix_inode = st.st_ino;
	}
	return 0;
}

// What a session has before client_secure: nothing, so that no session goes on with less than is asked for.
static int no_certificate(gnutls_session_t session, const gnutls_datum_t *ca_names, int ca_count,
			  const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
			  gnutls_pcert_st **ret, unsigned int *ret_count, gnutls_privkey_t *ret_key)
{
	(void)session;
	(void)ca_names;
	(void)ca_count;
	(void)algorithms;
	(void)algorithm_count;
	(void)ret;
	(void)ret_count;
	(void)ret_key;
	return -1;
}

static struct MHD_Daemon *daemon_start(struct http_server *server,
				       const struct http_server_config *config, int fd)
{
	unsigned int connections = config->connections_max > 0 ? config->connections_max
							       : CONNECTIONS_DEFAULT;

	const struct MHD_OptionItem tls[] = {
		{ MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES },
		{ MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)no_certificate },
		{ MHD_OPTION_END, 0, NULL },
	};
	const struct MHD_OptionItem plain[] = { { MHD_OPTION_END, 0, NULL } };
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (server->tls)
		flags |= MHD_USE_TLS;
	// The logger comes first: it holds for what later options have to say.
	// clang-format off
	return MHD_start_daemon(flags, 0,
		NULL, NULL, on_request, server,
		MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, connections,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, config->unix_path ? 0U : config->per_address_max,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, config->connection_memory > 0 ? config->connection_memory
						: (size_t)CONNECTION_MEMORY_DEFAULT,
		MHD_OPTION_CONNECTION_TIMEOUT, 0U,
		MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
		MHD_OPTION_ARRAY, server->tls ? tls : plain,
		MHD_OPTION_END);
	// clang-format on
}

// ---- TLS ----

static int tls_load(struct http_server *server, struct err *e)
{
	const struct tls_files files = { server->cert_file, server->key_file, server->ca_file };
	struct tls_credentials *tls;
	int r;

	if (!server->cert_file)
		return 0;
	r = tls_credentials_new(&files, &tls, e);
	if (r < 0)
		return r;
	tls_credentials_unref(server->tls);
	server->tls = tls;
	return 0;
}

int http_server_reload(struct http_server *server, struct err *e)
{
	return tls_load(server, e);
}

const char *http_server_pin(const struct http_server *server)
{
	return server->tls ? tls_credentials_pin(server->tls) : "";
}

int http_server_new(struct loop *loop, const struct http_server_config *config,
		    http_handler_fn *handler, void *arg, struct http_server **ret, struct err *e)
{
	const union MHD_DaemonInfo *info;
	struct http_server *server = xnew(struct http_server);
	_cleanup_close_ int fd = -1;
	int r;

	server->loop = loop;
	server->handler = handler;
	server->admit = config->admit;
	server->arg = arg;
	server->root_only = config->unix_path && config->root_only;
	server->body_max = config->body_max;
	server->deadline_ms = config->deadline_ms > 0 ? config->deadline_ms : DEADLINE_DEFAULT_MS;
	server->pending_max = config->pending_max;
	if (config->pending_max > 0 && !config->unix_path)
		server->pending = xnew0_array(uint16_t, PENDING_SLOTS);
	server->cert_file = xstrdup(config->tls.cert_file);
	server->key_file = xstrdup(config->tls.key_file);
	server->ca_file = xstrdup(config->tls.ca_file);
	r = tls_load(server, e);
	if (r == 0)
		r = server_listen(server, config, &fd, e);
	if (r < 0) {
		http_server_free(server);
		return r;
	}
	server->turn = timer_new(loop, on_turn, server);
	server->sweep = timer_new(loop, on_sweep, server);
	server->daemon = daemon_start(server, config, fd);
	info = server->daemon ? MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info) {
		http_server_free(server);
		return err_set(e, -EIO, "http: the server library does not start");
	}
	(void)TAKE_FD(fd); // closed by the daemon
	server->watch = fd_watch_new(loop, info->epoll_fd, on_ready, server);
	fd_watch_set(server->watch, FD_READABLE);
	*ret = server;
	return 0;
}

static void unix_path_remove(const struct http_server *server)
{
	struct stat st;

	if (server->unix_path && lstat(server->unix_path, &st) == 0 &&
	    st.st_dev == server->unix_device && st.st_ino == server->unix_inode)
		(void)unlink(server->unix_path); // a leftover does no harm: the next life replaces it
}

struct http_server *http_server_free(struct http_server *server)
{
	if (!server)
		return NULL;
	unix_path_remove(server);
	fd_watch_free(server->watch);
	// The daemon refuses to stop while something is suspended; it completes what is resumed without asking for more.
	for (struct client *client = server->clients; client; client = client->next)
		if (client->exchange)
			exchange_resume(client->exchange);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	timer_free(server->turn);
	timer_free(server->sweep);
	tls_credentials_unref(server->tls);
	free(server->cert_file);
	free(server->key_file);
	free(server->ca_file);
	free(server->unix_path);
	free(server->pending);
	free(server);
	return NULL;
}

uint16_t http_server_port(const struct http_server *server)
{
	return server->port;
}

unsigned int http_server_connections(const struct http_server *server)
{
	unsigned int count = 0;

	for (const struct client *client = server->clients; client; client = client->next)
		count++;
	return count;
}
