// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the reader of what iptables-save prints: what is to be restored names only our chains, and deletes only what leads to them.
#include "fuzz.h"

#include "core/mem.h"
#include "masq/iptables_text.h"

// Not inline: gcc's sanitizer build would take a line behind another for one that may be NULL.
__attribute__((noinline)) static void check_line(const char *line, size_t len)
{
	static const char *const heads[] = { "*nat",
					     "*filter",
					     ":FLANNEL-",
					     "-A FLANNEL-",
					     "-X FLANNEL-",
					     "COMMIT",
					     "-A FORWARD -m comment --comment ",
					     "-A POSTROUTING -m comment --comment " };
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		if (strncmp(line, heads[i], strlen(heads[i])) == 0)
			return;
	must(len > 15 && strncmp(line, "-D ", 3) == 0);
	must(memmem(line, len, " -j FLANNEL-", 12));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	_cleanup_(iptables_have_free) struct iptables_have have = { 0 };
	struct iptables_reader *reader = iptables_reader_new();
	struct masq_rules none = { 0 };
	size_t half = size / 2;

	iptables_reader_feed(reader, text, half);
	iptables_reader_feed(reader, text + half, size - half);
	iptables_reader_end(reader, &have);
	_cleanup_free_ char *restored = iptables_restore_text(&have, &none, 3);
	for (const char *line = restored; *line; line += strcspn(line, "\n") + 1)
		check_line(line, strcspn(line, "\n"));
	return 0;
}
