// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading and writing /proc/sys of the calling thread's network namespace.
#pragma once

#include "core/err.h"

#include <stddef.h>
#include <stdint.h>

// path relative to /proc/sys, e.g. "net/ipv4/ip_forward"; device names are put in with sysctl_device_path so that dots and slashes in them are safe.
int sysctl_read(const char *path, char *ret, size_t size, struct err *e); // trailing newline cut
int sysctl_read_int(const char *path, int64_t *ret, struct err *e);
int sysctl_write(const char *path, const char *value, struct err *e);
// "net/ipv6/conf", "flannel.1", "accept_ra" -> path; -EINVAL for a device name with '/' or "..".
int sysctl_device_path(const char *directory, const char *device, const char *name, char *ret,
		       size_t size);
