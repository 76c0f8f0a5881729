// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: giving a host another WireGuard key while packets flow.
//
// DOC: why no packet is lost
//
// A peer takes packets of ours from one key alone, the one that has our subnet among its addresses, so there is no time when both count. But a
// device that has no session keeps what it is to send (128 packets a peer) until it has one. So we take the new key first and tell of it then:
//
//   1. the new key goes to disk, into the file of the old one
//   2. and into our devices. From now on packets to peers wait; those from peers still come in by the old sessions.
//   3. and into our lease. A peer that sees it puts the new key in the place of the old one and, at once and not with its first packet,
//      begins a handshake (wg_peer.greet), for ours went out too early and the next one is 5 s away. With it both sides send what waited.
//
// That takes as long as the store takes to tell; packets are late by so much, and none is lost as long as fewer than 128 wait: measured with
// datagrams each 5 ms, 10 to 20 ms late and none lost in nine of ten rotations; in the tenth one, by wireguard-go, at a peer's change. The other way
// round, told first, peers would refuse what we still send by the old key. A flannel node begins its handshake with its next packet to us.
//
// Without the store peers would never know: then it is refused. If the store goes in between, the old key comes back.
#include "agent/agent_internal.h"

#include "agent/wg_key.h"
#include "core/log.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define TOLD_WITHIN_MS 3000

struct pair {
	struct wg_key private_key;
	struct wg_key public_key;
};

struct rotation {
	struct network *network;
	struct pair old, new;
	bool is_going_back;
	bool is_told; // the lease may say it from now on
	uint64_t started_ms;
	struct timer *timer;
	struct err why; // it goes back
	api_rotate_fn *done;
	void *done_arg;
};

static void free_rotation(struct network *network)
{
	struct rotation *rotation = TAKE_PTR(network->rotation);
	timer_free(rotation->timer);
	explicit_bzero(rotation, sizeof(*rotation));
	free(rotation);
}

static void fail(struct network *network, const struct err *why)
{
	struct rotation *rotation = network->rotation;
	api_rotate_fn *done = rotation->done;
	void *arg = rotation->done_arg;
	struct err e = *why;
	free_rotation(network);
	log_error("%s: the WireGuard key is not changed: %s", network->who, e.msg);
	done(arg, e.code, NULL, &e);
}

static void succeed(struct network *network)
{
	struct rotation *rotation = network->rotation;
	char old[WG_KEY_STR_MAX], new[WG_KEY_STR_MAX];
	uint64_t took_ms = loop_now_ms() - rotation->started_ms;
	api_rotate_fn *done = rotation->done;
	void *arg = rotation->done_arg;
	json_t *answer = json_pack("{s:s, s:s, s:I}", "public_key",
				   wg_key_str(&rotation->new.public_key, new), "old_public_key",
				   wg_key_str(&rotation->old.public_key, old), "took_ms",
				   (json_int_t)took_ms);
	log_info("%s: the WireGuard key is now %s, was %s; told in %llu ms", network->who, new, old,
		 (unsigned long long)took_ms);
	free_rotation(network);
	done(arg, 0, answer, NULL);
}

// Disk, then devices; what follows then is on_rekeyed.
static int use(struct network *network, const struct pair *pair, reconcile_rekey_fn *fn, struct err *e)
{
	int r = wg_key_replace(network->state_dir, &pair->private_key, e);
	if (r == 0)
		r = backend_set_wg_key(network->backend, &pair->private_key, &pair->public_key, e);
	return r < 0 ? r : reconcile_rekey(network->reconcile, fn, network, e);
}

static void on_rekeyed(void *arg, int r, const struct err *e);

static void go_back(struct network *network, const struct err *why)
{
	struct rotation *rotation = network->rotation;
	struct err e;
	rotation->is_going_back = true;
	rotation->why = *why;
	if (use(network, &rotation->old, on_rekeyed, &e) < 0) {
		// The next pass, or start, tries again.
		err_wrap(&e, "%s; going back to the old key", why->msg);
		fail(network, &e);
	}
}

