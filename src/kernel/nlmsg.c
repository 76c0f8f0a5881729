// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: netlink messages as bytes: a bounded writer and a bounds-checked reader.

#include "kernel/nlmsg.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

static size_t align4(size_t len)
{
	return (len + 3) & ~(size_t)3;
}

// Room for len bytes and their padding, zeroed; NULL when they do not fit.
static uint8_t *extend(struct nlmsg *msg, size_t len)
{
	uint8_t *start = msg->data + msg->len;

	if (msg->overflow || align4(len) > msg->size - msg->len) {
		msg->overflow = true;
		return NULL;
	}
	memset(start, 0, align4(len));
	msg->len += align4(len);
	return start;
}

void nlmsg_begin(struct nlmsg *msg, void *buffer, size_t size, uint16_t type, uint16_t flags)
{
	struct nlmsghdr header = { .nlmsg_type = type, .nlmsg_flags = flags };

	*msg = (struct nlmsg){ .data = buffer, .size = size & ~(size_t)3 };
	nlmsg_put_header(msg, &header, sizeof(header));
}

void nlmsg_put_header(struct nlmsg *msg, const void *header, size_t len)
{
	uint8_t *start = extend(msg, len);

	if (start)
		memcpy(start, header, len);
}

void nlmsg_put(struct nlmsg *msg, uint16_t type, const void *data, size_t len)
{
	struct nlattr header = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = type };
	uint8_t *start;

	assert(len <= UINT16_MAX - NLA_HDRLEN);
	start = extend(msg, NLA_HDRLEN + len);
	if (!start)
		return;
	memcpy(start, &header, sizeof(header));
	if (len > 0)
		memcpy(start + NLA_HDRLEN, data, len);
}

void nlmsg_put_flag(struct nlmsg *msg, uint16_t type)
{
	nlmsg_put(msg, type, NULL, 0);
}

void nlmsg_put_u8(struct nlmsg *msg, uint16_t type, uint8_t value)
{
	nlmsg_put(msg, type, &value, sizeof(value));
}

void nlmsg_put_u16(struct nlmsg *msg, uint16_t type, uint16_t value)
{
	nlmsg_put(msg, type, &value, sizeof(value));
}

void nlmsg_put_u32(struct nlmsg *msg, uint16_t type, uint32_t value)
{
	nlmsg_put(msg, type, &value, sizeof(value));
}

void nlmsg_put_be16(struct nlmsg *msg, uint16_t type, uint16_t host_order)
{
	uint16_t value = htons(host_order);

	nlmsg_put(msg, type, &value, sizeof(value));
}

void nlmsg_put_string(struct nlmsg *msg, uint16_t type, const char *text)
{
	nlmsg_put(msg, type, text, strlen(text) + 1);
}

void nlmsg_put_ip(struct nlmsg *msg, uint16_t type, const struct ip *ip)
{
	if (ip_is_set(ip))
		nlmsg_put(msg, type, ip->bytes, ip_width_bytes(ip));
}

void nlmsg_put_mac(struct nlmsg *msg, uint16_t type, const struct mac *mac)
{
	nlmsg_put(msg, type, mac->bytes, sizeof(mac->bytes));
}

size_t nlmsg_nest_begin(struct nlmsg *msg, uint16_t type)
{
	size_t start = msg->len;

	nlmsg_put(msg, type | NLA_F_NESTED, NULL, 0);
	return start;
}

void nlmsg_nest_end(struct nlmsg *msg, size_t start)
{
	uint16_t len = (uint16_t)(msg->len - start);

	assert(msg->len - start <= UINT16_MAX);
	if (!msg->overflow)
		memcpy(msg->data + start + offsetof(struct nlattr, nla_len), &len, sizeof(len));
}

size_t nlmsg_end(struct nlmsg *msg)
{
	uint32_t len = (uint32_t)msg->len;

	if (msg->overflow)
		return 0;
	memcpy(msg->data + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
	return msg->len;
}

void nlmsg_set_sequence(void *message, uint32_t sequence)
{
	memcpy((uint8_t *)message + offsetof(struct nlmsghdr, nlmsg_seq), &sequence, sizeof(sequence));
}

void nlmsg_set_ack(void *message, bool wanted)
{
	uint8_t *at = (uint8_t *)message + offsetof(struct nlmsghdr, nlmsg_flags);
	uint16_t flags;

	memcpy(&flags, at, sizeof(flags));
	flags = (uint16_t)(wanted ? flags | NLM_F_ACK : flags & ~NLM_F_ACK);
	memcpy(at, &flags, sizeof(flags));
}

int nlmsg_next(const void *datagram, size_t len, size_t *offset, struct nlmsg_view *ret)
{
	struct nlmsghdr header;
	const uint8_t *start = (const uint8_t *)datagram + *offset;
	size_t left = len - *offset;

	assert(*offset <= len);
	if (left == 0)
		return 0;
	if (left < sizeof(header))
		return -EBADMSG;
	memcpy(&header, start, sizeof(header));
	if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > left)
		return -EBADMSG;
	*ret = (struct nlmsg_view){
		.type = header.nlmsg_type,
		.flags = header.nlmsg_flags,
		.sequence = header.nlmsg_seq,
		.port_id = header.nlmsg_pid,
		.data = start + sizeof(header),
		.len = header.nlmsg_len - sizeof(header),
	};
	*offset += align4(header.nlmsg_len) < left ? align4(header.nlmsg_len) : left;
	return 1;
}

