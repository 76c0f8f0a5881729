// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: subnet.env, the file that tells container runtimes and CNI plugins of this host's subnet.
// COMPAT, to the byte.
#pragma once

#include "core/err.h"
#include "core/lease.h"
#include "core/strbuf.h"

#include <stdbool.h>
#include <stdint.h>

struct subnet_env {
	struct subnet network; // a family that is off: not set
	struct subnet subnet;
	uint32_t mtu_bytes; // 0 after reading: none
	bool ip_masq;
};

void subnet_env_format(const struct subnet_env *env, struct strbuf *out);
// Atomically, mode 0644 or an existing file's, its directory made; a file with the same content is
// not touched.
int subnet_env_write(const char *path, const struct subnet_env *env, struct err *e);
// dotenv syntax: comments, quotes, export, blanks. A value that cannot be used, and a list of
// several, leave their member unset; what was left out is added to notices (may be NULL), one line
// each. Never fails.
void subnet_env_parse(const char *text, size_t len, struct subnet_env *ret, struct strbuf *notices);
// -ENOENT when there is no file.
int subnet_env_read(const char *path, struct subnet_env *ret, struct strbuf *notices, struct err *e);
