// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the names of the backends that there are, and of those of flannel's that there are not.
#include "core/backend_type.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define OF_A_CLOUD \
	"is not offered; use wireguard, or vxlan, which need no routes in a cloud's own tables"

static const struct {
	const char *name;
	const char *remedy; // NULL: it is there
} types[] = {
	{ "alloc", NULL },
	{ "auto", NULL },
	{ "host-gw", NULL },
	{ "ipip", NULL },
	{ "null", NULL }, // for tests
	{ "udp", NULL },
	{ "vxlan", NULL },
	{ "wireguard", NULL },
	{ "extension", NULL },
	{ "ipsec", "is not offered; use wireguard, which encrypts what hosts send each other" },
	{ "ali-vpc", OF_A_CLOUD },
	{ "aws-vpc", OF_A_CLOUD },
	{ "gce", OF_A_CLOUD },
	{ "tencent-vpc", OF_A_CLOUD },
};

int backend_type_check(const char *type, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (strcmp(types[i].name, type) != 0)
			continue;
		if (!types[i].remedy)
			return 0;
		return err_set(e, -EOPNOTSUPP, "Backend.Type \"%s\" %s", type, types[i].remedy);
	}
	return err_set(e, -EOPNOTSUPP,
		       "Backend.Type \"%s\" is unknown; there are \"auto\", \"vxlan\", \"host-gw\", \"udp\", \"ipip\", \"wireguard\", \"extension\" and \"alloc\"",
		       type);
}
