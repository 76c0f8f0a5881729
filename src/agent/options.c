// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd's command line and environment.
#include "agent/options.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"
#include "kernel/netlink.h"
#include "masq/masq.h"
#include "probe/prober.h"
#include "store/registry.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char *const level_names[] = { "error", "warn", "info", "debug", NULL };
static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_COUNT + 1, "a name for each level");
static const char *const format_names[] = { "text", "json", NULL };
static_assert(ARRAY_SIZE(format_names) == LOG_FORMAT_COUNT + 1, "a name for each format");
// As netlink_feature_names, which is not a constant that a table could start with.
static const char *const feature_names[] = { "strict", "nexthop", NULL };
static_assert(ARRAY_SIZE(feature_names) == NETLINK_FEATURE_COUNT + 1, "a name for each feature");

#define SUBNET_FILE_DEFAULT "/run/flannel/subnet.env"

// As masq_mode_names.
static const char *const firewall_names[] = { "auto", "nftables", "iptables", NULL };
static_assert(ARRAY_SIZE(firewall_names) == MASQ_MODE_COUNT + 1, "a name for each way");

#define MINUTE_MS 60000
#define HOUR_MS (60 * MINUTE_MS)

#define AT(member) offsetof(struct options, member)
// A flag is two or three lines: its name, kind, member, default and value; its help; its bounds.
// clang-format off
static const struct flag interface_flags[] = {
	{ .name = "iface", FLAG_REPEATED, AT(iface), NULL, "NAME|IP",
	  "Interface for the traffic between hosts, by name or by its address." },
	{ .name = "iface-regex", FLAG_REPEATED, AT(iface_regex), NULL, "REGEX",
	  "The first interface of which an address or the name matches; after --iface." },
	{ .name = "iface-can-reach", FLAG_STRING, AT(iface_can_reach), NULL, "IP",
	  "The interface of the route to this address; after --iface-regex. With none of the "
	  "three given: the owner of --public-ip, else the default route's." },
	{ .name = "public-ip", FLAG_IP, AT(public_ip), NULL, "IP",
	  "IPv4 address that other hosts send to (default: the interface's)." },
	{ .name = "public-ipv6", FLAG_IP, AT(public_ipv6), NULL, "IP",
	  "The same for IPv6." },
	{ .name = "untrusted", FLAG_BOOL, AT(untrusted), NULL, NULL,
	  "Others may read what is sent on this host's segment: with Backend.Type auto it is reached by "
	  "WireGuard only, and types that do not encrypt are refused." },
};

static const struct flag controller_flags[] = {
	{ .name = "listen", FLAG_STRING, AT(listen), NULL, "IP:PORT",
	  "Be a controller in place of an agent: serve what the store has below --etcd-prefix to "
	  "agents that are started with --remote, so that the store sees one client. With --insecure or "
	  "client certificates also to clients of flannel 0.5 to 0.7. Key, certificate and tokens are made "
	  "once, in --state-dir, unless others are given." },
	{ .name = "agent", FLAG_BOOL, AT(with_agent), NULL, NULL,
	  "With --listen: be the agent of this host as well." },
	{ .name = "insecure", FLAG_BOOL, AT(insecure), NULL, NULL,
	  "Let --listen speak plain HTTP and ask for no token: whoever reaches the port can change "
	  "the network." },
	{ .name = "client-rate", FLAG_INT, AT(client_rate), "50", "NUMBER",
	  "With --listen: requests a second that one agent may make in the long run, ten times as many "
	  "at once; all of one address forty times as many.",
	  .min = 1, .max = 1000000 },
};

static const struct flag network_flags[] = {
	{ .name = "networks", FLAG_COMMA_LIST, AT(networks), NULL, "NAME,...",
	  "Be in several networks: those at PREFIX/NAME, each with its own config, lease, devices and "
	  "env file. One that is not in the store yet is waited for." },
	{ .name = "watch-networks", FLAG_BOOL, AT(watch_networks), NULL, NULL,
	  "Be in all networks that are below the prefix (with --networks: in those of the named "
	  "ones), and follow when networks are added or removed." },
	{ .name = "subnet-dir", FLAG_STRING, AT(subnet_dir), "/run/flannel/networks", "DIRECTORY",
	  "With one of these: where NAME.env is written, in place of --subnet-file." },
};

