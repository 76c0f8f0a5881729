// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a real Consul for tests.
#include "consul_process.h"

#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 30000
#define ARGUMENTS_MAX 32

struct consul_process {
	char dir[64];
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
	int log;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log = open(xasprintf("%s/%s.log", consul->dir, names[agent]),
		   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
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

static int connect_to(unsigned int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((uint16_t)port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

// It knows its leader, who has read his log. Over TLS we see no more than that it listens.
static bool is_ready(const struct consul_process *consul, enum consul_agent agent)
{
	_cleanup_free_ char *request =
		xasprintf("GET /v1/kv/none?consistent HTTP/1.0\r\nX-Consul-Token: %s\r\n\r\n",
			  consul->token ? consul->token : "");
	char answer[2048] = "";
	size_t len = 0;
	ssize_t n;
	_cleanup_close_ int fd = connect_to(ports[agent]);

	if (fd < 0)
		return false;
	if (agent == CONSUL_SERVER && strcmp(consul->scheme, "https") == 0)
		return true;
	if (write(fd, request, strlen(request)) < 0)
		return false;
	while ((n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	return strstr(answer, "404 Not Found") != NULL;
}

// What the agent said last; its directory goes when the test ends.
static void give_up(const struct consul_process *consul, enum consul_agent agent, const char *why)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.log", consul->dir, names[agent]);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (file_read(path, 16 * 1024 * 1024, &text, &len, NULL) == 0)
		print_message("%s\n", len > 3000 ? text + len - 3000 : text);
	fail_msg("consul %s %s", names[agent], why);
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
		int status;

		if (waitpid(pid, &status, WNOHANG) != 0) {
			consul->pids[agent] = 0;
			give_up(consul, agent, "ended");
		}
		if (loop_now_ms() > end)
			give_up(consul, agent, "does not answer");
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
	(void)text_format(consul->dir, sizeof(consul->dir), "%s/weft-test-consul-XXXXXX",
			  access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(consul->dir));
	for (i = 0; i < CONSUL_AGENTS; i++)
		consul->urls[i][0] = xasprintf("%s://127.0.0.1:%u",
					       i == CONSUL_SERVER ? scheme : "http", ports[i]);
	consul_begin(consul, CONSUL_SERVER);
	return consul;
}

void consul_signal(struct consul_process *consul, enum consul_agent agent, int signal_number)
{
	assert_int_equal(kill(consul->pids[agent], signal_number), 0);
}

void consul_end(struct consul_process *consul, enum consul_agent agent, int signal_number)
{
	int status;

	consul_signal(consul, agent, signal_number);
	assert_int_equal(waitpid(consul->pids[agent], &status, 0), consul->pids[agent]);
	consul->pids[agent] = 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
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
