// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the peers that a plan leaves out, and why.
#include "agent/view_failed.h"

static json_t *net_text(const struct ipnet *net)
{
	char text[IPNET_STR_MAX];
	return ipnet_is_set(net) ? json_string(ipnet_str(net, text)) : json_null();
}

json_t *view_failed(const struct trouble *trouble)
{
	const struct trouble_entry *entry;
	size_t position = 0;
	if (trouble_count(trouble, false) == 0)
		return NULL;
	json_t *list = json_array();
	while (json_array_size(list) < VIEW_FAILED_MAX && (entry = trouble_next(trouble, &position)))
		if (!entry->ignored)
			json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "subnet",
							      net_text(&entry->subnet.v4), "ipv6_subnet",
							      net_text(&entry->subnet.v6), "error",
							      entry->text));
	return list;
}
