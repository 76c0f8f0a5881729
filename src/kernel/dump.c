// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: dumps, whole tables of the kernel read in slices.

#include "kernel/decode.h"
#include "kernel/exchange.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

// The kernel fills datagrams of at most 32 KiB when it sees that the reader has room for them. A single message may be
// longer: a device with many alternative names, a route with hundreds of nexthops.
#define DATAGRAM_BYTES ((size_t)64 * 1024)
// How often netlink_dump_all starts again when the table changes under it.
#define TRIES_MAX 20

struct netlink_dump {
	struct netlink *nl;
	struct nlsock *sock; // the common one, or spare
	struct nlsock spare;
	enum kernel_kind kind;
	struct netlink_dump_filter filter;
	uint32_t sequence;
	struct nlsock_ring *ring;
	const uint8_t *data; // the datagram being read
	size_t len;
	size_t offset;
	bool ended; // the kernel has nothing more to say
};

static const char *kind_name(enum kernel_kind kind)
{
	static const char *const names[] = {
		[KERNEL_LINK] = "links",       [KERNEL_ADDR] = "addresses",
		[KERNEL_NEIGH] = "neighbours", [KERNEL_FDB] = "fdb",
		[KERNEL_NEXTHOP] = "nexthops", [KERNEL_ROUTE] = "routes",
	};

	static_assert(ARRAY_SIZE(names) == KERNEL_WG_PEER, "one name for each kind of rtnetlink");
	return names[kind];
}

static int send_request(struct netlink_dump *dump, struct err *e)
{
	uint8_t buffer[ENCODE_REQUEST_MAX];
	size_t len = encode_dump(dump->kind, &dump->filter, dump->sock->strict, buffer);
	int r;

	nlmsg_set_sequence(buffer, dump->sequence);
	r = nlsock_send(dump->sock, buffer, len);
	return r < 0 ? err_set(e, r, "dump of %s: %s", kind_name(dump->kind), strerror(-r)) : 0;
}

// On a socket of its own if the common one is in use.
static int start(struct netlink *nl, enum kernel_kind kind,
		 const struct netlink_dump_filter *filter, struct netlink_dump **ret, struct err *e)
{
	struct netlink_dump *dump = xnew(struct netlink_dump);
	int r = 0;

	dump->nl = nl;
	dump->kind = kind;
	if (filter)
		dump->filter = *filter;
	dump->sequence = ++nl->sequence;
	dump->ring = nlsock_ring_new(1, DATAGRAM_BYTES);
	dump->sock = nl->dump ? &dump->spare : &nl->dumps;
	if (!nl->dump)
		nl->dump = dump;
	nl->stats.dumps++;
	if (!dump->sock->mnl)
		r = netlink_reopen_dumps(nl, dump->sock, e);
	if (r == 0)
		r = send_request(dump, e);
	if (r < 0) {
		netlink_dump_free(dump);
		return r;
	}
	*ret = dump;
	return 0;
}

int netlink_dump_start(struct netlink *nl, enum kernel_kind kind,
		       const struct netlink_dump_filter *filter, struct netlink_dump **ret,
		       struct err *e)
{
	if (nl->dump)
		return err_set(e, -EBUSY, "dump of %s: another dump is running", kind_name(kind));
	return start(nl, kind, filter, ret, e);
}

struct netlink_dump *netlink_dump_free(struct netlink_dump *dump)
{
	if (!dump)
		return NULL;
	// Reading the rest of a long dump could take long; a fresh socket is one dump's worth of system calls. If that
	// fails the socket stays closed and the next dump tries again.
	if (dump->sock == &dump->spare)
		nlsock_close(&dump->spare);
	else if (!dump->ended)
		(void)netlink_reopen_dumps(dump->nl, dump->sock, NULL);
	if (dump->nl->dump == dump)
		dump->nl->dump = NULL;
	nlsock_ring_free(dump->ring);
	free(dump);
	return NULL;
}

// The filter once more: older kernels and sockets without strict checking ignore parts of it.
static bool wanted(const struct netlink_dump *dump, const struct kernel_object *object)
{
	const struct netlink_dump_filter *filter = &dump->filter;
	uint32_t table = filter->table ? filter->table : RT_TABLE_MAIN;
	int family = AF_UNSPEC;
	uint32_t ifindex = 0;

	if (object->kind != dump->kind)
		return false;
	switch (object->kind) {
	case KERNEL_LINK:
	case KERNEL_WG_PEER:
	case KERNEL_KIND_COUNT:
		return true;
	case KERNEL_ADDR:
		family = object->addr.ip.family;
		ifindex = object->addr.ifindex;
		break;
	case KERNEL_NEIGH:
		family = object->neigh.ip.family;
		ifindex = object->neigh.ifindex;
		break;
	case KERNEL_FDB:
		return filter->ifindex == 0 || object->fdb.ifindex == filter->ifindex;
	case KERNEL_NEXTHOP:
		if (filter->protocol != 0 && object->nexthop.protocol != filter->protocol)
			return false;
		family = object->nexthop.gateway.family;
		ifindex = object->nexthop.ifindex;
		break;
	case KERNEL_ROUTE:
		if (object->route.table != table ||
		    (filter->protocol != 0 && object->route.protocol != filter->protocol))
			return false;
		family = object->route.dst.addr.family;
		ifindex = object->route.ifindex;
		break;
	}
	if (filter->family != AF_UNSPEC && family != AF_UNSPEC && family != filter->family)
		return false;
	return filter->ifindex == 0 || ifindex == filter->ifindex;
}

