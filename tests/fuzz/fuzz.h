// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what every fuzz target includes.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Called for each input, by libFuzzer or by replay.c. Always returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What must hold whatever the input says. Not assert: it must not vanish with NDEBUG.
#define must(condition)                                                                       \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                              \
		}                                                                             \
	} while (0)

// A terminated copy on the heap, so that a sanitizer sees a read beyond it. The caller frees it.
static inline char *text_of(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	must(text);
	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}
