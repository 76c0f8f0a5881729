// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking the agent on its unix socket: one request, one answer, HTTP/1.1.
#pragma once

#include "cni/doc.h"
#include "cni/fault.h"

#define AGENT_SOCKET_DEFAULT "/run/weft/weft.sock"
#define AGENT_ANSWER_MAX (1u << 20)

// body NULL: a GET. 0: the answer is in *ret, an object. -ENOENT: the agent does not listen (fault says so with code 11);
// -EIO: fault is what the agent answered, or what went wrong.
int agent_ask(const char *socket_path, const char *target, const struct strbuf *body,
	      struct doc *ret, struct fault *fault);

// A whole answer: its status, and its body inside text. -EINVAL: it is none; -EAGAIN: not whole yet.
int agent_parse_answer(const char *text, size_t len, unsigned int *ret_status,
		       const char **ret_body, size_t *ret_len);
