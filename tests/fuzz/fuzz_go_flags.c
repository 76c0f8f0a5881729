// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the value syntax of flags and the number parsers.
#include "fuzz.h"

#include "core/mem.h"
#include "core/parse.h"

#include <errno.h>
#include <inttypes.h>

static void must_be_code(int r)
{
	must(r == 0 || r == -EINVAL || r == -ERANGE);
}

static void check_integers(const char *text)
{
	int64_t value = 0, again = 0, bounded = 7;
	uint64_t unsigned_value = 0;
	char shown[32];
	int r;

	r = parse_go_int(text, INT64_MIN, INT64_MAX, &value);
	must_be_code(r);
	if (r == 0) {
		(void)snprintf(shown, sizeof(shown), "%" PRId64, value);
		must(parse_go_int(shown, INT64_MIN, INT64_MAX, &again) == 0 && again == value);
		must(parse_whole_i64(shown, &again) == 0 && again == value);
		r = parse_go_int(text, 1, 1439, &bounded);
		must((r == 0) == (value >= 1 && value <= 1439));
		must(bounded == (r == 0 ? value : 7));
	}
	r = parse_whole_u64(text, UINT64_MAX, &unsigned_value);
	must_be_code(r);
	if (r == 0) {
		(void)snprintf(shown, sizeof(shown), "%" PRIu64, unsigned_value);
		must(strstr(text, shown)); // leading zeros apart
	}
	must_be_code(parse_whole_i64(text, &again));
}

static void check_cursors(const char *text)
{
	const char *end = text + strlen(text);
	const char *cursor = text;
	uint64_t value;

	while (!parse_end(cursor)) {
		const char *before = cursor;

		if (!parse_u64(&cursor, 1000, &value) && !parse_hex(&cursor, 4, &value) &&
		    !parse_literal(&cursor, "=="))
			must(cursor == before && parse_char(&cursor, *cursor));
		must(cursor > before && cursor <= end);
	}
	must(cursor == end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	uint64_t ms = 0;
	bool yes = false;
	int r;

	check_integers(text);
	check_cursors(text);
	must_be_code(parse_go_bool(text, &yes));
	r = parse_go_duration_ms(text, &ms);
	must_be_code(r);
	must(ms <= (uint64_t)INT64_MAX / 1000000 + 1);
	return 0;
}
