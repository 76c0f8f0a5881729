// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft doctor: the table of its checks, and what is printed of their findings.
#include "cli/doctor.h"

#include "cli/agent_access.h"
#include "cli/show.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WHAT_MAX 512

static const char *const severity_names[] = {
	[DOCTOR_NOTE] = "note",
	[DOCTOR_WARNING] = "warning",
	[DOCTOR_ERROR] = "error",
};
static_assert(ARRAY_SIZE(severity_names) == DOCTOR_SEVERITY_COUNT, "a name for each severity");

// In the order in which an operator would look: what the agent says, this host, the way to the others.
static const struct doctor_check checks[] = {
	{ "agent", DOCTOR_ERROR, "traffic goes on as it was, and nothing is learnt or repaired",
	  doctor_agent_answers },
	{ "not-ready", DOCTOR_ERROR, "what needs the network on this host waits", doctor_agent_ready },
	{ "version", DOCTOR_WARNING, "what was installed is not what runs", doctor_agent_version },
	{ "store", DOCTOR_WARNING, "new hosts are not learnt, and in a day the lease ends",
	  doctor_store },
	{ "war", DOCTOR_ERROR, "packets are lost whenever it is undone", doctor_wars },
	{ "restart", DOCTOR_WARNING, "this host does not work as the network's config says",
	  doctor_restart },
	{ "duplicate-ip", DOCTOR_ERROR, "packets for one of the hosts go to the other",
	  doctor_duplicate_ip },
	{ "duplicate-subnet", DOCTOR_ERROR, "two hosts give containers the same addresses",
	  doctor_duplicate_subnet },
	{ "lease-rejected", DOCTOR_WARNING, "nobody reaches that host", doctor_rejected },
	{ "peer-failed", DOCTOR_ERROR, "that host is not reached from here", doctor_failed },

	{ "ip-forward", DOCTOR_ERROR, "containers reach nobody beyond this host", doctor_ip_forward },
	{ "rp-filter", DOCTOR_WARNING,
	  "packets whose way back is another interface are dropped without a word", doctor_rp_filter },
	{ "bridge-nf", DOCTOR_WARNING,
	  "answers of a service to a pod on the same host come from the wrong address",
	  doctor_bridge_nf },
	{ "conntrack", DOCTOR_WARNING, "when it is full new connections are dropped", doctor_conntrack },
	{ "neighbours", DOCTOR_WARNING, "when it is full hosts and containers stop being reached",
	  doctor_neighbours },
	{ "module", DOCTOR_ERROR, "the backend's device cannot be made", doctor_module },
	{ "bridge-mtu", DOCTOR_WARNING, "large packets of containers are cut or lost",
	  doctor_bridge_mtu },
	{ "checksums", DOCTOR_WARNING,
	  "a network card that computes checksums of what is encapsulated wrongly looks like this",
	  doctor_checksums },
	{ "firewalld", DOCTOR_WARNING, "it drops what is forwarded and what comes to the backend",
	  doctor_firewalld },
	{ "networkmanager", DOCTOR_WARNING, "it takes addresses and routes away at its restart",
	  doctor_network_manager },
	{ "networkd", DOCTOR_WARNING, "it takes addresses and routes away at its restart",
	  doctor_networkd },
	{ "udev-mac", DOCTOR_NOTE, "a MAC address that changes makes all other hosts lose this one",
	  doctor_udev },

	{ "peer-underlay", DOCTOR_ERROR, "that host is down, or the network between is",
	  doctor_peer_underlay },
	{ "peer-port", DOCTOR_ERROR, "its containers are not reached", doctor_peer_port },
	{ "peer-overlay", DOCTOR_ERROR, "its containers are not reached", doctor_peer_overlay },
	{ "peer-mtu", DOCTOR_ERROR, "connections open and then hang", doctor_peer_mtu },
	{ "peer-loss", DOCTOR_WARNING, "connections are slow", doctor_peer_loss },
	{ "peer-latency", DOCTOR_NOTE, "connections are slow", doctor_peer_latency },
	{ "peer-clock", DOCTOR_WARNING, "certificates and logs of the two do not agree",
	  doctor_peer_clock },
};

// ---- findings ----

