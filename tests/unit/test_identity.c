// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of controller/identity: what is made once, and what is said when it is broken.
#include "tls_maker.h"
#include "unit.h"

#include "controller/identity.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "io/tls_credentials.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEY, CRT, TOKEN, JOIN, FILES };

struct bench {
	char parent[32];
	char directory[48];
	char paths[FILES][72];
};

static int setup(void **state)
{
	static const char *const names[FILES] = { "controller.key", "controller.crt",
						  "controller.token", "controller.join" };
	struct bench *bench = xnew(struct bench);

	assert_int_equal(text_copy(bench->parent, sizeof(bench->parent), "/tmp/weft-id-XXXXXX"), 0);
	assert_non_null(mkdtemp(bench->parent));
	assert_int_equal(text_format(bench->directory, sizeof(bench->directory), "%s/state",
				     bench->parent),
			 0);
	for (size_t i = 0; i < FILES; i++)
		assert_int_equal(text_format(bench->paths[i], sizeof(bench->paths[i]), "%s/%s",
					     bench->directory, names[i]),
				 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < FILES; i++)
		(void)unlink(bench->paths[i]); // not every test makes all
	(void)rmdir(bench->directory);
	assert_int_equal(rmdir(bench->parent), 0);
	free(bench);
	return 0;
}

static int try_open(const struct bench *bench, struct identity *ret, struct err *e)
{
	const struct identity_config config = {
		.directory = bench->directory,
		.address = ip_v4(0xc000020a),
	};

	*ret = (struct identity){ 0 };
	return identity_open(&config, ret, e);
}

static void open_good(const struct bench *bench, struct identity *ret)
{
	struct err e = { 0 };

	check(try_open(bench, ret, &e) == 0, "%s", err_msg(&e));
}

static void open_bad(const struct bench *bench, int r, const char *named, const char *advice)
{
	struct identity identity;
	struct err e = { 0 };
	int got = try_open(bench, &identity, &e);

	check(got == r, "%d in place of %d: %s", got, r, err_msg(&e));
	check(strstr(e.msg, named), "%s", e.msg);
	check(strstr(e.msg, advice), "%s", e.msg);
	identity_free(&identity);
}

static char *content(const char *path)
{
	char *text = NULL;

	assert_int_equal(file_read(path, 65536, &text, NULL, NULL), 0);
	return text;
}

static void put(const char *path, const char *text)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, NULL), 0);
}

static void read_pin(const struct bench *bench, char ret[static TLS_PIN_MAX])
{
	const struct tls_files files = { bench->paths[CRT], bench->paths[KEY], NULL };
	struct tls_credentials *credentials = NULL;

	assert_int_equal(tls_credentials_new(&files, &credentials, NULL), 0);
	assert_int_equal(text_copy(ret, TLS_PIN_MAX, tls_credentials_pin(credentials)), 0);
	tls_credentials_unref(credentials);
}

