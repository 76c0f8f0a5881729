// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which networks Docker has of us. Docker tells of a network once, when it is made, and keeps it over restarts and boots; so do we, in
// a file of the state directory:
//
//   {"version":1,"networks":[{"id":"3f...","net":"","pool":"10.1.2.0/24","gateway":"10.1.2.1"}]}
#pragma once

#include "agent/docker_request.h"

#define DOCKER_NETWORKS_FILE "docker-networks"
#define DOCKER_NETWORKS_MAX 256
#define DOCKER_NET_MAX 64

struct docker_network {
	struct docker_network *next;
	char id[DOCKER_ID_MAX + 1];
	char net[DOCKER_NET_MAX]; // a network of weft's; "": the only one
	struct ipnet pool;
	struct ip gateway;
	char *trouble; // said last; NULL: none
};

void docker_network_free(struct docker_network *network);
struct docker_network *docker_networks_free(struct docker_network *list);
struct docker_network *docker_networks_find(struct docker_network *list, const char *id); // NULL: none
// Of several networks of Docker on one of weft's the first; there is one at the most, but for files that others wrote.
struct docker_network *docker_networks_of(struct docker_network *list, const char *net);
// What cannot be used is left out: e then says what, and 1 is returned. No file is an empty list.
int docker_networks_load(const char *path, struct docker_network **ret, struct err *e);
int docker_networks_parse(const char *text, size_t len, struct docker_network **ret, struct err *e);
int docker_networks_save(const char *path, const struct docker_network *list, struct err *e);
