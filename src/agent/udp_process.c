// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: that weft-udp runs and is the one that is wanted.
#include "agent/udp_process_internal.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "io/child.h"
#include "io/daemon.h"
#include "udp/build_id.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM_NAME "weft-udp"

enum {
	LOOK_MS = 5,	  // until it is looked again whether it serves, or has ended
	START_MS = 10000, // it must serve by then
	RETRY_MIN_MS = 100,
	RETRY_MAX_MS = 5000,
	WELL_MS = 10000,    // having worked so long, it is started again at once
	UNANSWERED_MAX = 3, // then it will not answer any more
};

static void tick(void *arg);
static void on_lost(void *arg, const struct err *e);

// Beside our own program.
static char *program_path(void)
{
	char own[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
	if (len <= 0)
		return xstrdup(PROGRAM_NAME);
	own[len] = '\0';
	char *slash = strrchr(own, '/');
	return slash ? xasprintf("%.*s/" PROGRAM_NAME, (int)(slash - own), own)
		     : xstrdup(PROGRAM_NAME);
}

struct udp_process *udp_process_new(struct loop *loop, const char *run_dir, const char *const *flags,
				    const struct udp_process_hooks *hooks, void *arg)
{
	struct udp_process *p = xnew(struct udp_process);
	p->loop = loop;
	p->socket = xasprintf("%s/" UDP_PROCESS_SOCKET_NAME, run_dir);
	p->program = program_path();
	p->flags = flags;
	p->hooks = hooks;
	p->arg = arg;
	p->words = -1;
	p->backoff = (struct backoff){ .base_ms = RETRY_MIN_MS, .max_ms = RETRY_MAX_MS };
	p->timer = timer_new(loop, tick, p);
	p->feed_timer = timer_new(loop, feed_tick, p);
	p->counter_timer = timer_new(loop, feed_counter_tick, p);
	p->message = STRBUF_INIT(CONTROL_MESSAGE_MAX);
	return p;
}

static bool note_end(pid_t *pid, int *ret_status)
{
	if (*pid == 0 || !daemon_ended(*pid, ret_status))
		return false;
	*pid = 0;
	return true;
}

void process_reap(struct udp_process *p)
{
	int status;
	(void)note_end(&p->former, &status);
}

struct udp_process *udp_process_free(struct udp_process *p)
{
	int status;
	if (!p)
		return NULL;
	(void)note_end(&p->child, &status);
	process_reap(p);
	fd_closep(&p->words);
	udp_client_free(p->client);
	timer_free(p->timer);
	timer_free(p->feed_timer);
	timer_free(p->counter_timer);
	feed_free(&p->feed);
	strbuf_free(&p->message);
	free(p->socket);
	free(p->program);
	free(p);
	return NULL;
}

static void ignore_lost(void *arg, const struct err *e)
{
	(void)arg, (void)e;
}

void udp_process_end_former(struct loop *loop, const char *run_dir)
{
	_cleanup_free_ char *path = xasprintf("%s/" UDP_PROCESS_SOCKET_NAME, run_dir);
	struct udp_client *client = NULL;
	if (udp_client_open(loop, path, ignore_lost, NULL, &client, NULL) < 0)
		return;
	log_info("agent: ending weft-udp, process %d, of another backend",
		 (int)udp_client_pid(client));
	udp_client_tell(client, CONTROL_STOP);
	udp_client_free(client);
	(void)unlink(path);
}

// ---- steps ----

static void step_to(struct udp_process *p, enum udp_step step, uint64_t delay_ms)
{
	p->step = step;
	p->since_ms = loop_now_ms();
	timer_start(p->timer, delay_ms);
}

static void is_down(struct udp_process *p)
{
	p->client = udp_client_free(p->client);
	feed_end(p);
	if (p->up) {
		p->up = false;
		p->hooks->changed(p->arg, false);
	}
}

// Logs only what is news.
static void fail(struct udp_process *p, const struct err *e)
{
	bool is_news = strcmp(p->error.msg, e->msg) != 0;
	p->error = *e;
	is_down(p);
	if (is_news)
		log_error("udp: %s", e->msg);
	step_to(p, UDP_STEP_REACH, backoff_next_late_ms(&p->backoff));
}

void process_is_up(struct udp_process *p)
{
	if (p->up)
		return;
	p->up = true;
	if (p->error.code != 0)
		log_info("udp: recovered from: %s", p->error.msg);
	p->error = (struct err){ 0 };
	log_info("udp: weft-udp, process %d, carries the packets: %s",
		 (int)udp_client_pid(p->client), p->hello.engine);
	p->hooks->changed(p->arg, true);
}

static int start(struct udp_process *p, struct err *e)
{
	enum { FIXED = 5, FLAGS_MAX = 4 };
	char ip[IP_STR_MAX];
	_cleanup_free_ char *device = xasprintf("--device=%s", p->wanted.device);
	_cleanup_free_ char *address = xasprintf("--address=%s", ip_str(&p->wanted.address, ip));
	_cleanup_free_ char *port = xasprintf("--port=%u", p->wanted.port);
	_cleanup_free_ char *socket = xasprintf("--socket=%s", p->socket);
	const char *argv[FIXED + FLAGS_MAX + 1] = { p->program, device, address, port, socket };
	int words[2];
	for (size_t i = 0; i < FLAGS_MAX && p->flags[i]; i++)
		argv[FIXED + i] = p->flags[i];
	p->former = p->child ? p->child : p->former;
	p->child = 0;
	fd_closep(&p->words);
	if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, -errno, "pipe: %s", strerror(errno));
	p->words = words[0];
	struct daemon_request request = { argv, .output = words[1], .errors = STDERR_FILENO };
	int r = daemon_start(&request, &p->child, e);
	(void)close(words[1]);
	return r;
}

