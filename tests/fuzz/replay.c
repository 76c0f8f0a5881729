// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: running a fuzz target over files, where there is no libFuzzer: the test command replays the corpus with it.
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>

static int replay_file(const char *path)
{
	static uint8_t input[4 * 1024 * 1024];
	FILE *file = fopen(path, "re");
	uint8_t *exact;
	size_t size;

	if (!file) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	size = fread(input, 1, sizeof(input), file);
	(void)fclose(file);
	exact = malloc(size > 0 ? size : 1);
	must(exact);
	memcpy(exact, input, size);
	(void)printf("%s (%zu bytes)\n", path, size);
	(void)fflush(stdout); // the last line names the input that failed
	(void)LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

// How many files it replayed, or -1.
static int replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	char path[4096];
	int count = 0;

	if (!dir) {
		(void)fprintf(stderr, "%s: %s\n", folder, strerror(errno));
		return -1;
	}
	while (count >= 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		count = replay_file(path) == 0 ? count + 1 : -1;
	}
	(void)closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		(void)fprintf(stderr, "usage: %s CORPUS-FOLDER\n", argv[0]);
		return 2;
	}
	if (replay_folder(argv[1]) <= 0) {
		(void)fprintf(stderr, "%s: nothing replayed\n", argv[1]);
		return 1;
	}
	return 0;
}
