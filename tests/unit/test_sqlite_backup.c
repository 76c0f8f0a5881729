// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of backup, restore and check of the embedded store's file.
#include "unit.h"

#include "core/mem.h"
#include "io/file.h"
#include "kv_client.h"
#include "loop_end.h"
#include "store/sqlite.h"
#include "store/sqlite_backup.h"
#include "temporary_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct temporary_dir dir;
static struct loop *loop;
static struct kv *kv;
static char *database;
static char *backup;
static struct sqlite_summary summary;
static struct err err;

static struct kv *open_store(void)
{
	struct store_config config = { .kind = "sqlite", .path = database };
	struct kv *opened;

	check(kv_open(loop, &config, &opened, &err) == 0, "%s", err.msg);
	return opened;
}

static int setup(void **state)
{
	(void)state;
	temporary_dir_make(&dir);
	database = xasprintf("%s/weft.db", dir.path);
	backup = xasprintf("%s/backup", dir.path);
	loop = loop_new();
	kv = open_store();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kv = kv_close(kv);
	loop = loop_end(loop);
	free(database);
	free(backup);
	temporary_dir_remove(&dir);
	return 0;
}

static void must_back_up(void)
{
	check(sqlite_backup(database, backup, &summary, &err) == 0, "%s", err.msg);
}

// Nothing but what belongs there: no half-made copy.
static void check_files(size_t expected)
{
	DIR *directory = opendir(dir.path);
	const struct dirent *entry;
	size_t count = 0;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		if (entry->d_name[0] != '.')
			count++;
	assert_int_equal(closedir(directory), 0);
	assert_int_equal(count, expected);
}

static void overwrite(const char *path, long offset, size_t len)
{
	_cleanup_free_ char *junk = xmalloc(len);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	memset(junk, 0xa5, len);
	assert_int_equal(pwrite(fd, junk, len, offset), len);
	assert_int_equal(close(fd), 0);
}

static size_t count_keys(void)
{
	struct kv_answer answer;

	do_range(kv, "/", true, &answer);
	assert_int_equal(answer.r, 0);
	kv_answer_free(&answer);
	return answer.pair_count;
}

static void test_backup_while_in_use(void **state)
{
	int64_t revision;
	struct stat st;

	(void)state;
	must_put(kv, "/a", "1");
	must_back_up();
	revision = must_put(kv, "/b", "2");
	must_back_up();
	assert_int_equal(summary.revision, revision);
	assert_int_equal(summary.keys, 2);
	assert_int_equal(summary.sessions, 0);
	assert_int_equal(stat(backup, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	check_files(5); // database, log, its index, lock, backup
	must_put(kv, "/c", "3");
	check(sqlite_check(backup, &summary, &err) == 0, "%s", err.msg);
	assert_int_equal(summary.revision, revision);
	check(sqlite_check(database, &summary, &err) == 0, "%s", err.msg);
	assert_int_equal(summary.revision, revision + 1);
}

static void test_restore(void **state)
{
	static const char *const prefixes[] = { "/", NULL };
	struct watch_log log;
	uint64_t cluster_id, before;
	int64_t revision;

	(void)state;
	must_put(kv, "/a", "1");
	revision = now_revision(kv, &before);
	must_back_up();
	must_put(kv, "/b", "2");
	assert_int_equal(sqlite_restore(database, backup, &summary, &err), -EBUSY);
	check(strstr(err.msg, "in use"), "%s", err.msg);
	assert_int_equal(count_keys(), 2);

	kv = kv_close(kv);
	check(sqlite_restore(database, backup, &summary, &err) == 0, "%s", err.msg);
	assert_int_equal(summary.revision, revision);
	check_files(3);
	kv = open_store();
	assert_int_equal(count_keys(), 1);
	assert_int_equal(now_revision(kv, &cluster_id), revision);
	// Whoever saw what is lost must not go on from there.
	assert_true(cluster_id != before);
	must_put(kv, "/c", "3");
	watch_log_start(&log, kv, prefixes, revision + 2, before);
	turn_until(loop, log.losts == 1);
	assert_true(log.store_changed);
	watch_log_free(&log);
}

// The log that a store leaves when it is killed must not be taken for the restored file's.
static void test_restore_over_a_killed_one(void **state)
{
	_cleanup_free_ char *log_path = xasprintf("%s-wal", database);
	_cleanup_free_ char *log = NULL;
	size_t len;

	(void)state;
	must_put(kv, "/a", "1");
	must_back_up();
	must_put(kv, "/b", "2");
	assert_int_equal(file_read(log_path, 1024 * 1024, &log, &len, &err), 0);
	assert_true(len > 4096);
	kv = kv_close(kv);
	assert_int_equal(file_write_atomic(log_path, log, len, 0600, &err), 0);
	check(sqlite_restore(database, backup, &summary, &err) == 0, "%s", err.msg);
	assert_int_equal(access(log_path, F_OK), -1);
	kv = open_store();
	assert_int_equal(count_keys(), 1);
}

static void test_restore_over_a_corrupt_one(void **state)
{
	(void)state;
	must_put(kv, "/a", "1");
	must_back_up();
	kv = kv_close(kv);
	overwrite(database, 0, 4096);
	assert_int_equal(sqlite_check(database, &summary, &err), -EUCLEAN);
	check(strstr(err.msg, "weft store restore FILE"), "%s", err.msg);
	check(sqlite_restore(database, backup, &summary, &err) == 0, "%s", err.msg);
	kv = open_store();
	assert_int_equal(count_keys(), 1);
}

static void test_refusals(void **state)
{
	_cleanup_free_ char *none = xasprintf("%s/none", dir.path);
	_cleanup_free_ char *far_away = xasprintf("%s/none/there", dir.path);
	char value[3001] = "";

	(void)state;
	memset(value, 'v', 3000);
	for (int i = 0; i < 20; i++)
		must_put(kv, "/key", value);
	must_back_up();
	kv = kv_close(kv);
	assert_int_equal(sqlite_backup(none, backup, &summary, &err), -ENOENT);
	assert_int_equal(sqlite_restore(database, none, &summary, &err), -ENOENT);
	assert_int_equal(sqlite_check(none, &summary, &err), -ENOENT);
	assert_int_equal(sqlite_backup(database, far_away, &summary, &err), -ENOENT);
	assert_int_equal(access(none, F_OK), -1);

	// A backup that is not sound takes no database's place.
	overwrite(backup, 12L * 4096, 4096);
	assert_int_equal(sqlite_restore(database, backup, &summary, &err), -EUCLEAN);
	check_files(3);
	overwrite(backup, 0, 100);
	assert_int_equal(sqlite_restore(database, backup, &summary, &err), -EUCLEAN);
	check_files(3);
	kv = open_store();
	assert_int_equal(count_keys(), 1);
}

#define BACKUP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		BACKUP_TEST(test_backup_while_in_use),
		BACKUP_TEST(test_restore),
		BACKUP_TEST(test_restore_over_a_killed_one),
		BACKUP_TEST(test_restore_over_a_corrupt_one),
		BACKUP_TEST(test_refusals),
	};

	return cmocka_run_group_tests_name("sqlite_backup", tests, NULL, NULL);
}
