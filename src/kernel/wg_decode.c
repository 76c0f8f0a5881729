// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from the bytes of the kernel's WireGuard messages to devices and peers.
#include "kernel/wg_decode.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <string.h>

static int read_key(const struct nlattr_view *attr, struct wg_key *ret)
{
	if (attr->len != sizeof(ret->bytes))
		return -EBADMSG;
	memcpy(ret->bytes, attr->data, sizeof(ret->bytes));
	return 0;
}

// A secret is compared, and not kept.
static int compare_key(const struct nlattr_view *attr, const struct wg_key *wanted, bool *ret)
{
	struct wg_key key;
	int r = read_key(attr, &key);
	if (r == 0)
		*ret = wg_key_equal(&key, wanted);
	explicit_bzero(&key, sizeof(key));
	return r;
}

static int read_endpoint(const struct nlattr_view *attr, struct wg_peer *ret)
{
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;
	if (attr->len == sizeof(v4)) {
		memcpy(&v4, attr->data, sizeof(v4));
		if (v4.sin_family != AF_INET)
			return -EBADMSG;
		ret->endpoint = ip_from_bytes(AF_INET, &v4.sin_addr);
		ret->port = ntohs(v4.sin_port);
		return 0;
	}
	if (attr->len != sizeof(v6))
		return -EBADMSG;
	memcpy(&v6, attr->data, sizeof(v6));
	if (v6.sin6_family != AF_INET6)
		return -EBADMSG;
	ret->endpoint = ip_from_bytes(AF_INET6, &v6.sin6_addr);
	ret->port = ntohs(v6.sin6_port);
	return 0;
}

static int read_allowed(const struct nlattr_view *attr, struct wg_peer *peer)
{
	struct nlattr_view table[WGALLOWEDIP_A_CIDR_MASK + 1];
	uint16_t family = 0;
	uint8_t len = 0;
	struct ip ip = { 0 };
	int r = nlattr_index(attr->data, attr->len, table, WGALLOWEDIP_A_CIDR_MASK + 1);
	if (r < 0 || (r = nlattr_u16(&table[WGALLOWEDIP_A_FAMILY], &family)) < 0 ||
	    (r = nlattr_u8(&table[WGALLOWEDIP_A_CIDR_MASK], &len)) < 0)
		return r;
	if (family != AF_INET && family != AF_INET6)
		return -EBADMSG;
	r = nlattr_ip(&table[WGALLOWEDIP_A_IPADDR], family, &ip);
	if (r < 0 || !ip_is_set(&ip) || len > ip_width_bits(&ip))
		return -EBADMSG;
	struct ipnet net = ipnet_of(&ip, len);
	wg_peer_allow(peer, &net);
	return 0;
}

static int read_all_allowed(const struct nlattr_view *list, struct wg_peer *peer)
{
	struct nlattr_view attr;
	size_t offset = 0;
	uint16_t type;
	int r;
	if (!list->data)
		return 0;
	while ((r = nlattr_next(list->data, list->len, &offset, &type, &attr)) > 0) {
		r = read_allowed(&attr, peer);
		if (r < 0)
			return r;
	}
	return r;
}

static int read_contact(const struct nlattr_view *table, struct wg_contact *ret)
{
	const struct nlattr_view *time = &table[WGPEER_A_LAST_HANDSHAKE_TIME];
	int r = 0;
	if (time->data && time->len < sizeof(ret->handshake_s))
		return -EBADMSG;
	if (time->data) // seconds come first, then nanoseconds
		memcpy(&ret->handshake_s, time->data, sizeof(ret->handshake_s));
	if (ret->handshake_s < 0)
		ret->handshake_s = 0;
	if ((r = nlattr_u64(&table[WGPEER_A_RX_BYTES], &ret->received_bytes)) == 0)
		r = nlattr_u64(&table[WGPEER_A_TX_BYTES], &ret->sent_bytes);
	return r;
}

