// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: peers of WireGuard as kernel objects like others: reading them for a pass, writing what a slice changes, and looking from time to
// time whether they are still what we left, since nobody tells.
#include "reconcile/reconcile_internal.h"

#include "core/hash.h"
#include "core/log.h"
#include "core/mem.h"
#include "kernel/link.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define GREETINGS_MAX 256 // a handshake costs some 0.2 ms
#define LOOK_MS 1000	  // as much later again for each 1,000 peers, as with the scan

// What was seen when the peers were read last. Sums, for they come in any order.
struct wg_look {
	bool settled; // expected is what we left
	uint64_t expected;
	uint64_t seen;
	uint64_t compared; // seen when a pass was asked for that compares it with what is wanted
	bool reading;
	bool expects;  // what is read now is what we left
	size_t writes; // under way
	size_t device; // the one that is read
};

#define OLD_KEY_MS 500

static void look_tick(void *arg);

static void sweep_tick(void *arg)
{
	reconcile_request(arg, RECONCILE_CHANGE);
}

// ---- devices ----

static void begin(struct reconcile *reconcile)
{
	if (reconcile->wg)
		return;
	reconcile->wg = wg_new(reconcile->loop);
	reconcile->wg_look = xnew(struct wg_look);
	reconcile->wg_contacts = wg_contacts_new();
	reconcile->wg_timer = timer_new(reconcile->loop, look_tick, reconcile);
	reconcile->wg_sweep_timer = timer_new(reconcile->loop, sweep_tick, reconcile);
}

int wg_peers_attach(struct reconcile *reconcile, const struct wanted_device *device,
		    uint32_t ifindex, struct err *e)
{
	struct link link;
	int r = link_get_by_index(reconcile->nl, ifindex, &link, e);
	if (r < 0)
		return r;
	begin(reconcile);
	return wg_attach(reconcile->wg, &link, device->wg, e);
}

int wg_peers_launch(struct reconcile *reconcile, const struct wanted_device *device, struct err *e)
{
	begin(reconcile);
	return wg_launch(reconcile->wg, device->link.name, e);
}

bool wg_peers_launching(const struct reconcile *reconcile, const struct wanted_device *device)
{
	return reconcile->wg && wg_is_launching(reconcile->wg, device->link.name);
}

void wg_peers_free(struct reconcile *reconcile)
{
	reconcile->wg = wg_free(reconcile->wg);
	timer_free(reconcile->wg_timer);
	timer_free(reconcile->wg_sweep_timer);
	free(reconcile->wg_look);
	wg_contacts_free(reconcile->wg_contacts);
}

// The index of the next device from *at on that is WireGuard's and not the one before. False: there is none.
static bool next_device(struct reconcile *reconcile, size_t *at, uint32_t *ret_ifindex)
{
	struct wanted_devices wanted = { 0 };
	const uint32_t *numbers = reconcile->underlay.device_ifindex;
	reconcile->source.devices(reconcile->arg, &wanted);
	for (; *at < wanted.count; ++*at) {
		bool again = *at > 0 && numbers[*at] == numbers[*at - 1];
		if (!wanted.devices[*at].wg || numbers[*at] == 0 || again)
			continue;
		*ret_ifindex = numbers[(*at)++];
		return true;
	}
	return false;
}

static bool is_alive(const struct wg_contact *contact)
{
	return contact->handshake_s != 0 && time(NULL) - contact->handshake_s < WG_REJECT_AFTER_S;
}

// ---- writing ----

// What is under way; the ops as they were, for the slice's are gone by then.
struct batch {
	struct reconcile *reconcile;
	struct op *ops;
	struct subnet *peers;
	size_t count;
};

static void batch_free(struct batch *batch)
{
	free(batch->ops);
	free(batch->peers);
	free(batch);
}

static void on_written(void *arg, int r, const struct err *e)
{
	struct batch *batch = arg;
	struct reconcile *reconcile = batch->reconcile;
	if (r != -ECANCELED) {
		reconcile->wg_look->writes--;
		for (size_t i = 0; i < batch->count; i++)
			op_done(reconcile, &batch->ops[i],
				batch->ops[i].peer == OP_NO_PEER ? NULL : &batch->peers[i], r,
				r < 0 ? err_msg(e) : "");
		wg_peers_settle(reconcile);
	}
	batch_free(batch);
}

