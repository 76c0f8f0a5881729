// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: hash functions. hash_bytes is for tables whose keys outsiders choose (keyed per process);
// hash_stable is the same on every host and for ever.
#pragma once

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t len);  // SipHash-2-4 with a per-process random key
uint64_t hash_stable(const void *data, size_t len); // FNV-1a 64 with a final avalanche
uint64_t hash_siphash(const uint64_t key[static 2], const void *data,
		      size_t len); // the same with a given key
