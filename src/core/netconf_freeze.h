// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the mark that stands in place of a network's config while no host may get a new lease.
//
// DOC: why it is a config that nobody accepts
//
// A frozen network must give no subnet to anybody, flannel of any version included, and flannel asks for
// nothing but the config. So the mark is a JSON object whose Network is a sentence: every flannel refuses
// it when it decodes it (other members it would ignore, and early versions also take a config without a
// Network), and says the sentence in its log. Who has a lease keeps it: flannel does not look at the
// config again, and our agents stay with the one they have. The member Frozen has the text that was there,
// to the byte, so that it can be put back.
#pragma once

#include "core/err.h"

#include <jansson.h>
#include <stddef.h>

#define NETCONF_FREEZE_ID_MAX 33     // bytes with the terminator
#define NETCONF_FREEZE_STORE_MAX 200 // of a store's description

enum netconf_freeze_state {
	NETCONF_FREEZE_FILLING, // the network is to come here: leases are being copied from the other store
	NETCONF_FREEZE_COPYING, // it is to go: leases are being copied to the other store
	NETCONF_FREEZE_OPENING, // all are there, and the other store may be open
	NETCONF_FREEZE_MOVED,	// the other store is open
	NETCONF_FREEZE_STATE_COUNT
};

struct netconf_freeze {
	char id[NETCONF_FREEZE_ID_MAX]; // of the migration: the same in both stores
	enum netconf_freeze_state state;
	char *store;  // the other one, for people
	char *config; // the network's
};

// -E2BIG: the mark would be larger than a config may be; -EINVAL: the config is no text. Caller frees *ret.
int netconf_freeze_format(const struct netconf_freeze *freeze, char **ret, struct err *e);
// -ENOENT: this is no mark; -EINVAL: it is one, and broken. On success ret owns memory.
int netconf_freeze_parse(const char *text, size_t len, struct netconf_freeze *ret, struct err *e);
void netconf_freeze_free(struct netconf_freeze *freeze);
#define _cleanup_freeze_ _cleanup_(netconf_freeze_free)
// For netconf_parse: -EBUSY, with what an operator should know, if the object is a mark; else 0.
int netconf_freeze_refuse(const json_t *root, struct err *e);
