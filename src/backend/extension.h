// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the extension backend has that others have not: commands, which somebody else runs (agent/extension.h).
#pragma once

#include "backend/backend.h"

// Of the config, for /bin/sh -c; NULL: none.
struct extension_commands {
	char *pre_startup;
	char *post_startup;
	char *shutdown;
	char *subnet_add;
	char *subnet_remove;
};

// NULL: the backend is another one. Borrowed, and valid until the config changes.
const struct extension_commands *extension_commands(const struct backend *backend);
// What PreStartupCommand wrote: our BackendData from now on. -EILSEQ: it is no text.
int extension_set_output(struct backend *backend, const char *output, struct err *e);
// What the commands of a peer read: its BackendData. -EPROTONOSUPPORT: it is of another backend; -EINVAL: its data is not a string.
int extension_peer_input(const struct lease *peer, char **ret, struct err *e);
