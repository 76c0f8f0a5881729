// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the versions of the CNI specification that the plugins speak.
#pragma once

#include "core/strbuf.h"

enum cni_version {
	CNI_0_1_0,
	CNI_0_2_0,
	CNI_0_3_0,
	CNI_0_3_1,
	CNI_0_4_0,
	CNI_1_0_0,
	CNI_1_1_0,
	CNI_VERSION_COUNT,
};

const char *cni_version_name(enum cni_version version);
int cni_version_parse(const char *text,
		      enum cni_version *ret); // exactly one of them, or "" for 0.1.0; -EINVAL
void cni_version_list(struct strbuf *out);    // a JSON array of all
