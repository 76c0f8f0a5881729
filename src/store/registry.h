// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: networks and leases in a store: their keys, their values and the rules of writing them.
// Written once over kv.h; every write is a compare-and-set. Kubernetes, which hands out subnets by
// itself, will implement these operations directly.
#pragma once

#include "core/lease.h"
#include "store/kv.h"

#define LEASE_TTL_S 86400 // flannel's; COMPAT

struct registry;
#define REGISTRY_PREFIX_MAX 512 // bytes of a prefix

// -EINVAL, with the reason, for what can be no prefix: empty, too long, not text. A slash at its end is
// not looked at.
int registry_prefix_check(const char *prefix, struct err *e);
#define REGISTRY_NETWORK_MAX 63 // bytes of a network's name
// -EINVAL, with the reason, for what can be no name of a network below a prefix: it is a part of keys and of file names.
int registry_network_check(const char *name, struct err *e);
// prefix: "/coreos.com/network"; slashes at its end are cut. -EINVAL as above. Borrows kv.
int registry_new(struct kv *kv, const char *prefix, struct registry **ret, struct err *e);
struct registry *registry_free(struct registry *registry); // frees its watches; pending calls are forgotten
// Leases that are written from now on get this owner's mark (store/owner.h).
void registry_set_owner(struct registry *registry, const char *owner);
// Does the lease have the mark that we would give it?
bool registry_lease_is_marked(const struct registry *registry, const struct lease *lease);

// ---- config ----
// text is terminated and borrowed; r -ENOENT (message names the key) when there is none. header: as of
// when this is true; NULL if the store did not answer.
typedef void registry_config_fn(void *arg, int r, const char *text, int64_t mod_revision,
				const struct kv_header *header, const struct err *e);
void registry_config_get(struct registry *registry, registry_config_fn *fn, void *arg);
typedef void registry_done_fn(void *arg, int r, const struct err *e);
// mod_revision: 0 only if there is none yet (-EEXIST), else only if unchanged since (-ESTALE).
void registry_config_set(struct registry *registry, const char *text, int64_t mod_revision,
			 registry_done_fn *fn, void *arg);
// -EBUSY while leases exist, unless force (then the leases are deleted too, and whatever else is
// below their prefix). After a failure half way the next call goes on. A key that the store refuses
// to delete keeps no other one, and is named in the end.
void registry_network_delete(struct registry *registry, bool force, registry_done_fn *fn, void *arg);
// Calls each with the name ("" for the network at the prefix itself) and the config's text, then
// fn.
typedef void registry_network_fn(void *arg, const char *name, const char *text);
void registry_network_list(struct registry *registry, registry_network_fn *each,
			   registry_done_fn *fn, void *arg);

// Follows which networks there are below the prefix, from one revision on without a gap; the one at the prefix itself is not among them.
struct registry_follow_fns {
	// All that are there, in no order; again after the watch was lost. store_changed: this is another store than before, or it went
	// back in time.
	void (*listed)(void *arg, char *const *names, size_t count, bool store_changed);
	void (*changed)(void *arg, const char *name, bool is_there); // its config was written or deleted
	void (*unread)(void *arg, const struct err *e); // the list cannot be read; tried again for ever
};
struct registry_follow;
struct registry_follow *registry_follow_start(struct registry *registry,
					      const struct registry_follow_fns *fns, void *arg);
void registry_follow_again(struct registry_follow *follow); // reads the list anew; not from within fns
struct registry_follow *registry_follow_free(struct registry_follow *follow); // before its registry; not from within fns

// ---- leases ----
// A key or value under the leases that cannot be used. subnet is set if at least the key could be
// read.
struct registry_bad {
	const char *key; // as stored, without the prefix, bounded, control characters replaced
	struct subnet subnet;
	bool has_subnet;
	int64_t mod_revision;
	const char *why;
};

struct registry_snapshot_fns {
	void (*lease)(void *arg, struct lease *lease); // may take what it owns
	void (*bad)(void *arg, const struct registry_bad *bad);
	void (*done)(void *arg, int r, const struct kv_header *header, const struct err *e);
};
void registry_leases(struct registry *registry, const struct registry_snapshot_fns *fns, void *arg);

