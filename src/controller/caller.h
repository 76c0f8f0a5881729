// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who makes a request, as far as its head tells.
#pragma once

#include "core/ip.h"
#include "store/owner.h"

enum caller_role {
	CALLER_STRANGER, // without a token of ours
	CALLER_UNKNOWN,	 // with one that we cannot judge yet
	CALLER_AGENT,	 // reads, and writes what is its own
	CALLER_ADMIN,	 // writes everything; where no tokens are asked for, everybody
	CALLER_ROLE_COUNT
};

struct caller {
	enum caller_role role;
	char owner[OWNER_MAX]; // "" for one that shows no identity
	struct ip peer;
};
