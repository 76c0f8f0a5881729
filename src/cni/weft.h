// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the interface plugin weft: which of its modes attaches a container.
#pragma once

#include "cni/call.h"

int weft_run(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault);
