// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd --cleanup: takes all of weft's and flannel's off this host while no agent runs, and tells what it does.
#pragma once

#include "agent/options.h"

// Adds a line for each thing, and what stays, to out. With options->dry_run nothing is changed. What cannot be removed is a line too, and the
// rest goes on: -EIO then. -EBUSY: an agent runs; nothing was done.
int cleanup_run(const struct options *options, struct strbuf *out, struct err *e);
