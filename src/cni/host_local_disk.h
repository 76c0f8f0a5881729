// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: host-local's directory of one network: a file for each address, named by it, with the owner inside; the address that
// each range set gave last; a lock.
#pragma once

#include "cni/fault.h"
#include "core/ip.h"

#include <stdbool.h>
#include <stddef.h>

struct disk {
	int directory, lock; // descriptors
};

// Makes the directory if need be and takes the lock, which lasts until disk_close.
int disk_open(struct disk *ret, const char *data_dir, const char *network, struct fault *fault);
void disk_close(struct disk *disk);

// 0; -EEXIST: another has it; -EIO. Also notes it as the last of its set.
int disk_reserve(const struct disk *disk, const char *id, const char *ifname, const struct ip *ip,
		 size_t set, struct fault *fault);
void disk_give_back(const struct disk *disk, const struct ip *ip); // what this call reserved
// The address that the set gave last, or none.
struct ip disk_last(const struct disk *disk, size_t set);
// The addresses of one attachment: at most max of them, how many in *ret_count.
int disk_find(const struct disk *disk, const char *id, const char *ifname, struct ip *ret,
	      size_t max, size_t *ret_count, struct fault *fault);
// Removes its files; none is fine.
int disk_release(const struct disk *disk, const char *id, const char *ifname, struct fault *fault);

// Removes every file whose owner is not kept. ifname is "" for a file with an id alone.
typedef bool disk_kept_fn(void *arg, const char *id, const char *ifname);
int disk_sweep(const struct disk *disk, disk_kept_fn *kept, void *arg, struct fault *fault);
