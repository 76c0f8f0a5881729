// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from a network config to a host that can join: interface, forwarding, backend and its devices; and following them when they change.
#include "agent/agent_internal.h"

#include "agent/docker_link.h"
#include "agent/docker_plugin.h"
#include "agent/former.h"
#include "agent/wg_key.h"
#include "backend/extension.h"
#include "core/log.h"
#include "core/mem.h"
#include "io/file.h"
#include "kernel/link.h"
#include "kernel/sysctl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <unistd.h>

#define BRING_UP_RETRY_MS 2000
#define BRING_UP_LAUNCH_MS 20  // a process that has the device is coming up
#define UNDERLAY_SETTLE_MS 100 // an address change comes as several notifications

// ---- the interface ----

static int choose_interface(struct network *network, const struct netconf *conf,
			    struct underlay_choice *ret, struct err *e)
{
	const struct options *options = network->agent->options;
	struct interface_request request = {
		.ifaces = (const char *const *)options->iface.items,
		.regexes = (const char *const *)options->iface_regex.items,
		.can_reach = flag_or_null(options->iface_can_reach),
		.public_ip = options->public_ip,
		.public_ipv6 = options->public_ipv6,
		.want_v4 = conf->v4.enabled,
		.want_v6 = conf->v6.enabled,
	};
	return interface_choose(network->agent->nl, &request, ret, e);
}

static struct underlay underlay_of(const struct network *network, const struct underlay_choice *choice)
{
	struct underlay underlay = { .ifindex = choice->ifindex,
				     .mtu_bytes = path_mtu_limit(network, choice->mtu_bytes),
				     .ip4 = choice->ip4,
				     .ip6 = choice->ip6 };
	(void)text_copy(underlay.name, sizeof(underlay.name), choice->name); // both are IFNAMSIZ
	return underlay;
}

// ---- conflicts with what the host already routes ----

struct overlap_search {
	const struct network *network;
	const struct netconf *conf;
	const struct subnet *own; // NULL: no lease and no previous one
	struct link link;  // of the route looked at last; thousands of them may be on one device
	bool link_is_left; // by an earlier life of this network
	bool found;
	struct route route;
};

static bool is_of_flannel(const struct link *link)
{
	return strncmp(link->name, "flannel", strlen("flannel")) == 0;
}

static const struct link *link_of_route(struct overlap_search *search, const struct route *route)
{
	struct link *link = &search->link;
	if (link->ifindex == route->ifindex)
		return link;
	if (link_get_by_index(search->network->agent->nl, route->ifindex, link, NULL) < 0)
		*link = (struct link){ .ifindex = route->ifindex }; // gone: so is its route, soon
	search->link_is_left = former_is_left(search->network, link);
	return link;
}

// A route that would fight with the network: part of it, or all of it directly on a link. A gateway's route to a larger net does no harm:
// ours are more specific.
static bool route_conflicts(struct overlap_search *search, const struct route *route,
			    const struct netconf_family *family, const struct ipnet *own)
{
	const struct ipnet *network = &family->network;
	if (!family->enabled || !ipnet_overlaps(&route->dst, network) || route->dst.len == 0)
		return false;
	if (route->protocol == KERNEL_PROTOCOL_WEFT || route->type != RTN_UNICAST)
		return false;
	if (ipnet_is_set(own) && ipnet_contains_net(own, &route->dst))
		return false; // the container bridge of an earlier life
	if (ipnet_contains_net(&route->dst, network) && ip_is_set(&route->gateway))
		return false;
	const struct link *link = link_of_route(search, route);
	if (network_wants_device(search->network, link->name) || search->link_is_left ||
	    docker_bridge_is_ours(link))
		return false;
	// What flannel left without encapsulation, to be adopted; one on a device of flannel's is another network's.
	return !(route->protocol == RTPROT_BOOT && route->dst.len == family->subnet_len &&
		 ip_is_set(&route->gateway) && !is_of_flannel(link));
}

static void look_at_route(void *arg, const struct kernel_object *object)
{
	struct overlap_search *search = arg;
	static const struct subnet none = { 0 };
	const struct subnet *own = search->own ? search->own : &none;
	if (search->found || !(route_conflicts(search, &object->route, &search->conf->v4, &own->v4) ||
			       route_conflicts(search, &object->route, &search->conf->v6, &own->v6)))
		return;
	search->found = true;
	search->route = object->route;
}

