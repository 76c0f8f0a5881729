// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: libcurl's options of TLS.
#include "io/http_trust.h"

#include "core/mem.h"
#include "io/http_pin.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct http_trust {
	char *ca_file;
	char *cert_file;
	char *key_file;
	char *pin;	  // as it was given
	char *pinned_key; // as libcurl has it
};

static int check_file(const char *path, const char *what, struct err *e)
{
	if (path && access(path, R_OK) < 0)
		return err_set(e, -errno, "%s %s: %s", what, path, strerror(errno));
	return 0;
}

int http_trust_new(const struct http_client_config *config, struct http_trust **ret, struct err *e)
{
	_cleanup_free_ char *pinned_key = NULL;
	struct http_trust *trust;
	int r;

	r = check_file(config->ca_file, "CA file", e);
	if (r == 0)
		r = check_file(config->cert_file, "certificate", e);
	if (r == 0)
		r = check_file(config->key_file, "key file", e);
	if (r == 0 && config->pin)
		r = http_pin_read(config->pin, &pinned_key, e);
	if (r < 0)
		return r;
	trust = xnew(struct http_trust);
	trust->ca_file = xstrdup(config->ca_file);
	trust->cert_file = xstrdup(config->cert_file);
	trust->key_file = xstrdup(config->key_file);
	trust->pin = xstrdup(config->pin);
	trust->pinned_key = TAKE_PTR(pinned_key);
	*ret = trust;
	return 0;
}

struct http_trust *http_trust_free(struct http_trust *trust)
{
	if (!trust)
		return NULL;
	free(trust->ca_file);
	free(trust->cert_file);
	free(trust->key_file);
	free(trust->pin);
	free(trust->pinned_key);
	free(trust);
	return NULL;
}

// libcurl compares the key also when it does not look at the chain.
static void set_pin(const struct http_trust *trust, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PINNEDPUBLICKEY, trust->pinned_key);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	if (trust->ca_file)
		return;
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	// Else the system's roots would be read for each connection, for nothing.
	curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
}

void http_trust_set(const struct http_trust *trust, CURL *easy)
{
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (trust->ca_file) {
		curl_easy_setopt(easy, CURLOPT_CAINFO, trust->ca_file);
		// Else Debian's libcurl would read, and trust, all of /etc/ssl/certs as well.
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (trust->cert_file)
		curl_easy_setopt(easy, CURLOPT_SSLCERT, trust->cert_file);
	if (trust->key_file)
		curl_easy_setopt(easy, CURLOPT_SSLKEY, trust->key_file);
	if (trust->pin)
		set_pin(trust, easy);
}

int http_trust_pin_failed(const struct http_trust *trust, struct err *e)
{
	return err_set(e, -EKEYREJECTED, "the server's key is another one than the pin says, %s",
		       trust->pin);
}
