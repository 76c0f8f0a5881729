// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the directory where plugins leave releases while the agent is down, one file each (docs/agent-ipam.md).
#include "agent/addresses.h"
#include "agent/ipam_request.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLICE 64 // files a turn of the loop
#define RETRY_MS 5000
#define POLL_MS 2000 // where the kernel does not tell of new files

struct ipam_del_dir {
	struct agent *agent;
	char *path;
	int fd; // inotify; -1: there is none, so that it is looked at from time to time
	struct fd_watch *watch;
	struct timer *timer;
	unsigned int serial; // of the files that we make
};

// ---- one file ----

// 1: it is not known yet what there is to release.
static int apply_body(struct agent *agent, const char *text, size_t len, struct err *e)
{
	struct ipam_request request;
	struct network *network;
	struct refusal why;
	int r = ipam_request_parse(IPAM_DEL, text, len, &request, e);

	if (r == 0) {
		network = ipam_api_network(agent, request.net, &why);
		if (!network && why.code == REFUSED_CONFIG)
			r = err_set(e, -EINVAL, "%s", why.msg);
		else if (!network || !network->ipam)
			r = 1;
		else
			r = ipam_del(network->ipam, &request.key, request.ips, request.ip_count) < 0;
	}
	ipam_request_free(&request);
	return r;
}

// False: it stays, and is looked at again.
static bool apply_file(struct ipam_del_dir *dir, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir->path, name);
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	size_t len;
	int r = file_read(path, IPAM_BODY_MAX, &text, &len, &e);

	if (r == -ENOENT)
		return true;
	if (r == 0)
		r = apply_body(dir->agent, text, len, &e);
	if (r == 1)
		return false;
	if (r < 0)
		log_warn("agent: %s: is no release of an address, and removed: %s", path, err_msg(&e));
	if (unlink(path) < 0 && errno != ENOENT)
		log_rl(LOG_LEVEL_WARN, "agent: %s: %s", path, strerror(errno));
	return true;
}

// ---- all of them ----

void ipam_del_dir_apply(struct ipam_del_dir *dir)
{
	DIR *list = opendir(dir->path);
	const struct dirent *entry;
	bool has_waiting = false;
	int count = 0;

	while (list && count < SLICE && (entry = readdir(list))) {
		// A name that begins with a dot is being written.
		if (entry->d_name[0] == '.')
			continue;
		if (apply_file(dir, entry->d_name))
			count++;
		else
			has_waiting = true;
	}
	if (list)
		closedir(list);
	if (count == SLICE)
		timer_start(dir->timer, 0);
	else if (has_waiting || dir->fd < 0)
		timer_start(dir->timer, dir->fd < 0 ? POLL_MS : RETRY_MS);
}

static void on_timer(void *arg)
{
	ipam_del_dir_apply(arg);
}

static void on_change(void *arg, unsigned int events)
{
	struct ipam_del_dir *dir = arg;
	char buffer[4096];

	(void)events;
	while (read(dir->fd, buffer, sizeof(buffer)) > 0)
		;
	ipam_del_dir_apply(dir);
}

int ipam_del_dir_add(struct ipam_del_dir *dir, const char *body, size_t len, struct err *e)
{
	_cleanup_free_ char *path =
		xasprintf("%s/agent-%d-%u", dir->path, (int)getpid(), dir->serial++);

	return file_write_atomic(path, body, len, 0600, e);
}

// ---- life ----

// How many a host may have is limited.
static void watch(struct ipam_del_dir *dir)
{
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, dir->path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
		log_warn("agent: %s: cannot be watched, and is looked at every %d s: %s", dir->path,
			 POLL_MS / 1000, strerror(errno));
		if (fd >= 0)
			close(fd);
		timer_start(dir->timer, POLL_MS);
		return;
	}
	dir->fd = fd;
	dir->watch = fd_watch_new(dir->agent->loop, fd, on_change, dir);
	fd_watch_set(dir->watch, FD_READABLE);
}

int ipam_del_dir_new(struct agent *agent, const char *path, struct ipam_del_dir **ret, struct err *e)
{
	struct ipam_del_dir *dir = xnew(struct ipam_del_dir);
	int r;

	dir->agent = agent;
	dir->path = xstrdup(path);
	dir->fd = -1;
	dir->timer = timer_new(agent->loop, on_timer, dir);
	r = directory_make(path, 0700, e);
	if (r < 0) {
		ipam_del_dir_free(dir);
		return r;
	}
	watch(dir);
	*ret = dir;
	return 0;
}

struct ipam_del_dir *ipam_del_dir_free(struct ipam_del_dir *dir)
{
	if (!dir)
		return NULL;
	fd_watch_free(dir->watch);
	timer_free(dir->timer);
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir->path);
	free(dir);
	return NULL;
}
