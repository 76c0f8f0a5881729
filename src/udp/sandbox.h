// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: giving up what the packet process needs only at its start.
#pragma once

#include "core/err.h"

// All capabilities, for good. Before threads are made: it is for the calling one.
int sandbox_drop_capabilities(struct err *e);
// From here on, of all threads, only the system calls that the packet path makes. Others fail with EPERM.
int sandbox_filter_calls(struct err *e);
