// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: all leases of a network as a sorted list.
#include "cli/lease_rows.h"

#include "core/json.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define EXPIRY_PARALLEL 32

// ---- reading ----

static void add_fault(struct lease_rows *rows, const char *key, const char *why, int64_t mod_revision)
{
	if (rows->fault_count == rows->fault_capacity) {
		rows->fault_capacity = rows->fault_capacity > 0 ? 2 * rows->fault_capacity : 16;
		rows->faults =
			xrealloc_array(rows->faults, rows->fault_capacity, sizeof(*rows->faults));
	}
	rows->faults[rows->fault_count++] =
		(struct lease_fault){ xstrdup(key), xstrdup(why), mod_revision };
}

static void on_lease(void *arg, struct lease *lease)
{
	struct lease_rows *rows = arg;
	struct lease_row row = { .expires_in_s = lease->session == 0 ? EXPIRY_NEVER : EXPIRY_UNKNOWN };

	row.lease = *lease;
	*lease = (struct lease){ 0 };
	if (rows->count == rows->capacity) {
		rows->capacity = rows->capacity > 0 ? 2 * rows->capacity : 64;
		rows->rows = xrealloc_array(rows->rows, rows->capacity, sizeof(*rows->rows));
	}
	rows->rows[rows->count++] = row;
}

static void on_bad(void *arg, const struct registry_bad *bad)
{
	add_fault(arg, bad->key, bad->why, bad->mod_revision);
}

static void on_read(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct lease_rows *rows = arg;

	(void)header;
	store_access_end(rows->store, r, e);
}

static int compare_rows(const void *left, const void *right)
{
	const struct lease_row *a = left, *b = right;
	int order = ipnet_compare(&a->lease.subnet.v4, &b->lease.subnet.v4);

	return order != 0 ? order : ipnet_compare(&a->lease.subnet.v6, &b->lease.subnet.v6);
}

int lease_rows_read(struct store_access *store, struct lease_rows *ret)
{
	static const struct registry_snapshot_fns fns = { on_lease, on_bad, on_read };

	ret->store = store;
	store_access_begin(store);
	registry_leases(store->registry, &fns, ret);
	if (store_access_wait(store) < 0)
		return store->r;
	if (ret->count > 0)
		qsort(ret->rows, ret->count, sizeof(*ret->rows), compare_rows);
	return 0;
}

void lease_rows_free(struct lease_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		lease_free(&rows->rows[i].lease);
	for (size_t i = 0; i < rows->fault_count; i++) {
		free(rows->faults[i].key);
		free(rows->faults[i].why);
	}
	free(rows->rows);
	free(rows->faults);
	*rows = (struct lease_rows){ 0 };
}

// ---- expiry: one question for each lease, some at a time ----

struct expiry_questions {
	struct lease_rows *rows;
	size_t next;
	size_t to;
	size_t pending;
};

// The arg of one question, by which its row is found again.
struct expiry_question {
	struct expiry_questions *all;
	size_t row;
};

static void ask_next(struct expiry_questions *all);

static void on_expiry(void *arg, int r, int64_t session, int64_t ttl_s, const struct err *e)
{
	_cleanup_free_ struct expiry_question *question = arg;
	struct expiry_questions *all = question->all;

	(void)session;
	(void)e;
	all->pending--;
	if (r == 0)
		all->rows->rows[question->row].expires_in_s = ttl_s;
	else if (r == -ENOENT)
		all->rows->rows[question->row].expires_in_s = 0;
	ask_next(all);
	if (all->pending == 0 && all->next == all->to)
		store_access_end(all->rows->store, 0, NULL);
}

static void ask_next(struct expiry_questions *all)
{
	while (all->next < all->to && all->pending < EXPIRY_PARALLEL) {
		const struct lease *lease = &all->rows->rows[all->next].lease;
		struct expiry_question *question;

		if (lease->session == 0) {
			all->next++;
			continue;
		}
		question = xnew(struct expiry_question);
		*question = (struct expiry_question){ all, all->next++ };
		all->pending++;
		registry_lease_ttl(all->rows->store->registry, lease->session, on_expiry, question);
	}
}

