// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent serves over HTTP: the paths, the watchers, and plans that are waited for.
#include "agent/api.h"

#include "agent/log_control.h"
#include "core/json.h"
#include "core/log_subsystem.h"
#include "core/mem.h"
#include "core/text.h"
#include "io/http_server.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define CONNECTIONS_MAX 64
#define HEALTH_CONNECTIONS_MAX 32
#define HEALTH_PER_ADDRESS_MAX 8
#define HEALTH_DEADLINE_MS 10000
#define WATCHERS_MAX 16
#define WATCHER_QUEUE_MAX (1024 * 1024)
#define PLAN_WAITERS_MAX 16
#define HEARTBEAT_MS 10000
#define METRICS_MAX (4 * 1024 * 1024)
#define REASONS_MAX (64 * 1024)

#define TYPE_JSON "application/json"
#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"
#define TYPE_EVENTS "application/x-ndjson"

// A client of /agent/v1/watch.
struct watcher {
	struct watcher *next;
	struct api *api;
	struct http_exchange *exchange;
	char *network; // that it wants to hear of, NULL: all
	struct strbuf queue;
};

// A plan being made, for all who asked meanwhile.
struct plan_job {
	struct plan_job *next;
	struct api *api;
	char *network; // NULL: of all
	struct http_exchange *waiters[PLAN_WAITERS_MAX];
	size_t waiter_count;
};

struct api {
	const struct agent_view *view;
	void *arg;
	struct http_server *local;  // the unix socket
	struct http_server *health; // TCP, or NULL
	struct watcher *watchers;
	struct timer *heartbeat; // runs while there are watchers
	struct plan_job *plans;
};

// ---- answers ----

// Takes value over.
static void answer_json(struct http_exchange *exchange, unsigned int status, json_t *value)
{
	_cleanup_free_ char *text = json_text(value);
	size_t len = strlen(text);

	text[len] = '\n'; // in the terminator's place: a body has a length
	http_answer(exchange, status, TYPE_JSON, text, len + 1);
	json_decref(value);
}

static void answer_error(struct http_exchange *exchange, unsigned int status, const char *text)
{
	answer_json(exchange, status, json_pack("{s:s}", "error", text));
}

// Whom a request is about. False: it was answered.
static bool select_scope(struct api *api, struct http_exchange *exchange, void **ret)
{
	const char *network = http_exchange_query(exchange, "network");

	*ret = api->arg;
	if (!network || *network == '\0')
		return true;
	*ret = api->view->select ? api->view->select(api->arg, network) : NULL;
	if (!*ret)
		answer_error(exchange, 404, "this agent is in no network of this name");
	return *ret != NULL;
}

// NULL: of all.
static const char *asked_network(struct http_exchange *exchange)
{
	const char *network = http_exchange_query(exchange, "network");

	return network && *network != '\0' ? network : NULL;
}

static void serve_healthz(struct api *api, struct http_exchange *exchange)
{
	(void)api;
	http_answer_text(exchange, 200, TYPE_TEXT, "weftd is running\n");
}

static void serve_readyz(struct api *api, struct http_exchange *exchange)
{
	_cleanup_strbuf_ struct strbuf reasons = STRBUF_INIT(REASONS_MAX);
	void *scope;

	if (!select_scope(api, exchange, &scope))
		return;
	if (api->view->ready(scope, &reasons)) {
		http_answer_text(exchange, 200, TYPE_TEXT, "weftd is ready\n");
		return;
	}
	if (reasons.len == 0)
		strbuf_puts(&reasons, "weftd is not ready yet");
	if (reasons.data[reasons.len - 1] != '\n')
		strbuf_putc(&reasons, '\n');
	http_answer(exchange, 503, TYPE_TEXT, reasons.data, reasons.len);
}

static void serve_metrics(struct api *api, struct http_exchange *exchange)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(METRICS_MAX);

	api->view->metrics(api->arg, &out);
	http_answer(exchange, 200, TYPE_METRICS, strbuf_text(&out), out.len);
}

static void serve_status(struct api *api, struct http_exchange *exchange)
{
	void *scope;

	if (select_scope(api, exchange, &scope))
		answer_json(exchange, 200, api->view->status(scope));
}

static void serve_lease(struct api *api, struct http_exchange *exchange)
{
	void *scope;

	if (select_scope(api, exchange, &scope))
		answer_json(exchange, 200, api->view->lease(scope));
}

