// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who has the subnet of a lease on this host. Two bridges with one subnet would each answer for half of its containers, so
// there is one: docker0, a bridge of CNI, or a network of Docker's that the plugin made. What has an address of the subnet tells
// itself; the plugin's claim is a file, RUN_DIR/subnet-owner/10.1.2.0-24, for those who would be the second.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"

#define SUBNET_OWNER_DIR "subnet-owner" // in the run directory

struct network;

// -EADDRINUSE: something else than devices of weft's has an address of it; the message names it.
int subnet_owner_check(const struct network *network, const struct ipnet *subnet, struct err *e);
int subnet_owner_claim(const char *run_dir, const struct ipnet *subnet, const char *docker_id,
		       struct err *e);
void subnet_owner_release(const char *run_dir, const struct ipnet *subnet); // not claimed is fine
