// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: dockerd's options by subnet.env, in the words of flannel's mk-docker-opts.sh. COMPAT, to the byte.
#pragma once

#include "core/err.h"
#include "core/ipnet.h"
#include "core/strbuf.h"

#include <stdbool.h>

struct docker_text_options {
	bool individual; // a line for each option
	bool combined;	 // one line with all
	bool no_masq;	 // for a dockerd without --ip-masq
	const char *key; // name of the combined line
};

// env: subnet.env's text, "" if there is none; environment: as environ, whose DOCKER_OPT_* and KEY count, and below the file all that it could
// say. ret_bridge: what Docker's bridge is to have (may be NULL); not set: nothing. -EINVAL names the variable.
int docker_text(const char *env, char *const *environment, const struct docker_text_options *options,
		struct strbuf *out, struct ip *ret_bridge, struct ipnet *ret_subnet, struct err *e);
