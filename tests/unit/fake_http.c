// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: an HTTP server for tests that says what it was told to.
#include "fake_http.h"

#include "unit.h"

#include "core/mem.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DRIP_MS 20

struct fake_http {
	const struct fake_answer *answers;
	pthread_t thread;
	char *url;
	int listener;
	int ends[2]; // closing the write end ends the thread
	atomic_uint count;
};

// Waits for bytes; false: the server is to end, or the peer closed.
static bool wait_readable(const struct fake_http *fake, int fd)
{
	struct pollfd fds[2] = { { .fd = fake->ends[0], .events = POLLIN },
				 { .fd = fd, .events = POLLIN } };

	return poll(fds, 2, -1) > 0 && fds[0].revents == 0;
}

static const struct fake_answer *find_answer(const struct fake_http *fake, const char *request)
{
	const struct fake_answer *answer;
	const char *path = strchr(request, ' ');

	for (answer = fake->answers; path && answer->path; answer++)
		if (strncmp(path + 1, answer->path, strlen(answer->path)) == 0)
			return answer;
	return NULL;
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

// False: no request came.
static bool read_request(struct fake_http *fake, int fd, char *request, size_t size)
{
	size_t len = 0;

	request[0] = '\0';
	while (!strstr(request, "\r\n\r\n") && len < size - 1 && wait_readable(fake, fd)) {
		ssize_t n = recv(fd, request + len, size - 1 - len, 0);

		if (n <= 0)
			return false;
		len += (size_t)n;
		request[len] = '\0';
	}
	fake->count += len > 0;
	return len > 0;
}

// False: the server is to end, or the peer closed.
static bool rest(const struct fake_http *fake, int fd)
{
	struct pollfd fds[2] = { { .fd = fake->ends[0], .events = POLLIN },
				 { .fd = fd, .events = POLLRDHUP } };

	return poll(fds, 2, DRIP_MS) == 0;
}

static void drain(const struct fake_http *fake, int fd)
{
	char rest[4096];

	while (wait_readable(fake, fd))
		if (recv(fd, rest, sizeof(rest), 0) <= 0)
			return;
}

static void answer_one(struct fake_http *fake, int fd)
{
	static const char missing[] =
		"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n";
	const struct fake_answer *answer;
	char request[16384];
	size_t i;

	if (!read_request(fake, fd, request, sizeof(request)))
		return;
	answer = find_answer(fake, request);
	if (!answer) {
		send_all(fd, missing, sizeof(missing) - 1);
	} else if (answer->raw) {
		for (i = 0; i < (answer->repeat ? answer->repeat : 1); i++)
			send_all(fd, answer->raw, strlen(answer->raw));
		while (answer->drip && rest(fake, fd))
			send_all(fd, answer->drip, strlen(answer->drip));
	}
	if (answer && answer->keeps)
		(void)read_request(fake, fd, request, sizeof(request));
	// What is still on its way to us would turn the end into a reset, and the answer might be lost.
	if (!answer || answer->raw)
		shutdown(fd, SHUT_WR);
	drain(fake, fd);
}

static void *serve(void *arg)
{
	struct fake_http *fake = arg;

	while (wait_readable(fake, fake->listener)) {
		int fd = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		answer_one(fake, fd);
		close(fd);
	}
	return NULL;
}

struct fake_http *fake_http_start(const struct fake_answer *answers)
{
	struct fake_http *fake = xnew(struct fake_http);
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	fake->answers = answers;
	fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fake->listener, 16), 0);
	assert_int_equal(getsockname(fake->listener, (struct sockaddr *)&address, &len), 0);
	fake->url = xasprintf("http://127.0.0.1:%u", ntohs(address.sin_port));
	// Not for the etcds that a test starts: one that holds the write end keeps it open.
	assert_int_equal(pipe2(fake->ends, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
	return fake;
}

struct fake_http *fake_http_free(struct fake_http *fake)
{
	if (!fake)
		return NULL;
	close(fake->ends[1]);
	pthread_join(fake->thread, NULL);
	close(fake->ends[0]);
	close(fake->listener);
	free(fake->url);
	free(fake);
	return NULL;
}

const char *fake_http_url(const struct fake_http *fake)
{
	return fake->url;
}

unsigned int fake_http_count(const struct fake_http *fake)
{
	return fake->count;
}
