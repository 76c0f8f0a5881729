// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of weftd's options: flannel's names and defaults, ours, and what is refused. The store's flags with them.
#include "unit.h"

#include "agent/options.h"
#include "core/mem.h"
#include "kernel/netlink.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PIN "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define TOKEN "0123456789abcdef"

struct fixture {
	struct options options;
	struct err e;
};

static int parse(struct fixture *f, const char *const *words, const char *const *environment)
{
	int count = 0;

	options_free(&f->options);
	*f = (struct fixture){ 0 };
	while (words[count])
		count++;
	return options_parse(count, (char *const *)words, (char *const *)environment, &f->options,
			     &f->e);
}
static const char *const no_environment[] = { NULL };
#define PARSE(f, ...) \
	parse((f), (const char *const[]){ "weftd", ##__VA_ARGS__, NULL }, no_environment)
#define PARSE_ENVIRONMENT(f, ...) \
	parse((f), (const char *const[]){ "weftd", NULL }, (const char *const[]){ __VA_ARGS__, NULL })

static int set_up(void **state)
{
	*state = xnew(struct fixture);
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	options_free(&f->options);
	free(f);
	return 0;
}

static void test_defaults_are_flannels(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;

	assert_int_equal(PARSE(f), 0);
	assert_int_equal(o->action, OPTIONS_RUN);
	assert_string_equal(o->store.kind, "etcd3");
	assert_string_equal(o->store.endpoints[0], "http://127.0.0.1:4001");
	assert_string_equal(o->store.endpoints[1], "http://127.0.0.1:2379");
	assert_null(o->store.endpoints[2]);
	assert_null(o->store.username);
	assert_null(o->store.password);
	assert_null(o->store.ca_file);
	assert_null(o->store.cert_file);
	assert_null(o->store.key_file);
	assert_int_equal(o->store.request_timeout_ms, 5000);
	assert_int_equal(o->store.dead_man_ms, 15000);
	assert_string_equal(o->store_flags.prefix, "/coreos.com/network");
	assert_int_equal(o->iface.count, 0);
	assert_int_equal(o->iface_regex.count, 0);
	assert_string_equal(o->iface_can_reach, "");
	assert_string_equal(o->subnet_file, "/run/flannel/subnet.env");
	assert_int_equal(o->renew_margin_minutes, 60);
	assert_false(o->ip_masq);
	assert_false(o->kube_subnet_mgr);
	assert_string_equal(o->kube_annotation_prefix, "flannel.alpha.coreos.com");
	assert_string_equal(o->net_config_path, "/etc/kube-flannel/net-conf.json");
	assert_true(o->set_node_network_unavailable);
	assert_int_equal(o->healthz_ip.family, AF_INET);
	assert_true(ip_is_unspecified(&o->healthz_ip));
	assert_int_equal(o->healthz_port, 0);
	assert_int_equal(o->iptables_resync_s, 5);
	assert_true(o->iptables_forward_rules);
	assert_false(o->ip_blackhole_route);
	assert_string_equal(o->run_dir, "/run/weft");
	assert_string_equal(o->state_dir, "/var/lib/weft");
	assert_int_equal(o->peer_hold_ms, 3000);
	assert_int_equal(o->scan_interval_ms, 30000);
	assert_int_equal(o->ip_quarantine_ms, 30000);
	assert_int_equal(o->ip_leak_interval_ms, 60000);
	assert_int_equal(o->lease_ttl_s, 0);
	assert_int_equal(o->log_level, LOG_LEVEL_INFO);
	assert_int_equal(o->log_format, LOG_FORMAT_TEXT);
	assert_int_equal(o->without_features, 0);
	assert_false(o->allow_subnet_change);
	assert_false(o->no_ip_forward);
}

// All of flannel's, so that its unit files and manifests start weftd unchanged.
static void test_every_flag_of_flannel(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;

	assert_int_equal(
		PARSE(f, "-etcd-endpoints=https://a:1,https://b:2", "-etcd-prefix=/x/",
		      "-etcd-keyfile=k", "-etcd-certfile=c", "-etcd-cafile=ca", "-etcd-username=u",
		      "-etcd-password=p", "-iface=eth0", "-iface=10.0.0.1", "-iface-regex=^e",
		      "-iface-can-reach=192.0.2.1", "-subnet-file=/tmp/s", "-public-ip=192.0.2.2",
		      "-public-ipv6=2001:db8::2", "-subnet-lease-renew-margin=1439", "-ip-masq",
		      "-ip-masq-fully-random-disable", "-kube-subnet-mgr=false", "-kube-api-url=x",
		      "-kubeconfig-file=y", "-kube-annotation-prefix=z", "-net-config-path=n",
		      "-set-node-network-unavailable=false", "-healthz-ip=::1",
		      "-healthz-port=8080", "-iptables-resync=9", "-iptables-forward-rules=false",
		      "-ip-blackhole-route", "-v=10", "-vmodule=a=1", "-log_backtrace_at=x:1"),
		0);
	assert_string_equal(o->store.endpoints[1], "https://b:2");
	assert_string_equal(o->store_flags.prefix, "/x");
	assert_string_equal(o->store.key_file, "k");
	assert_string_equal(o->store.cert_file, "c");
	assert_string_equal(o->store.ca_file, "ca");
	assert_string_equal(o->store.username, "u");
	assert_string_equal(o->store.password, "p");
	assert_int_equal(o->iface.count, 2);
	assert_string_equal(o->iface_can_reach, "192.0.2.1");
	assert_int_equal(o->renew_margin_minutes, 1439);
	assert_true(o->ip_masq && o->ip_masq_fully_random_disable && o->ip_blackhole_route);
	assert_false(o->iptables_forward_rules);
	assert_int_equal(o->healthz_port, 8080);
	assert_int_equal(o->healthz_ip.family, AF_INET6);
	assert_int_equal(o->log_level, LOG_LEVEL_DEBUG);
}

static void test_our_flags(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;

	assert_int_equal(PARSE(f, "--run-dir=/r//", "--state-dir=/", "--log-format=json",
			       "--log-level=warn", "-v=1", "--peer-hold=0", "--allow-subnet-change",
			       "--no-ip-forward", "--without-feature=nexthop,strict",
			       "--scan-interval=100ms", "--store=memory", "--dead-man=1s",
			       "--request-timeout=2s", "--lease-ttl=10"),
			 0);
	assert_string_equal(o->run_dir, "/r");
	assert_string_equal(o->state_dir, "/");
	assert_int_equal(o->log_format, LOG_FORMAT_JSON);
	assert_int_equal(o->log_level, LOG_LEVEL_WARN); // the explicit one wins over -v
	assert_int_equal(o->peer_hold_ms, 0);
	assert_true(o->allow_subnet_change && o->no_ip_forward);
	assert_int_equal(o->without_features,
			 1U << NETLINK_FEATURE_NEXTHOP | 1U << NETLINK_FEATURE_STRICT);
	assert_int_equal(o->scan_interval_ms, 100);
	assert_string_equal(o->store.kind, "memory");
	assert_int_equal(o->store.dead_man_ms, 1000);
	assert_int_equal(o->store.request_timeout_ms, 2000);
	assert_int_equal(o->lease_ttl_s, 10);
}

// The mask's bits are those of the netlink layer, whose names are no constants.
static void test_feature_names(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < NETLINK_FEATURE_COUNT; i++) {
		assert_int_equal(PARSE(f, "--without-feature", netlink_feature_names[i]), 0);
		assert_int_equal(f->options.without_features, 1U << i);
	}
}

static void test_endpoint_forms(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(PARSE(f, "--etcd-endpoints=a:1, http://b:2/ ,[::1]:3"), 0);
	assert_string_equal(f->options.store.endpoints[0], "http://a:1");
	assert_string_equal(f->options.store.endpoints[1], "http://b:2");
	assert_string_equal(f->options.store.endpoints[2], "http://[::1]:3");
	assert_int_equal(PARSE(f, "--etcd-endpoints=a:1,http://b:2", "--etcd-cafile=x"), 0);
	assert_string_equal(f->options.store.endpoints[0], "https://a:1");
	assert_string_equal(f->options.store.endpoints[1], "http://b:2");
}

static void test_controller_access(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;
	char path[] = "/tmp/weft-token-XXXXXX";
	_cleanup_free_ char *flag = NULL;
	int fd = mkstemp(path);

	assert_int_equal(PARSE(f, "--remote=a:1"), 0);
	assert_string_equal(o->store.endpoints[0], "http://a:1");
	assert_null(o->store.pin);
	assert_null(o->store.token);
	assert_int_equal(PARSE(f, "--remote=a:1", "--pin=" PIN), 0);
	assert_string_equal(o->store.endpoints[0], "https://a:1");
	assert_string_equal(o->store.pin, PIN);
	assert_int_equal(PARSE(f, "--remote=a:1,https://b:1", "--token=" TOKEN), 0);
	assert_string_equal(o->store.endpoints[0], "https://a:1");
	assert_string_equal(o->store.token, TOKEN);
	// etcd's files are etcd's.
	assert_int_equal(PARSE(f, "--remote=a:1", "--etcd-cafile=ca"), 0);
	assert_string_equal(o->store.endpoints[0], "http://a:1");
	assert_null(o->store.ca_file);
	assert_int_equal(PARSE(f, "--remote=a:1", "--remote-cafile=ca", "--remote-certfile=c",
			       "--remote-keyfile=k"),
			 0);
	assert_string_equal(o->store.endpoints[0], "https://a:1");
	assert_string_equal(o->store.ca_file, "ca");
	assert_string_equal(o->store.cert_file, "c");
	assert_string_equal(o->store.key_file, "k");

	assert_true(fd >= 0);
	assert_int_equal(write(fd, TOKEN " \n", strlen(TOKEN) + 2), strlen(TOKEN) + 2);
	assert_int_equal(close(fd), 0);
	flag = xasprintf("--token-file=%s", path);
	assert_int_equal(PARSE(f, "--remote=a:1", flag), 0);
	assert_string_equal(o->store.endpoints[0], "https://a:1");
	assert_string_equal(o->store.token, TOKEN);
	// Those of a controller are not for its store.
	assert_int_equal(PARSE(f, "--listen=192.0.2.1:8889", flag, "--remote-certfile=c",
			       "--remote-keyfile=k", "--etcd-cafile=ca"),
			 0);
	assert_int_equal(o->action, OPTIONS_SERVE);
	assert_string_equal(store_options_token(&o->store_flags), TOKEN);
	assert_string_equal(o->store.kind, "etcd3");
	assert_string_equal(o->store.ca_file, "ca");
	assert_null(o->store.cert_file);
	assert_null(o->store.token);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(PARSE(f, "--remote=a:1", flag), -ENOENT);
	assert_non_null(strstr(f->e.msg, "--token-file: /tmp/weft-token-"));
	assert_int_equal(PARSE_ENVIRONMENT(f, "WEFT_REMOTE=a:1", "WEFT_TOKEN=" TOKEN), 0);
	assert_string_equal(o->store.token, TOKEN);
}

static void test_networks(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;

	assert_int_equal(PARSE(f, "--v=0"), 0);
	assert_int_equal(o->networks.count, 0);
	assert_false(o->watch_networks);
	assert_string_equal(o->subnet_dir, "/run/flannel/networks");
	assert_int_equal(PARSE(f, "-networks=blue, red-2", "-watch-networks", "-subnet-dir=/x//"), 0);
	assert_int_equal(o->networks.count, 2);
	assert_string_equal(o->networks.items[0], "blue");
	assert_string_equal(o->networks.items[1], "red-2");
	assert_true(o->watch_networks);
	assert_string_equal(o->subnet_dir, "/x");
	assert_int_equal(PARSE_ENVIRONMENT(f, "FLANNELD_NETWORKS=a,b", "FLANNELD_WATCH_NETWORKS=true"),
			 0);
	assert_int_equal(o->networks.count, 2);
	assert_true(o->watch_networks);
}

static void test_environment(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(PARSE_ENVIRONMENT(f, "FLANNELD_ETCD_ENDPOINTS=http://e:1",
					   "FLANNELD_IP_MASQ=true", "WEFT_PEER_HOLD=1s",
					   "FLANNELD_PEER_HOLD=9s", "FLANNELD_IFACE=eth7",
					   "FLANNELD_ETCD_PREFIX=", "WEFT_REQUIRE_ALL=1",
					   "NOTIFY_SOCKET=/x"),
			 0);
	assert_string_equal(f->options.store.endpoints[0], "http://e:1");
	assert_true(f->options.ip_masq);
	assert_int_equal(f->options.peer_hold_ms, 1000);
	assert_string_equal(f->options.iface.items[0], "eth7");
	assert_string_equal(f->options.store_flags.prefix, "/coreos.com/network");
}

static int parse_both(struct fixture *f, const char *word, const char *const *environment)
{
	return parse(f, (const char *const[]){ "weftd", word, NULL }, environment);
}
#define PARSE_BOTH(f, word, ...) parse_both((f), (word), (const char *const[]){ __VA_ARGS__, NULL })

static void test_command_line_before_environment(void **state)
{
	struct fixture *f = *state;
	const struct options *o = &f->options;

	// A host that ran flannel has this in its environment.
	assert_int_equal(PARSE_BOTH(f, "--remote=a:1", "FLANNELD_ETCD_ENDPOINTS=http://e:1"), 0);
	assert_string_equal(o->store.kind, "controller");
	assert_int_equal(PARSE_BOTH(f, "--etcd-endpoints=http://e:1", "WEFT_REMOTE=a:1",
				    "WEFT_PIN=" PIN, "WEFT_TOKEN=" TOKEN, "WEFT_REMOTE_CAFILE=ca"),
			 0);
	assert_string_equal(o->store.kind, "etcd3");
	assert_string_equal(o->store.endpoints[0], "http://e:1");
	assert_int_equal(PARSE_BOTH(f, "--store=consul", "WEFT_REMOTE=a:1",
				    "CONSUL_HTTP_ADDR=http://c:1",
				    "FLANNELD_ETCD_ENDPOINTS=http://e:1"),
			 0);
	assert_string_equal(o->store.kind, "consul");
	assert_string_equal(o->store.endpoints[0], "http://c:1");
	assert_int_equal(PARSE_BOTH(f, "--etcd-endpoints=http://e:1", "WEFT_STORE=consul"), 0);
	assert_string_equal(o->store.kind, "etcd3");
	assert_int_equal(PARSE_BOTH(f, "--client-rate=9", "WEFT_LISTEN=127.0.0.1:1"), 0);
	assert_int_equal(PARSE_ENVIRONMENT(f, "WEFT_CLIENT_RATE=9"), 0);
	assert_int_equal(PARSE_ENVIRONMENT(f, "WEFT_REMOTE=a:1", "FLANNELD_ETCD_ENDPOINTS=http://e:1"),
			 -EINVAL);
	assert_int_equal(PARSE_ENVIRONMENT(f, "WEFT_STORE=consul", "FLANNELD_ETCD_ENDPOINTS=http://e:1"),
			 -EINVAL);
}

struct refusal {
	const char *words[4];
	const char *message;
};
static const struct refusal refusals[] = {
	{ { "--bogus" }, "unknown flag --bogus; --help lists all" },
	{ { "run" }, "\"run\" is not a flag; weftd takes no other words" },
	{ { "--ip-masq-exclude=10.0.0.0/8,x" }, "--ip-masq-exclude: \"x\" is not a CIDR" },
	{ { "--ip-masq", "true" }, "\"true\" is not a flag; weftd takes no other words" },
	{ { "--kube-subnet-mgr" },
	  "--kube-subnet-mgr: this version keeps leases in etcd only; leave it out and give --etcd-endpoints" },
	{ { "--subnet-lease-renew-margin=0" },
	  "--subnet-lease-renew-margin: \"0\" is not a number from 1 to 1439" },
	{ { "--subnet-lease-renew-margin=1440" },
	  "--subnet-lease-renew-margin: \"1440\" is not a number from 1 to 1439" },
	{ { "--healthz-port=65536" }, "--healthz-port: \"65536\" is not a number from 0 to 65535" },
	{ { "--mesh-probes=11" }, "--mesh-probes: \"11\" is not a number from 0 to 10" },
	{ { "--probe-mtu", "--mesh-probes=0" },
	  "--probe-mtu and --mesh-probes=0: it is done by these probes" },
	{ { "--public-ip=x" }, "--public-ip: \"x\" is not an IP address" },
	{ { "--public-ip=2001:db8::1" }, "--public-ip: 2001:db8::1 is not an IPv4 address" },
	{ { "--public-ipv6=192.0.2.1" }, "--public-ipv6: 192.0.2.1 is not an IPv6 address" },
	{ { "--public-ip=127.0.0.1" }, "--public-ip: other hosts cannot send to 127.0.0.1" },
	{ { "--iface-can-reach=host" }, "--iface-can-reach: \"host\" is not an IP address" },
	{ { "--run-dir=" }, "--run-dir: must not be empty" },
	{ { "--state-dir=" }, "--state-dir: must not be empty" },
	{ { "--subnet-file=" }, "--subnet-file: must not be empty" },
	{ { "--check-config", "" }, "--check-config: must not be empty" },
	{ { "--etcd-prefix=//" }, "--etcd-prefix: must not be empty" },
	{ { "--etcd-prefix=/a b" }, "--etcd-prefix: has a space or a byte that is no text" },
	{ { "--etcd-endpoints=:2379" }, "--etcd-endpoints: \":2379\" is not a URL of a server" },
	{ { "--etcd-endpoints=" }, "--etcd-endpoints: no server is given" },
	{ { "--etcd-endpoints=ftp://a" },
	  "--etcd-endpoints: \"ftp://a\" is neither http:// nor https://" },
	{ { "--etcd-endpoints=http://" }, "--etcd-endpoints: \"http://\" is not a URL of a server" },
	{ { "--etcd-endpoints=http://a b" },
	  "--etcd-endpoints: \"http://a b\" is not a URL of a server" },
	{ { "--etcd-endpoints=http://u:secret@a" },
	  "--etcd-endpoints: a URL holds a user name; --etcd-username and --etcd-password are for that" },
	{ { "--etcd-certfile=a" }, "--etcd-certfile needs --etcd-keyfile" },
	{ { "--etcd-keyfile=a" }, "--etcd-keyfile needs --etcd-certfile" },
	{ { "--etcd-password=hunter2" }, "--etcd-password needs --etcd-username" },
	{ { "--store=zookeeper" },
	  "--store: \"zookeeper\" is not one of etcd3, etcd2, consul or sqlite:FILE" },
	{ { "--store=sqlite:" }, "--store=sqlite:: no file is given" },
	{ { "--store=etcd3:x" }, "--store=etcd3:x: only sqlite has a file" },
	{ { "--store=consul:x" }, "--store=consul:x: only sqlite has a file" },
	{ { "--consul-endpoints=a" }, "--consul-endpoints: only with --store=consul" },
	{ { "--consul-token=a" }, "--consul-token: only with --store=consul" },
	{ { "--remote=a:1", "--consul-cafile=a" }, "--consul-cafile: only with --store=consul" },
	{ { "--listen=:1", "--consul-token-file=a" }, "--consul-token-file: only with --store=consul" },
	{ { "--store=consul", "--remote=a:1" },
	  "--remote and --store: controllers or a store? Give one of them" },
	{ { "--etcd-endpoints=a:1", "--remote=a:1" },
	  "--remote and --etcd-endpoints: controllers or a store? Give one of them" },
	{ { "--store=consul", "--etcd-endpoints=a:1" }, "--etcd-endpoints: not with --store=consul" },
	{ { "--listen=:1", "--store=consul", "--etcd-endpoints=a:1" },
	  "--etcd-endpoints: not with --store=consul" },
	{ { "--client-rate=9" }, "--client-rate: only with --listen" },
	{ { "--store=consul", "--consul-certfile=a" }, "--consul-certfile needs --consul-keyfile" },
	{ { "--store=consul", "--consul-keyfile=a" }, "--consul-keyfile needs --consul-certfile" },
	{ { "--store=consul", "--consul-token=a", "--consul-token-file=b" },
	  "--consul-token and --consul-token-file: give one of them" },
	{ { "--store=consul", "--consul-token=s3cr3t word" },
	  "--consul-token: a token has no spaces and no characters but those of ASCII" },
	{ { "--store=consul", "--consul-endpoints=http://u:s3cr3t@a" },
	  "--consul-endpoints: a URL holds a user name; Consul has tokens, and --consul-token-file is for that" },
	{ { "--store=consul", "--consul-endpoints=unix:///run/consul.sock" },
	  "--consul-endpoints: \"unix:///run/consul.sock\" is neither http:// nor https://" },
	{ { "--remote=ftp://a" }, "--remote: \"ftp://a\" is neither http:// nor https://" },
	{ { "--listen=8889" }, "--listen=8889: not IP:PORT" },
	{ { "--listen=host:8889" }, "--listen=host:8889: not IP:PORT" },
	{ { "--listen=127.0.0.1:65536" }, "--listen=127.0.0.1:65536: not IP:PORT" },
	{ { "--listen=127.0.0.1:1", "--remote=a:1" },
	  "--listen and --remote: a controller stands before a store, not before another controller" },
	{ { "--insecure" }, "--insecure: only with --listen" },
	{ { "--agent" }, "--agent: only with --listen" },
	{ { "--remote-certfile=a", "--remote=b" }, "--remote-certfile needs --remote-keyfile" },
	{ { "--remote-keyfile=a", "--remote=b" }, "--remote-keyfile needs --remote-certfile" },
	{ { "--remote-cafile=a" }, "--remote-cafile: only with --remote or --listen" },
	{ { "--remote-certfile=a", "--remote-keyfile=b" },
	  "--remote-certfile: only with --remote or --listen" },
	{ { "--pin=" PIN }, "--pin: only with --remote" },
	{ { "--pin=" PIN, "--listen=:1" }, "--pin: only with --remote" },
	{ { "--pin=sha256:00", "--remote=a:1" },
	  "--pin: \"sha256:00\" is not sha256: and 64 hex digits" },
	{ { "--pin=" PIN, "--remote=http://a:1" },
	  "--remote: http://a:1 is not https://, which a pin, a token and TLS files want" },
	{ { "--token=" TOKEN, "--remote=https://b:1,http://a:1" },
	  "--remote: http://a:1 is not https://, which a pin, a token and TLS files want" },
	{ { "--token=short", "--remote=a:1" }, "--token: a token has 16 to 512 characters, not 5" },
	{ { "--token=with a space in it", "--remote=a:1" },
	  "--token: a token has no spaces and no characters but those of ASCII" },
	{ { "--token=" TOKEN, "--token-file=b" }, "--token and --token-file: give one of them" },
	{ { "--listen=:1", "--insecure", "--token=" TOKEN },
	  "--insecure and --token: plain HTTP without a token, or not?" },
	{ { "--listen=:1", "--insecure", "--token-file=a" },
	  "--insecure and --token-file: plain HTTP without a token, or not?" },
	{ { "--listen=:1", "--insecure", "--remote-cafile=a" },
	  "--insecure and --remote-cafile: plain HTTP without a token, or not?" },
	{ { "--listen=:1", "--insecure", "--remote-certfile=a", "--remote-keyfile=b" },
	  "--insecure and --remote-certfile: plain HTTP without a token, or not?" },
	{ { "--networks=a,../b" },
	  "--networks: \"../b\": a network's name has letters, digits, '-', '_' and '.' only" },
	{ { "--networks=.weft" }, "--networks: \".weft\": \".weft\" cannot be a network's name" },
	{ { "--networks=a,.." }, "--networks: \"..\": \"..\" cannot be a network's name" },
	{ { "--networks=a,subnets" },
	  "--networks: \"subnets\": \"subnets\" cannot be a network's name" },
	{ { "--networks=a,b,a" }, "--networks: a is named twice" },
	{ { "--subnet-dir=" }, "--subnet-dir: must not be empty" },
	{ { "--dead-man=1ms" }, "--dead-man: \"1ms\" is not from 100ms to 3600s" },
	{ { "--without-feature=magic" },
	  "--without-feature: \"magic\" is not a comma list of strict or nexthop" },
};

static void test_refusals(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *row = &refusals[i];

		check(PARSE(f, row->words[0], row->words[1], row->words[2], row->words[3]) == -EINVAL,
		      "%s was taken", row->words[0]);
		check(strcmp(f->e.msg, row->message) == 0, "%s: %s", row->words[0], f->e.msg);
	}
}

