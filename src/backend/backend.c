// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the table of backends and the calls through it.
#include "backend/backend.h"

#include "core/backend_type.h"
#include "core/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct backend_ops *const backends[] = {
	&backend_alloc, &backend_auto, &backend_extension, &backend_hostgw,   &backend_ipip,
	&backend_null,	&backend_udp,  &backend_vxlan,	   &backend_wireguard
};

static int find_ops(const char *type, const struct backend_ops **ret, struct err *e)
{
	int r = backend_type_check(type, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(backends); i++) {
		if (strcmp(backends[i]->name, type) == 0) {
			*ret = backends[i];
			return 0;
		}
	}
	assert(r < 0); // what the table of types has is here
	return r;
}

// To a backend "auto" is the interface's MTU: that of the underlay that it is given says what the paths carry.
static void remove_auto_mtu(json_t *config)
{
	const json_t *mtu = json_member(config, "MTU");
	const char *name;
	json_t *value;
	void *next;
	if (!json_is_string(mtu) || strcmp(json_string_value(mtu), "auto") != 0)
		return;
	json_object_foreach_safe(config, next, name, value)
		if (json_name_matches(name, "MTU"))
			json_object_del(config, name);
}

static int read_config(const struct netconf *conf, json_t **ret, struct err *e)
{
	const char *text = conf->backend ? conf->backend : "{}";
	int r = json_read(text, strlen(text), NETCONF_TEXT_MAX, ret, e);
	if (r == 0)
		remove_auto_mtu(*ret);
	return r;
}

int backend_new(const struct netconf *conf, const struct underlay *underlay,
		const struct ip *public_ip, const struct ip *public_ipv6,
		const struct backend_host *host, struct backend **ret, struct err *e)
{
	const struct backend_ops *ops = NULL;
	int r = find_ops(conf->backend_type, &ops, e);
	if (r == 0 && host->untrusted && !ops->is_for_untrusted)
		r = err_set(e, -EACCES,
			    "Backend.Type \"%s\" sends what others could read on this host's segment, which --untrusted says is not to be trusted: set Backend.Type to \"auto\" or \"wireguard\", or leave --untrusted out",
			    ops->name);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *config = NULL;
	r = read_config(conf, &config, e);
	if (r < 0)
		return r;
	assert(ops->size >= sizeof(struct backend));
	struct backend *backend = xcalloc(1, ops->size);
	backend->ops = ops;
	netconf_copy(conf, &backend->netconf);
	backend_set_underlay(backend, underlay, public_ip, public_ipv6);
	r = ops->open(backend, config, host, e);
	if (r < 0) {
		backend_free(backend);
		return err_wrap(e, "backend %s", ops->name);
	}
	*ret = backend;
	return 0;
}

struct backend *backend_free(struct backend *backend)
{
	if (backend) {
		if (backend->ops->close)
			backend->ops->close(backend);
		netconf_free(&backend->netconf);
		free(backend);
	}
	return NULL;
}

const char *backend_type(const struct backend *backend)
{
	return backend->ops->name;
}

void backend_set_subnet(struct backend *backend, const struct subnet *subnet)
{
	backend->subnet = *subnet;
	if (backend->ops->moved)
		backend->ops->moved(backend);
}

void backend_set_underlay(struct backend *backend, const struct underlay *underlay,
			  const struct ip *public_ip, const struct ip *public_ipv6)
{
	backend->underlay = *underlay;
	backend->public_ip = *public_ip;
	backend->public_ipv6 = *public_ipv6;
	if (backend->ops->moved)
		backend->ops->moved(backend);
}

const struct netconf *backend_netconf(const struct backend *backend)
{
	return &backend->netconf;
}

static void compare_family(const struct netconf_family *old, const struct netconf_family *now,
			   const char *enable, const char *network, struct strbuf *restart)
{
	if (old->enabled != now->enabled)
		(void)strbuf_printf(restart, "%s\n", enable);
	else if (!ipnet_equal(&old->network, &now->network))
		(void)strbuf_printf(restart, "%s\n", network);
}

