// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the files of Docker's plugin share.
#pragma once

#include "agent/docker_networks.h"
#include "agent/docker_plugin.h"
#include "io/http_server.h"

#define DOCKER_RELEASES_MAX 4096
#define DOCKER_OWNER \
	"docker" // begins the names of owners: the network's id follows once the endpoint is known
#define DOCKER_IFNAME "eth" // which number it gets in its container Docker does not tell

// An address that Docker gave back before it was known who has it.
struct docker_release {
	struct docker_release *next;
	char net[DOCKER_NET_MAX];
	struct ip ip;
};

struct docker_plugin {
	struct agent *agent;
	struct http_server *server;
	char *state_path;
	struct docker_network *networks;
	struct docker_release *releases;
	size_t release_count;
	uint64_t serial; // of addresses whose owner is not known yet
};

// ---- docker_plugin.c ----
void docker_answer(struct http_exchange *exchange, json_t *value); // taken over
void docker_refuse(struct http_exchange *exchange, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
// The network of this name with a lease, an MTU and addresses; NULL with why.
struct network *docker_serving_network(const struct docker_plugin *plugin, const char *net,
				       struct err *e);
// -ESTALE: the pool is not of the lease.
int docker_check_pool(const struct network *network, const struct ipnet *pool, struct err *e);

// ---- docker_ipam.c, docker_driver.c ----
typedef void docker_serve_fn(struct docker_plugin *plugin, struct http_exchange *exchange,
			     const struct docker_request *request);
docker_serve_fn docker_serve_request_pool, docker_serve_request_address, docker_serve_release_address;
docker_serve_fn docker_serve_create_network, docker_serve_delete_network,
	docker_serve_create_endpoint, docker_serve_delete_endpoint, docker_serve_join;
