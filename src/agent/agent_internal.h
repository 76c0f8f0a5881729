// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the parts of the agent share. What belongs to the host is in struct agent, what belongs to one network in struct network; one
// with an empty name, at the prefix itself, is the usual case.
#pragma once

#include "agent/agent.h"
#include "agent/api.h"
#include "agent/extension.h"
#include "agent/interface.h"
#include "agent/notify.h"
#include "agent/state_file.h"
#include "agent/subnet_env.h"
#include "agent/udp_process.h"
#include "backend/backend.h"
#include "fabric/fabric.h"
#include "kernel/monitor.h"
#include "kernel/netlink.h"
#include "masq/masq.h"
#include "probe/prober.h"
#include "reconcile/reconcile.h"
#include "store/owner.h"
#include "store/registry.h"

struct ipam;
struct docker_plugin;
struct ipam_del_dir;
struct network;

#define NETWORKS_STATE_DIR \
	"networks" // in the state directory, with a directory for each network that has a name

// What the API tells of: one network, or (NULL) the host with all of them.
struct view_scope {
	struct agent *agent;
	struct network *network;
};

struct agent {
	struct loop *loop;
	const struct options *options;
	const struct server_access *serves; // NULL: no store of others
	uint64_t started_ms;
	size_t ending; // networks whose commands of the end are running
	int fatal;     // why agent_run ends, if not by a signal
	struct err fatal_err;

	struct notify *notify;
	bool is_up; // said to the service manager
	struct netlink *nl;
	struct monitor *monitor;
	struct fd_watch *monitor_watch;
	struct signal_watch *signals[3];
	struct kv *kv;
	char owner[OWNER_MAX]; // the mark of our leases, store/owner.h; "": none
	struct api *api;
	struct firewall *firewall;
	struct prober *prober; // NULL: no mesh
	struct err mesh_error; // why, if it was asked for
	struct view_scope scope;
	char *boot; // id of this boot of the machine; "": it cannot be read
	struct ipam_del_dir *ipam_del_dir;
	struct docker_plugin *docker_plugin; // NULL: it is not asked for

	bool has_several; // networks, each with a name, though there may be none or one of them now
	struct network *networks; // in the order in which they came
	struct network *leaving;  // not in the store any more: their kernel state is being removed
	struct networks *follow;  // which networks the store has; NULL: nobody asks
};

struct network {
	struct agent *agent;
	struct network *next;
	struct view_scope scope;
	char *name;	   // "": the only one
	char *who;	   // begins each line of the log: "agent", or "network NAME"
	char *status_head; // begins what the service manager shows: "", or "network NAME: "
	char *prefix;
	char *state_dir;
	char *subnet_file;
	uint32_t slot;	 // of nexthop ids, if there are several
	uint64_t serial; // no other network of this life has it
	bool is_leaving;
	bool comes_back;	      // once it left
	unsigned int sweeps;	      // since it began to leave
	struct timer *gone_timer;     // it is not in the store
	struct timer *bring_up_timer; // tries again, and gathers changes of the underlay

	bool store_was_up; // in this life
	struct registry *registry;
	struct fabric *fabric;
	struct lease_set *no_peers; // of a network that leaves
	struct state state;	    // what was on disk at start: MACs
	struct state_file *state_file;

	struct err config_error;   // code 0: none
	struct err bring_up_error; // interface or backend
	struct err device_error;
	bool chosen;
	struct underlay_choice choice;
	struct underlay underlay;
	struct backend *backend;
	struct extension *extension;  // the backend's commands; NULL: it has none
	bool extension_ends;	      // of a network that leaves
	struct strbuf restart_needed; // one config member a line
	struct subnet_env env;	      // as last written
	bool env_written;
	bool was_here; // had a subnet in an earlier life
	char *env_error;
	char *docker_trouble; // NULL: none

	struct ipam *ipam; // addresses of containers; NULL: ipam_error says why there are none
	char *ipam_journal;
	struct err ipam_error;

