// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the packet path as a whole: the device, the sockets, the workers and the table they use.
#include "udp/engine.h"

#include "core/mem.h"
#include "udp/worker.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TURN_NS = 100000 }; // the shortest that the kernel gives

struct retired {
	struct retired *next;
	struct route_table *table;
};

struct engine {
	_Atomic(const struct route_table *) current;
	struct route_table *table; // the same, ours to free
	struct retired *retired;
	struct worker *workers[TUN_QUEUES_MAX];
	size_t worker_count;
	struct tun_features features;
	int lost;
};

static void add_worker(struct engine *engine, const struct engine_options *options, int tun, int in,
		       int out)
{
	struct worker *w = worker_new(tun, in, out, engine->lost, &engine->current);
	w->transmit.gso = w->transmit.gso && options->segment;
	w->receive.coalescer.join_tcp = engine->features.tso && options->join_tcp;
	w->receive.coalescer.join_udp = engine->features.uso && options->join_udp;
	w->spin.limit_ns = options->spin_us * 1000ull;
	engine->workers[engine->worker_count++] = w;
}

static struct engine *engine_new(void)
{
	struct engine *engine = xnew(struct engine);
	struct route_config none = { 0 };
	engine->lost = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (engine->lost < 0)
		abort();
	// Nothing has a route, so that nothing has to ask whether there is a table.
	(void)route_table_new(&none, NULL, 0, &engine->table, NULL);
	atomic_init(&engine->current, engine->table);
	return engine;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int engine_adopt(const struct engine_options *options, const int *fds, size_t count,
		 struct engine **ret, struct err *e)
{
	if (count == 0 || count % ENGINE_FDS_EACH != 0 || count > ENGINE_FDS_MAX) {
		close_all(fds, count);
		return err_set(e, -EPROTO, "%zu descriptors were handed over", count);
	}
	struct engine *engine = engine_new();
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i += ENGINE_FDS_EACH)
		r = tun_negotiate(fds[i], &engine->features, e);
	if (r < 0) {
		close_all(fds, count);
		engine_free(engine);
		return r;
	}
	for (size_t i = 0; i < count; i += ENGINE_FDS_EACH)
		add_worker(engine, options, fds[i], fds[i + 1], fds[i + 2]);
	*ret = engine;
	return 0;
}

static int open_sockets(const struct engine_options *options, int fds[static ENGINE_FDS_EACH],
			struct err *e)
{
	int r = outer_open_receive(&options->address, options->port, options->workers > 1, &fds[1], e);
	if (r < 0)
		return r;
	if (!options->fixed_source)
		return outer_open_send(&options->address, &fds[2], e);
	fds[2] = dup(fds[1]);
	return fds[2] < 0 ? err_set(e, -errno, "socket: %s", strerror(errno)) : 0;
}

int engine_open(const struct engine_options *options, struct engine **ret, struct err *e)
{
	int tuns[TUN_QUEUES_MAX], fds[ENGINE_FDS_MAX];
	size_t count = options->workers * (size_t)ENGINE_FDS_EACH;
	int r = tun_open(options->device, options->workers, tuns, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		fds[i] = i % ENGINE_FDS_EACH == 0 ? tuns[i / ENGINE_FDS_EACH] : -1;
	r = tun_set_queue_len(options->device, options->queue_len, e);
	// Where /proc cannot be written, only ICMP errors are missed.
	(void)tun_accept_own_source(options->device);
	(void)tun_without_link_local(options->device);
	for (size_t i = 0; r == 0 && i < count; i += ENGINE_FDS_EACH)
		r = open_sockets(options, fds + i, e);
	if (r < 0) {
		close_all(fds, count);
		return r;
	}
	return engine_adopt(options, fds, count, ret, e);
}

struct engine *engine_free(struct engine *engine)
{
	if (!engine)
		return NULL;
	engine_stop(engine);
	for (size_t i = 0; i < engine->worker_count; i++)
		worker_free(engine->workers[i]);
	(void)engine_reap(engine);
	route_table_free(engine->table);
	close(engine->lost);
	free(engine);
	return NULL;
}

size_t engine_descriptors(const struct engine *engine, int ret[static ENGINE_FDS_MAX])
{
	size_t count = 0;
	for (size_t i = 0; i < engine->worker_count; i++) {
		ret[count++] = engine->workers[i]->tun;
		ret[count++] = engine->workers[i]->in;
		ret[count++] = engine->workers[i]->out;
	}
	return count;
}

// What is sent may wait in a queue of the processor, which a worker that is moved to another one would
// overtake. One worker alone is left to the scheduler: it would be stuck behind whatever runs there.
static void bind_worker(const struct engine *engine, size_t index)
{
	cpu_set_t allowed, one;
	CPU_ZERO(&one);
	if (engine->worker_count < 2 || sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return;
	size_t place = index * (size_t)CPU_COUNT(&allowed) / engine->worker_count;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || place-- > 0)
			continue;
		CPU_SET(cpu, &one);
		(void)pthread_setaffinity_np(engine->workers[index]->thread, sizeof(one), &one);
		return;
	}
}

