// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the reader of subnet.env for Docker: what is written is lines of variables that a shell takes for text.
#include "fuzz.h"

#include "cli/docker_text.h"
#include "core/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char before[] = "DOCKER_OPTS=-D", *const environment[] = { before, NULL };
	_cleanup_free_ char *text = text_of(data, size);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(65536);
	struct docker_text_options options = { true, true, false, "DOCKER_OPTS" };
	struct ip bridge;
	struct ipnet subnet;

	if (docker_text(text, environment, &options, &out, &bridge, &subnet, NULL) < 0)
		return 0;
	for (const char *line = strbuf_text(&out); *line; line += strcspn(line, "\n") + 1) {
		size_t len = strcspn(line, "\n"), name = strcspn(line, "=");

		must(strncmp(line, "DOCKER_OPT", 10) == 0 && name < len);
		must(line[name + 1] == '"' && line[len - 1] == '"' && len > name + 2);
		must(name + 2 + strcspn(line + name + 2, "\"`$\\\n") == len - 1);
	}
	return 0;
}