	struct rotation *rotation;  // of the WireGuard key; NULL: none is under way
	struct probe_group *probes; // NULL: no mesh
	uint32_t path_limit_bytes;  // of what the interface counts as; 0: none
	struct timer *raise_timer;  // when it may grow
	struct reconcile *reconcile;
	bool peers_known;
	bool peers_partial;		// more of them are coming
	bool peers_are_the_stores;	// not a cache's
	struct udp_process *udp;	// carries the packets; NULL: the kernel does
	struct plan_asker *plan_askers; // NULL: no plan is being made
	json_t *plan_changes;		// of the plan being made
	size_t plan_total;
};

// ---- agent.c ----
// Something about a network that the service manager waits for may have become true.
void agent_note_progress(struct agent *agent);

// ---- network.c ----
// Adds it to the agent's. name: "" at the prefix itself.
int network_new(struct agent *agent, const char *name, struct network **ret, struct err *e);
void network_start(struct network *network);
struct network *network_free(struct network *network); // lease and kernel state stay. Not in the agent's lists any more
void network_kernel_event(struct network *network, const struct kernel_event *event);
// Everything is read and compared again.
void network_reload(struct network *network);
void network_flush(struct network *network); // its files
bool network_wants_device(const struct network *network, const char *name);
// Of the lease, or the previous one. NULL: neither.
const struct subnet *network_own_subnet(const struct network *network);
// It is not in the store any more: ends its part in the store, removes what it has in the kernel, and then calls network_left. Its lease is left
// to expire, and its env file stays.
void network_leave(struct network *network);

// ---- networks.c ----
// Makes the networks that are asked for.
int networks_open(struct agent *agent, struct err *e);
void networks_start(struct agent *agent);
void networks_close(struct agent *agent);
bool networks_are_known(const struct agent *agent); // who will be there was read
struct network *networks_find(const struct agent *agent, const char *name);
struct network *networks_by_serial(const struct agent *agent, uint64_t serial);
// Frees it, and begins it anew if it is in the store again.
void network_left(struct network *network);

// ---- bring_up.c ----
// Chooses the interface, opens the backend and its devices and joins the fabric, or notes why not and tries again later.
void bring_up(struct network *network);
// Something about links, addresses or routes changed: look again, soon.
void bring_up_again_soon(struct network *network);
// Tells the fabric what our lease says of us, as soon as that is known. Only with a backend.
void bring_up_join(struct network *network);
// The config changed after the backend was opened.
void take_config(struct network *network, const struct netconf *conf);
// Writes its env file if the lease and the backend are known.
void write_subnet_env(struct network *network);

// ---- network_udp.c ----
// The backend is another, or what it is to be: where a process carries the packets, that is told.
void network_udp_update(struct network *network);
bool network_udp_is_awaited(const struct network *network);
void network_udp_peers_reset(struct network *network);
// The backend is known: a weft-udp that an earlier life of the host needed ends.
void network_udp_end_former(struct network *network);

// ---- firewall.c ----
struct firewall *firewall_new(struct agent *agent);
struct firewall *firewall_free(struct firewall *firewall); // the rules stay
// The networks, or what one of them has, may be others than before.
void firewall_follow(struct agent *agent);
void firewall_reload(const struct agent *agent);
json_t *firewall_view(const struct agent *agent); // its part of the status
void firewall_plan(const struct agent *agent, json_t *changes, json_int_t *total);
void firewall_metrics(const struct agent *agent, struct strbuf *out);
// False: masquerading was asked for and is not done; adds why.
bool firewall_ready(const struct agent *agent, struct strbuf *reasons);
// ---- mesh.c ----
// What cannot be opened is told, and the agent does without.
void mesh_open(struct agent *agent);
void mesh_peer_changed(struct network *network, const struct lease *old, const struct lease *now);
void mesh_peers_reset(struct network *network, bool is_partial);
// Where a peer is asked; as probe_address_fn, for a network.
int mesh_address(void *arg, const struct target_key *key, enum probe_way way, struct ip *ret);

