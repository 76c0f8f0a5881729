// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the text of addresses, prefixes and MACs.
#include "fuzz.h"

#include "core/ipnet.h"
#include "core/mac.h"
#include "core/mem.h"

static void check_ip(const char *text)
{
	char shown[IP_STR_MAX];
	struct ip ip, again;

	if (ip_parse(text, &ip) < 0)
		return;
	must(ip.family == AF_INET || ip.family == AF_INET6);
	must(ip_parse(ip_str(&ip, shown), &again) == 0);
	must(ip_equal(&ip, &again) && ip_compare(&ip, &again) == 0);
	again = ip_add(&ip, 1);
	again = ip_add(&again, ~(u128)0);
	must(ip_equal(&ip, &again));
	must(!ip_is_usable_endpoint(&ip) || !ip_is_unspecified(&ip));
}

static void check_net(const char *text)
{
	char shown[IPNET_STR_MAX];
	struct ipnet net, again, next;
	struct ip last;

	if (ipnet_parse(text, &net) < 0)
		return;
	must(net.len <= ip_width_bits(&net.addr));
	must(ipnet_parse(ipnet_str(&net, shown), &again) == 0);
	must(ipnet_equal(&net, &again));
	last = ipnet_last(&net);
	must(ipnet_contains(&net, &net.addr) && ipnet_contains(&net, &last));
	must(ipnet_overlaps(&net, &again) && ipnet_contains_net(&net, &again));
	next = ipnet_next(&net, 1);
	must(net.len == 0 || !ipnet_overlaps(&net, &next));
	must(net.len == 0 || ip_value(&last) - ip_value(&net.addr) == ipnet_size(&net) - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	char shown[MAC_STR_MAX];
	struct mac mac, again;

	check_ip(text);
	check_net(text);
	if (mac_parse(text, &mac) == 0) {
		must(mac_parse(mac_str(&mac, shown), &again) == 0);
		must(mac_equal(&mac, &again));
	}
	return 0;
}
