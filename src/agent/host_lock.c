// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: that only one program runs the fabric in a network namespace.
//
// DOC: two ways to find another one
//
// Names of abstract unix sockets belong to a network namespace, and the kernel drops them with
// their process: binding "weft-agent" is the lock, and SO_PEERCRED tells who holds it. Anybody may
// bind such a name, so a holder that is not of root is no agent: it is told of and passed over.
// flanneld knows no such lock: it is looked for in /proc, and so is a weftd that may have been kept
// from the socket; of two weftds that start at once the later one gives way.
#include "agent/host_lock.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LOCK_NAME "weft-agent"

struct host_lock {
	int fd; // -1: the name was taken by a program that is no agent
};

static socklen_t lock_address(struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	// The leading NUL makes it abstract; the name has no terminator.
	memcpy(ret->sun_path + 1, LOCK_NAME, strlen(LOCK_NAME));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(LOCK_NAME));
}

// Who listens. pid 0: not visible in our pid namespace. -ECONNREFUSED: bound, but nobody listens
// (yet, or no agent).
static int holder(struct ucred *ret)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(*ret);
	struct sockaddr_un address;
	socklen_t address_len = lock_address(&address);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, address_len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) < 0)
		return -errno;
	return 0;
}

static int refuse_holder(struct err *e)
{
	struct ucred cred = { 0 };
	int r = holder(&cred);

	if (r == 0 && cred.uid != 0 && cred.uid != geteuid()) {
		log_warn("host_lock: process %d of user %u holds the socket @%s: it is not an agent",
			 (int)cred.pid, (unsigned int)cred.uid, LOCK_NAME);
		return 0;
	}
	if (r == 0 && cred.pid > 0)
		return err_set(e, -EBUSY,
			       "another weftd (pid %d) runs in this network namespace: stop it first",
			       (int)cred.pid);
	return err_set(e, -EBUSY, "another weftd runs in this network namespace: stop it first");
}

static int take_socket(struct host_lock *lock, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t len = lock_address(&address);

	if (fd < 0)
		return err_set(e, -errno, "host lock: socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&address, len) < 0) {
		if (errno == EADDRINUSE)
			return refuse_holder(e);
		return err_set(e, -errno, "host lock: bind @%s: %s", LOCK_NAME, strerror(errno));
	}
	// Nobody accepts; a connection that waits is enough to be asked for its peer.
	if (listen(fd, 16) < 0)
		return err_set(e, -errno, "host lock: listen: %s", strerror(errno));
	lock->fd = TAKE_FD(fd);
	return 0;
}

// ---- other agents in /proc ----

struct process {
	uint64_t pid;
	char name[32];
	uint64_t started; // clock ticks after boot
};

static int proc_read(int proc, uint64_t pid, const char *file, char *ret, size_t size)
{
	_cleanup_close_ int fd = -1;
	char path[64];
	ssize_t n;

	(void)text_format(path, sizeof(path), "%" PRIu64 "/%s", pid, file);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, ret, size - 1);
	if (n < 0)
		return -errno;
	ret[n] = '\0';
	return 0;
}

// The 22nd word of stat; the second, the name in parentheses, may hold anything.
static uint64_t start_time(int proc, uint64_t pid)
{
	const char *p;
	char text[1024];
	uint64_t value;

	if (proc_read(proc, pid, "stat", text, sizeof(text)) < 0)
		return 0;
	p = strrchr(text, ')');
	for (unsigned int word = 2; p && word < 22; word++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p && parse_u64(&p, UINT64_MAX, &value) ? value : 0;
}

// 1, 0, or -EACCES: a process with more capabilities than ours shows that only to CAP_SYS_PTRACE.
static int is_same_namespace(int proc, uint64_t pid)
{
	struct stat own, other;
	char path[64];

	(void)text_format(path, sizeof(path), "%" PRIu64 "/ns/net", pid);
	if (fstatat(proc, "thread-self/ns/net", &own, 0) < 0)
		return 0;
	if (fstatat(proc, path, &other, 0) < 0)
		return errno == EACCES ? -EACCES : 0;
	return own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

// Processes of other users may call themselves what they like.
static bool is_trusted_owner(int proc, uint64_t pid)
{
	struct stat st;
	char path[32];

	(void)text_format(path, sizeof(path), "%" PRIu64, pid);
	return fstatat(proc, path, &st, 0) == 0 && (st.st_uid == 0 || st.st_uid == geteuid());
}

// Does this process run the fabric in our namespace, before us.
static bool is_rival(int proc, uint64_t pid, struct process *ret)
{
	char name[32];
	uint64_t own_start;
	bool is_weftd;
	int r;

	if (pid == (uint64_t)getpid() || proc_read(proc, pid, "comm", name, sizeof(name)) < 0)
		return false;
	name[strcspn(name, "\n")] = '\0';
	is_weftd = strcmp(name, "weftd") == 0;
	if (!is_weftd && strcmp(name, "flanneld") != 0)
		return false;
	if (!is_trusted_owner(proc, pid))
		return false;
	r = is_same_namespace(proc, pid);
	// A weftd has the socket; a flanneld that we must not look at is better told of than run beside.
	if (r < 0 && !is_weftd)
		log_warn("host_lock: flanneld (pid %" PRIu64
			 ") runs, perhaps in this network namespace: without CAP_SYS_PTRACE that cannot be seen",
			 pid);
	if (r <= 0)
		return false;
	ret->pid = pid;
	ret->started = start_time(proc, pid);
	own_start = start_time(proc, (uint64_t)getpid());
	(void)text_copy(ret->name, sizeof(ret->name), name);
	return !is_weftd || ret->started < own_start ||
	       (ret->started == own_start && pid < (uint64_t)getpid());
}

static int look_for_rivals(bool weftd_too, struct err *e)
{
	struct process process;
	struct dirent *entry;
	DIR *directory = opendir("/proc");
	uint64_t pid;
	int r = 0;

	if (!directory)
		return err_set(e, -errno, "host lock: /proc: %s", strerror(errno));
	while (r == 0 && (entry = readdir(directory))) {
		if (parse_whole_u64(entry->d_name, INT32_MAX, &pid) < 0 ||
		    !is_rival(dirfd(directory), pid, &process))
			continue;
		if (weftd_too || strcmp(process.name, "weftd") != 0)
			r = err_set(e, -EBUSY,
				    "%s (pid %" PRIu64
				    ") runs in this network namespace: stop it first",
				    process.name, process.pid);
	}
	(void)closedir(directory);
	return r;
}

int host_lock_take(struct host_lock **ret, struct err *e)
{
	struct host_lock *lock = xnew(struct host_lock);
	int r;

	lock->fd = -1;
	r = take_socket(lock, e);
	// With the socket ours, a weftd that is on its way out or without the lock does no harm to
	// be waited for.
	if (r == 0)
		r = look_for_rivals(lock->fd < 0, e);
	if (r < 0) {
		host_lock_release(lock);
		return r;
	}
	*ret = lock;
	return 0;
}

struct host_lock *host_lock_release(struct host_lock *lock)
{
	if (!lock)
		return NULL;
	fd_closep(&lock->fd);
	free(lock);
	return NULL;
}