static const struct flag lease_flags[] = {
	{ .name = "subnet-lease-renew-margin", FLAG_INT, AT(renew_margin_minutes), "60", "MINUTES",
	  "Renew the lease at the latest when this much of its 24 hours is left. weft keeps the "
	  "lease alive all the time, so this matters only after the store was away for long.",
	  .min = 1, .max = 1439 },
	{ .name = "allow-subnet-change", FLAG_BOOL, AT(allow_subnet_change), NULL, NULL,
	  "Take another subnet when this host's own is lost for good. Containers that run keep "
	  "addresses of the old one; without this flag the agent keeps trying to regain it." },
	{ .name = "peer-hold", FLAG_DURATION, AT(peer_hold_ms), "3s", "TIME",
	  "How long a host that vanished from the store is still reached.",
	  .max = 24 * HOUR_MS },
	{ .name = "lease-ttl", FLAG_INT, AT(lease_ttl_s), "0", "SECONDS",
	  "Life of a lease that is not renewed; 0: a day.",
	  .min = 0, .max = 10 * 86400, .properties = FLAG_HIDDEN },
};

static const struct flag host_flags[] = {
	{ .name = "subnet-file", FLAG_STRING, AT(subnet_file), SUBNET_FILE_DEFAULT, "FILE",
	  "Where this host's subnet is told to container runtimes." },
	{ .name = "run-dir", FLAG_STRING, AT(run_dir), "/run/weft", "DIRECTORY",
	  "Place of the API socket." },
	{ .name = "state-dir", FLAG_STRING, AT(state_dir), "/var/lib/weft", "DIRECTORY",
	  "What was known last, for a start while the store is away; who this host is to controllers; "
	  "a controller's key and tokens." },
	{ .name = "keep-capabilities", FLAG_BOOL, AT(keep_capabilities), NULL, NULL,
	  "Give up none of root's capabilities, for commands of the config (backend extension) that "
	  "need more than CAP_NET_ADMIN, CAP_NET_RAW and CAP_NET_BIND_SERVICE." },
	{ .name = "no-ip-forward", FLAG_BOOL, AT(no_ip_forward), NULL, NULL,
	  "Leave the kernel's forwarding switches as they are." },
	{ .name = "ip-blackhole-route", FLAG_BOOL, AT(ip_blackhole_route), NULL, NULL,
	  "Drop what is sent to addresses of this host's subnet that no container has. Not "
	  "carried out yet." },
	{ .name = "scan-interval", FLAG_DURATION, AT(scan_interval_ms), "30s", "TIME",
	  "How often all kernel entries are compared with the wanted ones, beside the kernel's "
	  "own notifications.",
	  .min = 100, .max = 24 * HOUR_MS },
	{ .name = "allow-extension", FLAG_BOOL, AT(allow_extension), NULL, NULL,
	  "Run the commands that the network's config has for Backend.Type extension, as this agent's "
	  "user: whoever writes the config can then do anything on this host." },
	{ .name = "extension-timeout", FLAG_DURATION, AT(extension_timeout_ms), "30s", "TIME",
	  "How long one of these commands may run before it is killed.",
	  .min = 100, .max = HOUR_MS },
	{ .name = "without-feature", FLAG_MASK, AT(without_features), NULL, "NAME,...",
	  "Do as if the kernel lacked these features: strict (checking of dumps), nexthop "
	  "(objects).",
	  .choices = feature_names },
};

static const struct flag address_flags[] = {
	{ .name = "ip-quarantine", FLAG_DURATION, AT(ip_quarantine_ms), "30s", "TIME",
	  "How long the address of a container that went is given to no other one.",
	  .max = 24 * HOUR_MS },
	{ .name = "ip-leak-interval", FLAG_DURATION, AT(ip_leak_interval_ms), "1m", "TIME",
	  "How often to look for containers that went without giving their address back; the second "
	  "time that one is missed it is released.",
	  .min = 100, .max = 24 * HOUR_MS },
};

