// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how the agent and the addresses of its networks' containers are wired together.
#include "agent/addresses.h"

#include "agent/docker_plugin.h"
#include "agent/options.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "io/file.h"

#include <errno.h>
#include <string.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_MAX 64
#define RESULTS_DIR "/var/lib/cni/results"

static char *journal_path(const struct network *network)
{
	const char *run_dir = network->agent->options->run_dir;

	return *network->name ? xasprintf("%s/ipam-%s.journal", run_dir, network->name)
			      : xasprintf("%s/ipam.journal", run_dir);
}

static void on_ready(void *arg)
{
	struct network *network = arg;

	if (network->agent->ipam_del_dir)
		ipam_del_dir_apply(network->agent->ipam_del_dir);
	docker_plugin_addresses_ready(network->agent->docker_plugin, network);
}

void addresses_open(struct network *network)
{
	const struct options *options = network->agent->options;
	struct ipam_config config = {
		.loop = network->agent->loop,
		.kv = network->agent->kv,
		.prefix = network->prefix,
		.owner = network->agent->owner,
		.who = network->who,
		.boot = network->agent->boot,
		.results_dir = RESULTS_DIR,
		.quarantine_ms = options->ip_quarantine_ms,
		.leak_interval_ms = options->ip_leak_interval_ms,
		.session_ttl_s = options->lease_ttl_s == 0 ? LEASE_TTL_S : options->lease_ttl_s,
		.has_records = !registry_chooses(network->registry),
	};
	struct err e;

	network->ipam_journal = journal_path(network);
	config.journal_path = network->ipam_journal;
	if (!*network->agent->boot) {
		(void)err_set(&network->ipam_error, -EIO, BOOT_ID " cannot be read");
	} else if (ipam_new(&config, &network->ipam, &e) < 0) {
		network->ipam_error = e;
	} else {
		ipam_on_ready(network->ipam, on_ready, network);
		return;
	}
	log_error("%s: containers get no addresses: %s", network->who, network->ipam_error.msg);
}

void addresses_close(struct network *network)
{
	network->ipam = ipam_free(network->ipam);
	free(network->ipam_journal);
	network->ipam_journal = NULL;
}

void addresses_lease(struct network *network, enum fabric_lease_state state,
		     const struct lease *lease, const char *why)
{
	if (network->ipam)
		ipam_set_lease(network->ipam, state, lease, why);
}

static json_t *view_family(const struct ipnet *net, const struct allocator_counts *counts)
{
	char text[IPNET_STR_MAX];
	json_t *object = json_object();

	view_set_text(object, "subnet", ipnet_str(net, text));
	view_set_number(object, "free", counts->free);
	view_set_number(object, "used", counts->used);
	view_set_number(object, "quarantined", counts->resting);
	view_set_number(object, "reserved", counts->kept);
	view_set_number(object, "foreign", counts->foreign);
	return object;
}

json_t *addresses_view(const struct network *network)
{
	struct ipam_status status = { 0 };
	json_t *object = json_object();
	json_t *subnets = json_array();

	if (network->ipam)
		ipam_status(network->ipam, &status);
	if (ipnet_is_set(&status.subnet.v4))
		json_array_append_new(subnets,
				      view_family(&status.subnet.v4, &status.counts[FAMILY_V4]));
	if (ipnet_is_set(&status.subnet.v6))
		json_array_append_new(subnets,
				      view_family(&status.subnet.v6, &status.counts[FAMILY_V6]));
	json_object_set_new(object, "ready", json_boolean(status.ready));
	json_object_set_new(object, "subnets", subnets);
	view_set_number(object, "unwritten", status.unwritten);
	view_set_number(object, "leaks", status.leaks);
	view_set_text(object, "error", network->ipam ? status.error : network->ipam_error.msg);
	return object;
}

// ---- of the host ----

static void read_boot_id(struct agent *agent)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	if (file_read(BOOT_ID, BOOT_ID_MAX, &text, &len, NULL) < 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	agent->boot = TAKE_PTR(text);
}

int addresses_host_open(struct agent *agent, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/ipam-del.d", agent->options->run_dir);

	read_boot_id(agent);
	if (!agent->boot)
		agent->boot = xstrdup("");
	return ipam_del_dir_new(agent, path, &agent->ipam_del_dir, e);
}

void addresses_host_close(struct agent *agent)
{
	agent->ipam_del_dir = ipam_del_dir_free(agent->ipam_del_dir);
	free(agent->boot);
	agent->boot = NULL;
}