// ---- peers: one long document, in pieces ----

struct peers_answer {
	struct api *api;
	char *head; // what stands before the first
	void *iterator;
	json_t *(*next)(void *arg, void *iterator);
	void (*close)(void *arg, void *iterator);
	bool has_one;
};

static int peers_next(void *arg, struct strbuf *out)
{
	struct peers_answer *answer = arg;

	if (answer->head)
		strbuf_puts(out, answer->head);
	free(answer->head);
	answer->head = NULL;
	while (out->len < HTTP_PIECE_GOOD) {
		_cleanup_json_ json_t *peer = answer->next(answer->api->arg, answer->iterator);
		_cleanup_free_ char *text = NULL;

		if (!peer) {
			strbuf_puts(out, "]}\n");
			return 0;
		}
		text = json_text(peer);
		strbuf_puts(out, answer->has_one ? ",\n" : "\n");
		strbuf_puts(out, text);
		answer->has_one = true;
	}
	return 1;
}

static void peers_closed(void *arg)
{
	struct peers_answer *answer = arg;

	answer->close(answer->api->arg, answer->iterator);
	free(answer->head);
	free(answer);
}

// Takes over what like owns.
static void answer_peers(struct http_exchange *exchange, const struct peers_answer *like)
{
	struct peers_answer *answer = xmemdup(like, sizeof(*like));

	http_answer_stream(exchange, 200, TYPE_JSON, peers_next, peers_closed, answer);
}

static void serve_peers(struct api *api, struct http_exchange *exchange)
{
	const struct agent_view *view = api->view;
	void *scope;

	if (select_scope(api, exchange, &scope))
		answer_peers(exchange, &(struct peers_answer){ .api = api,
							       .head = xstrdup("{\"peers\":["),
							       .iterator = view->peers_open(scope),
							       .next = view->peers_next,
							       .close = view->peers_close });
}

static void serve_mesh(struct api *api, struct http_exchange *exchange)
{
	const struct agent_view *view = api->view;
	_cleanup_json_ json_t *head = NULL;
	_cleanup_free_ char *text = NULL;
	void *scope;

	if (!select_scope(api, exchange, &scope))
		return;
	head = view->mesh(scope);
	text = json_text(head);
	// An object with members: the list becomes the last of them.
	answer_peers(exchange, &(struct peers_answer){ .api = api,
						       .head = xasprintf("%.*s,\"peers\":[",
									 (int)strlen(text) - 1, text),
						       .iterator = view->mesh_open(scope),
						       .next = view->mesh_next,
						       .close = view->mesh_close });
}

// ---- plan: made once for all who ask meanwhile ----

static void plan_job_unlink(struct plan_job *job)
{
	struct plan_job **link = &job->api->plans;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
}

static void plan_job_free(struct plan_job *job)
{
	free(job->network);
	free(job);
}

static void on_plan(void *arg, int r, json_t *plan, const struct err *e)
{
	struct plan_job *job = arg;

	for (size_t i = 0; i < job->waiter_count; i++) {
		if (r < 0)
			answer_error(job->waiters[i], 503, e ? err_msg(e) : strerror(-r));
		else
			answer_json(job->waiters[i], 200, json_incref(plan));
	}
	json_decref(plan);
	plan_job_unlink(job);
	plan_job_free(job);
}

static struct plan_job *plan_job_new(struct api *api, const char *network)
{
	struct plan_job *job = xnew(struct plan_job);

	job->api = api;
	job->network = network ? xstrdup(network) : NULL;
	job->next = api->plans;
	api->plans = job;
	return job;
}

static void serve_plan(struct api *api, struct http_exchange *exchange)
{
	const char *network = asked_network(exchange);
	struct plan_job *job = NULL;
	size_t waiters = 0;
	bool is_first;
	void *scope;

	if (!select_scope(api, exchange, &scope))
		return;
	for (struct plan_job *at = api->plans; at; at = at->next) {
		waiters += at->waiter_count;
		if (text_equal(at->network, network))
			job = at;
	}
	if (waiters == PLAN_WAITERS_MAX) {
		answer_error(exchange, 503, "too many are waiting for a plan");
		return;
	}
	is_first = !job;
	if (is_first)
		job = plan_job_new(api, network);
	job->waiters[job->waiter_count++] = exchange;
	if (is_first)
		api->view->plan(scope, on_plan, job);
}

// ---- another key for WireGuard ----

