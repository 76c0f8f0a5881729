// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which capabilities weftd, and what it starts, goes on with.
#pragma once

#include "agent/options.h"

// Gives up all that is not needed for what the options ask for, for good, and with it what children could get by being root's. To be called
// before there are threads, each of which has its own. What it keeps is told in docs/systemd.md. Where the kernel refuses the log
// says so, and weftd goes on with what it has.
void privileges_drop(const struct options *options);