static void write_device(struct reconcile *reconcile, uint32_t ifindex, size_t total)
{
	struct ops *ops = &reconcile->ops;
	struct batch *batch = xnew(struct batch);
	struct wg_change *changes = xnew0_array(struct wg_change, total);
	batch->reconcile = reconcile;
	batch->ops = xnew0_array(struct op, total);
	batch->peers = xnew0_array(struct subnet, total);
	for (size_t i = 0; i < ops->count; i++) {
		const struct op *op = &ops->items[i];
		if (op->object.kind != KERNEL_WG_PEER || op->object.wg_peer.ifindex != ifindex)
			continue;
		changes[batch->count].remove = op->verb == NETLINK_DELETE;
		changes[batch->count].peer = op->object.wg_peer;
		batch->ops[batch->count] = *op;
		if (op->peer != OP_NO_PEER)
			batch->peers[batch->count] = ops->peers[op->peer];
		batch->count++;
	}
	reconcile->wg_look->settled = false;
	reconcile->wg_look->writes++;
	wg_write(reconcile->wg, ifindex, false, changes, batch->count, on_written, batch);
	free(changes);
}

void wg_peers_apply(struct reconcile *reconcile)
{
	struct ops *ops = &reconcile->ops;
	if (!reconcile->wg)
		return;
	for (size_t at = 0; at < WANTED_DEVICES_MAX; at++) {
		uint32_t ifindex = reconcile->underlay.device_ifindex[at];
		size_t total = 0;
		for (size_t i = 0; i < ops->count; i++)
			total += ops->items[i].object.kind == KERNEL_WG_PEER &&
				 ops->items[i].object.wg_peer.ifindex == ifindex;
		if (total > 0 && (at == 0 || reconcile->underlay.device_ifindex[at - 1] != ifindex))
			write_device(reconcile, ifindex, total);
	}
	size_t kept = 0;
	for (size_t i = 0; i < ops->count; i++)
		if (ops->items[i].object.kind != KERNEL_WG_PEER)
			ops->items[kept++] = ops->items[i];
	ops->count = kept;
}

void wg_peers_sweep_soon(struct reconcile *reconcile)
{
	if (reconcile->wg)
		timer_start(reconcile->wg_sweep_timer, OLD_KEY_MS);
}

bool wg_peers_known(const struct reconcile *reconcile, const struct wg_peer *peer)
{
	struct wg_heard heard;
	return reconcile->wg && wg_contacts_find(reconcile->wg_contacts, peer, loop_now_ms(), &heard);
}

// ---- reading for a pass ----

static void scan_peer(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	struct reconcile *reconcile = arg;
	struct kernel_object object = { .kind = KERNEL_WG_PEER, .wg_peer = *peer };
	size_t at = reconcile->pass->wg_next - 1;
	object.wg_peer.ifindex = reconcile->underlay.device_ifindex[at];
	object.wg_peer.alive = is_alive(contact);
	have_add(reconcile->pass->have, &object);
}

static void on_settings_written(void *arg, int r, const struct err *e)
{
	struct reconcile *reconcile = arg;
	if (r == -ECANCELED)
		return;
	reconcile->wg_look->writes--;
	if (r < 0)
		log_rl(LOG_LEVEL_WARN, "%s: key and port of the WireGuard device: %s",
		       reconcile->label, err_msg(e));
	wg_peers_settle(reconcile);
}

// The device's own key and port.
static void compare_settings(struct reconcile *reconcile, size_t at, const struct wg_state *state)
{
	struct pass *pass = reconcile->pass;
	struct wanted_devices wanted = { 0 };
	reconcile->source.devices(reconcile->arg, &wanted);
	const struct wanted_device *device = &wanted.devices[at];
	struct kernel_object object = { .kind = KERNEL_LINK, .link = device->link };
	if (state->has_private_key && state->listen_port == device->wg->listen_port)
		return;
	if (pass->dry_run) {
		reconcile->plan_fn(reconcile->plan_arg, NETLINK_REPLACE, &object);
		return;
	}
	bool repair = reconcile->synced && pass->reason == RECONCILE_DRIFT && !pass->devices_changed;
	if (repair && !repair_allowed(reconcile, &object))
		return;
	reconcile->wg_look->settled = false;
	reconcile->wg_look->writes++;
	wg_write(reconcile->wg, reconcile->underlay.device_ifindex[at], true, NULL, 0,
		 on_settings_written, reconcile);
	if (repair)
		count_repair(reconcile, &object);
}

