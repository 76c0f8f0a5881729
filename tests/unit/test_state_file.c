// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the cached state: what is written is read, what is torn, foreign or newer is not, and nothing holds the loop.
#include "unit.h"

#include "agent/state_file.h"
#include "agent/state_text.h"
#include "core/log.h"
#include "core/mem.h"
#include "io/file.h"
#include "loop_end.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "/coreos.com/network"
#define CONFIG "{\"Network\":\"10.0.0.0/8\",\n \"x\":\"\xc3\xa9\"}"

struct fixture {
	char directory[40];
	struct loop *loop;
	struct state_file *file;
	const char *config;
	struct lease own;
	bool has_own;
	struct lease_set *peers;
	struct err e;
};

static const char *get_config(void *arg)
{
	return ((struct fixture *)arg)->config;
}

static const struct lease *get_lease(void *arg)
{
	struct fixture *f = arg;

	return f->has_own ? &f->own : NULL;
}

static const struct lease_set *get_peers(void *arg)
{
	return ((struct fixture *)arg)->peers;
}

static const struct state_source source = { .config_text = get_config,
					    .lease = get_lease,
					    .peers = get_peers };

static struct lease make_lease(uint32_t number)
{
	static const char value[] =
		"{\"PublicIP\":\"10.99.0.3\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"ee:07:00:00:00:01\"},\"note\":\"a\\nb\"}";
	struct lease lease = { 0 };
	struct ip ip = ip_v4((10U << 24) + (number << 8));
	struct err e;

	lease.subnet.v4 = ipnet_of(&ip, 24);
	check(lease_attrs_parse(value, strlen(value), &lease.attrs, &e) == 0, "%s", e.msg);
	lease.attrs.public_ip = ip_v4((11U << 24) + number);
	lease.mod_revision = (int64_t)number + 100;
	lease.session = INT64_MAX - (int64_t)number;
	return lease;
}

static void put_peers(struct fixture *f, uint32_t from, uint32_t count)
{
	for (uint32_t i = from; i < from + count; i++) {
		struct lease lease = make_lease(i);

		lease_set_put(f->peers, &lease);
	}
}

static void open_file(struct fixture *f)
{
	check(state_file_new(f->loop, f->directory, PREFIX, &source, f, &f->file, &f->e) == 0, "%s",
	      f->e.msg);
}

