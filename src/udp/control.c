// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the messages between weft-udp and who tells it of peers, as bytes.
#include "udp/control.h"

#include <errno.h>

static int cut_short(struct err *e)
{
	return err_set(e, -EPROTO, "the message is cut short");
}

static const uint8_t *take(struct control_reader *reader, size_t len)
{
	const uint8_t *at = reader->at;
	if ((size_t)(reader->end - at) < len)
		return NULL;
	reader->at += len;
	return at;
}

static bool take16(struct control_reader *reader, uint16_t *ret)
{
	const uint8_t *at = take(reader, 2);
	if (at)
		*ret = load16(at);
	return at != NULL;
}

static bool take32(struct control_reader *reader, uint32_t *ret)
{
	const uint8_t *at = take(reader, 4);
	if (at)
		*ret = load32(at);
	return at != NULL;
}

// Bytes that an address of that family does not have must be 0, so that equal ones are equal.
static bool take_ip(struct control_reader *reader, struct ip *ret)
{
	const uint8_t *at = take(reader, 17);
	if (!at || (at[0] != 0 && at[0] != 4 && at[0] != 6))
		return false;
	struct ip ip = { .family = at[0] == 4 ? AF_INET : at[0] == 6 ? AF_INET6 : AF_UNSPEC };
	memcpy(ip.bytes, at + 1, ip_width_bytes(&ip));
	if (memcmp(ip.bytes, at + 1, 16) != 0)
		return false;
	*ret = ip;
	return true;
}

static bool take_net(struct control_reader *reader, struct ipnet *ret)
{
	struct ip ip;
	const uint8_t *len = NULL;
	if (!take_ip(reader, &ip) || !(len = take(reader, 1)) || *len > ip_width_bits(&ip))
		return false;
	struct ipnet net = ipnet_of(&ip, *len);
	if (!ip_equal(&net.addr, &ip))
		return false;
	*ret = net;
	return true;
}

int control_open(const void *data, size_t len, enum control_type *ret_type,
		 struct control_reader *ret, struct err *e)
{
	struct control_reader reader = { data, (const uint8_t *)data + len };
	uint32_t length;
	uint16_t version, type;
	if (len > CONTROL_MESSAGE_MAX || !take32(&reader, &length) || !take16(&reader, &version) ||
	    !take16(&reader, &type) || length != len)
		return err_set(e, -EPROTO, "the message's length is not what it says");
	if (version != CONTROL_VERSION)
		return err_set(e, -EPROTONOSUPPORT, "the message is of version %u, and this is %d",
			       version, CONTROL_VERSION);
	*ret_type = (enum control_type)type;
	*ret = reader;
	return 0;
}

static int read_family(struct control_reader *reader, int family, struct route_family *ret,
		       struct err *e)
{
	struct route_family f;
	if (!take_net(reader, &f.network) || !take_net(reader, &f.own) || !take_ip(reader, &f.address))
		return err_set(e, -EPROTO, "a network, subnet or address is none");
	if ((ipnet_is_set(&f.network) && f.network.addr.family != family) ||
	    (ipnet_is_set(&f.own) && f.own.addr.family != family) ||
	    (ip_is_set(&f.address) && f.address.family != family))
		return err_set(e, -EINVAL, "a network, subnet or address is of the other family");
	*ret = f;
	return 0;
}

int control_read_config(struct control_reader *reader, struct route_config *ret, struct err *e)
{
	struct route_config config = { 0 };
	if (!take16(reader, &config.mtu))
		return cut_short(e);
	if (config.mtu < ROUTE_MTU_MIN)
		return err_set(e, -EINVAL, "the MTU %u is below %d", config.mtu, ROUTE_MTU_MIN);
	int r = read_family(reader, AF_INET, &config.v4, e);
	if (r == 0)
		r = read_family(reader, AF_INET6, &config.v6, e);
	if (r < 0)
		return r;
	if (reader->at != reader->end)
		return err_set(e, -EPROTO, "something follows the config");
	*ret = config;
	return 0;
}

int control_read_peers(struct control_reader *reader, unsigned int *ret_flags, uint32_t *ret_count,
		       struct err *e)
{
	const uint8_t *flags = take(reader, 1);
	uint32_t count;
	if (!flags || !take32(reader, &count))
		return cut_short(e);
	if ((*flags & ~(CONTROL_BEGIN | CONTROL_COMMIT)) || count > CONTROL_CHANGES_MAX)
		return err_set(e, -EPROTO, "unknown flags, or more than %d peers in one message",
			       CONTROL_CHANGES_MAX);
	*ret_flags = *flags;
	*ret_count = count;
	return 0;
}

int control_read_change(struct control_reader *reader, struct control_change *ret, struct err *e)
{
	struct control_change change = { 0 };
	const uint8_t *operation = take(reader, 1);
	char text[IPNET_STR_MAX];
	if (!operation || *operation > 1 || !take_net(reader, &change.peer.subnet) ||
	    !take_ip(reader, &change.peer.host) || !take16(reader, &change.peer.port) ||
	    !ipnet_is_set(&change.peer.subnet))
		return err_set(e, -EPROTO, "a peer is none");
	change.remove = *operation == 1;
	if (!change.remove && (!ip_is_usable_endpoint(&change.peer.host) || change.peer.port == 0))
		return err_set(e, -EINVAL, "the host of %s cannot be sent to",
			       ipnet_str(&change.peer.subnet, text));
	*ret = change;
	return 0;
}

