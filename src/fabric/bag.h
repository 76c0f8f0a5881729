// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a multiset of 64-bit hashes: "is there perhaps one?" in constant time and 16 bytes.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bag;
struct bag *bag_new(void);
struct bag *bag_free(struct bag *bag);
void bag_add(struct bag *bag, uint64_t key);
void bag_remove(struct bag *bag, uint64_t key); // one of them; it must be there
bool bag_has(const struct bag *bag, uint64_t key);