static int set_up(void **state)
{
	struct fixture *f = xnew(struct fixture);

	(void)snprintf(f->directory, sizeof(f->directory), "/tmp/weft-state-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	f->loop = loop_new();
	f->peers = lease_set_new();
	*state = f;
	return 0;
}

static void remove_files(const char *directory)
{
	DIR *open_directory = opendir(directory);
	struct dirent *entry;

	assert_non_null(open_directory);
	while ((entry = readdir(open_directory))) {
		_cleanup_free_ char *path = xasprintf("%s/%s", directory, entry->d_name);

		if (entry->d_name[0] != '.')
			(void)unlink(path);
	}
	(void)closedir(open_directory);
	assert_int_equal(rmdir(directory), 0);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	state_file_free(f->file);
	loop_end(f->loop);
	lease_free(&f->own);
	lease_set_free(f->peers);
	remove_files(f->directory);
	free(f);
	return 0;
}

static void flush(struct fixture *f)
{
	check(state_file_flush(f->file, &f->e) == 0, "%s", f->e.msg);
}

static char *path_of(const struct fixture *f, const char *name)
{
	return xasprintf("%s/%s", f->directory, name);
}

static bool exists(const struct fixture *f, const char *name)
{
	_cleanup_free_ char *path = path_of(f, name);

	return access(path, F_OK) == 0;
}

static void write_file(const struct fixture *f, const char *name, const char *text, size_t len)
{
	_cleanup_free_ char *path = path_of(f, name);
	struct err e;

	check(file_write_atomic(path, text, len, 0600, &e) == 0, "%s", e.msg);
}

static char *read_file(const struct fixture *f, const char *name, size_t *ret_len)
{
	_cleanup_free_ char *path = path_of(f, name);
	char *text = NULL;
	struct err e;

	check(file_read(path, 1 << 28, &text, ret_len, &e) == 0, "%s", e.msg);
	return text;
}

static void assert_lease_equal(const struct lease *a, const struct lease *b)
{
	assert_true(subnet_equal(&a->subnet, &b->subnet));
	assert_true(lease_attrs_equal(&a->attrs, &b->attrs));
	assert_int_equal(a->mod_revision, b->mod_revision);
	assert_int_equal(a->session, b->session);
}

static const struct mac mac_one = { { 0x02, 1, 2, 3, 4, 5 } };
static const struct mac mac_two = { { 0x06, 9, 8, 7, 6, 5 } };

static void write_all_parts(struct fixture *f)
{
	f->config = CONFIG;
	f->own = make_lease(7);
	f->has_own = true;
	put_peers(f, 10, 1000); // several slices
	open_file(f);
	state_file_set_mac(f->file, "flannel.1", &mac_one);
	state_file_set_mac(f->file, "flannel-v6.1", &mac_one);
	state_file_set_mac(f->file, "flannel-v6.1", &mac_two);
	state_file_changed(f->file, STATE_OWN | STATE_PEERS);
}

static void test_round_trip(void **state)
{
	_cleanup_state_ struct state loaded = { 0 };
	_cleanup_free_ char *path = NULL;
	struct fixture *f = *state;
	const struct lease *peer;
	size_t position = 0;
	struct stat st;

	write_all_parts(f);
	flush(f);
	state_load(f->directory, PREFIX, &loaded);
	assert_string_equal(loaded.config_text, CONFIG);
	assert_true(loaded.has_lease);
	assert_lease_equal(&loaded.lease, &f->own);
	assert_int_equal(lease_set_count(loaded.peers), 1000);
	while ((peer = lease_set_next(f->peers, &position)))
		assert_lease_equal(lease_set_find(loaded.peers, &peer->subnet), peer);
	assert_true(mac_equal(state_mac_find(&loaded, "flannel.1"), &mac_one));
	assert_true(mac_equal(state_mac_find(&loaded, "flannel-v6.1"), &mac_two));
	assert_null(state_mac_find(&loaded, "flannel.2"));
	path = path_of(f, "peers");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_false(exists(f, "peers.new"));
	// Nothing pending: the same file stays.
	flush(f);
	assert_false(exists(f, "peers.previous"));
}

static void test_literal_lines(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct fixture *f = *state;

	f->config = "{}";
	f->own = make_lease(1);
	f->has_own = true;
	open_file(f);
	state_file_set_mac(f->file, "flannel.1", &mac_one);
	flush(f);
	text = read_file(f, "state", NULL);
	assert_string_equal(
		text,
		"{\"prefix\":\"/coreos.com/network\",\"schema\":1}\n"
		"{\"config\":\"{}\"}\n"
		"{\"lease\":\"10.0.1.0-24\",\"revision\":101,\"session\":9223372036854775806,\"value\":"
		"{\"PublicIP\":\"11.0.0.1\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\","
		"\"BackendData\":{\"VNI\":1,\"VtepMAC\":\"ee:07:00:00:00:01\"},\"note\":\"a\\nb\"}}\n"
		"{\"device\":\"flannel.1\",\"mac\":\"02:01:02:03:04:05\"}\n"
		"{\"end\":4}\n");
}

static void test_missing(void **state)
{
	_cleanup_state_ struct state loaded = { 0 };
	struct fixture *f = *state;

	state_load(f->directory, PREFIX, &loaded);
	assert_null(loaded.config_text);
	assert_false(loaded.has_lease);
	assert_non_null(loaded.peers);
	assert_int_equal(lease_set_count(loaded.peers), 0);
	assert_int_equal(loaded.mac_count, 0);
	assert_false(exists(f, "state.bad"));
}

// Every possible tear of a write, and one damaged byte in each place that matters: never anything but all or nothing.
static void test_torn_anywhere(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct fixture *f = *state;
	size_t len;

	write_all_parts(f);
	flush(f);
	text = read_file(f, "state", &len);
	for (size_t cut = 0; cut < len; cut++) {
		_cleanup_free_ char *torn = xstrndup(text, cut);
		struct state loaded = { 0 };
		struct err e = { 0 };

		check(state_decode(torn, cut, PREFIX, &loaded, &e) == -EBADMSG, "cut at %zu", cut);
		check(!loaded.peers && !loaded.config_text && loaded.mac_count == 0,
		      "cut at %zu: left over", cut);
		check(e.msg[0] != '\0', "cut at %zu: no message", cut);
	}
}

static void test_torn_file_falls_back_to_the_previous(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct fixture *f = *state;
	size_t len;

	f->config = "{\"first\":1}";
	open_file(f);
	state_file_changed(f->file, STATE_OWN);
	flush(f);
	f->config = "{\"second\":2}";
	state_file_changed(f->file, STATE_OWN);
	flush(f);
	{
		_cleanup_state_ struct state loaded = { 0 };

		state_load(f->directory, PREFIX, &loaded);
		assert_string_equal(loaded.config_text, "{\"second\":2}");
	}
	text = read_file(f, "state", &len);
	write_file(f, "state", text, len - 5);
	{
		_cleanup_state_ struct state loaded = { 0 };

		state_load(f->directory, PREFIX, &loaded);
		assert_string_equal(loaded.config_text, "{\"first\":1}");
	}
	assert_true(exists(f, "state.bad"));
	assert_false(exists(f, "state"));
	// A crash between the two renames leaves only the previous one.
	{
		_cleanup_state_ struct state loaded = { 0 };

		state_load(f->directory, PREFIX, &loaded);
		assert_string_equal(loaded.config_text, "{\"first\":1}");
	}
}

#define HEAD "{\"prefix\":\"" PREFIX "\",\"schema\":1}\n"
#define PEER \
	"{\"peer\":\"10.1.2.0-24\",\"revision\":5,\"session\":0,\"value\":{\"PublicIP\":\"1.2.3.4\",\"PublicIPv6\":null}}\n"
#define MAC "{\"device\":\"d\",\"mac\":\"02:00:00:00:00:01\"}\n"

static const struct {
	const char *text;
	int code;
	const char *message; // its start
} texts[] = {
	{ HEAD "{\"end\":1}\n", 0, NULL },
	{ HEAD PEER MAC "{\"end\":3}\n", 0, NULL },
	{ HEAD "{\"something\":\"new\"}\n{\"end\":2}\n", 0, NULL },
	{ "", -EBADMSG, "the end is missing" },
	{ "{\"end\":0}\n", -EBADMSG, "line 1: no schema version" },
	{ PEER "{\"end\":1}\n", -EBADMSG, "line 1: no schema version" },
	{ HEAD PEER "{\"end\":3}\n", -EBADMSG, "line 3: 3 lines were written, 2 are here" },
	{ HEAD PEER "{\"end\":2}\n" PEER, -EBADMSG, "line 4: something after the end" },
	{ HEAD PEER "{\"end\":2}", -EBADMSG, "line 3 is cut off" },
	{ HEAD "nonsense\n{\"end\":2}\n", -EBADMSG, "line 2: " },
	{ HEAD "[1]\n{\"end\":2}\n", -EBADMSG, "line 2: not an object" },
	{ HEAD "{\"peer\":\"10.1.2.3-24\",\"revision\":5,\"session\":0,\"value\":{}}\n{\"end\":2}\n",
	  -EBADMSG, "line 2: " },
	{ HEAD "{\"peer\":\"10.1.2.0-24\",\"revision\":5,\"session\":0,\"value\":[]}\n{\"end\":2}\n",
	  -EBADMSG, "line 2: " },
	{ HEAD "{\"peer\":\"10.1.2.0-24\",\"revision\":x,\"session\":0,\"value\":{}}\n{\"end\":2}\n",
	  -EBADMSG, "line 2: a malformed peer" },
	{ HEAD "{\"peer\":\"10.1.2.0-24\",\"revision\":99999999999999999999,\"session\":0,\"value\":{}}\n{\"end\":2}\n",
	  -EBADMSG, "line 2: a malformed peer" },
	{ HEAD "{\"peer\":\"10.1.2.0-24\",\"revision\":5,\"session\":0,\"value\":\n{\"end\":2}\n",
	  -EBADMSG, "line 2: a malformed peer" },
	{ HEAD "{\"lease\":7}\n{\"end\":2}\n", -EBADMSG, "line 2: not a lease" },
	{ HEAD "{\"device\":\"a-name-that-is-too-long\",\"mac\":\"02:00:00:00:00:01\"}\n{\"end\":2}\n",
	  -EBADMSG, "line 2: a malformed MAC" },
	{ HEAD "{\"device\":\"d\",\"mac\":\"02\"}\n{\"end\":2}\n", -EBADMSG, "line 2: a malformed MAC" },
	{ HEAD "{\"device\":7,\"mac\":\"02:00:00:00:00:01\"}\n{\"end\":2}\n", -EBADMSG, "line 2: " },
	{ HEAD "{\"config\":{}}\n{\"end\":2}\n", -EBADMSG, "line 2: " },
	{ HEAD "{\"end\":-1}\n", -EBADMSG, "line 2: " },
	{ "{\"prefix\":\"" PREFIX "\",\"schema\":2}\nwhatever", -EPROTONOSUPPORT,
	  "schema 2 is of a newer weftd, this one knows 1" },
	{ "{\"prefix\":\"" PREFIX "\",\"schema\":\"1\"}\n{\"end\":1}\n", -EBADMSG, "line 1: " },
	{ "{\"prefix\":\"/other\",\"schema\":1}\n" PEER MAC "{\"config\":\"{}\"}\n{\"end\":4}\n",
	  -ESTALE, "of another network, not of the one at " PREFIX },
	{ "{\"schema\":1}\n{\"end\":1}\n", -ESTALE, "of another network" },
};

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_state_ struct state loaded = { 0 };
		struct err e = { 0 };
		int r = state_decode(texts[i].text, strlen(texts[i].text), PREFIX, &loaded, &e);

		check(r == texts[i].code, "%s: %d %s", texts[i].text, r, e.msg);
		if (texts[i].message)
			check(strncmp(e.msg, texts[i].message, strlen(texts[i].message)) == 0,
			      "%s: %s", texts[i].text, e.msg);
		if (r == -ESTALE)
			check(lease_set_count(loaded.peers) == 0 && !loaded.config_text &&
				      !loaded.has_lease,
			      "%s: taken", texts[i].text);
		else if (r < 0)
			check(!loaded.peers && loaded.mac_count == 0, "%s: left over", texts[i].text);
	}
}

