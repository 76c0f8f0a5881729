// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the sockets of an HTTP client, so that all of them can be given up at one moment.
#pragma once

#include <curl/curl.h>

struct http_sockets;
struct http_sockets *http_sockets_new(void);
struct http_sockets *http_sockets_free(struct http_sockets *sockets); // once libcurl has closed all
// Lets this request open and close its sockets here.
void http_sockets_set(struct http_sockets *sockets, CURL *easy);
// Every open connection ends, as if its peer had closed it.
void http_sockets_shut_down(const struct http_sockets *sockets);