// ---- who is there ----

static bool is_same_place(const struct control_hello *hello, const struct backend_process *wanted)
{
	return strcmp(hello->device, wanted->device) == 0 && hello->port == wanted->port &&
	       ip_equal(&hello->address, &wanted->address);
}

static bool is_other_build(const struct udp_process *p)
{
	char build[CONTROL_TEXT_MAX + 1];
	return build_id_of(p->program, build) == 0 && strcmp(build, p->hello.build) != 0;
}

static void on_stopping(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	(void)arg, (void)r, (void)answer, (void)e; // its end is told by on_lost
}

static void stop(struct udp_process *p)
{
	log_info("udp: stopping weft-udp, process %d, which has another address or port",
		 (int)udp_client_pid(p->client));
	control_write_request(&p->message, CONTROL_STOP);
	udp_client_ask(p->client, &p->message, on_stopping);
	step_to(p, UDP_STEP_STOP, START_MS);
}

void udp_process_stop(struct udp_process *p)
{
	if (p->client)
		udp_client_tell(p->client, CONTROL_STOP);
	feed_end(p);
	p->step = UDP_STEP_END;
	timer_stop(p->timer);
}

static void work(struct udp_process *p)
{
	step_to(p, UDP_STEP_WORK, WELL_MS);
	feed_begin(p);
	feed_go_on(p);
}

static void take_over(struct udp_process *p)
{
	struct err e = { 0 };
	log_info("udp: weft-udp, process %d, is of another build: starting the one that is installed",
		 (int)udp_client_pid(p->client));
	p->took_over = true;
	if (start(p, &e) == 0) {
		step_to(p, UDP_STEP_TAKE_OVER, LOOK_MS);
		return;
	}
	log_warn("udp: %s; the one that runs goes on", e.msg);
	work(p);
}

static void on_hello(void *arg, int r, struct control_reader *answer, const struct err *e)
{
	struct udp_process *p = arg;
	struct err why = { 0 };
	p->unanswered = 0;
	if (r == 0)
		r = control_read_hello(answer, &p->hello, &why);
	else
		why = *e;
	if (r < 0) {
		err_wrap(&why, "weft-udp, process %d", (int)udp_client_pid(p->client));
		fail(p, &why);
	} else if (!is_same_place(&p->hello, &p->wanted)) {
		stop(p);
	} else if (!p->took_over && is_other_build(p)) {
		take_over(p);
	} else {
		work(p);
	}
}

static int reach(struct udp_process *p, struct err *e)
{
	int r = udp_client_open(p->loop, p->socket, on_lost, p, &p->client, e);
	if (r < 0)
		return r;
	step_to(p, UDP_STEP_GREET, START_MS);
	control_write_request(&p->message, CONTROL_HELLO);
	udp_client_ask(p->client, &p->message, on_hello);
	return 0;
}

// Nobody else can have its place as long as it is there.
static void end_one_that_hangs(struct udp_process *p, const struct err *e)
{
	pid_t pid = udp_client_pid(p->client);
	p->unanswered = e->code == -ETIMEDOUT ? p->unanswered + 1 : 0;
	if (p->unanswered < UNANSWERED_MAX)
		return;
	p->unanswered = 0;
	log_error("udp: killing weft-udp, process %d, which did not answer %d times", (int)pid,
		  UNANSWERED_MAX);
	if (pid > 0 && kill(pid, SIGKILL) < 0)
		log_error("udp: weft-udp, process %d: %s", (int)pid, strerror(errno));
}

// A version that is older or newer than us may be one that we cannot speak to: it is replaced as well.
static void on_lost(void *arg, const struct err *e)
{
	struct udp_process *p = arg;
	enum udp_step step = p->step;
	bool expected = step == UDP_STEP_STOP || step == UDP_STEP_TAKE_OVER || step == UDP_STEP_END;
	bool at_once = expected || p->backoff.attempt == 0;
	end_one_that_hangs(p, e);
	is_down(p);
	p->took_over = step == UDP_STEP_TAKE_OVER;
	if (!p->took_over && p->child) {
		p->former = p->child;
		p->child = 0;
	}
	if (step == UDP_STEP_END)
		return;
	if (!expected) {
		log_warn("udp: %s", e->msg);
		p->error = *e;
	}
	uint64_t delay_ms = expected ? 0 : backoff_next_late_ms(&p->backoff);
	step_to(p, UDP_STEP_REACH, at_once ? 0 : delay_ms);
}

