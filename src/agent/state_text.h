// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the lines of the state files: making them and reading them. No I/O.
#pragma once

#include "agent/state_file.h"

#include <stdint.h>

// Each adds one whole line. What is not valid UTF-8 is left out: false.
void state_put_header(struct strbuf *out, const char *prefix);
bool state_put_config(struct strbuf *out, const char *config_text);
void state_put_lease(struct strbuf *out, const struct lease *lease);
void state_put_mac(struct strbuf *out, const struct state_mac *mac);
void state_put_peer(struct strbuf *out, const struct lease *lease);
void state_put_end(struct strbuf *out, uint64_t lines); // how many came before

// Reads a whole file into ret, which must be zero and on failure is so again. peers is made when
// NULL. -EPROTONOSUPPORT: a newer schema. -EBADMSG: torn or corrupt, the message names the line.
// -ESTALE: of another network; ret holds the MACs.
int state_decode(const char *text, size_t len, const char *prefix, struct state *ret, struct err *e);
