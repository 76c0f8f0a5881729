// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: allocating and releasing as host-local does.
#include "cni/host_local.h"

#include "cni/deadline.h"
#include "cni/host_local_disk.h"
#include "cni/resolv.h"
#include "core/mem.h"

#include <errno.h>

#define DATA_DIR "/var/lib/cni/networks"

struct allocation {
	const struct call *call;
	const struct disk *disk;
	struct wish wish; // addresses that are asked for and not yet given
};

static void describe_set(const struct host_local_set *set, struct strbuf *out)
{
	char start[IP_STR_MAX], end[IP_STR_MAX];

	for (size_t i = 0; i < set->count; i++)
		(void)strbuf_printf(out, "%s%s-%s", i > 0 ? "," : "",
				    ip_str(&set->ranges[i].start, start),
				    ip_str(&set->ranges[i].end, end));
}

static int open_disk(struct disk *ret, const struct conf *conf, struct fault *fault)
{
	const char *data_dir = doc_get_text(doc_get(conf->root, "ipam"), "dataDir");

	return disk_open(ret, data_dir && *data_dir ? data_dir : DATA_DIR, conf->name, fault);
}

// The first address asked for that is in this set, taken off the list.
static bool take_requested(struct wish *wish, const struct host_local_set *set, struct ip *ret)
{
	for (size_t i = 0; i < wish->ip_count; i++)
		if (host_local_contains(set, &wish->ips[i])) {
			*ret = wish->ips[i];
			wish->ips[i] = wish->ips[--wish->ip_count];
			return true;
		}
	return false;
}

static int give_requested(const struct allocation *allocation, const struct host_local_set *set,
			  size_t index, const struct ip *ip, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT(512);
	const struct host_local_range *range = host_local_range_of(set, ip);
	char text[IP_STR_MAX];
	int r;

	(void)ip_str(ip, text);
	if (ip_equal(ip, &range->gateway))
		return fault_set(fault, FAULT_INTERNAL, "requested ip %s is subnet's gateway", text);
	r = disk_reserve(allocation->disk, allocation->call->container_id, allocation->call->ifname,
			 ip, index, fault);
	if (r != -EEXIST)
		return r;
	describe_set(set, &all);
	return fault_set(fault, FAULT_INTERNAL,
			 "requested IP address %s is not available in range set %s", text,
			 strbuf_text(&all));
}

static int refuse_second(const struct allocation *allocation, const struct host_local_set *set,
			 struct fault *fault)
{
	const struct call *call = allocation->call;
	struct ip owned[RESULT_IPS_MAX];
	char text[IP_STR_MAX];
	size_t count;
	int r;

	r = disk_find(allocation->disk, call->container_id, call->ifname, owned, RESULT_IPS_MAX,
		      &count, fault);
	for (size_t i = 0; r == 0 && i < count; i++)
		if (host_local_contains(set, &owned[i]))
			return fault_set(fault, FAULT_INTERNAL,
					 "%s has been allocated to %s, duplicate allocation is not allowed",
					 ip_str(&owned[i], text), call->container_id);
	return r;
}

// From the one after the last given, once around.
static int give_next(const struct allocation *allocation, const struct host_local_set *set,
		     size_t index, struct ip *ret, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT(512);
	struct ip last = disk_last(allocation->disk, index);
	struct ip first = host_local_next(set, &last), ip = first;
	int r;

	do {
		if (!ip_equal(&ip, &host_local_range_of(set, &ip)->gateway)) {
			r = disk_reserve(allocation->disk, allocation->call->container_id,
					 allocation->call->ifname, &ip, index, fault);
			if (r == 0)
				*ret = ip;
			if (r != -EEXIST)
				return r;
		}
		if (deadline_passed())
			return fault_set(fault, FAULT_AGAIN, "no free address was found in time");
		ip = host_local_next(set, &ip);
	} while (!ip_equal(&ip, &first));
	describe_set(set, &all);
	return fault_set(fault, FAULT_INTERNAL, "no IP addresses available in range set: %s",
			 strbuf_text(&all));
}

static int give(struct allocation *allocation, const struct host_local_set *set, size_t index,
		struct result *result, struct fault *fault)
{
	const struct host_local_range *range;
	struct ip ip;
	int r;