// r 0: lease is what is now stored (with revision and session). -EEXIST / -ESTALE: lease is what
// another has there, NULL if unreadable; -ENOENT: the key is gone. -EINPROGRESS: unknown whether it
// was done; read it. lease is borrowed.
typedef void registry_lease_fn(void *arg, int r, const struct lease *lease, const struct err *e);
void registry_lease_get(struct registry *registry, const struct subnet *subnet,
			registry_lease_fn *fn, void *arg);
struct registry_create_terms {
	int64_t ttl_s;		 // 0: LEASE_TTL_S; negative: none, a reservation
	int64_t config_revision; // mod_revision of the config that the caller knows; 0: there is none
};
// Opens a session and creates the key only if absent, and only as long as the network's config is the
// one that the caller knows: -EBUSY if it was changed since. Nobody gets a lease by a config that was
// replaced, or frozen. In a store that cannot compare two keys at once the key may be seen for a moment
// by others before it is taken back. A session that ends up without its key is closed again: nothing is
// left behind.
void registry_lease_create(struct registry *registry, const struct subnet *subnet,
			   const struct lease_attrs *attrs, const struct registry_create_terms *terms,
			   registry_lease_fn *fn, void *arg);
// Of a store that chooses the subnets: any free one. -ENOSPC: none is left.
bool registry_chooses(const struct registry *registry);
void registry_lease_acquire(struct registry *registry, const struct lease_attrs *attrs,
			    registry_lease_fn *fn, void *arg);
// Overwrites if current->mod_revision still holds; keeps current->session (0 stays a reservation).
// If that session is gone a new one is opened.
void registry_lease_update(struct registry *registry, const struct lease *current,
			   const struct lease_attrs *attrs, registry_lease_fn *fn, void *arg);
// Deletes if mod_revision still holds (0: whatever it is), and closes the session.
void registry_lease_delete(struct registry *registry, const struct subnet *subnet,
			   int64_t mod_revision, registry_done_fn *fn, void *arg);
// ttl_s as granted; -ENOENT: the session is gone.
void registry_lease_renew(struct registry *registry, int64_t session, kv_session_fn *fn, void *arg);
void registry_lease_ttl(struct registry *registry, int64_t session, kv_session_fn *fn, void *arg);
// In the background, for as long as it takes; keys still tied to it are deleted with it. 0:
// nothing.
void registry_close_session(struct registry *registry, int64_t session);

// ---- reservations: leases without a session ----
// The subnet is that host's for ever: it gets it when it starts, and nobody else does. host: its public
// addresses, the rest is not looked at. A lease that the host has there is made one, whatever its
// agent does meanwhile. r 0: lease is what is now stored, which may have been there before. -EINVAL:
// no subnet that the config lets hosts have; -EADDRINUSE: another host has it, or this host has
// another one (the message names it); -EBUSY: the network is frozen.
void registry_reserve(struct registry *registry, const struct subnet *subnet,
		      const struct lease_attrs *host, registry_lease_fn *fn, void *arg);
// Makes a reservation an ordinary lease with LEASE_TTL_S to live. Whether its host is alive the store
// does not tell: one that is goes on renewing it, one that is not lets it expire. -ENOENT: there is
// none; -EALREADY: it is no reservation.
void registry_unreserve(struct registry *registry, const struct subnet *subnet,
			registry_lease_fn *fn, void *arg);

// ---- changes ----
enum registry_event_kind {
	REGISTRY_LEASE_PUT,
	REGISTRY_LEASE_DELETE, // subnet, revision
	REGISTRY_LEASE_BAD,
	REGISTRY_BAD_GONE,   // a key that could never be read as a subnet was deleted: bad->key
	REGISTRY_CONFIG_PUT, // text
	REGISTRY_CONFIG_DELETE,
	REGISTRY_UP,
	REGISTRY_DOWN,
	REGISTRY_LOST, // as KV_WATCH_LOST: take a snapshot, watch anew
};
struct registry_event {
	enum registry_event_kind kind;
	struct lease *lease; // PUT: may be taken; DELETE: only subnet and mod_revision are set
	const struct registry_bad *bad;
	const char *text;
	int64_t revision;
	const struct err *err;
	bool store_changed;
};
typedef void registry_event_fn(void *arg, const struct registry_event *event);
struct registry_watch;
struct registry_watch *registry_watch_start(struct registry *registry, int64_t from,
					    uint64_t cluster_id, registry_event_fn *fn, void *arg);
struct registry_watch *registry_watch_free(struct registry_watch *watch);
