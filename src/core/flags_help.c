// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the list of flags as help shows it.
#include "core/flags.h"

#include "core/flags_internal.h"
#include "core/mem.h"

#include <string.h>

#define TEXT_COLUMN 34 // where the explanations start
#define LINE_COLUMNS 100

static bool has_default(const struct flag *flag)
{
	return flag->standard && flag->standard[0] != '\0' && !(flag->properties & FLAG_SECRET);
}

static void new_line(struct strbuf *out, size_t *column)
{
	(void)strbuf_printf(out, "\n%*s", TEXT_COLUMN, "");
	*column = TEXT_COLUMN;
}

// Adds one word, on a new line where it does not fit; *column is where the cursor is.
static void put_word(struct strbuf *out, const char *word, size_t len, size_t *column)
{
	if (*column != TEXT_COLUMN && *column + 1 + len > LINE_COLUMNS)
		new_line(out, column);
	if (*column != TEXT_COLUMN) {
		(void)strbuf_putc(out, ' ');
		(*column)++;
	}
	(void)strbuf_add(out, word, len);
	*column += len;
}

static void put_words(struct strbuf *out, const char *text, size_t *column)
{
	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		put_word(out, text, len, column);
		text += len;
		text += strspn(text, " ");
	}
}

static void help_flag(const struct flag *flag, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf standard = STRBUF_INIT(256);
	size_t before = out->len, column;

	(void)strbuf_printf(out, "  --%s", flag->name);
	if (flag->kind != FLAG_BOOL)
		(void)strbuf_printf(out, "=%s", flag->value_name ? flag->value_name : "VALUE");
	column = out->len - before;
	if (column + 2 > TEXT_COLUMN)
		new_line(out, &column);
	else
		(void)strbuf_printf(out, "%*s", (int)(TEXT_COLUMN - column), "");
	column = TEXT_COLUMN;
	put_words(out, flag->help, &column);
	if (flag->kind == FLAG_REPEATED)
		put_words(out, "May be repeated.", &column);
	if (has_default(flag)) {
		(void)strbuf_printf(&standard, "[default: %s]", flag->standard);
		put_word(out, strbuf_text(&standard), standard.len, &column);
	}
	(void)strbuf_putc(out, '\n');
}

void flag_set_help(const struct flag_set *set, struct strbuf *out)
{
	for (size_t t = 0; t < set->count; t++) {
		const struct flag_table *table = &set->tables[t];

		if (table->title)
			(void)strbuf_printf(out, "\n%s\n", table->title);
		for (size_t i = 0; i < table->count; i++)
			if (!(table->flags[i].properties & FLAG_HIDDEN))
				help_flag(&table->flags[i], out);
	}
}
