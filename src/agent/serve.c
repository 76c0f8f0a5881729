// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd as a controller, alone or beside the agent of its host.
#include "agent/serve.h"

#include "agent/notify.h"
#include "controller/controller.h"
#include "core/log.h"
#include "core/mem.h"
#include "io/file.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

struct server {
	struct loop *loop;
	struct kv *kv;
	struct controller *controller;
	// alone
	struct notify *notify;
	struct timer *watchdog;
};

// Each agent is a connection.
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("controller: the limit of open files stays: %s", strerror(errno));
}

// Of the database; NULL: there is none.
static int make_directory(const char *path, struct err *e)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	_cleanup_free_ char *directory = slash ? xstrndup(path, (size_t)(slash - path)) : NULL;

	return directory && directory[0] ? directory_make(directory, 0700, e) : 0;
}

int server_new(struct loop *loop, const struct options *options, struct server **ret, struct err *e)
{
	const struct controller_config config = {
		.prefix = options->store_flags.prefix,
		.http = { .address = options->listen_ip, .port = options->listen_port },
	};
	struct server *server = xnew(struct server);
	char address[IP_STR_MAX];
	int r;

	server->loop = loop;
	raise_descriptor_limit();
	r = make_directory(options->store.path, e);
	if (r == 0)
		r = kv_open(loop, &options->store, &server->kv, e);
	if (r == 0) {
		r = controller_new(server->kv, &config, &server->controller, e);
		if (r < 0)
			err_wrap(e, "--listen=%s", options->listen);
	}
	if (r < 0) {
		server_free(server);
		return r;
	}
	log_info("controller: serves %s of %s%s%s at %s, port %u", config.prefix, options->store.kind,
		 options->store.path ? " " : "", options->store.path ? options->store.path : "",
		 ip_str(&options->listen_ip, address), controller_port(server->controller));
	*ret = server;
	return 0;
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	controller_free(server->controller);
	kv_close(server->kv);
	free(server);
	return NULL;
}

// ---- alone ----

static void on_signal(void *arg, int signal_number)
{
	struct server *server = arg;

	log_info("controller: stopped by signal %d", signal_number);
	notify_stopping(server->notify);
	loop_stop(server->loop);
}

static void on_watchdog(void *arg)
{
	struct server *server = arg;

	notify_watchdog(server->notify);
	timer_start(server->watchdog, notify_watchdog_ms(server->notify));
}

void server_run(struct server *server, char *const *environment)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	struct signal_watch *signals[ARRAY_SIZE(numbers)];
	struct err notice;

	if (notify_new(environment, &server->notify, &notice) < 0)
		log_warn("controller: %s", notice.msg);
	server->watchdog = timer_new(server->loop, on_watchdog, server);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signals[i] = signal_watch_new(server->loop, numbers[i], on_signal, server);
	if (notify_watchdog_ms(server->notify) > 0)
		timer_start(server->watchdog, notify_watchdog_ms(server->notify));
	notify_ready(server->notify);
	loop_run(server->loop);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signal_watch_free(signals[i]);
	server->watchdog = timer_free(server->watchdog);
	server->notify = notify_free(server->notify);
}