static const struct flag docker_flags[] = {
	{ .name = "docker-plugin", FLAG_BOOL, AT(docker_plugin), NULL, NULL,
	  "Be Docker's plugin: `docker network create -d weft --ipam-driver weft NAME` then makes a network "
	  "of this host's subnet." },
	{ .name = "docker-plugin-socket", FLAG_STRING, AT(docker_plugin_socket), "/run/docker/plugins/weft.sock", "FILE",
	  "Where Docker finds it; the drivers have the file's name, without its end." },
};

static const struct flag firewall_flags[] = {
	{ .name = "ip-masq", FLAG_BOOL, AT(ip_masq), NULL, NULL,
	  "Masquerade traffic that leaves the network; the env file then tells container runtimes "
	  "not to." },
	{ .name = "ip-masq-exclude", FLAG_COMMA_LIST, AT(ip_masq_exclude), NULL, "CIDR,...",
	  "Never masquerade traffic to or from these addresses." },
	{ .name = "ip-masq-fully-random-disable", FLAG_BOOL, AT(ip_masq_fully_random_disable), NULL, NULL,
	  "Masquerade without random ports." },
	{ .name = "iptables-forward-rules", FLAG_BOOL, AT(iptables_forward_rules), "true", NULL,
	  "Accept forwarded traffic of the network." },
	{ .name = "firewall", FLAG_CHOICE, AT(firewall), "auto", "WAY",
	  "How firewall rules are made: nftables, iptables, or auto: iptables where its FORWARD chain "
	  "drops what it does not know, as with Docker and kube-proxy.",
	  .choices = firewall_names },
	{ .name = "iptables-resync", FLAG_INT, AT(iptables_resync_s), "5", "SECONDS",
	  "How often firewall rules are looked at where the kernel does not tell of changes.",
	  .min = 1, .max = 86400 },
};

static const struct flag health_flags[] = {
	{ .name = "healthz-port", FLAG_INT, AT(healthz_port), "0", "PORT",
	  "TCP port of /healthz, /readyz, /metrics and /mesh; 0: only on the API socket.",
	  .max = 65535 },
	{ .name = "healthz-ip", FLAG_IP, AT(healthz_ip), "0.0.0.0", "IP",
	  "Address that it listens on." },
	{ .name = "store-grace", FLAG_DURATION, AT(store_grace_ms), "30s", "TIME",
	  "How long the store may be away before /readyz says so; traffic goes on without it.",
	  .max = 24 * HOUR_MS },
	{ .name = "mesh-probes", FLAG_INT, AT(mesh_probes), "10", "RATE",
	  "How many echo requests a second this host sends at the most to measure the latency and loss to "
	  "its peers, whatever number of them there is; of few, each is asked by each way every 5 s. "
	  "0: none.",
	  .max = PROBE_RATE_MAX },
	{ .name = "probe-mtu", FLAG_BOOL, AT(probe_mtu), NULL, NULL,
	  "Find out by such requests what packets the path to each peer carries, and warn if that is less "
	  "than ours. MTU \"auto\" in the network's config does it as well, and uses the smallest." },
	{ .name = "probe-mtu-interval", FLAG_DURATION, AT(probe_mtu_interval_ms), "10m", "TIME",
	  "How often a path is looked at again, on average, and how long a wider one must hold.",
	  .min = 100, .max = 24 * HOUR_MS, .properties = FLAG_HIDDEN },
	{ .name = "log-level", FLAG_CHOICE, AT(log_level), "info", "LEVEL",
	  "Least important messages that are shown: error, warn, info or debug.",
	  .choices = level_names },
	{ .name = "log-format", FLAG_CHOICE, AT(log_format), "text", "FORMAT",
	  "text or json (one object a line).",
	  .choices = format_names },
	{ .name = "v", FLAG_INT, AT(verbosity), "0", "NUMBER",
	  "flannel's verbosity; more than 0 means --log-level=debug.",
	  .max = INT32_MAX },
	{ .name = "vmodule", FLAG_STRING, AT(ignored_vmodule), NULL, "TEXT",
	  "Ignored.",
	  .properties = FLAG_HIDDEN },
	{ .name = "log_backtrace_at", FLAG_STRING, AT(ignored_backtrace), NULL, "TEXT",
	  "Ignored.",
	  .properties = FLAG_HIDDEN },
};

