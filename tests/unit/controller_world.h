// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of controllers with tokens: two of them over one store in memory, an admin and two agents.
#pragma once

#include "kv_client.h"
#include "raw_http.h"

#include "controller/controller.h"
#include "controller/join_token.h"

#define ADMIN "0123456789abcdef0123456789abcdef"
#define ALICE "alice-6789abcdef0123456789abcdef"
#define BOB "bob-456789abcdef0123456789abcdef"

extern struct loop *loop;
extern struct kv *store, *direct; // the controllers', and whoever else writes to it
extern struct controller *first, *second;
extern struct kv *admin, *alice, *bob; // clients of the first

int world_setup(void **state);
int world_teardown(void **state);

#define RATE 100000			     // more than any of these tests asks for
struct controller *serve(unsigned int rate); // one more over the same store
// A client with this token and identity; NULL: without.
struct kv *client(const struct controller *controller, const char *token, const char *identity);
struct kv *agent(const struct controller *controller, const char *identity); // with the agents' token
void wait_read(struct kv *of); // until the controller that this client has knows its store as it is now
// A connection to a controller, and a request on it by bare HTTP.
void connect_to(const struct controller *controller, struct raw_http *ret);
void send_to(struct raw_http *peer, const char *token, const char *identity, const char *path,
	     const char *body);
// The same to the first controller, and its whole answer. Caller frees.
char *post(const char *token, const char *identity, const char *path, const char *body);