static void test_listen(void **state)
{
	struct fixture *f = *state;
	char text[IP_STR_MAX];

	assert_int_equal(PARSE(f, "--listen=127.0.0.1:8889", "--state-dir=/s"), 0);
	assert_int_equal(f->options.action, OPTIONS_SERVE);
	assert_int_equal(f->options.listen_port, 8889);
	assert_string_equal(ip_str(&f->options.listen_ip, text), "127.0.0.1");
	assert_string_equal(f->options.store.kind, "sqlite");
	assert_string_equal(f->options.store.path, "/s/weft.db");
	assert_int_equal(PARSE(f, "--listen=[::1]:1"), 0);
	assert_string_equal(ip_str(&f->options.listen_ip, text), "::1");
	assert_int_equal(PARSE(f, "--listen=:0", "--insecure"), 0);
	assert_string_equal(ip_str(&f->options.listen_ip, text), "0.0.0.0");
	assert_int_equal(PARSE(f, "--listen=127.0.0.1:1", "--store=sqlite:/x/y"), 0);
	assert_string_equal(f->options.store.path, "/x/y");
	assert_int_equal(PARSE(f, "--listen=127.0.0.1:1", "--store=etcd3"), 0);
	assert_string_equal(f->options.store.kind, "etcd3");
	assert_null(f->options.store.path);
	// As flannel's --listen: an etcd that is named is the store.
	assert_int_equal(PARSE(f, "--listen=127.0.0.1:1", "--etcd-endpoints=http://a:1"), 0);
	assert_string_equal(f->options.store.kind, "etcd3");
	assert_int_equal(PARSE(f, "--store=etcd2"), 0);
	assert_string_equal(f->options.store.kind, "etcd2");
	assert_int_equal(PARSE(f, "--remote=a:1,https://b:2"), 0);
	assert_int_equal(f->options.action, OPTIONS_RUN);
	assert_string_equal(f->options.store.kind, "controller");
	assert_string_equal(f->options.store.endpoints[0], "http://a:1");
	assert_string_equal(f->options.store.endpoints[1], "https://b:2");
}

