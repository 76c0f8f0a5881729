// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the result of an ADD as a value, and its text in each version of the specification.
#pragma once

#include "cni/call.h"
#include "core/ipnet.h"

#define RESULT_INTERFACES_MAX 16
#define RESULT_IPS_MAX 32
#define RESULT_ROUTES_MAX 256

// Texts are those of a document that outlives the result, or constants.
struct result_interface {
	const char *name, *mac; // NULL: none
	const char *sandbox;	// NULL: on the host
	uint32_t mtu_bytes;	// 0: not told
};

struct result_ip {
	int interface; // index, -1 for none
	struct ip address;
	unsigned int len; // of its prefix
	struct ip gateway;
};

struct result_route {
	struct ipnet dst;
	struct ip gw;
	uint32_t mtu_bytes, advmss, priority; // 0: not told
	int table, scope;		      // -1: not told
};

struct result {
	size_t interface_count, ip_count, route_count;
	struct result_interface interfaces[RESULT_INTERFACES_MAX];
	struct result_ip ips[RESULT_IPS_MAX];
	struct result_route routes[RESULT_ROUTES_MAX];
	const struct doc_value *dns; // NULL: empty
};

// Reads a result of any version (a prevResult, or what an IPAM plugin printed). ret's texts are those of value's document.
int result_read(struct result *ret, const struct doc_value *value, struct fault *fault);
int result_read_routes(struct result *ret, const struct doc_value *routes, struct fault *fault); // adds
int result_write(const struct result *result, enum cni_version version, struct strbuf *out,
		 struct fault *fault);
void fault_write(const struct fault *fault, enum cni_version version, struct strbuf *out);

bool result_dns_is_empty(const struct doc_value *dns);
struct ipnet result_ip_net(const struct result_ip *ip); // the network that it is in
// "10.5.34.7/24" with its host bits. -EINVAL.
int result_parse_cidr(const char *text, struct ip *ret_address, unsigned int *ret_len);
