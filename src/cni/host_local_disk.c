// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: host-local's directory of one network. Names, contents and modes are those of the reference plugin.
#include "cni/host_local_disk.h"

#include "cni/deadline.h"
#include "cni/small_file.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OWNER_MAX 512 // bytes of a file that names an owner; longer ones are of no attachment

// All of path, which is changed for the time of the call.
static int make_directories(char *path)
{
	for (char *at = path + 1;; at++) {
		char kept = *at;

		if (kept != '/' && kept != '\0')
			continue;
		*at = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		*at = kept;
		if (kept == '\0')
			return 0;
	}
}

static int open_directory(const char *path, int *ret, struct fault *fault)
{
	_cleanup_free_ char *copy = xstrdup(path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		if (make_directories(copy) < 0)
			return fault_set(fault, FAULT_IO, "cannot make %s: %s", path, strerror(errno));
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return fault_set(fault, FAULT_IO, "cannot open %s: %s", path, strerror(errno));
	*ret = fd;
	return 0;
}

int disk_open(struct disk *ret, const char *data_dir, const char *network, struct fault *fault)
{
	struct disk disk = { .directory = -1, .lock = -1 };
	char path[PATH_MAX];
	int r;

	if (data_dir[0] != '/' || text_format(path, sizeof(path), "%s/%s", data_dir, network) < 0)
		return fault_set(fault, FAULT_CONFIG, "dataDir is no absolute path: %s", data_dir);
	r = open_directory(path, &disk.directory, fault);
	if (r < 0)
		return r;
	disk.lock = openat(disk.directory, "lock", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0750);
	if (disk.lock < 0)
		r = fault_set(fault, FAULT_IO, "cannot open %s/lock: %s", path, strerror(errno));
	while (r == 0 && flock(disk.lock, LOCK_EX) < 0) {
		if (errno != EINTR)
			r = fault_set(fault, FAULT_IO, "cannot lock %s/lock: %s", path,
				      strerror(errno));
		else if (deadline_passed())
			r = fault_set(fault, FAULT_AGAIN,
				      "another plugin holds %s/lock for too long", path);
	}
	if (r < 0) {
		disk_close(&disk);
		return r;
	}
	*ret = disk;
	return 0;
}

void disk_close(struct disk *disk)
{
	fd_closep(&disk->lock);
	fd_closep(&disk->directory);
}

// What was in it before is written over and cut then, not cut first: ext4 takes a file that was empty for a moment for one
// that must be on the disk when it is closed.
static int write_over(int directory, const char *name, const char *text, size_t len)
{
	_cleanup_close_ int fd =
		openat(directory, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, len);
	if (n < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOSPC;
}

static void last_name(size_t set, char ret[static 32])
{
	(void)text_format(ret, 32, "last_reserved_ip.%zu", set);
}

static void owner_text(const char *id, const char *ifname, struct strbuf *out)
{
	(void)strbuf_printf(out, "%s\r\n%s", id, ifname);
}

int disk_reserve(const struct disk *disk, const char *id, const char *ifname, const struct ip *ip,
		 size_t set, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf owner = STRBUF_INIT(OWNER_MAX);
	char name[IP_STR_MAX], last[32];
	int r;

	owner_text(id, ifname, &owner);
	if (owner.overflow)
		return fault_set(fault, FAULT_ENVIRONMENT, "the container's id is too long");
	(void)ip_str(ip, name);
	// The usual case while a free one is looked for, and cheaper than making a file for nothing.
	if (faccessat(disk->directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	// Never for a moment without its owner, who could not release it then.
	r = small_file_create_at(disk->directory, name, owner.data, owner.len, 0644);
	if (r == -EEXIST)
		return r;
	if (r == 0) {
		last_name(set, last);
		r = write_over(disk->directory, last, name, strlen(name));
	}
	if (r < 0) {
		(void)unlinkat(disk->directory, name, 0);
		return fault_set(fault, FAULT_IO, "cannot reserve %s: %s", name, strerror(-r));
	}
	return 0;
}

void disk_give_back(const struct disk *disk, const struct ip *ip)
{
	char name[IP_STR_MAX];

	(void)unlinkat(disk->directory, ip_str(ip, name), 0);
}

// Trimmed as Go trims; cut at OWNER_MAX. "" when unreadable.
static void read_text(int directory, const char *name, char ret[static OWNER_MAX + 1])
{
	_cleanup_close_ int fd =
		openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char *at = ret;
	ssize_t n = fd < 0 ? -1 : read(fd, ret, OWNER_MAX);

	ret[n > 0 ? n : 0] = '\0';
	while (*at && strchr(" \t\r\n\v\f", *at))
		at++;
	memmove(ret, at, strlen(at) + 1);
	for (size_t len = strlen(ret); len > 0 && strchr(" \t\r\n\v\f", ret[len - 1]); len--)
		ret[len - 1] = '\0';
}

struct ip disk_last(const struct disk *disk, size_t set)
{
	char text[OWNER_MAX + 1], name[32];
	struct ip ip = { 0 };

	last_name(set, name);
	read_text(disk->directory, name, text);
	(void)ip_parse(text, &ip); // what is no address costs only the order
	return ip;
}

// Called for each address; owner is what its file says.
typedef void disk_address_fn(void *arg, const char *name, const struct ip *ip, const char *owner);

static int walk(const struct disk *disk, disk_address_fn *fn, void *arg, struct fault *fault)
{
	int copy = openat(disk->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	char owner[OWNER_MAX + 1];
	struct dirent *entry;
	struct ip ip;

	if (!directory) {
		fd_closep(&copy);
		return fault_set(fault, FAULT_IO, "cannot read the directory of addresses: %s",
				 strerror(errno));
	}
	while ((entry = readdir(directory))) {
		if (ip_parse(entry->d_name, &ip) < 0)
			continue;
		read_text(disk->directory, entry->d_name, owner);
		fn(arg, entry->d_name, &ip, owner);
	}
	(void)closedir(directory);
	return 0;
}

struct search {
	const struct disk *disk;
	const char *owner; // what the file has to say
	const char *id;
	bool bare; // some file has the id alone
	bool remove;
	struct ip *found;
	size_t max, count;
};

static void look(void *arg, const char *name, const struct ip *ip, const char *owner)
{
	struct search *search = arg;

	if (strcmp(owner, search->owner) != 0) {
		search->bare |= strcmp(owner, search->id) == 0;
		return;
	}
	if (search->remove)
		(void)unlinkat(search->disk->directory, name, 0);
	if (search->count < search->max)
		search->found[search->count] = *ip;
	search->count++;
}

// By id and interface; when there is none, by the id alone, as host-local before 0.7 wrote it.
static int search_owner(struct search *search, const char *id, const char *ifname, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf owner = STRBUF_INIT(OWNER_MAX);
	int r;

	owner_text(id, ifname, &owner);
	search->id = id;
	search->owner = strbuf_text(&owner);
	r = walk(search->disk, look, search, fault);
	if (r == 0 && search->count == 0 && search->bare) {
		search->owner = id;
		r = walk(search->disk, look, search, fault);
	}
	return r;
}

int disk_find(const struct disk *disk, const char *id, const char *ifname, struct ip *ret,
	      size_t max, size_t *ret_count, struct fault *fault)
{
	struct search search = { .disk = disk, .found = ret, .max = max };
	int r = search_owner(&search, id, ifname, fault);

	if (r == 0)
		*ret_count = search.count < max ? search.count : max;
	return r;
}

int disk_release(const struct disk *disk, const char *id, const char *ifname, struct fault *fault)
{
	struct search search = { .disk = disk, .remove = true };

	return search_owner(&search, id, ifname, fault);
}

struct sweep {
	const struct disk *disk;
	disk_kept_fn *kept;
	void *arg;
};

static void sweep_one(void *arg, const char *name, const struct ip *ip, const char *owner)
{
	struct sweep *sweep = arg;
	char id[OWNER_MAX + 1];
	size_t len = strcspn(owner, "\r\n");
	const char *ifname = owner + len + strspn(owner + len, "\r\n");

	(void)ip;
	memcpy(id, owner, len);
	id[len] = '\0';
	if (!sweep->kept(sweep->arg, id, ifname))
		(void)unlinkat(sweep->disk->directory, name, 0);
}

int disk_sweep(const struct disk *disk, disk_kept_fn *kept, void *arg, struct fault *fault)
{
	struct sweep sweep = { .disk = disk, .kept = kept, .arg = arg };

	return walk(disk, sweep_one, &sweep, fault);
}
