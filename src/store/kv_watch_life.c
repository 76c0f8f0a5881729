// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the ups and downs of watches over HTTP.
#include "store/kv_watch_life.h"

#include "core/log.h"

#include <errno.h>

void watch_life_begin(struct watch_life *life, struct kv_watch *watch, watch_stop_fn *stop,
		      timer_fn *due, void *arg)
{
	*life = (struct watch_life){
		.stop = stop,
		.arg = arg,
		.watch = watch,
		.timer = timer_new(watch->kv->loop, due, arg),
		.backoff = { .base_ms = 100, .max_ms = 5000 },
	};
}

void watch_life_end(struct watch_life *life)
{
	life->stop(life->arg);
	life->timer = timer_free(life->timer);
}

bool watch_life_up(struct watch_life *life, const struct kv_header *header)
{
	life->up_since_ms = loop_now_ms();
	return kv_watch_up(life->watch, header);
}

static uint64_t next_try_ms(struct watch_life *life)
{
	uint64_t backoff_ms = backoff_next_ms(&life->backoff);
	uint64_t asked_ms = life->retry_ms + random_below(life->retry_ms / 2 + 1);

	life->retry_ms = 0;
	return backoff_ms > asked_ms ? backoff_ms : asked_ms;
}

void watch_life_down(struct watch_life *life, const struct err *e)
{
	if (life->watch->up && loop_now_ms() - life->up_since_ms > life->backoff.max_ms)
		backoff_reset(&life->backoff);
	life->stop(life->arg);
	timer_start(life->timer, next_try_ms(life));
	log_debug("%s: watch broke: %s", life->watch->kv->ops->kind, err_msg(e));
	kv_watch_down(life->watch, e);
}

void watch_life_fail(struct watch_life *life, size_t endpoint, const struct err *e)
{
	struct endpoint_set *set = &((struct kv_http *)life->watch->kv)->endpoints;
	struct err told = *e;

	(void)err_wrap(&told, "%s", set->items[endpoint].url);
	endpoint_set_failed(set, endpoint);
	watch_life_down(life, &told);
}

void watch_life_lose(struct watch_life *life, bool store_changed, const char *why)
{
	struct err e;

	err_set(&e, -ESTALE, "%s", why);
	life->stop(life->arg);
	timer_stop(life->timer);
	kv_watch_lose(life->watch, store_changed, &e);
}