static void on_rotated(void *arg, int r, json_t *answer, const struct err *e)
{
	struct http_exchange *exchange = arg;

	if (r < 0)
		answer_error(exchange, r == -EOPNOTSUPP ? 400 : 503, err_msg(e));
	else
		answer_json(exchange, 200, answer);
}

static void serve_rotate(struct api *api, struct http_exchange *exchange)
{
	void *scope;

	if (strcmp(http_exchange_method(exchange), "POST") != 0)
		answer_error(exchange, 405, "only POST is understood here");
	else if (select_scope(api, exchange, &scope))
		api->view->rotate(scope, on_rotated, exchange);
}

// ---- watch ----

static int watcher_next(void *arg, struct strbuf *out)
{
	struct watcher *watcher = arg;
	size_t len = watcher->queue.len < HTTP_PIECE_MAX ? watcher->queue.len : HTTP_PIECE_MAX;

	if (watcher->queue.overflow) {
		log_warn("api: drop a watcher that does not keep up");
		return -EPIPE;
	}
	if (len == 0)
		return -EAGAIN;
	strbuf_add(out, watcher->queue.data, len);
	strbuf_consume(&watcher->queue, len);
	if (watcher->queue.len == 0)
		strbuf_free(&watcher->queue); // a burst's memory goes with it
	return 1;
}

static void watcher_closed(void *arg)
{
	struct watcher *watcher = arg;
	struct api *api = watcher->api;
	struct watcher **link = &api->watchers;

	while (*link != watcher)
		link = &(*link)->next;
	*link = watcher->next;
	if (!api->watchers)
		timer_stop(api->heartbeat);
	strbuf_free(&watcher->queue);
	free(watcher->network);
	free(watcher);
}

static void watcher_add(struct watcher *watcher, const char *line, size_t len)
{
	// The flag of an overflow stays: the next piece ends the stream.
	(void)strbuf_add(&watcher->queue, line, len);
	http_stream_wake(watcher->exchange);
}

static json_t *time_now(void)
{
	struct timespec now;
	char text[40];
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)text_format(text + len, sizeof(text) - len, ".%03ldZ", now.tv_nsec / 1000000); // fits
	return json_string(text);
}

// One line with the time in front. Takes event over.
static char *event_line(json_t *event)
{
	_cleanup_json_ json_t *whole = json_object();
	_cleanup_free_ char *text = NULL;

	json_object_set_new(whole, "time", time_now());
	json_object_update(whole, event);
	json_decref(event);
	text = json_text(whole);
	return xasprintf("%s\n", text);
}

bool api_has_watchers(const struct api *api)
{
	return api && api->watchers;
}

void api_publish(struct api *api, json_t *event)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_free_ char *network = NULL;

	if (!api_has_watchers(api)) {
		json_decref(event);
		return;
	}
	if (json_object_get(event, "network"))
		network = xstrdup(json_string_value(json_object_get(event, "network")));
	line = event_line(event);
	for (struct watcher *watcher = api->watchers; watcher; watcher = watcher->next)
		if (!network || !watcher->network || strcmp(network, watcher->network) == 0)
			watcher_add(watcher, line, strlen(line));
}

static void on_heartbeat(void *arg)
{
	struct api *api = arg;

	timer_start(api->heartbeat, HEARTBEAT_MS);
	api_publish(api, json_pack("{s:s}", "event", "heartbeat"));
}

static void serve_watch(struct api *api, struct http_exchange *exchange)
{
	_cleanup_free_ char *line = NULL;
	struct watcher *watcher;
	size_t count = 0;
	void *scope;

	if (!select_scope(api, exchange, &scope))
		return;
	for (watcher = api->watchers; watcher; watcher = watcher->next)
		count++;
	if (count >= WATCHERS_MAX) {
		answer_error(exchange, 503, "too many are watching");
		return;
	}
	watcher = xnew(struct watcher);
	watcher->api = api;
	watcher->exchange = exchange;
	watcher->network = asked_network(exchange) ? xstrdup(asked_network(exchange)) : NULL;
	watcher->queue = STRBUF_INIT(WATCHER_QUEUE_MAX);
	if (!api->watchers)
		timer_start(api->heartbeat, HEARTBEAT_MS);
	watcher->next = api->watchers;
	api->watchers = watcher;
	http_answer_stream(exchange, 200, TYPE_EVENTS, watcher_next, watcher_closed, watcher);
	// So that a client knows at once that it is heard.
	line = event_line(json_pack("{s:s}", "event", "heartbeat"));
	watcher_add(watcher, line, strlen(line));
}

