// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: sending a worker's ICMP errors, not more than so many a second.
#pragma once

#include "udp/icmp.h"
#include "udp/worker.h"

void worker_icmp(struct worker *worker, enum icmp_error error, const struct packet *about);
