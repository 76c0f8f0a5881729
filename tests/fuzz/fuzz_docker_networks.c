// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the file of networks that Docker has of us.
#include "fuzz.h"

#include "agent/docker_networks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct docker_network *list = NULL;
	struct err e = { 0 };
	size_t count = 0;
	int r = docker_networks_parse((const char *)data, size, &list, &e);

	must(r <= 1 && (r == 0 || e.msg[0] != '\0'));
	must(r >= 0 || !list);
	for (const struct docker_network *at = list; at; at = at->next, count++)
		must(docker_id_is_good(at->id) && ipnet_contains(&at->pool, &at->gateway));
	must(count <= DOCKER_NETWORKS_MAX);
	docker_networks_free(list);
	return 0;
}
