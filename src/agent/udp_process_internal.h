// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what udp_process.c (its life) and udp_feed.c (what it is told) share.
#pragma once

#include "agent/udp_client.h"
#include "agent/udp_process.h"

// Subnets; each is looked up when its turn comes.
struct subnet_list {
	struct subnet *items;
	size_t count, capacity;
};

struct udp_feed {
	bool config_due, peers_due, counters_due;
	bool emptied; // because the config was refused with the peers that it had
	bool all_are_known;
	struct subnet_list whole; // the set being told
	size_t whole_next;
	bool is_telling; // the whole set: there is more of it
	bool is_set;	 // it replaces what weft-udp has
	struct subnet_list changed;
	struct err refused; // code other than 0: weft-udp did not take what it was told last
};

enum udp_step {
	UDP_STEP_IDLE,	    // it is not known yet what it is to be
	UDP_STEP_REACH,	    // nobody serves yet: started, or about to be
	UDP_STEP_GREET,	    // who it is was asked
	UDP_STEP_TAKE_OVER, // a new one was started beside it
	UDP_STEP_STOP,	    // it was told to end, for another one is wanted
	UDP_STEP_END,	    // or for none is
	UDP_STEP_WORK,
};

struct udp_process {
	struct loop *loop;
	char *socket;
	char *program;
	const char *const *flags;
	const struct udp_process_hooks *hooks;
	void *arg;
	struct backend_process wanted;

	enum udp_step step;
	struct timer *timer; // the next step of its life
	struct backoff backoff;
	uint64_t since_ms;	 // when this step began
	pid_t child;		 // 0: none that we started and did not see end
	pid_t former;		 // the one before, until it is seen to have ended
	int words;		 // why it ended; -1: it has none
	unsigned int unanswered; // connections in a row
	bool took_over;		 // tried in this connection already
	bool up;
	struct err error;
	struct udp_client *client;
	struct control_hello hello;

	struct udp_feed feed;
	struct timer *feed_timer;
	struct timer *counter_timer;
	struct strbuf message;
	uint64_t counters[COUNTER_COUNT];
	bool has_counters;
};

// ---- udp_process.c ----
void process_is_up(struct udp_process *process);
void process_reap(struct udp_process *process); // the one before, if it has ended

// ---- udp_feed.c ----
void feed_begin(struct udp_process *process); // the connection is new
void feed_end(struct udp_process *process);   // and is no more
void feed_go_on(struct udp_process *process); // with what is next, if no answer is awaited
void feed_tick(void *arg);
void feed_counter_tick(void *arg);
void feed_free(struct udp_feed *feed);
