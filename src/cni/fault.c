// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a plugin tells its runtime when it fails.
#include "cni/fault.h"

#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int fault_set(struct fault *fault, unsigned int code, const char *format, ...)
{
	va_list args;

	fault->code = code;
	fault->details[0] = '\0';
	va_start(args, format);
	(void)vsnprintf(fault->msg, sizeof(fault->msg), format, args);
	va_end(args);
	text_sanitize(fault->msg);
	return -EIO;
}

void fault_details(struct fault *fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(fault->details, sizeof(fault->details), format, args);
	va_end(args);
	text_sanitize(fault->details);
}

int fault_wrap(struct fault *fault, const char *format, ...)
{
	char text[sizeof(fault->msg)], whole[sizeof(fault->msg)];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)text_format(whole, sizeof(whole), "%s%s", text, fault->msg);
	(void)text_copy(fault->msg, sizeof(fault->msg), whole);
	text_sanitize(fault->msg);
	return -EIO;
}
