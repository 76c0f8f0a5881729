// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a store over servers that answer nonsense.
#include "fake_store.h"

#include "core/mem.h"
#include "loop_end.h"

struct loop *loop;
struct fake_http *fakes[2];

int fake_store_setup(void **state)
{
	(void)state;
	loop = loop_new();
	return 0;
}

static void stop_servers(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(fakes); i++)
		fakes[i] = fake_http_free(fakes[i]);
}

int fake_store_teardown(void **state)
{
	(void)state;
	stop_servers();
	loop = loop_end(loop);
	return 0;
}

struct kv *fake_store_open(struct store_config config, const struct fake_answer *first,
			   const struct fake_answer *second)
{
	const char *urls[ARRAY_SIZE(fakes) + 1] = { NULL };
	struct kv *kv;
	struct err e;

	fakes[0] = fake_http_start(first);
	urls[0] = fake_http_url(fakes[0]);
	if (second) {
		fakes[1] = fake_http_start(second);
		urls[1] = fake_http_url(fakes[1]);
	}
	config.endpoints = urls;
	check(kv_open(loop, &config, &kv, &e) == 0, "%s", e.msg);
	return kv;
}

void fake_store_close(struct kv *kv)
{
	kv_close(kv);
	stop_servers();
}
