// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the null backend: takes any peer, wants nothing, publishes a type of its own. The fake for tests of what stands on backends.
#include "backend/backend.h"

#include <string.h>

static int null_open(struct backend *backend, const json_t *config, const struct backend_host *host,
		     struct err *e)
{
	(void)backend, (void)config, (void)host, (void)e;
	return 0;
}

static void null_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), backend->ops->name);
}

static int null_want(const struct backend *backend, const struct lease *peer,
		     const struct underlay *underlay,
		     const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		     struct err *e)
{
	(void)backend, (void)peer, (void)underlay, (void)paths, (void)e;
	ret->path = "none";
	ret->why = "the null backend carries no packets";
	return 0;
}

const struct backend_ops backend_null = {
	.name = "null",
	.size = sizeof(struct backend),
	.is_for_untrusted = true,
	.open = null_open,
	.attrs = null_attrs,
	.want = null_want,
};
