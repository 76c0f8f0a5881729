// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the choice between the direct way and another, family by family, and the words for two families that differ.
#include "backend/path.h"

#include "core/mem.h"

#include <string.h>

// What wanted.why says is static text. IPv4 is noted first.
static const struct {
	const char *v4, *v6;
	const char *why;
} mixtures[] = {
	{ "direct", "vxlan", "IPv4 direct, IPv6 vxlan" },
	{ "vxlan", "direct", "IPv4 vxlan, IPv6 direct" },
};

static const char *why_mixed(const char *v4, const char *v6)
{
	for (size_t i = 0; i < ARRAY_SIZE(mixtures); i++)
		if (strcmp(mixtures[i].v4, v4) == 0 && strcmp(mixtures[i].v6, v6) == 0)
			return mixtures[i].why;
	return "IPv4 and IPv6 differ";
}

void path_note(struct wanted *wanted, const char *path, const char *why)
{
	bool is_first = !wanted->path || !*wanted->path;
	if (is_first || strcmp(wanted->path, path) == 0) {
		wanted->path = path;
		wanted->why = why;
		return;
	}
	wanted->why = why_mixed(wanted->path, path);
	wanted->path = "mixed";
}

bool path_try_direct(struct wanted *wanted, const struct ipnet *subnet, const struct ip *remote,
		     const struct underlay_path *path, const char **ret_why)
{
	if (direct_judge(path, ret_why) != DIRECT_YES)
		return false;
	wanted_add_route(wanted, subnet, remote, path->answer.ifindex, false);
	path_note(wanted, "direct", *ret_why);
	return true;
}
