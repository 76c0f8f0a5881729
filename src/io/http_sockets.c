// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the sockets of an HTTP client.
#include "io/http_sockets.h"

#include "core/mem.h"

#include <sys/socket.h>
#include <unistd.h>

struct http_sockets {
	curl_socket_t *fds;
	size_t count;
	size_t capacity;
};

struct http_sockets *http_sockets_new(void)
{
	return xnew(struct http_sockets);
}

struct http_sockets *http_sockets_free(struct http_sockets *sockets)
{
	if (!sockets)
		return NULL;
	free(sockets->fds);
	free(sockets);
	return NULL;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_sockets *sockets = arg;
	curl_socket_t fd;

	(void)purpose;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (sockets->count == sockets->capacity) {
		sockets->capacity = sockets->capacity ? sockets->capacity * 2 : 4;
		sockets->fds = xrealloc_array(sockets->fds, sockets->capacity, sizeof(*sockets->fds));
	}
	sockets->fds[sockets->count++] = fd;
	return fd;
}

static int close_socket(void *arg, curl_socket_t fd)
{
	struct http_sockets *sockets = arg;

	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->fds[i] == fd) {
			sockets->fds[i] = sockets->fds[--sockets->count];
			break;
		}
	}
	return close(fd);
}

void http_sockets_set(struct http_sockets *sockets, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, sockets);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, sockets);
}

void http_sockets_shut_down(const struct http_sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++)
		(void)shutdown(sockets->fds[i], SHUT_RDWR); // one that is not connected yet fails by itself
}
