// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what an agent may write of the addresses of containers (store/address_record.h): what is in subnets that it has a
// lease of, and its node's record.
//
// DOC: whose is a record
//
// A record has its writer's mark, as a lease has. An agent writes records with its own mark, in subnets of leases that are
// its own, whoever's record was there before; what has its mark it may delete wherever it is. What an operator reserved stays
// reserved: a record of a reservation can be lent to the pod that it is for, and goes back to it, and is not deleted.
#pragma once

#include "controller/guard.h"
#include "core/ipnet.h"

enum guard_kind { GUARD_OTHER, GUARD_RECORD, GUARD_NODE };

struct guard_address {
	enum guard_kind kind;
	size_t network_len;  // of the key's part that is the network's prefix, with its slash
	struct ipnet subnet; // RECORD
	struct ip ip;
};

// OTHER: none of these keys.
void guard_address_key(const struct controller *controller, const char *key, size_t len,
		       struct guard_address *ret);
// Whether the caller owns a value, by its mark.
typedef bool guard_owns_fn(const struct caller *caller, const void *value, size_t len);
// What is to be written; before what is there is known.
int guard_address_value(const struct controller *controller, const struct caller *caller,
			const struct kv_write *write, const struct guard_address *address,
			guard_owns_fn *owns, struct err *e);
// In place of what is there; value NULL with len 0: nothing.
int guard_address_replace(const struct controller *controller, const struct caller *caller,
			  const struct kv_write *write, const struct guard_address *address,
			  const void *value, size_t len, guard_owns_fn *owns, struct err *e);