int control_read_answer(struct control_reader *reader, struct err *e)
{
	uint32_t code;
	if (!take32(reader, &code) || code > 4095)
		return err_set(e, -EPROTO, "an answer without a code");
	if (code == 0)
		return 0;
	return err_set(e, -(int)code, "%.*s", (int)(reader->end - reader->at),
		       (const char *)reader->at);
}

// Printable: it is shown to people.
static bool take_text(struct control_reader *reader, char *ret, size_t size)
{
	const uint8_t *len = take(reader, 1), *text = NULL;
	if (!len || *len >= size || !(text = take(reader, *len)))
		return false;
	for (size_t i = 0; i < *len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	memcpy(ret, text, *len);
	ret[*len] = '\0';
	return true;
}

int control_read_hello(struct control_reader *reader, struct control_hello *ret, struct err *e)
{
	struct control_hello hello = { 0 };
	if (!take16(reader, &hello.port) || !take_ip(reader, &hello.address) ||
	    !take32(reader, &hello.peers) || !take_text(reader, hello.device, sizeof(hello.device)) ||
	    !take_text(reader, hello.build, sizeof(hello.build)) ||
	    !take_text(reader, hello.engine, sizeof(hello.engine)))
		return cut_short(e);
	*ret = hello;
	return 0;
}

int control_read_counter(struct control_reader *reader, char name[static CONTROL_NAME_MAX + 1],
			 uint64_t *ret_value, struct err *e)
{
	const uint8_t *len = NULL, *text = NULL;
	uint32_t high, low;
	if (reader->at == reader->end)
		return 0;
	if (!(len = take(reader, 1)) || *len > CONTROL_NAME_MAX || !(text = take(reader, *len)) ||
	    !take32(reader, &high) || !take32(reader, &low))
		return cut_short(e);
	memcpy(name, text, *len);
	name[*len] = '\0';
	*ret_value = (uint64_t)high << 32 | low;
	return 1;
}

static void put8(struct strbuf *out, uint8_t value)
{
	(void)strbuf_add(out, &value, 1);
}

static void put16(struct strbuf *out, uint16_t value)
{
	value = htobe16(value);
	(void)strbuf_add(out, &value, sizeof(value));
}

static void put32(struct strbuf *out, uint32_t value)
{
	value = htobe32(value);
	(void)strbuf_add(out, &value, sizeof(value));
}

static void put_ip(struct strbuf *out, const struct ip *ip)
{
	put8(out, ip->family == AF_INET ? 4 : ip->family == AF_INET6 ? 6 : 0);
	(void)strbuf_add(out, ip->bytes, sizeof(ip->bytes));
}

static void put_net(struct strbuf *out, const struct ipnet *net)
{
	put_ip(out, &net->addr);
	put8(out, net->len);
}

static void begin(struct strbuf *out, enum control_type type)
{
	strbuf_reset(out);
	put32(out, 0);
	put16(out, CONTROL_VERSION);
	put16(out, (uint16_t)type);
}

static void end(struct strbuf *out)
{
	store32((uint8_t *)out->data, (uint32_t)out->len);
}

void control_write_request(struct strbuf *ret, enum control_type type)
{
	begin(ret, type);
	end(ret);
}

static void put_family(struct strbuf *out, const struct route_family *family)
{
	put_net(out, &family->network);
	put_net(out, &family->own);
	put_ip(out, &family->address);
}

void control_write_config(struct strbuf *ret, const struct route_config *config)
{
	begin(ret, CONTROL_CONFIG);
	put16(ret, config->mtu);
	put_family(ret, &config->v4);
	put_family(ret, &config->v6);
	end(ret);
}

void control_write_peers(struct strbuf *ret, unsigned int flags,
			 const struct control_change *changes, size_t count)
{
	begin(ret, CONTROL_PEERS);
	put8(ret, (uint8_t)flags);
	put32(ret, (uint32_t)count);
	for (size_t i = 0; i < count; i++) {
		put8(ret, changes[i].remove);
		put_net(ret, &changes[i].peer.subnet);
		put_ip(ret, &changes[i].peer.host);
		put16(ret, changes[i].peer.port);
	}
	end(ret);
}

void control_write_answer(struct strbuf *ret, const struct err *e)
{
	begin(ret, CONTROL_ANSWER);
	put32(ret, (uint32_t)-e->code);
	if (e->code != 0)
		(void)strbuf_puts(ret, err_msg(e));
	end(ret);
}

static void put_text(struct strbuf *out, const char *text)
{
	put8(out, (uint8_t)strlen(text));
	(void)strbuf_puts(out, text);
}

void control_write_hello(struct strbuf *ret, const struct control_hello *hello)
{
	begin(ret, CONTROL_ANSWER);
	put32(ret, 0);
	put16(ret, hello->port);
	put_ip(ret, &hello->address);
	put32(ret, hello->peers);
	put_text(ret, hello->device);
	put_text(ret, hello->build);
	put_text(ret, hello->engine);
	end(ret);
}

void control_write_counters(struct strbuf *ret, const uint64_t values[static COUNTER_COUNT])
{
	begin(ret, CONTROL_ANSWER);
	put32(ret, 0);
	for (size_t i = 0; i < COUNTER_COUNT; i++) {
		const char *name = counter_name((enum counter)i);
		put_text(ret, name);
		put32(ret, (uint32_t)(values[i] >> 32));
		put32(ret, (uint32_t)values[i]);
	}
	end(ret);
}
