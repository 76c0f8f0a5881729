// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what a runtime hands to a plugin: CNI_ARGS up to the first line end, and the configuration behind it with
// all that is read from one: wishes, ranges, results, flannel's delegate.
#include "fuzz.h"

#include "cni/args.h"
#include "cni/flannel.h"
#include "cni/host_local.h"
#include "core/mem.h"

// What was read is written in each version, and the new ones are read again as the same.
static void check_result(const struct result *result)
{
	for (int version = 0; version < CNI_VERSION_COUNT; version++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(DOC_TEXT_MAX);
		struct doc doc = { 0 };
		struct result *again = xnew(struct result);
		struct fault fault;
		int r = result_write(result, (enum cni_version)version, &text, &fault);

		must(r == 0 || (version <= CNI_0_2_0 && result->ip_count == 0));
		if (r == 0) {
			must(doc_parse(&doc, text.data, text.len, NULL) == 0);
			must(result_read(again, doc.root, &fault) == 0);
			must(version <= CNI_0_2_0 ||
			     (again->ip_count == result->ip_count &&
			      again->route_count == result->route_count &&
			      again->interface_count == result->interface_count));
		}
		doc_free(&doc);
		free(again);
	}
}

static void check_ranges(const struct conf *conf)
{
	struct host_local_conf *sets = xnew(struct host_local_conf);
	struct fault fault;

	if (host_local_read(sets, conf, &fault) == 0)
		for (size_t i = 0; i < sets->set_count; i++) {
			struct ip none = { 0 }, first = host_local_next(&sets->sets[i], &none);
			struct ip second = host_local_next(&sets->sets[i], &first);

			must(host_local_contains(&sets->sets[i], &first));
			must(host_local_contains(&sets->sets[i], &second));
		}
	free(sets);
}

static void check_delegate(const struct call *call, const struct conf *conf)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(DOC_TEXT_MAX);
	struct subnet_file file = { .network_count = 1, .mtu_bytes = 1450 };
	struct conf delegate = { 0 };
	struct fault fault;

	must(ipnet_parse("10.5.0.0/16", &file.networks[0]) == 0);
	must(ipnet_parse("10.5.34.0/24", &file.subnet_v4) == 0);
	if (flannel_build(conf, &file, &text, &fault) == 0) {
		must(conf_read(&delegate, call, text.data, text.len, &fault) == 0);
		must(strcmp(delegate.name, conf->name) == 0);
		must(delegate.version == conf->version);
	}
	conf_free(&delegate);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	char *body = strchr(text, '\n');
	struct call call = { .command = COMMAND_ADD, .args = text };
	struct result *result = xnew(struct result);
	struct wish wish;
	struct conf conf = { 0 };
	struct fault fault;

	if (body)
		*body++ = '\0';
	if (conf_read(&conf, &call, body ? body : "", body ? strlen(body) : 0, &fault) == 0) {
		if (wish_read(&wish, &call, &conf, &fault) == 0)
			must(wish.ip_count <= WISH_IPS_MAX);
		check_ranges(&conf);
		check_delegate(&call, &conf);
		if (result_read(result, doc_get(conf.root, "prevResult"), &fault) == 0)
			check_result(result);
	} else {
		must(fault.code != 0 && fault.msg[0]);
	}
	conf_free(&conf);
	free(result);
	return 0;
}
