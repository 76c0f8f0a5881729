// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what a plugin reads from the agent's socket: the HTTP answer, and an ADD's answer in it.
#include "fuzz.h"

#include "cni/agent_http.h"
#include "cni/ipam_agent.h"
#include "core/mem.h"

static void check_body(const char *body, size_t len)
{
	struct result *result = xnew(struct result);
	struct doc doc = { 0 };
	struct fault fault;
	uint32_t mtu = 0;

	if (doc_parse(&doc, body, len, NULL) == 0 &&
	    ipam_agent_read(doc.root, result, &mtu, &fault) == 0) {
		must(result->ip_count > 0 && result->ip_count <= RESULT_IPS_MAX);
		must(mtu <= UINT16_MAX);
		for (size_t i = 0; i < result->route_count; i++)
			for (size_t j = 0; j < i; j++)
				must(!ipnet_equal(&result->routes[i].dst, &result->routes[j].dst));
	}
	doc_free(&doc);
	free(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	const char *body;
	unsigned int status;
	size_t len;

	if (agent_parse_answer(text, size, &status, &body, &len) == 0) {
		must(status >= 200 && status <= 599);
		must(body >= text && body + len <= text + size);
		check_body(body, len);
	}
	check_body(text, size);
	return 0;
}
