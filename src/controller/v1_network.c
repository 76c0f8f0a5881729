// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the networks that clients of flannel's API ask of, and what the mirror has of them.
#include "controller/v1_internal.h"

#include "core/mem.h"
#include "store/v1_wire.h"

#include <errno.h>
#include <string.h>

static void network_free(struct v1_network *network)
{
	registry_free(network->registry);
	free(network->name);
	free(network->config_key);
	free(network->leases_prefix);
	free(network);
}

void v1_networks_free(struct v1 *v1)
{
	while (v1->networks) {
		struct v1_network *network = v1->networks;

		v1->networks = network->next;
		network_free(network);
	}
}

// One that is used stays while it exists: its registry may be tidying up. Names that somebody made up do not.
static void drop_unused(struct v1 *v1)
{
	struct v1_network **link = &v1->networks;

	while (*link) {
		struct v1_network *network = *link;

		if (network->references > 0 || v1_find(v1, network->config_key)) {
			link = &network->next;
			continue;
		}
		*link = network->next;
		network_free(network);
	}
}

static struct v1_network *network_new(struct v1 *v1, const char *name)
{
	const char *below = v1->controller->prefix; // with its slash
	bool is_base = strcmp(name, V1_NO_NETWORK) == 0;
	_cleanup_free_ char *prefix = xasprintf("%s%s", below, is_base ? "" : name);
	struct v1_network *network = xnew(struct v1_network);
	const char *slash = is_base ? "" : "/";

	if (registry_new(v1->controller->kv, prefix, &network->registry, NULL) < 0) {
		free(network);
		return NULL;
	}
	network->name = xstrdup(name);
	network->config_key = xasprintf("%s%sconfig", prefix, slash);
	network->leases_prefix = xasprintf("%s%ssubnets/", prefix, slash);
	network->next = v1->networks;
	v1->networks = network;
	return network;
}

struct v1_network *v1_network_get(struct v1 *v1, const char *name)
{
	struct v1_network *network;

	if (strcmp(name, V1_NO_NETWORK) != 0 && !v1_is_network_name(name))
		return NULL;
	for (network = v1->networks; network; network = network->next)
		if (strcmp(network->name, name) == 0)
			break;
	if (!network) {
		drop_unused(v1);
		network = network_new(v1, name);
	}
	if (network)
		network->references++;
	return network;
}

void v1_network_put(struct v1_network *network)
{
	if (network)
		network->references--;
}

// ---- what the mirror has ----

char *v1_lease_key(const struct v1_network *network, const struct ipnet *subnet)
{
	const struct subnet both = { .v4 = *subnet };
	char key[LEASE_KEY_MAX];

	subnet_format_key(&both, key);
	return xasprintf("%s%s", network->leases_prefix, key);
}

struct pair *v1_find(const struct v1 *v1, const char *key)
{
	const struct pair_set *pairs = mirror_pairs(v1->controller->mirror);

	return pairs ? pair_set_find(pairs, key, strlen(key)) : NULL;
}

const char *v1_pair_value(const struct pair *pair)
{
	return pair->bytes + pair->key_len + 1;
}

bool v1_pair_subnet(const struct v1_network *network, const struct pair *pair, struct subnet *ret)
{
	size_t len = strlen(network->leases_prefix);

	return pair_starts_with(pair, network->leases_prefix, len) &&
	       subnet_parse_key(pair->bytes + len, pair->key_len - len, ret, NULL) == 0 &&
	       ipnet_is_set(&ret->v4);
}

bool v1_pair_lease(const struct v1_network *network, const struct pair *pair, struct lease *ret)
{
	struct lease lease = { .mod_revision = pair->mod_revision, .session = pair->session };

	if (!pair->has_value || !v1_pair_subnet(network, pair, &lease.subnet) ||
	    lease_attrs_parse(v1_pair_value(pair), pair->value_len, &lease.attrs, NULL) < 0)
		return false;
	*ret = lease;
	return true;
}

bool v1_read_config(struct v1_request *request, struct netconf *ret)
{
	const struct v1_network *network = request->network;
	const struct pair *pair = v1_find(request->v1, network->config_key);
	_cleanup_netconf_ struct netconf conf = { 0 };
	struct err e;
	int r;

	if (!pair) {
		v1_request_not_found(request, network->config_key);
		return false;
	}
	if (!pair->has_value)
		r = err_set(&e, -E2BIG, "larger than %d bytes", KV_VALUE_MAX);
	else
		r = netconf_parse(v1_pair_value(pair), pair->value_len, &conf, &e);
	if (r == 0 && (!conf.v4.enabled || conf.v6.enabled))
		r = err_set(&e, -EOPNOTSUPP,
			    "the network has IPv6, of which this API and its clients know nothing");
	if (r < 0) {
		(void)err_wrap(&e, "%s", network->config_key);
		v1_request_fail(request, err_msg(&e));
		return false;
	}
	request->config_revision = pair->mod_revision;
	*ret = conf;
	conf = (struct netconf){ 0 };
	return true;
}

char *v1_config_name(const struct v1 *v1, const char *key, size_t len)
{
	const char *prefix = v1->controller->prefix;
	static const char end[] = "/config";
	size_t prefix_len = strlen(prefix), end_len = sizeof(end) - 1;
	char *name;

	if (len <= prefix_len + end_len || memcmp(key, prefix, prefix_len) != 0 ||
	    memcmp(key + len - end_len, end, end_len) != 0 || memchr(key, '\0', len))
		return NULL;
	name = xstrndup(key + prefix_len, len - prefix_len - end_len);
	if (v1_is_network_name(name))
		return name;
	free(name);
	return NULL;
}

int64_t v1_expires_ms(int64_t session)
{
	return session == 0 ? TIMESTAMP_ZERO_MS : timestamp_now_ms() + LEASE_TTL_S * 1000LL;
}
