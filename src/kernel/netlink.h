// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the rtnetlink sockets of one network namespace (one for requests, one for dumps; the monitor has its own), batches of
// requests and incremental dumps. No libmnl type leaves kernel/.
#pragma once

#include "core/err.h"
#include "kernel/object.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct netlink;

// What a kernel may lack; each has a fall-back and can be switched off for tests (--without-feature).
enum netlink_feature {
	NETLINK_FEATURE_STRICT,	 // NETLINK_GET_STRICT_CHK, 4.20: dumps are filtered by the kernel
	NETLINK_FEATURE_NEXTHOP, // nexthop objects, 5.3
	NETLINK_FEATURE_COUNT
};

extern const char *const netlink_feature_names[NETLINK_FEATURE_COUNT]; // "strict", "nexthop"

// Opens the sockets in the calling thread's network namespace and probes the features. -EPERM without CAP_NET_ADMIN is told by the first change,
// not here. without: bit mask of features to behave as if absent.
int netlink_open(unsigned int without, struct netlink **ret, struct err *e);
struct netlink *netlink_close(struct netlink *nl); // NULL is fine; returns NULL
static inline void netlink_closep(struct netlink **nl)
{
	netlink_close(*nl);
}
bool netlink_has(const struct netlink *nl, enum netlink_feature feature);

// The port id that the kernel stamps on notifications of our own requests.
uint32_t netlink_port_id(const struct netlink *nl);

struct netlink_stats {
	uint64_t messages; // requests put into sends
	uint64_t sends;	   // sendmsg calls
	uint64_t batches;  // of changes, each in one send or several
	uint64_t failed;   // requests answered with an error
	uint64_t dumps;
};
const struct netlink_stats *netlink_stats(const struct netlink *nl);

// ---- batches: many requests in few sends; every request is acknowledged and matched by its sequence number ----

enum netlink_verb {
	NETLINK_CREATE,	 // fails with -EEXIST
	NETLINK_REPLACE, // create or overwrite
	NETLINK_DELETE, // -ESRCH, -ENOENT, -ENODEV, -EADDRNOTAVAIL as the kernel says; the caller decides that gone is fine
};

struct netlink_batch;
struct netlink_batch *netlink_batch_new(struct netlink *nl);
struct netlink_batch *netlink_batch_free(struct netlink_batch *batch);
size_t netlink_batch_count(const struct netlink_batch *batch);

// Adds a request. tag comes back with the request's result. Links go through kernel/link.h instead.
void netlink_batch_add(struct netlink_batch *batch, enum netlink_verb verb,
		       const struct kernel_object *object, uint32_t tag);

// error 0 or negative errno; extack: the kernel's words or "" (valid during the call only). A kernel calls it a success
// to delete an FDB entry whose remote is another one, and leaves the entry.
typedef void netlink_result_fn(void *arg, uint32_t tag, int error, const char *extack);
// Sends everything, calls fn once for every request in order (also for those a broken socket left unanswered: -EIO),
// and empties the batch, which fn may fill again. Synchronous: rtnetlink works inside sendmsg. 0, or the error of the
// socket itself. If the kernel had no memory to say how it went, a request is sent twice: a create may then say -EEXIST
// and a delete -ENOENT of what its first sending did (kernel/exchange.h).
int netlink_batch_commit(struct netlink_batch *batch, netlink_result_fn *fn, void *arg, struct err *e);

// ---- dumps: read in slices so that a long one does not hold the loop ----

struct netlink_dump_filter {
	int family; // AF_UNSPEC, AF_INET, AF_INET6; ignored for links and FDB
	uint32_t ifindex; // 0: all. ADDR, NEIGH, FDB, NEXTHOP, ROUTE; filtered here too where the kernel does not
	uint32_t table;	  // ROUTE: 0 = main
	uint8_t protocol; // ROUTE, NEXTHOP: 0 = all; filtered by the kernel where it can
};

typedef void netlink_object_fn(void *arg, const struct kernel_object *object);

struct netlink_dump;
int netlink_dump_start(struct netlink *nl, enum kernel_kind kind,
		       const struct netlink_dump_filter *filter, struct netlink_dump **ret,
		       struct err *e);
// Reads at most about `objects_max` objects, wanted or not. A table that does not exist and a device that went away have
// no objects. 1: more to come; 0: complete; -EINTR: the kernel says that the dump is inconsistent
// (NLM_F_DUMP_INTR): throw away what came and start again; other: error. Only one dump at a time per struct netlink.
int netlink_dump_step(struct netlink_dump *dump, size_t objects_max, netlink_object_fn *fn,
		      void *arg, struct err *e);
struct netlink_dump *netlink_dump_free(struct netlink_dump *dump); // also in the middle

// The whole dump at once, for small tables (links, addresses), also while another one is running; an inconsistent dump is repeated a bounded number of times,
// and fn sees objects only of the consistent one.
int netlink_dump_all(struct netlink *nl, enum kernel_kind kind,
		     const struct netlink_dump_filter *filter, netlink_object_fn *fn, void *arg,
		     struct err *e);
