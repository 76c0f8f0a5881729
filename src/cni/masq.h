// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: masquerading of single containers (ipMasq): one nftables set for each network with one rule, made with its first
// container; a container is an element. So neither attaching nor detaching runs iptables.
#pragma once

#include "cni/result.h"

#define MASQ_TABLE "weft-cni" // of the families ip and ip6

int masq_add(const struct result *result, struct fault *fault); // its ips
int masq_del(const struct result *result, struct fault *fault); // what is not there is fine