int nlattr_next(const void *data, size_t len, size_t *offset, uint16_t *ret_type,
		struct nlattr_view *ret)
{
	struct nlattr header;
	size_t left = len - *offset;
	const uint8_t *at;

	// Fewer bytes than a header at the end are padding, as the kernel's own parser has it.
	if (left < sizeof(header))
		return 0;
	at = (const uint8_t *)data + *offset;
	memcpy(&header, at, sizeof(header));
	if (header.nla_len < sizeof(header) || header.nla_len > left)
		return -EBADMSG;
	*ret_type = header.nla_type & NLA_TYPE_MASK;
	*ret = (struct nlattr_view){
		.data = at + sizeof(header),
		.len = header.nla_len - sizeof(header),
	};
	*offset += align4(header.nla_len) < left ? align4(header.nla_len) : left;
	return 1;
}

int nlattr_index(const void *data, size_t len, struct nlattr_view *table, size_t count)
{
	struct nlattr_view attr;
	size_t offset = 0;
	uint16_t type;
	int r;

	memset(table, 0, count * sizeof(*table));
	while ((r = nlattr_next(data, len, &offset, &type, &attr)) > 0)
		if (type < count)
			table[type] = attr;
	return r;
}

static int copy_exact(const struct nlattr_view *attr, void *ret, size_t size)
{
	if (!attr->data)
		return 0;
	if (attr->len != size)
		return -EBADMSG;
	memcpy(ret, attr->data, size);
	return 0;
}

int nlattr_u8(const struct nlattr_view *attr, uint8_t *ret)
{
	return copy_exact(attr, ret, sizeof(*ret));
}

int nlattr_bool(const struct nlattr_view *attr, bool *ret)
{
	uint8_t value = *ret;
	int r;

	r = nlattr_u8(attr, &value);
	if (r < 0)
		return r;
	*ret = value != 0;
	return 0;
}

int nlattr_u16(const struct nlattr_view *attr, uint16_t *ret)
{
	return copy_exact(attr, ret, sizeof(*ret));
}

int nlattr_be16(const struct nlattr_view *attr, uint16_t *ret)
{
	uint16_t value = htons(*ret);
	int r;

	r = copy_exact(attr, &value, sizeof(value));
	if (r < 0)
		return r;
	*ret = ntohs(value);
	return 0;
}

int nlattr_u64(const struct nlattr_view *attr, uint64_t *ret)
{
	return copy_exact(attr, ret, sizeof(*ret));
}

int nlattr_u32(const struct nlattr_view *attr, uint32_t *ret)
{
	return copy_exact(attr, ret, sizeof(*ret));
}

int nlattr_ip(const struct nlattr_view *attr, int family, struct ip *ret)
{
	uint8_t bytes[16];
	int r;

	if (!attr->data)
		return 0;
	r = copy_exact(attr, bytes, family == AF_INET6 ? 16 : 4);
	if (r < 0)
		return r;
	*ret = ip_from_bytes(family, bytes);
	return 0;
}

int nlattr_mac(const struct nlattr_view *attr, struct mac *ret)
{
	if (attr->data && attr->len == sizeof(ret->bytes))
		memcpy(ret->bytes, attr->data, sizeof(ret->bytes));
	return 0;
}

int nlattr_string(const struct nlattr_view *attr, char *ret, size_t size)
{
	size_t len;

	if (!attr->data)
		return 0;
	len = strnlen((const char *)attr->data, attr->len);
	if (len > size - 1)
		len = size - 1;
	memcpy(ret, attr->data, len);
	ret[len] = '\0';
	return 0;
}

// The extended acknowledgement, which starts `skip` bytes into the message.
static int read_extack(const struct nlmsg_view *msg, size_t skip, struct nlmsg_ack *ack)
{
	struct nlattr_view table[NLMSGERR_ATTR_MSG + 1];
	int r;

	if (!(msg->flags & NLM_F_ACK_TLVS))
		return 0;
	if (align4(skip) > msg->len)
		return -EBADMSG;
	r = nlattr_index(msg->data + align4(skip), msg->len - align4(skip), table,
			 NLMSGERR_ATTR_MSG + 1);
	if (r < 0)
		return r;
	return nlattr_string(&table[NLMSGERR_ATTR_MSG], ack->text, sizeof(ack->text));
}

int nlmsg_read_error(const struct nlmsg_view *msg, struct nlmsg_ack *ret)
{
	struct nlmsg_ack ack = { 0 };
	struct nlmsgerr error;
	size_t skip = sizeof(error);

	if (msg->len < sizeof(error))
		return -EBADMSG;
	memcpy(&error, msg->data, sizeof(error));
	if (error.error > 0 || error.error < -4095)
		return -EBADMSG;
	// Without NLM_F_CAPPED the whole refused request stands between the header and the attributes.
	if (!(msg->flags & NLM_F_CAPPED) && error.msg.nlmsg_len > sizeof(error.msg))
		skip += error.msg.nlmsg_len - sizeof(error.msg);
	ack.error = error.error;
	// The words are a help and may have been cut off on the way; the code is what counts.
	(void)read_extack(msg, skip, &ack);
	*ret = ack;
	return 0;
}

int nlmsg_read_done(const struct nlmsg_view *msg, struct nlmsg_ack *ret)
{
	struct nlmsg_ack ack = { 0 };
	int32_t error = 0;

	if (msg->len >= sizeof(error))
		memcpy(&error, msg->data, sizeof(error));
	if (error < -4095)
		return -EBADMSG;
	ack.error = error < 0 ? error : 0;
	(void)read_extack(msg, sizeof(error), &ack);
	*ret = ack;
	return 0;
}
