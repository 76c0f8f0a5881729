// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making and keeping a controller's key, certificate and token.
#include "controller/identity.h"

#include "controller/join_token.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/secret_file.h"
#include "io/tls_credentials.h"
#include "store/token.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400
#define VALID_DAYS 3653 // ten years
#define KEY_FILE_MAX 65536
#define SERIAL_BYTES 16
#define TOKEN_BYTES 32
#define COMMON_NAME "weft controller"

// ---- the key ----

static int failed(struct err *e, const char *path, int gnutls_code)
{
	return err_set(e, -EIO, "%s: cannot be made: %s", path, gnutls_strerror(gnutls_code));
}

static void key_freep(gnutls_x509_privkey_t *key)
{
	if (*key)
		gnutls_x509_privkey_deinit(*key);
}

static void certificate_freep(gnutls_x509_crt_t *certificate)
{
	if (*certificate)
		gnutls_x509_crt_deinit(*certificate);
}

// The text is overwritten before it is freed: it may be a key.
static void text_freep(gnutls_datum_t *text)
{
	if (text->data)
		gnutls_memset(text->data, 0, text->size);
	gnutls_free(text->data);
}

// It is never made a second time: agents are about to be told of it.
static int key_make(const char *path, struct err *e)
{
	_cleanup_(key_freep) gnutls_x509_privkey_t key = NULL;
	_cleanup_(text_freep) gnutls_datum_t text = { 0 };
	int r = gnutls_x509_privkey_init(&key);

	if (r == 0)
		r = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
						 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (r == 0)
		r = gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text);
	if (r < 0)
		return failed(e, path, r);
	return secret_file_make(path, text.data, text.size, e);
}

static int key_read(const char *path, gnutls_x509_privkey_t *ret, struct err *e)
{
	char *data = NULL;
	gnutls_datum_t text;
	size_t len;
	int r = file_read(path, KEY_FILE_MAX, &data, &len, e);

	if (r < 0)
		return r;
	text = (gnutls_datum_t){ .data = (unsigned char *)data, .size = (unsigned int)len };
	r = gnutls_x509_privkey_init(ret);
	if (r == 0)
		r = gnutls_x509_privkey_import(*ret, &text, GNUTLS_X509_FMT_PEM);
	gnutls_memset(data, 0, len);
	free(data);
	return r < 0 ? err_set(e, -EINVAL, "%s: no key in PEM: %s", path, gnutls_strerror(r)) : 0;
}

// ---- the certificate ----

static int set_names(gnutls_x509_crt_t certificate, const struct ip *address)
{
	int r = gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
					      COMMON_NAME, sizeof(COMMON_NAME) - 1);

	if (r < 0 || !ip_is_set(address) || ip_is_unspecified(address))
		return r;
	return gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address->bytes,
						    ip_width_bytes(address), GNUTLS_FSAN_SET);
}

static int set_validity(gnutls_x509_crt_t certificate)
{
	// From yesterday on: clocks differ.
	time_t from = time(NULL) - DAY_S;
	int r = gnutls_x509_crt_set_activation_time(certificate, from);

	if (r < 0)
		return r;
	return gnutls_x509_crt_set_expiration_time(certificate, from + (time_t)VALID_DAYS * DAY_S);
}

static int set_serial(gnutls_x509_crt_t certificate)
{
	unsigned char serial[SERIAL_BYTES];
	int r = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));

	serial[0] = (serial[0] & 0x3f) | 0x40; // a positive number of this length
	return r < 0 ? r : gnutls_x509_crt_set_serial(certificate, serial, sizeof(serial));
}

static int fill_certificate(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key,
			    const struct ip *address)
{
	int r = gnutls_x509_crt_set_version(certificate, 3);

	if (r == 0)
		r = set_serial(certificate);
	if (r == 0)
		r = set_validity(certificate);
	if (r == 0)
		r = set_names(certificate, address);
	if (r == 0)
		r = gnutls_x509_crt_set_basic_constraints(certificate, 0, -1);
	if (r == 0)
		r = gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (r == 0)
		r = gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (r == 0)
		r = gnutls_x509_crt_set_key(certificate, key);
	if (r == 0)
		r = gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0);
	return r;
}

static int certificate_make(const struct identity_config *config, const struct identity *identity,
			    struct err *e)
{
	_cleanup_(certificate_freep) gnutls_x509_crt_t certificate = NULL;
	_cleanup_(key_freep) gnutls_x509_privkey_t key = NULL;
	_cleanup_(text_freep) gnutls_datum_t text = { 0 };
	int r = key_read(identity->key_file, &key, e);

	if (r < 0)
		return r;
	r = gnutls_x509_crt_init(&certificate);
	if (r == 0)
		r = fill_certificate(certificate, key, &config->address);
	if (r == 0)
		r = gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &text);
	if (r < 0)
		return failed(e, identity->cert_file, r);
	return secret_file_make(identity->cert_file, text.data, text.size, e);
}

