// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the lease key: what is read is written back to what reads the same.
#include "fuzz.h"

#include "core/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char key[LEASE_KEY_MAX], again_key[LEASE_KEY_MAX], shown[SUBNET_STR_MAX];
	struct subnet subnet = { 0 }, again = { 0 };
	struct err e = { 0 };
	int r;

	r = subnet_parse_key((const char *)data, size, &subnet, &e);
	must(r <= 0 && (r < 0) == (e.msg[0] != '\0'));
	if (r < 0)
		return 0;
	must(ipnet_is_set(&subnet.v4) || ipnet_is_set(&subnet.v6));
	must(!ipnet_is_set(&subnet.v4) || (subnet.v4.len >= 1 && subnet.v4.len <= 32));
	must(!ipnet_is_set(&subnet.v6) || (subnet.v6.len >= 1 && subnet.v6.len <= 128));
	must(subnet_overlaps(&subnet, &subnet));
	must(strlen(subnet_str(&subnet, shown)) > 0);

	subnet_format_key(&subnet, key);
	must(strlen(key) < sizeof(key));
	must(subnet_parse_key(key, strlen(key), &again, &e) == 0);
	must(subnet_equal(&subnet, &again) && subnet_hash(&subnet) == subnet_hash(&again));
	subnet_format_key(&again, again_key);
	must(strcmp(key, again_key) == 0);
	return 0;
}
