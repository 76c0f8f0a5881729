// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the interface plugin weft: which of its modes attaches a container.
#include "cni/weft.h"

#include "cni/bridge.h"
#include "cni/ptp.h"
#include "core/mem.h"
#include "core/text.h"

typedef int mode_fn(const struct call *call, const struct conf *conf, struct strbuf *out,
		    struct fault *fault);

static const struct {
	const char *name;
	mode_fn *run;
} modes[] = {
	{ "bridge", bridge_run },
	{ "ptp", ptp_run },
};

int weft_run(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	const char *mode = doc_get_text(conf->root, "mode");

	if (!mode || !*mode)
		mode = modes[0].name;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (text_equal(modes[i].name, mode))
			return modes[i].run(call, conf, out, fault);
	return fault_set(fault, FAULT_CONFIG,
			 "unknown mode \"%s\": there are \"bridge\" and \"ptp\"", mode);
}
