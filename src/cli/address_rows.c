// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: all records of addresses in a network as a sorted list, with what is wrong among them.
#include "cli/address_rows.h"

#include "cli/lease_rows.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

#define NODE_VALUE_MAX 16384

void address_row_free(struct address_row *row)
{
	address_record_free(&row->record);
}

void address_rows_free(struct address_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		address_row_free(&rows->rows[i]);
	free(rows->rows);
	free(rows->prefix);
	*rows = (struct address_rows){ 0 };
}

bool address_row_read(const struct kv_pair *pair, const char *prefix, struct address_row *ret)
{
	size_t len = strlen(prefix);
	struct err e;

	*ret = (struct address_row){ .mod_revision = pair->mod_revision };
	if (pair->raw_key_len < len || memcmp(pair->raw_key, prefix, len) != 0 ||
	    address_key_parse(pair->raw_key + len, pair->raw_key_len - len, &ret->subnet, &ret->ip) < 0)
		return false;
	ret->is_readable = address_record_parse(pair->value, pair->value_len, &ret->record, &e) == 0;
	if (!ret->is_readable)
		(void)text_copy(ret->why, sizeof(ret->why), err_msg(&e));
	return true;
}

void address_row_pod(const struct address_row *row, char *ret, size_t size)
{
	const struct address_record *record = &row->record;

	if (row->is_readable)
		(void)text_format(ret, size, "%s%s%s", record->ns, *record->ns ? "/" : "", record->pod);
	else
		(void)text_copy(ret, size, "");
}

json_t *address_row_json(const struct address_row *row)
{
	const struct address_record *record = &row->record;
	char ip[IP_STR_MAX], subnet[IPNET_STR_MAX];
	json_t *object = json_pack("{s:s, s:s}", "ip", ip_str(&row->ip, ip), "subnet",
				   ipnet_str(&row->subnet, subnet));

	json_object_set_new(object, "mod_revision", json_integer(row->mod_revision));
	if (!row->is_readable) {
		json_object_set_new(object, "error", json_string(row->why));
		return object;
	}
	json_object_set_new(object, "state", json_string(address_state_names[record->state]));
	json_object_set_new(object, "keep",
			    record->keep == ADDRESS_USED
				    ? json_null()
				    : json_string(address_state_names[record->keep]));
	json_object_set_new(object, "host", json_string(record->node));
	json_object_set_new(object, "cni_network", json_string(record->net));
	json_object_set_new(object, "container", json_string(record->cid));
	json_object_set_new(object, "interface", json_string(record->ifname));
	json_object_set_new(object, "namespace", json_string(record->ns));
	json_object_set_new(object, "pod", json_string(record->pod));
	json_object_set_new(object, "uid", json_string(record->uid));
	json_object_set_new(object, "since", json_integer(record->since_s));
	json_object_set_new(object, "leaked", *row->leak ? json_string(row->leak) : json_null());
	return object;
}

// ---- reading ----

static void on_record(void *arg, const struct kv_pair *pair)
{
	struct address_rows *rows = arg;
	struct address_row row;

	if (!address_row_read(pair, rows->prefix, &row))
		return;
	if (rows->count == rows->capacity) {
		rows->capacity = rows->capacity == 0 ? 64 : rows->capacity * 2;
		rows->rows = xrealloc_array(rows->rows, rows->capacity, sizeof(*rows->rows));
	}
	rows->rows[rows->count++] = row;
}

static void on_records(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct address_rows *rows = arg;

	if (header) {
		rows->revision = header->revision;
		rows->cluster_id = header->cluster_id;
	}
	store_access_end(rows->store, r, e);
}

static int compare_rows(const void *left, const void *right)
{
	const struct address_row *a = left, *b = right;

	return ip_compare(&a->ip, &b->ip);
}

