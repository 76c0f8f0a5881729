// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for each peer which commands ran for it and which are to be run: in its own order, a few peers at a time, again where they failed.
//
// DOC: one peer
//
//   wanted, not there         -> add
//   there, not wanted         -> remove
//   there, wanted otherwise   -> remove of what it was, then add
//
// One command of a peer runs at a time, and what changes meanwhile is looked at when it ends: the newest state counts. An add that fails is tried again, later each
// time. So is a remove, but only a few times, and once if the peer is wanted again: what is wanted must not wait for what is gone.
#pragma once

#include "core/lease.h"
#include "io/child.h"

#include <stdbool.h>

#define PEER_COMMANDS_AT_ONCE 8
#define PEER_COMMANDS_REMOVE_TRIES 5

// What commands are told of a peer, beside its subnet.
struct peer_facts {
	struct ip public_ip;
	struct ip public_ipv6;
	char *input;
};

enum peer_command { PEER_COMMAND_ADD, PEER_COMMAND_REMOVE };

struct peer_commands_hooks {
	// Starts one as child_start does. 1: there is none to be run, which is as good as done.
	int (*start)(void *arg, enum peer_command which, const struct subnet *subnet,
		     const struct peer_facts *facts, child_fn *fn, void *fn_arg, struct child **ret,
		     struct err *e);
	// It is added, or not any more, or the reason is another one. Called from the loop.
	void (*changed)(void *arg, const struct subnet *subnet);
	// Nothing runs, and nothing is to be run any more. Called from the loop.
	void (*idle)(void *arg);
};

struct peer_commands;
struct peer_commands *peer_commands_new(struct loop *loop, const struct peer_commands_hooks *hooks,
					void *arg);			  // it is paused
struct peer_commands *peer_commands_free(struct peer_commands *commands); // kills what runs
void peer_commands_resume(struct peer_commands *commands);

// The peer is wanted (input is taken over), or is not any more.
void peer_commands_want(struct peer_commands *commands, const struct subnet *subnet,
			const struct ip *public_ip, const struct ip *public_ipv6, char *input);
void peer_commands_drop(struct peer_commands *commands, const struct subnet *subnet);
// All are told anew: begin, want for each, end, which drops the rest.
void peer_commands_begin(struct peer_commands *commands);
void peer_commands_end(struct peer_commands *commands);
// Nobody is wanted any more, and no remove is tried twice; idle is called, in any case.
void peer_commands_drop_all(struct peer_commands *commands);

// 0: added; -EINPROGRESS: not yet; other: why not, in words.
int peer_commands_state(const struct peer_commands *commands, const struct subnet *subnet,
			struct err *e);
size_t peer_commands_pending(const struct peer_commands *commands); // of those wanted: -EINPROGRESS
// Of a peer that is not wanted: its remove failed and is tried again. 0: there is none.
int peer_commands_remove_error(const struct peer_commands *commands, struct err *e);
