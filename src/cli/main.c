// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the commands of `weft`, as a table of contents.
#include "cli/cli.h"

#include "core/log.h"
#include "core/mem.h"
#include "core/text.h"
#include "store/registry.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

extern char **environ;

const struct command commands[] = {
	{ "network set", "FILE|-|'{...}'", 1, 1, USE_STORE, network_set,
	  "check a network's config and store it",
	  "Reads the config from FILE, from standard input (-) or from the word itself, checks all of it,\n"
	  "stores it unless somebody else changed it meanwhile, and prints what is different.\n" },
	{ "network get", "", 0, 0, USE_STORE, network_get, "print a network's config", "" },
	{ "network list", "", 0, 0, USE_STORE, network_list, "list the networks below the prefix", "" },
	{ "network rm", "", 0, 0, USE_STORE | USE_FORCE, network_rm, "delete a network's config",
	  "Refused while hosts have leases in it, unless --force: then these are deleted as well.\n" },
	{ "lease list", "", 0, 0, USE_STORE, lease_list,
	  "list the leases, and what is wrong among them", "" },
	{ "lease show", "SUBNET", 1, 1, USE_STORE, lease_show, "print all that one lease holds",
	  "SUBNET is a subnet (10.1.2.0/24), a key (10.1.2.0-24), an address inside the subnet, or the\n"
	  "host's public IP.\n" },
	{ "lease rm", "SUBNET", 1, 1, USE_STORE, lease_rm, "delete a lease",
	  "SUBNET is a subnet (10.1.2.0/24) or a key as `weft lease list` shows it. A running agent whose\n"
	  "lease is deleted takes the same subnet again.\n" },
	{ "lease reserve", "SUBNET", 1, 1, USE_STORE | USE_HOST, lease_reserve,
	  "keep a subnet for one host",
	  "SUBNET is one that hosts of the network get (10.1.2.0/24, or 10.1.2.0/24,fd00::/64). The host gets\n"
	  "it whenever it starts, and no other host does. A lease that the host has there becomes a\n"
	  "reservation, and its agent goes on as before.\n" },
	{ "lease unreserve", "SUBNET", 1, 1, USE_STORE, lease_unreserve,
	  "make a reservation an ordinary lease",
	  "A running agent keeps it by renewing it. Without one it expires within a day; `weft lease rm`\n"
	  "deletes it at once.\n" },
	{ "ip list", "", 0, 0, USE_STORE | USE_ADDRESSES | USE_POD, ip_list,
	  "list the addresses of containers",
	  "All that the store has records of, on all hosts. An address that an agent gave while it did not\n"
	  "reach the store is not among them yet.\n" },
	{ "ip show", "IP", 1, 1, USE_STORE, ip_show,
	  "tell who has an address, where and since when", "" },
	{ "ip reserve", "IP", 1, 1, USE_STORE | USE_POD, ip_reserve, "keep an address from being given",
	  "With --pod that pod gets it whenever it is made on the host whose subnet the address is of.\n"
	  "Refused while somebody has it.\n" },
	{ "ip release", "IP", 1, 1, USE_STORE, ip_release, "free a reserved or sticky address",
	  "Refused while a container has it. Its host gives it to others within a minute.\n" },
	{ "ip history", "IP", 1, 1, USE_STORE, ip_history, "tell who had an address",
	  "As far back as the store remembers: etcd until it is compacted, a controller the last changes\n"
	  "that it saw since it was started, Consul nothing. When an address was given back no store knows.\n" },
	{ "ip watch", "", 0, 0, USE_STORE, ip_watch, "print changes of addresses as they come", "" },
	{ "migrate", "", 0, 0, USE_STORE | USE_FORCE | USE_MIGRATE, migrate_run,
	  "move networks with their leases to another store",
	  "The source is named by the usual flags, the target by the same ones behind --to-. All networks at\n"
	  "and below the prefix are moved, or the one of --network. While agents run: first nobody gets a new\n"
	  "lease in the source any more, then all is copied and compared, then the target is opened. Hosts keep\n"
	  "their subnets; start their agents with the target's flags one after the other, before the time in\n"
	  "the table is over. Run it again to go on after a failure.\n" },
	{ "store backup", "FILE", 1, 1, USE_DATABASE, store_backup,
	  "copy an embedded store's database to FILE",
	  "The store may be in use meanwhile. A FILE that is there is replaced when the copy is whole and\n"
	  "was checked.\n" },
	{ "store restore", "FILE", 1, 1, USE_DATABASE, store_restore,
	  "put a backup in the place of an embedded store's database",
	  "Refused while a process has the database open. What was written since the backup is lost, and\n"
	  "agents see another store.\n" },
	{ "store check", "", 0, 0, USE_DATABASE, store_check,
	  "tell whether an embedded store's database is sound",
	  "The store may be in use meanwhile. Exit code 1 when it is not sound.\n" },
	{ "token create", "", 0, 0, USE_CONTROLLER | USE_TTL, token_create,
	  "make a token by which hosts join a controller",
	  "Prints the token, once: the store keeps nothing but a digest of it. Wants an admin token, as in\n"
	  "the controller's /var/lib/weft/controller.token. Agents whose token has ended are refused, and\n"
	  "their leases end a day later: give those that stay one with --ttl=0.\n" },
	{ "token list", "", 0, 0, USE_CONTROLLER, token_list, "list the tokens that were made so", "" },
	{ "token revoke", "ID", 1, 1, USE_CONTROLLER, token_revoke, "make a token useless",
	  "ID is what a token begins with. Agents that have it are cut off within seconds.\n" },
	{ "cni install", "[BIN [CONF]]", 0, 2, USE_FORCE, cni_install,
	  "put the CNI plugins where container runtimes look",
	  "Copies weft, weft-ipam and flannel to BIN (/opt/cni/bin) and a configuration to CONF\n"
	  "(/etc/cni/net.d), each file at once, so that this is safe while containers come and go. A flannel\n"
	  "of another make, and a configuration that was changed, are left alone unless --force is given.\n" },
	{ "status", "", 0, 0, USE_AGENT | USE_PEERS, status_run, "tell how this host's agent is doing",
	  "Problems come first. Exit code 1 when the agent is not ready.\n" },
	{ "watch", "", 0, 0, USE_AGENT, watch_run, "print events of this host's agent as they come",
	  "" },
	{ "plan", "", 0, 0, USE_AGENT | USE_PEERS, plan_run,
	  "tell what the agent would change in the kernel, and change nothing", "" },
	{ "doctor", "", 0, 0, USE_AGENT | USE_FIX, doctor_run,
	  "look for what is wrong with this host and its way to the others",
	  "One line for each finding: what, why it hurts, and the command that mends it. Exit code 10 when the\n"
	  "worst is a warning, 11 when it is an error, 0 for notes and for nothing.\n" },
	{ "log", "[LEVEL|PART=LEVEL...]", 0, 16, USE_HOST_AGENT, log_run,
	  "tell how much this host's agent logs, or change it while it runs",
	  "LEVEL is error, warn, info or debug, of all parts or of one: `weft log store=debug` shows each\n"
	  "request to the store until `weft log store=info` or the agent's next start.\n" },
	{ "cleanup", "", 0, 0, USE_CLEANUP, cleanup_run,
	  "take all of weft off this host, while no agent runs",
	  "Removes what weft or flannel made here: firewall rules, routes, nexthops, devices, files under\n"
	  "/run. Tells what it removed and what stays, like the lease in the store. It is `weftd --cleanup`,\n"
	  "which takes weftd's flags for other directories.\n" },
	{ "docker-opts", "", 0, 0, USE_DOCKER, docker_opts,
	  "write the options by which Docker uses this host's subnet",
	  "As flannel's mk-docker-opts.sh, to the byte; DOCKER_OPT_* in the environment are included. Says so\n"
	  "when docker0 has another address, for Docker then runs with a lease that is another's by now.\n" },
	{ "wg rotate", "", 0, 0, USE_AGENT, wg_rotate_run, "give this host another WireGuard key",
	  "The new key goes into the host's lease, and peers take it over from there; packets wait for it\n"
	  "and are not lost. Refused while the store is not reached. Exit code 1 when the old key was kept.\n" },
	{ "mesh", "", 0, 0, USE_AGENT | USE_MESH, mesh_run,
	  "tell the latency and loss to each peer, the worst first",
	  "UNDERLAY is from host to host, OVERLAY through the network; LOST counts the last 16 probes. With\n"
	  "--all every host's agent is asked at its public address: a few hosts are a table of all pairs, in\n"
	  "which each row is one host's view, and of many the worst pairs are listed.\n" },
	{ "help", "[COMMAND]", 0, 2, 0, help_run, "explain weft or one of its commands", "" },
	{ "version", "", 0, 0, 0, version_run, "print the version", "" },
};
const size_t command_count = ARRAY_SIZE(commands);