static const struct flag kubernetes_flags[] = {
	{ .name = "kube-subnet-mgr", FLAG_BOOL, AT(kube_subnet_mgr), NULL, NULL,
	  "Refused for now: leases are kept in etcd." },
	{ .name = "kube-api-url", FLAG_STRING, AT(kube_api_url), NULL, "URL",
	  "Accepted and not used." },
	{ .name = "kubeconfig-file", FLAG_STRING, AT(kubeconfig_file), NULL, "FILE",
	  "Accepted and not used." },
	{ .name = "kube-annotation-prefix", FLAG_STRING, AT(kube_annotation_prefix), "flannel.alpha.coreos.com", "TEXT",
	  "Accepted and not used." },
	{ .name = "net-config-path", FLAG_STRING, AT(net_config_path), "/etc/kube-flannel/net-conf.json", "FILE",
	  "Accepted and not used." },
	{ .name = "set-node-network-unavailable", FLAG_BOOL, AT(set_node_network_unavailable), "true", NULL,
	  "Accepted and not used." },
};

static const struct flag other_flags[] = {
	{ .name = "check-config", FLAG_STRING, AT(check_config), NULL, "FILE|-",
	  "Say whether the file (-: standard input) is a valid network config, and exit." },
	{ .name = "cleanup", FLAG_BOOL, AT(cleanup), NULL, NULL,
	  "Take all that weft and flannel made off this host (firewall rules, routes, devices, files "
	  "under /run), tell what, and exit. Refused while an agent or flanneld runs." },
	{ .name = "dry-run", FLAG_BOOL, AT(dry_run), NULL, NULL,
	  "With --cleanup: only tell." },
	{ .name = "version", FLAG_BOOL, AT(version), NULL, NULL,
	  "Show the version and exit." },
};
// clang-format on
#undef AT

#define TABLE(heading, list)                                 \
	{                                                    \
		.title = (heading), (list), ARRAY_SIZE(list) \
	}
static const struct {
	const char *title;
	const struct flag *flags;
	size_t count;
} tables[] = {
	TABLE("Networks:", network_flags),
	TABLE("Interface:", interface_flags),
	TABLE("Lease:", lease_flags),
	TABLE("Controller:", controller_flags),
	TABLE("Host:", host_flags),
	TABLE("Addresses of containers:", address_flags),
	TABLE("Docker:", docker_flags),
	TABLE("Firewall:", firewall_flags),
	TABLE("Health and log:", health_flags),
	TABLE("Kubernetes:", kubernetes_flags),
	TABLE("Other:", other_flags),
};
#undef TABLE

static struct flag_set *all_flags(struct options *options)
{
	struct flag_set *set = flag_set_new();

	store_options_add(set, &options->store_flags);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		flag_set_add(set, tables[i].title, tables[i].flags, tables[i].count, options);
	return set;
}

void options_free(struct options *options)
{
	store_options_free(&options->store_flags);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		flag_target_free(tables[i].flags, tables[i].count, options);
}

static int check_family(const char *flag, const struct ip *ip, int family, struct err *e)
{
	char text[IP_STR_MAX];

	if (!ip_is_set(ip))
		return 0;
	if (ip->family != family)
		return err_set(e, -EINVAL, "--%s: %s is not an IPv%c address", flag,
			       ip_str(ip, text), family == AF_INET ? '4' : '6');
	if (!ip_is_usable_endpoint(ip))
		return err_set(e, -EINVAL, "--%s: other hosts cannot send to %s", flag,
			       ip_str(ip, text));
	return 0;
}