static int check_overlap(const struct network *network, const struct netconf *conf,
			 const struct underlay_choice *choice, struct err *e)
{
	char net[IPNET_STR_MAX], dst[IPNET_STR_MAX], ip[IP_STR_MAX];
	const struct ip *addresses[] = { &choice->ip4, &choice->ip6 };
	const struct ipnet *networks[] = { &conf->v4.network, &conf->v6.network };
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		if (ip_is_set(addresses[i]) && ipnet_contains(networks[i], addresses[i]))
			return err_set(
				e, -EADDRINUSE,
				"address %s of %s lies inside the network %s: choose another Network or interface",
				ip_str(addresses[i], ip), choice->name, ipnet_str(networks[i], net));
	// What commands of an earlier life made cannot be told from what others did.
	if (extension_commands(network->backend))
		return 0;
	struct overlap_search search = { .network = network,
					 .conf = conf,
					 .own = network_own_subnet(network) };
	for (int family = 0; family < 2; family++) {
		struct netlink_dump_filter filter = { .family = family == 0 ? AF_INET : AF_INET6,
						      .table = RT_TABLE_MAIN };
		int r = netlink_dump_all(network->agent->nl, KERNEL_ROUTE, &filter, look_at_route,
					 &search, e);
		if (r < 0)
			return r;
	}
	if (!search.found)
		return 0;
	const struct netconf_family *family = search.route.dst.addr.family == AF_INET ? &conf->v4
										      : &conf->v6;
	bool of_network = is_of_flannel(&search.link);
	return err_set(e, -EADDRINUSE,
		       "network %s overlaps %s %s dev %s: choose another Network or remove the %s",
		       ipnet_str(&family->network, net),
		       of_network ? "another network on this host, which has the route"
				  : "this host's route",
		       ipnet_str(&search.route.dst, dst), search.link.name,
		       of_network ? "device" : "route");
}

// ---- forwarding ----

static void enable_forwarding(const struct network *network, const struct netconf *conf,
			      const char *underlay_name)
{
	struct err e;
	if (network->agent->options->no_ip_forward)
		return;
	if (conf->v4.enabled && sysctl_write("net/ipv4/ip_forward", "1", &e) < 0)
		log_warn("%s: %s: containers of this host will not reach others", network->who, e.msg);
	if (!conf->v6.enabled)
		return;
	// A forwarding host ignores router advertisements unless told twice; losing its own default route would be our doing.
	char path[128];
	int64_t accept_ra = 0;
	if (sysctl_device_path("net/ipv6/conf", underlay_name, "accept_ra", path, sizeof(path)) == 0 &&
	    sysctl_read_int(path, &accept_ra, NULL) == 0 && accept_ra == 1)
		(void)sysctl_write(path, "2", NULL);
	if (sysctl_write("net/ipv6/conf/all/forwarding", "1", &e) < 0)
		log_warn("%s: %s: containers of this host will not reach others", network->who, e.msg);
}

// ---- the backend ----

static bool find_link(void *arg, const char *name, struct link *ret)
{
	struct network *network = arg;
	return link_get_by_name(network->agent->nl, name, ret, NULL) == 0;
}

static bool find_mac(void *arg, const char *name, struct mac *ret)
{
	struct network *network = arg;
	const struct mac *mac = state_mac_find(&network->state, name);
	if (mac)
		*ret = *mac;
	return mac != NULL;
}

static int wg_key(void *arg, struct wg_key *ret_private, struct wg_key *ret_public, struct err *e)
{
	struct network *network = arg;
	return wg_key_open(network->state_dir, ret_private, ret_public, e);
}

// Machine id and host name alone are not enough: clones share them. The public address is what the fabric itself goes by.
static void host_identity(const struct underlay_choice *choice, struct strbuf *ret)
{
	_cleanup_free_ char *machine_id = NULL;
	size_t len = 0;
	char name[256] = "", ip[IP_STR_MAX];
	(void)file_read("/etc/machine-id", 256, &machine_id, &len, NULL);
	(void)gethostname(name, sizeof(name) - 1);
	(void)strbuf_printf(
		ret, "%s %s %s", machine_id ? machine_id : "", name,
		ip_str(ip_is_set(&choice->public_ip) ? &choice->public_ip : &choice->public_ipv6, ip));
}

static void remember_macs(struct network *network)
{
	struct wanted_devices devices;
	backend_devices(network->backend, &devices);
	for (size_t i = 0; i < devices.count; i++)
		if (mac_is_usable(&devices.devices[i].link.mac))
			state_file_set_mac(network->state_file, devices.devices[i].link.name,
					   &devices.devices[i].link.mac);
}