enum cli_exit version_run(struct cli *cli)
{
	if (cli->options->json)
		return cli_print_json(json_pack("{s:s}", "version", WEFT_VERSION));
	printf("weft %s\n", WEFT_VERSION);
	return CLI_OK;
}

// How many words of the command line name the command; 0: not this one.
static int command_match(const struct command *command, char *const *words, int count)
{
	const char *at = command->name;
	int used = 0;

	while (used < count && *at) {
		size_t len = strlen(words[used]);

		if (strncmp(at, words[used], len) != 0 || (at[len] != ' ' && at[len] != '\0'))
			return 0;
		at += len + (at[len] == ' ');
		used++;
	}
	return *at ? 0 : used;
}

static const struct command *command_find(struct cli *cli)
{
	for (size_t i = 0; i < command_count; i++) {
		int used = command_match(&commands[i], cli->words, cli->word_count);

		if (used == 0)
			continue;
		cli->words += used;
		cli->word_count -= used;
		return &commands[i];
	}
	return NULL;
}

static enum cli_exit refuse_unknown(const struct cli *cli)
{
	char shown[TEXT_EXCERPT_MAX];
	const char *word = cli->words[0];

	for (size_t i = 0; i < command_count; i++) {
		size_t len = strlen(word);

		if (strncmp(commands[i].name, word, len) == 0 && commands[i].name[len] == ' ')
			return cli_fail(CLI_USAGE,
					"%s: say what to do with it; `weft help %s` lists it", word,
					word);
	}
	return cli_fail(CLI_USAGE, "no such command: %s; `weft help` lists them",
			text_excerpt(word, strlen(word), shown));
}

