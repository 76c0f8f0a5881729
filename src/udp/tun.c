// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the TUN device: its queues and what the kernel leaves to us on them.
#include "udp/tun.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "udp/vnet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

// Linux 6.2; headers of older kernels do not have them.
enum { OFFLOAD_USO4 = 0x20, OFFLOAD_USO6 = 0x40 };

static int open_queue(const char *name, bool several, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	if (fd < 0)
		return err_set(e, -errno, "/dev/net/tun: %s", strerror(errno));
	if (several)
		request.ifr_flags |= IFF_MULTI_QUEUE;
	if (text_copy(request.ifr_name, sizeof(request.ifr_name), name) < 0)
		return err_set(e, -EINVAL, "'%s' is too long for the name of a device", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		int r = -errno;
		if (r == -EBUSY)
			return err_set(e, r, "device %s is in use by another program", name);
		return err_set(e, r, "device %s: %s", name, strerror(-r));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int tun_open(const char *name, unsigned int count, int *ret_fds, struct err *e)
{
	int fds[TUN_QUEUES_MAX] = { 0 };
	for (unsigned int i = 0; i < count; i++) {
		int r = open_queue(name, count > 1, &fds[i], e);
		if (r < 0) {
			while (i-- > 0)
				close(fds[i]);
			return r;
		}
	}
	memcpy(ret_fds, fds, count * sizeof(fds[0]));
	return 0;
}

int tun_negotiate(int fd, struct tun_features *ret, struct err *e)
{
	static const struct {
		unsigned int flags;
		struct tun_features features;
	} wishes[] = {
		// The kernel grants USO for both families or for none. TUN_F_TSO_ECN is left out: packets that
		// announce a smaller window are rare, and cut by the kernel.
		{ TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | OFFLOAD_USO4 | OFFLOAD_USO6, { true, true } },
		{ TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6, { true, false } },
		{ 0, { false, false } },
	};
	int header = VNET_HEADER, little = 1;
	if (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return err_set(e, -errno, "the device's packet header: %s", strerror(errno));
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ && ioctl(fd, TUNSETVNETLE, &little) < 0)
		return err_set(e, -errno, "the device's byte order: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
		if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)wishes[i].flags) == 0) {
			*ret = wishes[i].features;
			return 0;
		}
	}
	return err_set(e, -errno, "the device's offloads: %s", strerror(errno));
}

int tun_set_queue_len(const char *name, unsigned int packets, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_qlen = (int)packets };
	if (fd < 0 || text_copy(request.ifr_name, sizeof(request.ifr_name), name) < 0 ||
	    ioctl(fd, SIOCSIFTXQLEN, &request) < 0)
		return err_set(e, -errno, "queue of device %s: %s", name, strerror(errno));
	return 0;
}

static int set_sysctl(const char *family, const char *name, const char *setting)
{
	char path[96 + IFNAMSIZ];
	int r = text_format(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, name, setting);
	_cleanup_close_ int fd = r < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "1", 1) != 1 ? -errno : 0;
}

int tun_accept_own_source(const char *name)
{
	return set_sysctl("ipv4", name, "accept_local");
}

int tun_without_link_local(const char *name)
{
	return set_sysctl("ipv6", name, "addr_gen_mode"); // 1: IN6_ADDR_GEN_MODE_NONE
}