static int check_interface(const struct options *options, struct err *e)
{
	struct ip ip;
	int r;

	r = check_family("public-ip", &options->public_ip, AF_INET, e);
	if (r < 0)
		return r;
	r = check_family("public-ipv6", &options->public_ipv6, AF_INET6, e);
	if (r < 0)
		return r;
	if (options->iface_can_reach[0] != '\0' && ip_parse(options->iface_can_reach, &ip) < 0) {
		char shown[TEXT_EXCERPT_MAX];

		return err_set(e, -EINVAL, "--iface-can-reach: \"%s\" is not an IP address",
			       text_excerpt(options->iface_can_reach,
					    strlen(options->iface_can_reach), shown));
	}
	return 0;
}

static int check_path(const char *flag, char *path, struct err *e)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	if (len == 0)
		return err_set(e, -EINVAL, "--%s: must not be empty", flag);
	if (len > 3000)
		return err_set(e, -EINVAL, "--%s: longer than a path can be", flag);
	return 0;
}

static int check_paths(struct options *options, const struct flag_set *set, struct err *e)
{
	int r;

	r = check_path("run-dir", options->run_dir, e);
	if (r == 0)
		r = check_path("state-dir", options->state_dir, e);
	if (r == 0)
		r = check_path("subnet-dir", options->subnet_dir, e);
	if (r == 0)
		r = check_path("docker-plugin-socket", options->docker_plugin_socket, e);
	if (r == 0 && options->subnet_file[0] == '\0')
		r = err_set(e, -EINVAL, "--subnet-file: must not be empty");
	// Who asks for a check must not get an agent because a variable of a script was empty.
	if (r == 0 && options->check_config[0] == '\0' &&
	    flag_set_source(set, "check-config") != FLAG_FROM_DEFAULT)
		r = err_set(e, -EINVAL, "--check-config: must not be empty");
	return r;
}

static int check_networks(const struct options *options, struct err *e)
{
	const struct flag_list *names = &options->networks;

	for (size_t i = 0; i < names->count; i++) {
		char shown[TEXT_EXCERPT_MAX];

		if (registry_network_check(names->items[i], e) < 0) {
			(void)text_excerpt(names->items[i], strlen(names->items[i]), shown);
			return err_wrap(e, "--networks: \"%s\"", shown);
		}
		for (size_t j = 0; j < i; j++)
			if (strcmp(names->items[i], names->items[j]) == 0)
				return err_set(e, -EINVAL, "--networks: %s is named twice",
					       names->items[i]);
	}
	return 0;
}

static int check_excluded(const struct options *options, struct err *e)
{
	const struct flag_list *nets = &options->ip_masq_exclude;
	struct ipnet net;

	if (nets->count > OPTIONS_EXCLUDED_MAX)
		return err_set(e, -EINVAL, "--ip-masq-exclude: more than %d CIDRs",
			       OPTIONS_EXCLUDED_MAX);
	for (size_t i = 0; i < nets->count; i++) {
		char shown[TEXT_EXCERPT_MAX];

		if (ipnet_parse(nets->items[i], &net) < 0)
			return err_set(e, -EINVAL, "--ip-masq-exclude: \"%s\" is not a CIDR",
				       text_excerpt(nets->items[i], strlen(nets->items[i]), shown));
	}
	return 0;
}

// "IP:PORT", "[IPv6]:PORT"; ":PORT" is every address.
static int read_listen(struct options *options, struct err *e)
{
	const char *text = options->listen;
	const char *colon = strrchr(text, ':');
	_cleanup_free_ char *host = colon ? xstrndup(text, (size_t)(colon - text)) : NULL;
	size_t len = host ? strlen(host) : 0;
	const char *address = host;
	uint64_t port = 0;

	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		address = host + 1;
	}
	if (!colon || parse_whole_u64(colon + 1, UINT16_MAX, &port) < 0 ||
	    (len > 0 && ip_parse(address, &options->listen_ip) < 0))
		return err_set(e, -EINVAL, "--listen=%s: not IP:PORT", text);
	if (len == 0)
		options->listen_ip = ip_v4(0);
	options->listen_port = (uint16_t)port;
	return 0;
}

