// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: weft-udp's command line.
#include "udp/options.h"

#include "core/flags.h"
#include "core/mem.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warn", "info", "debug", NULL };
static const char *const format_names[] = { "text", "json", NULL };
static const char *const source_names[] = { "any", "same", NULL };
static const char *const feature_names[] = { "segment", "tcp-join", "udp-join", "sandbox", NULL };

#define AT(member) offsetof(struct udp_options, member)

static const struct flag flags[] = {
	{ .name = "device", FLAG_STRING, AT(device), "flannel0", "NAME", "The TUN device that is made." },
	{ .name = "address",
	  FLAG_IP,
	  AT(address),
	  NULL,
	  "IP",
	  "Address of this host that peers send to and that is sent from." },
	{ .name = "port",
	  FLAG_INT,
	  AT(port),
	  "8285",
	  "NUMBER",
	  "UDP port that is received at.",
	  .min = 1,
	  .max = 65535 },
	{ .name = "socket",
	  FLAG_STRING,
	  AT(socket),
	  "/run/weft/udp.sock",
	  "PATH",
	  "Where peers are told. A weft-udp that serves there already is taken over: its device, sockets and "
	  "peers, without losing a packet." },
	{ .name = "workers",
	  FLAG_INT,
	  AT(workers),
	  "0",
	  "NUMBER",
	  "Threads that move packets, each with a queue of the device. 0: half as many as there are processors, at "
	  "most 4.",
	  .min = 0,
	  .max = TUN_QUEUES_MAX },
	{ .name = "queue-length",
	  FLAG_INT,
	  AT(queue_len),
	  "128",
	  "NUMBER",
	  "Packets that wait in the device. A longer queue is more delay under load.",
	  .min = 8,
	  .max = 4096 },
	{ .name = "spin",
	  FLAG_INT,
	  AT(spin_us),
	  "-1",
	  "MICROSECONDS",
	  "How long an answer is waited for awake. 0: never. -1: 50 where there are 4 processors or more, "
	  "else never.",
	  .min = -1,
	  .max = 1000 },
	{ .name = "source-port",
	  FLAG_CHOICE,
	  AT(source_port),
	  "any",
	  "WHICH",
	  "any: each worker sends from a port of its own, so that networks and receivers spread hosts over "
	  "their queues. same: from --port, for filters that want that.",
	  .choices = source_names },
	{ .name = "without-feature",
	  FLAG_MASK,
	  AT(without_features),
	  NULL,
	  "NAME,...",
	  "Do as if there were no: segment (cutting by the kernel of what is sent), tcp-join, udp-join (of what "
	  "is received), sandbox (a filter of system calls).",
	  .choices = feature_names },
	{ .name = "log-level",
	  FLAG_CHOICE,
	  AT(log_level),
	  "info",
	  "LEVEL",
	  "Least important messages that are shown: error, warn, info or debug.",
	  .choices = level_names },
	{ .name = "log-format",
	  FLAG_CHOICE,
	  AT(log_format),
	  "text",
	  "FORMAT",
	  "text or json (one object a line).",
	  .choices = format_names },
	{ .name = "version", FLAG_BOOL, AT(version), NULL, NULL, "Show the version and exit." },
};

static unsigned int worker_count(int64_t asked)
{
	long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
	if (asked > 0)
		return (unsigned int)asked;
	return half < 1 ? 1 : half > TUN_QUEUES_MAX ? TUN_QUEUES_MAX : (unsigned int)half;
}

// Awake, a worker keeps a processor from who is to answer, if there is no other.
static unsigned int spin_us(int64_t asked)
{
	enum { STANDARD_US = 50, PROCESSORS_MIN = 4 };
	if (asked >= 0)
		return (unsigned int)asked;
	return sysconf(_SC_NPROCESSORS_ONLN) >= PROCESSORS_MIN ? STANDARD_US : 0;
}

static bool has(const struct udp_options *options, enum udp_feature feature)
{
	return !(options->without_features & (1u << feature));
}

static int finish(struct udp_options *options, struct err *e)
{
	if (options->version)
		return 0;
	if (!ip_is_set(&options->address))
		return err_set(e, -EINVAL, "--address is missing: the address that peers send to");
	if (options->device[0] == '\0' || strlen(options->device) >= IFNAMSIZ ||
	    strpbrk(options->device, "/% "))
		return err_set(e, -EINVAL, "--device: '%s' cannot be the name of a device",
			       options->device);
	options->engine = (struct engine_options){
		.device = options->device,
		.address = options->address,
		.port = (uint16_t)options->port,
		.workers = worker_count(options->workers),
		.queue_len = (unsigned int)options->queue_len,
		.spin_us = spin_us(options->spin_us),
		.fixed_source = options->source_port == 1,
		.join_tcp = has(options, UDP_FEATURE_TCP_JOIN),
		.join_udp = has(options, UDP_FEATURE_UDP_JOIN),
		.segment = has(options, UDP_FEATURE_SEGMENT),
	};
	return 0;
}

int udp_options_parse(int argc, char **argv, struct udp_options *ret, struct err *e)
{
	_cleanup_(flag_set_freep) struct flag_set *set = flag_set_new();
	int used = 0;
	flag_set_add(set, NULL, flags, ARRAY_SIZE(flags), ret);
	int r = flag_set_arguments(set, argc - 1, argv + 1, &used, e);
	if (r == 0 && used != argc - 1)
		r = err_set(e, -EINVAL, "'%s' is no flag", argv[1 + used]);
	return r != 0 ? r : finish(ret, e);
}

void udp_options_free(struct udp_options *options)
{
	flag_target_free(flags, ARRAY_SIZE(flags), options);
}

void udp_options_help(struct strbuf *out)
{
	_cleanup_(flag_set_freep) struct flag_set *set = flag_set_new();
	struct udp_options options = { 0 };
	(void)strbuf_puts(out, "usage: weft-udp --address=IP [FLAG...]\n\n"
			       "The packet path of weft's udp backend: IP packets of a TUN device in UDP datagrams, one each,\n"
			       "as flannel's. weftd starts it and tells it of peers.\n\n");
	flag_set_add(set, "Flags", flags, ARRAY_SIZE(flags), &options);
	flag_set_help(set, out);
	udp_options_free(&options);
}
