// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the reference IPAM plugin host-local does, in-process and with the very same files and lock, so that either of
// both may release what the other one allocated.
#pragma once

#include "cni/args.h"
#include "cni/result.h"

#define HOST_LOCAL_SETS_MAX 16
#define HOST_LOCAL_RANGES_MAX 32 // of one set

struct host_local_range {
	struct ipnet subnet;
	struct ip start, end, gateway; // start and end inclusive
};

// One address is taken of each set; its ranges are tried in turn.
struct host_local_set {
	size_t count;
	struct host_local_range ranges[HOST_LOCAL_RANGES_MAX];
};

struct host_local_conf {
	size_t set_count;
	struct host_local_set sets[HOST_LOCAL_SETS_MAX];
};

// Reads ipam.ranges, the older keys and runtimeConfig.ipRanges, fills in what is left out and checks all.
int host_local_read(struct host_local_conf *ret, const struct conf *conf, struct fault *fault);
bool host_local_contains(const struct host_local_set *set, const struct ip *ip);
// The address after `last` in the set's order, wrapping around; `last` unset or in none of them: the first.
struct ip host_local_next(const struct host_local_set *set, const struct ip *last);
const struct host_local_range *host_local_range_of(const struct host_local_set *set,
						   const struct ip *ip);

// keep owns texts in *ret.
int host_local_add(const struct call *call, const struct conf *conf, const struct wish *wish,
		   struct doc *keep, struct result *ret, struct fault *fault);
int host_local_del(const struct call *call, const struct conf *conf, struct fault *fault);
int host_local_check(const struct call *call, const struct conf *conf, struct fault *fault);
// Whether the configuration can serve an ADD: ranges that make sense and a directory that can be used.
int host_local_status(const struct conf *conf, struct fault *fault);
// Releases what belongs to none of the attachments that are named as still valid; without such a list nothing.
int host_local_gc(const struct conf *conf, struct fault *fault);
