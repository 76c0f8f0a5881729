// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: host-local's configuration: its ranges, read, completed and checked.
#include "cni/host_local.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

bool host_local_contains(const struct host_local_set *set, const struct ip *ip)
{
	return host_local_range_of(set, ip) != NULL;
}

static bool in_range(const struct host_local_range *range, const struct ip *ip)
{
	return ip->family == range->subnet.addr.family && ip_compare(ip, &range->start) >= 0 &&
	       ip_compare(ip, &range->end) <= 0;
}

const struct host_local_range *host_local_range_of(const struct host_local_set *set,
						   const struct ip *ip)
{
	for (size_t i = 0; i < set->count; i++)
		if (in_range(&set->ranges[i], ip))
			return &set->ranges[i];
	return NULL;
}

struct ip host_local_next(const struct host_local_set *set, const struct ip *last)
{
	const struct host_local_range *range = host_local_range_of(set, last);

	if (!range)
		return set->ranges[0].start;
	if (!ip_equal(last, &range->end))
		return ip_add(last, 1);
	range++;
	return range == set->ranges + set->count ? set->ranges[0].start : range->start;
}

// An optional address of a range, which has to be in its subnet.
static int read_bound(const struct doc_value *value, const char *key, const char *label,
		      const struct ipnet *subnet, struct ip *ret, struct fault *fault)
{
	const char *text = doc_get_text(value, key);
	char net[IPNET_STR_MAX];

	if (!text || !*text)
		return 0;
	if (ip_parse(text, ret) < 0)
		return fault_set(fault, FAULT_INTERNAL, "invalid %s address: %s", label, text);
	if (!ipnet_contains(subnet, ret) && strcmp(key, "gateway") != 0)
		return fault_set(fault, FAULT_INTERNAL, "%s %s not in network %s", label, text,
				 ipnet_str(subnet, net));
	return 0;
}

static int read_subnet(const struct doc_value *value, struct ipnet *ret, struct fault *fault)
{
	const char *text = doc_get_text(value, "subnet");
	char network[IP_STR_MAX];
	struct ip address;
	unsigned int len;

	if (!text || result_parse_cidr(text, &address, &len) < 0)
		return fault_set(fault, FAULT_INTERNAL, "invalid CIDR address: %s", text ? text : "");
	*ret = ipnet_of(&address, len);
	if (len > ip_width_bits(&address) - 2)
		return fault_set(fault, FAULT_INTERNAL, "Network %s too small to allocate from", text);
	if (!ip_equal(&ret->addr, &address))
		return fault_set(fault, FAULT_INTERNAL,
				 "Network has host bits set. For a subnet mask of length %u the network address is %s",
				 len, ip_str(&ret->addr, network));
	return 0;
}

static int read_range(const struct doc_value *value, struct host_local_range *ret, struct fault *fault)
{
	struct host_local_range range = { 0 };
	struct ip last;
	int r;

	r = read_subnet(value, &range.subnet, fault);
	if (r < 0)
		return r;
	last = ipnet_last(&range.subnet);
	range.gateway = range.start = ip_add(&range.subnet.addr, 1);
	range.end = range.subnet.addr.family == AF_INET ? ip_add(&last, (u128)-1) : last;
	if ((r = read_bound(value, "gateway", "gateway", &range.subnet, &range.gateway, fault)) < 0 ||
	    (r = read_bound(value, "rangeStart", "RangeStart", &range.subnet, &range.start, fault)) < 0 ||
	    (r = read_bound(value, "rangeEnd", "RangeEnd", &range.subnet, &range.end, fault)) < 0)
		return r;
	if (ip_compare(&range.start, &range.end) > 0)
		return fault_set(fault, FAULT_INTERNAL, "RangeStart comes after RangeEnd");
	*ret = range;
	return 0;
}

static bool ranges_overlap(const struct host_local_range *a, const struct host_local_range *b)
{
	return in_range(a, &b->start) || in_range(a, &b->end) || in_range(b, &a->start) ||
	       in_range(b, &a->end);
}