static void test_other_network_keeps_macs(void **state)
{
	_cleanup_state_ struct state loaded = { 0 };
	struct fixture *f = *state;

	write_all_parts(f);
	flush(f);
	state_load(f->directory, "/another", &loaded);
	assert_null(loaded.config_text);
	assert_false(loaded.has_lease);
	assert_int_equal(lease_set_count(loaded.peers), 0);
	assert_true(mac_equal(state_mac_find(&loaded, "flannel.1"), &mac_one));
	assert_false(exists(f, "state.bad"));
}

static void test_newer_schema_is_left_alone(void **state)
{
	static const char newer[] = "{\"prefix\":\"" PREFIX "\",\"schema\":9}\n";
	_cleanup_state_ struct state loaded = { 0 };
	struct fixture *f = *state;

	write_file(f, "peers", newer, strlen(newer));
	write_file(f, "peers.previous", HEAD PEER "{\"end\":2}\n",
		   strlen(HEAD PEER "{\"end\":2}\n")); // older: not to be believed
	state_load(f->directory, PREFIX, &loaded);
	assert_int_equal(lease_set_count(loaded.peers), 0);
	assert_true(exists(f, "peers"));
	assert_false(exists(f, "peers.bad"));
}

// How many turns it took.
static unsigned int turn_until_written(struct fixture *f, const char *name)
{
	uint64_t give_up = loop_now_ms() + 20000;
	unsigned int turns = 0;

	for (; !exists(f, name); turns++) {
		check(loop_now_ms() < give_up, "%s was never written", name);
		loop_turn(f->loop, 50);
	}
	return turns;
}

