// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: telling one build of weft-udp from another, so that an upgraded one replaces the one that runs.
#pragma once

#include "udp/control.h"

// Of this process.
void build_id(char ret[static CONTROL_TEXT_MAX + 1]);
// Of the program of this file, as it would tell itself: version, device and number of the file. -errno: it cannot be looked at.
int build_id_of(const char *path, char ret[static CONTROL_TEXT_MAX + 1]);
