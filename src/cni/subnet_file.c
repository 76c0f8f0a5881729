// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: subnet.env as flannel's CNI plugin reads it.
#include "cni/subnet_file.h"

#include "cni/small_file.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define FILE_MAX (64 * 1024)
#define MTU_MAX 65535

struct reading {
	struct subnet_file file;
	const char *path;
	bool mtu, masq;
	struct fault *fault;
};

static int bad_value(const struct reading *reading, const char *key, const char *value)
{
	return fault_set(reading->fault, FAULT_CONFIG, "%s: invalid %s=%s", reading->path, key, value);
}

static int add_network(struct reading *reading, const struct ipnet *net)
{
	struct subnet_file *file = &reading->file;

	for (size_t i = 0; i < file->network_count; i++)
		if (ipnet_equal(&file->networks[i], net))
			return 0;
	if (file->network_count == SUBNET_FILE_NETWORKS_MAX)
		return fault_set(reading->fault, FAULT_CONFIG, "%s: more than %d networks",
				 reading->path, SUBNET_FILE_NETWORKS_MAX);
	file->networks[file->network_count++] = *net;
	return 0;
}

static int read_networks(struct reading *reading, const char *key, const char *value, int family)
{
	const char *end;

	for (const char *at = value; *at; at = *end ? end + 1 : end) {
		char text[IPNET_STR_MAX];
		struct ipnet net;

		end = strchrnul(at, ',');
		if (text_format(text, sizeof(text), "%.*s", (int)(end - at), at) < 0 ||
		    ipnet_parse(text, &net) < 0 || net.addr.family != family)
			return bad_value(reading, key, value);
		if (add_network(reading, &net) < 0)
			return -EIO;
	}
	return 0;
}

static int read_subnet(struct reading *reading, const char *key, const char *value, int family,
		       struct ipnet *ret)
{
	if (ipnet_parse(value, ret) < 0 || ret->addr.family != family)
		return bad_value(reading, key, value);
	return 0;
}

static int take_pair(struct reading *reading, const char *key, const char *value)
{
	struct subnet_file *file = &reading->file;
	uint64_t mtu;

	if (text_equal(key, "FLANNEL_NETWORK"))
		return read_networks(reading, key, value, AF_INET);
	if (text_equal(key, "FLANNEL_IPV6_NETWORK"))
		return read_networks(reading, key, value, AF_INET6);
	if (text_equal(key, "FLANNEL_SUBNET"))
		return read_subnet(reading, key, value, AF_INET, &file->subnet_v4);
	if (text_equal(key, "FLANNEL_IPV6_SUBNET"))
		return read_subnet(reading, key, value, AF_INET6, &file->subnet_v6);
	if (text_equal(key, "FLANNEL_MTU")) {
		if (parse_whole_u64(value, MTU_MAX, &mtu) < 0)
			return bad_value(reading, key, value);
		file->mtu_bytes = (unsigned int)mtu;
		reading->mtu = true;
	} else if (text_equal(key, "FLANNEL_IPMASQ")) {
		file->ip_masq = text_equal(value, "true");
		reading->masq = true;
	}
	return 0;
}

static void order_networks(struct subnet_file *file)
{
	struct ipnet sorted[SUBNET_FILE_NETWORKS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < file->network_count; i++)
		if (file->networks[i].addr.family == AF_INET)
			sorted[count++] = file->networks[i];
	for (size_t i = 0; i < file->network_count; i++)
		if (file->networks[i].addr.family == AF_INET6)
			sorted[count++] = file->networks[i];
	memcpy(file->networks, sorted, count * sizeof(sorted[0]));
}

static int check_complete(const struct reading *reading)
{
	_cleanup_strbuf_ struct strbuf missing = STRBUF_INIT(256);
	const struct {
		bool there;
		const char *name;
	} parts[] = {
		{ reading->file.network_count > 0, "FLANNEL_NETWORK" },
		{ ipnet_is_set(&reading->file.subnet_v4) || ipnet_is_set(&reading->file.subnet_v6),
		  "FLANNEL_SUBNET" },
		{ reading->mtu, "FLANNEL_MTU" },
		{ reading->masq, "FLANNEL_IPMASQ" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (!parts[i].there)
			(void)strbuf_printf(&missing, "%s%s", missing.len > 0 ? ", " : "",
					    parts[i].name);
	if (missing.len == 0)
		return 0;
	return fault_set(reading->fault, FAULT_AGAIN,
			 "%s is missing %s; see the log of the agent that writes it", reading->path,
			 missing.data);
}

int subnet_file_parse(const char *path, const char *text, struct subnet_file *ret, struct fault *fault)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct reading reading = { .path = path, .fault = fault };
	char *next;
	int r = 0;

	for (char *line = copy; line && r == 0; line = next) {
		char *end = strchrnul(line, '\n'), *equal;

		next = *end ? end + 1 : NULL;
		*end = '\0';
		if (end > line && end[-1] == '\r')
			end[-1] = '\0';
		equal = strchr(line, '=');
		if (!equal)
			continue;
		*equal = '\0';
		r = take_pair(&reading, line, equal + 1);
	}
	if (r == 0)
		r = check_complete(&reading);
	if (r < 0)
		return r;
	order_networks(&reading.file);
	*ret = reading.file;
	return 0;
}

int subnet_file_read(const char *path, struct subnet_file *ret, struct fault *fault)
{
	_cleanup_free_ char *text = NULL;
	int r = small_file_read(path, FILE_MAX, &text);

	if (r < 0)
		return fault_set(fault, FAULT_AGAIN, "cannot read %s: %s; is the agent running?",
				 path, strerror(-r));
	return subnet_file_parse(path, text, ret, fault);
}
