// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the kernel's WireGuard devices, over generic netlink.
#include "kernel/wg_netlink.h"

#include "core/mem.h"
#include "kernel/nlmsg.h"
#include "kernel/socket.h"
#include "kernel/wg_decode.h"

#include <assert.h>
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <string.h>

#define DATAGRAM_BYTES ((size_t)64 * 1024)
// A peer of two IPv6 addresses that is greeted, with all that nests and headers take, is below 400 bytes.
#define REQUEST_BYTES ((size_t)32 * 1024)
#define STEP_DATAGRAMS 8

struct wg_netlink {
	struct nlsock sock;
	struct nlsock_ring *ring;
	uint32_t sequence;
	uint16_t family;
	struct wg_decoder decoder; // of what is being read
	uint32_t reading;	   // its sequence number; 0: nothing
};

static int open_socket(struct wg_netlink *nl, struct err *e)
{
	struct nlsock_options options = { .protocol = NETLINK_GENERIC };
	nlsock_close(&nl->sock);
	nl->reading = 0;
	return nlsock_open(&nl->sock, &options, e);
}

static void begin(struct nlmsg *msg, void *buffer, uint16_t type, uint16_t flags, uint8_t command,
		  uint8_t version)
{
	struct genlmsghdr header = { .cmd = command, .version = version };
	nlmsg_begin(msg, buffer, REQUEST_BYTES, type, NLM_F_REQUEST | flags);
	nlmsg_put_header(msg, &header, sizeof(header));
}

static int send_message(struct wg_netlink *nl, struct nlmsg *msg)
{
	size_t len = nlmsg_end(msg);
	assert(len > 0);
	nlmsg_set_sequence(msg->data, ++nl->sequence);
	return nlsock_send(&nl->sock, msg->data, len);
}

// The next datagram that is of the kernel. 0, or negative.
static int receive(struct wg_netlink *nl, const void **ret_data, size_t *ret_len, struct err *e)
{
	bool cut = false;
	int r = nlsock_receive(&nl->sock, nl->ring, true);
	if (r == -EAGAIN)
		r = -EIO;
	if (r < 0)
		return err_set(e, r, "WireGuard: %s",
			       r == -EIO ? "the kernel did not answer" : strerror(-r));
	*ret_data = nlsock_ring_datagram(nl->ring, 0, ret_len, &cut);
	if (!*ret_data)
		*ret_len = 0;
	return cut ? err_set(e, -EMSGSIZE, "WireGuard: an answer of more than %zu bytes", DATAGRAM_BYTES)
		   : 0;
}

static int malformed(struct err *e)
{
	return err_set(e, -EBADMSG, "WireGuard: the kernel sent a message that makes no sense");
}

static int say(const struct nlmsg_ack *ack, struct err *e)
{
	if (ack->error == -EPERM)
		return err_set(e, ack->error, "WireGuard: not permitted, CAP_NET_ADMIN is needed");
	return err_set(e, ack->error, "WireGuard: %s%s%s", strerror(-ack->error),
		       ack->text[0] ? ": " : "", ack->text);
}

// Waits for what answers the last request: an acknowledgement, or, if family is not NULL, its id. The buffer is wiped.
static int wait_answer(struct wg_netlink *nl, uint16_t *family, struct err *e)
{
	for (;;) {
		const void *data = NULL;
		size_t len = 0, offset = 0;
		struct nlmsg_view msg;
		struct nlmsg_ack ack;
		int r = receive(nl, &data, &len, e);
		if (r < 0)
			return r;
		while ((r = nlmsg_next(data, len, &offset, &msg)) > 0) {
			if (msg.sequence != nl->sequence || msg.port_id != nl->sock.port_id)
				continue;
			if (msg.type == NLMSG_ERROR) {
				if (nlmsg_read_error(&msg, &ack) < 0)
					return malformed(e);
				return ack.error < 0 ? say(&ack, e) : 0;
			}
			if (family && wg_decode_family(&msg, family) == 0)
				return 0;
		}
		if (r < 0)
			return malformed(e);
	}
}

