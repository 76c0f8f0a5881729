// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: network devices as the plugins need them: their messages, and what the kernel says of them.
#pragma once

#include "cni/rtnl.h"

#include <net/if.h>

struct device {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	char kind[16];
	struct mac mac;
	uint32_t mtu_bytes, flags, master_ifindex;
	uint32_t peer_ifindex; // IFLA_LINK: of a veth, its other end in the other namespace
	uint8_t operstate;     // IF_OPER_*
};

int device_decode(const struct nlmsg_view *view,
		  struct device *ret); // -ENOMSG: about something else; -EBADMSG

// Look-ups for a batch: by name, or by index when name is NULL.
unsigned int device_put_get(struct rtnl_batch *batch, const char *name, uint32_t ifindex);
// Changes flags: those in mask to what they are in flags.
unsigned int device_put_flags(struct rtnl_batch *batch, const char *name, uint32_t ifindex,
			      uint32_t flags, uint32_t mask);
unsigned int device_put_mac(struct rtnl_batch *batch, uint32_t ifindex, const struct mac *mac);
unsigned int device_put_delete(struct rtnl_batch *batch, const char *name, uint32_t ifindex);
// Begins a link message, to which attributes can be added.
struct nlmsg *device_begin(struct rtnl_batch *batch, uint16_t type, uint16_t flags,
			   const char *name, uint32_t ifindex, uint32_t device_flags, uint32_t mask);

// The answers of a batch that are devices: devices[i] is for look-up number i of it, found[i] whether there was one.
#define DEVICE_ANSWERS_MAX 4
struct device_answers {
	unsigned int index[DEVICE_ANSWERS_MAX]; // messages of the batch, filled by the caller
	unsigned int count;
	bool found[DEVICE_ANSWERS_MAX];
	struct device devices[DEVICE_ANSWERS_MAX];
};
int device_answer(void *arg, unsigned int index,
		  const struct nlmsg_view *view); // rtnl_answer_fn; arg: struct device_answers

// -ENODEV: there is none (fault is not set); -EIO.
int device_find(struct rtnl *rtnl, const char *name, uint32_t ifindex, struct device *ret,
		struct fault *fault);
// One that is not there is fine.
int device_delete(struct rtnl *rtnl, const char *name, uint32_t ifindex, struct fault *fault);
// Writes a sysctl of a device in the current namespace; what the kernel does not have is fine.
void device_sysctl(const char *family, const char *device, const char *name, const char *value);
