// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: aligned tables for people.
#pragma once

#include <stddef.h>

#define TABLE_COLUMNS_MAX 10

struct table;
// Headings end with NULL and are borrowed.
struct table *table_new(const char *const *headings);
struct table *table_free(struct table *table);
static inline void table_freep(struct table **table)
{
	table_free(*table);
}
// Cells of one row after the other; copied, made fit to be shown, "-" for NULL or "".
void table_add(struct table *table, const char *text);
size_t table_rows(const struct table *table);
// Rows sorted by nothing: as they came. indent: blanks in front.
void table_print(const struct table *table, unsigned int indent);