static void on_scanned(void *arg, int r, const struct wg_state *state, const struct err *e)
{
	struct reconcile *reconcile = arg;
	struct pass *pass = reconcile->pass;
	if (r == -ECANCELED)
		return;
	pass->wg_reading = false;
	if (r < 0) {
		log_rl(LOG_LEVEL_WARN, "%s: reading the peers of WireGuard: %s", reconcile->label,
		       err_msg(e));
		pass->wg_error = r;
	} else {
		compare_settings(reconcile, pass->wg_next - 1, state);
	}
	timer_start(reconcile->pass_timer, 0);
}

int wg_peers_scan(struct reconcile *reconcile, struct err *e)
{
	struct pass *pass = reconcile->pass;
	uint32_t ifindex;
	if (pass->wg_reading)
		return PASS_WAITS;
	if (pass->wg_error < 0)
		return err_set(e, pass->wg_error, "the peers of WireGuard cannot be read");
	if (!reconcile->wg || !next_device(reconcile, &pass->wg_next, &ifindex))
		return 0;
	pass->wg_reading = true;
	wg_read(reconcile->wg, ifindex, scan_peer, on_scanned, reconcile);
	return PASS_WAITS;
}

// ---- another key ----

// One device that gets it.
struct rekey {
	struct reconcile *reconcile;
	uint32_t ifindex;
	struct wg_settings settings;
	struct wg_change greetings[GREETINGS_MAX];
	size_t count;
};

static void end_rekey(struct rekey *rekey, int r, const struct err *e)
{
	struct reconcile *reconcile = rekey->reconcile;
	explicit_bzero(&rekey->settings, sizeof(rekey->settings));
	free(rekey);
	if (r == -ECANCELED)
		return;
	reconcile->wg_look->writes--;
	if (r < 0 && reconcile->rekey_error.code == 0)
		reconcile->rekey_error = *e;
	if (--reconcile->rekey_writes > 0)
		return;
	wg_peers_settle(reconcile);
	reconcile_rekey_fn *done = reconcile->rekey_done;
	reconcile->rekey_done = NULL;
	done(reconcile->rekey_arg, reconcile->rekey_error.code, &reconcile->rekey_error);
}

static void on_rekeyed(void *arg, int r, const struct err *e)
{
	end_rekey(arg, r, e);
}

// Those that packets go to. A handshake that we begin with the key comes too early for them, and the next one is 5 s away: so none of ours meets
// theirs, of which neither would come to its end.
static void add_greeting(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	struct rekey *rekey = arg;
	if (!is_alive(contact) || rekey->count == GREETINGS_MAX)
		return;
	rekey->greetings[rekey->count].only_greet = true;
	rekey->greetings[rekey->count].peer = *peer;
	rekey->greetings[rekey->count++].peer.greet = true;
}

static void on_greetings(void *arg, int r, const struct wg_state *state, const struct err *e)
{
	struct rekey *rekey = arg;
	struct wg *wg = rekey->reconcile->wg;
	(void)state;
	if (r < 0) {
		end_rekey(rekey, r, e);
		return;
	}
	wg_set_settings(wg, rekey->ifindex, &rekey->settings);
	wg_write(wg, rekey->ifindex, true, rekey->greetings, rekey->count, on_rekeyed, rekey);
}

int reconcile_rekey(struct reconcile *reconcile, reconcile_rekey_fn *done, void *arg, struct err *e)
{
	struct wanted_devices wanted = { 0 };
	uint32_t ifindex;
	if (reconcile->rekey_done)
		return err_set(e, -EAGAIN, "another key is being set");
	reconcile->source.devices(reconcile->arg, &wanted);
	for (size_t at = 0; reconcile->wg && next_device(reconcile, &at, &ifindex);) {
		struct rekey *rekey = xnew(struct rekey);
		rekey->reconcile = reconcile;
		rekey->ifindex = ifindex;
		rekey->settings = *wanted.devices[at - 1].wg;
		reconcile->wg_look->writes++;
		reconcile->rekey_writes++;
		wg_read(reconcile->wg, ifindex, add_greeting, on_greetings, rekey);
	}
	if (reconcile->rekey_writes == 0)
		return err_set(e, -EAGAIN, "there is no device to give a key to");
	reconcile->wg_look->settled = false;
	reconcile->rekey_error = (struct err){ 0 };
	reconcile->rekey_done = done;
	reconcile->rekey_arg = arg;
	return 0;
}

