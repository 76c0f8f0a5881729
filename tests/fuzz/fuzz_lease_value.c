// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the lease value: what is read survives being written and read again.
#include "fuzz.h"

#include "core/lease.h"
#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(lease_attrs_free) struct lease_attrs attrs = { 0 }, again = { 0 };
	_cleanup_free_ char *text = NULL, *again_text = NULL;
	struct err e = { 0 };
	int r;

	r = lease_attrs_parse((const char *)data, size, &attrs, &e);
	must(r <= 0 && (r < 0) == (e.msg[0] != '\0'));
	if (r < 0)
		return 0;
	must(attrs.public_ip.family == AF_UNSPEC || attrs.public_ip.family == AF_INET);
	must(attrs.public_ipv6.family == AF_UNSPEC || attrs.public_ipv6.family == AF_INET6);
	must(memchr(attrs.backend_type, '\0', sizeof(attrs.backend_type)));

	text = lease_attrs_format(&attrs);
	// Writing adds members and may spell a number out, so that what was at the limit may pass it.
	if (strlen(text) > LEASE_VALUE_MAX)
		return 0;
	must(lease_attrs_parse(text, strlen(text), &again, &e) == 0);
	must(lease_attrs_equal(&attrs, &again));
	again_text = lease_attrs_format(&again);
	must(strcmp(text, again_text) == 0);
	return 0;
}
