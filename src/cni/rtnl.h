// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one rtnetlink or nfnetlink socket and batches of requests on it: one send, then the answers.
#pragma once

#include "cni/fault.h"
#include "kernel/nlmsg.h"

#define RTNL_BATCH_BYTES (64 * 1024)
#define RTNL_BATCH_MAX 320 // messages

struct rtnl {
	int fd;
	uint32_t sequence;
};

enum rtnl_want {
	RTNL_ACK,     // a change: it is acknowledged
	RTNL_ANSWER,  // a look-up: one message, or an error
	RTNL_DUMP,    // messages up to an end
	RTNL_NOTHING, // the frame of an nfnetlink batch
};

struct rtnl_batch {
	struct nlmsg open; // between batch_begin and batch_end
	size_t len;
	unsigned int count;
	uint32_t first_sequence;
	struct {
		enum rtnl_want want;
		bool done;
		int error; // 0 or negative errno
	} messages[RTNL_BATCH_MAX];
	char words[160]; // the kernel's own for the first error, or ""
	uint8_t data[RTNL_BATCH_BYTES];
};

// In the calling thread's network namespace. protocol: NETLINK_ROUTE or NETLINK_NETFILTER.
int rtnl_open(struct rtnl *ret, int protocol, struct fault *fault);
void rtnl_close(struct rtnl *rtnl);

struct rtnl_batch *batch_new(void);
static inline void batch_freep(struct rtnl_batch **batch)
{
	__builtin_free(*batch);
}
void batch_reset(struct rtnl_batch *batch);
// The message to be filled. flags beside NLM_F_REQUEST and what `want` asks for.
struct nlmsg *batch_begin(struct rtnl_batch *batch, enum rtnl_want want, uint16_t type, uint16_t flags);
// Its index in messages.
unsigned int batch_end(struct rtnl_batch *batch);

// Called for each message that is no acknowledgement.
typedef int rtnl_answer_fn(void *arg, unsigned int index, const struct nlmsg_view *view);
// Sends all and waits until each is answered. 0: see each error; -EIO: the socket itself failed or the deadline passed.
int rtnl_exchange(struct rtnl *rtnl, struct rtnl_batch *batch, rtnl_answer_fn *fn, void *arg,
		  struct fault *fault);
// Index of the first message with an error, or -1.
int batch_first_error(const struct rtnl_batch *batch);
// The text of an error of message index: the kernel's words and errno's.
const char *batch_error_text(const struct rtnl_batch *batch, unsigned int index, char *text,
			     size_t size);
