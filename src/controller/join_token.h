// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the token that agents join with, which follows from the admin's: controllers that share the one share the other.
#pragma once

#define JOIN_TOKEN_MAX 65 // 256 bits in hex, terminated

void join_token_of(const char *admin_token, char ret[static JOIN_TOKEN_MAX]);
