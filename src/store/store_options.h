// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the flags that say where the store is, the same for weftd and weft.
#pragma once

#include "core/flags.h"
#include "store/consul_options.h"
#include "store/kv.h"

struct store_options {
	char *store; // "KIND", or "sqlite:FILE"
	char *kind;  // of it, once finished
	struct flag_list endpoints;
	struct flag_list remote; // controllers; given, they are the store
	bool serves;		 // a controller: the files and the token are a server's
	char *remote_key_file, *remote_cert_file, *remote_ca_file;
	char *pin;
	char *token, *token_file;
	char *token_read; // from the file
	char *prefix;
	char *key_file, *cert_file, *ca_file;
	char *username, *password;
	struct consul_options consul;
	uint64_t request_timeout_ms;
	uint64_t dead_man_ms;
};

#define STORE_DATABASE_DEFAULT "/var/lib/weft/weft.db" // of "sqlite" without a file

// Adds the flags to a program's own; options must be zero.
void store_options_add(struct flag_set *set, struct store_options *options);
// After flags and environment were read: if the store is Consul, what Consul's own variables say of it. -EINVAL.
int store_options_own_environment(struct store_options *options, struct flag_set *set,
				  char *const *environment, struct err *e);
// After flags and environment were read, before the above and store_options_finish: of --remote, --store and
// --etcd-endpoints, which each name a store, one from the command line goes before another from the environment, which is
// forgotten; two from the same place that contradict each other are -EINVAL. prefix: "to-" for a second store, else "".
int store_options_choose(struct store_options *options, struct flag_set *set, const char *prefix,
			 struct err *e);
// The same flags for a second store, "to-etcd-endpoints" for prefix "to-". Of these the prefix of the keys has no
// default: who uses them fills it in.
void store_options_add_second(struct flag_set *set, const char *title, const char *prefix,
			      struct store_options *options);
// After all flags were read: checks them together and puts endpoints into the form that the store
// wants ("http://" before a bare host:port, "https://" if a TLS file, a pin or a token was given; no
// slash at the end). Reads the file of the token. *ret borrows from options. Errors name the flag.
int store_options_finish(struct store_options *options, struct store_config *ret, struct err *e);
// After that: the token that was given, by flag, variable or file; NULL: none. Borrowed.
const char *store_options_token(const struct store_options *options);
// The flag that names the servers of this kind of store ("etcd-endpoints"), for messages.
const char *store_options_endpoints_flag(const char *kind);
void store_options_free(struct store_options *options);