int lease_rows_ask_expiry(struct lease_rows *rows, size_t from, size_t to)
{
	struct expiry_questions all = { .rows = rows, .next = from, .to = to };

	if (to - from > EXPIRY_ASKED_MAX)
		all.to = from + EXPIRY_ASKED_MAX;
	store_access_begin(rows->store);
	ask_next(&all);
	if (all.pending == 0)
		return 0;
	return store_access_wait(rows->store);
}

// ---- what is wrong among readable ones ----

static void check_fit(struct lease_rows *rows, const struct lease *lease,
		      const struct netconf *conf, const char *key)
{
	const struct netconf_family *families[] = { &conf->v4, &conf->v6 };
	const struct ipnet *subnets[] = { &lease->subnet.v4, &lease->subnet.v6 };
	char network[IPNET_STR_MAX], why[160];

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		// COMPAT: on a dual-stack network a host without IPv6 is still a peer for IPv4.
		if (i == 1 && conf->v4.enabled && !ipnet_is_set(subnets[i]))
			continue;
		if (!families[i]->enabled && ipnet_is_set(subnets[i])) {
			add_fault(rows, key,
				  i == 0 ? "the network has no IPv4" : "the network has no IPv6",
				  lease->mod_revision);
		} else if (families[i]->enabled && !ipnet_is_set(subnets[i])) {
			add_fault(rows, key, i == 0 ? "has no IPv4 subnet" : "has no IPv6 subnet",
				  lease->mod_revision);
		} else if (families[i]->enabled &&
			   !ipnet_contains_net(&families[i]->network, subnets[i])) {
			(void)text_format(why, sizeof(why), "outside the network %s",
					  ipnet_str(&families[i]->network, network));
			add_fault(rows, key, why, lease->mod_revision);
		}
	}
}

static const struct ipnet *net_of(const struct lease_row *row, int family)
{
	return family == AF_INET ? &row->lease.subnet.v4 : &row->lease.subnet.v6;
}

static int compare_v4(const void *left, const void *right)
{
	return ipnet_compare(net_of(*(const struct lease_row *const *)left, AF_INET),
			     net_of(*(const struct lease_row *const *)right, AF_INET));
}

static int compare_v6(const void *left, const void *right)
{
	return ipnet_compare(net_of(*(const struct lease_row *const *)left, AF_INET6),
			     net_of(*(const struct lease_row *const *)right, AF_INET6));
}

// By address, what lies within a prefix comes right behind it: one look back finds it.
static void check_overlaps(struct lease_rows *rows, int family)
{
	_cleanup_free_ const struct lease_row **sorted =
		xnew0_array(const struct lease_row *, rows->count);
	const struct lease_row *outer = NULL;

	for (size_t i = 0; i < rows->count; i++)
		sorted[i] = &rows->rows[i];
	qsort(sorted, rows->count, sizeof(*sorted), family == AF_INET ? compare_v4 : compare_v6);
	for (size_t i = 0; i < rows->count; i++) {
		const struct lease *lease = &sorted[i]->lease;
		char key[LEASE_KEY_MAX], text[SUBNET_STR_MAX], why[SUBNET_STR_MAX + 32];

		if (!outer || !ipnet_overlaps(net_of(outer, family), net_of(sorted[i], family))) {
			outer = sorted[i];
			continue;
		}
		if (family == AF_INET6 && ipnet_overlaps(&outer->lease.subnet.v4, &lease->subnet.v4))
			continue; // said for IPv4
		subnet_format_key(&lease->subnet, key);
		(void)text_format(why, sizeof(why), "overlaps %s",
				  subnet_str(&outer->lease.subnet, text));
		add_fault(rows, key, why, lease->mod_revision);
	}
}

static const struct ip *owner_of(const struct lease_row *row)
{
	return ip_is_set(&row->lease.attrs.public_ip) ? &row->lease.attrs.public_ip
						      : &row->lease.attrs.public_ipv6;
}

static int compare_owners(const void *left, const void *right)
{
	const struct lease_row *const *a = left, *const *b = right;
	int order = ip_compare(owner_of(*a), owner_of(*b));

	return order != 0 ? order : compare_rows(*a, *b);
}

