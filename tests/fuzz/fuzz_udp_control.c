// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the messages that weft-udp is told of peers by: what is read is written as the same, and gives a table or an
// error that says why.
#include "fuzz.h"

#include "core/mem.h"
#include "udp/control.h"
#include "udp/peer_list.h"

#include <errno.h>

static void try_config(struct control_reader reader, const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(CONTROL_MESSAGE_MAX);
	struct route_config config;
	struct route_table *table = NULL;
	struct err e = { 0 };
	if (control_read_config(&reader, &config, &e) < 0) {
		must(e.msg[0] != '\0');
		return;
	}
	control_write_config(&out, &config);
	must(out.len == size && memcmp(out.data, data, size) == 0);
	// Networks of more than 2^16 subnets are right, and slow to make.
	if (config.v4.network.len >= 8 && config.v4.own.len <= 24 &&
	    route_table_new(&config, NULL, 0, &table, &e) < 0)
		must(e.msg[0] != '\0');
	route_table_free(table);
}

static void try_table(const struct peer_list *peers)
{
	struct route_config config = { .mtu = 1472 };
	struct route_table *table = NULL;
	struct err e = { 0 };
	must(ipnet_parse("10.1.0.0/16", &config.v4.network) == 0 &&
	     ipnet_parse("fc00::/7", &config.v6.network) == 0);
	if (route_table_new(&config, peers->items, peers->count, &table, &e) < 0) {
		must(e.msg[0] != '\0');
		return;
	}
	for (size_t i = 0; i < peers->count; i++) {
		const struct ipnet *subnet = &peers->items[i].subnet;
		uint32_t at = route_find(table, subnet->addr.family == AF_INET ? 4 : 6,
					 subnet->addr.bytes);
		must(at >= ROUTE_FIRST_HOST && at < table->host_count);
	}
	route_table_free(table);
}

static void try_peers(struct control_reader reader, const uint8_t *data, size_t size)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(CONTROL_MESSAGE_MAX);
	struct control_change *changes = xnew0_array(struct control_change, CONTROL_CHANGES_MAX);
	struct peer_list list = { 0 };
	unsigned int flags;
	uint32_t count, got = 0;
	struct err e = { 0 };
	if (control_read_peers(&reader, &flags, &count, &e) == 0) {
		must(count <= CONTROL_CHANGES_MAX);
		while (got < count && control_read_change(&reader, &changes[got], &e) == 0)
			peer_list_apply(&list, &changes[got++]);
	}
	must(e.code == 0 || e.msg[0] != '\0');
	if (e.code == 0 && reader.at == reader.end) {
		control_write_peers(&out, flags, changes, count);
		must(out.len == size && memcmp(out.data, data, size) == 0);
	}
	for (size_t i = 1; i < list.count; i++)
		must(ipnet_compare(&list.items[i - 1].subnet, &list.items[i].subnet) < 0);
	try_table(&list);
	peer_list_free(&list);
	free(changes);
}

static void try_answer(struct control_reader reader)
{
	struct control_hello hello;
	struct err e = { 0 };
	char name[CONTROL_NAME_MAX + 1];
	uint64_t value;
	int r = control_read_answer(&reader, &e);
	must(r == e.code && r <= 0);
	struct control_reader copy = reader;
	if (control_read_hello(&copy, &hello, NULL) == 0)
		must(strlen(hello.build) <= CONTROL_TEXT_MAX &&
		     strlen(hello.engine) <= CONTROL_TEXT_MAX &&
		     strlen(hello.device) < sizeof(hello.device));
	while (control_read_counter(&reader, name, &value, NULL) > 0)
		must(strlen(name) <= CONTROL_NAME_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_reader reader;
	enum control_type type;
	struct err e = { 0 };
	uint8_t *copy = (uint8_t *)text_of(data, size);
	int r = control_open(copy, size, &type, &reader, &e);
	must(r == 0 || ((r == -EPROTO || r == -EPROTONOSUPPORT) && e.msg[0] != '\0'));
	if (r == 0) {
		if (type == CONTROL_CONFIG)
			try_config(reader, copy, size);
		else if (type == CONTROL_PEERS)
			try_peers(reader, copy, size);
		else
			try_answer(reader);
	}
	free(copy);
	return 0;
}