int address_rows_read(struct store_access *store, struct address_rows *ret)
{
	int r;

	*ret = (struct address_rows){ .store = store,
				      .prefix = xasprintf("%s/" ADDRESS_PART, store->prefix) };
	store_access_begin(store);
	kv_range(store->kv, ret->prefix, true, on_record, on_records, ret);
	r = store_access_wait(store);
	if (r == 0 && ret->count > 0)
		qsort(ret->rows, ret->count, sizeof(*ret->rows), compare_rows);
	return r;
}

// ---- leaks ----

// What agents say of themselves: boot ids by host.
struct node_boots {
	struct store_access *store;
	char *prefix;
	json_t *boots;
};

static void on_node(void *arg, const struct kv_pair *pair)
{
	struct node_boots *nodes = arg;
	_cleanup_json_ json_t *object = NULL;
	size_t len = strlen(nodes->prefix);
	const char *boot = NULL;

	if (!pair->value || pair->raw_key_len <= len ||
	    json_read(pair->value, pair->value_len, NODE_VALUE_MAX, &object, NULL) < 0 ||
	    json_get_string(object, "boot", &boot, NULL) < 0 || !boot)
		return;
	(void)json_object_set_new(nodes->boots, pair->key + len, json_string(boot));
}

static void on_nodes(void *arg, int r, const struct kv_header *header, const struct err *e)
{
	struct node_boots *nodes = arg;

	(void)header;
	store_access_end(nodes->store, r, e);
}

static int read_boots(struct store_access *store, json_t *ret)
{
	_cleanup_free_ char *prefix = xasprintf("%s/" ADDRESS_NODE_PART, store->prefix);
	struct node_boots nodes = { store, prefix, ret };

	store_access_begin(store);
	kv_range(store->kv, prefix, true, on_node, on_nodes, &nodes);
	return store_access_wait(store);
}

static const struct lease *lease_of(const struct lease_rows *leases, const struct ipnet *subnet)
{
	for (size_t i = 0; i < leases->count; i++) {
		const struct lease *lease = &leases->rows[i].lease;

		if (ipnet_equal(&lease->subnet.v4, subnet) || ipnet_equal(&lease->subnet.v6, subnet))
			return lease;
	}
	return NULL;
}

static void judge(struct address_row *row, const struct lease *lease, const char *boot)
{
	const struct address_record *record = &row->record;
	char v4[IP_STR_MAX], v6[IP_STR_MAX];

	if (!lease) {
		(void)text_copy(row->leak, sizeof(row->leak), "nobody has a lease of its subnet");
		return;
	}
	(void)ip_str(&lease->attrs.public_ip, v4);
	(void)ip_str(&lease->attrs.public_ipv6, v6);
	if (strcmp(record->node, v4) != 0 && strcmp(record->node, v6) != 0 &&
	    !(*record->owner && owner_is_marked(lease->attrs.extra, record->owner)))
		(void)text_format(row->leak, sizeof(row->leak), "its subnet is of host %s now",
				  ip_is_set(&lease->attrs.public_ip) ? v4 : v6);
	else if (boot && strcmp(record->boot, boot) != 0)
		(void)text_copy(row->leak, sizeof(row->leak), "its host was started anew since");
}

int address_rows_find_leaks(struct address_rows *rows)
{
	_cleanup_lease_rows_ struct lease_rows leases = { 0 };
	_cleanup_json_ json_t *boots = json_object();
	int r = lease_rows_read(rows->store, &leases);
	const struct lease *lease = NULL;

	if (r == 0)
		r = read_boots(rows->store, boots);
	for (size_t i = 0; r == 0 && i < rows->count; i++) {
		struct address_row *row = &rows->rows[i];

		// Addresses of one subnet stand together.
		if (i == 0 || !ipnet_equal(&row->subnet, &rows->rows[i - 1].subnet))
			lease = lease_of(&leases, &row->subnet);
		if (row->is_readable && row->record.state == ADDRESS_USED)
			judge(row, lease, json_string_value(json_object_get(boots, row->record.node)));
	}
	return r;
}
