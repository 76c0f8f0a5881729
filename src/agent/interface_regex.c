// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the regular expressions of --iface-regex.
#include "agent/interface_regex.h"

#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define PATTERN_MAX 1024
#define PARENTHESES_MAX 100
// Matching an interface name takes a few dozen steps; what takes this many is an expression gone
// wrong.
#define MATCH_STEPS_MAX 100000
#define MATCH_HEAP_KIB 1024

struct interface_regex {
	pcre2_code *code;
	pcre2_match_data *match;
	pcre2_match_context *limits;
};

static pcre2_code *compile(const char *pattern, int *ret_error, PCRE2_SIZE *ret_offset)
{
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	pcre2_code *code;

	if (!context)
		abort(); // out of memory, as elsewhere
	(void)pcre2_set_parens_nest_limit(context, PARENTHESES_MAX);
	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_NEVER_BACKSLASH_C,
			     ret_error, ret_offset, context);
	pcre2_compile_context_free(context);
	return code;
}

int interface_regex_new(const char *pattern, struct interface_regex **ret, struct err *e)
{
	struct interface_regex *regex;
	PCRE2_SIZE offset = 0;
	PCRE2_UCHAR why[128];
	char shown[TEXT_EXCERPT_MAX];
	pcre2_code *code;
	int error = 0;

	(void)text_excerpt(pattern, strlen(pattern), shown);
	if (strlen(pattern) > PATTERN_MAX)
		return err_set(e, -EINVAL, "\"%s\" is longer than %d bytes", shown, PATTERN_MAX);
	code = compile(pattern, &error, &offset);
	if (!code) {
		(void)pcre2_get_error_message(error, why, sizeof(why));
		return err_set(e, -EINVAL, "\"%s\": %s at character %zu", shown, (const char *)why,
			       (size_t)offset + 1);
	}
	regex = xnew(struct interface_regex);
	regex->code = code;
	regex->match = pcre2_match_data_create(1, NULL);
	regex->limits = pcre2_match_context_create(NULL);
	if (!regex->match || !regex->limits)
		abort();
	(void)pcre2_set_match_limit(regex->limits, MATCH_STEPS_MAX);
	(void)pcre2_set_heap_limit(regex->limits, MATCH_HEAP_KIB);
	*ret = regex;
	return 0;
}

struct interface_regex *interface_regex_free(struct interface_regex *regex)
{
	if (!regex)
		return NULL;
	pcre2_match_context_free(regex->limits);
	pcre2_match_data_free(regex->match);
	pcre2_code_free(regex->code);
	free(regex);
	return NULL;
}

bool interface_regex_matches(const struct interface_regex *regex, const char *text)
{
	return pcre2_match(regex->code, (PCRE2_SPTR)text, strlen(text), 0, 0, regex->match,
			   regex->limits) >= 0;
}
