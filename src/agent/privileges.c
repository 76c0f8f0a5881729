// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which capabilities weftd, and what it starts, goes on with.
//
// DOC: what is kept, and why
//
// An agent needs CAP_NET_ADMIN (devices, routes, firewall, switches of the network), CAP_NET_RAW (iptables' own sockets) and
// CAP_NET_BIND_SERVICE: a network's config, which comes later and from the store, may name a port below 1024, and the kernel asks for that
// capability when a vxlan or wireguard device is set up, too. A controller alone needs none, and the last one for such a port of its own.
// Without CAP_DAC_OVERRIDE root is a user like others to files: where those that were named are another user's, what it takes to read or
// write them is kept. Bounding set and no_new_privs hold for children.
#include "agent/privileges.h"

#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_FREE_PORT 1024
#define MASK(capability) (UINT64_C(1) << (capability))
#define AGENT_CAPABILITIES (MASK(CAP_NET_ADMIN) | MASK(CAP_NET_RAW) | MASK(CAP_NET_BIND_SERVICE))

// ---- what is needed ----

static bool can_read(const char *path)
{
	struct stat st;

	if (!path || !*path || stat(path, &st) < 0)
		return true; // whoever reads it says why not
	return st.st_uid == geteuid() || (st.st_mode & S_IROTH) ||
	       (st.st_gid == getegid() && (st.st_mode & S_IRGRP));
}

// Of what is there already on the way to it.
static bool is_own_place(const char *path)
{
	_cleanup_free_ char *at = xstrdup(path && *path ? path : "/");
	struct stat st;

	while (stat(at, &st) < 0) {
		char *slash = strrchr(at, '/');

		if (!slash)
			return stat(".", &st) == 0 && st.st_uid == geteuid();
		slash[slash == at] = '\0';
		if (slash == at && stat(at, &st) < 0)
			return true;
	}
	return st.st_uid == geteuid();
}

static bool reads_own_files(const struct options *options)
{
	const struct store_options *store = &options->store_flags;
	const char *const paths[] = {
		store->ca_file,		  store->cert_file,	   store->key_file,
		store->consul.ca_file,	  store->consul.cert_file, store->consul.key_file,
		store->consul.token_file, store->remote_ca_file,   store->remote_cert_file,
		store->remote_key_file,	  store->token_file,
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (!can_read(paths[i]))
			return false;
	return true;
}

static bool writes_own_places(const struct options *options)
{
	const char *const paths[] = { options->state_dir, options->run_dir, options->subnet_file,
				      options->subnet_dir, options->store.path };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (paths[i] && *paths[i] && !is_own_place(paths[i]))
			return false;
	return true;
}

static bool has_low_port(const struct options *options)
{
	bool has_listen = *options->listen && options->listen_port < FIRST_FREE_PORT;

	return has_listen || (options->healthz_port > 0 && options->healthz_port < FIRST_FREE_PORT);
}

static uint64_t needed(const struct options *options)
{
	bool has_agent = options->action == OPTIONS_RUN || options->with_agent;
	uint64_t mask = has_agent ? AGENT_CAPABILITIES : 0;

	if (has_low_port(options))
		mask |= MASK(CAP_NET_BIND_SERVICE);
	if (!writes_own_places(options))
		mask |= MASK(CAP_DAC_OVERRIDE);
	else if (!reads_own_files(options))
		mask |= MASK(CAP_DAC_READ_SEARCH);
	return mask;
}

// ---- giving up ----

static int drop_bounding(uint64_t keep)
{
	// Ends with the first that this kernel does not know.
	for (unsigned int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
	     capability++)
		if (!(keep & MASK(capability)) && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 &&
		    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

static int drop_own(uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	for (unsigned int i = 0; i < ARRAY_SIZE(data); i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

void privileges_drop(const struct options *options)
{
	uint64_t keep = needed(options);
	int r;

	if (options->keep_capabilities)
		return;
	// Who is not root cannot, and its children get nothing by being root's either.
	r = geteuid() == 0 ? drop_bounding(keep) : 0;
	if (r < 0 && r != -EPERM)
		log_warn("weftd: children may get capabilities: %s", strerror(-r));
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); // older than 4.3: there are none
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		log_warn("weftd: children may get privileges: %s", strerror(errno));
	r = drop_own(keep);
	if (r < 0)
		log_warn("weftd: goes on with all capabilities: %s", strerror(-r));
}
