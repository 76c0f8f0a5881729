// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft-udp's table of contents.
#include "core/flags.h"
#include "core/log.h"
#include "core/mem.h"
#include "udp/build_id.h"
#include "udp/options.h"
#include "udp/sandbox.h"
#include "udp/serve.h"
#include "udp/take_over.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

// SIGTERM and SIGINT as a descriptor; all threads have them blocked.
static int stop_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int open_engine(const struct udp_options *options, struct take_over *take,
		       struct engine **ret, struct err *e)
{
	int r = take_over_begin(options->socket, &options->engine, take, e);
	if (r < 0)
		return r;
	if (take->fd < 0)
		return engine_open(&options->engine, ret, e);
	size_t count = take->fd_count;
	take->fd_count = 0;
	return engine_adopt(&options->engine, take->fds, count, ret, e);
}

// From the first packet on, the process can do nothing but move packets.
static int confine(const struct udp_options *options, struct engine *engine, struct err *e)
{
	bool sandbox = !(options->without_features & (1u << UDP_FEATURE_SANDBOX));
	int r = sandbox_drop_capabilities(e);
	if (r == 0)
		r = engine_start(engine, e);
	if (r == 0 && sandbox)
		r = sandbox_filter_calls(e);
	return r;
}

static void describe(const struct udp_options *options, struct engine *engine,
		     struct serve_identity *ret)
{
	struct tun_features features = engine_features(engine);
	unsigned int workers = options->engine.workers;
	build_id(ret->build);
	(void)text_format(ret->engine, sizeof(ret->engine), "user space, %u worker%s, %s", workers,
			  workers == 1 ? "" : "s",
			  features.uso	 ? "superpackets of TCP and UDP"
			  : features.tso ? "superpackets of TCP"
					 : "no superpackets");
}

static void log_start(const struct serve_identity *identity, const struct take_over *take)
{
	char text[IP_STR_MAX];
	log_info("weft-udp: device %s, %s port %u; %s%s", identity->device,
		 ip_str(&identity->address, text), identity->port, identity->engine,
		 take->fd >= 0 ? "; taken over from the one before" : "");
}

static int run_with(const struct udp_options *options, struct engine *engine, struct take_over *take,
		    const struct serve_identity *identity, struct serve *serve, struct err *e)
{
	_cleanup_close_ int stop = stop_signals();
	int r = take->fd >= 0 ? serve_take(serve, &take->config, &take->peers, e) : 0;
	if (r == 0)
		r = serve_listen(serve, options->socket, e);
	if (r == 0)
		r = confine(options, engine, e);
	if (r == 0 && take->fd >= 0)
		r = take_over_finish(take, e);
	if (r < 0)
		return r;
	engine_run(engine);
	log_start(identity, take);
	return serve_run(serve, stop, e);
}

static int run(const struct udp_options *options, struct err *e)
{
	struct take_over take = { .fd = -1 };
	struct engine *engine = NULL;
	struct serve_identity identity = { .device = options->device,
					   .address = options->address,
					   .port = options->engine.port };
	int r = open_engine(options, &take, &engine, e);
	if (r == 0) {
		describe(options, engine, &identity);
		struct serve *serve = serve_new(engine, &identity);
		r = run_with(options, engine, &take, &identity, serve, e);
		engine_free(engine);
		serve_free(serve);
	}
	take_over_free(&take);
	return r;
}

static int help(void)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(16 * 1024);
	udp_options_help(&text);
	fputs(strbuf_text(&text), stderr);
	return EXIT_OK;
}

// Who started us through a pipe shows the reason to people.
static void tell_starter(const struct err *e)
{
	struct stat out;
	if (fstat(STDOUT_FILENO, &out) == 0 && S_ISFIFO(out.st_mode))
		dprintf(STDOUT_FILENO, "%s\n", err_msg(e));
}

static int act(const struct udp_options *options)
{
	struct err e = { 0 };
	if (options->version) {
		fprintf(stderr, "%s\n", WEFT_VERSION);
		return EXIT_OK;
	}
	log_setup((enum log_level)options->log_level, (enum log_format)options->log_format);
	if (run(options, &e) == 0)
		return EXIT_OK;
	log_error("weft-udp: %s", err_msg(&e));
	tell_starter(&e);
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct udp_options options = { 0 };
	struct err e = { 0 };
	mem_setup();
	signal(SIGPIPE, SIG_IGN);
	int status = EXIT_USAGE;
	int r = udp_options_parse(argc, argv, &options, &e);
	if (r == FLAG_ASKED_HELP)
		status = help();
	else if (r < 0)
		fprintf(stderr, "weft-udp: %s\n", err_msg(&e));
	else
		status = act(&options);
	udp_options_free(&options);
	return status;
}
