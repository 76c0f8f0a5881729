// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the bodies that Docker's plugin is sent; the first byte says for which method.
#include "fuzz.h"

#include "agent/docker_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct docker_request request;
	struct err e = { 0 };
	enum docker_method method;
	int r;

	if (size == 0)
		return 0;
	method = (enum docker_method)(data[0] % DOCKER_METHOD_COUNT);
	r = docker_request_parse(method, (const char *)data + 1, size - 1, &request, &e);
	must(r <= 0 && (r < 0) == (e.msg[0] != '\0'));
	if (r < 0)
		return 0;
	must(request.net != NULL && strlen(request.net) < DOCKER_POOL_ID_MAX);
	must(!request.network || docker_id_is_good(request.network));
	must(!request.endpoint || (request.network && docker_id_is_good(request.endpoint)));
	if (method == DOCKER_CREATE_NETWORK)
		must(ipnet_is_set(&request.pool) && ip_is_set(&request.gateway));
	if (method == DOCKER_CREATE_ENDPOINT)
		must(request.address.family == AF_INET);
	if (method == DOCKER_REQUEST_ADDRESS || method == DOCKER_RELEASE_ADDRESS)
		must(ipnet_is_set(&request.pool));
	docker_request_free(&request);
	return 0;
}
