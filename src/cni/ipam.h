// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: where a container's addresses come from, behind one set of operations: host-local in-process, another plugin, or
// nowhere.
#pragma once

#include "cni/args.h"
#include "cni/result.h"

// Whether the configuration asks for addresses at all.
bool ipam_wanted(const struct conf *conf);
// keep owns texts in *ret.
int ipam_add(const struct call *call, const struct conf *conf, const struct wish *wish,
	     struct doc *keep, struct result *ret, struct fault *fault);
int ipam_del(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_check(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_status(const struct call *call, const struct conf *conf, struct fault *fault);
int ipam_gc(const struct call *call, const struct conf *conf, struct fault *fault);
