// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the WireGuard devices of one network: which engine runs them, and the queue of what is asked of it.
#include "reconcile/wg.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/launch.h"
#include "kernel/wg_netlink.h"
#include "kernel/wg_text.h"
#include "reconcile/wg_socket.h"

#include <errno.h>
#include <string.h>

#define PROGRAM "wireguard-go"
#define READ_TRIES 5 // of a device whose peers change while it is read

struct wg_device {
	uint32_t ifindex; // 0: none is attached
	char name[IFNAMSIZ];
	bool in_user_space;
	struct wg_settings settings;
};

// Something that was asked for.
struct call {
	struct call *next;
	uint32_t ifindex;
	bool is_read;
	bool settings;
	struct wg_change *changes;
	size_t count;
	size_t written; // of them, by the kernel
	bool is_begun;
	unsigned int tries;
	wg_peer_fn *peer;
	wg_read_fn *read_done;
	wg_write_fn *write_done;
	void *arg;
};

struct wg {
	struct loop *loop;
	struct wg_device devices[WG_DEVICES_MAX];
	struct call *first, **last;
	struct timer *timer; // begins the first call

	struct wg_netlink *kernel; // NULL: no device of ours is the kernel's

	// of the first call
	struct wg_settings settings; // as they were when it began
	struct wg_socket *socket;
	struct wg_text request;
	struct wg_text_reader reader;

	struct launch *launch;
	char launching[IFNAMSIZ];
	char launched[IFNAMSIZ]; // the last one, until it is attached
	struct err launch_error; // code 0: none
};

static void on_timer(void *arg);

struct wg *wg_new(struct loop *loop)
{
	struct wg *wg = xnew(struct wg);
	wg->loop = loop;
	wg->last = &wg->first;
	wg->timer = timer_new(loop, on_timer, wg);
	return wg;
}

// ---- the queue ----

static struct call *call_free(struct call *call)
{
	free(call->changes);
	free(call);
	return NULL;
}

static void end_exchange(struct wg *wg)
{
	wg->socket = wg_socket_free(wg->socket);
	wg_text_end(&wg->reader);
	wg_text_free(&wg->request);
	explicit_bzero(&wg->settings, sizeof(wg->settings));
}

// The first call is over.
static void finish(struct wg *wg, int r, const struct wg_state *state, const struct err *e)
{
	struct call *call = wg->first;
	wg->first = call->next;
	if (!wg->first)
		wg->last = &wg->first;
	end_exchange(wg);
	if (wg->first)
		timer_start(wg->timer, 0);
	if (call->is_read)
		call->read_done(call->arg, r, state, e);
	else
		call->write_done(call->arg, r, e);
	call_free(call);
}

static void fail(struct wg *wg, int r, const char *why)
{
	struct err e;
	err_set(&e, r, "%s", why);
	finish(wg, r, NULL, &e);
}

static void push(struct wg *wg, struct call *call)
{
	*wg->last = call;
	wg->last = &call->next;
	if (wg->first == call)
		timer_start(wg->timer, 0);
}

static const struct wg_device *find_device(const struct wg *wg, uint32_t ifindex)
{
	for (size_t i = 0; i < WG_DEVICES_MAX; i++)
		if (ifindex != 0 && wg->devices[i].ifindex == ifindex)
			return &wg->devices[i];
	return NULL;
}

// ---- in user space ----

static void on_answer(void *arg, int r, const struct err *e)
{
	struct wg *wg = arg;
	struct wg_state state = wg->reader.state;
	if (r < 0) {
		finish(wg, r, NULL, e);
		return;
	}
	r = wg->reader.error;
	if (r < 0)
		fail(wg, r, strerror(-r));
	else
		finish(wg, 0, &state, NULL);
}

static void ask(struct wg *wg, const struct wg_device *device, const struct call *call)
{
	const char *request = WG_TEXT_GET;
	size_t len = strlen(WG_TEXT_GET);
	if (!call->is_read) {
		wg_text_set(call->settings ? &wg->settings : NULL, &wg->settings.preshared_key,
			    call->changes, call->count, &wg->request);
		request = wg->request.data;
		len = wg->request.len;
	}
	wg_text_begin(&wg->reader, &wg->settings, call->peer, call->arg);
	wg->socket = wg_socket_ask(wg->loop, device->name, request, len, &wg->reader, on_answer, wg);
}

// ---- in the kernel ----

// A key costs the kernel some 0.1 ms, so a slice at a time.
static void write_slice(struct wg *wg, struct call *call)
{
	size_t count = call->count - call->written;
	struct err e = { 0 };
	if (count > WG_NETLINK_CHANGES_MAX)
		count = WG_NETLINK_CHANGES_MAX;
	int r = wg_netlink_set(wg->kernel, call->ifindex,
			       call->settings && call->written == 0 ? &wg->settings : NULL,
			       &wg->settings.preshared_key, call->changes + call->written, count, &e);
	call->written += count;
	if (r == 0 && call->written < call->count)
		timer_start(wg->timer, 0);
	else
		finish(wg, r, NULL, &e);
}

static void read_slice(struct wg *wg, struct call *call)
{
	struct wg_state state = { 0 };
	struct err e = { 0 };
	int r = call->is_begun ? 0
			       : wg_netlink_read(wg->kernel, call->ifindex, &wg->settings,
						 call->peer, call->arg, &e);
	call->is_begun = true;
	if (r == 0)
		r = wg_netlink_step(wg->kernel, &state, &e);
	if (r == -EINTR && ++call->tries < READ_TRIES) {
		call->is_begun = false;
		r = 1;
	}
	if (r > 0)
		timer_start(wg->timer, 0);
	else
		finish(wg, r, r == 0 ? &state : NULL, &e);
}