// By the loop, in slices: a large set changes under the writer's hands and what lies on disk in the end is the last of it.
static void test_written_in_slices(void **state)
{
	_cleanup_state_ struct state loaded = { 0 };
	struct fixture *f = *state;

	f->config = CONFIG;
	put_peers(f, 0, 65000);
	open_file(f);
	state_file_changed(f->file, STATE_PEERS);
	(void)turn_until_written(f, "peers.new");
	assert_false(exists(f, "peers")); // one slice is not the whole
	put_peers(f, 65000, 500);
	// A turn for each few hundred peers: how long one takes is the machine's affair.
	assert_true(turn_until_written(f, "peers") >= 65000 / 512);
	assert_false(exists(f, "peers.new"));
	state_file_changed(f->file, STATE_PEERS);
	flush(f);
	state_load(f->directory, PREFIX, &loaded);
	assert_int_equal(lease_set_count(loaded.peers), 65500);
	assert_false(exists(f, "state")); // nobody asked for it
}

static void test_changes_are_gathered(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct fixture *f = *state;

	f->config = "1";
	open_file(f);
	for (unsigned int i = 0; i < 1000; i++)
		state_file_changed(f->file, STATE_OWN);
	loop_turn(f->loop, 0);
	assert_false(exists(f, "state"));
	f->config = "2"; // still in time
	(void)turn_until_written(f, "state");
	text = read_file(f, "state", NULL);
	assert_non_null(strstr(text, "{\"config\":\"2\"}"));
	assert_false(exists(f, "state.previous")); // one write
}