static int find_family(struct wg_netlink *nl, struct err *e)
{
	uint8_t buffer[REQUEST_BYTES];
	struct nlmsg msg;
	begin(&msg, buffer, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY, 1);
	nlmsg_put_string(&msg, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	int r = send_message(nl, &msg);
	if (r < 0)
		return err_set(e, r, "WireGuard: %s", strerror(-r));
	r = wait_answer(nl, &nl->family, e);
	return r == 0 && nl->family < NLMSG_MIN_TYPE ? malformed(e) : r;
}

int wg_netlink_open(struct wg_netlink **ret, struct err *e)
{
	struct wg_netlink *nl = xnew(struct wg_netlink);
	nl->ring = nlsock_ring_new(1, DATAGRAM_BYTES);
	int r = open_socket(nl, e);
	if (r == 0)
		r = find_family(nl, e);
	if (r < 0) {
		wg_netlink_close(nl);
		return r;
	}
	*ret = nl;
	return 0;
}

struct wg_netlink *wg_netlink_close(struct wg_netlink *nl)
{
	if (!nl)
		return NULL;
	nlsock_close(&nl->sock);
	nlsock_ring_free(nl->ring);
	free(nl);
	return NULL;
}

// ---- writing ----

static void put_endpoint(struct nlmsg *msg, const struct wg_peer *peer)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(peer->port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(peer->port) };
	if (peer->endpoint.family == AF_INET6) {
		memcpy(&v6.sin6_addr, peer->endpoint.bytes, sizeof(v6.sin6_addr));
		nlmsg_put(msg, WGPEER_A_ENDPOINT, &v6, sizeof(v6));
	} else if (ip_is_set(&peer->endpoint)) {
		memcpy(&v4.sin_addr, peer->endpoint.bytes, sizeof(v4.sin_addr));
		nlmsg_put(msg, WGPEER_A_ENDPOINT, &v4, sizeof(v4));
	}
}

static void put_allowed(struct nlmsg *msg, const struct wg_peer *peer)
{
	size_t list = nlmsg_nest_begin(msg, WGPEER_A_ALLOWEDIPS);
	for (size_t i = 0; i < peer->allowed_count; i++) {
		const struct ipnet *net = &peer->allowed[i];
		size_t item = nlmsg_nest_begin(msg, 0);
		nlmsg_put_u16(msg, WGALLOWEDIP_A_FAMILY, net->addr.family);
		nlmsg_put_ip(msg, WGALLOWEDIP_A_IPADDR, &net->addr);
		nlmsg_put_u8(msg, WGALLOWEDIP_A_CIDR_MASK, net->len);
		nlmsg_nest_end(msg, item);
	}
	nlmsg_nest_end(msg, list);
}

static size_t begin_peer(struct nlmsg *msg, const struct wg_peer *peer, uint32_t flags)
{
	size_t nest = nlmsg_nest_begin(msg, 0);
	nlmsg_put(msg, WGPEER_A_PUBLIC_KEY, peer->public_key.bytes, sizeof(peer->public_key.bytes));
	nlmsg_put_u32(msg, WGPEER_A_FLAGS, flags);
	return nest;
}

static void put_update(struct nlmsg *msg, const struct wg_peer *peer, uint16_t keepalive_s)
{
	size_t nest = begin_peer(msg, peer, WGPEER_F_UPDATE_ONLY);
	nlmsg_put_u16(msg, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, keepalive_s);
	nlmsg_nest_end(msg, nest);
}

// A keepalive that is switched on is sent at once, and with it the handshake. Before that it is off.
static void put_greeting(struct nlmsg *msg, const struct wg_peer *peer)
{
	put_update(msg, peer, peer->keepalive_s ? peer->keepalive_s : 1);
	if (peer->keepalive_s == 0)
		put_update(msg, peer, 0);
}

static void put_peer(struct nlmsg *msg, const struct wg_peer *peer, const struct wg_key *preshared_key)
{
	size_t nest = begin_peer(msg, peer, WGPEER_F_REPLACE_ALLOWEDIPS);
	nlmsg_put(msg, WGPEER_A_PRESHARED_KEY, preshared_key->bytes, sizeof(preshared_key->bytes));
	put_endpoint(msg, peer);
	nlmsg_put_u16(msg, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer->greet ? 0 : peer->keepalive_s);
	put_allowed(msg, peer);
	nlmsg_nest_end(msg, nest);
	if (peer->greet)
		put_greeting(msg, peer);
}

static void put_changes(struct nlmsg *msg, const struct wg_key *preshared_key,
			const struct wg_change *changes, size_t count)
{
	size_t list = nlmsg_nest_begin(msg, WGDEVICE_A_PEERS);
	for (size_t i = 0; i < count; i++) {
		if (changes[i].only_greet) {
			put_update(msg, &changes[i].peer, 0);
			put_greeting(msg, &changes[i].peer);
			continue;
		}
		if (changes[i].remove)
			nlmsg_nest_end(msg, begin_peer(msg, &changes[i].peer, WGPEER_F_REMOVE_ME));
		else
			put_peer(msg, &changes[i].peer, preshared_key);
	}
	nlmsg_nest_end(msg, list);
}