static void test_consul(void **state)
{
	struct fixture *f = *state;
	const struct store_config *store = &f->options.store;

	assert_int_equal(PARSE(f, "--store=consul"), 0);
	assert_string_equal(store->kind, "consul");
	assert_string_equal(store->endpoints[0], "http://127.0.0.1:8500");
	assert_null(store->endpoints[1]);
	assert_null(store->token);
	assert_int_equal(PARSE(f, "--store=consul", "--consul-endpoints=a:1,http://b:2/",
			       "--consul-cafile=/ca", "--consul-token=s"),
			 0);
	assert_string_equal(store->endpoints[0], "https://a:1");
	assert_string_equal(store->endpoints[1], "http://b:2");
	assert_string_equal(store->ca_file, "/ca");
	assert_string_equal(store->token, "s");
	assert_int_equal(PARSE(f, "--listen=127.0.0.1:1", "--store=consul"), 0);
	assert_string_equal(store->kind, "consul");
}

// What Consul's own program takes from the environment counts where no flag of ours was given, and for Consul alone.
static void test_consul_environment(void **state)
{
	struct fixture *f = *state;
	const struct store_config *store = &f->options.store;

	assert_int_equal(PARSE_ENVIRONMENT(f, "WEFT_STORE=consul", "CONSUL_HTTP_ADDR=c:1",
					   "CONSUL_HTTP_SSL=true", "CONSUL_HTTP_TOKEN=t",
					   "CONSUL_HTTP_TOKEN_FILE=/none", "CONSUL_CACERT=/ca",
					   "CONSUL_CLIENT_CERT=/cert", "CONSUL_CLIENT_KEY=/key"),
			 0);
	assert_string_equal(store->endpoints[0], "https://c:1");
	assert_string_equal(store->token, "t");
	assert_string_equal(store->ca_file, "/ca");
	assert_string_equal(store->cert_file, "/cert");
	assert_string_equal(store->key_file, "/key");
	assert_int_equal(PARSE_ENVIRONMENT(f, "WEFT_STORE=consul", "WEFT_CONSUL_TOKEN=mine",
					   "WEFT_CONSUL_ENDPOINTS=d:2", "CONSUL_HTTP_ADDR=c:1",
					   "CONSUL_HTTP_TOKEN_FILE=/none"),
			 0);
	assert_string_equal(store->endpoints[0], "http://d:2");
	assert_string_equal(store->token, "mine");
	assert_int_equal(PARSE_ENVIRONMENT(f, "CONSUL_HTTP_ADDR=c:1", "CONSUL_HTTP_TOKEN=t"), 0);
	assert_string_equal(store->kind, "etcd3");
	assert_null(store->token);
}

