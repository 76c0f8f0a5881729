// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd as a controller: from its start until a signal ends it.
#include "agent/serve.h"

#include "agent/notify.h"
#include "controller/controller.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

struct server {
	struct loop *loop;
	struct notify *notify;
	struct timer *watchdog;
	struct kv *kv;
	struct controller *controller;
	struct signal_watch *signals[2];
};

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

// Each agent is a connection.
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("controller: the limit of open files stays at %llu: %s",
			 (unsigned long long)limit.rlim_cur, strerror(errno));
}

static int open_all(struct server *server, const struct options *options, struct err *e)
{
	const struct controller_config config = {
		.prefix = options->store_flags.prefix,
		.http = { .address = options->listen_ip, .port = options->listen_port },
	};
	int r = kv_open(server->loop, &options->store, &server->kv, e);

	if (r == 0)
		r = controller_new(server->kv, &config, &server->controller, e);
	return r < 0 ? err_wrap(e, "--listen=%s", options->listen) : 0;
}

static void run(struct server *server, const struct options *options)
{
	static const int signals[] = { SIGTERM, SIGINT };
	char address[IP_STR_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		server->signals[i] = signal_watch_new(server->loop, signals[i], on_signal, server);
	if (notify_watchdog_ms(server->notify) > 0)
		timer_start(server->watchdog, notify_watchdog_ms(server->notify));
	notify_ready(server->notify);
	log_info("controller: serves %s of store %s at %s, port %u", options->store_flags.prefix,
		 options->store.kind, ip_str(&options->listen_ip, address),
		 controller_port(server->controller));
	loop_run(server->loop);
}

int serve(struct loop *loop, const struct options *options, char *const *environment, struct err *e)
{
	struct server server = { .loop = loop };
	struct err notice;
	int r;

	if (notify_new(environment, &server.notify, &notice) < 0)
		log_warn("controller: %s", notice.msg);
	server.watchdog = timer_new(loop, on_watchdog, &server);
	raise_descriptor_limit();
	r = open_all(&server, options, e);
	if (r == 0)
		run(&server, options);
	for (size_t i = 0; i < ARRAY_SIZE(server.signals); i++)
		signal_watch_free(server.signals[i]);
	timer_free(server.watchdog);
	controller_free(server.controller);
	kv_close(server.kv);
	notify_free(server.notify);
	return r;
}
