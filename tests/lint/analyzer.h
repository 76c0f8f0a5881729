// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what clang's analyzer must be told, for it sees one file at a time: these never return success.
#pragma once

#include "core/err.h"

#define err_set(e, code, ...)                                  \
	({                                                     \
		int analyzed_code_ = (code);                   \
		(void)err_set(e, analyzed_code_, __VA_ARGS__); \
		analyzed_code_ < 0 ? analyzed_code_ : -1;      \
	})
#define err_wrap(e, ...) (err_wrap(e, __VA_ARGS__), -1)
