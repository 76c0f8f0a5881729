// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the controller's life, its paths, and which keys are its own.
#include "controller/controller_internal.h"

#include "controller/guard.h"
#include "controller/tokens.h"
#include "controller/v1.h"
#include "core/log.h"
#include "core/mem.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

#define BODY_MAX (2 * 1024 * 1024) // more than an etcd takes in a request
#define CONNECTIONS_MAX 12000
#define CONNECTION_MEMORY (16 * 1024)
#define PER_ADDRESS_MAX 6000 // half of them: no single address keeps others out
#define PENDING_MAX 1024     // of one address, that have asked for nothing yet
#define RETRY_MS 1000	     // for a client that was put off
#define TYPE_TEXT "text/plain"

// ---- answers ----

void answer_json(struct http_exchange *exchange, unsigned int status, json_t *value)
{
	_cleanup_free_ char *text = json_text(value);

	http_answer_text(exchange, status, TYPE_JSON, text);
	json_decref(value);
}

void answer_error(struct http_exchange *exchange, int r, const char *text)
{
	unsigned int status = 503;

	if (r == -EINVAL)
		status = 400;
	else if (r == -EACCES)
		status = 403;
	else if (r == -ENOENT)
		status = 404;
	else if (r == -EINPROGRESS || r == -ETIMEDOUT)
		status = 504;
	answer_json(exchange, status, wire_error(r, text));
}

void answer_busy(struct http_exchange *exchange, const struct caller *caller, uint32_t retry_ms,
		 const char *why)
{
	json_t *answer = wire_error(-EBUSY, why);
	char address[IP_STR_MAX];

	log_rl(LOG_LEVEL_WARN, "controller: put off a client at %s: %s",
	       ip_str(&caller->peer, address), why);
	json_object_set_new(answer, "retry_ms", json_integer(retry_ms));
	answer_json(exchange, 429, answer);
}

// ---- keys ----

// Also of a prefix: one that is hidden has nothing to show.
bool is_our_key(const struct controller *controller, const char *key, size_t len)
{
	size_t prefix_len = strlen(controller->prefix);

	return len >= prefix_len && len <= WIRE_KEY_MAX &&
	       memcmp(key, controller->prefix, prefix_len) == 0 &&
	       !guard_is_hidden(controller, key, len);
}

int read_our_key(const struct controller *controller, const json_t *object, const char *name,
		 char **ret, size_t *ret_len, struct err *e)
{
	int r = wire_read_bytes(object, name, ret, ret_len, e);

	if (r < 0 || is_our_key(controller, *ret, *ret_len))
		return r;
	free(*ret);
	*ret = NULL;
	return err_set(e, -EACCES, "%s: not below %s", name, controller->prefix);
}

// ---- requests ----

static const struct route {
	const char *path;
	enum request_kind kind;
	void (*serve)(struct controller *controller, struct http_exchange *exchange,
		      const json_t *request);
} routes[] = {
	{ "/v2/range", REQUEST_RANGE, serve_range },
	{ "/v2/txn", REQUEST_TXN, serve_txn },
	{ "/v2/watch", REQUEST_WATCH, serve_watch },
	{ "/v2/session/open", REQUEST_SESSION, serve_session_open },
	{ "/v2/session/keep-alive", REQUEST_SESSION, serve_session_keep_alive },
	{ "/v2/session/query", REQUEST_SESSION, serve_session_query },
	{ "/v2/session/close", REQUEST_SESSION, serve_session_close },
	{ "/v2/token/create", REQUEST_TOKEN, serve_token_create },
	{ "/v2/token/list", REQUEST_TOKEN, serve_token_list },
	{ "/v2/token/revoke", REQUEST_TOKEN, serve_token_revoke },
};

static void serve_request(struct controller *controller, struct http_exchange *exchange,
			  const struct route *route)
{
	_cleanup_json_ json_t *request = NULL;
	struct err e;
	size_t len;
	const char *body = http_exchange_body(exchange, &len);

	controller->counts.requests[route->kind]++;
	if (strcmp(http_exchange_method(exchange), "POST") != 0)
		answer_json(exchange, 405, wire_error(-EINVAL, "only POST is understood here"));
	else if (json_read(body, len, BODY_MAX, &request, &e) < 0)
		answer_error(exchange, -EINVAL, err_msg(&e));
	else
		route->serve(controller, exchange, request);
}

static bool is_get(struct http_exchange *exchange)
{
	if (strcmp(http_exchange_method(exchange), "GET") == 0)
		return true;
	answer_json(exchange, 405, wire_error(-EINVAL, "only GET is understood here"));
	return false;
}

static void serve_health(const struct controller *controller, struct http_exchange *exchange,
			 bool asks_ready)
{
	const struct err *why;
	_cleanup_free_ char *text = NULL;

	if (!is_get(exchange))
		return;
	if (asks_ready && !mirror_is_up(controller->mirror, &why)) {
		text = xasprintf("the store is not reached: %s\n",
				 why->code < 0 ? err_msg(why) : "it has not answered yet");
		http_answer_text(exchange, 503, TYPE_TEXT, text);
	} else {
		http_answer_text(exchange, 200, TYPE_TEXT, "ok\n");
	}
}

