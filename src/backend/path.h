// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which way each family's packets take to a peer: the direct one where there is one, else the backend's own; and how that is told.
#pragma once

#include "backend/direct.h"
#include "reconcile/wanted.h"

// The direct way, for a backend that has another one as well: adds the route to subnet through the peer's public address and notes the path, if the peer
// is on a segment of ours. False: it is not; ret_why: why (static text), for path_note of the other way.
bool path_try_direct(struct wanted *wanted, const struct ipnet *subnet, const struct ip *remote,
		     const struct underlay_path *path, const char **ret_why);

// Notes how one family's packets travel, and why (static text, "" if there was no choice). Of two families that differ it becomes "mixed".
void path_note(struct wanted *wanted, const char *path, const char *why);
