// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: how the agent's firewall rules look to people.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

// One line of the agent's status, without its end.
void status_firewall_text(const json_t *status, char *ret, size_t size);
// What an operator is to look at, whether the agent is ready or not; false: nothing.
bool status_firewall_trouble(const json_t *status, char *ret, size_t size);
