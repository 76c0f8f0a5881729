// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the addresses of containers in one network of this host: what is given, what the journal and the store know of it.
//
// DOC: from the start to serving
//
//   ipam_new (reads the journal) -> ipam_set_lease: subnets, what the journal says -> RANGE of the own subnets' records
//     --read--> ready: union of both, in doubt an address is used
//     --the store does not answer--> ready, but for those who ask for mode strict; read again until it does
//
// DOC: an address and its record
//
// The lease is what keeps hosts apart; a record makes an address seen, and is a fence: it is created only as long as the lease has
// the revision that we know, in one transaction, with both families of a container in it. Each change goes into the journal first,
// then to the store: by ipam_add before it answers, or later. Who holds a record that we did not write loses it if the lease is ours;
// meanwhile the address is passed over. The table of cases is atop record_settle.c.
#pragma once

#include "fabric/fabric.h"
#include "ipam/allocator.h"
#include "store/kv.h"

struct ipam;

enum ipam_mode { IPAM_BEST, IPAM_STRICT, IPAM_ASYNC };

// Strings and loop's kv are borrowed: they outlive the ipam. prefix: the network's, without a slash at its end.
struct ipam_config {
	struct loop *loop;
	struct kv *kv;
	const char *prefix;
	const char *owner; // mark of our records, "": none
	const char *who;   // begins lines of the log
	const char *journal_path;
	const char *boot;	   // id of this boot
	const char *results_dir;   // where container runtimes keep results of CNI plugins
	uint64_t quarantine_ms;	   // between two containers of one address
	uint64_t leak_interval_ms; // between two looks
	int64_t session_ttl_s;
	bool has_records; // false: the store has leases and nothing else
};
int ipam_new(const struct ipam_config *config, struct ipam **ret, struct err *e);
struct ipam *ipam_free(struct ipam *ipam); // records stay; requests that wait are refused
// What the fabric says, whenever it does. why: NULL or empty if held.
void ipam_set_lease(struct ipam *ipam, enum fabric_lease_state state, const struct lease *lease,
		    const char *why);
void ipam_store_is_back(struct ipam *ipam); // tries at once what waits for it
// Tells the network namespaces of one boot apart. 0: none is seen there, as by an agent whose own view of mounts lacks it.
uint64_t ipam_netns_inode(const char *path);
// Called once, from the loop, when requests are first served.
typedef void ipam_ready_fn(void *arg);
void ipam_on_ready(struct ipam *ipam, ipam_ready_fn *fn, void *arg);
bool ipam_is_ready(const struct ipam *ipam);

struct ipam_grant {
	struct ip ips[FAMILY_COUNT]; // none: not of this family
	struct ip gateways[FAMILY_COUNT];
	uint8_t lens[FAMILY_COUNT];
};
// Exactly one of grant and why is there. Perhaps before ipam_add returns.
typedef void ipam_add_fn(void *arg, const struct ipam_grant *grant, const struct refusal *why);
void ipam_add(struct ipam *ipam, const struct allocator_request *request, enum ipam_mode mode,
	      ipam_add_fn *fn, void *arg);
// -EAGAIN: it is not known yet what there is to release; else 0. ips: where the owner may be found under another name.
int ipam_del(struct ipam *ipam, const struct owner_key *key, const struct ip *ips, size_t ip_count);
// Who has this address is another owner from now on, with what else request says of it; for those who learn of the owner after they
// asked. name: of the one who has it now. -1 with why: it is not his, or request's key has others.
int ipam_rename(struct ipam *ipam, const struct ip *ip, const char *name,
		const struct allocator_request *request, struct refusal *why);
// The key of who has this address; borrowed until anything changes. False: nobody has.
bool ipam_owner_of(const struct ipam *ipam, const struct ip *ip, struct owner_key *ret);
int ipam_check(struct ipam *ipam, const struct owner_key *key, const struct ip *ips,
	       size_t ip_count, struct refusal *why);
// Releases what owners of this name have, but for those that are listed. How many; -EAGAIN as above.
int ipam_gc(struct ipam *ipam, const char *name, const struct owner_key *keep, size_t keep_count);

struct ipam_status {
	bool ready;
	bool store_read; // what the store has of us is known, and it takes what we write
	size_t unwritten;
	struct allocator_counts counts[FAMILY_COUNT];
	struct subnet subnet;
	uint64_t leaks;	   // addresses that were released because their container had gone
	const char *error; // why records are not written; "": they are
};
void ipam_status(const struct ipam *ipam, struct ipam_status *ret);
// Whether ADD would be served; why as of STATUS.
int ipam_can_add(const struct ipam *ipam, enum ipam_mode mode, struct refusal *why);
