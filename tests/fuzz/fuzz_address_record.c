// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the record of an address: the value (first byte even) and the key (odd): what is read survives being written.
#include "fuzz.h"

#include "core/mem.h"
#include "store/address_record.h"

static void fuzz_key(const char *text, size_t len)
{
	_cleanup_free_ char *again = NULL;
	struct ipnet subnet;
	struct ip ip;

	if (address_key_parse(text, len, &subnet, &ip) < 0)
		return;
	again = address_key("/p", &subnet, &ip);
	must(strlen(again) == strlen("/p/" ADDRESS_PART) + len);
	must(memcmp(again + strlen("/p/" ADDRESS_PART), text, len) == 0);
	must(ipnet_contains(&subnet, &ip));
}

static void fuzz_value(const char *text, size_t len)
{
	_cleanup_record_ struct address_record record = { 0 }, again = { 0 };
	_cleanup_free_ char *written = NULL, *rewritten = NULL;
	struct err e = { 0 };
	int r = address_record_parse(text, len, &record, &e);

	must(r <= 0 && (r < 0) == (e.msg[0] != '\0'));
	if (r < 0)
		return;
	written = address_record_format(&record);
	must(address_record_parse(written, strlen(written), &again, &e) == 0);
	rewritten = address_record_format(&again);
	must(strcmp(written, rewritten) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2)
		fuzz_key((const char *)data + 1, size - 1);
	else
		fuzz_value((const char *)data + 1, size - 1);
	return 0;
}
