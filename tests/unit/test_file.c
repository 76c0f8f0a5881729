// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of io/file.
#include "unit.h"

#include "core/mem.h"
#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static unsigned int syncs;

// In place of libc's: they wait for the disk.
int fsync(int fd)
{
	(void)fd;
	syncs++;
	return 0;
}

int fdatasync(int fd)
{
	return fsync(fd);
}

static int setup(void **state)
{
	(void)state;
	memcpy(directory, "/tmp/weft-test-file-XXXXXX", sizeof("/tmp/weft-test-file-XXXXXX"));
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	(void)state;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	closedir(dir);
	return chdir("/") == 0 && rmdir(directory) == 0 ? 0 : -1;
}

static size_t count_files(void)
{
	DIR *dir = opendir(".");
	struct dirent *entry;
	size_t count = 0;

	while ((entry = readdir(dir)))
		count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return count;
}

static void check_content(const char *path, const char *want, mode_t mode)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(file_read(path, 1000, &text, &len, NULL), 0);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void test_write_and_read(void **state)
{
	mode_t old = umask(077);

	(void)state;
	assert_int_equal(file_write_atomic("a", "one", 3, 0, NULL), 0);
	check_content("a", "one", 0644);
	assert_int_equal(file_write_atomic("a", "two\n", 4, 0600, NULL), 0);
	check_content("a", "two\n", 0600);
	assert_int_equal(file_write_atomic("a", "", 0, 0, NULL), 0);
	check_content("a", "", 0600); // its own
	assert_int_equal(file_write_atomic("b", "x", 1, 0666, NULL), 0);
	check_content("b", "x", 0666); // whatever the umask
	assert_int_equal(count_files(), 2);
	umask(old);
}

// Who has the old file open goes on reading it whole, and nobody waits for the disk.
static void test_write_is_atomic_and_waits_for_nothing(void **state)
{
	_cleanup_close_ int old = -1;
	char text[8] = "";

	(void)state;
	syncs = 0;
	assert_int_equal(file_write_atomic("a", "one", 3, 0, NULL), 0);
	old = open("a", O_RDONLY | O_CLOEXEC);
	assert_int_equal(file_write_atomic("a", "three", 5, 0, NULL), 0);
	assert_int_equal(read(old, text, sizeof(text)), 3);
	assert_string_equal(text, "one");
	check_content("a", "three", 0644);
	assert_int_equal(syncs, 0);
}

static void test_unchanged_is_not_written(void **state)
{
	struct stat before;
	struct stat after;

	(void)state;
	assert_int_equal(file_write_atomic("a", "one", 3, 0640, NULL), 0);
	assert_int_equal(stat("a", &before), 0);
	assert_int_equal(file_write_atomic("a", "one", 3, 0640, NULL), 0);
	assert_int_equal(stat("a", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_int_equal(file_write_atomic("a", "onE", 3, 0640, NULL), 0);
	assert_int_equal(stat("a", &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	// The same content with another mode is a change.
	assert_int_equal(file_write_atomic("a", "onE", 3, 0600, NULL), 0);
	check_content("a", "onE", 0600);
}

static void test_directories_are_made(void **state)
{
	struct stat st;
	mode_t old = umask(077);

	(void)state;
	assert_int_equal(file_write_atomic("d/file", "x", 1, 0, NULL), 0);
	check_content("d/file", "x", 0644);
	assert_int_equal(stat("d", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(unlink("d/file"), 0);
	assert_int_equal(rmdir("d"), 0);

	assert_int_equal(directory_make("e//f/", 0700, NULL), 0);
	assert_int_equal(stat("e/f", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(stat("e", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(directory_make("e/f", 0755, NULL), 0);
	assert_int_equal(stat("e/f", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700); // an existing one stays as it is
	assert_int_equal(rmdir("e/f"), 0);
	umask(old);
}

static void check_fails(int r, int want, const struct err *e, const char *path)
{
	assert_int_equal(r, want);
	assert_int_equal(e->code, want);
	check(strstr(e->msg, path), "\"%s\" does not name %s", e->msg, path);
}

static void test_errors(void **state)
{
	char *untouched = directory;
	size_t len = 5;
	struct err e;

	(void)state;
	check_fails(file_read("none", 10, &untouched, &len, &e), -ENOENT, &e, "none");
	check_fails(file_read(".", 10, &untouched, &len, &e), -EINVAL, &e, ".");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	check_fails(file_read("fifo", 10, &untouched, &len, &e), -EINVAL, &e, "fifo");
	assert_int_equal(file_write_atomic("a", "0123456789A", 11, 0, NULL), 0);
	check_fails(file_read("a", 10, &untouched, &len, &e), -E2BIG, &e, "a");
	// Files whose size is not told are bounded too.
	check_fails(file_read("/proc/self/status", 10, &untouched, &len, &e), -E2BIG, &e,
		    "/proc/self/status");
	assert_ptr_equal(untouched, directory);
	assert_int_equal(len, 5);
	check_fails(file_write_atomic("a/b", "x", 1, 0, &e), -ENOTDIR, &e, "a");
	assert_int_equal(mkdir("dir", 0755), 0);
	check_fails(file_write_atomic("dir", "x", 1, 0, &e), -EISDIR, &e, "dir");
	check_fails(directory_make("a", 0755, &e), -ENOTDIR, &e, "a");
	assert_int_equal(count_files(), 3); // no temporary file is left
}

static void test_read_of_unknown_size(void **state)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	(void)state;
	assert_int_equal(file_read("/proc/self/status", 65536, &text, &len, NULL), 0);
	assert_true(len > 100);
	assert_int_equal(strlen(text), len);
	assert_non_null(strstr(text, "Pid:"));
}

static void test_exactly_the_limit(void **state)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	(void)state;
	assert_int_equal(file_write_atomic("a", "0123456789", 10, 0, NULL), 0);
	assert_int_equal(file_read("a", 10, &text, &len, NULL), 0);
	assert_int_equal(len, 10);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		FILE_TEST(test_write_is_atomic_and_waits_for_nothing),
		FILE_TEST(test_write_and_read),
		FILE_TEST(test_unchanged_is_not_written),
		FILE_TEST(test_directories_are_made),
		FILE_TEST(test_errors),
		FILE_TEST(test_read_of_unknown_size),
		FILE_TEST(test_exactly_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
