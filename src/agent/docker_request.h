// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what Docker's daemon asks of its plugin, checked: paths, and bodies of JSON (libnetwork's remote network driver and remote IPAM
// driver).
#pragma once

#include "core/err.h"
#include "core/ip.h"
#include "core/ipnet.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DOCKER_BODY_MAX (64 * 1024)
#define DOCKER_ID_MIN 12 // hex digits
#define DOCKER_ID_MAX 64
#define DOCKER_POOL_ID_MAX 160

enum docker_method {
	DOCKER_ACTIVATE,
	DOCKER_NETWORK_CAPABILITIES,
	DOCKER_CREATE_NETWORK,
	DOCKER_DELETE_NETWORK,
	DOCKER_CREATE_ENDPOINT,
	DOCKER_DELETE_ENDPOINT,
	DOCKER_ENDPOINT_INFO,
	DOCKER_JOIN,
	DOCKER_LEAVE,
	DOCKER_DISCOVER_NEW,
	DOCKER_DISCOVER_DELETE,
	DOCKER_PROGRAM_EXTERNAL,
	DOCKER_REVOKE_EXTERNAL,
	DOCKER_IPAM_CAPABILITIES,
	DOCKER_ADDRESS_SPACES,
	DOCKER_REQUEST_POOL,
	DOCKER_RELEASE_POOL,
	DOCKER_REQUEST_ADDRESS,
	DOCKER_RELEASE_ADDRESS,
	DOCKER_METHOD_COUNT
};
// Without the slash they begin with, "NetworkDriver.Join".
extern const char *const docker_method_names[DOCKER_METHOD_COUNT];
bool docker_method_parse(const char *path, enum docker_method *ret); // with the slash

// Texts are borrowed from body, and NULL or none where a method has them not.
struct docker_request {
	json_t *body;
	const char *network;  // 12 to 64 small hex digits
	const char *endpoint; // likewise
	const char *net; // a network of weft's; "": the only one. Of a pool, or of what RequestPool asks
	char net_of_pool[DOCKER_POOL_ID_MAX]; // what net points to, of a pool's id
	struct ipnet pool;		      // not set: none is asked for
	struct ip gateway;		      // of CreateNetwork
	struct ip address;
	bool is_gateway; // the address is to be the network's own
};

// 0, and *ret is to be freed; -EINVAL: the message names the member.
int docker_request_parse(enum docker_method method, const char *text, size_t len,
			 struct docker_request *ret, struct err *e);
void docker_request_free(struct docker_request *request);

// What RequestPool answers and the others are asked with: "NAME@10.1.2.0/24", NAME empty for the only network.
void docker_pool_id(const char *net, const struct ipnet *pool, char ret[static DOCKER_POOL_ID_MAX]);
bool docker_id_is_good(const char *id);
