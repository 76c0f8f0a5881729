// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a TLS server's certificate, key and CA, as GnuTLS has them.
#include "io/tls_credentials.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>

#define FILE_MAX (1024 * 1024)
#define CHAIN_MAX 16 // certificates in a file
#define DIGEST_BYTES 32
#define PIN_KIND "sha256:"

struct tls_credentials {
	unsigned int references;
	bool asks_clients;
	gnutls_certificate_credentials_t gnutls;
	char pin[TLS_PIN_MAX];
};

// The certificates of a file. Zero is none.
struct chain {
	gnutls_x509_crt_t certificates[CHAIN_MAX];
	unsigned int count;
};

static void chain_free(struct chain *chain)
{
	for (unsigned int i = 0; i < chain->count; i++)
		gnutls_x509_crt_deinit(chain->certificates[i]);
}

static void key_freep(gnutls_x509_privkey_t *key)
{
	if (*key)
		gnutls_x509_privkey_deinit(*key);
}

// The text is overwritten before it is freed: it may be a key.
static void secret_freep(gnutls_datum_t *text)
{
	if (text->data)
		gnutls_memset(text->data, 0, text->size);
	free(text->data);
}

static int read_text(const char *path, gnutls_datum_t *ret, struct err *e)
{
	char *text;
	size_t len;
	int r = file_read(path, FILE_MAX, &text, &len, e);

	if (r < 0)
		return r;
	*ret = (gnutls_datum_t){ .data = (unsigned char *)text, .size = (unsigned int)len };
	return 0;
}

static int read_chain(const char *path, struct chain *ret, struct err *e)
{
	_cleanup_(secret_freep) gnutls_datum_t text = { 0 };
	unsigned int count = CHAIN_MAX;
	int r = read_text(path, &text, e);

	if (r < 0)
		return r;
	r = gnutls_x509_crt_list_import(ret->certificates, &count, &text, GNUTLS_X509_FMT_PEM,
					GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
	if (r < 0)
		return err_set(e, -EINVAL, "%s: no certificate in PEM: %s", path, gnutls_strerror(r));
	ret->count = count;
	return 0;
}

static int read_key(const char *path, gnutls_x509_privkey_t *ret, struct err *e)
{
	_cleanup_(secret_freep) gnutls_datum_t text = { 0 };
	int r = read_text(path, &text, e);

	if (r < 0)
		return r;
	if (gnutls_x509_privkey_init(ret) < 0)
		abort(); // only without memory
	r = gnutls_x509_privkey_import(*ret, &text, GNUTLS_X509_FMT_PEM);
	if (r < 0)
		return err_set(e, -EINVAL, "%s: no key in PEM: %s", path, gnutls_strerror(r));
	return 0;
}

static int read_pin(gnutls_x509_crt_t certificate, const char *path, char ret[static TLS_PIN_MAX],
		    struct err *e)
{
	unsigned char digest[DIGEST_BYTES];
	size_t len = sizeof(digest);
	int r = gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, digest, &len);

	if (r < 0)
		return err_set(e, -EINVAL, "%s: %s", path, gnutls_strerror(r));
	(void)text_copy(ret, TLS_PIN_MAX, PIN_KIND);
	text_hex(ret + strlen(PIN_KIND), digest, len);
	return 0;
}

static int set_own(struct tls_credentials *credentials, const struct tls_files *files, struct err *e)
{
	_cleanup_(chain_free) struct chain chain = { 0 };
	_cleanup_(key_freep) gnutls_x509_privkey_t key = NULL;
	int r = read_chain(files->cert_file, &chain, e);

	if (r == 0)
		r = read_key(files->key_file, &key, e);
	if (r == 0)
		r = read_pin(chain.certificates[0], files->cert_file, credentials->pin, e);
	if (r < 0)
		return r;
	r = gnutls_certificate_set_x509_key(credentials->gnutls, chain.certificates,
					    (int)chain.count, key);
	if (r == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return err_set(e, -EINVAL, "%s: not the key of the certificate in %s",
			       files->key_file, files->cert_file);
	return r < 0 ? err_set(e, -EINVAL, "%s: %s", files->cert_file, gnutls_strerror(r)) : 0;
}

// Run by GnuTLS within the handshake of a client that showed a certificate.
static int check_client(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = {
		.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT,
	};
	unsigned int status = 0;
	int r = gnutls_certificate_verify_peers(session, &purpose, 1, &status);

	return r < 0 ? r : status != 0 ? GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR : 0;
}

static int set_ca(struct tls_credentials *credentials, const char *path, struct err *e)
{
	_cleanup_(secret_freep) gnutls_datum_t text = { 0 };
	int r;

	if (!path)
		return 0;
	r = read_text(path, &text, e);
	if (r < 0)
		return r;
	r = gnutls_certificate_set_x509_trust_mem(credentials->gnutls, &text, GNUTLS_X509_FMT_PEM);
	if (r <= 0)
		return err_set(e, -EINVAL, "%s: no CA certificate in PEM", path);
	gnutls_certificate_set_verify_function(credentials->gnutls, check_client);
	credentials->asks_clients = true;
	return 0;
}

int tls_credentials_new(const struct tls_files *files, struct tls_credentials **ret, struct err *e)
{
	struct tls_credentials *credentials = xnew(struct tls_credentials);
	int r;

	credentials->references = 1;
	if (gnutls_certificate_allocate_credentials(&credentials->gnutls) < 0)
		abort(); // only without memory
	r = set_own(credentials, files, e);
	if (r == 0)
		r = set_ca(credentials, files->ca_file, e);
	if (r < 0) {
		tls_credentials_unref(credentials);
		return r;
	}
	*ret = credentials;
	return 0;
}

struct tls_credentials *tls_credentials_ref(struct tls_credentials *credentials)
{
	credentials->references++;
	return credentials;
}

struct tls_credentials *tls_credentials_unref(struct tls_credentials *credentials)
{
	if (!credentials || --credentials->references > 0)
		return NULL;
	gnutls_certificate_free_credentials(credentials->gnutls);
	free(credentials);
	return NULL;
}

const char *tls_credentials_pin(const struct tls_credentials *credentials)
{
	return credentials->pin;
}

int tls_credentials_use(struct tls_credentials *credentials, struct gnutls_session_int *session)
{
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials->gnutls) < 0)
		return -EIO;
	gnutls_certificate_server_set_request(session, credentials->asks_clients
							       ? GNUTLS_CERT_REQUIRE
							       : GNUTLS_CERT_IGNORE);
	return 0;
}
