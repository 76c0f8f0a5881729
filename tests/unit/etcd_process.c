// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a real etcd for tests.
#include "etcd_process.h"

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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEALTHY_MS 30000

struct etcd_cluster {
	char dir[SERVER_DIR_MAX];
	size_t count;
	const char *scheme;
	const char *words[ETCD_WORDS_MAX + 1];
	char *initial;
	char *urls[ETCD_MEMBERS_MAX + 1];
	pid_t pids[ETCD_MEMBERS_MAX];
};

#define NAME_MAX_BYTES 24

static const char *name_of(size_t member, char buf[static NAME_MAX_BYTES])
{
	(void)text_format(buf, NAME_MAX_BYTES, "n%zu", member);
	return buf;
}

static unsigned int port_of(size_t member)
{
	return 2379 + 100 * (unsigned int)member;
}

bool etcd_can_run(void)
{
	const char *require = getenv("WEFT_REQUIRE_ALL");
	bool is_installed = access("/usr/bin/etcd", X_OK) == 0 &&
			    access("/usr/bin/etcdctl", X_OK) == 0;

	if (require && strcmp(require, "1") == 0)
		return true;
	if (!is_installed)
		print_message("skipped: etcd is not installed\n");
	else if (geteuid() != 0)
		print_message("skipped: no network namespace of our own (run as root)\n");
	return is_installed && geteuid() == 0;
}

const char *etcd_cluster_url(const struct etcd_cluster *cluster, size_t member)
{
	return cluster->urls[member];
}

const char *const *etcd_cluster_urls(const struct etcd_cluster *cluster)
{
	return (const char *const *)cluster->urls;
}

const char *etcd_cluster_dir(const struct etcd_cluster *cluster)
{
	return cluster->dir;
}

static void run_member(const struct etcd_cluster *cluster, size_t member)
{
	unsigned int port = port_of(member);
	const char *argv[ETCD_WORDS_MAX + 32];
	size_t count = 0;
	size_t i;
	char name[NAME_MAX_BYTES];

	server_child_begin(cluster->dir, name_of(member, name));
	argv[count++] = "etcd";
	argv[count++] = xasprintf("--name=n%zu", member);
	argv[count++] = xasprintf("--data-dir=%s/n%zu", cluster->dir, member);
	argv[count++] = xasprintf("--listen-client-urls=%s", cluster->urls[member]);
	argv[count++] = xasprintf("--advertise-client-urls=%s", cluster->urls[member]);
	argv[count++] = xasprintf("--listen-peer-urls=http://127.0.0.1:%u", port + 1);
	argv[count++] = xasprintf("--initial-advertise-peer-urls=http://127.0.0.1:%u", port + 1);
	argv[count++] = xasprintf("--listen-metrics-urls=http://127.0.0.1:%u", port + 2);
	argv[count++] = xasprintf("--initial-cluster=%s", cluster->initial);
	for (i = 0; cluster->words[i]; i++)
		argv[count++] = cluster->words[i];
	argv[count] = NULL;
	execv("/usr/bin/etcd", (char *const *)argv);
	_exit(127);
}

void etcd_member_begin(struct etcd_cluster *cluster, size_t member)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		run_member(cluster, member);
	cluster->pids[member] = pid;
}

static bool is_healthy(size_t member)
{
	return server_answers(port_of(member) + 2, "GET /health HTTP/1.0\r\n\r\n",
			      "\"health\":\"true\"");
}

void etcd_member_await(struct etcd_cluster *cluster, size_t member)
{
	uint64_t end = loop_now_ms() + HEALTHY_MS;
	char name[NAME_MAX_BYTES];

	while (!is_healthy(member)) {
		server_check(cluster->dir, name_of(member, name), &cluster->pids[member], end);
		poll(NULL, 0, 10);
	}
}

struct etcd_cluster *etcd_cluster_start(size_t count, const char *scheme, const char *const *words)
{
	struct etcd_cluster *cluster;
	struct strbuf initial = STRBUF_INIT(1024);
	size_t i;

	cluster = xnew(struct etcd_cluster);
	cluster->count = count;
	cluster->scheme = scheme;
	for (i = 0; words && words[i]; i++) {
		assert_true(i < ETCD_WORDS_MAX);
		cluster->words[i] = words[i];
	}
	server_make_dir("etcd", cluster->dir);
	for (i = 0; i < count; i++) {
		cluster->urls[i] = xasprintf("%s://127.0.0.1:%u", scheme, port_of(i));
		strbuf_printf(&initial, "%sn%zu=http://127.0.0.1:%u", i ? "," : "", i, port_of(i) + 1);
	}
	cluster->initial = strbuf_take(&initial);
	for (i = 0; i < count; i++)
		etcd_member_begin(cluster, i);
	for (i = 0; i < count; i++)
		etcd_member_await(cluster, i);
	return cluster;
}

void etcd_member_signal(struct etcd_cluster *cluster, size_t member, int signal_number)
{
	server_signal(cluster->pids[member], signal_number);
}

void etcd_member_end(struct etcd_cluster *cluster, size_t member, int signal_number)
{
	server_end(&cluster->pids[member], signal_number);
}

void etcd_member_wipe(struct etcd_cluster *cluster, size_t member)
{
	_cleanup_free_ char *path = xasprintf("%s/n%zu", cluster->dir, member);

	remove_tree(path);
}

struct etcd_cluster *etcd_cluster_free(struct etcd_cluster *cluster)
{
	size_t i;

	if (!cluster)
		return NULL;
	for (i = 0; i < cluster->count; i++) {
		if (cluster->pids[i] > 0)
			etcd_member_end(cluster, i, SIGKILL);
		free(cluster->urls[i]);
	}
	remove_tree(cluster->dir);
	free(cluster->initial);
	free(cluster);
	return NULL;
}

static void run_ctl(const char *api, const char **argv, int output)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("ETCDCTL_API", api, 1);
		dup2(output, STDOUT_FILENO);
		execv("/usr/bin/etcdctl", (char *const *)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "etcdctl %s %s ...: status %d",
	      argv[3], argv[4], status);
}

static void add_words(const char **argv, va_list list)
{
	size_t count = 3;

	do {
		assert_true(count < ETCD_WORDS_MAX);
		argv[count] = va_arg(list, char *);
	} while (argv[count++]);
}

void etcd_ctl(const struct etcd_cluster *cluster, ...)
{
	const char *argv[ETCD_WORDS_MAX + 4] = { "etcdctl", "--endpoints", cluster->urls[0] };
	_cleanup_close_ int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
	va_list list;

	va_start(list, cluster);
	add_words(argv, list);
	va_end(list);
	run_ctl("3", argv, quiet);
}

void etcd_ctl2(const struct etcd_cluster *cluster, char *ret_output, size_t size, ...)
{
	const char *argv[ETCD_WORDS_MAX + 4] = { "etcdctl", "--endpoints", cluster->urls[0] };
	_cleanup_close_ int output = memfd_create("etcdctl", MFD_CLOEXEC);
	va_list list;
	ssize_t len;

	assert_true(output >= 0);
	va_start(list, size);
	add_words(argv, list);
	va_end(list);
	run_ctl("2", argv, output);
	len = pread(output, ret_output, size - 1, 0);
	assert_true(len >= 0);
	ret_output[len] = '\0';
}