int wg_netlink_set(struct wg_netlink *nl, uint32_t ifindex, const struct wg_settings *settings,
		   const struct wg_key *preshared_key, const struct wg_change *changes,
		   size_t count, struct err *e)
{
	uint8_t buffer[REQUEST_BYTES];
	struct nlmsg msg;
	assert(count <= WG_NETLINK_CHANGES_MAX);
	// Its answers would come in between.
	int r = nl->reading != 0 || !nl->sock.mnl ? open_socket(nl, e) : 0;
	if (r < 0)
		return r;
	begin(&msg, buffer, nl->family, NLM_F_ACK, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
	nlmsg_put_u32(&msg, WGDEVICE_A_IFINDEX, ifindex);
	if (settings) {
		nlmsg_put(&msg, WGDEVICE_A_PRIVATE_KEY, settings->private_key.bytes,
			  sizeof(settings->private_key.bytes));
		nlmsg_put_u16(&msg, WGDEVICE_A_LISTEN_PORT, settings->listen_port);
	}
	if (count > 0)
		put_changes(&msg, preshared_key, changes, count);
	r = send_message(nl, &msg);
	explicit_bzero(buffer, sizeof(buffer));
	if (r < 0)
		return err_set(e, r, "WireGuard: %s", strerror(-r));
	r = wait_answer(nl, NULL, e);
	// What was refused may stand in the answer.
	nlsock_ring_wipe(nl->ring);
	return r;
}

// ---- reading ----

int wg_netlink_read(struct wg_netlink *nl, uint32_t ifindex, const struct wg_settings *settings,
		    wg_peer_fn *fn, void *arg, struct err *e)
{
	uint8_t buffer[REQUEST_BYTES];
	struct nlmsg msg;
	int r = nl->reading != 0 || !nl->sock.mnl ? open_socket(nl, e) : 0;
	if (r < 0)
		return r;
	begin(&msg, buffer, nl->family, NLM_F_DUMP, WG_CMD_GET_DEVICE, WG_GENL_VERSION);
	nlmsg_put_u32(&msg, WGDEVICE_A_IFINDEX, ifindex);
	r = send_message(nl, &msg);
	if (r < 0)
		return err_set(e, r, "WireGuard: %s", strerror(-r));
	nl->decoder = (struct wg_decoder){ .settings = settings, .fn = fn, .arg = arg };
	nl->reading = nl->sequence;
	return 0;
}

// One message. 1: go on; 0: that was the end.
static int take(struct wg_netlink *nl, const struct nlmsg_view *msg, struct err *e)
{
	struct nlmsg_ack ack;
	if (msg->flags & NLM_F_DUMP_INTR)
		return err_set(e, -EINTR, "WireGuard: its peers changed meanwhile");
	if (msg->type == NLMSG_DONE || msg->type == NLMSG_ERROR) {
		int r = msg->type == NLMSG_DONE ? nlmsg_read_done(msg, &ack)
						: nlmsg_read_error(msg, &ack);
		if (r < 0)
			return malformed(e);
		if (ack.error < 0)
			return say(&ack, e);
		wg_decode_end(&nl->decoder);
		return 0;
	}
	if (msg->type != nl->family)
		return 1;
	return wg_decode(&nl->decoder, msg) < 0 ? malformed(e) : 1;
}

static int read_datagram(struct wg_netlink *nl, struct err *e)
{
	const void *data = NULL;
	size_t len = 0, offset = 0;
	struct nlmsg_view msg;
	int r = receive(nl, &data, &len, e);
	if (r < 0)
		return r;
	while ((r = nlmsg_next(data, len, &offset, &msg)) > 0) {
		if (msg.sequence != nl->reading || msg.port_id != nl->sock.port_id)
			continue;
		r = take(nl, &msg, e);
		if (r <= 0)
			return r;
	}
	return r < 0 ? malformed(e) : 1;
}

int wg_netlink_step(struct wg_netlink *nl, struct wg_state *ret, struct err *e)
{
	int r = 1;
	assert(nl->reading != 0);
	for (size_t i = 0; r > 0 && i < STEP_DATAGRAMS; i++) {
		r = read_datagram(nl, e);
		nlsock_ring_wipe(nl->ring);
	}
	if (r > 0)
		return r;
	if (r == 0) {
		nl->reading = 0;
		*ret = nl->decoder.state;
	}
	return r;
}
