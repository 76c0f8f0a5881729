// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: who a controller is, on disk: its key and certificate, and the token that it asks its clients for.
//
// DOC: the life of an identity
//
// What is not given and not there is made, once: controller.key, a certificate for it, a token. Agents know the key by
// its digest (the pin), so a certificate may be made anew, a key not: one that is missing beside its certificate, or
// cannot be read, is an error for a person to decide. A start that was cut short between two files is gone on with.
#pragma once

#include "core/err.h"
#include "core/ip.h"

#include <stdbool.h>

struct identity_config {
	const char *directory; // of the files that are made
	struct ip address;     // the one in the certificate
	const char *cert_file; // NULL: made, the key too
	const char *key_file;
	const char *token;	// NULL: made
	const char *token_file; // that it was read from; NULL: from none
};

struct identity {
	char *cert_file;
	char *key_file;
	char *token;	  // the admin's
	char *token_file; // NULL: it was given
	char *join_token; // that follows from it, for agents
	char *join_file;
	bool token_is_new;
};

// Blocks for the disk: before the loop runs. ret must be zero; identity_free also after a failure. The message names the
// file and says what to do.
int identity_open(const struct identity_config *config, struct identity *ret, struct err *e);
// The token anew, from its file; that of agents likewise. On an error the former stay. Blocks for the disk, shortly.
int identity_read_token(const struct identity_config *config, struct identity *identity,
			struct err *e);
void identity_free(struct identity *identity);