	if (take_requested(&allocation->wish, set, &ip)) {
		r = give_requested(allocation, set, index, &ip, fault);
	} else {
		r = refuse_second(allocation, set, fault);
		if (r == 0)
			r = give_next(allocation, set, index, &ip, fault);
	}
	if (r < 0)
		return fault_wrap(fault, "failed to allocate for range %zu: ", index);
	range = host_local_range_of(set, &ip);
	result->ips[result->ip_count++] = (struct result_ip){
		.interface = -1,
		.address = ip,
		.len = range->subnet.len,
		.gateway = range->gateway,
	};
	return 0;
}

static int refuse_left_over(const struct wish *wish, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT(1024);
	char text[IP_STR_MAX];

	for (size_t i = 0; i < wish->ip_count; i++)
		(void)strbuf_printf(&all, " %s", ip_str(&wish->ips[i], text));
	if (wish->ip_count == 0)
		return 0;
	return fault_set(fault, FAULT_INTERNAL, "failed to allocate all requested IPs:%s",
			 strbuf_text(&all));
}

static int allocate(struct allocation *allocation, const struct host_local_conf *sets,
		    struct result *result, struct fault *fault)
{
	int r = 0;

	for (size_t i = 0; i < sets->set_count && r == 0; i++)
		r = give(allocation, &sets->sets[i], i, result, fault);
	if (r == 0)
		r = refuse_left_over(&allocation->wish, fault);
	// Only what this call took: a second ADD of one attachment must not free what the first one got.
	for (size_t i = 0; r < 0 && i < result->ip_count; i++)
		disk_give_back(allocation->disk, &result->ips[i].address);
	return r;
}

int host_local_add(const struct call *call, const struct conf *conf, const struct wish *wish,
		   struct doc *keep, struct result *ret, struct fault *fault)
{
	_cleanup_free_ struct host_local_conf *sets = xnew(struct host_local_conf);
	const struct doc_value *ipam = doc_get(conf->root, "ipam");
	const char *resolv = doc_get_text(ipam, "resolvConf");
	struct disk disk;
	struct allocation allocation = { .call = call, .disk = &disk, .wish = *wish };
	int r;

	*ret = (struct result){ 0 };
	r = host_local_read(sets, conf, fault);
	if (r == 0 && resolv && *resolv)
		r = resolv_read(resolv, keep, &ret->dns, fault);
	if (r == 0)
		r = result_read_routes(ret, doc_get(ipam, "routes"), fault);
	if (r == 0)
		r = open_disk(&disk, conf, fault);
	if (r < 0)
		return r;
	r = allocate(&allocation, sets, ret, fault);
	disk_close(&disk);
	return r;
}

int host_local_del(const struct call *call, const struct conf *conf, struct fault *fault)
{
	struct disk disk;
	int r;

	r = open_disk(&disk, conf, fault);
	if (r < 0)
		return r;
	r = disk_release(&disk, call->container_id, call->ifname, fault);
	disk_close(&disk);
	return r;
}

int host_local_check(const struct call *call, const struct conf *conf, struct fault *fault)
{
	struct disk disk;
	struct ip found;
	size_t count = 0;
	int r;

	r = open_disk(&disk, conf, fault);
	if (r < 0)
		return r;
	r = disk_find(&disk, call->container_id, call->ifname, &found, 1, &count, fault);
	disk_close(&disk);
	if (r == 0 && count == 0)
		r = fault_set(fault, FAULT_INTERNAL,
			      "host-local: Failed to find address added by container %s",
			      call->container_id);
	return r;
}

int host_local_status(const struct conf *conf, struct fault *fault)
{
	_cleanup_free_ struct host_local_conf *sets = xnew(struct host_local_conf);
	struct disk disk;
	int r;

	r = host_local_read(sets, conf, fault);
	if (r == 0)
		r = open_disk(&disk, conf, fault);
	if (r == 0)
		disk_close(&disk);
	if (r < 0)
		fault->code = FAULT_UNAVAILABLE;
	return r;
}

static bool is_kept(void *arg, const char *id, const char *ifname)
{
	return attachments_have(arg, id, ifname);
}

int host_local_gc(const struct conf *conf, struct fault *fault)
{
	const struct doc_value *kept = attachments_of(conf);
	struct disk disk;
	int r;

	if (!kept)
		return 0;
	r = open_disk(&disk, conf, fault);
	if (r < 0)
		return r;
	r = disk_sweep(&disk, is_kept, (void *)kept, fault);
	disk_close(&disk);
	return r;
}
