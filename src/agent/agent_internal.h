// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what agent.c (wiring and hooks), bring_up.c (interface and backend), view.c and plan_view.c (what it tells) share.
#pragma once

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/host_lock.h"
#include "agent/interface.h"
#include "agent/notify.h"
#include "agent/state_file.h"
#include "agent/subnet_env.h"
#include "backend/backend.h"
#include "fabric/fabric.h"
#include "kernel/monitor.h"
#include "kernel/netlink.h"
#include "reconcile/reconcile.h"
#include "store/registry.h"

struct agent {
	struct loop *loop;
	const struct options *options;
	const struct server_access *serves; // NULL: no store of others
	uint64_t started_ms;
	int fatal; // why agent_run ends, if not by a signal
	struct err fatal_err;

	struct host_lock *lock;
	struct notify *notify;
	struct netlink *nl;
	struct monitor *monitor;
	struct fd_watch *monitor_watch;
	struct signal_watch *signals[3];
	struct timer *bring_up_timer; // tries again, and gathers changes of the underlay
	struct timer *watchdog_timer;

	struct kv *kv;
	bool store_was_up; // in this life
	struct registry *registry;
	struct fabric *fabric;
	struct state state; // what was on disk at start: MACs
	struct state_file *state_file;

	struct err config_error;   // code 0: none
	struct err bring_up_error; // interface or backend
	struct err device_error;
	bool chosen;
	struct underlay_choice choice;
	struct underlay underlay;
	struct backend *backend;
	struct strbuf restart_needed; // one config member a line
	struct subnet_env env;	      // as last written
	bool env_written;
	char *env_error;

	struct reconcile *reconcile;
	bool peers_known;
	bool peers_partial; // more of them are coming
	struct api *api;
	api_plan_fn *plan_done;
	void *plan_done_arg;
	json_t *plan_changes; // of the plan being made
	size_t plan_total;
};

// ---- bring_up.c ----
// Chooses the interface, opens the backend and its devices and joins the fabric, or notes why not and tries again later.
void bring_up(struct agent *agent);
// Something about links, addresses or routes changed: look again, soon.
void bring_up_again_soon(struct agent *agent);
// The config changed after the backend was opened.
void take_config(struct agent *agent, const struct netconf *conf);
// Writes subnet.env if the lease and the backend are known.
void write_subnet_env(struct agent *agent);

// ---- view.c ----
extern const struct agent_view agent_view_of_agent;
json_t *view_lease(const struct agent *agent);
json_t *view_peer(struct agent *agent, const struct lease *lease);
