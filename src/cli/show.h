// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how single values look to people.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define SHOW_DURATION_MAX 24

// "45s", "5m10s", "2h03m", "12d04h". Returns buf.
const char *show_duration(uint64_t seconds, char buf[static SHOW_DURATION_MAX]);

// Is standard output a terminal that is to be coloured (NO_COLOR unset).
bool show_has_colour(void);
// Prints text made fit to be shown, in bold red if coloured.
void show_alarm(const char *text);

// Members of an answer, with something to print when they are absent or of another type.
const char *show_text(const json_t *object, const char *name);	   // "" then
int64_t show_number(const json_t *object, const char *name);	   // 0 then
bool show_flag(const json_t *object, const char *name);		   // false then
const json_t *show_member(const json_t *object, const char *name); // NULL then
