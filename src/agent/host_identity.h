// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the secret by which this host proves to controllers that a lease is its own (store/owner.h), on disk.
#pragma once

#include "core/err.h"

// Reads DIRECTORY/identity, or makes it. Caller frees. Blocks for the disk: before the loop runs. The message names the
// file and says what to do.
int host_identity_open(const char *directory, char **ret, struct err *e);
