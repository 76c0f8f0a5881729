// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the devices and addresses of this network namespace at one moment.
#include "agent/interface_table.h"

#include "core/mem.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <string.h>

static void take_link(void *arg, const struct kernel_object *object)
{
	struct interface_table *table = arg;

	table->links = xrealloc_array(table->links, table->link_count + 1, sizeof(*table->links));
	table->links[table->link_count++] = object->link;
}

static void take_addr(void *arg, const struct kernel_object *object)
{
	struct interface_table *table = arg;

	table->addrs = xrealloc_array(table->addrs, table->addr_count + 1, sizeof(*table->addrs));
	table->addrs[table->addr_count++] = object->addr;
}

static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	return x->ifindex < y->ifindex ? -1 : x->ifindex > y->ifindex;
}

int interface_table_read(struct netlink *nl, struct interface_table *ret, struct err *e)
{
	static const struct netlink_dump_filter all = { .family = AF_UNSPEC };
	struct interface_table table = { 0 };
	int r;

	r = netlink_dump_all(nl, KERNEL_LINK, &all, take_link, &table, e);
	if (r == 0)
		r = netlink_dump_all(nl, KERNEL_ADDR, &all, take_addr, &table, e);
	if (r < 0) {
		interface_table_free(&table);
		return r;
	}
	if (table.link_count > 1)
		qsort(table.links, table.link_count, sizeof(*table.links), compare_links);
	*ret = table;
	return 0;
}

void interface_table_free(struct interface_table *table)
{
	free(table->links);
	free(table->addrs);
	*table = (struct interface_table){ 0 };
}

const struct link *interface_by_name(const struct interface_table *table, const char *name)
{
	for (size_t i = 0; i < table->link_count; i++)
		if (strcmp(table->links[i].name, name) == 0)
			return &table->links[i];
	return NULL;
}

const struct link *interface_by_index(const struct interface_table *table, uint32_t ifindex)
{
	for (size_t i = 0; i < table->link_count; i++)
		if (table->links[i].ifindex == ifindex)
			return &table->links[i];
	return NULL;
}

const struct link *interface_by_ip(const struct interface_table *table, const struct ip *ip)
{
	const struct link *best = NULL;

	// The owner first by index, should several have it.
	for (size_t i = 0; i < table->addr_count; i++) {
		const struct link *link;

		if (!ip_equal(&table->addrs[i].ip, ip))
			continue;
		link = interface_by_index(table, table->addrs[i].ifindex);
		if (link && (!best || link->ifindex < best->ifindex))
			best = link;
	}
	return best;
}

// What comes first has the smaller rank; RANKS: not eligible.
#define RANKS 8
static unsigned int rank(const struct addr *addr)
{
	bool temporary = addr->ip.family == AF_INET6 && (addr->flags & IFA_F_TEMPORARY);
	bool link_local = ip_is_link_local(&addr->ip);

	if ((!link_local && !ip_is_global_unicast(&addr->ip)) ||
	    (addr->flags & (IFA_F_DEPRECATED | IFA_F_DADFAILED)))
		return RANKS;
	return (link_local ? 4U : 0U) + (addr->flags & IFA_F_PERMANENT ? 0U : 2U) +
	       (temporary ? 1U : 0U);
}

const struct ip *interface_next_ip(const struct interface_table *table, const struct link *link,
				   int family, size_t *position)
{
	size_t seen = 0;

	// A host has few addresses: walking them once a rank is quicker than keeping a sorted copy
	// right.
	for (unsigned int wanted = 0; wanted < RANKS; wanted++) {
		for (size_t i = 0; i < table->addr_count; i++) {
			const struct addr *addr = &table->addrs[i];

			if (addr->ifindex != link->ifindex || addr->ip.family != family ||
			    rank(addr) != wanted)
				continue;
			if (seen++ == *position) {
				(*position)++;
				return &addr->ip;
			}
		}
	}
	return NULL;
}

static void describe_link(const struct interface_table *table, const struct link *link,
			  struct strbuf *out)
{
	char text[IP_STR_MAX];
	unsigned int count = 0;

	(void)strbuf_puts(out, link->name);
	for (size_t i = 0; i < table->addr_count; i++)
		if (table->addrs[i].ifindex == link->ifindex)
			(void)strbuf_printf(out, "%s%s", count++ == 0 ? " (" : ", ",
					    ip_str(&table->addrs[i].ip, text));
	if (count > 0)
		(void)strbuf_putc(out, ')');
}

void interface_table_describe(const struct interface_table *table, struct strbuf *out, size_t max)
{
	size_t start = out->len;

	for (size_t i = 0; i < table->link_count; i++) {
		_cleanup_strbuf_ struct strbuf one = STRBUF_INIT(4096);

		describe_link(table, &table->links[i], &one);
		if (out->len - start + one.len + 5 > max) {
			(void)strbuf_puts(out, ", ...");
			return;
		}
		(void)strbuf_printf(out, "%s%s", i == 0 ? "" : ", ", strbuf_text(&one));
	}
}
