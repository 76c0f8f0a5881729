// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bodies that the address service is sent, checked (docs/agent-ipam.md).
#pragma once

#include "ipam/ipam.h"

#include <jansson.h>

#define IPAM_BODY_MAX (64 * 1024)
#define IPAM_REQUEST_IPS_MAX 16

enum ipam_verb { IPAM_ADD, IPAM_DEL, IPAM_CHECK, IPAM_GC, IPAM_VERB_COUNT };

struct ipam_request {
	json_t *body; // what the texts below belong to
	const char *net;
	struct owner_key key; // gc: only the name
	const char *ns, *pod, *uid, *netns, *host_if;
	struct ip ips[IPAM_REQUEST_IPS_MAX];
	size_t ip_count;
	struct ip asked[FAMILY_COUNT]; // add: the same by family
	enum ipam_mode mode;
	bool sticky;
	struct owner_key *keep; // gc
	size_t keep_count;
};

// -EINVAL with what is wrong; *ret is to be freed either way.
int ipam_request_parse(enum ipam_verb verb, const char *text, size_t len, struct ipam_request *ret,
		       struct err *e);
void ipam_request_free(struct ipam_request *request);
int ipam_mode_parse(const char *text, enum ipam_mode *ret, struct err *e);
