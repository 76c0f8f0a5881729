// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: aligned tables for people.
#include "cli/table.h"

#include "core/mem.h"
#include "core/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define GAP 2 // blanks between columns

struct table {
	const char *const *headings;
	size_t columns;
	char **cells; // row by row
	size_t count;
	size_t capacity;
	size_t widths[TABLE_COLUMNS_MAX];
};

// Columns on a terminal, as far as one letter is one column.
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			width++;
	return width;
}

struct table *table_new(const char *const *headings)
{
	struct table *table = xnew(struct table);

	table->headings = headings;
	for (; headings[table->columns]; table->columns++) {
		assert(table->columns < TABLE_COLUMNS_MAX);
		table->widths[table->columns] = text_width(headings[table->columns]);
	}
	return table;
}

struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
	return NULL;
}

void table_add(struct table *table, const char *text)
{
	size_t column = table->count % table->columns;
	size_t width;
	char *cell = xstrdup(text && *text ? text : "-");

	text_sanitize(cell);
	if (table->count == table->capacity) {
		table->capacity = table->capacity > 0 ? 2 * table->capacity : 64;
		table->cells = xrealloc_array(table->cells, table->capacity, sizeof(*table->cells));
	}
	table->cells[table->count++] = cell;
	width = text_width(cell);
	if (width > table->widths[column])
		table->widths[column] = width;
}

size_t table_rows(const struct table *table)
{
	return table->count / table->columns;
}

static void print_row(const struct table *table, const char *const *cells, unsigned int indent)
{
	printf("%*s", (int)indent, "");
	for (size_t column = 0; column < table->columns; column++) {
		size_t pad = table->widths[column] + GAP - text_width(cells[column]);

		// Nothing behind the last, so that no line ends in blanks.
		printf("%s%*s", cells[column], column + 1 < table->columns ? (int)pad : 0, "");
	}
	putchar('\n');
}

void table_print(const struct table *table, unsigned int indent)
{
	print_row(table, table->headings, indent);
	for (size_t row = 0; row < table_rows(table); row++)
		print_row(table, (const char *const *)table->cells + row * table->columns, indent);
}
