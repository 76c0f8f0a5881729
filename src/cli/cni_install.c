// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft cni install: the plugins and a configuration where container runtimes look for them.
#include "cli/cli.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM_MAX (16u << 20)
#define CONFLIST_MAX (1u << 20)
#define CONFLIST "10-weft.conflist"

struct content {
	char *data;
	size_t len;
};

static void content_free(struct content *content)
{
	free(content->data);
}
#define _cleanup_content_ _cleanup_(content_free)

static int content_read(const char *path, size_t max, struct content *ret, struct err *e)
{
	return file_read(path, max, &ret->data, &ret->len, e);
}

static bool content_equal(const struct content *a, const struct content *b)
{
	return a->data && b->data && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

// Atomically: a runtime that starts the plugin at this moment runs the old one or the new one, whole. A program that is
// running cannot be written to, but its name can be given to another file.
static int put(const char *path, const struct content *content, mode_t mode, json_t *done,
	       struct err *e)
{
	int r = file_write_atomic(path, content->data, content->len, mode, e);

	if (r == 0)
		r = file_sync(path, e);
	if (r == 0)
		(void)json_array_append_new(done, json_string(path));
	return r;
}

// Beside this program's folder, as `make install` puts it, so that a tree can be installed anywhere.
static int find_source(const char *name, char ret[static PATH_MAX], struct err *e)
{
	char program[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - 1);
	char *slash;

	if (len < 0)
		return err_set(e, -errno, "/proc/self/exe: %s", strerror(errno));
	program[len] = '\0';
	slash = strrchr(program, '/');
	if (slash)
		*slash = '\0';
	if (text_format(ret, PATH_MAX, "%s/../" WEFT_CNI_DIR "/%s", program, name) < 0)
		return err_set(e, -ENAMETOOLONG, "%s: too long a path", program);
	return 0;
}

// Whether what is at path is ours to replace: nothing, the same, or what an earlier installation put there.
static bool is_ours(const char *path, const struct content *new, const struct content *before)
{
	_cleanup_content_ struct content there = { 0 };

	if (access(path, F_OK) < 0 && errno == ENOENT)
		return true;
	return content_read(path, PROGRAM_MAX, &there, NULL) == 0 &&
	       (content_equal(&there, new) || content_equal(&there, before));
}

static int put_plugins(const char *directory, bool force, json_t *done, struct err *e)
{
	static const char *const names[] = { "flannel", "weft-ipam", "weft" };
	_cleanup_content_ struct content program = { 0 }, before = { 0 };
	char path[PATH_MAX];
	int r;

	r = find_source("weft-cni", path, e);
	if (r == 0)
		r = content_read(path, PROGRAM_MAX, &program, e);
	// What of ours is there now; weft comes last, so that an installation that was cut short is recognised.
	if (r == 0 && text_format(path, sizeof(path), "%s/weft", directory) == 0)
		(void)content_read(path, PROGRAM_MAX, &before, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(names) && r == 0; i++) {
		r = text_format(path, sizeof(path), "%s/%s", directory, names[i]);
		if (r < 0)
			return err_set(e, r, "%s: too long a path", directory);
		if (!force && strcmp(names[i], "flannel") == 0 && !is_ours(path, &program, &before)) {
			(void)fprintf(stderr,
				      "weft: %s is another program: left alone; --force replaces it\n",
				      path);
			continue;
		}
		r = put(path, &program, 0755, done, e);
	}
	return r;
}

static int put_conflist(const char *directory, bool force, json_t *done, struct err *e)
{
	_cleanup_content_ struct content conflist = { 0 }, none = { 0 };
	char path[PATH_MAX];
	int r;

	r = find_source(CONFLIST, path, e);
	if (r == 0)
		r = content_read(path, CONFLIST_MAX, &conflist, e);
	if (r < 0)
		return r;
	r = text_format(path, sizeof(path), "%s/" CONFLIST, directory);
	if (r < 0)
		return err_set(e, r, "%s: too long a path", directory);
	if (!force && !is_ours(path, &conflist, &none)) {
		(void)fprintf(stderr, "weft: %s was changed: left alone; --force replaces it\n", path);
		return 0;
	}
	return put(path, &conflist, 0644, done, e);
}

enum cli_exit cni_install(struct cli *cli)
{
	const char *programs = cli->word_count > 0 ? cli->words[0] : "/opt/cni/bin";
	const char *configs = cli->word_count > 1 ? cli->words[1] : "/etc/cni/net.d";
	_cleanup_json_ json_t *done = json_array();
	struct err e = { 0 };
	const json_t *path;
	size_t i;
	int r;

	// The plugins first: a runtime that sees the configuration finds them.
	r = put_plugins(programs, cli->options->force, done, &e);
	if (r == 0)
		r = put_conflist(configs, cli->options->force, done, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "cni install: %s", err_msg(&e));
	if (cli->options->json)
		return cli_print_json(json_pack("{s:O}", "installed", done));
	json_array_foreach(done, i, path)
		printf("%s\n", json_string_value(path));
	return CLI_OK;
}
