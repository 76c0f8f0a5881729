// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the log of a running weftd: what is told of it, and that what was left out is told.
#pragma once

#include "io/loop.h"

#include <jansson.h>

// For /agent/v1/log. New reference.
json_t *log_control_view(void);

// Tells every few seconds what limits left out. NULL is fine; returns NULL.
struct log_teller;
struct log_teller *log_teller_new(struct loop *loop);
struct log_teller *log_teller_free(struct log_teller *teller);
