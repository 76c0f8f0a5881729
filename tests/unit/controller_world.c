// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: for tests of controllers with tokens: two of them over one store in memory, an admin and two agents.
#include "controller_world.h"

#include "core/mem.h"
#include "loop_end.h"
#include "store/memory.h"
#include "unit.h"

#include <string.h>

struct loop *loop;
struct kv *store, *direct;
struct controller *first, *second;
struct kv *admin, *alice, *bob;

struct controller *serve(unsigned int rate)
{
	const struct controller_config config = {
		.prefix = "/weft",
		.token = ADMIN,
		.rate = rate,
		.http = { .address = ip_v4(0x7f000001) },
	};
	struct controller *made;
	struct err e = { 0 };

	check(controller_new(store, &config, &made, &e) == 0, "%s", e.msg);
	return made;
}

struct kv *client(const struct controller *controller, const char *token, const char *identity)
{
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%u", controller_port(controller));
	const char *const endpoints[] = { url, NULL };
	const struct store_config config = {
		.kind = "controller", .endpoints = endpoints, .token = token, .identity = identity
	};
	struct kv *opened;

	assert_int_equal(kv_open(loop, &config, &opened, NULL), 0);
	return opened;
}

struct kv *agent(const struct controller *controller, const char *identity)
{
	char token[JOIN_TOKEN_MAX];

	join_token_of(ADMIN, token);
	return client(controller, token, identity);
}

void wait_read(struct kv *of)
{
	struct kv_answer answer;

	do_range(of, "/weft/", true, &answer);
	check(answer.r == 0, "%s", answer.err.msg);
	kv_answer_free(&answer);
}

int world_setup(void **state)
{
	(void)state;
	loop = loop_new();
	assert_int_equal(kv_open(loop, &(struct store_config){ .kind = "memory" }, &store, NULL), 0);
	direct = memory_share(store);
	must_put(direct, "/weft/config", "{}");
	first = serve(RATE);
	second = serve(RATE);
	admin = client(first, ADMIN, NULL);
	alice = agent(first, ALICE);
	bob = agent(first, BOB);
	wait_read(admin);
	return 0;
}

int world_teardown(void **state)
{
	(void)state;
	alice = kv_close(alice);
	bob = kv_close(bob);
	admin = kv_close(admin);
	first = controller_free(first);
	second = controller_free(second);
	store = kv_close(store);
	direct = kv_close(direct);
	loop = loop_end(loop);
	return 0;
}

void connect_to(const struct controller *controller, struct raw_http *ret)
{
	struct ip address = ip_v4(0x7f000001);

	raw_http_open_tcp(ret, loop, &address, controller_port(controller));
}

void send_to(struct raw_http *peer, const char *token, const char *identity, const char *path,
	     const char *body)
{
	_cleanup_free_ char *request = xasprintf(
		"POST %s HTTP/1.1\r\nHost: weft\r\nConnection: close\r\nAuthorization: Bearer %s\r\n"
		"Weft-Identity: %s\r\nContent-Length: %zu\r\n\r\n%s",
		path, token, identity, strlen(body), body);

	raw_http_send(peer, request);
}

char *post(const char *token, const char *identity, const char *path, const char *body)
{
	struct raw_http peer;
	char *answer;

	connect_to(first, &peer);
	send_to(&peer, token, identity, path, body);
	check(raw_http_expect_end(&peer), "%s: no end", path);
	answer = xstrdup(strbuf_text(&peer.got));
	raw_http_close(&peer);
	return answer;
}
