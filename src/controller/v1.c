// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the paths of the API of flannel 0.5 to 0.7, and what a request's path and body say.
#include "controller/v1_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "store/v1_wire.h"

#include <errno.h>
#include <string.h>

#define BASE "/v1"
#define TYPE_PLAIN "text/plain; charset=utf-8"

// ---- answers ----

void v1_answer_text(struct http_exchange *exchange, unsigned int status, const char *text)
{
	_cleanup_free_ char *line = xasprintf("%s\n", text);

	http_answer_text(exchange, status, TYPE_PLAIN, line);
}

void v1_answer_error(struct http_exchange *exchange, const char *text)
{
	v1_answer_text(exchange, 500, text);
}

// ---- paths ----

enum v1_body { BODY_NONE, BODY_ATTRS, BODY_LEASE, BODY_RESERVATION };

// Behind the network: what, and whether a subnet follows.
static const struct v1_route {
	const char *method;
	const char *what;
	bool has_subnet;
	enum v1_body body; // PUT: the body's subnet counts, not the path's
	v1_step_fn *serve;
} routes[] = {
	{ "GET", "config", false, BODY_NONE, v1_serve_config },
	{ "GET", "leases", false, BODY_NONE, v1_serve_snapshot },
	{ "POST", "leases", false, BODY_ATTRS, v1_serve_acquire },
	{ "GET", "leases", true, BODY_NONE, v1_serve_lease },
	{ "PUT", "leases", true, BODY_LEASE, v1_serve_renew },
	{ "DELETE", "leases", true, BODY_NONE, v1_serve_revoke },
	{ "GET", "reservations", false, BODY_NONE, v1_serve_reservations },
	{ "POST", "reservations", false, BODY_RESERVATION, v1_serve_reserve },
	{ "DELETE", "reservations", true, BODY_NONE, v1_serve_unreserve },
};

struct v1_path {
	char *network; // "": of all networks
	char *what;
	char *subnet; // NULL: none
};

static void path_free(struct v1_path *path)
{
	free(path->network);
	free(path->what);
	free(path->subnet);
}

// What is behind BASE.
static void split(const char *text, struct v1_path *ret)
{
	size_t network_len, what_len;

	text += *text == '/' ? 1 : 0;
	network_len = strcspn(text, "/");
	ret->network = xstrndup(text, network_len);
	text += network_len;
	text += *text == '/' ? 1 : 0;
	what_len = strcspn(text, "/");
	ret->what = xstrndup(text, what_len);
	ret->subnet = text[what_len] == '/' ? xstrdup(text + what_len + 1) : NULL;
}

// NULL: *ret_known says whether another method would do.
static const struct v1_route *find_route(const struct v1_path *path, const char *method, bool *ret_known)
{
	*ret_known = false;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const struct v1_route *route = &routes[i];

		if (strcmp(route->what, path->what) != 0 || route->has_subnet != (path->subnet != NULL))
			continue;
		*ret_known = true;
		if (strcmp(route->method, method) == 0)
			return route;
	}
	return NULL;
}

// ---- bodies ----

static int read_reservation(const json_t *object, struct v1_request *request, struct err *e)
{
	_cleanup_json_ json_t *attrs = json_object();
	int r = v1_read_subnet(object, &request->subnet, e);

	if (r < 0)
		return r;
	(void)json_object_set(attrs, "PublicIP", json_member(object, "PublicIP"));
	return v1_read_attrs(attrs, &request->attrs, e);
}

static int read_lease(const json_t *object, struct v1_request *request, struct err *e)
{
	struct v1_lease lease = { 0 };
	int r = v1_read_lease(object, &lease, e);

	if (r < 0)
		return r;
	request->subnet = lease.subnet;
	request->attrs = lease.attrs;
	return 0;
}

static int read_body(struct v1_request *request, enum v1_body kind, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	size_t len;
	const char *body = http_exchange_body(request->exchange, &len);
	int r;

	if (kind == BODY_NONE)
		return 0;
	r = json_read(body, len, V1_BODY_MAX, &object, e);
	if (r == 0 && kind == BODY_ATTRS)
		r = v1_read_attrs(object, &request->attrs, e);
	else if (r == 0 && kind == BODY_LEASE)
		r = read_lease(object, request, e);
	else if (r == 0)
		r = read_reservation(object, request, e);
	return r < 0 ? err_wrap(e, "JSON decoding error") : 0;
}

// ---- requests ----

