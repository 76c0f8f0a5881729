// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: addresses whose container went without a DEL, found by two looks; and reading the store's records again, as often.
//
// DOC: when has a container gone?
//
// Its network namespace is not the one that it was when it was added, or the host's end of its pair, which was seen before,
// is not there, and no container runtime has kept a result for it: at two looks, an interval apart. What was never seen says
// nothing: where neither is known the address stays.
#include "ipam/ipam_internal.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/magic.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static bool has_result(const struct ipam *ipam, const struct holder *holder)
{
	_cleanup_free_ char *path = xasprintf("%s/%s-%s-%s", ipam->config.results_dir, holder->name,
					      holder->cid, holder->ifname);

	return access(path, F_OK) == 0;
}

// An agent that was started anew without a view of where namespaces are must not take them all for gone. The directory of one
// in /proc is its process's, and goes with it.
static bool sees_directory_of(const char *path)
{
	_cleanup_free_ char *directory = xstrndup(path, (size_t)(strrchr(path, '/') - path) + 1);

	return access(strncmp(path, "/proc/", strlen("/proc/")) == 0 ? "/proc/self" : directory,
		      F_OK) == 0;
}

uint64_t ipam_netns_inode(const char *path)
{
	struct statfs fs;
	struct stat st;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC && stat(path, &st) == 0 ? st.st_ino
											 : 0;
}

// Where namespaces are mounted on files, an agent that does not see such a mount sees the file.
static bool netns_is_gone(const struct holder *holder)
{
	uint64_t inode;

	if (holder->netns[0] != '/' || holder->netns_inode == 0)
		return false;
	if (access(holder->netns, F_OK) == 0) {
		inode = ipam_netns_inode(holder->netns);
		return inode != 0 && inode != holder->netns_inode;
	}
	return errno == ENOENT && sees_directory_of(holder->netns);
}

static bool pair_is_gone(struct holder *holder)
{
	if (!*holder->host_if)
		return false;
	if (if_nametoindex(holder->host_if) != 0) {
		holder->host_if_seen = true;
		return false;
	}
	return holder->host_if_seen;
}

static bool is_gone(const struct ipam *ipam, struct holder *holder)
{
	bool is_pair_gone = pair_is_gone(holder);

	return (netns_is_gone(holder) || is_pair_gone) && !has_result(ipam, holder);
}

static void look(void *arg, struct holder *holder)
{
	struct ipam *ipam = arg;
	uint64_t now = loop_boottime_ms();

	if (!is_gone(ipam, holder)) {
		holder->missed_ms = 0;
	} else if (holder->missed_ms == 0) {
		holder->missed_ms = now;
	} else if (now - holder->missed_ms >= ipam->config.leak_interval_ms && is_gone(ipam, holder)) {
		log_warn("%s: container %.64s of %.64s has gone without a word: releasing its addresses",
			 ipam->config.who, holder->cid, holder->name);
		ipam->leaks++;
		release(ipam, holder);
	}
}

static void on_timer(void *arg)
{
	struct ipam *ipam = arg;

	timer_start(ipam->leak_timer, ipam->config.leak_interval_ms);
	if (!ipam->is_ready)
		return;
	// One that waits for the store has just come.
	if (!ipam->adds)
		allocator_each_holder(ipam->allocator, look, ipam);
	if (ipam->is_read && ipam_holds_lease(ipam) && !timer_is_pending(ipam->write_timer))
		rebuild_start(ipam);
}

void leak_start(struct ipam *ipam)
{
	ipam->leak_timer = timer_new(ipam->config.loop, on_timer, ipam);
	timer_start(ipam->leak_timer, ipam->config.leak_interval_ms);
}