static int open_backend(struct network *network, const struct netconf *conf,
			const struct underlay_choice *choice, struct err *e)
{
	_cleanup_strbuf_ struct strbuf identity = STRBUF_INIT(1024);
	host_identity(choice, &identity);
	struct backend_host host = { .find_link = find_link,
				     .find_mac = find_mac,
				     .wg_key = wg_key,
				     .arg = network,
				     .identity = strbuf_text(&identity),
				     .allows_commands = network->agent->options->allow_extension,
				     .untrusted = network->agent->options->untrusted };
	struct underlay underlay = underlay_of(network, choice);
	int r = backend_new(conf, &underlay, &choice->public_ip, &choice->public_ipv6, &host,
			    &network->backend, e);
	if (r < 0)
		return r;
	network->underlay = underlay;
	path_mtu_resume(network);
	backend_set_underlay(network->backend, &network->underlay, &choice->public_ip,
			     &choice->public_ipv6);
	const struct lease *lease = fabric_lease(network->fabric);
	if (lease)
		backend_set_subnet(network->backend, &lease->subnet);
	r = clash_check(network, e);
	if (r == 0)
		r = check_overlap(network, conf, choice, e);
	if (r == 0)
		r = reconcile_devices(network->reconcile, e);
	if (r == -EINPROGRESS)
		r = 0; // a process makes them, which is started next
	if (r < 0) {
		network->backend = backend_free(network->backend);
		return r;
	}
	remember_macs(network);
	return 0;
}

void bring_up_join(struct network *network)
{
	struct lease_attrs attrs;
	if (!extension_may_join(network->extension))
		return;
	backend_attrs(network->backend, &attrs);
	fabric_join(network->fabric, &attrs);
	lease_attrs_free(&attrs);
}

static void log_choice(const struct network *network, const struct underlay_choice *choice)
{
	char ip[IP_STR_MAX], ip6[IP_STR_MAX];
	log_info("%s: interface %s, MTU %u, public address %s%s%s", network->who, choice->name,
		 choice->mtu_bytes,
		 ip_is_set(&choice->public_ip) ? ip_str(&choice->public_ip, ip) : "",
		 ip_is_set(&choice->public_ip) && ip_is_set(&choice->public_ipv6) ? " and " : "",
		 ip_is_set(&choice->public_ipv6) ? ip_str(&choice->public_ipv6, ip6) : "");
}

static void note_bring_up_error(struct network *network, const struct err *e)
{
	bool is_news = strcmp(network->bring_up_error.msg, e->msg) != 0;
	network->bring_up_error = *e;
	notify_status(network->agent->notify, "%s%s", network->status_head, e->msg);
	agent_note_progress(network->agent);
	if (e->code == -EPERM && !network->backend) {
		network->agent->fatal = e->code;
		network->agent->fatal_err = *e;
		loop_stop(network->agent->loop);
		return;
	}
	if (is_news)
		log_error("%s: %s", network->who, e->msg);
	timer_start(network->bring_up_timer, BRING_UP_RETRY_MS);
}

static int first_time(struct network *network, const struct netconf *conf, struct err *e)
{
	struct underlay_choice choice;
	int r = choose_interface(network, conf, &choice, e);
	if (r == 0)
		r = open_backend(network, conf, &choice, e);
	if (r < 0)
		return r;
	network_udp_end_former(network);
	former_remove(network);
	network->choice = choice;
	network->chosen = true;
	log_choice(network, &choice);
	enable_forwarding(network, conf, choice.name);
	network_udp_update(network);
	write_subnet_env(network);
	network->extension = extension_new(network);
	if (network->peers_known)
		reconcile_request(network->reconcile, RECONCILE_START);
	bring_up_join(network);
	return 0;
}

static int look_again(struct network *network, const struct netconf *conf, struct err *e)
{
	struct underlay_choice choice;
	int r = choose_interface(network, conf, &choice, e);
	if (r < 0 || underlay_choice_equal(&choice, &network->choice))
		return r;
	bool moved = choice.ifindex != network->choice.ifindex ||
		     !ip_equal(&choice.ip4, &network->choice.ip4) ||
		     !ip_equal(&choice.ip6, &network->choice.ip6);
	network->choice = choice;
	log_choice(network, &choice);
	if (moved)
		kv_reconnect(network->agent->kv);
	network->underlay = underlay_of(network, &choice);
	backend_set_underlay(network->backend, &network->underlay, &choice.public_ip,
			     &choice.public_ipv6);
	network_udp_update(network);
	write_subnet_env(network);
	if (network->peers_known)
		reconcile_request(network->reconcile, RECONCILE_CHANGE);
	bring_up_join(network);
	return 0;
}