// Flags that would be without effect are refused; the store's are let through, so that an alias may hold them.
static enum cli_exit check_use(const struct cli *cli)
{
	static const struct {
		const char *flag;
		unsigned int use;
	} special[] = { { "force", USE_FORCE },
			{ "peers", USE_PEERS },
			{ "network", USE_STORE | USE_AGENT },
			{ "db", USE_DATABASE },
			{ "for", USE_HOST },
			{ "host", USE_ADDRESSES },
			{ "unused", USE_ADDRESSES },
			{ "leaked", USE_ADDRESSES },
			{ "pod", USE_POD },
			{ "ttl", USE_TTL },
			{ "admin", USE_TTL },
			{ "fix", USE_FIX },
			{ "all", USE_MESH },
			{ "port", USE_MESH },
			{ "dry-run", USE_MIGRATE | USE_CLEANUP },
			{ "abort", USE_MIGRATE },
			{ "f", USE_DOCKER },
			{ "d", USE_DOCKER },
			{ "i", USE_DOCKER },
			{ "c", USE_DOCKER },
			{ "m", USE_DOCKER },
			{ "k", USE_DOCKER },
			{ "to-store", USE_MIGRATE },
			{ "to-remote", USE_MIGRATE },
			{ "to-etcd-endpoints", USE_MIGRATE } };
	const struct command *command = cli->command;
	const char *network = cli->options->network;
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (flag_set_source(cli->flags, special[i].flag) == FLAG_FROM_ARGUMENT &&
		    !(command->uses & special[i].use))
			return cli_fail(CLI_USAGE, "`weft %s` takes no --%s", command->name,
					special[i].flag);
	if (*network != '\0' && registry_network_check(network, &e) < 0)
		return cli_fail(CLI_USAGE, "--network: %s", err_msg(&e));
	if (cli->word_count < command->words_min)
		return cli_fail(CLI_USAGE, "`weft %s` needs %s; `weft help %s` explains it",
				command->name, command->words, command->name);
	if (cli->word_count > command->words_max)
		return cli_fail(CLI_USAGE, "`weft %s`: one word too many: %s", command->name,
				cli->words[command->words_max]);
	return CLI_OK;
}

