// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking and telling iptables by its own programs.
#include "masq/iptables.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/child.h"
#include "io/file.h"

#include <errno.h>
#include <string.h>

#define CHILD_MS 30000
#define LOCK_WAIT_S "10" // for other programs that hold the lock
#define NAMES_MAX 4096
#define PROGRAM_MAX 32

const char *const iptables_kind_names[IPTABLES_KIND_COUNT] = { "nft", "legacy" };
static const char *const commands[MASQ_FAMILY_COUNT] = { "iptables", "ip6tables" };

struct iptables {
	struct loop *loop;
	iptables_done_fn *done;
	void *arg;
	struct child *child;
	char program[PROGRAM_MAX];	// that it runs
	struct iptables_reader *reader; // NULL: a restore
	struct iptables_have *have;
};

struct iptables *iptables_new(struct loop *loop, iptables_done_fn *done, void *arg)
{
	struct iptables *iptables = xnew(struct iptables);
	*iptables = (struct iptables){ .loop = loop, .done = done, .arg = arg };
	return iptables;
}

struct iptables *iptables_free(struct iptables *iptables)
{
	if (!iptables)
		return NULL;
	child_free(iptables->child);
	iptables_reader_end(iptables->reader, NULL);
	free(iptables);
	return NULL;
}

static void on_output(void *arg, const char *data, size_t len)
{
	struct iptables *iptables = arg;
	if (iptables->reader)
		iptables_reader_feed(iptables->reader, data, len);
}

static void on_ended(void *arg, int r, const char *said, bool is_whole, const struct err *e)
{
	struct iptables *iptables = arg;
	struct err error = *e;
	(void)said, (void)is_whole;
	if (r < 0)
		(void)err_wrap(&error, "%s", iptables->program);
	if (iptables->reader) {
		iptables_have_free(iptables->have);
		iptables->reader = iptables_reader_end(iptables->reader, r < 0 ? NULL : iptables->have);
	}
	iptables->child = child_free(iptables->child);
	iptables->done(iptables->arg, r, &error);
}

// A host with one kind only may have its programs without a kind in their names.
static int start(struct iptables *iptables, enum iptables_kind kind, enum masq_family family,
		 const char *verb, const char *input, struct err *e)
{
	_cleanup_free_ char *exact =
		xasprintf("%s-%s-%s", commands[family], iptables_kind_names[kind], verb);
	_cleanup_free_ char *plain = xasprintf("%s-%s", commands[family], verb);
	const char *names[] = { exact, plain };
	int r = -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(names) && r == -ENOENT; i++) {
		struct child_request request = { .argv = { names[i] },
						 .input = input,
						 .timeout_ms = CHILD_MS,
						 .output = on_output };
		if (input) {
			request.argv[1] = "--noflush";
			request.argv[2] = "-w";
			request.argv[3] = LOCK_WAIT_S;
		}
		(void)text_copy(iptables->program, sizeof(iptables->program), names[i]);
		r = child_start(iptables->loop, &request, on_ended, iptables, &iptables->child, e);
	}
	return r;
}

int iptables_save(struct iptables *iptables, enum iptables_kind kind, enum masq_family family,
		  struct iptables_have *ret, struct err *e)
{
	int r = start(iptables, kind, family, "save", NULL, e);
	if (r == 0) {
		iptables->reader = iptables_reader_new();
		iptables->have = ret;
	}
	return r;
}

int iptables_restore(struct iptables *iptables, enum iptables_kind kind, enum masq_family family,
		     char *text, struct err *e)
{
	_cleanup_free_ char *input = text;
	return start(iptables, kind, family, "restore", input, e);
}

bool iptables_legacy_is_used(enum masq_family family)
{
	static const char *const paths[MASQ_FAMILY_COUNT] = {
		"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"
	};
	_cleanup_free_ char *names = NULL;
	size_t len = 0;
	return file_read(paths[family], NAMES_MAX, &names, &len, NULL) == 0 &&
	       (strstr(names, "filter\n") || strstr(names, "nat\n"));
}
