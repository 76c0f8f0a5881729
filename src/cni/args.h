// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: CNI_ARGS, and what else of a call asks for addresses, a MAC and says who the pod is.
#pragma once

#include "cni/call.h"
#include "core/ipnet.h"
#include "core/mac.h"

#define WISH_IPS_MAX 16
#define WISH_TEXT_MAX 254

// What one attachment asks for.
struct wish {
	bool mac_set;
	struct mac mac;
	size_t ip_count;
	struct ip ips[WISH_IPS_MAX];
	char pod_namespace[WISH_TEXT_MAX], pod_name[WISH_TEXT_MAX], pod_uid[WISH_TEXT_MAX];
};

// From CNI_ARGS, the configuration's args.cni and runtimeConfig: addresses add up, a MAC of the later one counts. An unknown
// key is an error unless IgnoreUnknown says otherwise.
int wish_read(struct wish *ret, const struct call *call, const struct conf *conf, struct fault *fault);
