// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a plugin tells its runtime when it fails: a code of the CNI specification, a message and details.
#pragma once

// The specification's codes, and from 100 on our own.
enum fault_code {
	FAULT_VERSION = 1,
	FAULT_FIELD = 2,
	FAULT_ENVIRONMENT = 4,
	FAULT_IO = 5,
	FAULT_DECODE = 6,
	FAULT_CONFIG = 7,
	FAULT_NETNS = 8,
	FAULT_AGAIN = 11,
	FAULT_UNAVAILABLE = 50,
	FAULT_EXHAUSTED = 110,
	FAULT_TAKEN = 111,
	FAULT_INTERNAL = 999,
};

// A value on the caller's stack; nothing to release. Both texts are cut to fit and valid UTF-8.
struct fault {
	unsigned int code;
	char msg[1024];
	char details[1024];
};

// Stores and returns -EIO, whatever the code. fault_details: to be called after fault_set.
int fault_set(struct fault *fault, unsigned int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void fault_details(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Puts text in front of the message and returns -EIO.
int fault_wrap(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));
