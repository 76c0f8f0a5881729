// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the time that a plugin may take. One for the process, as it has one call and one alarm clock.
#pragma once

#include <stdbool.h>

#define DEADLINE_DEFAULT_S 10
#define DEADLINE_MAX_S 600

// From now on blocking calls (flock, poll, wait) that last beyond the end of the work fail with EINTR. Of the whole time
// the last fifth is kept back: for taking back what was begun, see deadline_extend.
void deadline_start(unsigned int seconds);
// The work has failed or is done: the rest of the time may be used too.
void deadline_extend(void);
int deadline_left_ms(void); // 0: it is over; fit for poll
bool deadline_passed(void);
