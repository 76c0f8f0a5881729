// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making the delegate's configuration. Its text is also what is kept for DEL, and so of the same bytes as flannel's.
#include "cni/flannel.h"

#include "core/mem.h"
#include "core/text.h"

#include <errno.h>

struct building {
	const struct conf *conf;
	const struct subnet_file *file;
	struct doc *doc;
	struct doc_value *delegate;
	struct fault *fault;
};

static int check_delegate(const struct building *building, const struct doc_value *delegate)
{
	const struct doc_value *type = doc_get(delegate, "type");

	if (type && type->kind != DOC_STRING)
		return fault_set(building->fault, FAULT_CONFIG,
				 "'delegate' dictionary, if present, must have (string) 'type' field");
	if (doc_get(delegate, "name"))
		return fault_set(
			building->fault, FAULT_CONFIG,
			"'delegate' dictionary must not have 'name' field, it'll be set by flannel");
	if (doc_get(delegate, "ipam"))
		return fault_set(
			building->fault, FAULT_CONFIG,
			"'delegate' dictionary must not have 'ipam' field, it'll be set by flannel");
	return 0;
}

static void set_default(const struct building *building, const char *key, struct doc_value *value)
{
	if (!doc_get(building->delegate, key))
		doc_set(building->doc, building->delegate, key, value);
}

static void fill_delegate(const struct building *building)
{
	const struct doc_value *root = building->conf->root,
			       *runtime = doc_get_kind(root, "runtimeConfig", DOC_OBJECT);
	const char *version = doc_get_text(root, "cniVersion");
	struct doc *doc = building->doc;

	if (runtime)
		doc_set(doc, building->delegate, "runtimeConfig", doc_copy(doc, runtime));
	doc_set(doc, building->delegate, "name", doc_new_text(doc, building->conf->name));
	set_default(building, "type", doc_new_text(doc, "bridge"));
	if (building->file) {
		set_default(building, "ipMasq", doc_new_bool(doc, !building->file->ip_masq));
		set_default(building, "mtu", doc_new_u64(doc, building->file->mtu_bytes));
	}
	if (text_equal(doc_get_text(building->delegate, "type"), "bridge"))
		set_default(building, "isGateway", doc_new_bool(doc, true));
	if (version && *version)
		doc_set(doc, building->delegate, "cniVersion", doc_new_text(doc, version));
}

static void append_range(struct doc *doc, struct doc_value *ranges, const struct ipnet *subnet)
{
	struct doc_value *set = doc_new(doc, DOC_ARRAY), *range = doc_new(doc, DOC_OBJECT);
	char text[IPNET_STR_MAX];

	if (!ipnet_is_set(subnet))
		return;
	doc_set(doc, range, "subnet", doc_new_text(doc, ipnet_str(subnet, text)));
	doc_append(set, range);
	doc_append(ranges, set);
}

// The user's own routes first.
static int fill_routes(const struct building *building, struct doc_value *ipam)
{
	const struct doc_value *user = doc_get(ipam, "routes");
	struct doc *doc = building->doc;
	struct doc_value *routes;
	char text[IPNET_STR_MAX];

	if (user && user->kind != DOC_ARRAY && user->kind != DOC_NULL)
		return fault_set(building->fault, FAULT_CONFIG, "ipam.routes is no list");
	routes = user && user->kind == DOC_ARRAY ? doc_copy(doc, user) : doc_new(doc, DOC_ARRAY);
	for (size_t i = 0; i < building->file->network_count; i++) {
		struct doc_value *route = doc_new(doc, DOC_OBJECT);

		doc_set(doc, route, "dst",
			doc_new_text(doc, ipnet_str(&building->file->networks[i], text)));
		doc_append(routes, route);
	}
	doc_set(doc, ipam, "routes", routes);
	return 0;
}

static int fill_ipam(const struct building *building)
{
	const struct doc_value *user = doc_get_kind(building->conf->root, "ipam", DOC_OBJECT);
	struct doc *doc = building->doc;
	struct doc_value *ipam = user ? doc_copy(doc, user) : doc_new(doc, DOC_OBJECT);
	struct doc_value *ranges = doc_new(doc, DOC_ARRAY);

	if (!doc_get(ipam, "type"))
		doc_set(doc, ipam, "type", doc_new_text(doc, "host-local"));
	doc_set(doc, building->delegate, "ipam", ipam);
	if (!building->file)
		return 0;
	append_range(doc, ranges, &building->file->subnet_v4);
	append_range(doc, ranges, &building->file->subnet_v6);
	doc_set(doc, ipam, "ranges", ranges);
	return fill_routes(building, ipam);
}

int flannel_build(const struct conf *conf, const struct subnet_file *file, struct strbuf *out,
		  struct fault *fault)
{
	const struct doc_value *delegate = doc_get(conf->root, "delegate");
	struct doc doc = { 0 };
	struct building building = { .conf = conf, .file = file, .doc = &doc, .fault = fault };
	int r;

	if (delegate && delegate->kind != DOC_OBJECT && delegate->kind != DOC_NULL)
		return fault_set(fault, FAULT_CONFIG, "'delegate' is no dictionary");
	r = check_delegate(&building, delegate);
	if (r < 0)
		return r;
	building.delegate = delegate && delegate->kind == DOC_OBJECT ? doc_copy(&doc, delegate)
								     : doc_new(&doc, DOC_OBJECT);
	building.delegate->key = NULL;
	fill_delegate(&building);
	r = fill_ipam(&building);
	if (r == 0 && doc_write(building.delegate, true, out) < 0)
		r = fault_set(fault, FAULT_CONFIG, "the delegate's configuration is too long");
	doc_free(&doc);
	return r;
}