static int add_range(struct host_local_set *set, const struct doc_value *value, struct fault *fault)
{
	struct host_local_range *range = &set->ranges[set->count];
	int r;

	if (set->count == HOST_LOCAL_RANGES_MAX)
		return fault_set(fault, FAULT_CONFIG, "more than %d ranges", HOST_LOCAL_RANGES_MAX);
	r = read_range(value, range, fault);
	if (r < 0)
		return r;
	for (size_t i = 0; i < set->count; i++) {
		if (set->ranges[i].subnet.addr.family != range->subnet.addr.family)
			return fault_set(fault, FAULT_INTERNAL, "mixed address families");
		if (ranges_overlap(&set->ranges[i], range))
			return fault_set(fault, FAULT_INTERNAL, "subnets overlap");
	}
	set->count++;
	return 0;
}

static int add_set(struct host_local_conf *conf, const struct doc_value *value, struct fault *fault)
{
	struct host_local_set *set = &conf->sets[conf->set_count];

	if (conf->set_count == HOST_LOCAL_SETS_MAX)
		return fault_set(fault, FAULT_CONFIG, "more than %d range sets", HOST_LOCAL_SETS_MAX);
	set->count = 0;
	// The older form has one range, without a list.
	if (value->kind == DOC_OBJECT) {
		if (add_range(set, value, fault) < 0)
			return fault_wrap(fault, "invalid range set %zu: ", conf->set_count);
	} else if (value->kind != DOC_ARRAY || !value->first) {
		return fault_set(fault, FAULT_INTERNAL, "invalid range set %zu: empty range set",
				 conf->set_count);
	}
	for (const struct doc_value *at = value->first; at && value->kind == DOC_ARRAY; at = at->next)
		if (add_range(set, at, fault) < 0)
			return fault_wrap(fault, "invalid range set %zu: ", conf->set_count);
	conf->set_count++;
	return 0;
}

static int add_sets(struct host_local_conf *conf, const struct doc_value *list, struct fault *fault)
{
	if (!list || list->kind == DOC_NULL)
		return 0;
	if (list->kind != DOC_ARRAY)
		return fault_set(fault, FAULT_CONFIG, "ranges is no list");
	for (const struct doc_value *at = list->first; at; at = at->next)
		if (add_set(conf, at, fault) < 0)
			return -EIO;
	return 0;
}

static bool sets_overlap(const struct host_local_set *a, const struct host_local_set *b)
{
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			if (ranges_overlap(&a->ranges[i], &b->ranges[j]))
				return true;
	return false;
}

static int check_sets(const struct host_local_conf *conf, enum cni_version version, struct fault *fault)
{
	size_t v4 = 0, v6 = 0;

	if (conf->set_count == 0)
		return fault_set(fault, FAULT_INTERNAL, "no IP ranges specified");
	for (size_t i = 0; i < conf->set_count; i++) {
		if (conf->sets[i].ranges[0].subnet.addr.family == AF_INET)
			v4++;
		else
			v6++;
		for (size_t j = 0; j < i; j++)
			if (sets_overlap(&conf->sets[i], &conf->sets[j]))
				return fault_set(fault, FAULT_INTERNAL,
						 "range set %zu overlaps with %zu", j, i);
	}
	if (version < CNI_0_3_0 && (v4 > 1 || v6 > 1))
		return fault_set(fault, FAULT_INTERNAL,
				 "CNI version %s does not support more than 1 address per family",
				 cni_version_name(version));
	return 0;
}

int host_local_read(struct host_local_conf *ret, const struct conf *conf, struct fault *fault)
{
	const struct doc_value *ipam = doc_get_kind(conf->root, "ipam", DOC_OBJECT);
	const struct doc_value *runtime = doc_get(conf->root, "runtimeConfig");
	int r;

	ret->set_count = 0;
	if (!ipam)
		return fault_set(fault, FAULT_INTERNAL, "IPAM config missing 'ipam' key");
	r = add_sets(ret, doc_get(runtime, "ipRanges"), fault);
	if (r == 0 && doc_get_text(ipam, "subnet"))
		r = add_set(ret, ipam, fault);
	if (r == 0)
		r = add_sets(ret, doc_get(ipam, "ranges"), fault);
	return r < 0 ? r : check_sets(ret, conf->version, fault);
}
