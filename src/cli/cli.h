// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what all commands of `weft` share: their table's type, what was asked, and how they end.
#pragma once

#include "core/err.h"
#include "io/loop.h"
#include "store/store_options.h"

#include <jansson.h>
#include <stdbool.h>

// How `weft` ends; told in its man page.
enum cli_exit {
	CLI_OK,
	CLI_FAILED,
	CLI_USAGE,
	CLI_NOT_FOUND,
	CLI_UNREACHABLE, // the agent or the store
	CLI_DOCTOR_WARNING = 10,
	CLI_DOCTOR_ERROR,
};

// Which flags a command takes besides --json.
enum command_use {
	USE_STORE = 1 << 0, // the store's flags and --network
	USE_AGENT = 1 << 1, // --socket and --network
	USE_FORCE = 1 << 2,
	USE_PEERS = 1 << 3,
	USE_DATABASE = 1 << 4,	 // --db
	USE_HOST = 1 << 5,	 // --for
	USE_MIGRATE = 1 << 6,	 // --dry-run, --abort and the flags of a second store
	USE_TTL = 1 << 7,	 // --ttl and --admin
	USE_CONTROLLER = 1 << 8, // the store's flags, which must name a controller
	USE_HOST_AGENT = 1 << 9, // --socket alone
	USE_FIX = 1 << 10,
	USE_ADDRESSES = 1 << 11, // --host, --unused, --leaked
	USE_POD = 1 << 12,	 // --pod
	USE_CLEANUP = 1 << 13,	 // --dry-run alone
	USE_DOCKER = 1 << 14,	 // those of mk-docker-opts.sh
	USE_MESH = 1 << 15,	 // --all and --port
};

struct cli_options {
	bool json;
	bool force;
	bool peers;
	bool dry_run;
	bool abort;
	bool admin;
	bool fix;
	bool unused;
	bool leaked;
	bool all;
	int64_t port; // 0: the own agent's
	uint64_t ttl_ms;
	bool individual, combined, no_masq;
	char *env_file, *docker_file, *docker_key;
	char *socket;
	char *network;
	char *database;
	char *host;
	char *ip_host;
	char *ip_pod;
	struct store_options store;
	struct store_options target; // where `weft migrate` moves to
};

struct cli {
	const struct command *command;
	const struct cli_options *options;
	struct flag_set *flags;
	char *const *words; // behind the command's name
	int word_count;
	struct loop *loop;
};

struct command {
	const char *name;  // "lease list"
	const char *words; // "SUBNET", "" if it takes none
	int words_min;
	int words_max;
	unsigned int uses;
	enum cli_exit (*run)(struct cli *cli);
	const char *summary;
	const char *text; // for `weft help`; lines are broken by hand
};

extern const struct command commands[];
extern const size_t command_count;

// Prints "weft: ..." on standard error and returns code.
enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
// -ENOENT is CLI_NOT_FOUND, what means that nobody answered is CLI_UNREACHABLE, all else CLI_FAILED.
enum cli_exit cli_exit_of(int r);
// Prints what a call returned.
enum cli_exit cli_fail_err(int r, const struct err *e);
// Takes value over and prints it for programs.
enum cli_exit cli_print_json(json_t *value);

enum cli_exit help_run(struct cli *cli);
void help_overview(void);

enum cli_exit network_set(struct cli *cli);
enum cli_exit network_get(struct cli *cli);
enum cli_exit network_list(struct cli *cli);
enum cli_exit network_rm(struct cli *cli);
enum cli_exit lease_list(struct cli *cli);
enum cli_exit lease_show(struct cli *cli);
enum cli_exit lease_rm(struct cli *cli);
enum cli_exit lease_reserve(struct cli *cli);
enum cli_exit lease_unreserve(struct cli *cli);
enum cli_exit ip_list(struct cli *cli);
enum cli_exit ip_show(struct cli *cli);
enum cli_exit ip_reserve(struct cli *cli);
enum cli_exit ip_release(struct cli *cli);
enum cli_exit ip_history(struct cli *cli);
enum cli_exit ip_watch(struct cli *cli);
enum cli_exit migrate_run(struct cli *cli);
enum cli_exit store_backup(struct cli *cli);
enum cli_exit store_restore(struct cli *cli);
enum cli_exit store_check(struct cli *cli);
enum cli_exit token_create(struct cli *cli);
enum cli_exit token_list(struct cli *cli);
enum cli_exit token_revoke(struct cli *cli);
enum cli_exit cni_install(struct cli *cli);
enum cli_exit status_run(struct cli *cli);
enum cli_exit watch_run(struct cli *cli);
enum cli_exit plan_run(struct cli *cli);
enum cli_exit doctor_run(struct cli *cli);
enum cli_exit cleanup_run(struct cli *cli);
enum cli_exit docker_opts(struct cli *cli);
enum cli_exit log_run(struct cli *cli);
enum cli_exit wg_rotate_run(struct cli *cli);
enum cli_exit mesh_run(struct cli *cli);
enum cli_exit version_run(struct cli *cli);

// The flags as a set with the targets in options, which must be zero. uses picks the tables.
struct flag_set *cli_flags_new(struct cli_options *options, unsigned int uses);
void cli_options_free(struct cli_options *options);
