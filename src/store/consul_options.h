// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the flags that say where Consul is, and the variables of Consul's own program that say the same.
#pragma once

#include "core/flags.h"

struct consul_options {
	struct flag_list endpoints; // empty until finished: those of the agent on this host
	char *ca_file, *cert_file, *key_file;
	char *token, *token_file;
	char *token_read; // from the file
	bool prefers_tls; // a bare host:port means https://
};

// Adds the flags to a program's own, behind those of the part of help before; options must be zero.
void consul_options_add(struct flag_set *set, struct consul_options *options);
void consul_options_add_second(struct flag_set *set, const char *prefix,
			       struct consul_options *options);
// What is not given by flag is taken from CONSUL_HTTP_ADDR and its like, which are Consul's own. -EINVAL naming the variable.
int consul_options_environment(struct consul_options *options, struct flag_set *set,
			       char *const *environment, struct err *e);
// The first flag that was given; NULL: none.
const char *consul_options_given(const struct consul_options *options);
// Checks the token and reads its file, checks endpoints as far as they are Consul's alone. Errors name the flag.
int consul_options_finish(struct consul_options *options, struct err *e);
// After that; NULL: none. Borrowed.
const char *consul_options_token(const struct consul_options *options);
void consul_options_free(struct consul_options *options);
