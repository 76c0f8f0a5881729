// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from a network config to a host that can join: interface, forwarding, backend and its devices; and following them when they change.
#include "agent/agent_internal.h"

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
#define UNDERLAY_SETTLE_MS 100 // an address change comes as several notifications

// ---- the interface ----

static int choose_interface(struct agent *agent, const struct netconf *conf,
			    struct underlay_choice *ret, struct err *e)
{
	const struct options *options = agent->options;
	struct interface_request request = {
		.ifaces = (const char *const *)options->iface.items,
		.regexes = (const char *const *)options->iface_regex.items,
		.can_reach = options->iface_can_reach[0] ? options->iface_can_reach : NULL,
		.public_ip = options->public_ip,
		.public_ipv6 = options->public_ipv6,
		.want_v4 = conf->v4.enabled,
		.want_v6 = conf->v6.enabled,
	};
	return interface_choose(agent->nl, &request, ret, e);
}

static struct underlay underlay_of(const struct underlay_choice *choice)
{
	struct underlay underlay = { .ifindex = choice->ifindex,
				     .mtu_bytes = choice->mtu_bytes,
				     .ip4 = choice->ip4,
				     .ip6 = choice->ip6 };
	(void)text_copy(underlay.name, sizeof(underlay.name), choice->name); // both are IFNAMSIZ
	return underlay;
}

// ---- conflicts with what the host already routes ----

struct overlap_search {
	const struct agent *agent;
	const struct netconf *conf;
	const struct subnet *own; // NULL: no lease and no previous one
	struct link link; // of the route looked at last; thousands of them may be on one device
	bool found;
	struct route route;
};

static bool is_wanted_device(const struct agent *agent, const char *name)
{
	struct wanted_devices devices = { 0 };
	backend_devices(agent->backend, &devices);
	for (size_t i = 0; i < devices.count; i++)
		if (strcmp(devices.devices[i].link.name, name) == 0)
			return true;
	return false;
}

// One that an earlier life made, by the word of the disk.
static bool is_former_device(const struct agent *agent, const struct link *link)
{
	const struct mac *mac = state_mac_find(&agent->state, link->name);
	return mac && mac_equal(mac, &link->mac) && strcmp(link->kind, "vxlan") == 0;
}

static bool is_of_flannel(const struct link *link)
{
	return strncmp(link->name, "flannel", strlen("flannel")) == 0;
}

