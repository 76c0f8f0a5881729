// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: joining packets of one flow that came together into superpackets for TUN.
#include "udp/coalesce.h"

#include "udp/checksum.h"

#include <assert.h>
#include <netinet/in.h>

enum { TCP_PSH = 0x08, TCP_ACK = 0x10, NONE = UINT16_MAX };

void coalescer_empty(struct coalescer *c)
{
	c->run_count = 0;
	c->packet_count = 0;
	memset(c->open, 0, sizeof(c->open));
}

static bool has_ports(const struct packet *packet)
{
	return !packet->fragment && packet->len >= packet->l4 + PACKET_UDP_HEADER &&
	       (packet->protocol == IPPROTO_TCP || packet->protocol == IPPROTO_UDP);
}

static size_t slot_of(const struct packet *packet)
{
	const uint8_t *at = packet_source(packet);
	uint32_t hash = load32(packet->data + packet->l4) + packet->protocol;
	size_t len = packet->version == 4 ? 8 : 32;
	for (size_t i = 0; i < len; i += 4)
		hash = (hash ^ load32(at + i)) * 0x9e3779b1;
	return hash >> 26;
}
_Static_assert(COALESCE_FLOWS == 64, "slot_of gives six bits");

// Length of all headers when the packet can be part of a run at all, else 0.
static uint16_t tcp_header(const struct packet *packet)
{
	const uint8_t *tcp = packet->data + packet->l4;
	if (packet->len < packet->l4 + PACKET_TCP_HEADER)
		return 0;
	uint32_t header = packet->l4 + (tcp[12] >> 4) * 4u;
	if (header < packet->l4 + PACKET_TCP_HEADER || header >= packet->len)
		return 0;
	// Any bit but ACK and PSH tells of one packet and not of its neighbours.
	if ((tcp[12] & 0x0f) || (tcp[13] & ~TCP_PSH) != TCP_ACK)
		return 0;
	return (uint16_t)header;
}

static uint16_t udp_header(const struct packet *packet)
{
	const uint8_t *udp = packet->data + packet->l4;
	if (packet->len <= packet->l4 + PACKET_UDP_HEADER ||
	    load16(udp + 4) != packet->len - packet->l4 || load16(udp + 6) == 0)
		return 0;
	return (uint16_t)(packet->l4 + PACKET_UDP_HEADER);
}

static bool checksum_fits(const struct packet *packet)
{
	uint32_t len = packet->len - packet->l4;
	uint64_t sum = packet_pseudo_sum(packet, packet->protocol, len);
	return checksum_fold(checksum_add(sum, packet->data + packet->l4, len)) == 0xffff;
}

// All of IP's header but lengths, ids and checksums.
static bool same_ip(const struct coalesce_run *run, const struct packet *packet)
{
	const uint8_t *a = run->first.data, *b = packet->data;
	if (packet->version == 6)
		return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, PACKET_V6_HEADER - 6) == 0;
	if (memcmp(a, b, 2) != 0 || memcmp(a + 6, b + 6, 4) != 0 ||
	    memcmp(a + 12, b + 12, packet->l4 - 12) != 0)
		return false;
	// RFC 6864: only of what may be cut does the id mean something. Cutting gives ids in a row.
	return packet_may_not_be_cut(packet) ||
	       load16(b + 4) == (uint16_t)(load16(a + 4) + run->count);
}

static bool same_l4(const struct coalesce_run *run, const struct packet *packet, uint16_t header_len)
{
	const uint8_t *a = run->first.data + run->first.l4, *b = packet->data + packet->l4;
	if (memcmp(a, b, 4) != 0)
		return false;
	if (!run->tcp)
		return true;
	return load32(b + 4) == run->sequence &&
	       memcmp(a + 8, b + 8, 5) == 0 &&	 // acknowledged, header's length
	       memcmp(a + 14, b + 14, 2) == 0 && // window
	       memcmp(a + 18, b + 18, header_len - packet->l4 - 18) == 0; // urgent, options
}

static bool accepts(struct coalesce_run *run, const struct packet *packet, uint16_t header_len)
{
	uint32_t payload = packet->len - header_len;
	if (run->first.version != packet->version || run->header_len != header_len ||
	    run->first.l4 != packet->l4 || run->tcp != (packet->protocol == IPPROTO_TCP))
		return false;
	if (payload > run->payload || run->total + payload > PACKET_MAX ||
	    run->count == COALESCE_SEGMENTS_MAX)
		return false;
	if (!same_ip(run, packet) || !same_l4(run, packet, header_len))
		return false;
	run->verified = run->verified || checksum_fits(&run->first);
	return run->verified && checksum_fits(packet);
}

static bool pushes(const struct packet *packet)
{
	return packet->protocol == IPPROTO_TCP && (packet->data[packet->l4 + 13] & TCP_PSH);
}

static uint16_t add_packet(struct coalescer *c, uint8_t *payload, uint32_t len)
{
	c->packets[c->packet_count] =
		(struct coalesce_packet){ .payload = payload, .len = (uint16_t)len, .next = NONE };
	return c->packet_count++;
}

