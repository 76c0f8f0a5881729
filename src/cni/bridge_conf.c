// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bridge plugin's options, and which command is whose.
#include "cni/bridge_internal.h"

#include "cni/ipam.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>

#define MTU_MAX 65535

// What another plugin than ours has to do.
static const char *what_is_missing(const struct conf *conf)
{
	const struct doc_value *trunk = doc_get_kind(conf->root, "vlanTrunk", DOC_ARRAY);
	uint64_t vlan = 0;

	if (doc_get_u64(conf->root, "vlan", 4094, &vlan) == -EINVAL || vlan > 0)
		return "vlan";
	if (trunk && trunk->first)
		return "vlanTrunk";
	if (doc_get_bool(conf->root, "macspoofchk", false))
		return "macspoofchk (antispoof does more)";
	return NULL;
}

bool bridge_serves(const struct conf *conf)
{
	return !what_is_missing(conf);
}

int bridge_conf_read(struct bridge_conf *ret, const struct conf *conf, struct fault *fault)
{
	const struct doc_value *root = conf->root;
	const char *name = doc_get_text(root, "bridge");
	const char *missing = what_is_missing(conf);
	uint64_t mtu = 0;

	*ret = (struct bridge_conf){
		.bridge = name && *name ? name : "cni0",
		.default_gateway = doc_get_bool(root, "isDefaultGateway", false),
		.force_address = doc_get_bool(root, "forceAddress", false),
		.masquerade = doc_get_bool(root, "ipMasq", false),
		.hairpin = doc_get_bool(root, "hairpinMode", false),
		.promiscuous = doc_get_bool(root, "promiscMode", false),
		.antispoof = doc_get_bool(root, "antispoof", false),
		.isolated = doc_get_bool(root, "portIsolation", false),
		.dad = doc_get_bool(root, "enabledad", false),
		.no_interface = doc_get_bool(root, "disableContainerInterface", false),
	};
	ret->gateway = ret->default_gateway || doc_get_bool(root, "isGateway", false);
	if (missing)
		return fault_set(fault, FAULT_FIELD,
				 "%s: not supported; use the plugin bridge for it", missing);
	if (!call_ifname_valid(ret->bridge))
		return fault_set(fault, FAULT_CONFIG, "no name for a bridge: %s", ret->bridge);
	if (doc_get_u64(root, "mtu", MTU_MAX, &mtu) == -EINVAL)
		return fault_set(fault, FAULT_CONFIG, "mtu is no number of 0 to %d", MTU_MAX);
	ret->mtu_bytes = (uint32_t)mtu;
	if (ret->antispoof && ret->no_interface)
		return fault_set(fault, FAULT_CONFIG,
				 "antispoof needs disableContainerInterface to be off");
	if (ret->hairpin && ret->promiscuous)
		return fault_set(fault, FAULT_INTERNAL,
				 "cannot set hairpin mode and promiscuous mode at the same time.");
	if (ret->no_interface && ipam_wanted(conf))
		return fault_set(fault, FAULT_INTERNAL,
				 "cannot use IPAM when DisableContainerInterface flag is set");
	return 0;
}

int bridge_run(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	switch (call->command) {
	case COMMAND_ADD:
		return bridge_add(call, conf, out, fault);
	case COMMAND_DEL:
		return detach(call, conf, fault);
	case COMMAND_CHECK:
		return bridge_check(call, conf, fault);
	case COMMAND_STATUS:
		return ipam_status(call, conf, fault);
	case COMMAND_GC:
		return ipam_gc(call, conf, fault);
	case COMMAND_VERSION:
	case COMMAND_COUNT:
		break;
	}
	return 0;
}