static const struct link *link_of_route(struct overlap_search *search, const struct route *route)
{
	struct link *link = &search->link;
	if (link->ifindex != route->ifindex &&
	    link_get_by_index(search->agent->nl, route->ifindex, link, NULL) < 0)
		*link = (struct link){ .ifindex = route->ifindex }; // gone: so is its route, soon
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
	if (is_wanted_device(search->agent, link->name) || is_former_device(search->agent, link))
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

static int check_overlap(const struct agent *agent, const struct netconf *conf,
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
	const struct lease *lease = fabric_lease(agent->fabric);
	struct overlap_search search = { .agent = agent,
					 .conf = conf,
					 .own = lease ? &lease->subnet
						: agent->env_written ||
								ipnet_is_set(&agent->env.subnet.v4) ||
								ipnet_is_set(&agent->env.subnet.v6)
							? &agent->env.subnet
							: NULL };
	for (int family = 0; family < 2; family++) {
		struct netlink_dump_filter filter = { .family = family == 0 ? AF_INET : AF_INET6,
						      .table = RT_TABLE_MAIN };
		int r = netlink_dump_all(agent->nl, KERNEL_ROUTE, &filter, look_at_route, &search, e);
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

static void enable_forwarding(const struct agent *agent, const struct netconf *conf,
			      const char *underlay_name)
{
	struct err e;
	if (agent->options->no_ip_forward)
		return;
	if (conf->v4.enabled && sysctl_write("net/ipv4/ip_forward", "1", &e) < 0)
		log_warn("agent: %s: containers of this host will not reach others", e.msg);
	if (!conf->v6.enabled)
		return;
	// A forwarding host ignores router advertisements unless told twice; losing its own default route would be our doing.
	char path[128];
	int64_t accept_ra = 0;
	if (sysctl_device_path("net/ipv6/conf", underlay_name, "accept_ra", path, sizeof(path)) == 0 &&
	    sysctl_read_int(path, &accept_ra, NULL) == 0 && accept_ra == 1)
		(void)sysctl_write(path, "2", NULL);
	if (sysctl_write("net/ipv6/conf/all/forwarding", "1", &e) < 0)
		log_warn("agent: %s: containers of this host will not reach others", e.msg);
}

// ---- the backend ----

static bool find_link(void *arg, const char *name, struct link *ret)
{
	struct agent *agent = arg;
	return link_get_by_name(agent->nl, name, ret, NULL) == 0;
}

static bool find_mac(void *arg, const char *name, struct mac *ret)
{
	struct agent *agent = arg;
	const struct mac *mac = state_mac_find(&agent->state, name);
	if (mac)
		*ret = *mac;
	return mac != NULL;
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

static void remember_macs(struct agent *agent)
{
	struct wanted_devices devices;
	backend_devices(agent->backend, &devices);
	for (size_t i = 0; i < devices.count; i++)
		state_file_set_mac(agent->state_file, devices.devices[i].link.name,
				   &devices.devices[i].link.mac);
}

static int open_backend(struct agent *agent, const struct netconf *conf,
			const struct underlay_choice *choice, struct err *e)
{
	_cleanup_strbuf_ struct strbuf identity = STRBUF_INIT(1024);
	host_identity(choice, &identity);
	struct backend_host host = { .find_link = find_link,
				     .find_mac = find_mac,
				     .arg = agent,
				     .identity = strbuf_text(&identity) };
	struct underlay underlay = underlay_of(choice);
	int r = backend_new(conf, &underlay, &choice->public_ip, &choice->public_ipv6, &host,
			    &agent->backend, e);
	if (r < 0)
		return r;
	agent->underlay = underlay;
	const struct lease *lease = fabric_lease(agent->fabric);
	if (lease)
		backend_set_subnet(agent->backend, &lease->subnet);
	r = check_overlap(agent, conf, choice, e);
	if (r == 0)
		r = reconcile_devices(agent->reconcile, e);
	if (r < 0) {
		agent->backend = backend_free(agent->backend);
		return r;
	}
	remember_macs(agent);
	return 0;
}

// What an earlier life made for another VNI or backend.
static void remove_former_devices(const struct agent *agent)
{
	for (size_t i = 0; i < agent->state.mac_count; i++) {
		const char *name = agent->state.macs[i].device;
		struct link link;
		struct err e = { 0 };
		if (is_wanted_device(agent, name) ||
		    link_get_by_name(agent->nl, name, &link, NULL) < 0 ||
		    !is_former_device(agent, &link))
			continue;
		if (link_delete(agent->nl, link.ifindex, &e) < 0)
			log_warn("agent: %s", e.msg);
		else
			log_info("agent: removed device %s of an earlier config", name);
	}
}

static void join(struct agent *agent)
{
	struct lease_attrs attrs;
	backend_attrs(agent->backend, &attrs);
	fabric_join(agent->fabric, &attrs);
	lease_attrs_free(&attrs);
}

static void log_choice(const struct underlay_choice *choice)
{
	char ip[IP_STR_MAX], ip6[IP_STR_MAX];
	log_info("agent: interface %s, MTU %u, public address %s%s%s", choice->name, choice->mtu_bytes,
		 ip_is_set(&choice->public_ip) ? ip_str(&choice->public_ip, ip) : "",
		 ip_is_set(&choice->public_ip) && ip_is_set(&choice->public_ipv6) ? " and " : "",
		 ip_is_set(&choice->public_ipv6) ? ip_str(&choice->public_ipv6, ip6) : "");
}

static void note_bring_up_error(struct agent *agent, const struct err *e)
{
	bool is_news = strcmp(agent->bring_up_error.msg, e->msg) != 0;
	agent->bring_up_error = *e;
	notify_status(agent->notify, "%s", e->msg);
	if (e->code == -EPERM && !agent->backend) {
		agent->fatal = e->code;
		agent->fatal_err = *e;
		loop_stop(agent->loop);
		return;
	}
	if (is_news)
		log_error("agent: %s", e->msg);
	timer_start(agent->bring_up_timer, BRING_UP_RETRY_MS);
}

static int first_time(struct agent *agent, const struct netconf *conf, struct err *e)
{
	struct underlay_choice choice;
	int r = choose_interface(agent, conf, &choice, e);
	if (r == 0)
		r = open_backend(agent, conf, &choice, e);
	if (r < 0)
		return r;
	remove_former_devices(agent);
	agent->choice = choice;
	agent->chosen = true;
	log_choice(&choice);
	enable_forwarding(agent, conf, choice.name);
	write_subnet_env(agent);
	if (agent->peers_known)
		reconcile_request(agent->reconcile, RECONCILE_START);
	join(agent);
	return 0;
}

static int look_again(struct agent *agent, const struct netconf *conf, struct err *e)
{
	struct underlay_choice choice;
	int r = choose_interface(agent, conf, &choice, e);
	if (r < 0 || underlay_choice_equal(&choice, &agent->choice))
		return r;
	bool moved = choice.ifindex != agent->choice.ifindex ||
		     !ip_equal(&choice.ip4, &agent->choice.ip4) ||
		     !ip_equal(&choice.ip6, &agent->choice.ip6);
	agent->choice = choice;
	log_choice(&choice);
	if (moved)
		kv_reconnect(agent->kv);
	agent->underlay = underlay_of(&choice);
	backend_set_underlay(agent->backend, &agent->underlay, &choice.public_ip, &choice.public_ipv6);
	write_subnet_env(agent);
	if (agent->peers_known)
		reconcile_request(agent->reconcile, RECONCILE_CHANGE);
	join(agent);
	return 0;
}

void bring_up(struct agent *agent)
{
	// Families that were switched on or off since the backend was opened wait for a restart.
	const struct netconf *conf = agent->backend ? backend_netconf(agent->backend)
						    : fabric_netconf(agent->fabric);
	struct err e = { 0 };
	if (!conf)
		return;
	int r = agent->backend ? look_again(agent, conf, &e) : first_time(agent, conf, &e);
	if (r < 0) {
		note_bring_up_error(agent, &e);
		return;
	}
	if (agent->bring_up_error.code != 0)
		log_info("agent: recovered from: %s", agent->bring_up_error.msg);
	memset(&agent->bring_up_error, 0, sizeof(agent->bring_up_error));
}

void bring_up_again_soon(struct agent *agent)
{
	timer_start(agent->bring_up_timer, UNDERLAY_SETTLE_MS);
}

static void log_restart_needed(const char *lines)
{
	_cleanup_strbuf_ struct strbuf members = STRBUF_INIT(4096);
	for (const char *line = lines; *line;) {
		size_t len = strcspn(line, "\n");
		(void)strbuf_printf(&members, "%s%.*s", members.len > 0 ? ", " : "", (int)len, line);
		line += len + (line[len] == '\n');
	}
	if (members.len > 0)
		log_warn("agent: restart needed for changes of: %s", strbuf_text(&members));
}

void take_config(struct agent *agent, const struct netconf *conf)
{
	struct err e = { 0 };
	strbuf_reset(&agent->restart_needed);
	if (backend_set_netconf(agent->backend, conf, &agent->restart_needed, &e) < 0) {
		err_wrap(&e, "the changed config is not taken over");
		agent->config_error = e;
		log_error("agent: %s", e.msg);
		return;
	}
	log_restart_needed(strbuf_text(&agent->restart_needed));
	write_subnet_env(agent);
	if (agent->peers_known)
		reconcile_request(agent->reconcile, RECONCILE_CHANGE);
}

static bool conf_holds(const struct netconf *conf, const struct subnet *subnet)
{
	return (!ipnet_is_set(&subnet->v4) || ipnet_contains_net(&conf->v4.network, &subnet->v4)) &&
	       (!ipnet_is_set(&subnet->v6) || ipnet_contains_net(&conf->v6.network, &subnet->v6));
}

// A Network that was changed waits for a restart, as the subnet does, and a kept subnet for longer: network and subnet of the file belong
// together.
static struct subnet network_of_lease(const struct agent *agent, const struct lease *lease)
{
	const struct netconf *opened = backend_netconf(agent->backend),
			     *now = fabric_netconf(agent->fabric);
	const struct netconf *conf = now && !conf_holds(opened, &lease->subnet) ? now : opened;
	if (!conf_holds(conf, &lease->subnet) && subnet_equal(&agent->env.subnet, &lease->subnet))
		return agent->env.network;
	return (struct subnet){ .v4 = conf->v4.network, .v6 = conf->v6.network };
}

void write_subnet_env(struct agent *agent)
{
	const struct lease *lease = fabric_lease(agent->fabric);
	if (!lease || !agent->backend)
		return;
	agent->env = (struct subnet_env){
		.network = network_of_lease(agent, lease),
		.subnet = lease->subnet,
		.mtu_bytes = backend_mtu_bytes(agent->backend),
		// "true" tells Docker and CNI to leave masquerading to the agent, which does not do it yet,
		// whatever --ip-masq says: then nobody would.
		.ip_masq = false,
	};
	struct err e = { 0 };
	int r = subnet_env_write(agent->options->subnet_file, &agent->env, &e);
	free(agent->env_error);
	agent->env_error = r < 0 ? xstrdup(e.msg) : NULL;
	if (r < 0)
		log_error("agent: %s", e.msg);
	// COMPAT: what is ordered behind this service reads the file, so the service is up once it is there.
	if (r == 0 && !agent->env_written)
		notify_ready(agent->notify);
	agent->env_written = agent->env_written || r == 0;
}