static void test_refused_environment(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(PARSE_ENVIRONMENT(f, "FLANNELD_NO_SUCH=1"), -EINVAL);
	assert_string_equal(f->e.msg, "variable FLANNELD_NO_SUCH names no flag; unset it");
	assert_int_equal(PARSE_ENVIRONMENT(f, "FLANNELD_IP_MASQ=perhaps"), -EINVAL);
	assert_string_equal(f->e.msg,
			    "FLANNELD_IP_MASQ: \"perhaps\" is not a truth value (true or false)");
}

static void test_actions(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(PARSE(f, "--help", "--bogus"), 0);
	assert_int_equal(f->options.action, OPTIONS_HELP);
	assert_int_equal(PARSE(f, "--version"), 0);
	assert_int_equal(f->options.action, OPTIONS_VERSION);
	assert_int_equal(PARSE(f, "--check-config=-"), 0);
	assert_int_equal(f->options.action, OPTIONS_CHECK_CONFIG);
	assert_string_equal(f->options.check_config, "-");
	assert_int_equal(PARSE(f, "--version=false"), 0);
	assert_int_equal(f->options.action, OPTIONS_RUN);
}

static void test_help_names_all(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(65536);
	static const char *const wanted[] = {
		"Usage: weftd",	    "--etcd-endpoints=URL,...",		  "--iface-regex",
		"--peer-hold=TIME", "[default: /run/flannel/subnet.env]", "--kube-subnet-mgr",
		"-h, --help"
	};

	(void)state;
	options_help(&out);
	assert_false(out.overflow);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		check(strstr(out.data, wanted[i]) != NULL, "no %s in help", wanted[i]);
	assert_null(strstr(out.data, "lease-ttl"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_defaults_are_flannels),
		TEST(test_every_flag_of_flannel),
		TEST(test_our_flags),
		TEST(test_feature_names),
		TEST(test_endpoint_forms),
		TEST(test_controller_access),
		TEST(test_networks),
		TEST(test_environment),
		TEST(test_command_line_before_environment),
		TEST(test_refusals),
		TEST(test_consul),
		TEST(test_consul_environment),
		TEST(test_refused_environment),
		TEST(test_listen),
		TEST(test_actions),
		TEST(test_help_names_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
