// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the record of one container's address in a store: its key and its value (docs/agent-ipam.md).
//
// DOC: keys, below a network's prefix
//
//   ipam/v1/ip/<subnet>/<ip>  one address; <subnet> is its family's part of a lease's key, "10.5.34.0-24" or "fd00::-64"
//   ipam/v1/node/<ip>         what an agent says of itself; <ip> is its lease's public address, by which hosts are known
//
// Nothing is ever written below "subnets", which flannel reads whole.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"
#include "store/owner.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_PART "ipam/v1/ip/"
#define ADDRESS_NODE_PART "ipam/v1/node/"
#define ADDRESS_SUBNET_KEY_MAX 64 // bytes of "fd00:10:5:22::-64" at the most, terminated
#define ADDRESS_VALUE_MAX 16384
#define ADDRESS_TEXT_MAX 256 // of each member that is text, terminated

enum address_state {
	ADDRESS_USED,	  // by a container
	ADDRESS_STICKY,	  // kept for the pod that had it
	ADDRESS_RESERVED, // kept because an operator said so
	ADDRESS_STATE_COUNT
};
extern const char *const address_state_names[ADDRESS_STATE_COUNT];

struct address_record {
	struct ip ip;
	uint8_t len; // of its subnet
	char *net;   // the CNI network's name; "" in each of these texts: not known
	char *cid;
	char *ifname;
	char *ns;
	char *pod;
	char *uid;
	char *node;	 // public address of the host
	char *boot;	 // its boot id
	int64_t since_s; // seconds since 1970
	enum address_state state;
	enum address_state keep; // what it becomes when its container goes; ADDRESS_USED: free
	char owner[OWNER_MAX];	 // as a lease has it; "": none
};

void address_record_free(struct address_record *record); // leaves it zero
#define _cleanup_record_ _cleanup_(address_record_free)
// -EINVAL: the message says which member. *ret is to be freed.
int address_record_parse(const void *value, size_t len, struct address_record *ret, struct err *e);
char *address_record_format(const struct address_record *record); // caller frees; NULL texts are ""

void address_subnet_key(const struct ipnet *subnet, char ret[static ADDRESS_SUBNET_KEY_MAX]);
char *address_prefix(const char *prefix,
		     const struct ipnet *subnet); // with the slash at its end; caller frees
char *address_key(const char *prefix, const struct ipnet *subnet, const struct ip *ip); // caller frees
// Of what is behind ADDRESS_PART. -EINVAL: not in the one way in which we write it, or an address outside its subnet.
int address_key_parse(const char *text, size_t len, struct ipnet *ret_subnet, struct ip *ret_ip);
