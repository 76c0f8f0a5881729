// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the checks of `weft doctor` that look at the kernel of this host.
#include "cli/doctor.h"

#include "cli/show.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <dirent.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1024 * 1024)
#define FULL_PERCENT 80

// ---- looking ----

char *doctor_file(const char *path)
{
	char *text = NULL;
	size_t len;

	return file_read(path, FILE_MAX, &text, &len, NULL) < 0 ? xstrdup("") : text;
}

// As sysctl(8): a dot parts, and a slash stands for a dot inside a name ("eth0/100").
char *doctor_switch_path(const char *key)
{
	char *path = xasprintf("/proc/sys/%s", key);

	for (char *at = path + strlen("/proc/sys/"); *at; at++)
		*at = *at == '.' ? '/' : *at == '/' ? '.' : *at;
	return path;
}

// Of the key's form for a device.
static char *device_key(const char *format, const char *device)
{
	_cleanup_free_ char *name = xstrdup(device);

	for (char *at = name; *at; at++)
		*at = *at == '.' ? '/' : *at;
	return xasprintf("%s.%s", format, name);
}

static bool read_number(const char *path, int64_t *ret)
{
	_cleanup_free_ char *text = doctor_file(path);
	const char *at = text;
	uint64_t value;

	if (!parse_u64(&at, INT64_MAX, &value))
		return false;
	*ret = (int64_t)value;
	return true;
}

bool doctor_switch(const char *key, int64_t *ret)
{
	_cleanup_free_ char *path = doctor_switch_path(key);

	return read_number(path, ret);
}

static bool is_in_our_network(const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/ns/net", pid);
	struct stat theirs, ours;

	return stat(path, &theirs) == 0 && stat("/proc/self/ns/net", &ours) == 0 &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

static bool has_name(const char *pid, const char *name)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/comm", pid);
	_cleanup_free_ char *comm = doctor_file(path);
	size_t len = strlen(name);

	return strncmp(comm, name, len) == 0 && comm[len] == '\n';
}

bool doctor_program_runs(const char *name)
{
	DIR *directory = opendir("/proc");
	bool found = false;

	if (!directory)
		return false;
	for (const struct dirent *entry = readdir(directory); entry && !found;
	     entry = readdir(directory))
		found = entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
			has_name(entry->d_name, name) && is_in_our_network(entry->d_name);
	closedir(directory);
	return found;
}

// ---- forwarding ----

static bool has_family(const struct doctor *doctor, const char *member)
{
	return *show_text(show_member(doctor->status, "network"), member) != '\0';
}

void doctor_ip_forward(struct doctor *doctor)
{
	int64_t value;

	if (has_family(doctor, "network") && doctor_switch("net.ipv4.ip_forward", &value) && value == 0)
		doctor_find_switch(doctor, "net.ipv4.ip_forward", "1", "IPv4 is not forwarded");
	if (has_family(doctor, "ipv6_network") &&
	    doctor_switch("net.ipv6.conf.all.forwarding", &value) && value == 0)
		doctor_find_switch(doctor, "net.ipv6.conf.all.forwarding", "1",
				   "IPv6 is not forwarded");
}

// The kernel takes the higher of the device's and that of all: 1 is strict, 2 loose.
static void check_rp_filter(struct doctor *doctor, const char *device)
{
	_cleanup_free_ char *name = device_key("net.ipv4.conf", device);
	_cleanup_free_ char *key = xasprintf("%s.rp_filter", name);
	int64_t all = 0, own = 0;

	(void)doctor_switch("net.ipv4.conf.all.rp_filter", &all);
	if (doctor_switch(key, &own) && (own > all ? own : all) == 1)
		doctor_find_switch(doctor, key, "2", "the reverse path filter of %s is strict", device);
}

void doctor_rp_filter(struct doctor *doctor)
{
	const char *device;

	for (size_t i = 0; (device = doctor_device(doctor, i)); i++)
		check_rp_filter(doctor, device);
	if ((device = doctor_interface(doctor)))
		check_rp_filter(doctor, device);
}

