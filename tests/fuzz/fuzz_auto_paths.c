// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the member WeftPaths of a lease: what is read survives being written and read again, and an error is told.
#include "fuzz.h"

#include "backend/auto.h"
#include "core/mem.h"
#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_(auto_paths_free) struct auto_paths paths = { 0 }, again = { 0 };
	_cleanup_free_ char *written = NULL;
	struct err e = { 0 };
	int r = auto_paths_read(text, &paths, &e);

	must(r <= 0 && (r < 0) == (e.msg[0] != '\0'));
	if (r < 0) {
		must(!paths.direct && !paths.untrusted);
		return 0;
	}
	written = auto_paths_format(&paths);
	must(auto_paths_read(written, &again, &e) == 0);
	must(again.direct == paths.direct && again.untrusted == paths.untrusted);
	must(text_equal(again.wireguard, paths.wireguard));
	must(text_equal(again.wireguard_v6, paths.wireguard_v6));
	return 0;
}