// ---- docker.c ----
void docker_check(struct network *network); // whether Docker's bridge has an address of our lease
// ---- path_mtu.c ----
bool path_mtu_is_auto(const struct network *network);
bool path_mtu_range(void *arg, const struct target_key *key, uint16_t *ret_floor,
		    uint16_t *ret_ceiling);	       // as prober_mtu.range
void path_mtu_found(void *arg, struct target *target); // as prober_mtu.found
bool path_mtu_is_known(const struct target *target);
const struct target *path_mtu_narrowest(const struct network *network); // NULL: none is known
// What an interface with this MTU counts as.
uint32_t path_mtu_limit(const struct network *network, uint32_t interface_mtu_bytes);
void path_mtu_resume(struct network *network);
// The config, or what is known of the paths, changed.
void path_mtu_follow(struct network *network);
void path_mtu_raise(void *arg); // a timer_fn

// ---- clash.c ----
// Does another network of this host have what this one needs? Of two the one that has it keeps it. -EEXIST names both.
int clash_check(const struct network *network, struct err *e);

// ---- view.c ----
json_t *view_lease(const struct network *network);
json_t *view_peer(struct network *network, const struct lease *lease);
void view_network_fill(json_t *object, struct network *network); // its part of the status
bool view_network_ready(struct network *network,
			struct strbuf *reasons); // false: adds why, one reason a line
void view_set_text(json_t *object, const char *name, const char *value); // NULL: null
void view_set_number(json_t *object, const char *name, uint64_t value);
void view_set_ip(json_t *object, const char *name, const struct ip *ip); // none: null
void view_set_net(json_t *object, const char *name, const struct ipnet *net);
json_t *view_lines(const char *text);
json_t *view_store(const struct network *network);
struct network_peers; // an iterator
struct network_peers *network_peers_open(struct network *network);
json_t *network_peers_next(struct network *network, struct network_peers *iterator); // NULL at the end
struct network_peers *network_peers_close(struct network_peers *iterator);
struct peer_counts {
	size_t total, programmed, failed, ignored, held, rejected;
	size_t silent; // of those that are programmed
};
struct peer_counts count_peers(const struct network *network);
extern const char *const kind_names[KERNEL_KIND_COUNT];

// ---- view_udp.c ----
const struct err *view_udp_error(const struct network *network); // code 0: none
void view_udp_fill(json_t *backend, const struct network *network);
void view_udp_ready(const struct network *network, struct strbuf *reasons);
void view_udp_metrics(struct strbuf *out, const struct network *network);

// ---- view_plan.c ----
void view_plan(void *arg, api_plan_fn *done, void *done_arg);
void view_plan_end(struct network *network); // it goes: who waits for its plan is told
// ---- wg_rotate.c ----
void wg_rotate(void *arg, api_rotate_fn *done, void *done_arg);
void wg_rotate_note_lease(struct network *network); // it was read or written
void wg_rotate_end(struct network *network);	    // it goes: who waits is told
// ---- view_mesh.c ----
json_t *view_mesh(void *arg); // all but the peers
void *view_mesh_open(void *arg);
json_t *view_mesh_next(void *arg, void *opaque);
void view_mesh_close(void *arg, void *opaque);
void view_mesh_metrics(const struct agent *agent, struct strbuf *out);
// ---- view_path_mtu.c ----
void view_path_mtu_of_peer(json_t *object, const struct network *network, const struct lease *lease);
json_t *view_path_mtu(const struct network *network);
void view_path_mtu_metrics(const struct agent *agent, struct strbuf *out);
// ---- view_metrics.c ----
void view_metrics(void *arg, struct strbuf *out);
// ---- view_host.c ----
extern const struct agent_view agent_view_of_agent;
