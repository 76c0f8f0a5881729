// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the checksum of ICMP and the IPv4 header before it.
#include "core/icmp.h"

#include <errno.h>
#include <netinet/in.h>

#define IPV4_HEADER_MIN 20

uint16_t icmp_checksum(const uint8_t *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += icmp_get16(data + i);
	if (len % 2 == 1)
		sum += (uint32_t)data[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

int icmp_skip_ipv4(const uint8_t **data, size_t *len)
{
	size_t header;

	if (*len < IPV4_HEADER_MIN || (*data)[0] >> 4 != 4)
		return -EBADMSG;
	header = (size_t)((*data)[0] & 0xf) * 4;
	if (header < IPV4_HEADER_MIN || header > *len)
		return -EBADMSG;
	if ((*data)[9] != IPPROTO_ICMP)
		return -ENOMSG;
	*data += header;
	*len -= header;
	return 0;
}