// Only a host with services (kube-proxy) needs it.
void doctor_bridge_nf(struct doctor *doctor)
{
	int64_t value;

	if (!doctor_program_runs("kubelet") && !doctor_program_runs("kube-proxy"))
		return;
	if (!doctor_switch("net.bridge.bridge-nf-call-iptables", &value))
		doctor_find(doctor, "modprobe br_netfilter", "the module br_netfilter is not loaded");
	else if (value == 0)
		doctor_find_switch(doctor, "net.bridge.bridge-nf-call-iptables", "1",
				   "packets that are bridged pass by the firewall");
}

// ---- tables that fill up ----

void doctor_conntrack(struct doctor *doctor)
{
	int64_t count, max;

	if (!doctor_switch("net.netfilter.nf_conntrack_count", &count) ||
	    !doctor_switch("net.netfilter.nf_conntrack_max", &max) || max == 0)
		return;
	if (count * 100 >= max * FULL_PERCENT) {
		_cleanup_free_ char *mend = xasprintf("sysctl -w net.netfilter.nf_conntrack_max=%lld",
						      (long long)max * 4);

		doctor_find(doctor, mend, "%lld of %lld connections are tracked", (long long)count,
			    (long long)max);
	}
}

// /proc/net/arp: a line of names, then one for each; complete and permanent ones have the flags 0x6.
static size_t count_neighbours(const char *table)
{
	size_t count = 0;

	for (const char *line = strchr(table, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
		_cleanup_free_ char *text = xstrndup(line + 1, strcspn(line + 1, "\n"));

		count += strstr(text, " 0x6 ") == NULL;
	}
	return count;
}

// Entries that we make are permanent and, since Linux 5.0, not counted; those of containers, and of hosts on the same segment, are.
void doctor_neighbours(struct doctor *doctor)
{
	_cleanup_free_ char *table = doctor_file("/proc/net/arp");
	_cleanup_free_ char *mend = NULL;
	size_t count = count_neighbours(table);
	int64_t max;

	if (!doctor_switch("net.ipv4.neigh.default.gc_thresh3", &max) || max <= 0)
		return;
	if ((int64_t)count * 100 < max * FULL_PERCENT)
		return;
	mend = xasprintf("sysctl -w net.ipv4.neigh.default.gc_thresh3=%lld", (long long)max * 4);
	doctor_find(doctor, mend, "%zu neighbours are known, and there is room for %lld", count,
		    (long long)max);
}

// ---- devices ----

static const struct {
	const char *backend;
	const char *module;
} modules[] = {
	{ "vxlan", "vxlan" },
	{ "ipip", "ipip" },
	{ "wireguard", "wireguard" },
	{ "udp", "tun" },
};

// A kernel with it built in has no directory either, but then the device is there.
void doctor_module(struct doctor *doctor)
{
	const char *device = doctor_device(doctor, 0);

	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		const char *module = modules[i].module;
		_cleanup_free_ char *path = xasprintf("/sys/module/%s", module);
		_cleanup_free_ char *mend = xasprintf("modprobe %s", module);

		if (strcmp(doctor_backend(doctor), modules[i].backend) != 0 ||
		    access(path, F_OK) == 0 || (device && doctor_ifindex(device) != 0))
			continue;
		doctor_find(doctor, mend, "the module %s is not loaded, and %s is not there",
			    module, device ? device : "its device");
	}
}

static int ask_device(const char *device, unsigned long request, struct ifreq *ifreq)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(device) >= sizeof(ifreq->ifr_name))
		return -1;
	(void)text_copy(ifreq->ifr_name, sizeof(ifreq->ifr_name), device);
	return ioctl(fd, request, ifreq);
}