int backend_set_netconf(struct backend *backend, const struct netconf *conf, struct strbuf *restart,
			struct err *e)
{
	_cleanup_json_ json_t *config = NULL;
	int r = read_config(conf, &config, e);
	if (r < 0)
		return r;
	compare_family(&backend->netconf.v4, &conf->v4, "EnableIPv4", "Network", restart);
	compare_family(&backend->netconf.v6, &conf->v6, "EnableIPv6", "IPv6Network", restart);
	if (strcmp(backend->netconf.backend_type, conf->backend_type) != 0) {
		(void)strbuf_puts(restart, "Backend.Type\n");
		return 0;
	}
	return backend->ops->update ? backend->ops->update(backend, config, restart, e) : 0;
}

int backend_set_wg_key(struct backend *backend, const struct wg_key *private_key,
		       const struct wg_key *public_key, struct err *e)
{
	if (!backend->ops->set_wg_key)
		return err_set(e, -EOPNOTSUPP, "the backend is %s, which has no WireGuard key",
			       backend->ops->name);
	backend->ops->set_wg_key(backend, private_key, public_key);
	return 0;
}

void backend_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->public_ip = backend->public_ip;
	ret->public_ipv6 = backend->public_ipv6;
	backend->ops->attrs(backend, ret);
}

uint32_t backend_mtu_bytes(const struct backend *backend)
{
	return backend->ops->mtu_bytes ? backend->ops->mtu_bytes(backend)
				       : backend->underlay.mtu_bytes;
}

uint32_t backend_outer_mtu_bytes(const struct backend *backend)
{
	return backend->ops->outer_mtu_bytes ? backend->ops->outer_mtu_bytes(backend)
					     : backend->underlay.mtu_bytes;
}

void backend_devices(const struct backend *backend, struct wanted_devices *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (backend->ops->devices)
		backend->ops->devices(backend, ret);
}

bool backend_needs_paths(const struct backend *backend)
{
	return backend->ops->needs_paths && backend->ops->needs_paths(backend);
}

bool backend_process(const struct backend *backend, struct backend_process *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (backend->ops->process)
		backend->ops->process(backend, ret);
	return backend->ops->process != NULL;
}

int backend_want(const struct backend *backend, const struct lease *peer,
		 const struct underlay *underlay,
		 const struct underlay_path paths[UNDERLAY_FAMILY_COUNT], struct wanted *ret,
		 struct err *e)
{
	return backend->ops->want(backend, peer, underlay, paths, ret, e);
}

// ---- for the implementations ----

bool backend_has_family(const struct backend *backend, size_t family)
{
	return family == UNDERLAY_V4 ? backend->netconf.v4.enabled : backend->netconf.v6.enabled;
}

uint32_t backend_lowered_mtu_bytes(const struct underlay *underlay, int64_t configured)
{
	uint32_t mtu_bytes = (uint32_t)configured;
	return mtu_bytes != 0 && (underlay->mtu_bytes == 0 || mtu_bytes < underlay->mtu_bytes)
		       ? mtu_bytes
		       : underlay->mtu_bytes;
}

bool backend_peer_is_awaited(const struct lease *peer)
{
	const struct lease_attrs *attrs = &peer->attrs;
	return peer->session == 0 && attrs->backend_type[0] == '\0' && !attrs->backend_data &&
	       !attrs->backend_v6_data;
}

bool backend_awaits_peer(const struct lease *peer, struct wanted *ret)
{
	if (!backend_peer_is_awaited(peer))
		return false;
	ret->path = "none";
	ret->why = "reserved, and its host has not been here yet";
	return true;
}

int backend_check_type(const char *ours, const struct lease_attrs *attrs, struct err *e)
{
	if (strcmp(attrs->backend_type, ours) == 0)
		return 0;
	return err_set(e, -EPROTONOSUPPORT, "its backend is \"%s\", ours is %s",
		       attrs->backend_type, ours);
}
