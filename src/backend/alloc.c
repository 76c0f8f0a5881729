// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the alloc backend: a lease and subnet.env, and nothing in the kernel. Peers are not looked at.
#include "backend/backend.h"

static int alloc_open(struct backend *backend, const json_t *config,
		      const struct backend_host *host, struct err *e)
{
	(void)backend, (void)config, (void)host, (void)e;
	return 0;
}

// COMPAT: flannel's alloc leases carry no BackendType.
static void alloc_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)backend, (void)ret;
}

static int alloc_want(const struct backend *backend, const struct lease *peer,
		      const struct underlay *underlay,
		      const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		      struct err *e)
{
	(void)backend, (void)peer, (void)underlay, (void)paths, (void)e;
	ret->path = "none";
	ret->why = "the alloc backend carries no packets";
	return 0;
}

const struct backend_ops backend_alloc = {
	.name = "alloc",
	.size = sizeof(struct backend),
	.is_for_untrusted = true,
	.open = alloc_open,
	.attrs = alloc_attrs,
	.want = alloc_want,
};
