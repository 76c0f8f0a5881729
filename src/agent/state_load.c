// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading the state files at start, and what becomes of those that cannot be used.
#include "agent/state_file.h"

#include "agent/state_text.h"
#include "core/log.h"
#include "core/mem.h"
#include "io/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STATE_FILE_MAX (256 * 1024 * 1024)

// 0; -ENOENT; what state_decode says; other read errors. ret must be zero.
static int load_one(const char *path, const char *prefix, struct state *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(path, STATE_FILE_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = state_decode(text, len, prefix, ret, e);
	return r < 0 ? err_wrap(e, "%s", path) : 0;
}

static void put_aside(const char *path)
{
	_cleanup_free_ char *aside = xasprintf("%s.bad", path);

	(void)rename(path, aside); // a directory that we cannot write to: it will be told of by the writer
}

// The newest file of this name that can be read; ret stays zero if there is none.
static void load_part(const char *directory, const char *name, const char *prefix, struct state *ret)
{
	static const char *const endings[] = { "", ".previous" };
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s%s", directory, name, endings[i]);
		int r = load_one(path, prefix, ret, &e);

		if (r == 0)
			return;
		if (r == -ENOENT)
			continue;
		if (r == -EPROTONOSUPPORT || r == -ESTALE) {
			log_warn("state: %s: ignored", err_msg(&e));
			return;
		}
		log_warn("state: %s: ignored%s", err_msg(&e), r == -EBADMSG ? " and kept as .bad" : "");
		if (r == -EBADMSG)
			put_aside(path);
	}
}

void state_load(const char *directory, const char *prefix, struct state *ret)
{
	_cleanup_state_ struct state peers = { 0 };

	load_part(directory, "state", prefix, ret);
	load_part(directory, "peers", prefix, &peers);
	lease_set_free(ret->peers);
	ret->peers = peers.peers ? TAKE_PTR(peers.peers) : lease_set_new();
}
