// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: struct err, what a function tells a person beyond its errno.
#include "core/err.h"

#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int code, const char *format, ...)
{
	char text[ERR_MSG_MAX]; // the arguments may point into e->msg
	va_list args;

	if (!e)
		return code;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	text_sanitize(text);
	e->code = code;
	memcpy(e->msg, text, sizeof(e->msg));
	return code;
}

int err_wrap(struct err *e, const char *format, ...)
{
	char text[ERR_MSG_MAX];
	size_t len, room;
	va_list args;

	if (!e)
		return -EIO;
	if (e->code == 0)
		e->code = -EIO;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);

	len = strlen(text);
	room = sizeof(text) - len;
	(void)text_format(text + len, room, ": %s", err_msg(e));
	text_sanitize(text);
	memcpy(e->msg, text, sizeof(e->msg));
	return e->code;
}

const char *err_msg(const struct err *e)
{
	if (!e)
		return "unknown error";
	if (e->msg[0] != '\0')
		return e->msg;
	return e->code != 0 ? strerror(e->code < 0 ? -e->code : e->code) : "no error";
}
