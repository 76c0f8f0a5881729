// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the network config, the value at PREFIX/config, and its rules.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETCONF_TEXT_MAX (64 * 1024)
#define BACKEND_TYPE_MAX 24 // bytes with the terminator

// One family's half. Not enabled: all zero.
struct netconf_family {
	bool enabled;
	struct ipnet network;
	struct ip subnet_min; // first and last subnet, as network addresses
	struct ip subnet_max;
	uint8_t subnet_len;
};

struct netconf {
	struct netconf_family v4;
	struct netconf_family v6;
	bool enable_nftables;
	char backend_type[BACKEND_TYPE_MAX]; // lower case; "udp" when Backend is absent
	bool mtu_auto; // Backend.MTU is "auto" in place of a number: by what the paths carry
	char *backend; // the Backend object as compact JSON, "{}" when absent
};

// Parses and validates (flannel's rules, etcd mode; the message names the member and the value).
// -EBUSY: the network is frozen (netconf_freeze.h). ret must be zero or freed; on success it owns memory.
int netconf_parse(const char *text, size_t len, struct netconf *ret, struct err *e);
void netconf_free(struct netconf *conf);
void netconf_copy(const struct netconf *src, struct netconf *ret);
#define _cleanup_netconf_ _cleanup_(netconf_free)

// The same as text that may be logged: with the secrets of Backend hidden. Caller frees. What is no config comes back as "(unreadable)".
char *netconf_text_shown(const char *text);
char *netconf_backend_shown(const char *backend); // of the Backend object alone

// How many subnets a family offers; 0 when SubnetMin > SubnetMax or the family is off. Saturates at UINT64_MAX.
uint64_t netconf_family_subnets(const struct netconf_family *family);
// Is this a subnet that the family may lease: right length, between min and max.
bool netconf_family_fits(const struct netconf_family *family, const struct ipnet *subnet);
