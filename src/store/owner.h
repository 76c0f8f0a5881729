// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the mark in a lease's value that says whose it is, to a controller that guards it (docs/controller-api.md).
//
// DOC: identity, owner, mark
//
// An identity is a secret of a host: text that it makes once, keeps, and shows to controllers alone. The owner is a digest
// of it, which anybody may know: a controller that is shown the identity finds the owner, nobody the other way round.
// The mark is the owner in a member of the lease's value, so that every controller of a store knows whose a lease is,
// also after a restart, and a store needs no more keys and no more writes for it.
#pragma once

#include "core/err.h"
#include "core/ip.h"

#include <stdbool.h>
#include <stddef.h>

#define OWNER_MEMBER "WeftOwner"
#define OWNER_MAX 33 // 128 bits in hex, terminated
#define OWNER_IDENTITY_MIN 32
#define OWNER_IDENTITY_MAX 128
#define OWNER_IDENTITY_BYTES 32 // of one that is made, before they are hex

// Visible ASCII characters, so many that nobody guesses it. -EINVAL; the message never shows it.
int owner_check_identity(const char *identity, struct err *e);
void owner_of(const char *identity, char ret[static OWNER_MAX]);
// The members of a lease that weft does not know (lease_attrs.extra, or NULL) with this mark among them. Caller frees.
char *owner_mark(const char *extra, const char *owner);
bool owner_is_marked(const char *extra, const char *owner);

// What a value says of who wrote it. One that is no lease says it by its mark alone.
struct owner_claim {
	bool is_lease;
	bool is_marked;
	char mark[OWNER_MAX]; // "" with is_marked: the mark is not one that anybody can have
	struct ip ip;
	struct ip ipv6;
};
void owner_read(const void *value, size_t len, struct owner_claim *ret); // value NULL: too large to be had
