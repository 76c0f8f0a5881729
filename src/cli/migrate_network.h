// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: moving one network with its leases from one store to another, step by step.
//
// DOC: never two stores that give leases
//
//   step     source's config         target's config     if it ends here
//   look     the network's           none                nothing was done
//   freeze   mark "copying"          none                nobody gets a new lease; run again or abort
//   fill     mark "copying"          mark "filling"      the same
//   copy     mark "copying"          mark "filling"      the same
//   open     mark "opening"          mark "filling"      run again: the target may be open
//            mark "opening"          the network's       run again
//            mark "moved"            the network's       done
//
// The marks (core/netconf_freeze.h) have one id, by which a later run knows its target again. Every change of
// a config is a compare-and-set, so two runs at once cannot both go on. A lease is created by our agents
// only if the config is the one they know, compared in the transaction that creates it, so that none slips in
// behind the mark; in the target none but ours, by the target's mark. The exceptions are a store that compares
// only the key it writes (there the creator takes it back before he uses it), and flannel, which read the
// config before it was frozen and writes afterwards. Therefore what is in the source is compared with the target
// until a reading finds no difference, and once more at the end.
//
// Every step may be repeated. They wait for their answers, and return 0 or -errno with the reason in err.
#pragma once

#include "cli/lease_rows.h"
#include "core/netconf_freeze.h"

enum migration_stage {
	MIGRATION_NEW,	   // nothing was done
	MIGRATION_COPYING, // frozen
	MIGRATION_OPENING, // all was copied
	MIGRATION_DONE,
	MIGRATION_STAGE_COUNT
};
extern const char *const migration_stage_names[MIGRATION_STAGE_COUNT];

struct migration {
	char *name; // of the network; "": the one at the prefix
	struct store_access source;
	struct store_access target; // kv NULL: none was named
	bool force;
	enum migration_stage stage;
	char id[NETCONF_FREEZE_ID_MAX];
	char *config; // the network's
	int64_t source_revision;
	int64_t target_revision; // 0: there is none
	bool target_is_open;
	bool was_frozen; // when it was to be undone
	bool is_resumed; // an earlier run left something in the target

	size_t leases, reservations; // of the source
	size_t copied;
	size_t late; // that came after the source was frozen
	int64_t shortest_s; // until the first lease expires if its host does not come; -1: none does, or unknown
	struct err err;
};

// Reads both and tells the stage. -EEXIST: the target has something there that is not of this migration;
// -EINVAL: what the source has cannot be moved; -EACCES: the
// target does not let us write.
int migration_look(struct migration *migration);
int migration_freeze(struct migration *migration);
int migration_fill(struct migration *migration);
int migration_copy(struct migration *migration); // in migrate_copy.c, as is what follows
int migration_open(struct migration *migration);
// Once the target is open: leases that only the source has are made in the target, if nobody has them there.
int migration_catch_up(struct migration *migration);
// All of these, from where an earlier run stopped.
int migration_run(struct migration *migration);
// Opens the source again, and takes away what the target has of it so far. -EPERM unless forced, if the target
// may be open: it is closed then. -ENOENT: not frozen.
int migration_abort(struct migration *migration);
void migration_free(struct migration *migration);
