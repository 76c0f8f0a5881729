// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: what a TLS server shows and whom it takes: certificate, key, and the CA of its clients.
#pragma once

#include "core/err.h"

struct tls_files {
	const char *cert_file; // PEM: the certificate, then those that lead to its CA
	const char *key_file;  // PEM
	const char *ca_file; // PEM: only clients with a certificate that one of these signed; NULL: all clients
};

// "sha256:" and the digest of a certificate's SubjectPublicKeyInfo in hex: the same for every certificate of a key.
#define TLS_PIN_MAX 72

struct tls_credentials;
// Reads the files, so that they are not needed afterwards. The message names the file that is wrong.
int tls_credentials_new(const struct tls_files *files, struct tls_credentials **ret, struct err *e);
struct tls_credentials *tls_credentials_ref(struct tls_credentials *credentials);
struct tls_credentials *tls_credentials_unref(struct tls_credentials *credentials);
const char *tls_credentials_pin(const struct tls_credentials *credentials);

// For a server's session before its handshake, which needs a reference for as long as it lives.
struct gnutls_session_int;
int tls_credentials_use(struct tls_credentials *credentials, struct gnutls_session_int *session);
