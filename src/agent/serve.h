// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd as a controller: from its start until a signal ends it.
#pragma once

#include "agent/options.h"
#include "io/loop.h"

// Until SIGTERM or SIGINT. Errors: what keeps it from listening.
int serve(struct loop *loop, const struct options *options, char *const *environment, struct err *e);
