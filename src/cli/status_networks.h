// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how the networks of an agent that is in several look to people.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

// A table of "networks" of the agent's status.
void status_networks_print(const json_t *status);
// What an operator is to look at in one of them, which may be ready in spite of it; false: nothing. ret: one line, with its name.
bool status_networks_trouble(const json_t *network, char *ret, size_t size);