static enum cli_exit run(struct cli *cli, bool wants_help)
{
	enum cli_exit code;

	if (wants_help) {
		cli->command = NULL;
		return help_run(cli);
	}
	if (cli->word_count == 0) {
		help_overview();
		return CLI_USAGE;
	}
	cli->command = command_find(cli);
	if (!cli->command)
		return refuse_unknown(cli);
	code = check_use(cli);
	if (code != CLI_OK)
		return code;
	cli->loop = loop_new();
	code = cli->command->run(cli);
	cli->loop = loop_free(cli->loop);
	return code;
}

// Flags may stand anywhere: each run of them is read, and the word after it kept. "--" ends them.
static int read_arguments(struct flag_set *flags, int count, char **arguments, char **ret_words,
			  int *ret_count, struct err *e)
{
	bool is_over = false;
	int used, r;

	for (int i = 0; i < count; i++) {
		if (!is_over) {
			r = flag_set_arguments(flags, count - i, arguments + i, &used, e);
			if (r != 0)
				return r;
			is_over = used > 0 && strcmp(arguments[i + used - 1], "--") == 0;
			i += used;
		}
		if (i < count)
			ret_words[(*ret_count)++] = arguments[i];
	}
	return 0;
}

// The words of a command line that asks for help: all that are not flags.
static void words_only(int count, char **arguments, char **ret_words, int *ret_count)
{
	*ret_count = 0;
	for (int i = 0; i < count; i++)
		if (arguments[i][0] != '-')
			ret_words[(*ret_count)++] = arguments[i];
}

static enum cli_exit start(int argc, char **argv, struct cli *cli, struct cli_options *options)
{
	static const struct flag_prefix prefixes[] = { { "WEFT_", false },
						       { "FLANNELD_", false },
						       { NULL, false } };
	_cleanup_free_ char **words = xnew0_array(char *, (size_t)argc);
	struct err e = { 0 };
	int r;

	cli->words = words;
	cli->options = options;
	if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-version") == 0))
		return version_run(cli);
	r = read_arguments(cli->flags, argc - 1, argv + 1, words, &cli->word_count, &e);
	if (r == FLAG_ASKED_HELP)
		words_only(argc - 1, argv + 1, words, &cli->word_count);
	else if (r == 0)
		r = flag_set_environment(cli->flags, environ, prefixes, &e);
	if (r < 0)
		return cli_fail(CLI_USAGE, "%s", err_msg(&e));
	return run(cli, r == FLAG_ASKED_HELP);
}

int main(int argc, char **argv)
{
	struct cli_options options = { 0 };
	struct cli cli = { .flags = cli_flags_new(&options, ~0U) };
	enum cli_exit code;

	// A reader that goes away shows as an error of standard output.
	(void)signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	code = start(argc, argv, &cli, &options);
	flag_set_free(cli.flags);
	cli_options_free(&options);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == CLI_OK)
		return errno == EPIPE ? CLI_FAILED
				      : cli_fail(CLI_FAILED, "standard output: %s", strerror(errno));
	return code;
}
