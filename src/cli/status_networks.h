// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how the networks of an agent that is in several look to people.
#pragma once

#include <jansson.h>

// A table of "networks" of the agent's status.
void status_networks_print(const json_t *status);
