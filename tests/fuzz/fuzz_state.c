// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the reader of the state files: what it takes is written and read again as the same.
#include "fuzz.h"

#include "agent/state_text.h"
#include "core/mem.h"

#include <errno.h>

#define PREFIX "/p"

static char *write_again(const struct state *state, size_t *ret_len)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(64 * 1024 * 1024);
	const struct lease *peer;
	size_t position = 0;
	uint64_t lines = 1;

	state_put_header(&out, PREFIX);
	if (state->config_text && state_put_config(&out, state->config_text))
		lines++;
	if (state->has_lease) {
		state_put_lease(&out, &state->lease);
		lines++;
	}
	for (size_t i = 0; i < state->mac_count; i++, lines++)
		state_put_mac(&out, &state->macs[i]);
	for (; (peer = lease_set_next(state->peers, &position)); lines++)
		state_put_peer(&out, peer);
	state_put_end(&out, lines);
	must(!out.overflow);
	*ret_len = out.len;
	return strbuf_take(&out);
}

static void check_equal(const struct state *a, const struct state *b)
{
	const struct lease *peer, *other;
	size_t position = 0;

	must(!a->config_text == !b->config_text);
	must(!a->config_text || strcmp(a->config_text, b->config_text) == 0);
	must(a->has_lease == b->has_lease && a->mac_count == b->mac_count);
	must(lease_set_count(a->peers) == lease_set_count(b->peers));
	while ((peer = lease_set_next(a->peers, &position))) {
		other = lease_set_find(b->peers, &peer->subnet);
		must(other && lease_attrs_equal(&peer->attrs, &other->attrs));
		must(peer->mod_revision == other->mod_revision && peer->session == other->session);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size), *copy = NULL;
	_cleanup_state_ struct state state = { 0 }, again = { 0 };
	struct err e = { 0 };
	size_t len;
	int r;

	r = state_decode(text, size, PREFIX, &state, &e);
	if (r < 0 && r != -ESTALE)
		must(!state.peers && !state.config_text && !state.has_lease && e.msg[0] != '\0');
	if (r < 0)
		return 0;
	copy = write_again(&state, &len);
	must(state_decode(copy, len, PREFIX, &again, &e) == 0);
	check_equal(&state, &again);
	return 0;
}
