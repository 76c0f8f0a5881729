// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an HTTP client for tests.
#include "raw_http.h"

#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define GOT_MAX (64 * 1024 * 1024)

static void start(struct raw_http *peer, struct loop *loop, int family)
{
	*peer = (struct raw_http){ .loop = loop, .got = STRBUF_INIT(GOT_MAX) };
	peer->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(peer->fd >= 0);
}

void raw_http_open_unix(struct raw_http *peer, struct loop *loop, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	start(peer, loop, AF_UNIX);
	assert_int_equal(text_copy(address.sun_path, sizeof(address.sun_path), path), 0);
	assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void raw_http_open_tcp(struct raw_http *peer, struct loop *loop, const struct ip *ip, uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	start(peer, loop, AF_INET);
	memcpy(&address.sin_addr, ip->bytes, sizeof(address.sin_addr));
	assert_int_equal(connect(peer->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void raw_http_close(struct raw_http *peer)
{
	close(peer->fd);
	strbuf_free(&peer->got);
}

void raw_http_send(struct raw_http *peer, const char *text)
{
	size_t len = strlen(text);

	while (len > 0) {
		ssize_t n = send(peer->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			return; // the server closed: the reader sees it
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
		loop_turn(peer->loop, 0);
	}
}

static void receive(struct raw_http *peer)
{
	char buf[65536];
	ssize_t n;

	while ((n = recv(peer->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		assert_int_equal(strbuf_add(&peer->got, buf, (size_t)n), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		peer->ended = true;
}

static bool has(const struct raw_http *peer, const char *text)
{
	return peer->got.len > 0 && memmem(peer->got.data, peer->got.len, text, strlen(text));
}

bool raw_http_expect(struct raw_http *peer, const char *text)
{
	uint64_t end = loop_now_ms() + PATIENCE_MS;

	do {
		loop_turn(peer->loop, 5);
		receive(peer);
	} while (!has(peer, text) && !peer->ended && loop_now_ms() < end);
	return has(peer, text);
}

bool raw_http_expect_end(struct raw_http *peer)
{
	uint64_t end = loop_now_ms() + PATIENCE_MS;

	do {
		loop_turn(peer->loop, 5);
		receive(peer);
	} while (!peer->ended && loop_now_ms() < end);
	return peer->ended;
}

const char *raw_http_get(struct raw_http *peer, const char *path)
{
	strbuf_reset(&peer->got);
	raw_http_send(peer, "GET ");
	raw_http_send(peer, path);
	raw_http_send(peer, " HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n\r\n");
	assert_true(raw_http_expect_end(peer));
	return strbuf_text(&peer->got);
}

unsigned int raw_http_count(const struct raw_http *peer, const char *text)
{
	unsigned int count = 0;

	for (const char *at = strbuf_text(&peer->got); (at = strstr(at, text)); at++)
		count++;
	return count;
}
