// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of what the embedded store does beyond the contract: what outlives it, what it refuses,
// and what a full disk or a slow one does to it.
#include "unit.h"

#include "core/mem.h"
#include "kv_client.h"
#include "loop_end.h"
#include "store/sqlite.h"
#include "store/sqlite_data.h"
#include "temporary_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct temporary_dir dir;
static struct loop *loop;
static char *path; // of the database
static struct kv *kv;
static struct kv *other; // a second client
static struct watch_log seen;
static sqlite3 *raw;	// another program's connection
static pid_t child;	// 0: none
static bool is_mounted; // dir is a file system of its own

// What the disk does when SQLite waits for it; the store's thread comes here.
static _Atomic bool disk_hangs;
static _Atomic bool disk_fails;
static _Atomic unsigned int disk_syncs;

// ---- fixtures ----

static struct kv *open_path(uint32_t timeout_ms)
{
	struct store_config config = { .kind = "sqlite", .path = path, .request_timeout_ms = timeout_ms };
	struct kv *opened;
	struct err e;

	check(kv_open(loop, &config, &opened, &e) == 0, "%s", e.msg);
	return opened;
}

static void reopen(void)
{
	kv = kv_close(kv);
	kv = open_path(0);
}

static void refuse_open(int expected, const char *const *texts)
{
	struct store_config config = { .kind = "sqlite", .path = path };
	struct kv *opened = NULL;
	struct err e = { 0 };

	assert_int_equal(kv_open(loop, &config, &opened, &e), expected);
	assert_null(opened);
	for (; *texts; texts++)
		check(strstr(e.msg, *texts) != NULL, "\"%s\" is not in: %s", *texts, e.msg);
}

static int setup(void **state)
{
	(void)state;
	temporary_dir_make(&dir);
	path = xasprintf("%s/weft.db", dir.path);
	loop = loop_new();
	kv = open_path(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	disk_hangs = false;
	disk_fails = false;
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		child = 0;
	}
	watch_log_free(&seen);
	assert_int_equal(sqlite3_close(raw), SQLITE_OK);
	raw = NULL;
	kv = kv_close(kv);
	other = kv_close(other);
	loop = loop_end(loop);
	if (is_mounted)
		assert_int_equal(umount(dir.path), 0);
	is_mounted = false;
	free(path);
	temporary_dir_remove(&dir);
	return 0;
}

// The file through a connection of the test's own, as another program would have it.
static sqlite3 *open_raw(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	return db;
}

