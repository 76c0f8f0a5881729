// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how the agent's firewall rules look to people.
#include "cli/status_firewall.h"

#include "cli/show.h"
#include "core/strbuf.h"
#include "core/text.h"

void status_firewall_text(const json_t *status, char *ret, size_t size)
{
	const json_t *firewall = show_member(status, "firewall");
	bool masquerades = show_flag(firewall, "masquerades");
	bool accepts = show_flag(firewall, "accepts_forwarded");
	long long repairs = (long long)show_number(firewall, "repairs");
	char repaired[48] = "";

	if (!masquerades && !accepts) {
		(void)text_copy(ret, size, "no rules");
		return;
	}
	if (repairs > 0)
		(void)text_format(repaired, sizeof(repaired), ", repaired %lld times", repairs);
	(void)text_format(ret, size, "%s, %lld rules: %s%s%s%s", show_text(firewall, "way"),
			  (long long)show_number(firewall, "rules"),
			  masquerades ? "masquerades what leaves the network" : "",
			  masquerades && accepts ? ", " : "",
			  accepts ? "accepts what is forwarded" : "", repaired);
}

bool status_firewall_trouble(const json_t *status, char *ret, size_t size)
{
	const json_t *firewall = show_member(status, "firewall");
	const char *text = show_text(firewall, "error");

	if (!*text)
		text = show_text(firewall, "warning");
	if (show_number(firewall, "held_s") > 0)
		text = "another program keeps undoing our rules; find it, weft waits before it repairs again";
	(void)text_copy(ret, size, text);
	text_sanitize(ret);
	return *text;
}
