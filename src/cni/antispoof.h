// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: keeping a container on a bridge from sending with a MAC or an IP address that is not its own.
#pragma once

#include "cni/veth.h"

// What the container behind this port may send with: its MAC and the result's addresses.
int antispoof_add(uint32_t ifindex, const struct mac *mac, const struct result *result,
		  struct fault *fault);
// Forgets what was said of devices that are gone. Without the table there is nothing to do.
int antispoof_sweep(struct fault *fault);
