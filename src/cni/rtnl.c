// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: one rtnetlink or nfnetlink socket and batches of requests on it.
#include "cni/rtnl.h"

#include "cni/deadline.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The kernel fills up to 32 KiB of a dump into one datagram when the reader's buffer takes it.
#define RECEIVE_BYTES (32 * 1024)

int rtnl_open(struct rtnl *ret, int protocol, struct fault *fault)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	int on = 1;

	if (fd < 0)
		return fault_set(fault, FAULT_INTERNAL, "netlink socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int error = errno;

		(void)close(fd);
		return fault_set(fault, FAULT_INTERNAL, "netlink socket: %s", strerror(error));
	}
	// What older kernels lack costs only words, or filtering here instead of there.
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	*ret = (struct rtnl){ .fd = fd, .sequence = 1 };
	return 0;
}

void rtnl_close(struct rtnl *rtnl)
{
	fd_closep(&rtnl->fd);
}

struct rtnl_batch *batch_new(void)
{
	struct rtnl_batch *batch =
		xmalloc(sizeof(*batch)); // not cleared: its pages are touched as they are used

	batch_reset(batch);
	return batch;
}

void batch_reset(struct rtnl_batch *batch)
{
	batch->len = 0;
	batch->count = 0;
	batch->words[0] = '\0';
}

struct nlmsg *batch_begin(struct rtnl_batch *batch, enum rtnl_want want, uint16_t type, uint16_t flags)
{
	bool full = batch->count == RTNL_BATCH_MAX;

	flags |= NLM_F_REQUEST;
	if (want == RTNL_ACK)
		flags |= NLM_F_ACK;
	if (want == RTNL_DUMP)
		flags |= NLM_F_DUMP;
	nlmsg_begin(&batch->open, batch->data + batch->len,
		    full ? 0 : sizeof(batch->data) - batch->len, type, flags);
	if (full)
		return &batch->open;
	batch->messages[batch->count].want = want;
	batch->messages[batch->count].done = want == RTNL_NOTHING;
	batch->messages[batch->count].error = 0;
	return &batch->open;
}

unsigned int batch_end(struct rtnl_batch *batch)
{
	size_t len = nlmsg_end(&batch->open);

	if (len == 0) {
		// Told by rtnl_exchange: nothing of a batch is sent that does not fit.
		batch->len = sizeof(batch->data) + 1;
		return 0;
	}
	batch->len += len;
	return batch->count++;
}

int batch_first_error(const struct rtnl_batch *batch)
{
	for (unsigned int i = 0; i < batch->count; i++)
		if (batch->messages[i].error < 0)
			return (int)i;
	return -1;
}

const char *batch_error_text(const struct rtnl_batch *batch, unsigned int index, char *text, size_t size)
{
	const char *error = strerror(-batch->messages[index].error);

	if (batch->words[0] && batch_first_error(batch) == (int)index)
		(void)text_format(text, size, "%s (%s)", error, batch->words);
	else
		(void)text_copy(text, size, error);
	return text;
}

static int send_all(const struct rtnl *rtnl, struct rtnl_batch *batch, struct fault *fault)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	if (batch->len > sizeof(batch->data))
		return fault_set(fault, FAULT_INTERNAL, "too much for one netlink send");
	do
		n = sendto(rtnl->fd, batch->data, batch->len, 0, (struct sockaddr *)&kernel,
			   sizeof(kernel));
	while (n < 0 && errno == EINTR && !deadline_passed());
	if (n < 0)
		return fault_set(fault, errno == EINTR ? FAULT_AGAIN : FAULT_INTERNAL,
				 "netlink send: %s", strerror(errno));
	return 0;
}

static void note_error(struct rtnl_batch *batch, unsigned int index, const struct nlmsg_ack *ack)
{
	bool frame = batch->messages[index].want == RTNL_NOTHING;

	if (ack->error < 0 && batch_first_error(batch) < 0)
		(void)text_copy(batch->words, sizeof(batch->words), ack->text);
	batch->messages[index].error = ack->error;
	batch->messages[index].done = true;
	// A frame that is refused takes what is in it along, unanswered.
	for (unsigned int i = 0; i < batch->count && frame && ack->error < 0; i++)
		batch->messages[i].done = true;
}

static int take_message(struct rtnl_batch *batch, const struct nlmsg_view *view, rtnl_answer_fn *fn,
			void *arg)
{
	uint32_t index = view->sequence - batch->first_sequence;
	struct nlmsg_ack ack;

	if (index >= batch->count)
		return 0; // of an earlier exchange that was given up
	if (view->type == NLMSG_ERROR || view->type == NLMSG_DONE) {
		int r = view->type == NLMSG_ERROR ? nlmsg_read_error(view, &ack)
						  : nlmsg_read_done(view, &ack);

		if (r < 0)
			return r;
		note_error(batch, index, &ack);
		return 0;
	}
	if (batch->messages[index].want == RTNL_ANSWER)
		batch->messages[index].done = true;
	return fn ? fn(arg, index, view) : 0;
}

static bool all_done(const struct rtnl_batch *batch)
{
	for (unsigned int i = 0; i < batch->count; i++)
		if (!batch->messages[i].done)
			return false;
	return true;
}

// One datagram. 0, or a negative errno.
static int receive(const struct rtnl *rtnl, void *buffer, struct rtnl_batch *batch,
		   rtnl_answer_fn *fn, void *arg)
{
	struct nlmsg_view view;
	size_t offset = 0;
	ssize_t n;
	int r;

	n = recv(rtnl->fd, buffer, RECEIVE_BYTES, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n > RECEIVE_BYTES)
		return -EMSGSIZE;
	while ((r = nlmsg_next(buffer, (size_t)n, &offset, &view)) > 0) {
		r = take_message(batch, &view, fn, arg);
		if (r < 0)
			return r;
	}
	return r;
}

int rtnl_exchange(struct rtnl *rtnl, struct rtnl_batch *batch, rtnl_answer_fn *fn, void *arg,
		  struct fault *fault)
{
	_cleanup_free_ void *buffer = xmalloc(RECEIVE_BYTES);
	struct pollfd wait = { .fd = rtnl->fd, .events = POLLIN };
	uint8_t *at = batch->data;
	int r;

	batch->first_sequence = rtnl->sequence;
	for (unsigned int i = 0; i < batch->count && batch->len <= sizeof(batch->data); i++) {
		uint32_t len;

		memcpy(&len, at, sizeof(len));
		nlmsg_set_sequence(at, rtnl->sequence++);
		at += len;
	}
	r = send_all(rtnl, batch, fault);
	if (r < 0)
		return r;
	while (!all_done(batch)) {
		r = receive(rtnl, buffer, batch, fn, arg);
		if (r < 0)
			return fault_set(fault, FAULT_INTERNAL, "netlink answer: %s", strerror(-r));
		if (all_done(batch))
			break;
		if (deadline_passed())
			return fault_set(fault, FAULT_AGAIN, "the kernel has not answered in time");
		(void)poll(&wait, 1, deadline_left_ms());
	}
	return 0;
}
