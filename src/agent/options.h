// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weftd's command line and environment: flannel's flags with flannel's names and defaults,
// and ours.
#pragma once

#include "core/err.h"
#include "core/flags.h"
#include "core/ip.h"
#include "core/log.h"
#include "core/strbuf.h"
#include "store/store_options.h"

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_EXCLUDED_MAX 64 // each is several rules of each network

enum options_action {
	OPTIONS_RUN,
	OPTIONS_SERVE,	      // as a controller: serve()
	OPTIONS_HELP,	      // print options_help on stderr, exit 0
	OPTIONS_VERSION,      // print the version on stderr, exit 0
	OPTIONS_CLEANUP,      // cleanup_run(), exit 0 or 1
	OPTIONS_CHECK_CONFIG, // check_config(options->check_config), exit 0 or 1
};

struct options {
	enum options_action action;

	// the store
	struct store_options store_flags;
	struct store_config store; // borrows from store_flags; store_flags.prefix is the prefix

	// the controller
	char *listen;	     // "": an agent
	struct ip listen_ip; // of it
	uint16_t listen_port;
	bool insecure;
	int64_t client_rate;
	bool with_agent; // OPTIONS_SERVE, and an agent in the same process

	// the networks below the prefix; none and not watched: the one at the prefix itself
	struct flag_list networks;
	bool watch_networks;
	char *subnet_dir; // without a slash at the end

	// the interface
	struct flag_list iface;
	struct flag_list iface_regex;
	char *iface_can_reach; // "": not given
	struct ip public_ip;   // AF_UNSPEC: not given
	struct ip public_ipv6;
	bool untrusted; // the segment that it is on

	// the lease
	int64_t renew_margin_minutes;
	int64_t lease_ttl_s; // 0: the standard one
	bool allow_subnet_change;
	uint64_t peer_hold_ms;

	// the host
	char *subnet_file;
	char *run_dir;	 // without a slash at the end
	char *state_dir; // likewise
	bool keep_capabilities;
	bool no_ip_forward;
	bool ip_blackhole_route;
	uint64_t scan_interval_ms;
	bool allow_extension;
	uint64_t extension_timeout_ms;
	unsigned int without_features; // bits of enum netlink_feature

	// addresses of containers
	uint64_t ip_quarantine_ms;
	uint64_t ip_leak_interval_ms;

	// Docker's plugin
	bool docker_plugin;
	char *docker_plugin_socket; // without a slash at the end

	// the firewall
	bool ip_masq;
	bool ip_masq_fully_random_disable;
	struct flag_list ip_masq_exclude; // CIDRs
	int firewall;			  // enum masq_mode
	int64_t iptables_resync_s;
	bool iptables_forward_rules;

	// health
	struct ip healthz_ip;
	int64_t healthz_port; // 0: off
	uint64_t store_grace_ms;
	int64_t mesh_probes; // a second; 0: off
	bool probe_mtu;
	uint64_t probe_mtu_interval_ms;

	// the log
	int log_level;	// enum log_level, -v counted in
	int log_format; // enum log_format
	int64_t verbosity;
	char *ignored_vmodule;
	char *ignored_backtrace;

	// Kubernetes: accepted so that unit files and manifests need no edit; kube_subnet_mgr
	// itself is refused for now
	bool kube_subnet_mgr;
	char *kube_api_url;
	char *kubeconfig_file;
	char *kube_annotation_prefix;
	char *net_config_path;
	bool set_node_network_unavailable;

	char *check_config; // "": not asked for; "-": standard input
	bool cleanup;
	bool dry_run; // of it
	bool version;
};

// argv with the program's name; environment as environ. -EINVAL, or why the file of --token-file
// cannot be read: exit 2 with the message. ret must be zero; it owns memory even after a failure: options_free. *ret must not be moved afterwards
// (its parts point into it).
int options_parse(int argc, char *const *argv, char *const *environment, struct options *ret,
		  struct err *e);
void options_free(struct options *options);
void options_help(struct strbuf *out);
// What was asked for and is not carried out, one log line each.
void options_log_notices(const struct options *options);
