// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of stores against servers that answer nonsense: the loop, the servers, and a store over them.
#pragma once

#include "fake_http.h"
#include "kv_client.h"

// Made for each test, and freed after it: the servers, too, of a test that failed.
extern struct loop *loop;
extern struct fake_http *fakes[2];
#define FAKE_STORE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, fake_store_setup, fake_store_teardown)
int fake_store_setup(void **state);
int fake_store_teardown(void **state);

// Over one or two servers, that are started for it; second NULL: one. Endpoints are filled in.
struct kv *fake_store_open(struct store_config config, const struct fake_answer *first,
			   const struct fake_answer *second);
void fake_store_close(struct kv *kv); // with its servers
