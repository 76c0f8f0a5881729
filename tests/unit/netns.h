// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests that need a kernel: a fresh network namespace for each, and programs run in it as a second pair of eyes.
#pragma once

#include <jansson.h>
#include <stddef.h>

// Puts the calling test into a network namespace of its own with lo up. Where that is not allowed the test is skipped,
// or failed when WEFT_REQUIRE_ALL=1 is set.
void netns_enter(void);

// Runs a program by its words, NULL last, and fails the test when it fails.
void netns_run(const char *program, ...) __attribute__((sentinel));
// The same; what it printed is JSON. New reference.
json_t *netns_json(const char *program, ...) __attribute__((sentinel));
// The same; it printed a JSON array, and this is its length.
size_t netns_json_count(const char *program, ...) __attribute__((sentinel));

// Members of a JSON object; the test fails when they are absent or of another type.
const char *json_text_of(const json_t *object, const char *name);
long json_int_of(const json_t *object, const char *name);
int json_bool_of(const json_t *object, const char *name);