// Who gave one of these expects that it is used.
static int check_insecure(const struct options *options, struct err *e)
{
	const struct store_options *store = &options->store_flags;
	const char *given = store->remote_cert_file[0] != '\0' ? "remote-certfile"
			    : store->remote_ca_file[0] != '\0' ? "remote-cafile"
			    : store->token_file[0] != '\0'     ? "token-file"
			    : store->token[0] != '\0'	       ? "token"
							       : NULL;

	if (!options->insecure || !given)
		return 0;
	return err_set(e, -EINVAL, "--insecure and --%s: plain HTTP without a token, or not?", given);
}

// A variable may stand in an environment that agents and controllers share.
static int check_no_controller(const struct options *options, const struct flag_set *set, struct err *e)
{
	const char *given = options->insecure						? "insecure"
			    : options->with_agent					? "agent"
			    : flag_set_source(set, "client-rate") == FLAG_FROM_ARGUMENT ? "client-rate"
											: NULL;

	return given ? err_set(e, -EINVAL, "--%s: only with --listen", given) : 0;
}

static int check_controller(struct options *options, const struct flag_set *set, struct err *e)
{
	int r;

	if (options->listen[0] == '\0')
		return check_no_controller(options, set, e);
	if (options->store_flags.remote.count > 0)
		return err_set(e, -EINVAL,
			       "--listen and --remote: a controller stands before a store, not "
			       "before another controller");
	if (options->action == OPTIONS_RUN)
		options->action = OPTIONS_SERVE;
	options->store_flags.serves = true;
	r = check_insecure(options, e);
	return r < 0 ? r : read_listen(options, e);
}

// A controller whose store is not named has its own; an etcd that is named in any way is the store, as for flannel's --listen.
static int choose_store(struct options *options, struct flag_set *set, struct err *e)
{
	static const char *const of_etcd[] = { "etcd-endpoints", "etcd-cafile",	  "etcd-certfile",
					       "etcd-keyfile",	 "etcd-username", "etcd-password" };
	_cleanup_free_ char *own = xasprintf("sqlite:%s/weft.db", options->state_dir);

	if (options->listen[0] == '\0')
		return 0;
	if (strcmp(options->store_flags.store, "sqlite") != 0) {
		if (flag_set_source(set, "store") != FLAG_FROM_DEFAULT)
			return 0;
		for (size_t i = 0; i < ARRAY_SIZE(of_etcd); i++)
			if (flag_set_source(set, of_etcd[i]) != FLAG_FROM_DEFAULT)
				return 0;
	}
	return flag_set_assign(set, "store", own, FLAG_FROM_DEFAULT, e);
}

// What no single value can tell.
static int check_together(struct options *options, struct flag_set *set, struct err *e)
{
	int r;

	if (options->kube_subnet_mgr)
		return err_set(e, -EINVAL,
			       "--kube-subnet-mgr: this version keeps leases in etcd only; "
			       "leave it out and give --etcd-endpoints");
	if (options->probe_mtu && options->mesh_probes == 0)
		return err_set(e, -EINVAL,
			       "--probe-mtu and --mesh-probes=0: it is done by these probes");
	r = check_interface(options, e);
	if (r < 0)
		return r;
	r = check_paths(options, set, e);
	if (r == 0)
		r = check_networks(options, e);
	if (r == 0)
		r = check_excluded(options, e);
	if (r == 0)
		r = check_controller(options, set, e);
	if (r == 0)
		r = choose_store(options, set, e);
	if (r < 0)
		return r;
	if (!ip_is_set(&options->healthz_ip))
		options->healthz_ip = ip_v4(0);
	if (options->verbosity > 0 && flag_set_source(set, "log-level") == FLAG_FROM_DEFAULT)
		options->log_level = LOG_LEVEL_DEBUG;
	return store_options_finish(&options->store_flags, &options->store, e);
}

