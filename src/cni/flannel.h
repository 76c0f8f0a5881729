// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the meta plugin flannel: from subnet.env and its own configuration to that of the plugin which does the work.
#pragma once

#include "cni/subnet_file.h"

#include "cni/call.h"

int flannel_run(const struct call *call, const struct conf *conf, struct strbuf *out,
		struct fault *fault);

// The delegate's configuration, with sorted keys as Go writes them. file NULL: what a DEL needs, without ranges.
int flannel_build(const struct conf *conf, const struct subnet_file *file, struct strbuf *out,
		  struct fault *fault);
