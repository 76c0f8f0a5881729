// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from the bytes of rtnetlink messages to our objects. Every length is checked: what comes in may be anything.
#pragma once

#include "kernel/nlmsg.h"
#include "kernel/object.h"

#include <stdbool.h>

struct decoded {
	bool removed; // RTM_DEL*
	struct kernel_object object;
};

// 0; -ENOMSG: a fine message about something that we have no object for (another family, a proxy neighbour, a bridge's
// own entry, a cached route); -EBADMSG: malformed. ret is written only on 0.
int decode_object(const struct nlmsg_view *msg, struct decoded *ret);

// The same for one kind. decode_route takes cached routes too, which is what a look-up answers.
int decode_link(const struct nlmsg_view *msg, struct link *ret);
int decode_route(const struct nlmsg_view *msg, struct route *ret);