static void on_timer(void *arg)
{
	struct wg *wg = arg;
	struct call *call = wg->first;
	const struct wg_device *device = find_device(wg, call->ifindex);
	if (!device) {
		fail(wg, -ENODEV, "the device is gone");
		return;
	}
	wg->settings = device->settings;
	if (device->in_user_space)
		ask(wg, device, call);
	else if (call->is_read)
		read_slice(wg, call);
	else
		write_slice(wg, call);
}

void wg_read(struct wg *wg, uint32_t ifindex, wg_peer_fn *fn, wg_read_fn *done, void *arg)
{
	struct call *call = xnew(struct call);
	call->ifindex = ifindex;
	call->is_read = true;
	call->peer = fn;
	call->read_done = done;
	call->arg = arg;
	push(wg, call);
}

void wg_write(struct wg *wg, uint32_t ifindex, bool settings, const struct wg_change *changes,
	      size_t count, wg_write_fn *done, void *arg)
{
	struct call *call = xnew(struct call);
	call->ifindex = ifindex;
	call->settings = settings;
	call->changes = count ? xmemdup(changes, count * sizeof(*changes)) : NULL;
	call->count = count;
	call->write_done = done;
	call->arg = arg;
	push(wg, call);
}

// ---- the process ----

static void on_launched(void *arg, int status, const char *said)
{
	struct wg *wg = arg;
	wg->launch = launch_free(wg->launch);
	if (status == 0) {
		(void)text_copy(wg->launched, sizeof(wg->launched), wg->launching);
		log_info("wireguard: %s runs %s", PROGRAM, wg->launching);
		return;
	}
	err_set(&wg->launch_error, status < 0 ? status : -EIO, "starting %s for %s: %s", PROGRAM,
		wg->launching,
		said[0]		       ? said
		: status == -ETIMEDOUT ? "it did not come up"
				       : "it ended");
}

bool wg_is_launching(const struct wg *wg, const char *device)
{
	return wg->launch && strcmp(wg->launching, device) == 0;
}

bool wg_was_launched(const struct wg *wg, const char *device)
{
	return strcmp(wg->launched, device) == 0;
}

int wg_launch(struct wg *wg, const char *device, struct err *e)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *path_line = xasprintf("PATH=%s", path ? path : "/usr/sbin:/usr/bin");
	const char *const argv[] = { PROGRAM, device, NULL };
	// Where the kernel has it, or its module is only not loaded, the program says so and goes on.
	const char *const environment[] = { path_line,
					    "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1", NULL };
	if (wg->launch)
		return err_set(e, -EINPROGRESS, "%s is being started for %s", PROGRAM, wg->launching);
	if (wg->launch_error.code != 0) {
		struct err told = wg->launch_error;
		memset(&wg->launch_error, 0, sizeof(wg->launch_error));
		return err_set(e, told.code, "%s", told.msg);
	}
	int r = launch_start(wg->loop, argv, environment, on_launched, wg, &wg->launch, e);
	if (r == -ENOENT)
		return err_set(e, r,
			       "making %s: the kernel has no wireguard devices, and there is no %s: load the module (modprobe wireguard), or install %s",
			       device, PROGRAM, PROGRAM);
	if (r < 0)
		return err_wrap(e, "making %s", device);
	(void)text_copy(wg->launching, sizeof(wg->launching), device);
	return err_set(e, -EINPROGRESS, "%s is being started for %s", PROGRAM, device);
}

// ---- devices ----

int wg_attach(struct wg *wg, const struct link *link, const struct wg_settings *settings, struct err *e)
{
	struct wg_device *at = NULL;
	for (size_t i = 0; i < WG_DEVICES_MAX; i++)
		if (strcmp(wg->devices[i].name, link->name) == 0 ||
		    (!at && wg->devices[i].name[0] == '\0'))
			at = &wg->devices[i];
	if (!at)
		return err_set(e, -ENOSPC, "%s: more than %d devices", link->name, WG_DEVICES_MAX);
	bool in_user_space = strcmp(link->kind, WG_KIND) != 0;
	if (!in_user_space && !wg->kernel) {
		int r = wg_netlink_open(&wg->kernel, e);
		if (r < 0)
			return err_wrap(e, "%s", link->name);
	}
	if (in_user_space && !wg_socket_is_answered(link->name))
		return err_set(e, -EEXIST,
			       "%s is there, and nobody answers at " WG_SOCKET_DIR
			       "/%s.sock: remove it ('ip link del %s')",
			       link->name, link->name, link->name);
	if (wg_was_launched(wg, link->name))
		wg->launched[0] = '\0';
	at->ifindex = link->ifindex;
	at->in_user_space = in_user_space;
	(void)text_copy(at->name, sizeof(at->name), link->name);
	at->settings = *settings;
	return 0;
}

void wg_set_settings(struct wg *wg, uint32_t ifindex, const struct wg_settings *settings)
{
	for (size_t i = 0; i < WG_DEVICES_MAX; i++)
		if (ifindex != 0 && wg->devices[i].ifindex == ifindex)
			wg->devices[i].settings = *settings;
}

const char *wg_engine(const struct wg *wg)
{
	for (size_t i = 0; i < WG_DEVICES_MAX; i++)
		if (wg->devices[i].ifindex != 0)
			return wg->devices[i].in_user_space ? PROGRAM : "kernel";
	return NULL;
}

struct wg *wg_free(struct wg *wg)
{
	if (!wg)
		return NULL;
	while (wg->first)
		fail(wg, -ECANCELED, "it is too late");
	timer_free(wg->timer);
	wg_netlink_close(wg->kernel);
	launch_free(wg->launch);
	explicit_bzero(wg->devices, sizeof(wg->devices));
	free(wg);
	return NULL;
}
