// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the bodies that the address service is sent; the first byte says for which path.
#include "fuzz.h"

#include "agent/ipam_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipam_request request;
	struct err e = { 0 };
	enum ipam_verb verb;
	int r;

	if (size == 0)
		return 0;
	verb = (enum ipam_verb)(data[0] % IPAM_VERB_COUNT);
	r = ipam_request_parse(verb, (const char *)data + 1, size - 1, &request, &e);
	must(r <= 0 && (r < 0) == (e.msg[0] != '\0'));
	if (r == 0) {
		must(*request.key.name && !strchr(request.key.name, '/'));
		must(request.ip_count <= IPAM_REQUEST_IPS_MAX);
		must(!request.sticky || *request.pod);
		if (verb != IPAM_GC)
			must(*request.key.cid && *request.key.ifname && !strchr(request.key.cid, '/'));
		for (size_t i = 0; i < request.keep_count; i++)
			must(*request.keep[i].cid && *request.keep[i].ifname);
	}
	ipam_request_free(&request);
	return 0;
}
