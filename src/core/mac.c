// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a 48-bit MAC address as a value.
#include "core/mac.h"

#include "core/hash.h"
#include "core/parse.h"

#include <errno.h>
#include <string.h>

int mac_parse(const char *text, struct mac *ret)
{
	struct mac mac;

	for (unsigned int i = 0; i < sizeof(mac.bytes); i++) {
		const char *start;
		uint64_t value;

		if (i > 0 && !parse_char(&text, ':'))
			return -EINVAL;
		start = text;
		if (!parse_hex(&text, 2, &value) || text - start != 2)
			return -EINVAL;
		mac.bytes[i] = (uint8_t)value;
	}
	if (!parse_end(text))
		return -EINVAL;
	*ret = mac;
	return 0;
}

const char *mac_str(const struct mac *mac, char buf[static MAC_STR_MAX])
{
	static const char digits[] = "0123456789abcdef";
	char *out = buf;

	for (unsigned int i = 0; i < sizeof(mac->bytes); i++) {
		if (i > 0)
			*out++ = ':';
		*out++ = digits[mac->bytes[i] >> 4];
		*out++ = digits[mac->bytes[i] & 0xf];
	}
	*out = '\0';
	return buf;
}

bool mac_equal(const struct mac *a, const struct mac *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool mac_is_usable(const struct mac *mac)
{
	static const struct mac zero;

	return (mac->bytes[0] & 1) == 0 && !mac_equal(mac, &zero);
}

struct mac mac_derive(const void *seed, size_t len)
{
	uint64_t hash = hash_stable(seed, len);
	struct mac mac;

	for (unsigned int i = 0; i < sizeof(mac.bytes); i++)
		mac.bytes[i] = (uint8_t)(hash >> (8 * i));
	mac.bytes[0] = (uint8_t)((mac.bytes[0] & 0xfc) | 0x02);
	return mac;
}
