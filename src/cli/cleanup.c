// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft cleanup: weftd does it, which knows the kernel.
#include "cli/cli.h"

#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Beside this program, in the place for programs of the system beside it, or in PATH.
static void become_weftd(char *const argv[])
{
	static const char *const places[] = { "weftd", "../sbin/weftd" };
	char own[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	own[len > 0 ? len : 0] = '\0';
	slash = strrchr(own, '/');
	for (size_t i = 0; slash && i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path = xasprintf("%.*s/%s", (int)(slash - own), own, places[i]);

		(void)execv(path, argv); // returns only where there is none
	}
	(void)execvp(argv[0], argv);
}

enum cli_exit cleanup_run(struct cli *cli)
{
	char program[] = "weftd", cleanup[] = "--cleanup", dry_run[] = "--dry-run";
	char *const argv[] = { program, cleanup, cli->options->dry_run ? dry_run : NULL, NULL };

	if (cli->options->json)
		return cli_fail(CLI_USAGE, "`weft cleanup` prints for people only");
	(void)fflush(stdout);
	become_weftd(argv);
	return cli_fail(CLI_FAILED, "weftd, which cleans up, is not found: %s", strerror(errno));
}
