// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: moments of the calendar as text: RFC 3339 as Go writes it, and the Date of HTTP.
#include "core/timestamp.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400
#define YEAR_9999_END_MS 253402300799999LL

struct moment {
	int64_t year;
	unsigned int month, day; // from 1
	unsigned int hour, minute, second;
	unsigned int ms;
};

int64_t timestamp_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ---- the calendar; a year begins in March here, so that the odd day is its last ----

static int64_t days_of(int64_t year, unsigned int month, unsigned int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t month_from_march = (month + 9) % 12;
	int64_t day_of_year = (153 * month_from_march + 2) / 5 + day - 1;

	// Years are positive, so that division rounds down.
	return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

static void date_of(int64_t days, struct moment *ret)
{
	int64_t since = days + 719468; // days since 1 March of the year 0
	int64_t era = since / 146097;
	int64_t of_era = since % 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t month = (5 * of_year + 2) / 153;

	ret->day = (unsigned int)(of_year - (153 * month + 2) / 5 + 1);
	ret->month = (unsigned int)(month < 10 ? month + 3 : month - 9);
	ret->year = year + era * 400 + (ret->month <= 2 ? 1 : 0);
}

static unsigned int month_days(int64_t year, unsigned int month)
{
	static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

static bool is_moment(const struct moment *moment)
{
	return moment->year >= 1 && moment->month >= 1 && moment->month <= 12 && moment->day >= 1 &&
	       moment->day <= month_days(moment->year, moment->month) && moment->hour <= 23 &&
	       moment->minute <= 59 && moment->second <= 60;
}

static int64_t ms_of(const struct moment *moment)
{
	int64_t days = days_of(moment->year, moment->month, moment->day);
	int64_t seconds = days * DAY_S + moment->hour * 3600 + moment->minute * 60 + moment->second;

	return seconds * 1000 + moment->ms;
}

// ---- text ----

void timestamp_format(int64_t ms, char ret[static TIMESTAMP_MAX])
{
	struct moment moment;
	char fraction[8] = "";
	int64_t day_ms;

	if (ms < TIMESTAMP_ZERO_MS)
		ms = TIMESTAMP_ZERO_MS;
	if (ms > YEAR_9999_END_MS)
		ms = YEAR_9999_END_MS;
	day_ms = (ms - TIMESTAMP_ZERO_MS) % (DAY_S * 1000LL);
	date_of((ms - day_ms) / (DAY_S * 1000LL), &moment);
	if (day_ms % 1000 != 0) {
		(void)text_format(fraction, sizeof(fraction), ".%03d", (int)(day_ms % 1000));
		for (size_t len = strlen(".000"); len > 1 && fraction[len - 1] == '0'; len--)
			fraction[len - 1] = '\0';
	}
	day_ms /= 1000;
	(void)text_format(ret, TIMESTAMP_MAX, "%04d-%02u-%02uT%02d:%02d:%02d%sZ", (int)moment.year,
			  moment.month, moment.day, (int)(day_ms / 3600), (int)(day_ms / 60 % 60),
			  (int)(day_ms % 60), fraction);
}

// Exactly so many digits.
static bool parse_digits(const char **cursor, size_t count, unsigned int *ret)
{
	const char *p = *cursor;
	unsigned int value = 0;

	for (size_t i = 0; i < count; i++, p++) {
		if (*p < '0' || *p > '9')
			return false;
		value = value * 10 + (unsigned int)(*p - '0');
	}
	*cursor = p;
	*ret = value;
	return true;
}

static bool parse_clock(const char **cursor, struct moment *ret)
{
	return parse_digits(cursor, 2, &ret->hour) && parse_char(cursor, ':') &&
	       parse_digits(cursor, 2, &ret->minute) && parse_char(cursor, ':') &&
	       parse_digits(cursor, 2, &ret->second);
}

static bool parse_fraction(const char **cursor, unsigned int *ret_ms)
{
	unsigned int scale = 100, digit;

	*ret_ms = 0;
	if (!parse_char(cursor, '.'))
		return true;
	if (!parse_digits(cursor, 1, &digit))
		return false;
	do {
		*ret_ms += digit * scale;
		scale /= 10;
	} while (parse_digits(cursor, 1, &digit));
	return true;
}

static bool parse_offset(const char **cursor, int64_t *ret_ms)
{
	unsigned int hours, minutes;
	bool west;

	*ret_ms = 0;
	if (parse_char(cursor, 'Z'))
		return true;
	west = parse_char(cursor, '-');
	if ((!west && !parse_char(cursor, '+')) || !parse_digits(cursor, 2, &hours) ||
	    !parse_char(cursor, ':') || !parse_digits(cursor, 2, &minutes) || hours > 23 ||
	    minutes > 59)
		return false;
	*ret_ms = (int64_t)(hours * 60 + minutes) * 60000 * (west ? -1 : 1);
	return true;
}

int timestamp_parse(const char *text, int64_t *ret_ms)
{
	struct moment moment = { 0 };
	unsigned int year;
	int64_t offset_ms;
	const char *p = text;

	if (!parse_digits(&p, 4, &year) || !parse_char(&p, '-') ||
	    !parse_digits(&p, 2, &moment.month) || !parse_char(&p, '-') ||
	    !parse_digits(&p, 2, &moment.day) || !parse_char(&p, 'T') || !parse_clock(&p, &moment) ||
	    !parse_fraction(&p, &moment.ms) || !parse_offset(&p, &offset_ms) || !parse_end(p))
		return -EINVAL;
	moment.year = year;
	if (!is_moment(&moment))
		return -EINVAL;
	*ret_ms = ms_of(&moment) - offset_ms;
	return 0;
}

static bool parse_month(const char **cursor, unsigned int *ret)
{
	static const char *const names[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (parse_literal(cursor, names[i])) {
			*ret = i + 1;
			return true;
		}
	return false;
}

int timestamp_parse_http(const char *text, int64_t *ret_ms)
{
	struct moment moment = { 0 };
	const char *p = strchr(text, ','); // which day of the week it is says nothing
	unsigned int year;

	if (!p || !parse_literal(&p, ", ") || !parse_digits(&p, 2, &moment.day) ||
	    !parse_char(&p, ' ') || !parse_month(&p, &moment.month) || !parse_char(&p, ' ') ||
	    !parse_digits(&p, 4, &year) || !parse_char(&p, ' ') || !parse_clock(&p, &moment) ||
	    !parse_literal(&p, " GMT") || !parse_end(p))
		return -EINVAL;
	moment.year = year;
	if (!is_moment(&moment))
		return -EINVAL;
	*ret_ms = ms_of(&moment);
	return 0;
}
