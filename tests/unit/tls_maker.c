// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: making certificates with GnuTLS.
#include "tls_maker.h"

#include "unit.h"

#include "core/mem.h"
#include "io/file.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400

struct tls_maker {
	gnutls_x509_crt_t certificate;
	gnutls_x509_privkey_t key;
	unsigned char serial;
};

static void works(int r)
{
	check(r >= 0, "gnutls: %s", gnutls_strerror(r));
}

static gnutls_x509_privkey_t new_key(void)
{
	gnutls_x509_privkey_t key;

	works(gnutls_x509_privkey_init(&key));
	works(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					   GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
	return key;
}

static gnutls_x509_crt_t new_certificate(struct tls_maker *maker, gnutls_x509_privkey_t key,
					 const char *name)
{
	gnutls_x509_crt_t certificate;

	maker->serial++;
	works(gnutls_x509_crt_init(&certificate));
	works(gnutls_x509_crt_set_version(certificate, 3));
	works(gnutls_x509_crt_set_serial(certificate, &maker->serial, 1));
	works(gnutls_x509_crt_set_activation_time(certificate, time(NULL) - DAY_S));
	works(gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + DAY_S));
	works(gnutls_x509_crt_set_key(certificate, key));
	works(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name,
					    (unsigned int)strlen(name)));
	return certificate;
}

struct tls_maker *tls_maker_new(void)
{
	struct tls_maker *maker = xnew(struct tls_maker);

	maker->key = new_key();
	maker->certificate = new_certificate(maker, maker->key, "test CA");
	works(gnutls_x509_crt_set_ca_status(maker->certificate, 1));
	works(gnutls_x509_crt_set_key_usage(maker->certificate, GNUTLS_KEY_KEY_CERT_SIGN));
	works(gnutls_x509_crt_sign2(maker->certificate, maker->certificate, maker->key,
				    GNUTLS_DIG_SHA256, 0));
	return maker;
}

struct tls_maker *tls_maker_free(struct tls_maker *maker)
{
	gnutls_x509_crt_deinit(maker->certificate);
	gnutls_x509_privkey_deinit(maker->key);
	free(maker);
	return NULL;
}

static void write_certificate(gnutls_x509_crt_t certificate, const char *path)
{
	gnutls_datum_t text;

	works(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &text));
	works(file_write_atomic(path, text.data, text.size, 0600, NULL));
	gnutls_free(text.data);
}

void tls_maker_write_ca(const struct tls_maker *maker, const char *path)
{
	write_certificate(maker->certificate, path);
}

static void write_signed(struct tls_maker *maker, const char *purpose, const char *cert_path,
			 const char *key_path)
{
	static const unsigned char loopback[] = { 127, 0, 0, 1 };
	gnutls_x509_privkey_t key = new_key();
	gnutls_x509_crt_t certificate = new_certificate(maker, key, "test");
	gnutls_datum_t text;

	works(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, loopback,
						   sizeof(loopback), GNUTLS_FSAN_SET));
	works(gnutls_x509_crt_set_key_purpose_oid(certificate, purpose, 0));
	works(gnutls_x509_crt_sign2(certificate, maker->certificate, maker->key, GNUTLS_DIG_SHA256, 0));
	write_certificate(certificate, cert_path);
	works(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text));
	works(file_write_atomic(key_path, text.data, text.size, 0600, NULL));
	gnutls_free(text.data);
	gnutls_x509_crt_deinit(certificate);
	gnutls_x509_privkey_deinit(key);
}

void tls_maker_write_server(struct tls_maker *maker, const char *cert_path, const char *key_path)
{
	write_signed(maker, GNUTLS_KP_TLS_WWW_SERVER, cert_path, key_path);
}

void tls_maker_write_client(struct tls_maker *maker, const char *cert_path, const char *key_path)
{
	write_signed(maker, GNUTLS_KP_TLS_WWW_CLIENT, cert_path, key_path);
}
