// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft docker-opts.
#include "cli/cli.h"

#include "cli/docker_text.h"
#include "core/mem.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENV_MAX (64 * 1024)
#define ROUTES_MAX ((size_t)64 * 1024 * 1024) // of a host with half a million of them
#define BRIDGE "docker0"
#define OWNERS "/run/weft/subnet-owner"
#define OWNER_MAX_BYTES 256
#define SHORT_ID 12

extern char **environ;

// A file is replaced as a whole; what is none (a pipe, or a link such as /dev/stdout, whatever it leads to) is written to.
static int write_out(const char *path, const struct strbuf *text, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat status;

	if (lstat(path, &status) < 0 || S_ISREG(status.st_mode))
		return file_write_atomic(path, strbuf_text(text), text->len, 0, e);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || write(fd, strbuf_text(text), text->len) != (ssize_t)text->len)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

// The first IPv4 address of Docker's bridge; none: not set.
static struct ip bridge_address(void)
{
	struct ip found = { 0 };
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return found;
	for (const struct ifaddrs *at = list; at && !ip_is_set(&found); at = at->ifa_next) {
		struct sockaddr_in address;

		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET ||
		    strcmp(at->ifa_name, BRIDGE) != 0)
			continue;
		memcpy(&address, at->ifa_addr, sizeof(address));
		found = ip_from_bytes(AF_INET, &address.sin_addr);
	}
	freeifaddrs(list);
	return found;
}

// Docker reads its options when it starts; what it runs with now is on its bridge.
static void tell_of_change(const struct ip *wanted)
{
	struct ip now = bridge_address();
	char a[IP_STR_MAX], b[IP_STR_MAX];

	if (ip_is_set(wanted) && ip_is_set(&now) && !ip_equal(wanted, &now))
		(void)fprintf(stderr,
			      "weft: " BRIDGE " has %s, and by the lease it is to have %s: containers of "
			      "Docker are not reached until it is restarted (systemctl restart docker)\n",
			      ip_str(&now, a), ip_str(wanted, b));
}

// As flannel's script does: with a route for the own subnet by a gateway its containers would not be reached.
static bool is_routed_away(const struct ipnet *subnet)
{
	_cleanup_free_ char *routes = NULL;
	char destination[16], mask[16];
	uint32_t raw, raw_mask;
	size_t len = 0;

	if (subnet->addr.family != AF_INET || subnet->len == 0 ||
	    file_read("/proc/net/route", ROUTES_MAX, &routes, &len, NULL) < 0)
		return false;
	raw_mask = htonl(UINT32_MAX << (32 - subnet->len));
	memcpy(&raw, subnet->addr.bytes, sizeof(raw));
	(void)text_format(destination, sizeof(destination), "\t%08X\t", raw);
	(void)text_format(mask, sizeof(mask), "\t%08X\t", raw_mask);
	for (char *line = routes; *line;) {
		size_t line_len = strcspn(line, "\n");
		bool is_last = line[line_len] == '\0';
		const char *at;

		line[line_len] = '\0';
		at = strstr(line, destination);
		// Interface, destination, gateway, ..., mask, ...
		if (at && at == strchr(line, '\t') && strncmp(at + 10, "00000000", 8) != 0 &&
		    strstr(at + 10, mask))
			return true;
		line += line_len + !is_last;
	}
	return false;
}

// Of "docker-plugin ID", cut as Docker shows it.
static const char *id_in(char *owner)
{
	char *id = owner + strcspn(owner, " ");

	id += strspn(id, " ");
	id[strspn(id, "0123456789abcdef")] = '\0';
	if (strlen(id) > SHORT_ID)
		id[SHORT_ID] = '\0';
	return id;
}

// A subnet has one owner on a host: docker0 must not get one that a network of Docker's has by the agent's plugin.
static int check_owner(const struct ipnet *subnet, struct err *e)
{
	_cleanup_free_ char *owner = NULL, *path = NULL;
	char ip[IP_STR_MAX], net[IPNET_STR_MAX];
	size_t len;

	path = xasprintf(OWNERS "/%s-%u", ip_str(&subnet->addr, ip), subnet->len);
	if (!ipnet_is_set(subnet) || file_read(path, OWNER_MAX_BYTES, &owner, &len, NULL) < 0)
		return 0;
	return err_set(e, -EADDRINUSE,
		       "subnet %s belongs to Docker's network %s, by %s: docker network rm it first, or give "
		       "docker0 another network of weft",
		       ipnet_str(subnet, net), id_in(owner), path);
}

static int read_env(const char *path, char **ret, struct err *e)
{
	size_t len = 0;
	int r = file_read(path, ENV_MAX, ret, &len, e);

	if (r == -ENOENT) {
		*ret = xstrdup("");
		return 0;
	}
	return r;
}

enum cli_exit docker_opts(struct cli *cli)
{
	const struct cli_options *options = cli->options;
	bool is_both = !options->individual && !options->combined;
	struct docker_text_options wanted = { .individual = options->individual || is_both,
					      .combined = options->combined || is_both,
					      .no_masq = options->no_masq,
					      .key = options->docker_key };
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(ENV_MAX * 4);
	_cleanup_free_ char *env = NULL;
	struct ip bridge = { 0 };
	struct ipnet subnet = { 0 };
	struct err e = { 0 };
	int r;

	if (options->json)
		return cli_fail(CLI_USAGE, "`weft docker-opts` writes a file of variables only");
	r = read_env(options->env_file, &env, &e);
	if (r == 0)
		r = docker_text(env, environ, &wanted, &text, &bridge, &subnet, &e);
	if (r == 0)
		r = check_owner(&subnet, &e);
	if (r == 0)
		r = write_out(options->docker_file, &text, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "%s", e.msg);
	tell_of_change(&bridge);
	if (is_routed_away(&subnet))
		return cli_fail(CLI_FAILED,
				"the host's routes send its own subnet to a gateway: remove that route");
	return CLI_OK;
}
