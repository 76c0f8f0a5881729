// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a runtime asks for: the command, its environment, and the configuration on standard input.
#pragma once

#include "cni/doc.h"
#include "cni/fault.h"
#include "cni/version.h"

enum command {
	COMMAND_ADD,
	COMMAND_DEL,
	COMMAND_CHECK,
	COMMAND_GC,
	COMMAND_STATUS,
	COMMAND_VERSION,
	COMMAND_COUNT,
};

// The environment, checked. The texts are the environment's own and never NULL.
struct call {
	enum command command;
	const char *container_id;
	const char *netns; // may be empty on DEL
	const char *ifname;
	const char *args;
	const char *path;
	bool any_netns; // the own namespace is fine too (CNI_NETNS_OVERRIDE)
};

// The configuration. Owns its texts; conf_free.
struct conf {
	struct doc doc;
	const struct doc_value *root;
	char *text; // as it came, which is what a delegate gets
	size_t len;
	enum cni_version version;
	const char *name;
	const char *ipam_type; // NULL: none
};

const char *command_name(enum command command);

// Reads the environment in the order of the reference plugins, so that the same mistakes give the same errors.
int call_read(struct call *ret, struct fault *fault);

// Reads text (which is copied) and holds it against the command's rules.
int conf_read(struct conf *ret, const struct call *call, const char *text, size_t len,
	      struct fault *fault);
void conf_free(struct conf *conf);

bool call_ifname_valid(const char *ifname);
bool call_id_valid(const char *id); // a container's id, or a network's name

// GC: the list of attachments that are still valid, by its name in the specification or in the first libraries that had it.
// NULL: there is none, which says nothing about any attachment.
const struct doc_value *attachments_of(const struct conf *conf);
// Whether the list has it; ifname "": any interface of the container.
bool attachments_have(const struct doc_value *list, const char *id, const char *ifname);
