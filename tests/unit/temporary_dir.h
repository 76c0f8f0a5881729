// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests that need files: a directory that goes with all that is in it.
#pragma once

struct temporary_dir {
	char path[64];
};
void temporary_dir_make(struct temporary_dir *dir);   // fails the test if it cannot
void temporary_dir_remove(struct temporary_dir *dir); // fine when it was never made
void remove_tree(const char *path);		      // with all that is in it
