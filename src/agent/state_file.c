// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: writing the state files in slices, without holding the loop.
#include "agent/state_file.h"

#include "agent/state_text.h"
#include "core/log.h"
#include "core/mem.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLICE_LEASES 256
#define SLICE_BYTES (64 * 1024)
#define GATHER_MS 200	      // changes come in bursts
#define PAUSE_MS 2000	      // between two writes of a file
#define PAUSE_PER_PEER_US 500 // 65,000 peers: half a minute
#define RETRY_MS 60000	      // after a disk that was full or read-only

struct writer {
	struct state_file *file;
	enum state_part part;
	char *path;
	char *new_path;
	char *previous_path;
	struct timer *timer;
	bool dirty;	 // changed after the current write began, or none runs
	int fd;		 // of the file being written, -1: none
	size_t position; // in the set of peers
	uint64_t lines;
	uint64_t not_before_ms;
	bool failing; // said already
};

struct state_file {
	struct loop *loop;
	char *directory;
	char *prefix;
	const struct state_source *source;
	void *arg;
	struct state_mac macs[STATE_MACS_MAX];
	size_t mac_count;
	struct writer own;
	struct writer peers;
};

// ---- one write ----

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int begin(struct writer *writer, struct err *e)
{
	writer->fd =
		open(writer->new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (writer->fd < 0)
		return err_set(e, -errno, "%s: %s", writer->new_path, strerror(errno));
	writer->dirty = false;
	writer->position = 0;
	writer->lines = 0;
	return 0;
}

static void add_own(struct writer *writer, struct strbuf *out)
{
	const struct state_file *file = writer->file;
	const char *config = file->source->config_text(file->arg);
	const struct lease *lease = file->source->lease(file->arg);

	if (config && state_put_config(out, config))
		writer->lines++;
	if (lease) {
		state_put_lease(out, lease);
		writer->lines++;
	}
	for (size_t i = 0; i < file->mac_count; i++, writer->lines++)
		state_put_mac(out, &file->macs[i]);
}

// False when that was the last slice.
static bool add_peers(struct writer *writer, struct strbuf *out)
{
	const struct state_file *file = writer->file;
	const struct lease_set *set = file->source->peers(file->arg);
	const struct lease *lease;

	// The set may change between slices. A peer that is missed or written with an old value is
	// put right by the write that its change asks for.
	for (unsigned int i = 0; i < SLICE_LEASES && out->len < SLICE_BYTES; i++) {
		lease = set ? lease_set_next(set, &writer->position) : NULL;
		if (!lease)
			return false;
		state_put_peer(out, lease);
		writer->lines++;
	}
	return true;
}

// 1: more slices follow; 0: all is written; negative: failed.
static int write_slice(struct writer *writer, struct err *e)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(16 * 1024 * 1024);
	bool more = false;
	int r;

	if (writer->lines == 0) {
		state_put_header(&out, writer->file->prefix);
		writer->lines++;
	}
	if (writer->part == STATE_OWN)
		add_own(writer, &out);
	else
		more = add_peers(writer, &out);
	if (!more)
		state_put_end(&out, writer->lines);
	if (out.overflow)
		return err_set(e, -E2BIG, "%s: a line too long", writer->new_path);
	r = write_all(writer->fd, strbuf_text(&out), out.len);
	if (r < 0)
		return err_set(e, r, "%s: %s", writer->new_path, strerror(-r));
	return more ? 1 : 0;
}

static int move_into_place(const struct writer *writer, struct err *e)
{
	if (rename(writer->path, writer->previous_path) < 0 && errno != ENOENT)
		return err_set(e, -errno, "%s: %s", writer->previous_path, strerror(errno));
	if (rename(writer->new_path, writer->path) < 0)
		return err_set(e, -errno, "%s: %s", writer->path, strerror(errno));
	return 0;
}