// Clients of the API of flannel's have no token.
static bool is_granted(const struct controller *controller, const struct http_exchange *exchange,
		       const struct caller *caller)
{
	return v1_is_path(http_exchange_path(exchange)) ? v1_is_open(controller->v1)
							: access_is_granted(caller->role);
}

// One whose token is good was not admitted because there were too many before it.
static void refuse(struct controller *controller, struct http_exchange *exchange)
{
	struct caller caller;

	access_caller(controller, exchange, &caller);
	if (is_granted(controller, exchange, &caller)) {
		controller->counts.put_off++;
		answer_busy(exchange, &caller, RETRY_MS, "too many requests");
	} else {
		controller->counts.refused++;
		access_refuse(exchange, caller.role);
	}
}

static void on_request(void *arg, struct http_exchange *exchange)
{
	struct controller *controller = arg;
	const char *path = http_exchange_path(exchange);
	bool asks_ready = strcmp(path, "/readyz") == 0;

	log_debug("controller: %s %s", http_exchange_method(exchange), path);

	if (asks_ready || strcmp(path, "/healthz") == 0) {
		serve_health(controller, exchange, asks_ready);
		return;
	}
	if (v1_is_path(path) && (http_exchange_is_admitted(exchange) || !v1_is_open(controller->v1))) {
		controller->counts.requests[REQUEST_FLANNEL]++;
		v1_serve(controller->v1, exchange);
		return;
	}
	if (!http_exchange_is_admitted(exchange)) {
		refuse(controller, exchange);
		return;
	}
	if (strcmp(path, "/metrics") == 0) {
		if (is_get(exchange))
			serve_metrics(controller, exchange);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, path) == 0) {
			serve_request(controller, exchange, &routes[i]);
			return;
		}
	}
	answer_json(exchange, 404, wire_error(-EINVAL, "no such path"));
}

static bool on_head(void *arg, const struct http_exchange *exchange)
{
	const struct controller *controller = arg;
	struct caller caller;

	access_caller(controller, exchange, &caller);
	return is_granted(controller, exchange, &caller) &&
	       limits_take(controller->limits, &caller) == 0;
}

// ---- the mirror's news ----

static void on_mirror_changed(void *arg)
{
	const struct controller *controller = arg;

	ranges_go_on(arg);
	v1_changed(controller->v1);
	watchers_wake_soon(arg);
}

static void on_mirror_replaced(void *arg)
{
	struct controller *controller = arg;

	controller->written = 0;
	watchers_lose(controller);
	v1_replaced(controller->v1);
	ranges_go_on(controller);
}

static const struct mirror_hooks mirror_hooks = {
	.changed = on_mirror_changed,
	.state = on_mirror_changed,
	.replaced = on_mirror_replaced,
};

// ---- life ----

int controller_new(struct kv *kv, const struct controller_config *config, struct controller **ret,
		   struct err *e)
{
	struct controller *controller = xnew(struct controller);
	struct http_server_config http = config->http;
	size_t len = strlen(config->prefix);
	int r;

	while (len > 0 && config->prefix[len - 1] == '/')
		len--;
	controller->kv = kv;
	controller->loop = kv_loop(kv);
	controller->prefix = xasprintf("%.*s/", (int)len, config->prefix);
	controller->late = timer_new(controller->loop, range_late, controller);
	access_init(&controller->access, config->token);
	controller->limits = limits_new(config->rate);
	controller->trim = timer_new(controller->loop, range_trim, controller);
	controller->wake = timer_new(controller->loop, watchers_wake, controller);
	controller->v1 = v1_new(controller, !config->token || config->http.tls.ca_file);
	http.connection_memory = CONNECTION_MEMORY;
	http.body_max = BODY_MAX;
	http.admit = on_head;
	http.connections_max = CONNECTIONS_MAX;
	http.per_address_max = PER_ADDRESS_MAX;
	http.pending_max = PENDING_MAX;
	r = http_server_new(controller->loop, &http, on_request, controller, &controller->server, e);
	if (r < 0) {
		controller_free(controller);
		return r;
	}
	controller->mirror = mirror_new(kv, controller->prefix, &mirror_hooks, controller);
	*ret = controller;
	return 0;
}

struct controller *controller_free(struct controller *controller)
{
	if (!controller)
		return NULL;
	ranges_end(controller);
	ops_end(controller);
	v1_end(controller->v1);
	tokens_end(controller);
	http_server_free(controller->server);
	mirror_free(controller->mirror);
	v1_free(controller->v1);
	timer_free(controller->late);
	timer_free(controller->trim);
	timer_free(controller->wake);
	free(controller->prefix);
	access_free(&controller->access);
	limits_free(controller->limits);
	free(controller);
	return NULL;
}

int controller_reload(struct controller *controller, struct err *e)
{
	return http_server_reload(controller->server, e);
}

void controller_set_token(struct controller *controller, const char *token)
{
	access_init(&controller->access, token);
}

const char *controller_pin(const struct controller *controller)
{
	return http_server_pin(controller->server);
}

uint16_t controller_port(const struct controller *controller)
{
	return http_server_port(controller->server);
}
