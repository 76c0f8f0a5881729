// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the forms of the HTTP API of flannel 0.5 to 0.7, the same for who serves it and who asks it.
#pragma once

#include "core/json.h"
#include "core/lease.h"
#include "core/timestamp.h"

#define V1_BODY_MAX LEASE_VALUE_MAX // of a request
#define V1_NETWORK_MAX 255	    // bytes of a network's name
#define V1_TTL_S 86400		    // of every lease with an end
#define V1_NO_NETWORK "_"	    // how the network at the prefix itself is spelled

// A lease of its own kind: IPv4 alone, and with the moment of its end.
struct v1_lease {
	struct ipnet subnet;
	struct lease_attrs attrs; // none of IPv6, nothing that we do not know
	int64_t expires_ms;	  // TIMESTAMP_ZERO_MS: a reservation, or it was not said
};
void v1_lease_free(struct v1_lease *lease); // leaves it zero
#define _cleanup_v1_lease_ _cleanup_(v1_lease_free)

// Can it be in a path: a text without slash or control characters, and not what stands for no network.
bool v1_is_network_name(const char *name);

// -EINVAL naming what is wrong; ret is to be freed. The public address has to be one that packets can be sent to.
int v1_read_attrs(const json_t *object, struct lease_attrs *ret, struct err *e);
int v1_read_lease(const json_t *object, struct v1_lease *ret, struct err *e);
// The same of what only names its subnet, as an event of a removal does.
int v1_read_subnet(const json_t *lease, struct ipnet *ret, struct err *e);
// "10.1.2.0-24", of a path.
int v1_parse_subnet(const char *text, struct ipnet *ret, struct err *e);

// Our cursors: a revision, and in its last digits a mark of the store. Nobody but a controller looks into one.
#define V1_CURSOR_MAX 32
uint64_t v1_cursor_mark(uint64_t cluster_id);
void v1_cursor(int64_t revision, uint64_t cluster_id, char ret[static V1_CURSOR_MAX]);
bool v1_read_cursor(const char *text, int64_t *ret_revision, uint64_t *ret_mark); // false: none of ours

// Appends {"Subnet":..,"Attrs":..,"Expiration":..}; attrs NULL: those of no lease.
void v1_add_lease(struct strbuf *out, const struct ipnet *subnet, const struct lease_attrs *attrs,
		  int64_t expires_ms);
