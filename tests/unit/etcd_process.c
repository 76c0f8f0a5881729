// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a real etcd for tests.
#include "etcd_process.h"

#include "unit.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEALTHY_MS 30000

struct etcd_cluster {
	char dir[64];
	size_t count;
	const char *scheme;
	const char *words[ETCD_WORDS_MAX + 1];
	char *initial;
	char *urls[ETCD_MEMBERS_MAX + 1];
	pid_t pids[ETCD_MEMBERS_MAX];
};

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
	int log;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log = open(xasprintf("%s/n%zu.log", cluster->dir, member),
		   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	dup2(log, STDOUT_FILENO);
	dup2(log, STDERR_FILENO);
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

static bool is_healthy(size_t member)
{
	static const char request[] = "GET /health HTTP/1.0\r\n\r\n";
	char answer[1024] = "";
	size_t len = 0;
	ssize_t n;
	_cleanup_close_ int fd = connect_to(port_of(member) + 2);

	if (fd < 0 || write(fd, request, sizeof(request) - 1) < 0)
		return false;
	while ((n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
		len += (size_t)n;
	return strstr(answer, "\"health\":\"true\"") != NULL;
}

// What the member said last; its directory goes when the test ends.
static void give_up(const struct etcd_cluster *cluster, size_t member, const char *why)
{
	_cleanup_free_ char *path = xasprintf("%s/n%zu.log", cluster->dir, member);
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (file_read(path, 16 * 1024 * 1024, &text, &len, NULL) == 0)
		print_message("%s\n", len > 3000 ? text + len - 3000 : text);
	fail_msg("etcd member %zu %s", member, why);
}

void etcd_member_await(const struct etcd_cluster *cluster, size_t member)
{
	uint64_t end = loop_now_ms() + HEALTHY_MS;

	while (!is_healthy(member)) {
		int status;

		if (waitpid(cluster->pids[member], &status, WNOHANG) != 0)
			give_up(cluster, member, "ended");
		if (loop_now_ms() > end)
			give_up(cluster, member, "is not healthy");
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
	// In memory where there is such a place: on a busy disk a sync takes longer than an election.
	(void)text_format(cluster->dir, sizeof(cluster->dir), "%s/weft-test-etcd-XXXXXX",
			  access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(cluster->dir));
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
	siginfo_t info;

	assert_int_equal(kill(cluster->pids[member], signal_number), 0);
	// kill returns while threads of its still run, and answer.
	if (signal_number == SIGSTOP)
		assert_int_equal(waitid(P_PID, (id_t)cluster->pids[member], &info, WSTOPPED), 0);
}

void etcd_member_end(struct etcd_cluster *cluster, size_t member, int signal_number)
{
	int status;

	etcd_member_signal(cluster, member, signal_number);
	assert_int_equal(waitpid(cluster->pids[member], &status, 0), cluster->pids[member]);
	cluster->pids[member] = 0;
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
