// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: netlink messages as bytes: a bounded writer and a bounds-checked reader. No socket and no library below, so that
// a static program can use it as it is.
#pragma once

#include "core/ip.h"
#include "core/mac.h"

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A message under construction in the caller's buffer. Numbers are in host order unless a function says otherwise.
struct nlmsg {
	uint8_t *data;
	size_t size;
	size_t len;
	bool overflow; // something did not fit; nothing was added then, nor after
};

void nlmsg_begin(struct nlmsg *msg, void *buffer, size_t size, uint16_t type, uint16_t flags);
void nlmsg_put_header(struct nlmsg *msg, const void *header,
		      size_t len); // the family's fixed part, once, first
void nlmsg_put(struct nlmsg *msg, uint16_t type, const void *data, size_t len);
void nlmsg_put_flag(struct nlmsg *msg, uint16_t type);
void nlmsg_put_u8(struct nlmsg *msg, uint16_t type, uint8_t value);
void nlmsg_put_u16(struct nlmsg *msg, uint16_t type, uint16_t value);
void nlmsg_put_u32(struct nlmsg *msg, uint16_t type, uint32_t value);
void nlmsg_put_be16(struct nlmsg *msg, uint16_t type, uint16_t host_order);
void nlmsg_put_string(struct nlmsg *msg, uint16_t type, const char *text); // with its terminator
void nlmsg_put_ip(struct nlmsg *msg, uint16_t type, const struct ip *ip);  // none: nothing is added
void nlmsg_put_mac(struct nlmsg *msg, uint16_t type, const struct mac *mac);
size_t nlmsg_nest_begin(struct nlmsg *msg, uint16_t type); // returns what nlmsg_nest_end wants
void nlmsg_nest_end(struct nlmsg *msg, size_t start);
// Writes the length into the header. The message's length, a multiple of four, or 0 when it did not fit.
size_t nlmsg_end(struct nlmsg *msg);

// Overwrite the sequence number, and the wish for an acknowledgement, of a finished message.
void nlmsg_set_sequence(void *message, uint32_t sequence);
void nlmsg_set_ack(void *message, bool wanted);

// One message inside a received datagram; data is what follows the netlink header.
struct nlmsg_view {
	uint16_t type;
	uint16_t flags;
	uint32_t sequence;
	uint32_t port_id;
	const uint8_t *data;
	size_t len;
};

// Reads the message at *offset and moves past it. 1: there is one; 0: end; -EBADMSG: what is left is no message.
int nlmsg_next(const void *datagram, size_t len, size_t *offset, struct nlmsg_view *ret);

// One attribute; data is NULL if absent.
struct nlattr_view {
	const uint8_t *data;
	size_t len;
};

// Reads the attribute at *offset and moves past it. 1: there is one; 0: end; -EBADMSG: its length does not fit.
int nlattr_next(const void *data, size_t len, size_t *offset, uint16_t *ret_type,
		struct nlattr_view *ret);

// Fills table[type] for the attributes in data[0..len) whose type is below count; of several of one type, the last.
// All of table is written. -EBADMSG when an attribute's length does not fit.
int nlattr_index(const void *data, size_t len, struct nlattr_view *table, size_t count);

// Values. Absent leaves *ret as it is and returns 0; a wrong length is -EBADMSG.
int nlattr_u8(const struct nlattr_view *attr, uint8_t *ret);
int nlattr_bool(const struct nlattr_view *attr, bool *ret); // a byte that is not zero
int nlattr_u16(const struct nlattr_view *attr, uint16_t *ret);
int nlattr_be16(const struct nlattr_view *attr, uint16_t *ret); // gives host order
int nlattr_u64(const struct nlattr_view *attr, uint64_t *ret);
int nlattr_u32(const struct nlattr_view *attr, uint32_t *ret);
int nlattr_ip(const struct nlattr_view *attr, int family, struct ip *ret);
int nlattr_mac(const struct nlattr_view *attr,
	       struct mac *ret); // another length than six leaves *ret, and is fine
// Cut to fit, always terminated, stops at the first NUL.
int nlattr_string(const struct nlattr_view *attr, char *ret, size_t size);

// What an NLMSG_ERROR, or the NLMSG_DONE of a dump, says.
struct nlmsg_ack {
	int error;	// 0 or negative errno
	char text[160]; // the kernel's words, "" if none
};

int nlmsg_read_error(const struct nlmsg_view *msg, struct nlmsg_ack *ret); // -EBADMSG
int nlmsg_read_done(const struct nlmsg_view *msg, struct nlmsg_ack *ret);  // -EBADMSG
