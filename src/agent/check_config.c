// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd --check-config.
#include "agent/check_config.h"

#include "backend/backend.h"
#include "core/mem.h"
#include "core/netconf.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static int read_standard_input(char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(NETCONF_TEXT_MAX);
	char piece[4096];
	ssize_t n;

	for (;;) {
		n = read(STDIN_FILENO, piece, sizeof(piece));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "standard input: %s", strerror(errno));
		if (n == 0)
			break;
		if (strbuf_add(&text, piece, (size_t)n) < 0)
			return err_set(e, -E2BIG, "standard input: longer than %d bytes",
				       NETCONF_TEXT_MAX);
	}
	*ret_len = text.len;
	*ret = strbuf_take(&text);
	return 0;
}

static void describe_family(const char *name, const struct netconf_family *family, struct strbuf *out)
{
	char network[IPNET_STR_MAX], first[IP_STR_MAX], last[IP_STR_MAX];

	if (!family->enabled)
		return;
	(void)strbuf_printf(out, "%s network %s: %" PRIu64 " subnets of length /%u, %s to %s\n",
			    name, ipnet_str(&family->network, network),
			    netconf_family_subnets(family), family->subnet_len,
			    ip_str(&family->subnet_min, first), ip_str(&family->subnet_max, last));
}

static bool no_link(void *arg, const char *name, struct link *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

static bool no_mac(void *arg, const char *name, struct mac *ret)
{
	(void)arg, (void)name, (void)ret;
	return false;
}

static int any_key(void *arg, struct wg_key *ret_private, struct wg_key *ret_public, struct err *e)
{
	(void)arg, (void)ret_private, (void)ret_public, (void)e;
	return 0;
}

// As a host would that has all addresses and the largest MTU, so that only the config is judged.
static int try_backend(const struct netconf *conf, struct err *e)
{
	static const struct backend_host host = {
		.find_link = no_link,
		.find_mac = no_mac,
		.wg_key = any_key,
		.identity = "check-config",
		.allows_commands = true,
	};
	struct underlay underlay = { .ifindex = 1, .name = "any", .mtu_bytes = UINT16_MAX };
	struct backend *backend = NULL;
	int r;

	r = ip_parse("192.0.2.1", &underlay.ip4);
	assert(r == 0);
	r = ip_parse("2001:db8::1", &underlay.ip6);
	assert(r == 0);
	r = backend_new(conf, &underlay, &underlay.ip4, &underlay.ip6, &host, &backend, e);
	backend_free(backend);
	return r;
}

int check_config(const char *path, struct strbuf *out, struct err *e)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	bool is_stdin = strcmp(path, "-") == 0;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	r = is_stdin ? read_standard_input(&text, &len, e)
		     : file_read(path, NETCONF_TEXT_MAX, &text, &len, e);
	if (r < 0)
		return r;
	r = netconf_parse(text, len, &conf, e);
	if (r == 0)
		r = try_backend(&conf, e);
	if (r < 0)
		return err_wrap(e, "%s", is_stdin ? "standard input" : path);
	describe_family("IPv4", &conf.v4, out);
	describe_family("IPv6", &conf.v6, out);
	_cleanup_free_ char *backend = netconf_backend_shown(conf.backend);
	(void)strbuf_printf(out, "backend %s %s\n", conf.backend_type, backend);
	return 0;
}
