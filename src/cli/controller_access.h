// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking a controller what is not of the store behind it.
#pragma once

#include "cli/cli.h"

// Takes request over. CLI_OK: *ret is the answer, a new reference; else what was printed.
enum cli_exit controller_ask(struct cli *cli, const char *path, json_t *request, json_t **ret);
