// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the lines of the journal, see journal.h.
#pragma once

#include "ipam/journal.h"

// Each adds one line.
void journal_line_head(struct strbuf *out, const char *boot, const char *prefix);
void journal_line_use(struct strbuf *out, const struct holder *holder);
void journal_line_free(struct strbuf *out, const struct ip *ip, uint64_t key_hash, uint64_t at_ms);
void journal_line_done(struct strbuf *out, const struct ip *ip);
void journal_line_session(struct strbuf *out, int64_t session);