static void check_owners(struct lease_rows *rows)
{
	_cleanup_free_ const struct lease_row **by_owner =
		xnew0_array(const struct lease_row *, rows->count);

	for (size_t i = 0; i < rows->count; i++)
		by_owner[i] = &rows->rows[i];
	qsort(by_owner, rows->count, sizeof(*by_owner), compare_owners);
	for (size_t i = 1; i < rows->count; i++) {
		const struct lease *first = &by_owner[i - 1]->lease, *second = &by_owner[i]->lease;
		char key[LEASE_KEY_MAX], text[SUBNET_STR_MAX], ip[IP_STR_MAX],
			why[SUBNET_STR_MAX + 80];

		if (!ip_is_set(owner_of(by_owner[i])) ||
		    !ip_equal(owner_of(by_owner[i - 1]), owner_of(by_owner[i])))
			continue;
		subnet_format_key(&second->subnet, key);
		(void)text_format(why, sizeof(why), "public IP %s has %s too",
				  ip_str(owner_of(by_owner[i]), ip), subnet_str(&first->subnet, text));
		add_fault(rows, key, why, second->mod_revision);
	}
}

void lease_rows_check(struct lease_rows *rows, const struct netconf *conf)
{
	if (rows->count == 0)
		return;
	for (size_t i = 0; i < rows->count; i++) {
		const struct lease *lease = &rows->rows[i].lease;
		char key[LEASE_KEY_MAX];

		subnet_format_key(&lease->subnet, key);
		if (conf)
			check_fit(rows, lease, conf, key);
		if (!ip_is_set(owner_of(&rows->rows[i])))
			add_fault(rows, key, "has no public IP", lease->mod_revision);
	}
	check_overlaps(rows, AF_INET);
	check_overlaps(rows, AF_INET6);
	check_owners(rows);
}

// ---- for programs ----

static json_t *json_or_null(const char *text)
{
	json_t *value = NULL;

	if (text && json_read(text, strlen(text), LEASE_VALUE_MAX, &value, NULL) == 0)
		return value;
	return json_null();
}

static json_t *text_or_null(bool is_set, const char *text)
{
	return is_set ? json_string(text) : json_null();
}

json_t *lease_row_json(const struct lease_row *row)
{
	const struct lease *lease = &row->lease;
	const struct lease_attrs *attrs = &lease->attrs;
	_cleanup_free_ char *session = xasprintf("%lld", (long long)lease->session);
	char key[LEASE_KEY_MAX], net[IPNET_STR_MAX], ip[IP_STR_MAX];
	json_t *object = json_object();

	subnet_format_key(&lease->subnet, key);
	json_object_set_new(object, "key", json_string(key));
	json_object_set_new(object, "subnet",
			    text_or_null(ipnet_is_set(&lease->subnet.v4),
					 ipnet_str(&lease->subnet.v4, net)));
	json_object_set_new(object, "ipv6_subnet",
			    text_or_null(ipnet_is_set(&lease->subnet.v6),
					 ipnet_str(&lease->subnet.v6, net)));
	json_object_set_new(object, "public_ip",
			    text_or_null(ip_is_set(&attrs->public_ip), ip_str(&attrs->public_ip, ip)));
	json_object_set_new(object, "public_ipv6",
			    text_or_null(ip_is_set(&attrs->public_ipv6),
					 ip_str(&attrs->public_ipv6, ip)));
	json_object_set_new(object, "backend_type", json_string(attrs->backend_type));
	json_object_set_new(object, "backend_data", json_or_null(attrs->backend_data));
	json_object_set_new(object, "backend_v6_data", json_or_null(attrs->backend_v6_data));
	if (attrs->paths)
		json_object_set_new(object, "paths", json_or_null(attrs->paths));
	json_object_set_new(object, "extra", json_or_null(attrs->extra));
	json_object_set_new(object, "reservation", json_boolean(lease->session == 0));
	json_object_set_new(object, "expires_in_s",
			    row->expires_in_s < 0 ? json_null() : json_integer(row->expires_in_s));
	// 64 bits do not fit the numbers of many JSON readers.
	json_object_set_new(object, "session", json_string(session));
	json_object_set_new(object, "mod_revision", json_integer(lease->mod_revision));
	return object;
}

json_t *lease_faults_json(const struct lease_rows *rows)
{
	json_t *list = json_array();

	for (size_t i = 0; i < rows->fault_count; i++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "key", rows->faults[i].key,
						      "why", rows->faults[i].why));
	return list;
}