// ---- the log ----

// POST with ?set=LEVEL or ?set=PART=LEVEL changes it.
static void serve_log(struct api *api, struct http_exchange *exchange)
{
	const char *set = http_exchange_query(exchange, "set");
	struct err e;

	(void)api;
	if (strcmp(http_exchange_method(exchange), "POST") == 0) {
		if (log_change(set ? set : "", &e) < 0) {
			answer_error(exchange, 400, err_msg(&e));
			return;
		}
		log_info("api: the log is now at %s, as was asked over the socket", set);
	}
	answer_json(exchange, 200, log_control_view());
}

// ---- paths ----

static const struct route {
	const char *path;
	bool is_public; // over TCP too
	bool may_post;
	void (*serve)(struct api *api, struct http_exchange *exchange);
} routes[] = {
	{ "/healthz", true, false, serve_healthz },
	{ "/readyz", true, false, serve_readyz },
	{ "/metrics", true, false, serve_metrics },
	{ "/agent/v1/status", false, false, serve_status },
	{ "/agent/v1/lease", false, false, serve_lease },
	{ "/agent/v1/peers", false, false, serve_peers },
	{ "/agent/v1/plan", false, false, serve_plan },
	{ "/agent/v1/watch", false, false, serve_watch },
	{ "/agent/v1/log", false, true, serve_log },
	{ "/agent/v1/wireguard/rotate", false, true, serve_rotate },
	{ "/agent/v1/mesh", false, false, serve_mesh },
	{ "/mesh", true, false, serve_mesh },
};

#define IPAM_PATH "/agent/v1/ipam/"

static bool is_allowed(const struct route *route, const char *method)
{
	return strcmp(method, "GET") == 0 || (route->may_post && strcmp(method, "POST") == 0);
}

static void serve(struct api *api, struct http_exchange *exchange, bool is_public)
{
	log_debug("api: %s %s", http_exchange_method(exchange), http_exchange_path(exchange));
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(routes[i].path, http_exchange_path(exchange)) != 0 ||
		    (is_public && !routes[i].is_public))
			continue;
		if (!is_allowed(&routes[i], http_exchange_method(exchange)))
			answer_error(exchange, 405, "only GET is understood here");
		else
			routes[i].serve(api, exchange);
		return;
	}
	if (!is_public && api->view->ipam &&
	    strncmp(http_exchange_path(exchange), IPAM_PATH, strlen(IPAM_PATH)) == 0)
		api->view->ipam(api->arg, exchange);
	else
		answer_error(exchange, 404, "no such path");
}

static void on_local_request(void *arg, struct http_exchange *exchange)
{
	serve(arg, exchange, false);
}

static void on_health_request(void *arg, struct http_exchange *exchange)
{
	serve(arg, exchange, true);
}

int api_new(struct loop *loop, const struct api_config *config, const struct agent_view *view,
	    void *arg, struct api **ret, struct err *e)
{
	const struct http_server_config local = {
		.unix_path = config->socket_path,
		.root_only = true,
		.connections_max = CONNECTIONS_MAX,
		.body_max = API_BODY_MAX,
	};
	const struct http_server_config health = {
		.address = config->health_address,
		.port = config->health_port,
		.connections_max = HEALTH_CONNECTIONS_MAX,
		.per_address_max = HEALTH_PER_ADDRESS_MAX,
		.deadline_ms = HEALTH_DEADLINE_MS,
	};
	struct api *api = xnew(struct api);
	int r;

	api->view = view;
	api->arg = arg;
	api->heartbeat = timer_new(loop, on_heartbeat, api);
	r = http_server_new(loop, &local, on_local_request, api, &api->local, e);
	if (r == 0 && config->health_port != 0) {
		r = http_server_new(loop, &health, on_health_request, api, &api->health, e);
		if (r < 0)
			err_wrap(e, "health");
	}
	if (r < 0) {
		api_free(api);
		return r;
	}
	*ret = api;
	return 0;
}

struct api *api_free(struct api *api)
{
	struct plan_job *job;

	if (!api)
		return NULL;
	http_server_free(api->local);
	http_server_free(api->health);
	timer_free(api->heartbeat);
	while ((job = api->plans)) {
		api->plans = job->next;
		plan_job_free(job);
	}
	free(api);
	return NULL;
}