static void begin_run(struct coalescer *c, const struct packet *packet, uint16_t header_len)
{
	struct coalesce_run *run = &c->runs[c->run_count++];
	*run = (struct coalesce_run){ .first = *packet,
				      .header_len = header_len,
				      .count = 1,
				      .total = packet->len,
				      .payload = (uint16_t)(packet->len - header_len),
				      .tcp = packet->protocol == IPPROTO_TCP,
				      .push = pushes(packet) };
	run->head = run->tail = add_packet(c, packet->data + header_len, run->payload);
	if (run->tcp)
		run->sequence = load32(packet->data + packet->l4 + 4) + run->payload;
}

static void extend_run(struct coalescer *c, struct coalesce_run *run, const struct packet *packet)
{
	uint16_t payload = (uint16_t)(packet->len - run->header_len);
	uint16_t at = add_packet(c, packet->data + run->header_len, payload);
	c->packets[run->tail].next = at;
	run->tail = at;
	run->count++;
	run->total += payload;
	run->sequence += payload;
	run->push = pushes(packet);
}

static void add_alone(struct coalescer *c, const struct packet *packet)
{
	struct coalesce_run *run = &c->runs[c->run_count++];
	*run = (struct coalesce_run){ .first = *packet, .count = 1, .total = packet->len };
	run->head = run->tail = add_packet(c, packet->data, packet->len);
}

void coalescer_add(struct coalescer *c, const struct packet *packet)
{
	assert(!coalescer_is_full(c));
	if (!has_ports(packet)) {
		// Whose fragment it is, its ports would tell.
		if (packet->fragment)
			memset(c->open, 0, sizeof(c->open));
		add_alone(c, packet);
		return;
	}
	uint16_t *open = &c->open[slot_of(packet)];
	uint16_t header_len = 0;
	if (packet->protocol == IPPROTO_TCP && c->join_tcp)
		header_len = tcp_header(packet);
	else if (packet->protocol == IPPROTO_UDP && c->join_udp)
		header_len = udp_header(packet);
	if (header_len == 0 || header_len > COALESCE_HEADER_MAX) {
		*open = 0;
		add_alone(c, packet);
		return;
	}
	struct coalesce_run *run = *open ? &c->runs[*open - 1] : NULL;
	if (run && accepts(run, packet, header_len)) {
		extend_run(c, run, packet);
	} else {
		begin_run(c, packet, header_len);
		*open = c->run_count;
		run = &c->runs[c->run_count - 1];
	}
	// The last of a superpacket may be shorter, or pushed.
	if (run->push || packet->len - header_len < run->payload)
		*open = 0;
}

static void join_headers(struct coalescer *c, const struct coalesce_run *run)
{
	const struct packet *first = &run->first;
	uint8_t *l4 = first->data + first->l4;
	uint32_t l4_len = run->total - first->l4;
	memcpy(c->saved, first->data, run->header_len);
	if (first->version == 4) {
		store16(first->data + 2, (uint16_t)run->total);
		store16(first->data + 10, 0);
		checksum_store(first->data + 10,
			       (uint16_t)~checksum_fold(checksum_add(0, first->data, first->l4)));
	} else {
		store16(first->data + 4, (uint16_t)(run->total - PACKET_V6_HEADER));
	}
	uint16_t pseudo = checksum_fold(packet_pseudo_sum(first, first->protocol, l4_len));
	if (run->tcp) {
		l4[13] |= run->push ? TCP_PSH : 0;
		checksum_store(l4 + 16, pseudo);
	} else {
		store16(l4 + 4, (uint16_t)l4_len);
		checksum_store(l4 + 6, pseudo);
	}
}

size_t coalescer_emit(struct coalescer *c, size_t index, uint8_t vnet[static VNET_HEADER],
		      struct iovec ret[static COALESCE_PIECES_MAX])
{
	struct coalesce_run *run = &c->runs[index];
	struct vnet header = { 0 };
	size_t pieces = 0;
	ret[pieces++] = (struct iovec){ vnet, VNET_HEADER };
	ret[pieces++] = (struct iovec){ run->first.data, run->first.len };
	if (run->count > 1) {
		join_headers(c, run);
		header = (struct vnet){ .needs_checksum = true,
					.header_len = run->header_len,
					.segment = run->payload,
					.sum_start = (uint16_t)run->first.l4,
					.sum_offset = run->tcp ? 16 : 6 };
		header.gso = !run->tcp		       ? VNET_GSO_UDP_L4
			     : run->first.version == 4 ? VNET_GSO_TCPV4
						       : VNET_GSO_TCPV6;
		for (uint16_t i = c->packets[run->head].next; i != NONE; i = c->packets[i].next)
			ret[pieces++] = (struct iovec){ c->packets[i].payload, c->packets[i].len };
	}
	vnet_store(&header, vnet);
	return pieces;
}

void coalescer_part(struct coalescer *c, size_t index,
		    void (*write)(void *arg, const struct iovec *packet), void *arg)
{
	struct coalesce_run *run = &c->runs[index];
	memcpy(run->first.data, c->saved, run->header_len);
	struct iovec whole = { run->first.data, run->first.len };
	write(arg, &whole);
	// The others' headers stand untouched before their payloads.
	for (uint16_t i = c->packets[run->head].next; i != NONE; i = c->packets[i].next) {
		whole = (struct iovec){ c->packets[i].payload - run->header_len,
					(size_t)c->packets[i].len + run->header_len };
		write(arg, &whole);
	}
}