static int make_missing(const struct identity_config *config, const struct identity *identity,
			struct err *e)
{
	int r = 0;

	if (!secret_file_is_there(identity->key_file)) {
		if (secret_file_is_there(identity->cert_file))
			return err_set(e, -ENOENT, "%s: is missing, and %s is there",
				       identity->key_file, identity->cert_file);
		r = key_make(identity->key_file, e);
	}
	if (r == 0)
		r = secret_file_check(identity->key_file, e);
	if (r == 0 && !secret_file_is_there(identity->cert_file))
		r = certificate_make(config, identity, e);
	return r;
}

// What cannot be used is said here already, where it is known what to do.
static int check_usable(const struct identity *identity, struct err *e)
{
	const struct tls_files files = { identity->cert_file, identity->key_file, NULL };
	struct tls_credentials *credentials = NULL;
	int r = tls_credentials_new(&files, &credentials, e);

	tls_credentials_unref(credentials);
	return r;
}

static int open_certificate(const struct identity_config *config, struct identity *identity,
			    struct err *e)
{
	int r;

	if (config->cert_file) {
		identity->cert_file = xstrdup(config->cert_file);
		identity->key_file = xstrdup(config->key_file);
		return 0;
	}
	identity->key_file = xasprintf("%s/controller.key", config->directory);
	identity->cert_file = xasprintf("%s/controller.crt", config->directory);
	r = make_missing(config, identity, e);
	if (r == 0)
		r = check_usable(identity, e);
	if (r == -EINVAL || r == -ENOENT)
		return err_wrap(e, "put the controller's files back, or remove controller.key and "
				   "controller.crt for a new key, whose pin agents then need");
	return r;
}

// ---- the token ----

static int token_make(struct identity *identity, struct err *e)
{
	unsigned char bytes[TOKEN_BYTES];
	char line[2 * TOKEN_BYTES + 2];
	int r = gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes));

	if (r < 0)
		return failed(e, identity->token_file, r);
	text_hex(line, bytes, sizeof(bytes));
	(void)text_copy(line + 2 * sizeof(bytes), 2, "\n");
	r = secret_file_make(identity->token_file, line, sizeof(line) - 1, e);
	identity->token_is_new = r == 0;
	gnutls_memset(bytes, 0, sizeof(bytes));
	gnutls_memset(line, 0, sizeof(line));
	return r;
}

static int open_token(const struct identity_config *config, struct identity *identity, struct err *e)
{
	int r = 0;

	if (config->token) {
		identity->token = xstrdup(config->token);
		return 0;
	}
	identity->token_file = xasprintf("%s/controller.token", config->directory);
	if (!secret_file_is_there(identity->token_file))
		r = token_make(identity, e);
	if (r == 0)
		r = secret_file_check(identity->token_file, e);
	if (r == 0)
		r = token_read_file(identity->token_file, &identity->token, e);
	if (r == -EINVAL)
		return err_wrap(e, "put the controller's token back, or remove the file for a new "
				   "one, that agents then need");
	return r;
}

// The file is for those who take the token to other hosts; what counts is what follows from the admin's token.
static int tell_join_token(const struct identity_config *config, struct identity *identity,
			   struct err *e)
{
	char line[JOIN_TOKEN_MAX + 1];
	int r;

	if (!identity->join_token)
		identity->join_token = xcalloc(1, JOIN_TOKEN_MAX);
	join_token_of(identity->token, identity->join_token);
	if (!identity->token_file)
		return 0;
	free(identity->join_file);
	identity->join_file = xasprintf("%s/controller.join", config->directory);
	(void)text_format(line, sizeof(line), "%s\n", identity->join_token);
	r = file_write_atomic(identity->join_file, line, strlen(line), 0600, e);
	gnutls_memset(line, 0, sizeof(line));
	return r;
}

// ---- all ----

int identity_open(const struct identity_config *config, struct identity *ret, struct err *e)
{
	int r = open_certificate(config, ret, e);

	if (r == 0)
		r = open_token(config, ret, e);
	return r < 0 ? r : tell_join_token(config, ret, e);
}

int identity_read_token(const struct identity_config *config, struct identity *identity, struct err *e)
{
	const char *path = identity->token_file ? identity->token_file : config->token_file;
	char *token = NULL;
	int r = 0;

	if (!path)
		return 0;
	if (identity->token_file)
		r = secret_file_check(path, e);
	if (r == 0)
		r = token_read_file(path, &token, e);
	if (r < 0)
		return r;
	secret_text_free(identity->token);
	identity->token = token;
	return tell_join_token(config, identity, e);
}

void identity_free(struct identity *identity)
{
	secret_text_free(identity->token);
	secret_text_free(identity->join_token);
	free(identity->cert_file);
	free(identity->key_file);
	free(identity->token_file);
	free(identity->join_file);
	*identity = (struct identity){ 0 };
}
