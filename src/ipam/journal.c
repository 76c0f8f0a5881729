// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the journal's file: reading it once, adding to it, writing it anew. The lines are journal_text.c's.
#include "ipam/journal.h"

#include "core/mem.h"
#include "io/file.h"
#include "ipam/journal_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64 * 1024 * 1024)
#define LINE_ROOM (64 * 1024)
#define COMPACT_LINES 2000 // fewer are never worth it

struct journal {
	char *path;
	char *boot;
	char *prefix;
	int fd;
	size_t lines;
	size_t compact_at; // lines
	int64_t session;
};

struct journal *journal_close(struct journal *journal)
{
	if (!journal)
		return NULL;
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal->path);
	free(journal->boot);
	free(journal->prefix);
	free(journal);
	return NULL;
}

static int open_file(struct journal *journal, struct err *e)
{
	int fd = open(journal->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_set(e, -errno, "%s: %s", journal->path, strerror(errno));
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = fd;
	return 0;
}

// Afterwards the file has text alone.
static int replace_file(struct journal *journal, const struct strbuf *text, struct err *e)
{
	int r = text->overflow
			? err_set(e, -E2BIG, "%s: too long", journal->path)
			: file_write_atomic(journal->path, strbuf_text(text), text->len, 0600, e);

	return r < 0 ? r : open_file(journal, e);
}

// All or nothing: what a full file system took of it is cut off again.
static int add(struct journal *journal, const struct strbuf *line, struct err *e)
{
	struct stat before;
	ssize_t n;
	int code;

	if (fstat(journal->fd, &before) < 0)
		return err_set(e, -errno, "%s: %s", journal->path, strerror(errno));
	n = write(journal->fd, line->data, line->len);
	if (n == (ssize_t)line->len) {
		journal->lines++;
		return 0;
	}
	code = n < 0 ? errno : ENOSPC;
	// A line that stays torn is left out when it is read.
	(void)!ftruncate(journal->fd, before.st_size);
	return err_set(e, -code, "%s: %s", journal->path, strerror(code));
}

int journal_add_use(struct journal *journal, const struct holder *holder, struct err *e)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT(LINE_ROOM);

	journal_line_use(&line, holder);
	return add(journal, &line, e);
}

int journal_add_free(struct journal *journal, const struct ip *ip, uint64_t key_hash,
		     uint64_t at_ms, struct err *e)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT(LINE_ROOM);

	journal_line_free(&line, ip, key_hash, at_ms);
	return add(journal, &line, e);
}

int journal_add_done(struct journal *journal, const struct ip *ip, struct err *e)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT(LINE_ROOM);

	journal_line_done(&line, ip);
	return add(journal, &line, e);
}

int journal_add_session(struct journal *journal, int64_t session, struct err *e)
{
	_cleanup_strbuf_ struct strbuf line = STRBUF_INIT(LINE_ROOM);

	journal->session = session;
	journal_line_session(&line, session);
	return add(journal, &line, e);
}

// ---- writing it anew ----

struct snapshot {
	struct strbuf text;
	size_t lines;
};

static void snapshot_holder(void *arg, struct holder *holder)
{
	struct snapshot *snapshot = arg;

	journal_line_use(&snapshot->text, holder);
	snapshot->lines++;
}

static void snapshot_slot(void *arg, struct slot *slot)
{
	struct snapshot *snapshot = arg;

	if (slot->state != SLOT_RESTING)
		return;
	journal_line_free(&snapshot->text, &slot->ip, slot->last_key, slot->released_ms);
	snapshot->lines++;
	if (slot->want != WANT_NOTHING || slot->is_busy)
		return;
	journal_line_done(&snapshot->text, &slot->ip);
	snapshot->lines++;
}

int journal_compact(struct journal *journal, struct allocator *allocator, struct err *e)
{
	struct snapshot snapshot = { .text = STRBUF_INIT(FILE_MAX) };
	struct subnet none = { 0 };
	int r = 0;

	// Without subnets the allocator does not know yet what the file says.
	if (journal->lines < COMPACT_LINES || journal->lines < journal->compact_at ||
	    subnet_equal(allocator_subnet(allocator), &none))
		return 0;
	journal_line_head(&snapshot.text, journal->boot, journal->prefix);
	if (journal->session != 0)
		journal_line_session(&snapshot.text, journal->session);
	allocator_each_holder(allocator, snapshot_holder, &snapshot);
	allocator_each_slot(allocator, snapshot_slot, &snapshot);
	if (snapshot.lines * 4 < journal->lines) {
		r = replace_file(journal, &snapshot.text, e);
		if (r == 0)
			journal->lines = snapshot.lines + 2;
	}
	journal->compact_at = journal->lines + COMPACT_LINES;
	strbuf_free(&snapshot.text);
	return r;
}

// ---- opening ----

static bool is_ours(const struct journal *journal, const struct journal_content *content)
{
	return strcmp(content->boot, journal->boot) == 0 &&
	       strcmp(content->prefix, journal->prefix) == 0;
}

static int begin_anew(struct journal *journal, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(LINE_ROOM);

	journal_line_head(&text, journal->boot, journal->prefix);
	journal->lines = 1;
	return replace_file(journal, &text, e);
}

static int read_file(struct journal *journal, struct journal_content *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(journal->path, FILE_MAX, &text, &len, e);

	if (r == -ENOENT)
		return begin_anew(journal, e);
	if (r < 0)
		return r;
	journal_parse(text, len, ret);
	if (!is_ours(journal, ret)) {
		journal_content_free(ret);
		return begin_anew(journal, e);
	}
	journal->lines = ret->lines;
	journal->session = ret->session;
	r = open_file(journal, e);
	// So that the next line does not stick to a torn one.
	if (r == 0 && len > 0 && text[len - 1] != '\n' && write(journal->fd, "\n", 1) != 1)
		r = err_set(e, -errno, "%s: %s", journal->path, strerror(errno));
	return r;
}

int journal_open(const char *path, const char *boot, const char *prefix, struct journal **ret,
		 struct journal_content *ret_content, struct err *e)
{
	struct journal *journal = xnew(struct journal);
	int r;

	*ret_content = (struct journal_content){ 0 };
	journal->fd = -1;
	journal->path = xstrdup(path);
	journal->boot = xstrdup(boot);
	journal->prefix = xstrdup(prefix);
	r = read_file(journal, ret_content, e);
	if (r < 0) {
		journal_content_free(ret_content);
		journal_close(journal);
		return r;
	}
	*ret = journal;
	return 0;
}