// ---- time passes ----

static void say_why_it_ended(struct udp_process *p, int status, struct err *e)
{
	char reason[ERR_MSG_MAX], text[32];
	ssize_t len = read(p->words, reason, sizeof(reason) - 1);
	reason[len > 0 ? len : 0] = '\0';
	reason[strcspn(reason, "\n")] = '\0';
	text_sanitize(reason);
	if (*reason)
		err_set(e, -ECHILD, "weft-udp: %s", reason);
	else
		err_set(e, -ECHILD, "weft-udp ended with %s; its log may say why",
			child_status_str(status, text));
}

static void try_to_reach(struct udp_process *p)
{
	struct err e = { 0 };
	int status = 0;
	bool had_child = p->child != 0;
	int r = reach(p, &e);
	if (r == 0)
		return;
	if (r != -ENOENT && r != -ECONNREFUSED) {
		fail(p, &e);
		return;
	}
	if (had_child && note_end(&p->child, &status)) {
		say_why_it_ended(p, status, &e);
		fail(p, &e);
		return;
	}
	if (!had_child && start(p, &e) < 0) {
		fail(p, &e);
		return;
	}
	if (loop_now_ms() - p->since_ms < START_MS) {
		timer_start(p->timer, LOOK_MS);
		return;
	}
	err_set(&e, -ETIMEDOUT, "weft-udp, process %d, was started and serves nobody", (int)p->child);
	fail(p, &e);
}

static void look_at_take_over(struct udp_process *p)
{
	char text[32];
	int status = 0;
	bool ended = note_end(&p->child, &status);
	if (!ended && loop_now_ms() - p->since_ms < START_MS) {
		timer_start(p->timer, LOOK_MS); // it takes over soon, and then the connection ends
		return;
	}
	log_warn("udp: the new weft-udp %s, and the one that runs goes on",
		 ended ? child_status_str(status, text) : "does not take over");
	p->child = ended ? p->former : p->child;
	p->former = ended ? 0 : p->former;
	work(p);
}

static void tick(void *arg)
{
	struct udp_process *p = arg;
	struct err e;
	process_reap(p);
	switch (p->step) {
	case UDP_STEP_REACH:
		try_to_reach(p);
		break;
	case UDP_STEP_TAKE_OVER:
		look_at_take_over(p);
		break;
	case UDP_STEP_WORK: // what went wrong is long ago
		backoff_reset(&p->backoff);
		break;
	case UDP_STEP_STOP:
		err_set(&e, -ETIMEDOUT, "weft-udp, process %d, was told to end and does not",
			(int)udp_client_pid(p->client));
		fail(p, &e);
		break;
	case UDP_STEP_END:
	case UDP_STEP_IDLE:
	case UDP_STEP_GREET: // its answer has a deadline
		break;
	}
}

// ---- what others say ----

static bool is_same_config(const struct backend_process *a, const struct backend_process *b)
{
	return a->mtu_bytes == b->mtu_bytes &&
	       ipnet_equal(&a->network[UNDERLAY_V4], &b->network[UNDERLAY_V4]) &&
	       ipnet_equal(&a->network[UNDERLAY_V6], &b->network[UNDERLAY_V6]) &&
	       ipnet_equal(&a->own[UNDERLAY_V4], &b->own[UNDERLAY_V4]) &&
	       ipnet_equal(&a->own[UNDERLAY_V6], &b->own[UNDERLAY_V6]);
}

void udp_process_set(struct udp_process *p, const struct backend_process *wanted)
{
	bool is_new = p->step == UDP_STEP_IDLE;
	bool moves = !is_new && (!ip_equal(&p->wanted.address, &wanted->address) ||
				 p->wanted.port != wanted->port);
	bool changes = !is_new && !is_same_config(&p->wanted, wanted);
	p->wanted = *wanted;
	if (is_new) {
		step_to(p, UDP_STEP_REACH, 0);
		return;
	}
	if (p->step != UDP_STEP_WORK || !(moves || changes))
		return; // it is looked at when its turn comes
	if (moves) {
		is_down(p);
		step_to(p, UDP_STEP_REACH, 0);
		return;
	}
	p->feed.config_due = true;
	feed_go_on(p);
}

bool udp_process_is_up(const struct udp_process *p)
{
	return p->up;
}

const struct err *udp_process_error(const struct udp_process *p)
{
	return p->error.code != 0 ? &p->error : &p->feed.refused;
}

const char *udp_process_engine(const struct udp_process *p)
{
	return p->up ? p->hello.engine : "";
}

pid_t udp_process_pid(const struct udp_process *p)
{
	return p->up ? udp_client_pid(p->client) : 0;
}

bool udp_process_counters(const struct udp_process *p, const uint64_t **ret)
{
	*ret = p->counters;
	return p->has_counters;
}
