// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd --cleanup.
//
// DOC: what is ours
//
// Without an agent and without flanneld, whose lock is held meanwhile, all that either makes in this network namespace is known by itself: rules in
// tables and chains of flannel's names, routes and nexthops by our protocol number (the nexthops by the range of their ids as well), and tunnels
// by kind and name. Routes go before their nexthops, and both before the devices. What a reader of the network may still need stays and is told.
#include "agent/cleanup.h"

#include "agent/api.h"
#include "agent/docker_link.h"
#include "agent/former.h"
#include "agent/host_lock.h"
#include "agent/subnet_owner.h"
#include "agent/udp_process.h"
#include "core/mem.h"
#include "kernel/link.h"
#include "kernel/netlink.h"
#include "kernel/route.h"
#include "masq/masq.h"
#include "reconcile/nexthop_table.h"
#include "store/registry.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TURN_MS 200

struct cleanup {
	const struct options *options;
	struct strbuf *out;
	struct loop *loop;
	struct netlink *nl;
	struct kernel_object *objects; // found by one dump
	size_t count, capacity;
	enum kernel_kind kind;
	bool has_failed;
};

static void tell(struct cleanup *cleanup, const char *what)
{
	(void)strbuf_printf(cleanup->out, "%s %s\n",
			    cleanup->options->dry_run ? "would remove" : "removed", what);
}

static void tell_failed(struct cleanup *cleanup, const char *what, const char *why)
{
	cleanup->has_failed = true;
	(void)strbuf_printf(cleanup->out, "failed to remove %s: %s\n", what, why);
}

static void tell_kept(struct cleanup *cleanup, const char *what)
{
	(void)strbuf_printf(cleanup->out, "kept %s\n", what);
}

// ---- rules ----

static void tell_rule(void *arg, const char *verb, const char *rule)
{
	_cleanup_free_ char *text = xasprintf("rule %s", rule);
	(void)verb; // nothing is wanted, so all are deletions
	tell(arg, text);
}

static void ignore_repair(void *arg, const char *what, bool war)
{
	(void)arg, (void)what, (void)war;
}

static const struct masq_hooks hooks = { .repaired = ignore_repair };

static const struct masq_status *turn_until_known(struct cleanup *cleanup, struct masq *masq,
						  bool in_order)
{
	const struct masq_status *status = masq_status(masq);
	while (status->error.code == 0 && !(in_order ? status->is_in_order : status->is_known))
		loop_turn(cleanup->loop, TURN_MS);
	return status;
}

static void clean_rules(struct cleanup *cleanup)
{
	struct masq_config config = { .resync_ms = 1000, .looks_only = true };
	struct masq *masq = masq_new(cleanup->loop, &config, &hooks, NULL);
	masq_set(masq, NULL, 0, false);
	const struct masq_status *status = turn_until_known(cleanup, masq, false);
	if (status->error.code == 0)
		masq_each_change(masq, tell_rule, cleanup);
	if (status->error.code == 0 && !cleanup->options->dry_run) {
		masq_act(masq);
		status = turn_until_known(cleanup, masq, true);
	}
	if (status->error.code != 0)
		tell_failed(cleanup, "firewall rules", status->error.msg);
	masq_free(masq);
}

// ---- the kernel ----

static bool is_ours(const struct kernel_object *object)
{
	switch (object->kind) {
	case KERNEL_ROUTE:
		return object->route.protocol == KERNEL_PROTOCOL_WEFT;
	case KERNEL_NEXTHOP:
		return object->nexthop.protocol == KERNEL_PROTOCOL_WEFT &&
		       nexthop_id_is_ours(object->nexthop.id);
	case KERNEL_LINK:
		return former_is_tunnel(&object->link) || docker_bridge_is_ours(&object->link);
	case KERNEL_ADDR:
	case KERNEL_NEIGH:
	case KERNEL_FDB:
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		break;
	}
	return false;
}

static void gather(void *arg, const struct kernel_object *object)
{
	struct cleanup *cleanup = arg;
	if (!is_ours(object))
		return;
	if (cleanup->count == cleanup->capacity) {
		cleanup->capacity = cleanup->capacity ? cleanup->capacity * 2 : 64;
		cleanup->objects = xrealloc_array(cleanup->objects, cleanup->capacity,
						  sizeof(*cleanup->objects));
	}
	cleanup->objects[cleanup->count++] = *object;
}

static void tell_object(struct cleanup *cleanup, const struct kernel_object *object, int error)
{
	char text[KERNEL_OBJECT_STR_MAX];
	kernel_object_str(object, text);
	if (error < 0 && error != -ESRCH && error != -ENOENT && error != -ENODEV)
		tell_failed(cleanup, text, strerror(-error));
	else
		tell(cleanup, text);
}

static void on_deleted(void *arg, uint32_t tag, int error, const char *extack)
{
	struct cleanup *cleanup = arg;
	(void)extack;
	tell_object(cleanup, &cleanup->objects[tag], error);
}

static void delete_links(struct cleanup *cleanup)
{
	for (size_t i = 0; i < cleanup->count; i++)
		tell_object(cleanup, &cleanup->objects[i],
			    link_delete(cleanup->nl, cleanup->objects[i].link.ifindex, NULL));
}

static void delete_objects(struct cleanup *cleanup)
{
	struct netlink_batch *batch = netlink_batch_new(cleanup->nl);
	for (size_t i = 0; i < cleanup->count; i++)
		netlink_batch_add(batch, NETLINK_DELETE, &cleanup->objects[i], (uint32_t)i);
	(void)netlink_batch_commit(batch, on_deleted, cleanup, NULL); // tells on_deleted, too
	netlink_batch_free(batch);
}

