// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the flags that commands share, and how a command ends.
#include "cli/cli.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct cli_options, member)
static const struct flag json_flag[] = {
	{ .name = "json", FLAG_BOOL, AT(json), NULL, NULL, "Print JSON, for programs." },
};
static const struct flag socket_flag[] = {
	{ .name = "socket",
	  FLAG_STRING,
	  AT(socket),
	  "/run/weft/weft.sock",
	  "PATH",
	  "Where the agent on this host is asked." },
};
static const struct flag network_flag[] = {
	{ .name = "network",
	  FLAG_STRING,
	  AT(network),
	  NULL,
	  "NAME",
	  "The network PREFIX/NAME; without it the one at the prefix itself, and of an agent that is in "
	  "several, all." },
};
static const struct flag force_flag[] = {
	{ .name = "force",
	  FLAG_BOOL,
	  AT(force),
	  NULL,
	  NULL,
	  "network rm: delete the leases as well. cni install: replace what is not ours. migrate: leave out leases that cannot be read; with "
	  "--abort: undo a migration also when its target may be open." },
};
static const struct flag database_flag[] = {
	{ .name = "db",
	  FLAG_STRING,
	  AT(database),
	  STORE_DATABASE_DEFAULT,
	  "FILE",
	  "The database of an embedded store on this host." },
};
static const struct flag host_flag[] = {
	{ .name = "for",
	  FLAG_STRING,
	  AT(host),
	  NULL,
	  "PUBLIC-IP[,PUBLIC-IPV6]",
	  "The host: its public IP, and its public IPv6 if the network has IPv6." },
};
static const struct flag ip_host_flag[] = {
	{ .name = "host", FLAG_STRING, AT(ip_host), NULL, "PUBLIC-IP", "Only those of this host." },
};
static const struct flag unused_flag[] = {
	{ .name = "unused",
	  FLAG_BOOL,
	  AT(unused),
	  NULL,
	  NULL,
	  "Only those that are kept and that no container has now: sticky and reserved ones." },
};
static const struct flag leaked_flag[] = {
	{ .name = "leaked",
	  FLAG_BOOL,
	  AT(leaked),
	  NULL,
	  NULL,
	  "Only those whose container must have gone: with its host, or when that was started anew." },
};
static const struct flag pod_flag[] = {
	{ .name = "pod",
	  FLAG_STRING,
	  AT(ip_pod),
	  NULL,
	  "[NAMESPACE/]POD",
	  "ip list: only those of this pod. ip reserve: the pod that gets the address." },
};
static const struct flag dry_run_flag[] = {
	{ .name = "dry-run", FLAG_BOOL, AT(dry_run), NULL, NULL, "Look, and change nothing." },
};
static const struct flag abort_flag[] = {
	{ .name = "abort",
	  FLAG_BOOL,
	  AT(abort),
	  NULL,
	  NULL,
	  "Undo a migration that was broken off: open the source again." },
};
static const struct flag ttl_flag[] = {
	{ .name = "ttl",
	  FLAG_DURATION,
	  AT(ttl_ms),
	  "24h",
	  "TIME",
	  "How long hosts may join by it, as in 30m or 24h; 0: until it is revoked.",
	  .max = UINT64_C(10) * 366 * 86400 * 1000 },
};
static const struct flag admin_flag[] = {
	{ .name = "admin", FLAG_BOOL, AT(admin), NULL, NULL, "One for operators: it may write everything." },
};
static const struct flag fix_flag[] = {
	{ .name = "fix",
	  FLAG_BOOL,
	  AT(fix),
	  NULL,
	  NULL,
	  "Mend what is safe to mend: switches of the kernel, until the next boot." },
};
static const struct flag peers_flag[] = {
	{ .name = "peers",
	  FLAG_BOOL,
	  AT(peers),
	  NULL,
	  NULL,
	  "List all peers, however many, and the way that packets take to each." },
};
static const struct flag docker_flags[] = {
	{ .name = "f",
	  FLAG_STRING,
	  AT(env_file),
	  "/run/flannel/subnet.env",
	  "FILE",
	  "What weftd told of this host's subnet." },
	{ .name = "d",
	  FLAG_STRING,
	  AT(docker_file),
	  "/run/docker_opts.env",
	  "FILE",
	  "Where Docker's options are written." },
	{ .name = "i", FLAG_BOOL, AT(individual), NULL, NULL, "Write a variable for each option." },
	{ .name = "c",
	  FLAG_BOOL,
	  AT(combined),
	  NULL,
	  NULL,
	  "Write one variable with all of them. With neither -i nor -c: both." },
	{ .name = "m", FLAG_BOOL, AT(no_masq), NULL, NULL, "Leave --ip-masq out." },
	{ .name = "k", FLAG_STRING, AT(docker_key), "DOCKER_OPTS", "NAME", "Name of the one with all of them." },
};
static const struct flag mesh_flags[] = {
	{ .name = "all", FLAG_BOOL, AT(all), NULL, NULL, "Ask every host's agent, not this one alone." },
	{ .name = "port",
	  FLAG_INT,
	  AT(port),
	  "0",
	  "PORT",
	  "Where they answer, their --healthz-port; 0: as this host's agent.",
	  .max = UINT16_MAX },
};
#undef AT

