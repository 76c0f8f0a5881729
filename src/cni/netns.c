// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the network namespaces of a call.
#include "cni/netns.h"

#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static int fail(struct fault *fault, const char *path, const char *what, int error)
{
	return fault_set(fault, FAULT_INTERNAL, "failed to open netns \"%s\": %s: %s", path, what,
			 strerror(error));
}

static bool same(int a, int b)
{
	struct stat first, second;

	return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

// O_NONBLOCK: whatever path names (a fifo, say), opening it does not wait.
static int open_container(const char *path, int *ret, struct fault *fault)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct statfs fs;

	if (fd < 0) {
		int error = errno;

		(void)fail(fault, path, "failed to open", error);
		return error == ENOENT || error == ENOTDIR ? -ENOENT : -EIO;
	}
	if (fstatfs(fd, &fs) < 0)
		return fail(fault, path, "failed to Statfs", errno);
	if (fs.f_type != NSFS_MAGIC && fs.f_type != PROC_SUPER_MAGIC) {
		// A path that stays behind when its namespace is unmounted is a plain file.
		(void)fault_set(fault, FAULT_INTERNAL,
				"failed to open netns \"%s\": unknown FS magic on \"%s\": %lx",
				path, path, (unsigned long)fs.f_type);
		return -ENOENT;
	}
	*ret = TAKE_FD(fd);
	return 0;
}

int netns_open(struct netns *ret, const struct call *call, struct fault *fault)
{
	struct netns netns = NETNS_NONE;
	int r;

	netns.host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netns.host < 0)
		return fail(fault, "/proc/self/ns/net", "failed to open", errno);
	r = open_container(call->netns, &netns.container, fault);
	if (r == 0 && !call->any_netns && same(netns.host, netns.container))
		r = fault_set(fault, FAULT_NETNS,
			      "plugin's netns and netns from CNI_NETNS should not be the same");
	if (r < 0) {
		netns_close(&netns);
		return r;
	}
	*ret = netns;
	return 0;
}

void netns_close(struct netns *netns)
{
	fd_closep(&netns->host);
	fd_closep(&netns->container);
}

int netns_enter(int fd, struct fault *fault)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return fault_set(fault, FAULT_INTERNAL, "failed to enter the network namespace: %s",
				 strerror(errno));
	return 0;
}
