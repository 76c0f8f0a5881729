// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the agent serves over HTTP: the paths, and how the agent's state gets there. What each answer holds is
// told in docs/api.md.
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "core/strbuf.h"
#include "io/loop.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define API_SOCKET_NAME "weft.sock" // in the run directory
#define API_SOCKET_DEFAULT "/run/weft/weft.sock"
#define API_BODY_MAX (64 * 1024)
#define API_PLAN_CHANGES_MAX 10000 // more are only counted, in "total"

struct api;
struct http_exchange;

// plan: {"changes":[{"verb","kind","object"}],"total":n}, taken over; NULL with r < 0 and e. May be called before
// agent_view.plan returns. Exactly once for each call of it, and not after api_free.
typedef void api_plan_fn(void *done_arg, int r, json_t *plan, const struct err *e);

// answer: {"public_key","old_public_key","took_ms"}, taken over; NULL with r < 0 and e. As api_plan_fn otherwise.
typedef void api_rotate_fn(void *done_arg, int r, json_t *answer, const struct err *e);

// What the agent tells about itself. All functions get the `arg` of api_new, or what select made of it, and run in the loop. New references.
struct agent_view {
	json_t *(*status)(void *arg);
	json_t *(*lease)(void *arg);
	// For ?network=NAME: the arg that has the others tell of this network alone, to be used at once; peers_next and peers_close get that
	// of api_new all the same. NULL: there is none of this name, or the only one has no name.
	void *(*select)(void *arg, const char *network);
	// The peers one by one, over many turns of the loop, so that a long list holds nobody up. The iterator is the
	// agent's; a peer that is there all the time comes at least once, one that comes or goes meanwhile may be missing.
	void *(*peers_open)(void *arg);
	json_t *(*peers_next)(void *arg, void *iterator); // NULL at the end
	void (*peers_close)(void *arg, void *iterator);
	// What was measured: what is told before "peers", and the peers as above.
	json_t *(*mesh)(void *arg);
	void *(*mesh_open)(void *arg);
	json_t *(*mesh_next)(void *arg, void *iterator);
	void (*mesh_close)(void *arg, void *iterator);
	// Asynchronous: a scan takes several turns. The api never asks for a second plan of the same scope before the first
	// is done.
	void (*plan)(void *arg, api_plan_fn *done, void *done_arg);
	// Requests below /agent/v1/ipam/, with the arg of api_new: answers them, at once or later. NULL: there are none.
	void (*ipam)(void *arg, struct http_exchange *exchange);
	// Asynchronous: another key for WireGuard. -EBUSY: one is being made.
	void (*rotate)(void *arg, api_rotate_fn *done, void *done_arg);
	// false: adds why, one reason a line.
	bool (*ready)(void *arg, struct strbuf *reasons);
	void (*metrics)(void *arg, struct strbuf *out); // with io/metrics.h
};

struct api_config {
	const char *socket_path;
	struct ip health_address; // serves /healthz, /readyz, /metrics and /mesh over TCP
	uint16_t health_port;	  // 0: no TCP
};

// The view is borrowed and must outlive the api.
int api_new(struct loop *loop, const struct api_config *config, const struct agent_view *view,
	    void *arg, struct api **ret, struct err *e);
struct api *api_free(struct api *api);

// Tells all watchers, of an event with "network" those of that network and those of all. Takes event over, an object with "event" and
// more ("time" is put in front). Cheap without watchers:
// ask api_has_watchers before building one.
void api_publish(struct api *api, json_t *event);
bool api_has_watchers(const struct api *api);
