// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the names of what the packet path counts.
#include "udp/counters.h"

#include "core/mem.h"

static const char *const names[] = {
	[COUNTER_TUN_READS] = "tun_reads",
	[COUNTER_TUN_BYTES] = "tun_bytes",
	[COUNTER_SENT_DATAGRAMS] = "sent_datagrams",
	[COUNTER_SENT_BYTES] = "sent_bytes",
	[COUNTER_SENDS] = "sends",
	[COUNTER_SEND_CALLS] = "send_calls",
	[COUNTER_SENT_SINGLY] = "sent_singly",
	[COUNTER_RECEIVED_DATAGRAMS] = "received_datagrams",
	[COUNTER_RECEIVED_BYTES] = "received_bytes",
	[COUNTER_RECEIVES] = "receives",
	[COUNTER_RECEIVE_CALLS] = "receive_calls",
	[COUNTER_TUN_WRITES] = "tun_writes",
	[COUNTER_JOINED] = "joined",
	[COUNTER_JOINS_REFUSED] = "joins_refused",
	[COUNTER_WAITS] = "waits",
	[COUNTER_ICMP_SENT] = "icmp_sent",
	[COUNTER_DROP_TUN_MALFORMED] = "drop_tun_malformed",
	[COUNTER_DROP_NO_ROUTE] = "drop_no_route",
	[COUNTER_DROP_TO_SELF] = "drop_to_self",
	[COUNTER_DROP_TO_MANY] = "drop_to_many",
	[COUNTER_DROP_TOO_BIG] = "drop_too_big",
	[COUNTER_DROP_TTL_OUT] = "drop_ttl_out",
	[COUNTER_DROP_SEND_FULL] = "drop_send_full",
	[COUNTER_DROP_SEND_ERROR] = "drop_send_error",
	[COUNTER_DROP_ICMP_LIMIT] = "drop_icmp_limit",
	[COUNTER_DROP_SHORT] = "drop_short",
	[COUNTER_DROP_VERSION] = "drop_version",
	[COUNTER_DROP_HEADER] = "drop_header",
	[COUNTER_DROP_LENGTH] = "drop_length",
	[COUNTER_DROP_CHECKSUM] = "drop_checksum",
	[COUNTER_DROP_TRUNCATED] = "drop_truncated",
	[COUNTER_DROP_SPOOFED] = "drop_spoofed",
	[COUNTER_DROP_NOT_OURS] = "drop_not_ours",
	[COUNTER_DROP_TTL_IN] = "drop_ttl_in",
	[COUNTER_DROP_TUN_WRITE] = "drop_tun_write",
};
_Static_assert(ARRAY_SIZE(names) == COUNTER_COUNT, "one name each");

const char *counter_name(enum counter counter)
{
	return names[counter];
}
