// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests that need files: a directory that goes with all that is in it.
#include "temporary_dir.h"

#include "unit.h"

#include "core/strbuf.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

void temporary_dir_make(struct temporary_dir *dir)
{
	(void)text_copy(dir->path, sizeof(dir->path), "/tmp/weft-unit-XXXXXX");
	assert_non_null(mkdtemp(dir->path));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void remove_tree(const char *path)
{
	(void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void temporary_dir_remove(struct temporary_dir *dir)
{
	if (dir->path[0] != '\0')
		remove_tree(dir->path);
	dir->path[0] = '\0';
}