// Woken, a worker comes sooner before those that compute: who has short turns is late after little waiting. Threads inherit it. Needs no
// right, and is nothing to a kernel before Linux 6.12; where it is refused, packets wait longer on a busy host, which is all.
static void ask_for_short_turns(void)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t turn_ns, deadline_ns, period_ns;
	} attributes = { .size = sizeof(attributes) };
	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) < 0 ||
	    attributes.policy != SCHED_OTHER)
		return;
	attributes.turn_ns = TURN_NS;
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int engine_start(struct engine *engine, struct err *e)
{
	ask_for_short_turns();
	for (size_t i = 0; i < engine->worker_count; i++) {
		int r = worker_start(engine->workers[i]);
		if (r < 0)
			return err_set(e, r, "a worker's thread: %s", strerror(-r));
		bind_worker(engine, i);
	}
	return 0;
}

void engine_run(struct engine *engine)
{
	for (size_t i = 0; i < engine->worker_count; i++)
		worker_tell(engine->workers[i], WORKER_RUN);
}

void engine_stop(struct engine *engine)
{
	for (size_t i = 0; i < engine->worker_count; i++)
		worker_tell(engine->workers[i], WORKER_QUIT);
	for (size_t i = 0; i < engine->worker_count; i++) {
		if (engine->workers[i]->started)
			pthread_join(engine->workers[i]->thread, NULL);
		engine->workers[i]->started = false;
	}
}

void engine_set_table(struct engine *engine, struct route_table *table)
{
	struct retired *retired = xnew(struct retired);
	*retired = (struct retired){ engine->retired, engine->table };
	engine->retired = retired;
	engine->table = table;
	atomic_store(&engine->current, table);
	(void)engine_reap(engine);
}

static bool is_held(const struct engine *engine, const struct route_table *table)
{
	for (size_t i = 0; i < engine->worker_count; i++)
		if (atomic_load(&engine->workers[i]->held) == table)
			return true;
	return false;
}

bool engine_reap(struct engine *engine)
{
	for (struct retired **at = &engine->retired; *at;) {
		struct retired *retired = *at;
		if (is_held(engine, retired->table)) {
			at = &retired->next;
			continue;
		}
		*at = retired->next;
		route_table_free(retired->table);
		free(retired);
	}
	return engine->retired != NULL;
}

void engine_counters(const struct engine *engine, uint64_t ret[static COUNTER_COUNT])
{
	memset(ret, 0, COUNTER_COUNT * sizeof(ret[0]));
	for (size_t i = 0; i < engine->worker_count; i++)
		for (size_t c = 0; c < COUNTER_COUNT; c++)
			ret[c] += atomic_load_explicit(&engine->workers[i]->counters.values[c],
						       memory_order_relaxed);
}

int engine_lost_fd(const struct engine *engine)
{
	return engine->lost;
}

struct tun_features engine_features(const struct engine *engine)
{
	return engine->features;
}
