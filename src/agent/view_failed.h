// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers that a plan leaves out, for people.
#pragma once

#include "reconcile/trouble.h"

#include <jansson.h>

#define VIEW_FAILED_MAX 1000

// A new array of {"subnet", "ipv6_subnet", "error"}: those that cannot be programmed, or not as a whole, at most VIEW_FAILED_MAX. NULL: none.
json_t *view_failed(const struct trouble *trouble);
