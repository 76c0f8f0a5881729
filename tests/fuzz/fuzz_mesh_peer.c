// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing what another agent says that it measured of a peer.
#include "fuzz.h"

#include "cli/mesh_read.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mesh_peer peer, again;
	char *text;

	if (mesh_peer_read((const char *)data, size, &peer, NULL) < 0)
		return 0;
	json_t *json = mesh_peer_json(&peer);

	must(json != NULL);
	text = json_dumps(json, JSON_COMPACT);
	must(text != NULL);
	must(mesh_peer_read(text, strlen(text), &again, NULL) == 0);
	must(mesh_peer_badness(&peer) == mesh_peer_badness(&again));
	must(mesh_peer_state(&peer) == mesh_peer_state(&again));
	free(text);
	json_decref(json);
	return 0;
}
