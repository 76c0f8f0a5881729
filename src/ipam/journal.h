// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the file in the run directory that says which container has which address, so that an agent that was killed
// knows it again. On a tmpfs: it outlives the agent and not the machine, as containers do.
//
// DOC: form
//
//   <8 hex digits> <JSON object>\n
//
// A line begins with the first half of hash_stable() of its object, and is written in one go behind the last; one that is
// torn or damaged is left out and counted, and one that has all but its end of line is whole. Objects, by "op":
//   head  "boot", "prefix": of another boot of the machine, or another network, the file says nothing
//   use   an owner with "ips", and what else is known of it; replaces an earlier one of this owner
//   free  "ip" was released "at" milliseconds of the boot's clock; "key": hash of its last owner, in hex
//   done  "ip": the store has no record of it any more
//   session  "id"
// The file is written anew when most of it is of no use any more.
#pragma once

#include "core/err.h"
#include "core/strbuf.h"
#include "ipam/allocator.h"

struct journal_use {
	struct journal_use *next;
	char *name, *cid, *ifname, *ns, *pod, *uid, *netns, *host_if;
	uint64_t netns_inode;
	int64_t since_s;
	enum address_state keep;
	struct ip ips[FAMILY_COUNT];
};
struct journal_free {
	struct journal_free *next;
	struct ip ip;
	uint64_t key_hash;
	uint64_t at_ms;
	bool is_done; // the store has no record of it; it rests all the same
};
// What a file says in the end.
struct journal_content {
	char boot[64];
	char prefix[512];
	struct journal_use *uses;   // in no order
	struct journal_free *frees; // in the order of their release
	int64_t session;	    // 0: none
	size_t lines;
	size_t bad_lines;
};
void journal_parse(const char *text, size_t len, struct journal_content *ret); // never fails
void journal_content_free(struct journal_content *content);

struct journal;
// Reads what is there, and goes on behind it. What is of another boot or prefix is left out: *ret is empty then.
int journal_open(const char *path, const char *boot, const char *prefix, struct journal **ret,
		 struct journal_content *ret_content, struct err *e);
struct journal *journal_close(struct journal *journal);
// Each is in the file when it returns. -ENOSPC, -EIO: nothing was written.
int journal_add_use(struct journal *journal, const struct holder *holder, struct err *e);
int journal_add_free(struct journal *journal, const struct ip *ip, uint64_t key_hash,
		     uint64_t at_ms, struct err *e);
int journal_add_done(struct journal *journal, const struct ip *ip, struct err *e);
int journal_add_session(struct journal *journal, int64_t session, struct err *e);
// Writes it anew, with what the allocator has, if that is much shorter.
int journal_compact(struct journal *journal, struct allocator *allocator, struct err *e);
