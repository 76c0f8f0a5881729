// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a document's reader and its builder share: memory that goes with the document.
#pragma once

#include "cni/doc.h"

void *doc_allocate(struct doc *doc, size_t size);		     // never NULL
const char *doc_keep(struct doc *doc, const char *text, size_t len); // terminated
