// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what the checks of `weft doctor` share. A check is a row of the table in doctor.c and a small function, which looks and
// notes what it finds; it changes nothing.
#pragma once

#include "cli/cli.h"
#include "core/ip.h"
#include "core/ipnet.h"

enum doctor_severity { DOCTOR_NOTE, DOCTOR_WARNING, DOCTOR_ERROR, DOCTOR_SEVERITY_COUNT };

struct doctor;
struct doctor_check {
	const char *id; // stable: scripts know it
	enum doctor_severity severity;
	const char *why; // it hurts
	void (*run)(struct doctor *doctor);
};

struct doctor {
	struct cli *cli;
	json_t *status; // of the agent, NULL: it does not answer
	json_t *peers;	// an array, empty without an agent
	char *agent_error;
	const struct doctor_check *check; // that runs
	json_t *list;			  // of findings, as they are printed with --json
	struct doctor_peers *probed;	  // doctor_peers.c; NULL: nothing was
	bool fix;
};

// Notes one finding of the check that runs. All are copied. mend may be NULL.
void doctor_find(struct doctor *doctor, const char *mend, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
// The same where --fix may write value to the switch `key`, "net.ipv4.ip_forward".
void doctor_find_switch(struct doctor *doctor, const char *key, const char *value,
			const char *format, ...) __attribute__((format(printf, 4, 5)));

// ---- looking at the host ----

// The number in a file below /proc/sys, by its key; false: it is not there.
bool doctor_switch(const char *key, int64_t *ret);
char *doctor_switch_path(const char *key); // caller frees
// Is a program of this name running in our network namespace?
bool doctor_program_runs(const char *name);
// A small file, "" if it cannot be read; caller frees.
char *doctor_file(const char *path);

// ---- what the agent says ----

// The names of the backend's devices, one after the other; NULL at the end.
const char *doctor_device(const struct doctor *doctor, size_t index);
const char *doctor_interface(const struct doctor *doctor); // NULL: not chosen
const char *doctor_backend(const struct doctor *doctor);   // "" if none
unsigned int doctor_ifindex(const char *name);		   // 0: not there

// ---- the checks ----

// doctor_agent.c
void doctor_agent_answers(struct doctor *doctor);
void doctor_agent_ready(struct doctor *doctor);
void doctor_agent_version(struct doctor *doctor);
void doctor_store(struct doctor *doctor);
void doctor_wars(struct doctor *doctor);
void doctor_restart(struct doctor *doctor);
void doctor_duplicate_ip(struct doctor *doctor);
void doctor_duplicate_subnet(struct doctor *doctor);
void doctor_rejected(struct doctor *doctor);
void doctor_failed(struct doctor *doctor);
// doctor_host.c
void doctor_ip_forward(struct doctor *doctor);
void doctor_rp_filter(struct doctor *doctor);
void doctor_bridge_nf(struct doctor *doctor);
void doctor_conntrack(struct doctor *doctor);
void doctor_neighbours(struct doctor *doctor);
void doctor_module(struct doctor *doctor);
void doctor_bridge_mtu(struct doctor *doctor);
void doctor_checksums(struct doctor *doctor);
// doctor_manager.c
void doctor_firewalld(struct doctor *doctor);
void doctor_network_manager(struct doctor *doctor);
void doctor_networkd(struct doctor *doctor);
void doctor_udev(struct doctor *doctor);
// doctor_peers.c
void doctor_peer_underlay(struct doctor *doctor);
void doctor_peer_port(struct doctor *doctor);
void doctor_peer_overlay(struct doctor *doctor);
void doctor_peer_mtu(struct doctor *doctor);
void doctor_peer_loss(struct doctor *doctor);
void doctor_peer_latency(struct doctor *doctor);
void doctor_peer_clock(struct doctor *doctor);
void doctor_peers_free(struct doctor *doctor);