void bring_up(struct network *network)
{
	// Families that were switched on or off since the backend was opened wait for a restart.
	const struct netconf *conf = network->backend ? backend_netconf(network->backend)
						      : fabric_netconf(network->fabric);
	struct err e = { 0 };
	if (!conf)
		return;
	int r = network->backend ? look_again(network, conf, &e) : first_time(network, conf, &e);
	if (r == -EINPROGRESS) {
		timer_start(network->bring_up_timer, BRING_UP_LAUNCH_MS);
		return;
	}
	if (r < 0) {
		note_bring_up_error(network, &e);
		return;
	}
	if (network->bring_up_error.code != 0)
		log_info("%s: recovered from: %s", network->who, network->bring_up_error.msg);
	memset(&network->bring_up_error, 0, sizeof(network->bring_up_error));
}

void bring_up_again_soon(struct network *network)
{
	timer_start(network->bring_up_timer, UNDERLAY_SETTLE_MS);
}

static void log_restart_needed(const struct network *network, const char *lines)
{
	_cleanup_strbuf_ struct strbuf members = STRBUF_INIT(4096);
	for (const char *line = lines; *line;) {
		size_t len = strcspn(line, "\n");
		(void)strbuf_printf(&members, "%s%.*s", members.len > 0 ? ", " : "", (int)len, line);
		line += len + (line[len] == '\n');
	}
	if (members.len > 0)
		log_warn("%s: restart needed for changes of: %s", network->who, strbuf_text(&members));
}

void take_config(struct network *network, const struct netconf *conf)
{
	struct err e = { 0 };
	strbuf_reset(&network->restart_needed);
	if (backend_set_netconf(network->backend, conf, &network->restart_needed, &e) < 0) {
		err_wrap(&e, "the changed config is not taken over");
		network->config_error = e;
		log_error("%s: %s", network->who, e.msg);
		return;
	}
	log_restart_needed(network, strbuf_text(&network->restart_needed));
	path_mtu_follow(network);
	write_subnet_env(network);
	if (network->peers_known)
		reconcile_request(network->reconcile, RECONCILE_CHANGE);
}

static bool conf_holds(const struct netconf *conf, const struct subnet *subnet)
{
	return (!ipnet_is_set(&subnet->v4) || ipnet_contains_net(&conf->v4.network, &subnet->v4)) &&
	       (!ipnet_is_set(&subnet->v6) || ipnet_contains_net(&conf->v6.network, &subnet->v6));
}

// A Network that was changed waits for a restart, as the subnet does, and a kept subnet for longer: network and subnet of the file belong
// together.
static struct subnet network_of_lease(const struct network *network, const struct lease *lease)
{
	const struct netconf *opened = backend_netconf(network->backend),
			     *now = fabric_netconf(network->fabric);
	const struct netconf *conf = now && !conf_holds(opened, &lease->subnet) ? now : opened;
	if (!conf_holds(conf, &lease->subnet) && subnet_equal(&network->env.subnet, &lease->subnet))
		return network->env.network;
	return (struct subnet){ .v4 = conf->v4.network, .v6 = conf->v6.network };
}

void write_subnet_env(struct network *network)
{
	const struct lease *lease = fabric_lease(network->fabric);
	if (!lease || !network->backend)
		return;
	network->env = (struct subnet_env){
		.network = network_of_lease(network, lease),
		.subnet = lease->subnet,
		.mtu_bytes = backend_mtu_bytes(network->backend),
		.ip_masq = network->agent->options->ip_masq,
	};
	struct err e = { 0 };
	int r = subnet_env_write(network->subnet_file, &network->env, &e);
	free(network->env_error);
	network->env_error = r < 0 ? xstrdup(e.msg) : NULL;
	if (r < 0)
		log_error("%s: %s", network->who, e.msg);
	network->env_written = network->env_written || r == 0;
	firewall_follow(network->agent);
	docker_check(network);
	docker_plugin_follow(network->agent->docker_plugin, network);
	agent_note_progress(network->agent);
}
