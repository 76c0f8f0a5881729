// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what carries packets between hosts, as pure functions from leases to wanted kernel objects. Only backend.c calls through backend_ops.
#pragma once

#include "core/json.h"
#include "core/lease.h"
#include "core/netconf.h"
#include "core/strbuf.h"
#include "reconcile/wanted.h"

struct backend;

// What a backend may ask about its host when it is opened.
struct backend_host {
	// A device of this name that is there already; false if none.
	bool (*find_link)(void *arg, const char *name, struct link *ret);
	// The MAC that this device had in an earlier life, from disk; false if unknown.
	bool (*find_mac)(void *arg, const char *name, struct mac *ret);
	// This host's WireGuard key, made at the first time. The caller wipes the private one.
	int (*wg_key)(void *arg, struct wg_key *ret_private, struct wg_key *ret_public, struct err *e);
	void *arg;
	const char *identity; // text that no other host has: what MACs are derived from
	bool allows_commands; // of the config
	bool untrusted;	      // others may read what is sent on its segment
};

// Makes the backend that conf->backend_type names. -EOPNOTSUPP for an unknown or refused type (the message says which are there),
// -EINVAL for a bad member of Backend. conf and underlay are copied.
int backend_new(const struct netconf *conf, const struct underlay *underlay,
		const struct ip *public_ip, const struct ip *public_ipv6,
		const struct backend_host *host, struct backend **ret, struct err *e);
struct backend *backend_free(struct backend *backend); // kernel state stays
const char *backend_type(const struct backend *backend);

// Our own lease is known (or another than before).
void backend_set_subnet(struct backend *backend, const struct subnet *subnet);
// The interface's index, addresses or MTU, or the advertised addresses, changed.
void backend_set_underlay(struct backend *backend, const struct underlay *underlay,
			  const struct ip *public_ip, const struct ip *public_ipv6);
// The config as it was opened with; what changed since then needs a restart.
const struct netconf *backend_netconf(const struct backend *backend);
// The config changed: takes over what can change while running, and adds a line to restart for each member that cannot. -EINVAL: nothing was taken over.
int backend_set_netconf(struct backend *backend, const struct netconf *conf, struct strbuf *restart,
			struct err *e);

// The host's WireGuard key is another. -EOPNOTSUPP: this backend has none.
int backend_set_wg_key(struct backend *backend, const struct wg_key *private_key,
		       const struct wg_key *public_key, struct err *e);

// What our lease says of us: public addresses, type, data. Caller frees with lease_attrs_free.
void backend_attrs(const struct backend *backend, struct lease_attrs *ret);
// For containers: FLANNEL_MTU.
uint32_t backend_mtu_bytes(const struct backend *backend);
uint32_t backend_outer_mtu_bytes(const struct backend *backend); // the largest packet that it sends to a peer
void backend_devices(const struct backend *backend, struct wanted_devices *ret);
bool backend_needs_paths(const struct backend *backend);
// Of a backend whose packets a process carries, not the kernel: what that one is told besides the hosts of peers (wanted.hosts).
struct backend_process {
	char device[IFNAMSIZ];
	struct ip address; // of this host: to receive at and to send from
	uint16_t port;
	uint32_t mtu_bytes;
	struct ipnet network[UNDERLAY_FAMILY_COUNT]; // unset: that family is off
	struct ipnet own[UNDERLAY_FAMILY_COUNT];     // unset: our lease is not known yet
};
bool backend_process(const struct backend *backend, struct backend_process *ret); // false: none
// Pure. As reconcile_source.peer.
int backend_want(const struct backend *backend, const struct lease *peer,
		 const struct underlay *underlay,
		 const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		 struct err *e);

// ---- for the implementations ----
struct backend_ops {
	const char *name;      // value of Backend.Type
	bool is_for_untrusted; // hosts (backend_host): it sends nothing there that others could read
	size_t size; // of struct vxlan { struct backend base; ... }, allocated by backend_new
	// Reads config (a JSON object) and fixes the identity (MACs). base is filled in. Called once.
	int (*open)(struct backend *backend, const json_t *config, const struct backend_host *host,
		    struct err *e);
	// Fills backend_type, backend_data, backend_v6_data.
	void (*attrs)(const struct backend *backend, struct lease_attrs *ret);
	uint32_t (*mtu_bytes)(const struct backend *backend);	    // NULL: the underlay's
	uint32_t (*outer_mtu_bytes)(const struct backend *backend); // NULL: the underlay's
	void (*devices)(const struct backend *backend, struct wanted_devices *ret);  // NULL: none
	bool (*needs_paths)(const struct backend *backend);			     // NULL: no
	void (*process)(const struct backend *backend, struct backend_process *ret); // NULL: none
	int (*want)(const struct backend *backend, const struct lease *peer,
		    const struct underlay *underlay,
		    const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		    struct err *e);
	// Another config: takes over what it can, names the rest. NULL: nothing in Backend can change.
	int (*update)(struct backend *backend, const json_t *config, struct strbuf *restart,
		      struct err *e);
	// The subnet, the underlay or the public addresses of base were set. Also before open. NULL: nobody copied them.
	void (*moved)(struct backend *backend);
	void (*set_wg_key)(struct backend *backend, const struct wg_key *private_key,
			   const struct wg_key *public_key); // NULL: it has none
	void (*close)(struct backend *backend);		     // NULL: nothing to free
};

struct backend {
	const struct backend_ops *ops;
	struct netconf netconf;
	struct underlay underlay;
	struct ip public_ip;
	struct ip public_ipv6;
	struct subnet subnet; // ours; unset until the lease is known
};

bool backend_has_family(const struct backend *backend, size_t family); // UNDERLAY_V4 or UNDERLAY_V6
// Of an interface whose MTU the config may lower: no device's packets may be larger than those of the interface. 0: not configured.
uint32_t backend_lowered_mtu_bytes(const struct underlay *underlay, int64_t configured);
// A reservation that its host has not taken yet does not say how packets reach it.
bool backend_peer_is_awaited(const struct lease *peer);
// The same, and says so in *ret: nothing is wanted.
bool backend_awaits_peer(const struct lease *peer, struct wanted *ret);
// -EPROTONOSUPPORT: the lease is of another backend than ours.
int backend_check_type(const char *ours, const struct lease_attrs *attrs, struct err *e);

extern const struct backend_ops backend_alloc;
extern const struct backend_ops backend_auto;
extern const struct backend_ops backend_extension;
extern const struct backend_ops backend_hostgw;
extern const struct backend_ops backend_ipip;
extern const struct backend_ops backend_null;
extern const struct backend_ops backend_udp;
extern const struct backend_ops backend_vxlan;
extern const struct backend_ops backend_wireguard;
