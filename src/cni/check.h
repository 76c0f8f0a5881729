// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: CHECK, as far as it is the same for all modes: addresses, and what is in the container.
#pragma once

#include "cni/device.h"
#include "cni/result.h"

// ret_prev: the prevResult. ret_peer: index of the container's other end on the host.
int check_run(const struct call *call, const struct conf *conf, struct result *ret_prev,
	      uint32_t *ret_peer, struct fault *fault);
// The interface of that name, inside a container or on the host; NULL.
const struct result_interface *check_find(const struct result *prev, const char *name, bool inside);
bool check_mac_differs(const struct device *device, const struct result_interface *interface);
