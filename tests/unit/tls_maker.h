// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: certificates for tests, made anew each time.
#pragma once

struct tls_maker; // a CA
struct tls_maker *tls_maker_new(void);
struct tls_maker *tls_maker_free(struct tls_maker *maker);
void tls_maker_write_ca(const struct tls_maker *maker, const char *path);
// A certificate for 127.0.0.1 that the CA signed, and its key, both into files.
void tls_maker_write_server(struct tls_maker *maker, const char *cert_path, const char *key_path);
void tls_maker_write_client(struct tls_maker *maker, const char *cert_path, const char *key_path);