static void serve_route(struct v1 *v1, struct http_exchange *exchange, const struct v1_route *route,
			const struct v1_path *path)
{
	struct v1_network *network = v1_network_get(v1, path->network);
	const char *cursor = http_exchange_query(exchange, "next");
	struct v1_request *request;
	struct err e;

	if (!network) {
		v1_answer_text(exchange, 404, "404 page not found");
		return;
	}
	request = v1_request_new(v1, exchange, network);
	if (route->has_subnet && v1_parse_subnet(path->subnet, &request->subnet, &e) < 0) {
		v1_answer_text(exchange, 400, "bad subnet");
		v1_request_end(request);
	} else if (read_body(request, route->body, &e) < 0) {
		v1_answer_text(exchange, 400, err_msg(&e));
		v1_request_end(request);
	} else if (cursor && strcmp(route->method, "GET") == 0 && strcmp(path->what, "leases") == 0) {
		v1_serve_poll(request);
	} else {
		v1_request_wait(request, route->serve);
	}
}

static void serve_networks(struct v1 *v1, struct http_exchange *exchange)
{
	struct v1_request *request = v1_request_new(v1, exchange, NULL);
	const char *cursor = http_exchange_query(exchange, "next");

	if (cursor)
		v1_serve_poll(request);
	else
		v1_request_wait(request, v1_serve_snapshot);
}

bool v1_is_path(const char *path)
{
	size_t len = strlen(BASE);

	return strncmp(path, BASE, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool v1_is_open(const struct v1 *v1)
{
	return v1->is_open;
}

void v1_serve(struct v1 *v1, struct http_exchange *exchange)
{
	const char *method = http_exchange_method(exchange);
	struct v1_path path = { 0 };
	const struct v1_route *route;
	bool is_known;

	if (!v1->is_open) {
		v1_answer_text(exchange, 401,
			       "clients of this API cannot have a token: the controller serves it with "
			       "client certificates (--remote-cafile) or with --insecure");
		return;
	}
	split(http_exchange_path(exchange) + strlen(BASE), &path);
	route = find_route(&path, method, &is_known);
	if (path.network[0] == '\0' && path.what[0] == '\0' && !path.subnet) {
		if (strcmp(method, "GET") == 0)
			serve_networks(v1, exchange);
		else
			v1_answer_text(exchange, 405, "405 method not allowed");
	} else if (route) {
		serve_route(v1, exchange, route, &path);
	} else if (is_known) {
		v1_answer_text(exchange, 405, "405 method not allowed");
	} else {
		v1_answer_text(exchange, 404, "404 page not found");
	}
	path_free(&path);
}

// ---- news and time ----

#define POLLS_A_MS 50 // for each so many changes are gathered for a millisecond
#define GATHER_MAX_MS 100

static void on_wake(void *arg)
{
	struct v1 *v1 = arg;

	v1_requests_go_on(v1);
	v1_polls_wake(v1);
}

static void on_tick(void *arg)
{
	struct v1 *v1 = arg;

	v1_requests_tick(v1);
	v1_polls_tick(v1);
	if (v1->requests || v1->polls)
		v1_tick_soon(v1);
}

void v1_changed(struct v1 *v1)
{
	size_t delay_ms = v1->poll_count / POLLS_A_MS;

	v1_requests_go_on(v1);
	if (v1->polls && !timer_is_pending(v1->wake))
		timer_start(v1->wake, delay_ms < GATHER_MAX_MS ? delay_ms : GATHER_MAX_MS);
}

void v1_replaced(struct v1 *v1)
{
	for (struct v1_request *request = v1->requests; request; request = request->next)
		request->revision = 0;
	v1_polls_lose(v1);
	v1_requests_go_on(v1);
}

// ---- life ----

#define POLL_MS 600000
#define BLANK_MS 30000

struct v1 *v1_new(struct controller *controller, bool is_open)
{
	struct v1 *v1 = xnew(struct v1);

	v1->controller = controller;
	v1->is_open = is_open;
	v1->poll_ms = POLL_MS;
	v1->blank_ms = BLANK_MS;
	v1->tick = timer_new(controller->loop, on_tick, v1);
	v1->wake = timer_new(controller->loop, on_wake, v1);
	return v1;
}

void v1_end(struct v1 *v1)
{
	v1_requests_end(v1);
}

struct v1 *v1_free(struct v1 *v1)
{
	if (!v1)
		return NULL;
	v1_networks_free(v1);
	timer_free(v1->tick);
	timer_free(v1->wake);
	free(v1);
	return NULL;
}