// ---- looking ----

static uint64_t look_pause_ms(const struct reconcile *reconcile)
{
	return scan_pause_ms(LOOK_MS, lease_set_count(reconcile->source.peers(reconcile->arg)));
}

static uint64_t digest(const struct wg_peer *peer)
{
	struct {
		struct wg_key key;
		struct ipnet allowed[WG_ALLOWED_MAX];
		uint32_t keepalive_s;
		uint32_t odd;
	} parts;
	memset(&parts, 0, sizeof(parts));
	parts.key = peer->public_key;
	for (size_t i = 0; i < peer->allowed_count; i++)
		parts.allowed[i] = peer->allowed[i];
	parts.keepalive_s = peer->keepalive_s;
	parts.odd = peer->odd;
	return hash_bytes(&parts, sizeof(parts));
}

static void look_at_peer(void *arg, const struct wg_peer *peer, const struct wg_contact *contact)
{
	struct reconcile *reconcile = arg;
	struct wg_peer known = *peer;
	known.ifindex = reconcile->underlay.device_ifindex[reconcile->wg_look->device - 1];
	wg_contacts_note(reconcile->wg_contacts, &known, contact, time(NULL), loop_now_ms());
	reconcile->wg_look->seen += digest(peer);
}

static void look_further(struct reconcile *reconcile);

static void on_looked(void *arg, int r, const struct wg_state *state, const struct err *e)
{
	struct reconcile *reconcile = arg;
	struct wg_look *look = reconcile->wg_look;
	(void)e;
	if (r == -ECANCELED)
		return;
	if (r < 0) {
		// The device is gone, or being made: a pass sees to it.
		look->reading = false;
		reconcile_request(reconcile, RECONCILE_DRIFT);
		timer_start(reconcile->wg_timer, look_pause_ms(reconcile));
		return;
	}
	uint64_t own[2] = { state->has_private_key, state->listen_port };
	look->seen += hash_bytes(own, sizeof(own));
	look_further(reconcile);
}

static void look_over(struct reconcile *reconcile)
{
	struct wg_look *look = reconcile->wg_look;
	look->reading = false;
	wg_contacts_end(reconcile->wg_contacts, loop_now_ms());
	timer_start(reconcile->wg_timer, look_pause_ms(reconcile));
	if (look->writes > 0 || reconcile->pass)
		return; // it is settled when they are done
	// Between our last write and this look another program may have been at it: what is new to us a pass compares first.
	if (look->expects && look->compared != look->seen) {
		look->compared = look->seen;
		reconcile_request(reconcile, RECONCILE_DRIFT);
	} else if (look->expects) {
		look->expected = look->seen;
		look->settled = true;
	} else if (look->settled && look->expected != look->seen) {
		look->settled = false;
		reconcile_request(reconcile, RECONCILE_DRIFT);
	}
}

static void look_further(struct reconcile *reconcile)
{
	struct wg_look *look = reconcile->wg_look;
	uint32_t ifindex;
	if (next_device(reconcile, &look->device, &ifindex))
		wg_read(reconcile->wg, ifindex, look_at_peer, on_looked, reconcile);
	else
		look_over(reconcile);
}

static void look(struct reconcile *reconcile)
{
	struct wg_look *look = reconcile->wg_look;
	if (look->reading)
		return;
	look->reading = true;
	look->expects = !look->settled;
	look->seen = 0;
	look->device = 0;
	wg_contacts_begin(reconcile->wg_contacts);
	look_further(reconcile);
}

static void look_tick(void *arg)
{
	struct reconcile *reconcile = arg;
	if (reconcile->devices_ready && reconcile->synced)
		look(reconcile);
	else
		timer_start(reconcile->wg_timer, look_pause_ms(reconcile));
}

void wg_peers_settle(struct reconcile *reconcile)
{
	if (!reconcile->wg || reconcile->wg_look->writes > 0 || reconcile->pass)
		return;
	reconcile->wg_look->settled = false;
	timer_start(reconcile->wg_timer, 0);
}
