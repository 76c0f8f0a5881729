// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the forms of the API of flannel 0.5 to 0.7: leases, cursors, paths, times. What is read can be written, and is
// then read as the same.
#include "fuzz.h"

#include "core/mem.h"
#include "store/remote_v1.h"

#include <errno.h>

static void try_lease(const json_t *json)
{
	_cleanup_v1_lease_ struct v1_lease lease = { 0 };
	_cleanup_v1_lease_ struct v1_lease again = { 0 };
	_cleanup_json_ json_t *rewritten = NULL;
	struct strbuf out = STRBUF_INIT(SIZE_MAX);
	struct err e = { 0 };
	int r = v1_read_lease(json, &lease, &e);

	must(r == 0 || (r == -EINVAL && e.msg[0] != '\0' && !lease.attrs.backend_data));
	if (r < 0)
		return;
	must(lease.subnet.addr.family == AF_INET && lease.subnet.len > 0);
	must(ip_is_usable_endpoint(&lease.attrs.public_ip) && !lease.attrs.extra);
	v1_add_lease(&out, &lease.subnet, &lease.attrs, lease.expires_ms);
	must(json_read(out.data, out.len, SIZE_MAX, &rewritten, NULL) == 0);
	must(v1_read_lease(rewritten, &again, NULL) == 0);
	must(ipnet_equal(&lease.subnet, &again.subnet) &&
	     lease_attrs_equal(&lease.attrs, &again.attrs));
	// What is beyond the years that can be written is clamped.
	must(again.expires_ms == lease.expires_ms || lease.expires_ms < TIMESTAMP_ZERO_MS ||
	     lease.expires_ms > 253402300799999LL);
	strbuf_free(&out);
}

static void try_told(const json_t *json)
{
	struct v1_told told = { 0 };
	_cleanup_free_ char *cursor = NULL;

	if (v1_told_read(json, &told, NULL) == 0)
		must(told.value && told.subnet.addr.family == AF_INET);
	v1_told_free(&told);
	if (v1_read_next(json, &cursor, NULL) == 0)
		must(cursor[0] != '\0' && !strpbrk(cursor, "&#?% \r\n/"));
}

static void try_times(const char *text)
{
	char again[TIMESTAMP_MAX];
	int64_t ms, same;

	if (timestamp_parse(text, &ms) == 0) {
		timestamp_format(ms, again);
		must(timestamp_parse(again, &same) == 0);
	}
	if (timestamp_parse_http(text, &ms) == 0)
		must(ms % 1000 == 0);
}

static void try_place(const char *text)
{
	const struct remote_v1 v1 = { .prefix = (char[]){ "/p/" } };
	_cleanup_free_ char *key = xasprintf("/p/%s", text);
	struct v1_place place;
	struct ipnet subnet;

	if (v1_parse_subnet(text, &subnet, NULL) == 0)
		must(subnet.addr.family == AF_INET && subnet.len > 0);
	if (v1_read_place(&v1, key, strlen(key), &place, NULL) == 0) {
		_cleanup_free_ char *path = v1_path(&place, "leases");
		_cleanup_free_ char *same = NULL;

		must(!strpbrk(path, "?# \r\n"));
		must(strcmp(place.network, V1_NO_NETWORK) == 0 || v1_is_network_name(place.network));
		if (place.kind == V1_LEASE) {
			same = v1_lease_key_of(&v1, place.network, &place.subnet);
			must(v1_read_place(&v1, same, strlen(same), &place, NULL) == 0);
		}
	}
}

static void try_cursor(const char *text)
{
	char again[V1_CURSOR_MAX];
	int64_t revision, same;
	uint64_t mark, same_mark;

	if (!v1_read_cursor(text, &revision, &mark))
		return;
	must(revision >= 0 && revision < INT64_MAX && mark == v1_cursor_mark(mark));
	v1_cursor(revision, mark, again);
	must(v1_read_cursor(again, &same, &same_mark) && same == revision && same_mark == mark);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = xstrndup((const char *)data, size);

	if (size > 8192)
		return 0;
	if (json_read((const char *)data, size, size, &json, NULL) == 0) {
		try_lease(json);
		try_told(json);
	}
	try_times(text);
	try_cursor(text);
	try_place(text);
	return 0;
}
