// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing core/netconf_freeze.
#include "fuzz.h"

#include "core/mem.h"
#include "core/netconf.h"
#include "core/netconf_freeze.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_freeze_ struct netconf_freeze mark = { 0 }, again = { 0 };
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int r;

	r = netconf_freeze_parse((const char *)data, size, &mark, &e);
	must(r <= 0 && (r < 0) == (e.msg[0] != '\0') && e.code == r);
	if (r < 0) {
		must(!mark.store && !mark.config);
		// A mark that cannot be read is no config for all that.
		must(r == -ENOENT || netconf_parse((const char *)data, size, &conf, NULL) == -EBUSY);
		return 0;
	}
	must(netconf_parse((const char *)data, size, &conf, NULL) == -EBUSY);
	// Written anew it says the same, if there is room for all that JSON puts a backslash before.
	r = netconf_freeze_format(&mark, &text, NULL);
	must(r == 0 || r == -E2BIG);
	if (r < 0)
		return 0;
	must(netconf_freeze_parse(text, strlen(text), &again, NULL) == 0);
	must(strcmp(mark.id, again.id) == 0 && mark.state == again.state);
	must(strcmp(mark.store, again.store) == 0 && strcmp(mark.config, again.config) == 0);
	return 0;
}
