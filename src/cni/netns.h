// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the network namespaces of a call: the host's, where the plugin was started, and the container's.
#pragma once

#include "cni/call.h"

struct netns {
	int host, container; // descriptors, -1 if not open
};
#define NETNS_NONE ((struct netns){ .host = -1, .container = -1 })

// -ENOENT: it is gone (nothing more is wrong); -EIO: fault is set, also when it is the plugin's own namespace.
int netns_open(struct netns *ret, const struct call *call, struct fault *fault);
void netns_close(struct netns *netns);
int netns_enter(int fd, struct fault *fault);
