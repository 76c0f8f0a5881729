// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what every unit test includes: cmocka with the headers it wants, and a check that says which case failed.
#pragma once

// clang-format off: cmocka.h needs the others before it
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on

// A row of a table says only what matters to its case.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// For tables of cases: the text names the case.
#define check(condition, ...)                  \
	do {                                   \
		if (!(condition))              \
			fail_msg(__VA_ARGS__); \
	} while (0)
