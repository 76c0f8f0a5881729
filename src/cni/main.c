// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the program weft-cni: which plugin it was started as, its input and its output.
#include "cni/call.h"
#include "cni/deadline.h"
#include "cni/flannel.h"
#include "cni/ipam_agent.h"
#include "cni/result.h"
#include "cni/weft.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct plugin {
	const char *name;
	int (*run)(const struct call *call, const struct conf *conf, struct strbuf *out,
		   struct fault *fault);
} plugins[] = {
	{ "weft", weft_run },
	{ "weft-ipam", ipam_agent_run },
	{ "flannel", flannel_run },
};

static void print(int fd, const struct strbuf *text)
{
	const char *at = strbuf_text(text);
	size_t left = text->len;

	while (left > 0) {
		ssize_t n = write(fd, at, left);

		if (n < 0 && errno == EINTR && !deadline_passed())
			continue;
		if (n < 0)
			return; // nobody is there to be told
		at += n;
		left -= (size_t)n;
	}
}

static int read_input(struct strbuf *ret, struct fault *fault)
{
	struct pollfd wait = { .fd = STDIN_FILENO, .events = POLLIN };
	char buffer[8192];
	ssize_t n;

	for (;;) {
		if (deadline_passed())
			return fault_set(fault, FAULT_AGAIN,
					 "no whole configuration on standard input in time");
		if (poll(&wait, 1, deadline_left_ms()) <= 0)
			continue;
		n = read(STDIN_FILENO, buffer, sizeof(buffer));
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return fault_set(fault, FAULT_IO, "error reading from stdin: %s",
					 strerror(errno));
		if (n > 0)
			(void)strbuf_add(ret, buffer, (size_t)n);
	}
	if (ret->overflow)
		return fault_set(fault, FAULT_DECODE, "the network configuration is too large");
	return 0;
}

// The configuration may give more or less time than there is by default.
static int set_deadline(const struct conf *conf, struct fault *fault)
{
	uint64_t seconds = DEADLINE_DEFAULT_S;
	int r = doc_get_u64(conf->root, "timeout", DEADLINE_MAX_S, &seconds);

	if (r == -EINVAL || seconds == 0)
		return fault_set(fault, FAULT_CONFIG, "timeout is no number of 1 to %d seconds",
				 DEADLINE_MAX_S);
	if (r == 0)
		deadline_start((unsigned int)seconds);
	return 0;
}

static void print_versions(struct strbuf *out)
{
	(void)strbuf_printf(out, "{\"cniVersion\":\"%s\",\"supportedVersions\":",
			    cni_version_name(CNI_VERSION_COUNT - 1));
	cni_version_list(out);
	(void)strbuf_puts(out, "}\n");
}

// conf has what was read of the configuration also when this fails: the error is told in its version.
static int run(const struct plugin *plugin, struct conf *conf, struct strbuf *out, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf input = STRBUF_INIT(DOC_TEXT_MAX);
	struct call call;
	int r;

	r = call_read(&call, fault);
	if (r < 0)
		return r;
	if (call.command == COMMAND_VERSION) {
		print_versions(out);
		return 0;
	}
	r = read_input(&input, fault);
	if (r == 0)
		r = conf_read(conf, &call, strbuf_text(&input), input.len, fault);
	if (r == 0)
		r = set_deadline(conf, fault);
	return r < 0 ? r : plugin->run(&call, conf, out, fault);
}

static int about(const struct plugin *plugin)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(1024);

	(void)strbuf_printf(&text, "CNI %s plugin %s\nCNI protocol versions supported: ", plugin->name,
			    WEFT_VERSION);
	for (int i = 0; i < CNI_VERSION_COUNT; i++)
		(void)strbuf_printf(&text, "%s%s", i > 0 ? ", " : "",
				    cni_version_name((enum cni_version)i));
	(void)strbuf_putc(&text, '\n');
	print(STDERR_FILENO, &text);
	return 0;
}

static const struct plugin *find_plugin(const char *program)
{
	const char *slash = program ? strrchr(program, '/') : NULL;
	const char *name = slash ? slash + 1 : program;

	for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
		if (text_equal(plugins[i].name, name))
			return &plugins[i];
	return NULL;
}

static int explain(void)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(1024);

	(void)strbuf_puts(&text, "weft-cni: started under none of its plugins' names:");
	for (size_t i = 0; i < ARRAY_SIZE(plugins); i++)
		(void)strbuf_printf(&text, " %s", plugins[i].name);
	(void)strbuf_putc(&text, '\n');
	print(STDERR_FILENO, &text);
	return 1;
}

int main(int argc, char **argv)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(DOC_TEXT_MAX);
	const struct plugin *plugin = find_plugin(argc > 0 ? argv[0] : NULL);
	struct conf conf = { .version = CNI_VERSION_COUNT - 1 };
	struct fault fault;
	int r;

	if (!plugin)
		return explain();
	if (!getenv("CNI_COMMAND"))
		return about(plugin);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022);
	deadline_start(DEADLINE_DEFAULT_S);
	r = run(plugin, &conf, &out, &fault);
	if (r < 0) {
		strbuf_reset(&out);
		fault_write(&fault, conf.version, &out);
	}
	print(STDOUT_FILENO, &out);
	conf_free(&conf);
	return r < 0 ? 1 : 0;
}
