// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the network config, the value at PREFIX/config, and its rules.
#include "core/netconf.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/netconf_freeze.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

// How the two families differ. The figures are flannel's, so that both compute the same subnets.
struct family_rules {
	int family;
	const char *enable;
	const char *network;
	const char *subnet_min;
	const char *subnet_max;
	const char *subnet_len;
	bool null_min_max;	  // a null SubnetMin or SubnetMax is as good as none
	unsigned int len_max;	  // of a SubnetLen that is given
	unsigned int network_max; // of Network's length when SubnetLen is not given
	unsigned int usual_from;  // networks up to this length get subnets of usual_len
	unsigned int usual_len;
};

static const struct family_rules rules_v4 = {
	.family = AF_INET,
	.enable = "EnableIPv4",
	.network = "Network",
	.subnet_min = "SubnetMin",
	.subnet_max = "SubnetMax",
	.subnet_len = "SubnetLen",
	.len_max = 30,
	.network_max = 28,
	.usual_from = 22,
	.usual_len = 24,
};

static const struct family_rules rules_v6 = {
	.family = AF_INET6,
	.enable = "EnableIPv6",
	.network = "IPv6Network",
	.subnet_min = "IPv6SubnetMin",
	.subnet_max = "IPv6SubnetMax",
	.subnet_len = "IPv6SubnetLen",
	.null_min_max = true,
	.len_max = 126,
	.network_max = 124,
	.usual_from = 62,
	.usual_len = 64,
};

// One family's members as they stand in the text. Unset or 0: not given.
struct family_members {
	struct ipnet network;
	struct ip subnet_min;
	struct ip subnet_max;
	int64_t subnet_len;
};