static json_t *add(struct doctor *doctor, const char *mend, const char *what)
{
	const struct doctor_check *check = doctor->check;
	json_t *finding = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:b, s:b}", "id", check->id,
				    "severity", severity_names[check->severity], "what", what, "why",
				    check->why, "mend", mend, "fixable", false, "mended", false);

	json_array_append_new(doctor->list, finding);
	return finding;
}

void doctor_find(struct doctor *doctor, const char *mend, const char *format, ...)
{
	char what[WHAT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	text_sanitize(what);
	(void)add(doctor, mend, what);
}

static int write_switch(const char *key, const char *value)
{
	_cleanup_free_ char *path = doctor_switch_path(key);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

void doctor_find_switch(struct doctor *doctor, const char *key, const char *value,
			const char *format, ...)
{
	_cleanup_free_ char *mend = xasprintf("sysctl -w %s=%s", key, value);
	char what[WHAT_MAX];
	json_t *finding;
	va_list args;
	int r;

	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	text_sanitize(what);
	finding = add(doctor, mend, what);
	json_object_set_new(finding, "fixable", json_true());
	if (!doctor->fix)
		return;
	r = write_switch(key, value);
	if (r < 0)
		(void)cli_fail(CLI_FAILED, "%s: %s", mend, strerror(-r));
	else
		json_object_set_new(finding, "mended", json_true());
}

// ---- printing ----

static void print_finding(const json_t *finding)
{
	const char *mend = show_text(finding, "mend");
	bool is_mended = show_flag(finding, "mended");

	printf("%s %s: %s; %s", is_mended ? "mended" : show_text(finding, "severity"),
	       show_text(finding, "id"), show_text(finding, "what"), show_text(finding, "why"));
	if (*mend)
		printf("; %s: %s", is_mended ? "done" : "mend", mend);
	putchar('\n');
}

static enum cli_exit exit_of(const json_t *list)
{
	enum cli_exit code = CLI_OK;
	const json_t *finding;
	size_t i;

	json_array_foreach(list, i, finding) {
		const char *severity = show_text(finding, "severity");

		if (show_flag(finding, "mended"))
			continue;
		if (strcmp(severity, severity_names[DOCTOR_ERROR]) == 0)
			return CLI_DOCTOR_ERROR;
		if (strcmp(severity, severity_names[DOCTOR_WARNING]) == 0)
			code = CLI_DOCTOR_WARNING;
	}
	return code;
}

static enum cli_exit print_all(const struct doctor *doctor)
{
	enum cli_exit code = exit_of(doctor->list);
	const json_t *finding;
	size_t i;

	if (doctor->cli->options->json) {
		(void)cli_print_json(json_pack("{s:O, s:I}", "findings", doctor->list, "checks",
					       (json_int_t)ARRAY_SIZE(checks)));
		return code;
	}
	json_array_foreach(doctor->list, i, finding)
		print_finding(finding);
	if (json_array_size(doctor->list) == 0)
		printf("nothing found by %zu checks\n", ARRAY_SIZE(checks));
	return code;
}

// ---- the command ----

static void ask_agent(struct doctor *doctor)
{
	_cleanup_json_ json_t *answer = NULL;
	struct err e = { 0 };
	const json_t *peers;
	int r = agent_get(doctor->cli, "/agent/v1/status", &doctor->status, &e);

	if (r == 0)
		r = agent_get(doctor->cli, "/agent/v1/peers", &answer, &e);
	peers = show_member(answer, "peers");
	doctor->peers = json_is_array(peers) ? json_incref((json_t *)(uintptr_t)peers) : json_array();
	if (r < 0)
		doctor->agent_error = xstrdup(err_msg(&e));
}

enum cli_exit doctor_run(struct cli *cli)
{
	struct doctor doctor = { .cli = cli, .list = json_array(), .fix = cli->options->fix };
	enum cli_exit code;

	ask_agent(&doctor);
	if (show_member(doctor.status, "networks"))
		(void)cli_fail(CLI_OK,
			       "this host is in several networks; --network=NAME looks at the backend and the "
			       "peers of one");
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		doctor.check = &checks[i];
		checks[i].run(&doctor);
	}
	code = print_all(&doctor);
	doctor_peers_free(&doctor);
	free(doctor.agent_error);
	json_decref(doctor.status);
	json_decref(doctor.peers);
	json_decref(doctor.list);
	return code;
}
