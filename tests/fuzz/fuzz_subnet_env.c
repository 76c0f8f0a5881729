// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the reader of subnet.env: what it takes is written and read again as the same.
#include "fuzz.h"

#include "agent/subnet_env.h"
#include "core/mem.h"

static void check_family(const struct ipnet *net, int family)
{
	must(!ipnet_is_set(net) || net->addr.family == family);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	_cleanup_strbuf_ struct strbuf notices = STRBUF_INIT(4096), out = STRBUF_INIT(4096);
	struct subnet_env env, again;

	subnet_env_parse(text, size, &env, &notices);
	check_family(&env.network.v4, AF_INET);
	check_family(&env.subnet.v4, AF_INET);
	check_family(&env.network.v6, AF_INET6);
	check_family(&env.subnet.v6, AF_INET6);
	// A family is written only as a whole.
	if (!ipnet_is_set(&env.network.v4) || !ipnet_is_set(&env.subnet.v4))
		env.network.v4 = env.subnet.v4 = (struct ipnet){ 0 };
	if (!ipnet_is_set(&env.network.v6) || !ipnet_is_set(&env.subnet.v6))
		env.network.v6 = env.subnet.v6 = (struct ipnet){ 0 };
	subnet_env_format(&env, &out);
	strbuf_free(&notices);
	subnet_env_parse(out.data, out.len, &again, &notices);
	must(notices.len == 0);
	must(subnet_equal(&env.network, &again.network));
	must(env.mtu_bytes == again.mtu_bytes && env.ip_masq == again.ip_masq);
	// The address in the file is the subnet's first, which a subnet of one address does not have.
	if (env.subnet.v4.len < 32 && env.subnet.v6.len < 128)
		must(subnet_equal(&env.subnet, &again.subnet));
	return 0;
}
