// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing core/netconf.
#include "fuzz.h"

#include "core/json.h"
#include "core/netconf.h"

static void check_family(const struct netconf_family *family, int address_family)
{
	struct ipnet first = ipnet_of(&family->subnet_min, family->subnet_len);
	struct ipnet last = ipnet_of(&family->subnet_max, family->subnet_len);

	if (!family->enabled) {
		must(netconf_family_subnets(family) == 0);
		return;
	}
	must(family->network.addr.family == address_family);
	must(family->subnet_len >= family->network.len + 2);
	must(netconf_family_fits(family, &first) && netconf_family_fits(family, &last));
	must(ipnet_contains_net(&family->network, &first));
	must(ipnet_contains_net(&family->network, &last));
	must(ip_equal(&first.addr, &family->subnet_min) && ip_equal(&last.addr, &family->subnet_max));
	must(netconf_family_subnets(family) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_netconf_ struct netconf conf = { 0 }, copy = { 0 };
	_cleanup_json_ json_t *backend = NULL;
	struct err e = { 0 };
	int r;

	r = netconf_parse((const char *)data, size, &conf, &e);
	must(r <= 0 && (r < 0) == (e.msg[0] != '\0') && e.code == r);
	if (r < 0) {
		must(!conf.backend);
		return 0;
	}
	must(conf.v4.enabled || conf.v6.enabled);
	check_family(&conf.v4, AF_INET);
	check_family(&conf.v6, AF_INET6);
	must(conf.backend_type[0] != '\0');
	must(json_read(conf.backend, strlen(conf.backend), JSON_TEXT_MAX, &backend, NULL) == 0);
	must(json_is_object(backend));
	netconf_copy(&conf, &copy);
	must(strcmp(conf.backend, copy.backend) == 0);
	return 0;
}
