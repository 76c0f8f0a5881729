// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd as a controller, alone or beside the agent of its host.
#include "agent/serve.h"

#include "agent/notify.h"
#include "controller/controller.h"
#include "controller/identity.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESS_MAX (IP_STR_MAX + 24)

struct server {
	struct loop *loop;
	struct identity_config identity_config; // borrows from the options
	struct identity identity;		// zero with --insecure
	struct kv *kv;
	struct controller *controller;
	struct signal_watch *hangup;
	// alone
	struct notify *notify;
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

static int open_identity(struct server *server, const struct options *options, struct err *e)
{
	server->identity_config = (struct identity_config){
		.directory = options->state_dir,
		.address = options->listen_ip,
		.cert_file = flag_or_null(options->store_flags.remote_cert_file),
		.key_file = flag_or_null(options->store_flags.remote_key_file),
		.token = store_options_token(&options->store_flags),
		.token_file = flag_or_null(options->store_flags.token_file),
	};
	return options->insecure ? 0 : identity_open(&server->identity_config, &server->identity, e);
}

static int open_controller(struct server *server, const struct options *options, struct err *e)
{
	const struct identity *identity = &server->identity;
	const struct controller_config config = {
		.prefix = options->store_flags.prefix,
		.token = identity->token,
		.rate = (unsigned int)options->client_rate,
		.http = { .address = options->listen_ip,
			  .port = options->listen_port,
			  .tls = { .cert_file = identity->cert_file,
				   .key_file = identity->key_file,
				   .ca_file = flag_or_null(options->store_flags.remote_ca_file) } },
	};

	return controller_new(server->kv, &config, &server->controller, e);
}

static int open_all(struct server *server, const struct options *options, struct err *e)
{
	int r = open_identity(server, options, e);

	if (r < 0)
		return err_wrap(e, "--listen=%s", options->listen);
	r = make_directory(options->store.path, e);
	if (r == 0)
		r = kv_open(server->loop, &options->store, &server->kv, e);
	if (r < 0)
		return r;
	r = open_controller(server, options, e);
	return r < 0 ? err_wrap(e, "--listen=%s", options->listen) : 0;
}

// ---- how agents join ----

// any: what stands for the unspecified address.
static const char *address_text(const struct server *server, const struct ip *ip, const char *any,
				char buf[static ADDRESS_MAX])
{
	unsigned int port = controller_port(server->controller);
	char text[IP_STR_MAX];

	if (ip_is_unspecified(ip))
		(void)text_format(buf, ADDRESS_MAX, "%s:%u", any, port);
	else
		(void)text_format(buf, ADDRESS_MAX, ip->family == AF_INET6 ? "[%s]:%u" : "%s:%u",
				  ip_str(ip, text), port);
	return buf;
}

void server_access(const struct server *server, const struct options *options,
		   struct server_access *ret)
{
	const struct ip *listen_ip = &options->listen_ip;
	const char *token_file = server->identity.token_file;
	char address[ADDRESS_MAX];

	(void)address_text(server, listen_ip, listen_ip->family == AF_INET6 ? "[::1]" : "127.0.0.1",
			   address);
	(void)text_format(ret->endpoint, sizeof(ret->endpoint), "http%s://%s",
			  options->insecure ? "" : "s", address);
	ret->pin = controller_pin(server->controller);
	ret->token_file = token_file ? token_file : options->store_flags.token_file;
}

// Standard output and error go to one place that is kept, a journal or a file: a token is not for it.
static bool output_is_log(void)
{
	struct stat out, err;

	if (isatty(STDOUT_FILENO))
		return false;
	return fstat(STDOUT_FILENO, &out) < 0 || fstat(STDERR_FILENO, &err) < 0 ||
	       (out.st_dev == err.st_dev && out.st_ino == err.st_ino);
}

static void tell_join(const struct server *server, const struct options *options)
{
	const struct identity *identity = &server->identity;
	const char *pin = controller_pin(server->controller);
	const char *files = options->store_flags.remote_ca_file[0] != '\0'
				    ? " --remote-certfile=FILE --remote-keyfile=FILE"
				    : "";
	char address[ADDRESS_MAX];

	if (!identity->token)
		return;
	(void)address_text(server, &options->listen_ip, "ADDRESS-OF-THIS-HOST", address);
	log_info("controller: agents join by: weftd --remote=%s --token-file=FILE --pin=%s%s; the token is %s%s",
		 address, pin, files, identity->join_file ? "in " : "what `weft token create` makes",
		 identity->join_file ? identity->join_file : "");
	if (!identity->token_is_new || output_is_log())
		return;
	printf("weftd --remote=%s --token=%s --pin=%s%s\n", address, identity->join_token, pin, files);
	(void)fflush(stdout); // who closed it does not want it
}

// ---- life ----

static int read_token(struct server *server, struct err *e)
{
	int r = identity_read_token(&server->identity_config, &server->identity, e);

	if (r == 0)
		controller_set_token(server->controller, server->identity.token);
	return r;
}

static void on_hangup(void *arg, int signal_number)
{
	struct server *server = arg;
	struct err e;

	(void)signal_number;
	if (!server->identity.cert_file)
		log_info("controller: there are no files to read again: it was started with --insecure");
	else if (read_token(server, &e) < 0)
		log_error("controller: keep the former token and certificate: %s", err_msg(&e));
	else if (controller_reload(server->controller, &e) < 0)
		log_error("controller: keep the former certificate: %s", err_msg(&e));
	else
		log_info("controller: read the certificate again, and the token; connections that are open "
			 "keep the former certificate; pin %s",
			 controller_pin(server->controller));
}

int server_new(struct loop *loop, const struct options *options, struct server **ret, struct err *e)
{
	struct server *server = xnew(struct server);
	char address[IP_STR_MAX];
	int r;

	server->loop = loop;
	raise_descriptor_limit();
	r = open_all(server, options, e);
	if (r < 0) {
		server_free(server);
		return r;
	}
	server->hangup = signal_watch_new(loop, SIGHUP, on_hangup, server);
	tell_join(server, options);
	log_info("controller: serves %s of %s%s%s at %s, port %u", options->store_flags.prefix,
		 options->store.kind, options->store.path ? " " : "",
		 options->store.path ? options->store.path : "",
		 ip_str(&options->listen_ip, address), controller_port(server->controller));
	*ret = server;
	return 0;
}

struct server *server_free(struct server *server)
{
	if (!server)
		return NULL;
	signal_watch_free(server->hangup);
	controller_free(server->controller);
	kv_close(server->kv);
	identity_free(&server->identity);
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

void server_run(struct server *server, char *const *environment)
{
	static const int numbers[] = { SIGTERM, SIGINT };
	struct signal_watch *signals[ARRAY_SIZE(numbers)];
	struct err notice;

	if (notify_new(environment, &server->notify, &notice) < 0)
		log_warn("controller: %s", notice.msg);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signals[i] = signal_watch_new(server->loop, numbers[i], on_signal, server);
	notify_watchdog_start(server->notify, server->loop);
	notify_ready(server->notify);
	loop_run(server->loop);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		signal_watch_free(signals[i]);
	server->notify = notify_free(server->notify);
}
