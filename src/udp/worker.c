// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a worker's life: its buffers, its thread, and when it waits.
//
// DOC: waiting awake
//
// To be woken costs as much as the way of a small packet. What answers does so soon, so after a
// packet a worker looks again for a while before it sleeps; without yielding, for to the scheduler
// that would be a wish to be last. So it is for machines with processors to spare. Looks that find
// nothing are paid from an account that fills with time, and so cost a small share of a processor at
// most; those that find something are free.
#include "udp/worker.h"

#include "core/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
	SPIN_SHARE = 20, // one part in so many of the time may be spent in vain
	SPIN_ACCOUNT_NS = 2000000,
	CACHE_LINE = 64,
};

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *aligned(size_t size)
{
	void *memory = aligned_alloc(CACHE_LINE, size);
	if (!memory)
		abort();
	memset(memory, 0, size);
	return memory;
}

static void prepare_transmit(struct transmit *t, int out)
{
	struct utsname kernel;
	t->arena = aligned(TRANSMIT_ARENA);
	t->headers = aligned(TRANSMIT_HEADERS * sizeof(t->headers[0]));
	// Twice: each may lose its last datagram to one of its own.
	t->trains = aligned(2 * TRANSMIT_TRAINS * sizeof(t->trains[0]));
	t->gso = outer_can_segment(out);
	t->part_equal = uname(&kernel) == 0 && outer_spoils_equal_trains(kernel.release);
}

static void prepare_receive(struct receive *r)
{
	uint8_t *data = aligned((size_t)RECEIVE_MESSAGES * RECEIVE_BYTES);
	for (size_t i = 0; i < RECEIVE_MESSAGES; i++) {
		struct receive_message *message = &r->messages[i];
		message->data = data + i * RECEIVE_BYTES;
		r->iov[i] = (struct iovec){ message->data, RECEIVE_BYTES };
		r->headers[i].msg_hdr = (struct msghdr){ .msg_name = &message->from,
							 .msg_iov = &r->iov[i],
							 .msg_iovlen = 1,
							 .msg_control = message->control };
	}
}

struct worker *worker_new(int tun, int in, int out, int lost,
			  _Atomic(const struct route_table *) *current)
{
	struct worker *w = aligned((sizeof(*w) + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1));
	w->tun = tun;
	w->in = in;
	w->out = out;
	w->lost = lost;
	w->current = current;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake < 0)
		abort();
	atomic_init(&w->order, WORKER_PARK);
	prepare_transmit(&w->transmit, out);
	prepare_receive(&w->receive);
	return w;
}

struct worker *worker_free(struct worker *w)
{
	if (!w)
		return NULL;
	if (w->started)
		pthread_join(w->thread, NULL);
	close(w->tun);
	close(w->in);
	if (w->out != w->in)
		close(w->out);
	close(w->wake);
	free(w->transmit.arena);
	free(w->transmit.headers);
	free(w->transmit.trains);
	free(w->receive.messages[0].data);
	free(w);
	return NULL;
}

void worker_tell(struct worker *w, enum worker_order order)
{
	uint64_t one = 1;
	atomic_store(&w->order, order);
	(void)!write(w->wake, &one, sizeof(one));
}

// The table stays while it is said to be held, which is said before it is looked whether it is still the current one.
static void hold_table(struct worker *w)
{
	do {
		w->table = atomic_load(w->current);
		atomic_store(&w->held, w->table);
	} while (w->table != atomic_load(w->current));
}

static void drop_table(struct worker *w)
{
	w->table = NULL;
	atomic_store_explicit(&w->held, NULL, memory_order_release);
}

enum { POLL_TUN, POLL_IN, POLL_WAKE, POLL_COUNT };

static size_t work(struct worker *w, const struct pollfd *polls)
{
	size_t done = 0;
	hold_table(w);
	if (polls[POLL_TUN].revents & POLLIN)
		done += transmit_batch(w);
	if (polls[POLL_IN].revents)
		done += receive_batch(w);
	drop_table(w);
	return done;
}

// Looks until there is something or the time is over. Returns what poll does.
static int look_awake(struct worker *w, struct pollfd *polls)
{
	struct spin *spin = &w->spin;
	uint64_t begin = now_ns(), now = begin;
	uint64_t earned = (begin - spin->filled_at_ns) / SPIN_SHARE;
	spin->filled_at_ns = begin;
	spin->tokens_ns = spin->tokens_ns + earned > SPIN_ACCOUNT_NS ? SPIN_ACCOUNT_NS
								     : spin->tokens_ns + earned;
	if (spin->limit_ns == 0 || spin->tokens_ns < spin->limit_ns)
		return 0;
	while (now - begin < spin->limit_ns) {
		int r = poll(polls, POLL_COUNT, 0);
		if (r != 0)
			return r;
		now = now_ns();
	}
	spin->tokens_ns -= spin->limit_ns;
	return 0;
}

static void wait_for_work(struct worker *w, struct pollfd *polls, bool worked)
{
	int r = worked ? look_awake(w, polls) : 0;
	if (r == 0) {
		counter_add(&w->counters, COUNTER_WAITS, 1);
		r = poll(polls, POLL_COUNT, -1);
	}
	if (r < 0)
		for (size_t i = 0; i < POLL_COUNT; i++)
			polls[i].revents = 0;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct pollfd polls[] = {
		[POLL_TUN] = { .fd = w->tun, .events = POLLIN },
		[POLL_IN] = { .fd = w->in, .events = POLLIN },
		[POLL_WAKE] = { .fd = w->wake, .events = POLLIN },
	};
	bool worked = false;
	int order;
	while ((order = atomic_load(&w->order)) != WORKER_QUIT) {
		uint64_t count;
		polls[POLL_TUN].fd = order == WORKER_RUN ? w->tun : -1;
		polls[POLL_IN].fd = order == WORKER_RUN ? w->in : -1;
		wait_for_work(w, polls, worked);
		if (polls[POLL_WAKE].revents && read(w->wake, &count, sizeof(count)) > 0)
			continue;
		if (polls[POLL_TUN].revents & POLLERR) {
			uint64_t one = 1;
			int running = WORKER_RUN;
			// Before it is told: whoever hears of it orders the end, which must not be lost.
			atomic_compare_exchange_strong(&w->order, &running, WORKER_PARK);
			(void)!write(w->lost, &one, sizeof(one));
			continue;
		}
		worked = work(w, polls) > 0;
	}
	return NULL;
}

int worker_start(struct worker *w)
{
	int r = pthread_create(&w->thread, NULL, run, w);
	w->started = r == 0;
	return -r;
}