static void run_raw(const char *sql)
{
	sqlite3 *db = open_raw();
	char *text = NULL;

	check(sqlite3_exec(db, sql, NULL, NULL, &text) == SQLITE_OK, "%s: %s", sql, text);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void put_many(const char *prefix, size_t count, size_t value_len)
{
	_cleanup_free_ char *value = xcalloc(1, value_len + 1);
	char keys[KV_TXN_MAX][64];
	struct kv_write writes[KV_TXN_MAX];
	struct kv_answer answer;
	size_t i = 0;

	memset(value, 'v', value_len);
	while (i < count) {
		struct kv_txn txn = { .writes = writes };

		for (; i < count && txn.write_count < KV_TXN_MAX; i++) {
			size_t at = txn.write_count++;

			(void)text_format(keys[at], sizeof(keys[at]), "%s%zu", prefix, i);
			writes[at] = (struct kv_write){ .key = keys[at],
							.value = value,
							.value_len = value_len };
		}
		do_txn(kv, &txn, &answer);
		check(answer.succeeded, "%s", answer.err.msg);
		kv_answer_free(&answer);
	}
}

static int64_t open_session(int64_t ttl_s)
{
	struct kv_answer answer;

	do_session_open(kv, ttl_s, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	return answer.session;
}

static void put_tied(const char *key, int64_t session)
{
	struct kv_answer answer;

	do_write(kv, key, "tied", -1, session, &answer);
	check(answer.r == 0 && answer.succeeded, "%s", answer.err.msg);
	kv_answer_free(&answer);
}

static size_t count_keys(const char *prefix)
{
	struct kv_answer answer;

	do_range(kv, prefix, true, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	return answer.pair_count;
}

static int64_t ttl_left(int64_t session)
{
	struct kv_answer answer;

	do_session_query(kv, session, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	return answer.ttl_s;
}

// ---- what outlives the store ----

static void test_reopen(void **state)
{
	static const char *const prefixes[] = { "/", NULL };
	struct kv_answer answer;
	uint64_t cluster_id, cluster_id_after;
	int64_t first, revision, session;

	(void)state;
	first = must_put(kv, "/a", "1");
	must_put(kv, "/a", "2");
	must_put(kv, "/b", "3");
	must_delete(kv, "/b");
	session = open_session(100);
	put_tied("/c", session);
	revision = now_revision(kv, &cluster_id);
	reopen();
	assert_int_equal(now_revision(kv, &cluster_id_after), revision);
	assert_true(cluster_id == cluster_id_after);

	do_range(kv, "/", true, &answer);
	assert_int_equal(answer.pair_count, 2);
	assert_int_equal(strncmp(strbuf_text(&answer.pairs), "/a=2@", 5), 0);
	assert_int_equal(answer.last.session, session);
	kv_answer_free(&answer);
	do_range(kv, "/a", false, &answer);
	assert_int_equal(answer.last.create_revision, first);
	assert_int_equal(answer.last.mod_revision, first + 1);
	kv_answer_free(&answer);
	assert_in_range(ttl_left(session), 90, 100);

	watch_log_start(&seen, kv, prefixes, first + 1, cluster_id);
	turn_until(loop, seen.events == 4);
	must_put(kv, "/d", "4");
	turn_until(loop, seen.events == 5);
	assert_string_equal(strbuf_text(&seen.text),
			    "PUT /a=2\nPUT /b=3\nDELETE /b\nPUT /c=tied\nPUT /d=4\n");
	assert_int_equal(seen.last_revision, revision + 1);
	watch_log_free(&seen);
}

// What another program reads on the store's own clock.
static int64_t raw_number(const char *sql)
{
	sqlite3 *db = open_raw();
	sqlite3_stmt *statement;
	int64_t number;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	number = sqlite3_column_int64(statement, 0);
	assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return number;
}

static void turn_for_ms(uint64_t ms)
{
	uint64_t end = loop_now_ms() + ms;

	while (loop_now_ms() < end)
		loop_turn(loop, end - loop_now_ms() + 1);
}

static void test_time_without_the_store_does_not_count(void **state)
{
	int64_t session;

	(void)state;
	session = open_session(2);
	put_tied("/tied", session);
	turn_for_ms(300);
	kv = kv_close(kv);
	// It was written what is left at the end, not at the last renewal.
	assert_in_range(raw_number("SELECT expires_ms - clock_ms FROM session, store"), 1000, 1700);
	turn_for_ms(2500);
	kv = open_path(0);
	assert_int_equal(count_keys("/tied"), 1);
	assert_in_range(ttl_left(session), 0, 1);
	turn_until(loop, count_keys("/tied") == 0);
}

static void test_expiry_is_one_revision(void **state)
{
	static const char *const prefixes[] = { "/tied/", NULL };
	int64_t revision, session;

	(void)state;
	session = open_session(2);
	put_tied("/tied/a", session);
	put_tied("/tied/b", session);
	must_put(kv, "/tied/free", "f");
	revision = now_revision(kv, NULL);
	watch_log_start(&seen, kv, prefixes, revision + 1, 0);
	turn_until(loop, seen.events == 2);
	assert_string_equal(strbuf_text(&seen.text), "DELETE /tied/a\nDELETE /tied/b\n");
	assert_int_equal(seen.last_revision, revision + 1);
	assert_int_equal(now_revision(kv, NULL), revision + 1);
	assert_int_equal(count_keys("/tied/"), 1);
	watch_log_free(&seen);
}

static void test_bounded_history(void **state)
{
	static const char *const prefixes[] = { "/h/", NULL };
	int64_t first, oldest;

	(void)state;
	first = must_put(kv, "/h/0", "0");
	put_many("/h/", SQLITE_HISTORY_MAX + KV_TXN_MAX, 1);
	assert_in_range(raw_number("SELECT count(*) FROM event"), SQLITE_HISTORY_MAX - KV_TXN_MAX,
			SQLITE_HISTORY_MAX);
	oldest = raw_number("SELECT min(revision) FROM event");
	reopen();
	watch_log_start(&seen, kv, prefixes, first, 0);
	turn_until(loop, seen.losts == 1);
	assert_false(seen.store_changed);
	assert_int_equal(seen.events, 0);
	watch_log_free(&seen);
	watch_log_start(&seen, kv, prefixes, oldest - 1, 0);
	turn_until(loop, seen.losts == 1);
	watch_log_free(&seen);
	watch_log_start(&seen, kv, prefixes, oldest, 0);
	turn_until(loop, seen.events == (size_t)raw_number("SELECT count(*) FROM event"));
	assert_true(seen.in_order);
	watch_log_free(&seen);
}

static void test_mode(void **state)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", ".lock" };
	struct stat st;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		_cleanup_free_ char *file = xasprintf("%s%s", path, suffixes[i]);

		assert_int_equal(stat(file, &st), 0);
		check((st.st_mode & 07777) == 0600, "%s: %o", file, st.st_mode);
	}
	kv = kv_close(kv);
	assert_int_equal(chmod(path, 0644), 0);
	kv = open_path(0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

// ---- what is refused ----

static void test_no_path(void **state)
{
	struct store_config config = { .kind = "sqlite" };
	struct kv *opened;
	struct err e;

	(void)state;
	assert_int_equal(kv_open(loop, &config, &opened, &e), -EINVAL);
	assert_string_equal(e.msg, "sqlite: the store's file is not named");
}

static void overwrite(long offset, size_t len)
{
	_cleanup_free_ char *junk = xmalloc(len);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	memset(junk, 0xa5, len);
	assert_int_equal(pwrite(fd, junk, len, offset), len);
	assert_int_equal(close(fd), 0);
}

static void test_corrupt_file(void **state)
{
	const char *const texts[] = { path, "corrupt", "weft store restore FILE", NULL };

	(void)state;
	put_many("/key/", 2000, 100);
	kv = kv_close(kv);
	overwrite(5L * 4096, 8192);
	refuse_open(-EUCLEAN, texts);
	overwrite(0, 100);
	refuse_open(-EUCLEAN, texts);
}

// Nor is a new store begun in a file that has lost all it held; one that is not there is another thing.
static void test_empty_file(void **state)
{
	const char *const texts[] = { path, "corrupt", "empty", "weft store restore FILE", NULL };
	int64_t revision = must_put(kv, "/a", "1");

	(void)state;
	kv = kv_close(kv);
	assert_int_equal(truncate(path, 0), 0);
	refuse_open(-EUCLEAN, texts);
	refuse_open(-EUCLEAN, texts);
	assert_int_equal(unlink(path), 0);
	kv = open_path(0);
	assert_true(now_revision(kv, NULL) < revision);
}

// A start that was cut off while it made the database.
static void test_half_made_file(void **state)
{
	_cleanup_free_ char *half = xasprintf("%s.new", path);

	(void)state;
	kv = kv_close(kv);
	assert_int_equal(rename(path, half), 0);
	assert_int_equal(truncate(half, 5000), 0);
	kv = open_path(0);
	must_put(kv, "/a", "1");
	assert_int_equal(access(half, F_OK), -1);
}

static void test_newer_schema(void **state)
{
	const char *const texts[] = { path, "schema version 7", "up to 1", NULL };

	(void)state;
	kv = kv_close(kv);
	run_raw("PRAGMA user_version = 7");
	refuse_open(-EPROTO, texts);
}

static void test_other_database(void **state)
{
	const char *const texts[] = { path, "another program", NULL };

	(void)state;
	kv = kv_close(kv);
	run_raw("PRAGMA application_id = 1");
	refuse_open(-EPROTO, texts);
}

static void test_no_place(void **state)
{
	const char *texts[] = { NULL, "No such file", NULL };

	(void)state;
	kv = kv_close(kv);
	free(path);
	path = xasprintf("%s/none/weft.db", dir.path);
	texts[0] = path;
	refuse_open(-ENOENT, texts);
}

// ---- other processes ----

// Opens the store in a process of its own and ends it with what it found.
static void child_opens(void)
{
	struct store_config config = { .kind = "sqlite", .path = path };
	struct kv *opened;
	char expected[32];
	struct err e;
	int r;

	(void)text_format(expected, sizeof(expected), "by process %d", (int)getppid());
	r = kv_open(loop_new(), &config, &opened, &e);
	_exit(r == -EBUSY && strstr(e.msg, path) && strstr(e.msg, expected) ? 0 : 1);
}

static void test_second_process(void **state)
{
	int status;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		child_opens();
	assert_int_equal(waitpid(child, &status, 0), child);
	child = 0;
	assert_int_equal(status, 0);
	// A second client in this process shares it.
	other = open_path(0);
	must_put(other, "/a", "1");
	kv = kv_close(kv);
	kv = TAKE_PTR(other);
	assert_int_equal(count_keys("/a"), 1);
}

// Many writes at once, each told through the pipe when it was acknowledged.
#define WRITERS 8

struct writer {
	struct kv *kv;
	int pipe;
	uint32_t next;
	uint32_t number;
};

static void writer_next(struct writer *writer);

static void written(void *arg, int r, bool succeeded, const struct kv_header *header,
		    const struct err *e)
{
	struct writer *writer = arg;

	(void)header;
	(void)e;
	if (r < 0 || !succeeded ||
	    write(writer->pipe, &writer->number, sizeof(writer->number)) != sizeof(writer->number))
		_exit(1);
	writer->next += WRITERS;
	writer_next(writer);
}

static void writer_next(struct writer *writer)
{
	struct kv_compare compare = { .kind = KV_ABSENT };
	struct kv_write write = { .value = "v", .value_len = 1 };
	struct kv_txn txn = {
		.compares = &compare, .compare_count = 1, .writes = &write, .write_count = 1
	};
	char key[32];

	writer->number = writer->next;
	(void)text_format(key, sizeof(key), "/crash/%010u", writer->number);
	compare.key = key;
	write.key = key;
	kv_txn(writer->kv, &txn, NULL, written, writer);
}

static void child_writes(int pipe, uint32_t first)
{
	struct store_config config = { .kind = "sqlite", .path = path };
	struct loop *own = loop_new();
	struct writer writers[WRITERS];
	struct kv *opened;
	struct err e;

	if (kv_open(own, &config, &opened, &e) < 0)
		_exit(1);
	for (uint32_t i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ .kv = opened, .pipe = pipe, .next = first + i };
		writer_next(&writers[i]);
	}
	loop_run(own);
}

// Adds the numbers that are in the pipe to acknowledged.
static void read_numbers(int fd, uint32_t *acknowledged, size_t *count, size_t max)
{
	ssize_t len = read(fd, acknowledged + *count, (max - *count) * sizeof(*acknowledged));

	assert_true(len >= 0 && len % (ssize_t)sizeof(*acknowledged) == 0);
	*count += (size_t)len / sizeof(*acknowledged);
}

#define CRASHES 5
#define CRASH_AFTER 400
#define ACKNOWLEDGED_MAX 100000

static void crash_once(uint32_t *acknowledged, size_t *count, uint32_t first)
{
	size_t until = *count + CRASH_AFTER;
	int pipes[2];
	int status;

	assert_int_equal(pipe(pipes), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		child_writes(pipes[1], first);
	close(pipes[1]);
	while (*count < until) {
		size_t before = *count;

		read_numbers(pipes[0], acknowledged, count, ACKNOWLEDGED_MAX);
		assert_true(*count > before);
	}
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	child = 0;
	assert_true(WIFSIGNALED(status));
	for (size_t before = until; before != *count;) {
		before = *count;
		read_numbers(pipes[0], acknowledged, count, ACKNOWLEDGED_MAX);
	}
	close(pipes[0]);
}

static void check_acknowledged(const uint32_t *acknowledged, size_t count)
{
	struct kv_answer answer;

	do_range(kv, "/crash/", true, &answer);
	assert_int_equal(answer.r, 0);
	assert_in_range(answer.pair_count, count, count + CRASHES * WRITERS);
	for (size_t i = 0; i < count; i++) {
		char key[40];

		(void)text_format(key, sizeof(key), "/crash/%010u=v@", acknowledged[i]);
		check(strstr(strbuf_text(&answer.pairs), key) != NULL, "%s is lost", key);
	}
	kv_answer_free(&answer);
}

static void test_killed_while_writing(void **state)
{
	_cleanup_free_ uint32_t *acknowledged = xnew0_array(uint32_t, ACKNOWLEDGED_MAX);
	size_t count = 0;
	int64_t revision = 0;

	(void)state;
	for (uint32_t i = 0; i < CRASHES; i++) {
		kv = kv_close(kv);
		crash_once(acknowledged, &count, i * 1000000);
		kv = open_path(0);
		check_acknowledged(acknowledged, count);
		assert_true(now_revision(kv, NULL) >= revision + CRASH_AFTER);
		revision = now_revision(kv, NULL);
		assert_int_equal(raw_number("SELECT count(*) = count(DISTINCT revision) FROM event"),
				 1);
	}
}

// ---- disks ----

// In the place of the C library's, also for SQLite's library.
int fdatasync(int fd)
{
	static const struct timespec moment = { .tv_nsec = 1000000 };

	disk_syncs++;
	while (disk_hangs)
		nanosleep(&moment, NULL);
	if (disk_fails) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void test_answers_wait_for_the_disk(void **state)
{
	struct kv_write write = { .key = "/a", .value = "1", .value_len = 1 };
	struct kv_txn txn = { .writes = &write, .write_count = 1 };
	struct kv_answer answer;

	(void)state;
	disk_hangs = true;
	(void)loop_longest_hold_ms(loop);
	start_txn(kv, &txn, &answer);
	turn_for_ms(300);
	assert_false(answer.done);
	assert_true(loop_longest_hold_ms(loop) < 100);
	disk_hangs = false;
	turn_until(loop, answer.done);
	assert_true(answer.succeeded);
	kv_answer_free(&answer);
}

#define AT_ONCE 200

// Those that wait while the disk is busy are one transaction, with a revision each.
static void test_group_commit(void **state)
{
	struct kv_answer *answers = xnew0_array(struct kv_answer, AT_ONCE);
	int64_t revision = must_put(kv, "/first", "f");
	unsigned int before;

	(void)state;
	before = disk_syncs;
	disk_hangs = true;
	for (size_t i = 0; i < AT_ONCE; i++) {
		struct kv_write write = { .key = "/a", .value = "1", .value_len = 1 };
		struct kv_txn txn = { .writes = &write, .write_count = 1 };

		start_txn(kv, &txn, &answers[i]);
	}
	disk_hangs = false;
	for (size_t i = 0; i < AT_ONCE; i++) {
		turn_until(loop, answers[i].done);
		assert_true(answers[i].succeeded);
		assert_int_equal(answers[i].header.revision, ++revision);
		kv_answer_free(&answers[i]);
	}
	free(answers);
	assert_in_range(disk_syncs - before, 1, AT_ONCE / 10);
}

static void test_failing_disk(void **state)
{
	static const char *const prefixes[] = { "/", NULL };
	struct kv_answer answer;
	int64_t revision = must_put(kv, "/before", "b");

	(void)state;
	watch_log_start(&seen, kv, prefixes, revision, 0);
	turn_until(loop, seen.events == 1);
	disk_fails = true;
	// It is in the log already, whose end would be found after a crash.
	do_write(kv, "/a", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	assert_non_null(strstr(answer.err.msg, path));
	kv_answer_free(&answer);
	do_session_open(kv, 10, &answer);
	assert_int_equal(answer.r, -EIO);
	kv_answer_free(&answer);
	assert_int_equal(count_keys("/"), 1);
	assert_int_equal(now_revision(kv, NULL), revision);
	disk_fails = false;
	assert_int_equal(must_put(kv, "/a", "2"), revision + 1);
	turn_until(loop, seen.events == 2);
	assert_int_equal(seen.downs, 0);
	watch_log_free(&seen);
	reopen();
	assert_int_equal(count_keys("/"), 2);
}

// The database on a file system of 2 MiB, which only this process sees.
static void move_to_small_disk(void)
{
	const char *require = getenv("WEFT_REQUIRE_ALL");

	kv = kv_close(kv);
	if (unshare(CLONE_NEWNS) < 0) {
		if (!require || strcmp(require, "1") != 0)
			skip();
		fail_msg("a mount namespace: %s", strerror(errno));
	}
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("weft", dir.path, "tmpfs", 0, "size=2m"), 0);
	is_mounted = true;
	kv = open_path(0);
}

static void fill_disk(const char *filler)
{
	static const char block[4096];
	int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(close(fd), 0);
}

static void test_full_disk(void **state)
{
	static const char *const prefixes[] = { "/", NULL };
	_cleanup_free_ char *filler = xasprintf("%s/filler", dir.path);
	_cleanup_free_ char *value = xcalloc(1, 20001);
	struct kv_answer answer;
	int64_t revision, session;

	(void)state;
	move_to_small_disk();
	memset(value, 'x', 20000);
	session = open_session(3);
	put_tied("/tied", session);
	revision = must_put(kv, "/before", "b");
	watch_log_start(&seen, kv, prefixes, revision, 0);
	turn_until(loop, seen.events == 1);
	fill_disk(filler);
	for (int i = 0; i < 3; i++) {
		do_write(kv, "/large", value, -1, 0, &answer);
		assert_int_equal(answer.r, -ENOSPC);
		assert_non_null(strstr(answer.err.msg, "no room"));
		kv_answer_free(&answer);
	}
	// Nobody can renew a session now, so none ends.
	turn_for_ms(4000);
	assert_int_equal(count_keys("/tied"), 1);
	assert_int_equal(now_revision(kv, NULL), revision);
	assert_int_equal(unlink(filler), 0);
	do_session_keep_alive(kv, session, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
	must_put(kv, "/large", value);
	turn_until(loop, seen.events == 2);
	assert_int_equal(seen.last_revision, revision + 1);
	assert_int_equal(seen.downs, 0);
	turn_until(loop, seen.events == 3);
	watch_log_free(&seen);
	assert_int_equal(count_keys("/tied"), 0);
}

// One that does not fit takes no other with it, though both are in one transaction.
static void test_full_disk_for_one(void **state)
{
	_cleanup_free_ char *filler = xasprintf("%s/filler", dir.path);
	_cleanup_free_ char *value = xcalloc(1, 1000001);
	struct kv_write small = { .key = "/small", .value = "s", .value_len = 1 };
	struct kv_write large = { .key = "/large", .value = value, .value_len = 1000000 };
	struct kv_txn txns[] = { { .writes = &small, .write_count = 1 },
				 { .writes = &large, .write_count = 1 } };
	struct kv_answer answers[2];

	(void)state;
	move_to_small_disk();
	memset(value, 'x', 1000000);
	// Written once, so that the log has room for a small one.
	put_many("/room/", 10, 10000);
	fill_disk(filler);
	assert_int_equal(truncate(filler, 1024 * 1024), 0);
	start_txn(kv, &txns[1], &answers[1]);
	start_txn(kv, &txns[0], &answers[0]);
	turn_until(loop, answers[0].done && answers[1].done);
	check(answers[0].succeeded, "%s", answers[0].err.msg);
	assert_int_equal(answers[1].r, -ENOSPC);
	kv_answer_free(&answers[0]);
	kv_answer_free(&answers[1]);
	assert_int_equal(count_keys("/small"), 1);
	assert_int_equal(count_keys("/large"), 0);
}

static void test_too_large(void **state)
{
	_cleanup_free_ char *value = xcalloc(1, 1600001);
	struct kv_answer answer;

	(void)state;
	memset(value, 'x', 1600000);
	do_write(kv, "/large", value, -1, 0, &answer);
	assert_int_equal(answer.r, -E2BIG);
	kv_answer_free(&answer);
	assert_int_equal(count_keys("/"), 0);
}

// A write that must wait for somebody else has a deadline, and the loop goes on meanwhile.
static void test_deadline(void **state)
{
	struct kv_answer answer;

	(void)state;
	raw = open_raw();
	other = open_path(200);
	assert_int_equal(sqlite3_exec(raw, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	(void)loop_longest_hold_ms(loop);
	do_write(other, "/a", "1", 0, 0, &answer);
	assert_int_equal(answer.r, -EINPROGRESS);
	kv_answer_free(&answer);
	do_session_open(other, 1000, &answer);
	assert_int_equal(answer.r, -ETIMEDOUT);
	kv_answer_free(&answer);
	assert_true(loop_longest_hold_ms(loop) < 100);
	assert_int_equal(sqlite3_exec(raw, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	must_put(kv, "/behind", "b");
	assert_int_equal(count_keys("/a"), 1);
	// The session that nobody heard of goes.
	turn_until(loop, raw_number("SELECT count(*) FROM session") == 0);
}

// A range of many is told over several turns, and its client may close between them.
static void test_close_within_range(void **state)
{
	struct kv_answer answer;

	(void)state;
	other = open_path(0);
	put_many("/many/", 3000, 1);
	start_range(other, "/many/", true, &answer);
	turn_until(loop, answer.pair_count > 0);
	assert_in_range(answer.pair_count, 1, 2999);
	other = kv_close(other);
	assert_int_equal(count_keys("/many/"), 3000);
	assert_false(answer.done);
	kv_answer_free(&answer);
}

#define SQLITE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		SQLITE_TEST(test_reopen),
		SQLITE_TEST(test_time_without_the_store_does_not_count),
		SQLITE_TEST(test_expiry_is_one_revision),
		SQLITE_TEST(test_bounded_history),
		SQLITE_TEST(test_mode),
		SQLITE_TEST(test_no_path),
		SQLITE_TEST(test_corrupt_file),
		SQLITE_TEST(test_empty_file),
		SQLITE_TEST(test_half_made_file),
		SQLITE_TEST(test_newer_schema),
		SQLITE_TEST(test_other_database),
		SQLITE_TEST(test_no_place),
		SQLITE_TEST(test_second_process),
		SQLITE_TEST(test_killed_while_writing),
		SQLITE_TEST(test_answers_wait_for_the_disk),
		SQLITE_TEST(test_group_commit),
		SQLITE_TEST(test_failing_disk),
		SQLITE_TEST(test_full_disk),
		SQLITE_TEST(test_full_disk_for_one),
		SQLITE_TEST(test_too_large),
		SQLITE_TEST(test_deadline),
		SQLITE_TEST(test_close_within_range),
	};

	return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
