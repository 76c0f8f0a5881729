// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking and telling iptables, of either kind, by its own programs as children; one at a time.
#pragma once

#include "core/err.h"
#include "io/loop.h"
#include "masq/iptables_text.h"

enum iptables_kind { IPTABLES_NFT, IPTABLES_LEGACY, IPTABLES_KIND_COUNT };
extern const char *const iptables_kind_names[IPTABLES_KIND_COUNT];

typedef void iptables_done_fn(void *arg, int r, const struct err *e);

struct iptables;
struct iptables *iptables_new(struct loop *loop, iptables_done_fn *done, void *arg);
struct iptables *iptables_free(struct iptables *iptables); // kills the child
// ret must live, and be left alone, until done is called. -ENOENT: there is no such program, and done is not called.
int iptables_save(struct iptables *iptables, enum iptables_kind kind, enum masq_family family,
		  struct iptables_have *ret, struct err *e);
// Takes text over.
int iptables_restore(struct iptables *iptables, enum iptables_kind kind, enum masq_family family,
		     char *text, struct err *e);
// Has anybody in this network namespace used the old kind's tables, the only sign of it that is free?
bool iptables_legacy_is_used(enum masq_family family);