// wait: for the disk. Without, only the order to start writing is given: waiting may take seconds.
static int finish(struct writer *writer, bool wait, struct err *e)
{
	int r;

	if (!wait)
		(void)sync_file_range(writer->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	else if (fsync(writer->fd) < 0)
		return err_set(e, -errno, "%s: %s", writer->new_path, strerror(errno));
	r = move_into_place(writer, e);
	if (r < 0)
		return r;
	fd_closep(&writer->fd);
	writer->fd = -1;
	return 0;
}

static void abandon(struct writer *writer)
{
	if (writer->fd < 0)
		return;
	fd_closep(&writer->fd);
	writer->fd = -1;
	(void)unlink(writer->new_path);
}

// ---- when ----

static void schedule(struct writer *writer)
{
	uint64_t now = loop_now_ms();
	uint64_t wait = writer->not_before_ms > now ? writer->not_before_ms - now : 0;

	if (writer->fd < 0 && !timer_is_pending(writer->timer))
		timer_start(writer->timer, wait > GATHER_MS ? wait : GATHER_MS);
}

static void ended(struct writer *writer, uint64_t pause_ms)
{
	writer->not_before_ms = loop_now_ms() + pause_ms;
	if (writer->dirty)
		schedule(writer);
}

static void failed(struct writer *writer, const struct err *e)
{
	abandon(writer);
	if (!writer->failing)
		log_warn("state: %s: a restart without the store will know less", err_msg(e));
	writer->failing = true;
	writer->dirty = true;
	ended(writer, RETRY_MS);
}

static void succeeded(struct writer *writer)
{
	if (writer->failing)
		log_info("state: %s: written again", writer->path);
	writer->failing = false;
	ended(writer,
	      PAUSE_MS + (writer->part == STATE_PEERS ? writer->lines * PAUSE_PER_PEER_US / 1000 : 0));
}

static void on_timer(void *arg)
{
	struct writer *writer = arg;
	struct err e = { 0 };
	int r = 0;

	if (writer->fd < 0)
		r = begin(writer, &e);
	if (r == 0)
		r = write_slice(writer, &e);
	if (r > 0) {
		timer_start(writer->timer, 0);
		return;
	}
	if (r == 0)
		r = finish(writer, false, &e);
	if (r < 0)
		failed(writer, &e);
	else
		succeeded(writer);
}

static int write_now(struct writer *writer, struct err *e)
{
	int r;

	if (!writer->dirty && writer->fd < 0)
		return 0;
	timer_stop(writer->timer);
	abandon(writer);
	r = begin(writer, e);
	if (r == 0)
		while ((r = write_slice(writer, e)) > 0)
			;
	if (r == 0)
		r = finish(writer, true, e);
	if (r < 0) {
		abandon(writer);
		writer->dirty = true;
	}
	return r;
}

// ---- the whole ----

static void writer_open(struct writer *writer, struct state_file *file, enum state_part part,
			const char *name)
{
	*writer = (struct writer){
		.file = file,
		.part = part,
		.path = xasprintf("%s/%s", file->directory, name),
		.new_path = xasprintf("%s/%s.new", file->directory, name),
		.previous_path = xasprintf("%s/%s.previous", file->directory, name),
		.timer = timer_new(file->loop, on_timer, writer),
		.fd = -1,
	};
}

static void writer_close(struct writer *writer)
{
	abandon(writer);
	timer_free(writer->timer);
	free(writer->path);
	free(writer->new_path);
	free(writer->previous_path);
}

int state_file_new(struct loop *loop, const char *directory, const char *prefix,
		   const struct state_source *source, void *arg, struct state_file **ret,
		   struct err *e)
{
	struct state_file *file;
	int r;

	r = directory_make(directory, 0700, e);
	if (r < 0)
		return r;
	file = xnew(struct state_file);
	file->loop = loop;
	file->directory = xstrdup(directory);
	file->prefix = xstrdup(prefix);
	file->source = source;
	file->arg = arg;
	writer_open(&file->own, file, STATE_OWN, "state");
	writer_open(&file->peers, file, STATE_PEERS, "peers");
	*ret = file;
	return 0;
}

struct state_file *state_file_free(struct state_file *file)
{
	if (!file)
		return NULL;
	writer_close(&file->own);
	writer_close(&file->peers);
	free(file->directory);
	free(file->prefix);
	free(file);
	return NULL;
}

static void remove_files(const struct writer *writer)
{
	(void)unlink(writer->path);
	(void)unlink(writer->previous_path);
}

struct state_file *state_file_delete(struct state_file *file)
{
	if (!file)
		return NULL;
	abandon(&file->own);
	abandon(&file->peers);
	remove_files(&file->own);
	remove_files(&file->peers);
	(void)rmdir(file->directory);
	return state_file_free(file);
}

static void changed(struct writer *writer)
{
	writer->dirty = true;
	schedule(writer);
}

void state_file_changed(struct state_file *file, unsigned int parts)
{
	if (parts & STATE_OWN)
		changed(&file->own);
	if (parts & STATE_PEERS)
		changed(&file->peers);
}

// A place for one more; the oldest makes room: a host has one or two devices, the rest are of
// earlier configs.
static struct state_mac *new_mac(struct state_file *file)
{
	if (file->mac_count == STATE_MACS_MAX) {
		memmove(&file->macs[0], &file->macs[1], sizeof(file->macs) - sizeof(file->macs[0]));
		file->mac_count--;
	}
	return &file->macs[file->mac_count++];
}

void state_file_set_mac(struct state_file *file, const char *device, const struct mac *mac)
{
	struct state_mac wanted = { .mac = *mac };

	if (text_copy(wanted.device, sizeof(wanted.device), device) < 0)
		return; // no device can have this name
	for (size_t i = 0; i < file->mac_count; i++) {
		struct state_mac *known = &file->macs[i];

		if (strcmp(known->device, device) != 0)
			continue;
		if (mac_equal(&known->mac, mac))
			return;
		*known = wanted;
		changed(&file->own);
		return;
	}
	*new_mac(file) = wanted;
	changed(&file->own);
}

int state_file_flush(struct state_file *file, struct err *e)
{
	struct err second = { 0 };
	int r = write_now(&file->own, e);
	int r2 = write_now(&file->peers, r < 0 ? &second : e);

	return r < 0 ? r : r2;
}
