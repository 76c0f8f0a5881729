// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the versions of the CNI specification that the plugins speak.
#include "cni/version.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char *const names[] = { "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
static_assert(sizeof(names) / sizeof(names[0]) == CNI_VERSION_COUNT, "a name for each version");

const char *cni_version_name(enum cni_version version)
{
	return names[version];
}

int cni_version_parse(const char *text, enum cni_version *ret)
{
	if (!*text)
		text = names[CNI_0_1_0];
	for (int i = 0; i < CNI_VERSION_COUNT; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum cni_version)i;
			return 0;
		}
	return -EINVAL;
}

void cni_version_list(struct strbuf *out)
{
	for (int i = 0; i < CNI_VERSION_COUNT; i++)
		(void)strbuf_printf(out, "%s\"%s\"", i == 0 ? "[" : ",", names[i]);
	(void)strbuf_putc(out, ']');
}
