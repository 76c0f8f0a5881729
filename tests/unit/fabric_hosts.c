// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: hosts of one network in one loop, over one store in memory.
#include "fabric_hosts.h"

#include "core/log.h"
#include "core/mem.h"
#include "loop_end.h"

#include <stdio.h>
#include <string.h>

struct loop *loop;
struct kv *first_kv;
static bool in_call;

// ---- hooks ----

static void on_config(void *arg, const struct netconf *conf, const char *text)
{
	struct host *host = arg;
	(void)conf;
	(void)text;
	assert_false(in_call);
	host->configs++;
	if (host->config_after_hook)
		put("config", TAKE_PTR(host->config_after_hook));
	if (host->joins)
		host_join(host);
}

static void on_config_error(void *arg, const struct err *e)
{
	struct host *host = arg;
	assert_false(in_call);
	host->config_errors++;
	host->config_error = *e;
}

static void on_lease(void *arg, enum fabric_lease_state state, const struct lease *lease,
		     const struct err *why)
{
	struct host *host = arg;
	assert_false(in_call);
	(void)state;
	(void)lease;
	(void)why;
	host->leases++;
}

static void on_peer(void *arg, const struct lease *old, const struct lease *now)
{
	struct host *host = arg;
	assert_false(in_call);
	if (host->is_partial)
		host->early++;
	else if (!old)
		host->added++;
	else if (!now)
		host->removed++;
	else
		host->changed++;
}

static void on_reset(void *arg, bool is_partial)
{
	struct host *host = arg;
	assert_false(in_call);
	host->is_partial = is_partial;
	if (is_partial)
		host->partial_resets++;
	else
		host->resets++;
}

static void on_store(void *arg, bool up, const struct err *why)
{
	(void)why;
	((struct host *)arg)->store_up = up;
}

const struct fabric_hooks host_hooks = { on_config, on_config_error, on_lease,
					 on_peer,   on_reset,	     on_store };

// ---- hosts ----

struct lease_attrs attrs_of(unsigned int number)
{
	struct lease_attrs attrs = { .public_ip = ip_v4(0xc0a80000 + number), .backend_type = "vxlan" };
	attrs.backend_data = xasprintf("{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:%02x:%02x\"}",
				       number >> 8, number & 0xff);
	return attrs;
}

struct host *host_new(unsigned int number, const struct fabric_config *config)
{
	return host_of(memory_share(first_kv), number, config);
}

struct host *host_of(struct kv *kv, unsigned int number, const struct fabric_config *config)
{
	static const struct fabric_config standard = { .peer_hold_ms = HOLD_MS, .retry_max_ms = 300 };
	struct host *host = xnew(struct host);
	struct err e;
	host->kv = kv;
	assert_int_equal(registry_new(host->kv, PREFIX, &host->registry, &e), 0);
	host->attrs = attrs_of(number);
	host->joins = true;
	host->fabric = fabric_new(loop, host->registry, config ? config : &standard, &host_hooks, host);
	return host;
}

struct host *host_start(unsigned int number, const struct fabric_config *config)
{
	struct host *host = host_new(number, config);
	fabric_start(host->fabric);
	return host;
}

void host_join(struct host *host)
{
	bool outer = in_call;

	in_call = true;
	fabric_join(host->fabric, &host->attrs);
	in_call = outer;
}

void host_free(struct host *host)
{
	fabric_free(host->fabric);
	registry_free(host->registry);
	kv_close(host->kv);
	lease_attrs_free(&host->attrs);
	free(host);
}

enum fabric_lease_state state_of(const struct host *host)
{
	return fabric_lease_state(host->fabric, NULL);
}

const char *why_of(const struct host *host)
{
	const struct err *why;
	(void)fabric_lease_state(host->fabric, &why);
	return why->msg;
}

void run_for(uint64_t ms)
{
	for (uint64_t end = loop_now_ms() + ms; loop_now_ms() < end;)
		loop_turn(loop, 10);
}

void put(const char *key, const char *value)
{
	char path[256];
	snprintf(path, sizeof(path), PREFIX "/%.200s", key);
	memory_put(first_kv, path, value, strlen(value), 0);
}

bool value_at(const char *key, char ret[static 512])
{
	char path[256];
	struct kv_pair pair;

	snprintf(path, sizeof(path), PREFIX "/%.200s", key);
	if (!memory_get(first_kv, path, &pair))
		return false;
	snprintf(ret, 512, "%.*s", (int)pair.value_len, (const char *)pair.value);
	return true;
}

void put_peer(const char *key, const char *ip, const char *mac)
{
	char path[256], value[256];
	snprintf(path, sizeof(path), "subnets/%.200s", key);
	snprintf(value, sizeof(value),
		 "{\"PublicIP\":\"%s\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"%s\"}}",
		 ip, mac);
	put(path, value);
}

void key_of(const struct host *host, char ret[static 256])
{
	char key[LEASE_KEY_MAX];
	subnet_format_key(&fabric_lease(host->fabric)->subnet, key);
	snprintf(ret, 256, PREFIX "/subnets/%s", key);
}

struct subnet subnet_of(const char *key)
{
	struct subnet subnet;
	assert_int_equal(subnet_parse_key(key, strlen(key), &subnet, NULL), 0);
	return subnet;
}

bool peer_is_good(const struct host *host, const char *key)
{
	struct subnet subnet = subnet_of(key);
	return lease_set_find(fabric_peers(host->fabric), &subnet) != NULL;
}

static void match_odd(void *arg, enum fabric_peer_state state, const char *key,
		      const struct lease *lease, const char *why)
{
	struct odd_search *search = arg;
	(void)lease;
	if (strcmp(key, search->key) != 0)
		return;
	search->found = true;
	search->state = state;
	snprintf(search->why, sizeof(search->why), "%s", why);
}

struct odd_search find_odd(const struct host *host, const char *key)
{
	struct odd_search search = { .key = key };
	fabric_odd_each(host->fabric, match_odd, &search);
	return search;
}

int hosts_setup(void **state)
{
	struct store_config config = { .kind = "memory" };
	struct err e;
	(void)state;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	loop = loop_new();
	return kv_open(loop, &config, &first_kv, &e);
}

int hosts_teardown(void **state)
{
	(void)state;
	first_kv = kv_close(first_kv);
	loop = loop_end(loop);
	return 0;
}