static void clean_kind(struct cleanup *cleanup, enum kernel_kind kind, int family, const char *name)
{
	struct netlink_dump_filter filter = { .family = family };
	struct err e = { 0 };
	cleanup->count = 0;
	if (netlink_dump_all(cleanup->nl, kind, &filter, gather, cleanup, &e) < 0)
		tell_failed(cleanup, name, e.msg);
	else if (cleanup->options->dry_run)
		for (size_t i = 0; i < cleanup->count; i++)
			tell_object(cleanup, &cleanup->objects[i], 0);
	else if (kind == KERNEL_LINK)
		delete_links(cleanup);
	else
		delete_objects(cleanup);
}

static void clean_kernel(struct cleanup *cleanup)
{
	clean_kind(cleanup, KERNEL_ROUTE, AF_INET, "routes");
	clean_kind(cleanup, KERNEL_ROUTE, AF_INET6, "IPv6 routes");
	if (netlink_has(cleanup->nl, NETLINK_FEATURE_NEXTHOP))
		clean_kind(cleanup, KERNEL_NEXTHOP, AF_UNSPEC, "nexthops");
	clean_kind(cleanup, KERNEL_LINK, AF_UNSPEC, "devices");
}

// ---- files ----

static bool is_there(const char *path)
{
	struct stat status;
	return lstat(path, &status) == 0;
}

static void clean_file(struct cleanup *cleanup, const char *path)
{
	if (!is_there(path))
		return;
	if (!cleanup->options->dry_run && unlink(path) < 0)
		tell_failed(cleanup, path, strerror(errno));
	else
		tell(cleanup, path);
}

static void clean_in(struct cleanup *cleanup, const char *directory, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", directory, name);
	clean_file(cleanup, path);
}

static bool is_env_file(const char *name)
{
	const char *end = strrchr(name, '.');
	_cleanup_free_ char *network = end ? xstrndup(name, (size_t)(end - name)) : NULL;
	return end && strcmp(end, ".env") == 0 && registry_network_check(network, NULL) == 0;
}

static void clean_env_files(struct cleanup *cleanup, const char *directory)
{
	DIR *list = opendir(directory);
	if (!list)
		return;
	for (const struct dirent *entry = readdir(list); entry; entry = readdir(list))
		if (is_env_file(entry->d_name))
			clean_in(cleanup, directory, entry->d_name);
	closedir(list);
}

static void clean_subnet_owners(struct cleanup *cleanup)
{
	_cleanup_free_ char *directory = xasprintf("%s/" SUBNET_OWNER_DIR, cleanup->options->run_dir);
	DIR *list = opendir(directory);

	if (!list)
		return;
	for (const struct dirent *entry = readdir(list); entry; entry = readdir(list))
		if (entry->d_name[0] != '.')
			clean_in(cleanup, directory, entry->d_name);
	closedir(list);
}

static void keep(struct cleanup *cleanup, const char *path, const char *why)
{
	_cleanup_free_ char *text = xasprintf("%s: %s", path, why);
	if (is_there(path))
		tell_kept(cleanup, text);
}

static void clean_files(struct cleanup *cleanup)
{
	const struct options *options = cleanup->options;
	_cleanup_free_ char *journal = xasprintf("%s/ipam.journal", options->run_dir);
	clean_file(cleanup, options->subnet_file);
	clean_env_files(cleanup, options->subnet_dir);
	clean_in(cleanup, options->run_dir, API_SOCKET_NAME);
	clean_subnet_owners(cleanup);
	keep(cleanup, journal, "addresses of containers, which may still run");
	keep(cleanup, options->state_dir,
	     "who this host is and what it knew, so that it gets its subnet again; rm -r removes it");
	tell_kept(cleanup,
		  "the lease in the store: it expires within a day; `weft lease rm SUBNET` deletes it");
	tell_kept(cleanup,
		  "the kernel's forwarding switches and what is not of weft or flannel: bridges, containers, other rules");
}

// ---- all ----

static void clean_udp(struct cleanup *cleanup)
{
	_cleanup_free_ char *path = xasprintf("%s/" UDP_PROCESS_SOCKET_NAME, cleanup->options->run_dir);
	if (!is_there(path))
		return;
	if (!cleanup->options->dry_run)
		udp_process_end_former(cleanup->loop, cleanup->options->run_dir);
	(void)unlink(cleanup->options->dry_run ? "" : path); // of one that has died
	tell(cleanup, "process weft-udp");
}

int cleanup_run(const struct options *options, struct strbuf *out, struct err *e)
{
	struct cleanup cleanup = { .options = options, .out = out };
	struct host_lock *lock = NULL;
	int r = host_lock_take(&lock, e);
	if (r < 0)
		return err_wrap(e, "stop it first");
	r = netlink_open(options->without_features, &cleanup.nl, e);
	if (r == 0) {
		cleanup.loop = loop_new();
		clean_rules(&cleanup);
		clean_kernel(&cleanup);
		clean_udp(&cleanup); // its device would be gone at a time of its own
		clean_files(&cleanup);
		loop_free(cleanup.loop);
		free(cleanup.objects);
	}
	netlink_close(cleanup.nl);
	host_lock_release(lock);
	if (r == 0 && cleanup.has_failed)
		return err_set(e, -EIO, "not all could be removed");
	return r;
}