// What a peer has in its first message only.
static int begin_peer(struct wg_decoder *decoder, const struct nlattr_view *table,
		      const struct wg_key *public_key)
{
	struct wg_peer *peer = &decoder->peer;
	bool is_ours = true;
	wg_decode_end(decoder);
	memset(peer, 0, sizeof(*peer));
	memset(&decoder->contact, 0, sizeof(decoder->contact));
	peer->public_key = *public_key;
	if (table[WGPEER_A_PRESHARED_KEY].data &&
	    compare_key(&table[WGPEER_A_PRESHARED_KEY], &decoder->settings->preshared_key, &is_ours) < 0)
		return -EBADMSG;
	if (!table[WGPEER_A_PRESHARED_KEY].data)
		is_ours = !wg_key_is_set(&decoder->settings->preshared_key);
	peer->odd = !is_ours;
	if (table[WGPEER_A_ENDPOINT].data && read_endpoint(&table[WGPEER_A_ENDPOINT], peer) < 0)
		return -EBADMSG;
	if (nlattr_u16(&table[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL], &peer->keepalive_s) < 0 ||
	    read_contact(table, &decoder->contact) < 0)
		return -EBADMSG;
	decoder->in_peer = true;
	return 0;
}

static int read_peer(struct wg_decoder *decoder, const struct nlattr_view *attr)
{
	struct nlattr_view table[WGPEER_A_PROTOCOL_VERSION + 1];
	struct wg_key key;
	int r = nlattr_index(attr->data, attr->len, table, WGPEER_A_PROTOCOL_VERSION + 1);
	if (r < 0 || !table[WGPEER_A_PUBLIC_KEY].data ||
	    read_key(&table[WGPEER_A_PUBLIC_KEY], &key) < 0)
		return -EBADMSG;
	if (!decoder->in_peer || !wg_key_equal(&key, &decoder->peer.public_key))
		r = begin_peer(decoder, table, &key);
	return r < 0 ? r : read_all_allowed(&table[WGPEER_A_ALLOWEDIPS], &decoder->peer);
}

int wg_decode(struct wg_decoder *decoder, const struct nlmsg_view *msg)
{
	struct nlattr_view table[WGDEVICE_A_PEERS + 1], attr;
	size_t offset = 0;
	uint16_t type;
	if (msg->len < GENL_HDRLEN)
		return -EBADMSG;
	int r = nlattr_index(msg->data + GENL_HDRLEN, msg->len - GENL_HDRLEN, table,
			     WGDEVICE_A_PEERS + 1);
	if (r < 0 || nlattr_u16(&table[WGDEVICE_A_LISTEN_PORT], &decoder->state.listen_port) < 0)
		return -EBADMSG;
	if (table[WGDEVICE_A_PRIVATE_KEY].data &&
	    compare_key(&table[WGDEVICE_A_PRIVATE_KEY], &decoder->settings->private_key,
			&decoder->state.has_private_key) < 0)
		return -EBADMSG;
	if (!table[WGDEVICE_A_PEERS].data)
		return 0;
	while ((r = nlattr_next(table[WGDEVICE_A_PEERS].data, table[WGDEVICE_A_PEERS].len, &offset,
				&type, &attr)) > 0) {
		r = read_peer(decoder, &attr);
		if (r < 0)
			return r;
	}
	return r;
}

void wg_decode_end(struct wg_decoder *decoder)
{
	if (decoder->in_peer)
		decoder->fn(decoder->arg, &decoder->peer, &decoder->contact);
	decoder->in_peer = false;
}

int wg_decode_family(const struct nlmsg_view *msg, uint16_t *ret)
{
	struct nlattr_view table[CTRL_ATTR_FAMILY_NAME + 1];
	if (msg->type != GENL_ID_CTRL)
		return -ENOMSG;
	if (msg->len < GENL_HDRLEN || nlattr_index(msg->data + GENL_HDRLEN, msg->len - GENL_HDRLEN,
						   table, CTRL_ATTR_FAMILY_NAME + 1) < 0)
		return -EBADMSG;
	if (!table[CTRL_ATTR_FAMILY_ID].data)
		return -EBADMSG;
	return nlattr_u16(&table[CTRL_ATTR_FAMILY_ID], ret);
}
