// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: subnet.env as flannel's CNI plugin reads it: lines, each parted at its first '='; no quotes.
#pragma once

#include "cni/fault.h"
#include "core/ipnet.h"

#include <stdbool.h>
#include <stddef.h>

#define SUBNET_FILE_DEFAULT "/run/flannel/subnet.env"
#define SUBNET_FILE_NETWORKS_MAX 32

struct subnet_file {
	size_t network_count;
	struct ipnet networks[SUBNET_FILE_NETWORKS_MAX]; // IPv4 before IPv6
	struct ipnet subnet_v4, subnet_v6;		 // unset if not there
	unsigned int mtu_bytes;
	bool ip_masq;
};

int subnet_file_read(const char *path, struct subnet_file *ret, struct fault *fault);
// path is for messages.
int subnet_file_parse(const char *path, const char *text, struct subnet_file *ret, struct fault *fault);