static const char *family_name(int family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

static int read_ip(const json_t *root, const char *name, const struct family_rules *rules,
		   struct ip *ret, struct err *e)
{
	struct ip ip = { 0 };
	char text[IP_STR_MAX];
	int r;

	if (rules->null_min_max && json_is_null(json_member(root, name)))
		return 0;
	r = json_get_ip(root, name, &ip, e);
	if (r < 0)
		return r;
	if (ip_is_set(&ip) && ip.family != rules->family)
		return err_set(e, -EINVAL, "%s: %s is not an %s address", name, ip_str(&ip, text),
			       family_name(rules->family));
	// The zero address is how Go programs write "not given".
	if (!ip_is_unspecified(&ip))
		*ret = ip;
	return 0;
}

// Decoding happens for a family that is off too: a text that flannel cannot decode must not pass here.
static int read_family(const json_t *root, const struct family_rules *rules,
		       struct family_members *ret, struct err *e)
{
	struct family_members members = { 0 };
	char text[IPNET_STR_MAX];
	int r;

	r = json_get_ipnet(root, rules->network, &members.network, e);
	if (r < 0)
		return r;
	if (ipnet_is_set(&members.network) && members.network.addr.family != rules->family)
		return err_set(e, -EINVAL, "%s: %s is not an %s network", rules->network,
			       ipnet_str(&members.network, text), family_name(rules->family));
	r = json_get_int(root, rules->subnet_len, 0, INT64_MAX, &members.subnet_len, e);
	if (r < 0)
		return r;
	r = read_ip(root, rules->subnet_min, rules, &members.subnet_min, e);
	if (r < 0)
		return r;
	r = read_ip(root, rules->subnet_max, rules, &members.subnet_max, e);
	if (r < 0)
		return r;
	*ret = members;
	return 0;
}

static int check_network(const struct family_rules *rules, const struct ipnet *network, struct err *e)
{
	char text[IPNET_STR_MAX];

	if (!ipnet_is_set(network))
		return err_set(e, -EINVAL, "%s: missing; needed because %s is true", rules->network,
			       rules->enable);
	if (network->len == 0)
		return err_set(e, -EINVAL, "%s: %s is everything, not a network to lease from",
			       rules->network, ipnet_str(network, text));
	return 0;
}

static int choose_subnet_len(const struct family_rules *rules, const struct family_members *members,
			     uint8_t *ret, struct err *e)
{
	unsigned int network_len = members->network.len;
	char text[IPNET_STR_MAX];
	long long given = members->subnet_len;

	(void)ipnet_str(&members->network, text);
	if (given == 0) {
		if (network_len > rules->network_max)
			return err_set(e, -EINVAL, "%s: %s is too small: at least a /%u is needed",
				       rules->network, text, rules->network_max);
		*ret = (uint8_t)(network_len <= rules->usual_from ? rules->usual_len : network_len + 2);
		return 0;
	}
	if (given > rules->len_max)
		return err_set(e, -EINVAL, "%s: %lld is too long: at most %u", rules->subnet_len,
			       given, rules->len_max);
	// flannel's rule; of the four the first is never leased.
	if (given < network_len + 2)
		return err_set(e, -EINVAL,
			       "%s: %lld is too short for %s %s: at least %u, so that four fit",
			       rules->subnet_len, given, rules->network, text, network_len + 2);
	*ret = (uint8_t)given;
	return 0;
}

static int check_bound(const char *name, const struct family_rules *rules,
		       const struct netconf_family *family, const struct ip *bound, struct err *e)
{
	struct ipnet subnet = ipnet_of(bound, family->subnet_len);
	char net_text[IPNET_STR_MAX];
	char text[IP_STR_MAX];

	(void)ip_str(bound, text);
	if (!ipnet_contains(&family->network, bound))
		return err_set(e, -EINVAL, "%s: %s is outside %s %s", name, text, rules->network,
			       ipnet_str(&family->network, net_text));
	if (!ip_equal(&subnet.addr, bound))
		return err_set(e, -EINVAL, "%s: %s is not the start of a /%u subnet", name, text,
			       family->subnet_len);
	return 0;
}

static int check_family(const struct family_rules *rules, const struct family_members *members,
			struct netconf_family *ret, struct err *e)
{
	struct netconf_family family = { .enabled = true, .network = members->network };
	char min_text[IP_STR_MAX], max_text[IP_STR_MAX];
	struct ipnet first;
	struct ip last;
	int r;

	r = check_network(rules, &members->network, e);
	if (r < 0)
		return r;
	r = choose_subnet_len(rules, members, &family.subnet_len, e);
	if (r < 0)
		return r;
	first = ipnet_of(&family.network.addr, family.subnet_len);
	last = ipnet_last(&family.network);

	family.subnet_min = members->subnet_min;
	if (!ip_is_set(&family.subnet_min))
		family.subnet_min = ipnet_next(&first, 1).addr;
	family.subnet_max = members->subnet_max;
	if (!ip_is_set(&family.subnet_max))
		family.subnet_max = ipnet_of(&last, family.subnet_len).addr;

	r = check_bound(rules->subnet_min, rules, &family, &family.subnet_min, e);
	if (r < 0)
		return r;
	r = check_bound(rules->subnet_max, rules, &family, &family.subnet_max, e);
	if (r < 0)
		return r;
	// flannel lets this pass and then never finds a free subnet.
	if (ip_compare(&family.subnet_min, &family.subnet_max) > 0)
		return err_set(e, -EINVAL, "%s: %s is above %s %s", rules->subnet_min,
			       ip_str(&family.subnet_min, min_text), rules->subnet_max,
			       ip_str(&family.subnet_max, max_text));
	*ret = family;
	return 0;
}

static int read_backend(const json_t *root, struct netconf *conf, struct err *e)
{
	const json_t *backend = json_member(root, "Backend"), *mtu;
	char shown[TEXT_EXCERPT_MAX];
	const char *type = NULL;
	size_t len;
	int r;

	if (!backend) {
		// flannel's code says udp, whatever its documentation says.
		memcpy(conf->backend_type, "udp", 4);
		conf->backend = xstrdup("{}");
		return 0;
	}
	if (!json_is_object(backend))
		return err_set(e, -EINVAL, "Backend: must be an object like {\"Type\":\"vxlan\"}");
	r = json_get_string(backend, "Type", &type, e);
	if (r < 0)
		return err_wrap(e, "Backend");
	if (!type || type[0] == '\0')
		return err_set(e, -EINVAL, "Backend: Type is missing");
	len = strlen(type);
	if (len >= sizeof(conf->backend_type))
		return err_set(e, -EINVAL, "Backend: Type: \"%s\" is too long: at most %zu bytes",
			       text_excerpt(type, len, shown), sizeof(conf->backend_type) - 1);
	for (size_t i = 0; i <= len; i++) {
		char c = type[i];

		conf->backend_type[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	mtu = json_member(backend, "MTU");
	conf->mtu_auto = json_is_string(mtu) && strcmp(json_string_value(mtu), "auto") == 0;
	conf->backend = json_text(backend);
	return 0;
}

static int read_root(const json_t *root, struct netconf *conf, struct err *e)
{
	struct family_members v4 = { 0 }, v6 = { 0 };
	bool enable_v4 = true, enable_v6 = false;
	int r;

	r = json_get_bool(root, "EnableIPv4", &enable_v4, e);
	if (r < 0)
		return r;
	r = json_get_bool(root, "EnableIPv6", &enable_v6, e);
	if (r < 0)
		return r;
	r = json_get_bool(root, "EnableNFTables", &conf->enable_nftables, e);
	if (r < 0)
		return r;
	r = read_family(root, &rules_v4, &v4, e);
	if (r < 0)
		return r;
	r = read_family(root, &rules_v6, &v6, e);
	if (r < 0)
		return r;

	if (!enable_v4 && !enable_v6)
		return err_set(e, -EINVAL, "EnableIPv4 and EnableIPv6: one of them must be true");
	if (enable_v4) {
		r = check_family(&rules_v4, &v4, &conf->v4, e);
		if (r < 0)
			return r;
	}
	if (enable_v6) {
		r = check_family(&rules_v6, &v6, &conf->v6, e);
		if (r < 0)
			return r;
	}
	return read_backend(root, conf, e);
}

int netconf_parse(const char *text, size_t len, struct netconf *ret, struct err *e)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	_cleanup_json_ json_t *root = NULL;
	int r;

	r = json_read(text, len, NETCONF_TEXT_MAX, &root, e);
	if (r < 0)
		return r;
	if (!json_is_object(root))
		return err_set(e, -EINVAL, "must be a JSON object like {\"Network\":\"10.1.0.0/16\"}");
	r = netconf_freeze_refuse(root, e);
	if (r < 0)
		return r;
	r = read_root(root, &conf, e);
	if (r < 0)
		return r;
	*ret = conf;
	conf = (struct netconf){ 0 };
	return 0;
}

void netconf_free(struct netconf *conf)
{
	free(conf->backend);
	*conf = (struct netconf){ 0 };
}

void netconf_copy(const struct netconf *src, struct netconf *ret)
{
	struct netconf copy = *src;

	copy.backend = xstrdup(src->backend);
	*ret = copy;
}

// One subnet's size as a power of two.
static unsigned int subnet_bits(const struct netconf_family *family)
{
	return ip_width_bits(&family->network.addr) - family->subnet_len;
}

uint64_t netconf_family_subnets(const struct netconf_family *family)
{
	u128 min = ip_value(&family->subnet_min), max = ip_value(&family->subnet_max);
	u128 count;

	if (!family->enabled || min > max || subnet_bits(family) >= 128)
		return 0;
	count = ((max - min) >> subnet_bits(family)) + 1;
	return count > UINT64_MAX ? UINT64_MAX : (uint64_t)count;
}

bool netconf_family_fits(const struct netconf_family *family, const struct ipnet *subnet)
{
	// Addresses of the other family sort below or above all of ours.
	return family->enabled && subnet->len == family->subnet_len &&
	       ip_compare(&subnet->addr, &family->subnet_min) >= 0 &&
	       ip_compare(&subnet->addr, &family->subnet_max) <= 0;
}

// ---- for people ----

static void hide_secrets(json_t *backend)
{
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe(backend, next, name, value) {
		if (json_name_matches(name, "PSK"))
			json_object_set_new(backend, name, json_string("(hidden)"));
	}
}

static char *shown(const char *text, bool is_backend)
{
	_cleanup_json_ json_t *object = NULL;
	json_t *backend;

	if (json_read(text, strlen(text), NETCONF_TEXT_MAX, &object, NULL) < 0 ||
	    !json_is_object(object))
		return xstrdup("(unreadable)");
	backend = is_backend ? object : json_member(object, "Backend");
	if (!backend || !json_member(backend, "PSK"))
		return xstrdup(text);
	hide_secrets(backend);
	return json_text(object);
}

char *netconf_text_shown(const char *text)
{
	return shown(text, false);
}

char *netconf_backend_shown(const char *backend)
{
	return shown(backend, true);
}
