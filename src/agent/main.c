// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd's table of contents.
#include "agent/agent.h"
#include "agent/check_config.h"
#include "agent/cleanup.h"
#include "agent/host_lock.h"
#include "agent/log_control.h"
#include "agent/privileges.h"
#include "agent/serve.h"
#include "core/log.h"
#include "core/mem.h"

#include <signal.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

extern char **environ;

static int run(const struct options *options)
{
	bool has_agent = options->action == OPTIONS_RUN || options->with_agent;
	struct err e = { 0 };
	struct agent *agent = NULL;
	struct loop *loop = loop_new();
	struct log_teller *teller = log_teller_new(loop);
	struct host_lock *lock = NULL;
	struct server *server = NULL;
	struct server_access access;
	int r = 0;
	// To look at a process of root takes more than is kept.
	if (has_agent)
		r = host_lock_take(&lock, &e);
	if (r == 0)
		privileges_drop(options);
	if (r == 0 && options->action == OPTIONS_SERVE)
		r = server_new(loop, options, &server, &e);
	if (r == 0 && has_agent)
		r = agent_new(loop, options, environ, &agent, &e);
	if (agent && server) {
		server_access(server, options, &access);
		agent_serves(agent, &access);
	}
	if (r == 0 && agent)
		r = agent_run(agent, &e);
	else if (r == 0)
		server_run(server, environ);
	if (r < 0)
		log_error("weftd: %s", err_msg(&e));
	agent_free(agent);
	server_free(server);
	host_lock_release(lock);
	log_teller_free(teller);
	loop_free(loop);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

static int print(FILE *stream, void (*fill)(struct strbuf *))
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(64 * 1024);
	fill(&text);
	fputs(strbuf_text(&text), stream);
	return EXIT_OK;
}

static int check(const char *path)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(64 * 1024);
	struct err e = { 0 };
	if (check_config(path, &text, &e) < 0) {
		fprintf(stderr, "weftd: %s\n", err_msg(&e));
		return EXIT_FAILED;
	}
	fputs(strbuf_text(&text), stdout);
	return EXIT_OK;
}

static int clean_up(const struct options *options)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT((size_t)16 * 1024 * 1024);
	struct err e = { 0 };
	log_setup(LOG_LEVEL_ERROR, (enum log_format)options->log_format);
	int r = cleanup_run(options, &text, &e);
	fputs(strbuf_text(&text), stdout);
	if (r < 0)
		fprintf(stderr, "weftd: %s\n", err_msg(&e));
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

static int act(const struct options *options)
{
	switch (options->action) {
	case OPTIONS_HELP:
		return print(stderr, options_help);
	case OPTIONS_VERSION:
		fprintf(stderr, "%s\n", WEFT_VERSION);
		return EXIT_OK;
	case OPTIONS_CHECK_CONFIG:
		return check(options->check_config);
	case OPTIONS_CLEANUP:
		return clean_up(options);
	case OPTIONS_RUN:
	case OPTIONS_SERVE:
		break;
	}
	log_setup((enum log_level)options->log_level, (enum log_format)options->log_format);
	if (options->action == OPTIONS_RUN || options->with_agent)
		options_log_notices(options);
	return run(options);
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	struct err e = { 0 };
	mem_setup();
	// A peer that hangs up is told by the write's error.
	signal(SIGPIPE, SIG_IGN);
	int status = EXIT_USAGE;
	if (options_parse(argc, argv, environ, &options, &e) < 0)
		fprintf(stderr, "weftd: %s\n", err_msg(&e));
	else
		status = act(&options);
	options_free(&options);
	return status;
}
