// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: running another plugin as the specification has it: found in CNI_PATH, our environment, its configuration on
// standard input.
#pragma once

#include "cni/call.h"

// Runs type with command. out: what it printed. Its error becomes ours, with code and message; so does it lasting beyond the
// deadline, when it is killed.
int delegate_run(const struct call *call, enum command command, const char *type, const char *conf,
		 size_t len, struct strbuf *out, struct fault *fault);