static bool is_in_own_subnet(const struct doctor *doctor, const struct ifaddrs *address)
{
	const char *text = show_text(show_member(doctor->status, "lease"), "subnet");
	const struct sockaddr_in *v4;
	struct ipnet subnet;
	struct ip ip;

	if (!address->ifa_addr || address->ifa_addr->sa_family != AF_INET ||
	    ipnet_parse(text, &subnet) < 0)
		return false;
	v4 = (const void *)address->ifa_addr;
	ip = ip_from_bytes(AF_INET, &v4->sin_addr);
	return ipnet_contains(&subnet, &ip);
}

static bool is_ours(const struct doctor *doctor, const char *name)
{
	const char *device;

	for (size_t i = 0; (device = doctor_device(doctor, i)); i++)
		if (strcmp(device, name) == 0)
			return true;
	return false;
}

// What the network can carry: of the device, or of the interface where there is none.
static int64_t network_mtu(const struct doctor *doctor)
{
	const json_t *devices = show_member(show_member(doctor->status, "backend"), "devices");
	const json_t *first = json_array_get(devices, 0);

	return show_number(first ? first : show_member(doctor->status, "interface"), "mtu");
}

// The bridge of the containers, by its address.
void doctor_bridge_mtu(struct doctor *doctor)
{
	int64_t mtu = network_mtu(doctor);
	struct ifaddrs *addresses;

	if (mtu == 0 || getifaddrs(&addresses) < 0)
		return;
	for (const struct ifaddrs *at = addresses; at; at = at->ifa_next) {
		_cleanup_free_ char *mend =
			xasprintf("ip link set %s mtu %lld", at->ifa_name, (long long)mtu);
		struct ifreq ifreq = { 0 };

		if (!is_in_own_subnet(doctor, at) || is_ours(doctor, at->ifa_name) ||
		    ask_device(at->ifa_name, SIOCGIFMTU, &ifreq) < 0 || ifreq.ifr_mtu <= mtu)
			continue;
		doctor_find(doctor, mend, "the MTU of %s is %d, and %lld is what gets through",
			    at->ifa_name, ifreq.ifr_mtu, (long long)mtu);
	}
	freeifaddrs(addresses);
}

// ---- checksums ----

static bool offloads_checksums(const char *device)
{
	struct ethtool_value value = { .cmd = ETHTOOL_GTXCSUM };
	struct ifreq ifreq = { .ifr_data = (void *)&value };

	return ask_device(device, SIOCETHTOOL, &ifreq) == 0 && value.data != 0;
}

// The number in the column of this name: /proc/net/snmp has a line of names and one of numbers for each protocol.
static int64_t snmp_number(const char *text, const char *protocol, const char *column)
{
	const char *names = strstr(text, protocol);
	const char *numbers = names ? strstr(names + 1, protocol) : NULL;
	size_t len = strlen(column);
	uint64_t value;

	while (names && numbers) {
		names = strchr(names, ' ');
		numbers = strchr(numbers, ' ');
		if (!names || !numbers)
			return 0;
		names++;
		numbers++;
		if (strncmp(names, column, len) == 0 && (names[len] == ' ' || names[len] == '\n'))
			return parse_u64(&numbers, INT64_MAX, &value) ? (int64_t)value : 0;
	}
	return 0;
}

void doctor_checksums(struct doctor *doctor)
{
	_cleanup_free_ char *text = doctor_file("/proc/net/snmp");
	int64_t bad = snmp_number(text, "\nUdp:", "InCsumErrors") +
		      snmp_number(text, "\nTcp:", "InCsumErrors");
	const char *device = doctor_device(doctor, 0);
	_cleanup_free_ char *mend = NULL;

	if (bad == 0 || !device || !offloads_checksums(device))
		return;
	mend = xasprintf("ethtool -K %s tx-checksum-ip-generic off", device);
	doctor_find(doctor, mend,
		    "%lld packets came with wrong checksums, and %s leaves checksums to the card",
		    (long long)bad, device);
}
