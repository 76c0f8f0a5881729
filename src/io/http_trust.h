// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: whom an HTTP client takes for its server, and as whom it shows itself: CA, pin, certificate.
#pragma once

#include "core/err.h"
#include "io/http_client.h"

#include <curl/curl.h>

struct http_trust;
// Copies what it needs. As http_client_new about errors.
int http_trust_new(const struct http_client_config *config, struct http_trust **ret, struct err *e);
struct http_trust *http_trust_free(struct http_trust *trust);
// For a request that is about to start.
void http_trust_set(const struct http_trust *trust, CURL *easy);
// Says that the server's key is another one than the pin.
int http_trust_pin_failed(const struct http_trust *trust, struct err *e);