// Ends the dump. A table that was never made, or a device that went away, has no entries.
static int end_with(struct netlink_dump *dump, const struct nlmsg_ack *ack, struct err *e)
{
	dump->ended = true;
	if (ack->error == 0 || (dump->kind == KERNEL_ROUTE && ack->error == -ENOENT) ||
	    (dump->filter.ifindex != 0 && ack->error == -ENODEV))
		return 0;
	return err_set(e, ack->error, "dump of %s: %s%s%s", kind_name(dump->kind),
		       strerror(-ack->error), ack->text[0] != '\0' ? ": " : "", ack->text);
}

static int malformed(const struct netlink_dump *dump, struct err *e)
{
	return err_set(e, -EBADMSG, "dump of %s: the kernel sent a message that makes no sense",
		       kind_name(dump->kind));
}

static int receive(struct netlink_dump *dump, struct err *e)
{
	bool cut;
	int r;

	r = nlsock_receive(dump->sock, dump->ring, true);
	if (r == -ENOBUFS)
		return err_set(e, -EINTR, "dump of %s: the kernel was out of memory for it",
			       kind_name(dump->kind));
	if (r == -EAGAIN)
		return err_set(e, -EIO, "dump of %s: the kernel did not answer",
			       kind_name(dump->kind));
	if (r < 0)
		return err_set(e, r, "dump of %s: %s", kind_name(dump->kind), strerror(-r));
	dump->offset = 0;
	dump->len = 0;
	dump->data = nlsock_ring_datagram(dump->ring, 0, &dump->len, &cut);
	if (!dump->data)
		return 0;
	return cut ? err_set(e, -EMSGSIZE, "dump of %s: an entry of more than %zu bytes",
			     kind_name(dump->kind), DATAGRAM_BYTES)
		   : 0;
}

// One message. 1: go on; 0: that was the end.
static int take(struct netlink_dump *dump, const struct nlmsg_view *msg, struct decoded *decoded,
		struct err *e)
{
	struct nlmsg_ack ack;
	int r;

	if (msg->flags & NLM_F_DUMP_INTR)
		return err_set(e, -EINTR, "dump of %s: the table changed meanwhile",
			       kind_name(dump->kind));
	switch (msg->type) {
	case NLMSG_NOOP:
		return 1;
	case NLMSG_OVERRUN:
		return err_set(e, -EINTR, "dump of %s: entries were lost", kind_name(dump->kind));
	case NLMSG_DONE:
		return nlmsg_read_done(msg, &ack) < 0 ? malformed(dump, e) : end_with(dump, &ack, e);
	case NLMSG_ERROR:
		return nlmsg_read_error(msg, &ack) < 0 ? malformed(dump, e) : end_with(dump, &ack, e);
	default:
		r = decode_object(msg, decoded);
		return r < 0 && r != -ENOMSG ? malformed(dump, e) : 1;
	}
}

int netlink_dump_step(struct netlink_dump *dump, size_t objects_max, netlink_object_fn *fn,
		      void *arg, struct err *e)
{
	struct decoded decoded;
	struct nlmsg_view msg;
	int r;

	// What the filter leaves out costs time as well, so it counts.
	for (size_t taken = 0; !dump->ended && taken < objects_max;) {
		if (dump->offset == dump->len) {
			r = receive(dump, e);
			if (r < 0)
				return r;
			continue;
		}
		if (nlmsg_next(dump->data, dump->len, &dump->offset, &msg) < 0)
			return malformed(dump, e);
		if (msg.sequence != dump->sequence || msg.port_id != dump->sock->port_id)
			continue;
		decoded.object.kind = KERNEL_KIND_COUNT;
		r = take(dump, &msg, &decoded, e);
		if (r <= 0)
			return r;
		if (decoded.object.kind != KERNEL_KIND_COUNT && wanted(dump, &decoded.object))
			fn(arg, &decoded.object);
		taken++;
	}
	return dump->ended ? 0 : 1;
}

struct gathered {
	struct kernel_object *objects;
	size_t count;
	size_t capacity;
};

static void gather(void *arg, const struct kernel_object *object)
{
	struct gathered *gathered = arg;

	if (gathered->count == gathered->capacity) {
		gathered->capacity = 2 * gathered->capacity + 16;
		gathered->objects = xrealloc_array(gathered->objects, gathered->capacity,
						   sizeof(*gathered->objects));
	}
	gathered->objects[gathered->count++] = *object;
}

static int dump_once(struct netlink *nl, enum kernel_kind kind,
		     const struct netlink_dump_filter *filter, struct gathered *gathered,
		     struct err *e)
{
	struct netlink_dump *dump = NULL;
	int r;

	gathered->count = 0;
	r = start(nl, kind, filter, &dump, e);
	if (!dump)
		return r;
	do
		r = netlink_dump_step(dump, SIZE_MAX, gather, gathered, e);
	while (r > 0);
	netlink_dump_free(dump);
	return r;
}

int netlink_dump_all(struct netlink *nl, enum kernel_kind kind,
		     const struct netlink_dump_filter *filter, netlink_object_fn *fn, void *arg,
		     struct err *e)
{
	struct gathered gathered = { 0 };
	int r = -EINTR;

	for (int i = 0; i < TRIES_MAX && r == -EINTR; i++)
		r = dump_once(nl, kind, filter, &gathered, e);
	for (size_t i = 0; r == 0 && i < gathered.count; i++)
		fn(arg, &gathered.objects[i]);
	free(gathered.objects);
	return r;
}