static int read_all(struct flag_set *set, int argc, char *const *argv, char *const *environment,
		    struct options *ret, struct err *e)
{
	static const struct flag_prefix prefixes[] = {
		// WEFT_ also serves other programs of the project.
		{ "WEFT_", false },
		{ "FLANNELD_", true },
		{ NULL, false },
	};
	char shown[TEXT_EXCERPT_MAX];
	int used = 0, r;

	r = flag_set_arguments(set, argc - 1, argv + 1, &used, e);
	if (r < 0)
		return r;
	if (r == FLAG_ASKED_HELP) {
		ret->action = OPTIONS_HELP;
		return 0;
	}
	if (used < argc - 1)
		return err_set(e, -EINVAL, "\"%s\" is not a flag; weftd takes no other words",
			       text_excerpt(argv[used + 1], strlen(argv[used + 1]), shown));
	if (ret->version) {
		ret->action = OPTIONS_VERSION;
		return 0;
	}
	r = flag_set_environment(set, environment, prefixes, e);
	// --listen before another controller is refused further on, wherever that one was named.
	if (r == 0 && (ret->listen[0] == '\0' || ret->store_flags.remote.count == 0))
		r = store_options_choose(&ret->store_flags, set, "", e);
	if (r == 0)
		r = store_options_own_environment(&ret->store_flags, set, environment, e);
	if (r < 0)
		return r;
	if (ret->version)
		ret->action = OPTIONS_VERSION;
	else if (ret->check_config[0] != '\0')
		ret->action = OPTIONS_CHECK_CONFIG;
	else if (ret->cleanup)
		ret->action = OPTIONS_CLEANUP;
	if (ret->dry_run && !ret->cleanup)
		return err_set(e, -EINVAL, "--dry-run: only with --cleanup");
	return check_together(ret, set, e);
}

int options_parse(int argc, char *const *argv, char *const *environment, struct options *ret,
		  struct err *e)
{
	_cleanup_(flag_set_freep) struct flag_set *set = all_flags(ret);

	ret->action = OPTIONS_RUN;
	if (argc < 1)
		return err_set(e, -EINVAL, "no program name");
	return read_all(set, argc, argv, environment, ret, e);
}

void options_help(struct strbuf *out)
{
	struct options options = { 0 };
	_cleanup_(flag_set_freep) struct flag_set *set = all_flags(&options);

	(void)strbuf_puts(
		out,
		"Usage: weftd [FLAG...]\n\n"
		"The agent of a weft network: leases a subnet for this host's containers and connects\n"
		"them with those of the other hosts. -x and --x are equal; a flag that is not given is\n"
		"taken from the environment: --peer-hold from WEFT_PEER_HOLD, else FLANNELD_PEER_HOLD.\n"
		"Exit status: 0 stopped by a signal, 1 cannot go on, 2 bad flag or variable.\n");
	flag_set_help(set, out);
	(void)strbuf_puts(out,
			  "  -h, --help                      Show this and exit.\n\nMore: weftd(8)\n");
	options_free(&options);
}

void options_log_notices(const struct options *options)
{
	if (options->ip_blackhole_route)
		log_warn("options: --ip-blackhole-route is not carried out yet");
	if ((options->networks.count > 0 || options->watch_networks) &&
	    strcmp(options->subnet_file, SUBNET_FILE_DEFAULT) != 0)
		log_warn("options: --subnet-file is not used: each network has its file in %s",
			 options->subnet_dir);
	if (options->kube_api_url[0] != '\0' || options->kubeconfig_file[0] != '\0')
		log_warn("options: --kube-api-url and --kubeconfig-file are not used");
	if (options->ignored_vmodule[0] != '\0' || options->ignored_backtrace[0] != '\0')
		log_info("options: --vmodule and --log_backtrace_at are ignored");
	if (options->without_features != 0)
		log_warn("options: --without-feature: slower ways are used on purpose");
}