static void test_flush_takes_over_a_write_half_done(void **state)
{
	_cleanup_state_ struct state loaded = { 0 };
	struct fixture *f = *state;

	put_peers(f, 0, 3000);
	open_file(f);
	state_file_changed(f->file, STATE_PEERS);
	(void)turn_until_written(f, "peers.new");
	flush(f);
	assert_false(exists(f, "peers.new"));
	state_load(f->directory, PREFIX, &loaded);
	assert_int_equal(lease_set_count(loaded.peers), 3000);
}

static void test_free_leaves_no_half_file(void **state)
{
	struct fixture *f = *state;

	put_peers(f, 0, 3000);
	open_file(f);
	state_file_changed(f->file, STATE_PEERS);
	(void)turn_until_written(f, "peers.new");
	f->file = state_file_free(f->file);
	assert_false(exists(f, "peers.new"));
	assert_false(exists(f, "peers"));
}

static void test_failures_are_told_and_retried(void **state)
{
	_cleanup_free_ char *blocked = NULL;
	struct fixture *f = *state;

	f->config = "{}";
	open_file(f);
	blocked = path_of(f, "state.new");
	assert_int_equal(mkdir(blocked, 0700), 0); // a directory where the temporary file should be
	state_file_changed(f->file, STATE_OWN);
	assert_true(state_file_flush(f->file, &f->e) < 0);
	assert_non_null(strstr(f->e.msg, "state.new"));
	assert_int_equal(rmdir(blocked), 0);
	flush(f); // it was not forgotten
	assert_true(exists(f, "state"));
}

static void test_a_failed_rename_is_retried(void **state)
{
	_cleanup_free_ char *blocked = NULL, *text = NULL;
	struct fixture *f = *state;

	f->config = "1";
	open_file(f);
	state_file_changed(f->file, STATE_OWN);
	flush(f);
	blocked = path_of(f, "state.previous");
	assert_int_equal(mkdir(blocked, 0700), 0);
	f->config = "2";
	state_file_changed(f->file, STATE_OWN);
	assert_true(state_file_flush(f->file, &f->e) < 0);
	assert_false(exists(f, "state.new"));
	assert_int_equal(rmdir(blocked), 0);
	flush(f);
	text = read_file(f, "state", NULL);
	assert_non_null(strstr(text, "{\"config\":\"2\"}"));
}

static void test_macs_are_bounded(void **state)
{
	_cleanup_state_ struct state loaded = { 0 };
	struct fixture *f = *state;
	char name[IFNAMSIZ];

	open_file(f);
	for (unsigned int i = 0; i < STATE_MACS_MAX + 3; i++) {
		(void)snprintf(name, sizeof(name), "flannel.%u", i);
		state_file_set_mac(f->file, name, &mac_one);
	}
	state_file_set_mac(f->file, "a-name-that-is-too-long", &mac_one);
	flush(f);
	state_load(f->directory, PREFIX, &loaded);
	assert_int_equal(loaded.mac_count, STATE_MACS_MAX);
	assert_null(state_mac_find(&loaded, "flannel.2"));
	assert_non_null(state_mac_find(&loaded, "flannel.3"));
	assert_non_null(state_mac_find(&loaded, "flannel.18"));
}

static void test_a_link_is_not_followed(void **state)
{
	_cleanup_free_ char *link_path = NULL, *victim = NULL;
	struct fixture *f = *state;

	f->config = "{}";
	link_path = path_of(f, "state.new");
	victim = path_of(f, "victim");
	write_file(f, "victim", "precious", 8);
	assert_int_equal(symlink(victim, link_path), 0);
	open_file(f);
	state_file_changed(f->file, STATE_OWN);
	assert_true(state_file_flush(f->file, &f->e) < 0);
	free(victim);
	victim = read_file(f, "victim", NULL);
	assert_string_equal(victim, "precious");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_literal_lines),
		TEST(test_missing),
		TEST(test_torn_anywhere),
		TEST(test_torn_file_falls_back_to_the_previous),
		TEST(test_texts),
		TEST(test_other_network_keeps_macs),
		TEST(test_newer_schema_is_left_alone),
		TEST(test_written_in_slices),
		TEST(test_changes_are_gathered),
		TEST(test_flush_takes_over_a_write_half_done),
		TEST(test_free_leaves_no_half_file),
		TEST(test_failures_are_told_and_retried),
		TEST(test_a_failed_rename_is_retried),
		TEST(test_macs_are_bounded),
		TEST(test_a_link_is_not_followed),
	};

	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