static void test_made_once(void **state)
{
	struct bench *bench = *state;
	struct identity first, second;
	char *before[FILES];
	mode_t mask = umask(0);
	struct stat st;

	open_good(bench, &first);
	umask(mask);
	assert_true(first.token_is_new);
	assert_string_equal(first.key_file, bench->paths[KEY]);
	assert_string_equal(first.cert_file, bench->paths[CRT]);
	assert_string_equal(first.token_file, bench->paths[TOKEN]);
	assert_int_equal(strlen(first.token), 64);
	for (size_t i = 0; i < FILES; i++) {
		assert_int_equal(stat(bench->paths[i], &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		before[i] = content(bench->paths[i]);
	}
	assert_memory_equal(before[TOKEN], first.token, 64);
	assert_string_equal(first.join_file, bench->paths[JOIN]);
	assert_memory_equal(before[JOIN], first.join_token, 64);
	assert_string_not_equal(first.join_token, first.token);
	open_good(bench, &second);
	assert_false(second.token_is_new);
	assert_string_equal(second.token, first.token);
	for (size_t i = 0; i < FILES; i++) {
		_cleanup_free_ char *after = content(bench->paths[i]);

		assert_string_equal(after, before[i]);
		free(before[i]);
	}
	identity_free(&first);
	identity_free(&second);
}

static void test_each_is_another(void **state)
{
	struct bench *bench = *state;
	char first_pin[TLS_PIN_MAX], second_pin[TLS_PIN_MAX];
	struct identity first, second;

	open_good(bench, &first);
	read_pin(bench, first_pin);
	for (size_t i = 0; i < FILES; i++)
		assert_int_equal(unlink(bench->paths[i]), 0);
	open_good(bench, &second);
	read_pin(bench, second_pin);
	assert_string_not_equal(first.token, second.token);
	assert_string_not_equal(first_pin, second_pin);
	identity_free(&first);
	identity_free(&second);
}

static void test_certificate(void **state)
{
	static const unsigned char address[] = { 192, 0, 2, 10 };
	struct bench *bench = *state;
	_cleanup_free_ char *text = NULL;
	gnutls_x509_crt_t certificate;
	unsigned char san[16];
	size_t len = sizeof(san);
	struct identity identity;
	gnutls_datum_t pem;
	unsigned int bits;

	open_good(bench, &identity);
	text = content(identity.cert_file);
	pem = (gnutls_datum_t){ (unsigned char *)text, (unsigned int)strlen(text) };
	assert_int_equal(gnutls_x509_crt_init(&certificate), 0);
	assert_int_equal(gnutls_x509_crt_import(certificate, &pem, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_crt_get_pk_algorithm(certificate, &bits), GNUTLS_PK_ECDSA);
	assert_int_equal(bits, 256);
	assert_int_equal(gnutls_x509_crt_get_subject_alt_name(certificate, 0, san, &len, NULL),
			 GNUTLS_SAN_IPADDRESS);
	assert_int_equal(len, sizeof(address));
	assert_memory_equal(san, address, sizeof(address));
	assert_true(gnutls_x509_crt_get_expiration_time(certificate) > time(NULL) + 3650LL * 86400);
	assert_true(gnutls_x509_crt_get_activation_time(certificate) < time(NULL));
	gnutls_x509_crt_deinit(certificate);
	identity_free(&identity);
}

// A start that was cut short is gone on with, and the pin stays.
static void test_missing_certificate(void **state)
{
	struct bench *bench = *state;
	char before[TLS_PIN_MAX], after[TLS_PIN_MAX];
	struct identity identity;

	open_good(bench, &identity);
	identity_free(&identity);
	read_pin(bench, before);
	put(bench->paths[CRT], ""); // as a power cut leaves it
	open_good(bench, &identity);
	assert_false(identity.token_is_new);
	identity_free(&identity);
	read_pin(bench, after);
	assert_string_equal(after, before);
	assert_int_equal(unlink(bench->paths[TOKEN]), 0);
	open_good(bench, &identity);
	assert_true(identity.token_is_new);
	identity_free(&identity);
}

static void test_broken(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *key = NULL;
	struct identity identity;

	open_good(bench, &identity);
	identity_free(&identity);
	key = content(bench->paths[KEY]);
	assert_int_equal(unlink(bench->paths[KEY]), 0);
	open_bad(bench, -ENOENT, bench->paths[KEY], "put the controller's files back, or remove");
	put(bench->paths[KEY], "rubbish");
	open_bad(bench, -EINVAL, bench->paths[KEY], "put the controller's files back, or remove");
	put(bench->paths[KEY], key);
	assert_int_equal(chmod(bench->paths[KEY], 0640), 0);
	open_bad(bench, -EPERM, bench->paths[KEY], "chmod 600");
	put(bench->paths[KEY], key);
	put(bench->paths[TOKEN], "short\n");
	open_bad(bench, -EINVAL, bench->paths[TOKEN], "or remove the file");
	put(bench->paths[TOKEN], "one two three four five six seven\n");
	open_bad(bench, -EINVAL, bench->paths[TOKEN], "or remove the file");
	put(bench->paths[TOKEN], "0123456789abcdef");
	assert_int_equal(chmod(bench->paths[TOKEN], 0604), 0);
	open_bad(bench, -EPERM, bench->paths[TOKEN], "chmod 600");
	assert_int_equal(chmod(bench->paths[TOKEN], 0400), 0);
	open_good(bench, &identity);
	assert_string_equal(identity.token, "0123456789abcdef");
	identity_free(&identity);
	put(bench->paths[CRT], "rubbish");
	open_bad(bench, -EINVAL, bench->paths[CRT], "put the controller's files back, or remove");
}

static void test_foreign_key(void **state)
{
	struct bench *bench = *state;
	struct tls_maker *maker = tls_maker_new();
	_cleanup_free_ char *certificate = NULL;
	struct identity identity;

	open_good(bench, &identity);
	identity_free(&identity);
	certificate = content(bench->paths[CRT]);
	tls_maker_write_server(maker, bench->paths[CRT], bench->paths[KEY]);
	tls_maker_free(maker);
	put(bench->paths[CRT], certificate);
	open_bad(bench, -EINVAL, bench->paths[KEY], "put the controller's files back, or remove");
}

static void test_unwritable(void **state)
{
	struct bench *bench = *state;
	const struct identity_config config = { .directory = "/proc/weft" };
	struct identity identity = { 0 };
	struct err e = { 0 };

	(void)bench;
	assert_true(identity_open(&config, &identity, &e) < 0);
	assert_non_null(strstr(e.msg, "/proc/weft"));
	identity_free(&identity);
}

static void test_given(void **state)
{
	struct bench *bench = *state;
	const struct identity_config config = {
		.directory = bench->directory,
		.cert_file = "/etc/cert.pem",
		.key_file = "/etc/key.pem",
		.token = "a token of somebody",
	};
	struct identity identity = { 0 };
	struct stat st;

	assert_int_equal(identity_open(&config, &identity, NULL), 0);
	assert_string_equal(identity.cert_file, "/etc/cert.pem");
	assert_string_equal(identity.key_file, "/etc/key.pem");
	assert_string_equal(identity.token, "a token of somebody");
	assert_null(identity.token_file);
	assert_false(identity.token_is_new);
	assert_int_equal(stat(bench->directory, &st), -1);
	identity_free(&identity);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_made_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_is_another, setup, teardown),
		cmocka_unit_test_setup_teardown(test_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unwritable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_given, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
