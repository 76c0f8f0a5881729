// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a real Consul for tests.
#include "consul_process.h"

#include "server_process.h"
#include "temporary_dir.h"
#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/loop.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 30000
#define ARGUMENTS_MAX 32

struct consul_process {
	char dir[SERVER_DIR_MAX];
	const char *scheme;
	const char *config;
	const char *token;
	char *urls[CONSUL_AGENTS][2];
	pid_t pids[CONSUL_AGENTS];
};

static char program[512]; // "": not fetched yet

static const char *const names[CONSUL_AGENTS] = { "server", "client" };
static const unsigned int ports[CONSUL_AGENTS] = { 8500, 8510 };

// ---- fetching it ----

static bool fetch(void)
{
	size_t len = 0;
	ssize_t n;
	int pipes[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipes[1], STDOUT_FILENO);
		execl(FETCH_CONSUL, FETCH_CONSUL, (char *)NULL);
		_exit(127);
	}
	close(pipes[1]);
	while ((n = read(pipes[0], program + len, sizeof(program) - 1 - len)) > 0)
		len += (size_t)n;
	close(pipes[0]);
	program[strcspn(program, "\n")] = '\0';
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0 && access(program, X_OK) == 0;
}

bool consul_can_run(void)
{
	const char *require = getenv("WEFT_REQUIRE_ALL");
	bool is_required = require && strcmp(require, "1") == 0;

	if (!is_required && geteuid() != 0) {
		print_message("skipped: no network namespace of our own (run as root)\n");
		return false;
	}
	if (fetch())
		return true;
	check(!is_required, "Consul cannot be fetched");
	print_message("skipped: Consul is not in this release of Debian, and cannot be fetched\n");
	return false;
}

// ---- running it ----

const char *const *consul_urls(const struct consul_process *consul, enum consul_agent agent)
{
	return (const char *const *)consul->urls[agent];
}

const char *consul_dir(const struct consul_process *consul)
{
	return consul->dir;
}

static void add_server_arguments(const struct consul_process *consul, const char **argv, size_t *count)
{
	argv[(*count)++] = "-server";
	argv[(*count)++] = "-bootstrap-expect=1";
	argv[(*count)++] = "-bind=127.0.0.1";
	argv[(*count)++] = "-hcl=performance { raft_multiplier = 1 }";
	if (consul->config)
		argv[(*count)++] = xasprintf("-hcl=%s", consul->config);
}

static void add_client_arguments(const char **argv, size_t *count)
{
	argv[(*count)++] = "-bind=127.0.0.2";
	argv[(*count)++] = "-retry-join=127.0.0.1";
	argv[(*count)++] = "-retry-interval=1s";
}

static void run_agent(const struct consul_process *consul, enum consul_agent agent)
{
	bool is_tls = strcmp(consul->scheme, "https") == 0 && agent == CONSUL_SERVER;
	const char *argv[ARGUMENTS_MAX];
	size_t count = 0;

	server_child_begin(consul->dir, names[agent]);
	argv[count++] = "consul";
	argv[count++] = "agent";
	argv[count++] = xasprintf("-node=%s", names[agent]);
	argv[count++] = xasprintf("-data-dir=%s/%s", consul->dir, names[agent]);
	argv[count++] = "-client=127.0.0.1";
	argv[count++] = "-dns-port=-1";
	argv[count++] = "-hcl=disable_update_check = true";
	argv[count++] = is_tls ? "-http-port=-1" : xasprintf("-http-port=%u", ports[agent]);
	if (is_tls)
		argv[count++] = xasprintf("-https-port=%u", ports[agent]);
	if (agent == CONSUL_SERVER)
		add_server_arguments(consul, argv, &count);
	else
		add_client_arguments(argv, &count);
	argv[count] = NULL;
	execv(program, (char *const *)argv);
	_exit(127);
}

// It knows its leader, who has read his log. Over TLS we see no more than that it listens.
static bool is_ready(const struct consul_process *consul, enum consul_agent agent)
{
	_cleanup_free_ char *request =
		xasprintf("GET /v1/kv/none?consistent HTTP/1.0\r\nX-Consul-Token: %s\r\n\r\n",
			  consul->token ? consul->token : "");
	bool is_tls = agent == CONSUL_SERVER && strcmp(consul->scheme, "https") == 0;

	return server_answers(ports[agent], is_tls ? NULL : request, "404 Not Found");
}

void consul_begin(struct consul_process *consul, enum consul_agent agent)
{
	uint64_t end = loop_now_ms() + READY_MS;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		run_agent(consul, agent);
	consul->pids[agent] = pid;
	while (!is_ready(consul, agent)) {
		server_check(consul->dir, names[agent], &consul->pids[agent], end);
		poll(NULL, 0, 20);
	}
}

struct consul_process *consul_start(const char *scheme, const char *config, const char *token)
{
	struct consul_process *consul = xnew(struct consul_process);
	size_t i;

	consul->scheme = scheme;
	consul->config = config;
	consul->token = token;
	server_make_dir("consul", consul->dir);
	for (i = 0; i < CONSUL_AGENTS; i++)
		consul->urls[i][0] = xasprintf("%s://127.0.0.1:%u",
					       i == CONSUL_SERVER ? scheme : "http", ports[i]);
	consul_begin(consul, CONSUL_SERVER);
	return consul;
}

void consul_signal(struct consul_process *consul, enum consul_agent agent, int signal_number)
{
	server_signal(consul->pids[agent], signal_number);
}

void consul_end(struct consul_process *consul, enum consul_agent agent, int signal_number)
{
	server_end(&consul->pids[agent], signal_number);
}

void consul_wipe(struct consul_process *consul)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", consul->dir, names[CONSUL_SERVER]);

	remove_tree(path);
}

struct consul_process *consul_free(struct consul_process *consul)
{
	size_t i;

	if (!consul)
		return NULL;
	for (i = 0; i < CONSUL_AGENTS; i++) {
		if (consul->pids[i] > 0)
			consul_end(consul, (enum consul_agent)i, SIGKILL);
		free(consul->urls[i][0]);
	}
	remove_tree(consul->dir);
	free(consul);
	return NULL;
}
