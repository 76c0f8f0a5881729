// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a disk that nobody waits for. What a program writes reaches the disk when the kernel likes.
#include <fcntl.h>
#include <unistd.h>

int fsync(int fd)
{
	(void)fd;
	return 0;
}

int fdatasync(int fd)
{
	(void)fd;
	return 0;
}
