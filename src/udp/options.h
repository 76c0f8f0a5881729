// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft-udp's command line.
#pragma once

#include "core/err.h"
#include "core/strbuf.h"
#include "udp/engine.h"

enum udp_feature {
	UDP_FEATURE_SEGMENT,
	UDP_FEATURE_TCP_JOIN,
	UDP_FEATURE_UDP_JOIN,
	UDP_FEATURE_SANDBOX
};

struct udp_options {
	char *device, *socket;
	struct ip address;
	int64_t port, workers, queue_len, spin_us;
	int source_port;	       // 0: any, 1: the same
	unsigned int without_features; // bits of enum udp_feature
	int log_level, log_format;
	bool version;
	struct engine_options engine; // what follows from all that
};

// 0; FLAG_ASKED_HELP; -EINVAL. Free *ret in any case.
int udp_options_parse(int argc, char **argv, struct udp_options *ret, struct err *e);
void udp_options_free(struct udp_options *options);
void udp_options_help(struct strbuf *out);
