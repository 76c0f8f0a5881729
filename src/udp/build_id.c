// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling one build of weft-udp from another, so that an upgraded one replaces the one that runs.
#include "udp/build_id.h"

#include <errno.h>
#include <sys/stat.h>

// A package manager makes a new file, and one that is written in place is not executed meanwhile.
int build_id_of(const char *path, char ret[static CONTROL_TEXT_MAX + 1])
{
	struct stat file;
	if (stat(path, &file) < 0)
		return -errno;
	return text_format(ret, CONTROL_TEXT_MAX + 1, "%s %llx:%llx", WEFT_VERSION,
			   (unsigned long long)file.st_dev, (unsigned long long)file.st_ino);
}

void build_id(char ret[static CONTROL_TEXT_MAX + 1])
{
	ret[0] = '\0';
	(void)build_id_of("/proc/self/exe", ret);
}
