// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what this host knew last, kept on disk so that a start without a reachable store still
// serves.
//
// DOC: two files in the state directory
//
// "state" holds the config, the own lease and the MACs of our devices; "peers" holds one line for
// each peer. Both are lines of JSON: the first line says the schema version and the network's
// prefix, the last one how many lines there are, so that a torn file is known. Writing never holds
// the loop: the lines are made and written in slices over many turns into a temporary file that is
// renamed in the end; the disk is asked to start writing but never waited for, and the file before
// it is kept as NAME.previous, which is read when the newer one was torn by a power cut. Changes
// are gathered; the pause between two writes grows with the number of peers. A file of a newer
// schema is ignored, one that cannot be read is renamed to NAME.bad; both are said in the log.
#pragma once

#include "core/err.h"
#include "core/lease_set.h"
#include "core/mac.h"
#include "core/strbuf.h"
#include "io/loop.h"

#include <net/if.h>
#include <stdbool.h>

#define STATE_SCHEMA 1
#define STATE_MACS_MAX 16

struct state_mac {
	char device[IFNAMSIZ];
	struct mac mac;
};

struct state {
	char *config_text; // NULL: none
	bool has_lease;
	struct lease lease;
	struct lease_set *peers; // never NULL after state_load; take it with TAKE_PTR
	struct state_mac macs[STATE_MACS_MAX];
	size_t mac_count;
};
void state_free(struct state *state); // leaves it zero
#define _cleanup_state_ _cleanup_(state_free)
const struct mac *state_mac_find(const struct state *state, const char *device); // NULL if unknown

// Reads both files; ret must be zero. What is missing, torn, too new or of another network (prefix)
// is left out and logged; MACs are kept whatever the network. Blocking, before the loop runs.
void state_load(const char *directory, const char *prefix, struct state *ret);

// Where the writer reads from, each time. Borrowed values; NULL: none.
struct state_source {
	const char *(*config_text)(void *arg);
	const struct lease *(*lease)(void *arg);
	const struct lease_set *(*peers)(void *arg);
};
enum state_part { STATE_OWN = 1, STATE_PEERS = 2 };

struct state_file;
// directory is made with mode 0700 when missing.
int state_file_new(struct loop *loop, const char *directory, const char *prefix,
		   const struct state_source *source, void *arg, struct state_file **ret,
		   struct err *e);
struct state_file *state_file_free(struct state_file *file); // writes nothing
// Frees it, and removes its files and, if nothing else is in it, their directory.
struct state_file *state_file_delete(struct state_file *file);
void state_file_set_mac(struct state_file *file, const char *device,
			const struct mac *mac);			      // also schedules a write
void state_file_changed(struct state_file *file, unsigned int parts); // bits of enum state_part; cheap
// Writes now what is pending, whole and to the disk; for the end of the program. Blocking.
int state_file_flush(struct state_file *file, struct err *e);
