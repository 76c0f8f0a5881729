// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the messages between weft-udp and who tells it of peers, as bytes.
//
// DOC: the protocol
//
// A SOCK_SEQPACKET unix socket; each message is one packet that begins with its own length, the
// protocol's version and a type. Numbers are in network order, an address is its family as one byte
// (4, 6, or 0 for none) and 16 bytes, a prefix the same and its length. Each request has one answer:
// an errno, and then text when that is not 0.
//
//   HELLO     answer: port, address, device, number of peers, which build it is, and how it works
//   CONFIG    networks, own subnets, addresses, MTU; takes effect at once
//   PEERS     changes. BEGIN: all peers anew from here on; COMMIT: what was told takes effect, as a
//             whole. What is not committed when its connection ends is forgotten.
//   COUNTERS  answer: names and values
//   HANDOVER  answer: with the descriptors of device and sockets, then CONFIG and PEERS messages as a
//             client would send them. The process goes on working until it is told to STOP.
//   STOP      ends the process, answered when its workers have ended
#pragma once

#include "core/strbuf.h"
#include "udp/counters.h"
#include "udp/route_table.h"

enum {
	CONTROL_VERSION = 1,
	CONTROL_MESSAGE_MAX = 48 * 1024,
	CONTROL_CHANGES_MAX = 1000, // of one message
	CONTROL_HEADER = 8,
};

enum control_type {
	CONTROL_HELLO = 1,
	CONTROL_CONFIG,
	CONTROL_PEERS,
	CONTROL_COUNTERS,
	CONTROL_HANDOVER,
	CONTROL_STOP,
	CONTROL_ANSWER = 0x80,
};

enum control_peers_flag { CONTROL_BEGIN = 1, CONTROL_COMMIT = 2 };

// A cursor over one message's bytes, which it borrows.
struct control_reader {
	const uint8_t *at, *end;
};

// Checks length and version. -EPROTO, -EPROTONOSUPPORT.
int control_open(const void *data, size_t len, enum control_type *ret_type,
		 struct control_reader *ret, struct err *e);
int control_read_config(struct control_reader *reader, struct route_config *ret, struct err *e);

struct control_change {
	bool remove; // then only the subnet counts
	struct route_peer peer;
};
int control_read_peers(struct control_reader *reader, unsigned int *ret_flags, uint32_t *ret_count,
		       struct err *e);
int control_read_change(struct control_reader *reader, struct control_change *ret, struct err *e);
// Of an answer: 0 or a negative errno, whose text is then in e. What follows is the reader's rest.
int control_read_answer(struct control_reader *reader, struct err *e);

enum { CONTROL_TEXT_MAX = 127 };
struct control_hello {
	uint16_t port;
	struct ip address;
	char device[16];
	uint32_t peers;
	char build[CONTROL_TEXT_MAX + 1];  // udp/build_id.h
	char engine[CONTROL_TEXT_MAX + 1]; // for people
};
int control_read_hello(struct control_reader *reader, struct control_hello *ret, struct err *e);
// One after the other until the reader is empty: 1, then 0. name: at least CONTROL_NAME_MAX + 1 bytes.
enum { CONTROL_NAME_MAX = 63 };
int control_read_counter(struct control_reader *reader, char name[static CONTROL_NAME_MAX + 1],
			 uint64_t *ret_value, struct err *e);

// Each empties ret first and writes one whole message. ret: STRBUF_INIT(CONTROL_MESSAGE_MAX).
void control_write_request(struct strbuf *ret, enum control_type type); // without a body
void control_write_config(struct strbuf *ret, const struct route_config *config);
void control_write_peers(struct strbuf *ret, unsigned int flags,
			 const struct control_change *changes, size_t count);
void control_write_answer(struct strbuf *ret, const struct err *e); // code 0: well
void control_write_hello(struct strbuf *ret, const struct control_hello *hello);
void control_write_counters(struct strbuf *ret, const uint64_t values[static COUNTER_COUNT]);
