// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading a resolv.conf into the dns part of a result.
#pragma once

#include "cni/doc.h"
#include "cni/fault.h"

// *ret is of doc.
int resolv_read(const char *path, struct doc *doc, const struct doc_value **ret, struct fault *fault);
void resolv_parse(const char *text, struct doc *doc, const struct doc_value **ret);
