// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the plugins' readers of subnet.env and resolv.conf.
#include "fuzz.h"

#include "cni/resolv.h"
#include "cni/subnet_file.h"
#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	const struct doc_value *dns;
	struct subnet_file file;
	struct doc doc = { 0 };
	struct fault fault;

	if (subnet_file_parse("x", text, &file, &fault) == 0) {
		must(file.network_count > 0 && file.network_count <= SUBNET_FILE_NETWORKS_MAX);
		must(ipnet_is_set(&file.subnet_v4) || ipnet_is_set(&file.subnet_v6));
		for (size_t i = 1; i < file.network_count; i++)
			must(file.networks[i - 1].addr.family == file.networks[i].addr.family ||
			     file.networks[i].addr.family == AF_INET6);
	} else {
		must(fault.msg[0]);
	}
	resolv_parse(text, &doc, &dns);
	must(dns->kind == DOC_OBJECT);
	doc_free(&doc);
	return 0;
}