static bool lease_says(const struct network *network)
{
	struct lease_attrs attrs;
	const struct lease *lease = fabric_lease(network->fabric);
	backend_attrs(network->backend, &attrs);
	bool same = lease && lease_attrs_same_data(&attrs, &lease->attrs);
	lease_attrs_free(&attrs);
	return same;
}

static void on_rekeyed(void *arg, int r, const struct err *e)
{
	struct network *network = arg;
	struct rotation *rotation = network->rotation;
	if (!rotation)
		return;
	bring_up_join(network);
	if (rotation->is_going_back) {
		struct err why = rotation->why;
		fail(network, &why);
	} else if (r < 0) {
		go_back(network, e);
	} else {
		rotation->is_told = true;
		timer_start(rotation->timer, TOLD_WITHIN_MS);
	}
}

static void on_timer(void *arg)
{
	struct network *network = arg;
	struct err why;
	err_set(&why, -ETIMEDOUT, "the store did not take it within %d ms; the old one is back",
		TOLD_WITHIN_MS);
	go_back(network, &why);
}

void wg_rotate_note_lease(struct network *network)
{
	const struct rotation *rotation = network->rotation;
	if (rotation && rotation->is_told && !rotation->is_going_back && network->backend &&
	    fabric_lease_state(network->fabric, NULL) == FABRIC_LEASE_HELD && lease_says(network))
		succeed(network);
}

void wg_rotate_end(struct network *network)
{
	struct err why;
	if (!network->rotation)
		return;
	err_set(&why, -ECANCELED, "the agent, or the network, comes to its end");
	fail(network, &why);
}

static int check(const struct network *network, struct err *e)
{
	const struct err *why = NULL;
	if (!network)
		return err_set(e, -EINVAL, "this host is in several networks: say which by --network");
	if (network->rotation)
		return err_set(e, -EBUSY, "another WireGuard key is being made already");
	if (!network->backend || !reconcile_is_synced(network->reconcile))
		return err_set(e, -EAGAIN, "the network is not up yet");
	if (strcmp(backend_type(network->backend), "wireguard") != 0)
		return err_set(e, -EOPNOTSUPP, "the backend is %s, which has no WireGuard key",
			       backend_type(network->backend));
	if (!fabric_store_up(network->fabric, &why, NULL) ||
	    fabric_lease_state(network->fabric, NULL) != FABRIC_LEASE_HELD)
		return err_set(
			e, -EAGAIN,
			"the store is not reached, or our lease is not held: peers would not know of another key");
	return 0;
}

static int begin(struct network *network, struct rotation *rotation, struct err *e)
{
	int r = wg_key_open(network->state_dir, &rotation->old.private_key,
			    &rotation->old.public_key, e);
	if (r == 0)
		r = wg_key_generate(&rotation->new.private_key, &rotation->new.public_key, e);
	if (r < 0)
		return r;
	r = use(network, &rotation->new, on_rekeyed, e);
	if (r < 0) {
		struct err ignored;
		(void)wg_key_replace(network->state_dir, &rotation->old.private_key, &ignored);
		(void)backend_set_wg_key(network->backend, &rotation->old.private_key,
					 &rotation->old.public_key, &ignored);
	}
	return r;
}

void wg_rotate(void *arg, api_rotate_fn *done, void *done_arg)
{
	const struct view_scope *scope = arg;
	struct network *network = scope->network;
	struct err e = { 0 };
	if (!network && !scope->agent->has_several)
		network = scope->agent->networks;
	if (check(network, &e) < 0) {
		done(done_arg, e.code, NULL, &e);
		return;
	}
	struct rotation *rotation = network->rotation = xnew(struct rotation);
	*rotation = (struct rotation){
		.network = network, .started_ms = loop_now_ms(), .done = done, .done_arg = done_arg
	};
	rotation->timer = timer_new(network->agent->loop, on_timer, network);
	if (begin(network, rotation, &e) < 0)
		fail(network, &e);
}
