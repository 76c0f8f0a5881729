// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a real Consul for tests: a server, and an agent in client mode beside it, as child processes on
// loopback with their data in a temporary directory.
#pragma once

#include <stdbool.h>

enum consul_agent { CONSUL_SERVER, CONSUL_CLIENT, CONSUL_AGENTS };

struct consul_process;

// Can Consul run here: can it be fetched, and may we have a network namespace for it? Says why not. To be
// called outside of that namespace. With WEFT_REQUIRE_ALL=1 it can, and the test fails if it cannot.
bool consul_can_run(void);

// A server at scheme://127.0.0.1:8500 of this network namespace. Returns when it answers. config: more
// of its configuration, as HCL, or NULL. token: to ask with, or NULL.
struct consul_process *consul_start(const char *scheme, const char *config, const char *token);
struct consul_process *consul_free(struct consul_process *consul); // ends the agents, removes the data
// Terminated by NULL behind the first.
const char *const *consul_urls(const struct consul_process *consul, enum consul_agent agent);
const char *consul_dir(const struct consul_process *consul);

void consul_signal(struct consul_process *consul, enum consul_agent agent, int signal_number);
void consul_end(struct consul_process *consul, enum consul_agent agent,
		int signal_number);					   // and waits for its end
void consul_begin(struct consul_process *consul, enum consul_agent agent); // and waits until it answers
void consul_wipe(struct consul_process *consul); // the server's data, while it does not run
