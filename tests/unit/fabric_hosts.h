// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: hosts of one network in one loop, over one store in memory; the tests of fabric/ stand on it.
#pragma once

#include "unit.h"

#include "fabric/fabric.h"
#include "store/memory.h"

#define PREFIX "/net"
#define CONFIG "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}"
#define DEADLINE_MS 5000
#define HOLD_MS 150

struct host {
	struct kv *kv;
	struct registry *registry;
	struct fabric *fabric;
	struct lease_attrs attrs;
	bool joins;
	unsigned int configs, config_errors, resets, partial_resets, leases;
	bool is_partial;    // the first snapshot is being read
	unsigned int early; // peers told meanwhile
	unsigned int added, changed, removed;
	bool store_up;
	struct err config_error;
	const char *config_after_hook; // put when the config hook is called: it changes behind the fabric's back
};

extern struct loop *loop;
extern struct kv *first_kv; // keeps the data alive

int hosts_setup(void **state);
int hosts_teardown(void **state);

struct lease_attrs attrs_of(unsigned int number);
struct host *host_new(unsigned int number, const struct fabric_config *config);
struct host *host_of(struct kv *kv, unsigned int number,
		     const struct fabric_config *config); // takes kv over
struct host *host_start(unsigned int number, const struct fabric_config *config);
void host_free(struct host *host);
void host_join(struct host *host); // no hook may be called from within
extern const struct fabric_hooks host_hooks;

enum fabric_lease_state state_of(const struct host *host);
const char *why_of(const struct host *host);
void key_of(const struct host *host, char ret[static 256]); // of its lease, with the prefix
struct subnet subnet_of(const char *key);

// For "nothing happens": the loop runs long enough that it would have.
void run_for(uint64_t ms);
void put(const char *key, const char *value);
bool value_at(const char *key, char ret[static 512]); // false: there is none
void put_peer(const char *key, const char *ip, const char *mac);
bool peer_is_good(const struct host *host, const char *key);

struct odd_search {
	const char *key;
	enum fabric_peer_state state;
	char why[256];
	bool found;
};
struct odd_search find_odd(const struct host *host, const char *key);

#define wait_until(condition)                                                              \
	do {                                                                               \
		uint64_t end_ = loop_now_ms() + DEADLINE_MS;                               \
		while (!(condition) && loop_now_ms() < end_)                               \
			loop_turn(loop, 20);                                               \
		check((condition), "line %d: not within %d ms: %s", __LINE__, DEADLINE_MS, \
		      #condition);                                                         \
	} while (0)
