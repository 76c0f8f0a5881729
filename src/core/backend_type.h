// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which values of Backend.Type this version of weft has, for whoever reads a config without being an agent.
#pragma once

#include "core/err.h"

// 0; -EOPNOTSUPP: there is no such backend, and the message says what to do about it.
int backend_type_check(const char *type, struct err *e);