static const struct {
	unsigned int use; // 0: always
	const struct flag *flag;
} tables[] = {
	{ 0, json_flag },
	{ USE_FORCE, force_flag },
	{ USE_PEERS, peers_flag },
	{ USE_STORE | USE_AGENT, network_flag },
	{ USE_TTL, ttl_flag },
	{ USE_FIX, fix_flag },
	{ USE_TTL, admin_flag },
	{ USE_DATABASE, database_flag },
	{ USE_HOST, host_flag },
	{ USE_ADDRESSES, ip_host_flag },
	{ USE_POD, pod_flag },
	{ USE_ADDRESSES, unused_flag },
	{ USE_ADDRESSES, leaked_flag },
	{ USE_MIGRATE | USE_CLEANUP, dry_run_flag },
	{ USE_MIGRATE, abort_flag },
	{ USE_DOCKER, &docker_flags[0] },
	{ USE_DOCKER, &docker_flags[1] },
	{ USE_DOCKER, &docker_flags[2] },
	{ USE_DOCKER, &docker_flags[3] },
	{ USE_DOCKER, &docker_flags[4] },
	{ USE_DOCKER, &docker_flags[5] },
	{ USE_MESH, &mesh_flags[0] },
	{ USE_MESH, &mesh_flags[1] },
	{ ~0U, socket_flag },
};

struct flag_set *cli_flags_new(struct cli_options *options, unsigned int uses)
{
	struct flag_set *set = flag_set_new();

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		if (tables[i].use == 0 || (uses & tables[i].use))
			flag_set_add(set, i == 0 ? "Flags:" : NULL, tables[i].flag, 1, options);
	if (uses & (USE_STORE | USE_CONTROLLER))
		store_options_add(set, &options->store);
	if (uses & USE_MIGRATE)
		store_options_add_second(set, "The store to move to:", "to-", &options->target);
	return set;
}

void cli_options_free(struct cli_options *options)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		flag_target_free(tables[i].flag, 1, options);
	store_options_free(&options->store);
	store_options_free(&options->target);
}

enum cli_exit cli_fail(enum cli_exit code, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	text_sanitize(text);
	(void)fflush(stdout); // what was printed before comes first on a terminal too
	fprintf(stderr, "weft: %s\n", text);
	return code;
}

enum cli_exit cli_exit_of(int r)
{
	switch (-r) {
	case ENOENT:
		return CLI_NOT_FOUND;
	case ETIMEDOUT:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EADDRNOTAVAIL:
	case EPIPE:
	case EAGAIN:
	case EKEYREJECTED:
		return CLI_UNREACHABLE;
	default:
		return CLI_FAILED;
	}
}

enum cli_exit cli_fail_err(int r, const struct err *e)
{
	return cli_fail(cli_exit_of(r), "%s", e && e->msg[0] ? err_msg(e) : strerror(-r));
}

enum cli_exit cli_print_json(json_t *value)
{
	_cleanup_free_ char *text = json_text(value);

	json_decref(value);
	puts(text);
	return CLI_OK;
}
