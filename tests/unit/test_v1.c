// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of the API of flannel 0.5 to 0.7 as the controller serves it, with literal requests and answers.
#include "unit.h"

#include "controller/controller.h"
#include "controller/v1_internal.h"
#include "core/mem.h"
#include "io/http_client.h"
#include "loop_end.h"
#include "kv_client.h"
#include "raw_http.h"
#include "store/memory.h"
#include "store/v1_wire.h"
#include "tls_maker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CONFIG "{\"Network\":\"10.1.0.0/16\",\"Backend\":{\"Type\":\"vxlan\"}}"
#define SUBNET "{\"Subnet\":"
#define VALUE(ip) "{\"PublicIP\":\"" ip "\",\"PublicIPv6\":null}"
#define DATA(mac) "\"BackendType\":\"vxlan\",\"BackendData\":{\"VtepMAC\":\"" mac "\"}"
#define LEASE(subnet, ip, end) \
	"{\"Subnet\":\"" subnet "\",\"Attrs\":" VALUE(ip) ",\"Expiration\":\"" end "\"}"
#define NONE                                                                             \
	"{\"Subnet\":\"0.0.0.0/0\",\"Attrs\":{\"PublicIP\":\"0.0.0.0\"},\"Expiration\":" \
	"\"0001-01-01T00:00:00Z\"}"
#define NO_END "0001-01-01T00:00:00Z"
#define GONE(subnet) \
	"{\"Subnet\":\"" subnet "\",\"Attrs\":{\"PublicIP\":\"0.0.0.0\"},\"Expiration\":\"" NO_END "\"}"
#define MARK                                                                                                               \
	"{\"Network\":\"frozen by weft: being moved\",\"Frozen\":{\"Id\":\"1\",\"State\":\"copying\",\"Store\":\"there\"," \
	"\"Config\":\"{}\"}}"
#define FROZEN \
	"/p/config: the network is being moved to there by 'weft migrate': hosts keep their subnets, and none gets a new one until that is done\n"
#define SNAPSHOT(list) "{\"events\":null,\"snapshot\":[" list "],\"cursor\":\"C\"}"
#define EVENTS(list) "{\"events\":[" list "],\"snapshot\":null,\"cursor\":\"C\"}"
#define ADDED(lease) "{\"type\":\"added\",\"lease\":" lease "}"
#define REMOVED(lease) "{\"type\":\"removed\",\"lease\":" lease "}"

static struct loop *loop;
static struct kv *behind; // the controller's
static struct controller *controller;
static char cursor[64]; // of the last answer that had one

static void start(const char *token)
{
	const struct controller_config config = {
		.prefix = "/p",
		.token = token,
		.http = { .address = ip_v4(0x7f000001) },
	};
	struct err e;

	check(controller_new(behind, &config, &controller, &e) == 0, "%s", e.msg);
}

static int setup(void **state)
{
	static const struct store_config config = { .kind = "memory" };

	(void)state;
	loop = loop_new();
	assert_int_equal(kv_open(loop, &config, &behind, NULL), 0);
	start(NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	controller = controller_free(controller);
	behind = kv_close(behind);
	loop = loop_end(loop);
	return 0;
}

static void put(const char *key, const char *value)
{
	memory_put(behind, key, value, strlen(value), 0);
}

static int64_t put_leased(const char *key, const char *value)
{
	struct kv_answer answer;
	int64_t session;

	do_session_open(behind, 3600, &answer);
	session = answer.session;
	kv_answer_free(&answer);
	memory_put(behind, key, value, strlen(value), session);
	return session;
}

static const char *stored(const char *key)
{
	static char text[512];
	struct kv_pair pair;

	if (!memory_get(behind, key, &pair))
		return NULL;
	assert_int_equal(text_format(text, sizeof(text), "%.*s", (int)pair.value_len,
				     (const char *)pair.value),
			 0);
	return text;
}

static int64_t session_of(const char *key)
{
	struct kv_pair pair;

	return memory_get(behind, key, &pair) ? pair.session : -1;
}

static void turn_some(void)
{
	uint64_t end_ms = loop_now_ms() + 30;

	while (loop_now_ms() < end_ms)
		loop_turn(loop, 10);
}

// ---- bare HTTP; a client of version 1.0 is sent no chunks ----

static void open_peer(struct raw_http *peer)
{
	struct ip address = ip_v4(0x7f000001);

	raw_http_open_tcp(peer, loop, &address, controller_port(controller));
}

static void send_on(struct raw_http *peer, const char *method, const char *path, const char *body)
{
	_cleanup_free_ char *text = xasprintf("%s %s HTTP/1.0\r\nContent-Length: %zu\r\n\r\n%s",
					      method, path, strlen(body), body);

	raw_http_send(peer, text);
}

static void send_request(struct raw_http *peer, const char *method, const char *path, const char *body)
{
	open_peer(peer);
	send_on(peer, method, path, body);
}

// What changes from run to run is replaced: an end by T, a cursor by C (and kept).
static char *plain(const char *body)
{
	static const char expiration[] = "\"Expiration\":\"", next[] = "\"cursor\":\"";
	struct strbuf out = STRBUF_INIT(1024 * 1024);

	while (*body == '\n')
		body++;
	while (*body) {
		size_t len = strncmp(body, expiration, strlen(expiration)) == 0 ? strlen(expiration)
			     : strncmp(body, next, strlen(next)) == 0		? strlen(next)
										: 0;
		size_t value_len = len > 0 ? strcspn(body + len, "\"") : 0;

		if (len == 0 || strncmp(body + len, "0001-", 5) == 0) {
			strbuf_putc(&out, *body++);
			continue;
		}
		strbuf_printf(&out, "%.*s%c", (int)len, body, len == strlen(next) ? 'C' : 'T');
		if (len == strlen(next))
			(void)text_format(cursor, sizeof(cursor), "%.*s", (int)value_len, body + len);
		body += len + value_len;
	}
	return strbuf_take(&out);
}

static void expect(struct raw_http *peer, int status, const char *wanted)
{
	_cleanup_free_ char *head = xasprintf("HTTP/1.0 %d ", status);
	const char *body;
	_cleanup_free_ char *got = NULL;

	assert_true(raw_http_expect_end(peer));
	body = strstr(strbuf_text(&peer->got), "\r\n\r\n");
	assert_non_null(body);
	got = plain(body + 4);
	check(strncmp(strbuf_text(&peer->got) + 9, head + 9, 4) == 0 && strcmp(got, wanted) == 0,
	      "wanted %d %s\ngot %s", status, wanted, strbuf_text(&peer->got));
	if (status == 200)
		assert_non_null(strstr(strbuf_text(&peer->got),
				       "Content-Type: application/json; charset=utf-8\r\n"));
	raw_http_close(peer);
}

static void ask(const char *method, const char *path, const char *body, int status, const char *wanted)
{
	struct raw_http peer;

	send_request(&peer, method, path, body);
	expect(&peer, status, wanted);
}

static void poll(struct raw_http *peer, const char *path)
{
	_cleanup_free_ char *whole = xasprintf("%s?next=%s", path, cursor);

	send_request(peer, "GET", whole, "");
	// The head comes at once: the client waits from here on.
	assert_true(raw_http_expect(peer, "\r\n\r\n"));
}

// ---- the table, row by row ----

static void test_config(void **state)
{
	(void)state;
	ask("GET", "/v1/_/config", "", 500, "100: Key not found (/p/config)\n");
	put("/p/config", "{\"Network\":\"10.1.7.9/16\"}");
	ask("GET", "/v1/_/config", "", 200,
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.1.0\",\"SubnetMax\":\"10.1.255.0\","
	    "\"SubnetLen\":24}");
	put("/p/blue/config",
	    "{\"network\":\"10.2.0.0/20\",\"SubnetLen\":26,\"SubnetMin\":\"10.2.1.0\",\"Backend\":{\"Type\":\"vxlan\",\"VNI\":7}}");
	ask("GET", "/v1/blue/config", "", 200,
	    "{\"Network\":\"10.2.0.0/20\",\"SubnetMin\":\"10.2.1.0\",\"SubnetMax\":\"10.2.15.192\","
	    "\"SubnetLen\":26,\"Backend\":{\"Type\":\"vxlan\",\"VNI\":7}}");
	put("/p/bad/config", "{");
	ask("GET", "/v1/bad/config", "", 500,
	    "/p/bad/config: not valid JSON: string or '}' expected near end of file (line 1, column 1)\n");
	put("/p/six/config",
	    "{\"Network\":\"10.1.0.0/16\",\"EnableIPv6\":true,\"IPv6Network\":\"fd00::/48\"}");
	ask("GET", "/v1/six/config", "", 500,
	    "/p/six/config: the network has IPv6, of which this API and its clients know nothing\n");
}

static void test_acquire(void **state)
{
	int64_t session;

	(void)state;
	put("/p/config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.5.0\",\"SubnetMax\":\"10.1.6.0\"}");
	put_leased("/p/subnets/10.1.5.0-24", VALUE("192.0.2.9"));
	ask("POST", "/v1/_/leases", "{\"PublicIP\":\"192.0.2.1\"," DATA("02:00:00:00:00:01") "}", 200,
	    "{\"Subnet\":\"10.1.6.0/24\",\"Attrs\":{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null," DATA(
		    "02:00:00:00:00:01") "},\"Expiration\":\"T\"}");
	session = session_of("/p/subnets/10.1.6.0-24");
	assert_true(session > 0);
	// The same host, with another MAC: the same lease, changed.
	ask("POST", "/v1/_/leases", "{\"PublicIP\":\"192.0.2.1\"," DATA("02:00:00:00:00:02") "}", 200,
	    "{\"Subnet\":\"10.1.6.0/24\",\"Attrs\":{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null," DATA(
		    "02:00:00:00:00:02") "},\"Expiration\":\"T\"}");
	assert_int_equal(session_of("/p/subnets/10.1.6.0-24"), session);
	ask("POST", "/v1/_/leases", "{\"PublicIP\":\"192.0.2.3\"}", 500, "out of subnets\n");
	// A reservation is its host's, and stays one.
	put("/p/subnets/10.1.5.0-24", VALUE("192.0.2.3"));
	ask("POST", "/v1/_/leases", "{\"PublicIP\":\"192.0.2.3\"}", 200,
	    LEASE("10.1.5.0/24", "192.0.2.3", NO_END));
	assert_int_equal(session_of("/p/subnets/10.1.5.0-24"), 0);
	ask("POST", "/v1/none/leases", "{\"PublicIP\":\"192.0.2.3\"}", 500,
	    "100: Key not found (/p/none/config)\n");
}

// One that does not fit any more is given up for one that does.
static void test_acquire_unfit(void **state)
{
	(void)state;
	put("/p/config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.5.0\",\"SubnetMax\":\"10.1.5.0\"}");
	put_leased("/p/subnets/10.1.4.0-24", VALUE("192.0.2.1"));
	put_leased("/p/subnets/10.1.7.0-25", VALUE("192.0.2.1"));
	put_leased("/p/subnets/10.1.8.0-24&fd00::-64", VALUE("192.0.2.1"));
	ask("POST", "/v1/_/leases", VALUE("192.0.2.1"), 200, LEASE("10.1.5.0/24", "192.0.2.1", "T"));
	assert_int_equal(memory_key_count(behind), 2);
	assert_int_equal(memory_session_count(behind), 1);
}

// Several at once of one host, and of another one with few subnets to choose from.
static void test_acquire_race(void **state)
{
	struct raw_http peers[6];

	(void)state;
	put("/p/config",
	    "{\"Network\":\"10.1.0.0/16\",\"SubnetMin\":\"10.1.5.0\",\"SubnetMax\":\"10.1.12.0\"}");
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		open_peer(&peers[i]);
	turn_some(); // they are accepted one by one, but read at once
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		send_on(&peers[i], "POST", "/v1/_/leases",
			i == 1 ? VALUE("192.0.2.2") : VALUE("192.0.2.1"));
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		assert_true(raw_http_expect_end(&peers[i]));
		check(strstr(strbuf_text(&peers[i].got), " 200 "), "%s", strbuf_text(&peers[i].got));
		raw_http_close(&peers[i]);
	}
	assert_int_equal(memory_key_count(behind), 3); // a config and two leases
}

// The network is frozen after the request was judged, and before the lease is written.
static void test_frozen_meanwhile(void **state)
{
	static const char *const rows[][3] = {
		{ "/v1/_/leases", VALUE("192.0.2.1"), FROZEN },
		{ "/v1/_/reservations", "{\"Subnet\":\"10.1.5.0/24\",\"PublicIP\":\"192.0.2.1\"}",
		  FROZEN },
	};
	struct raw_http peer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put("/p/config", CONFIG);
		ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
		send_request(&peer, "POST", rows[i][0], rows[i][1]);
		turn_until(loop, controller->v1->requests);
		put("/p/config", MARK);
		expect(&peer, 500, rows[i][2]);
		assert_int_equal(memory_key_count(behind), 1);
		turn_until(loop, memory_session_count(behind) == 0);
	}
}

static void test_renew(void **state)
{
	int64_t session;

	(void)state;
	put("/p/config", CONFIG);
	session = put_leased("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	// The path does not count.
	ask("PUT", "/v1/_/leases/10.9.9.0-24", LEASE("10.1.5.0/24", "192.0.2.1", NO_END), 200,
	    LEASE("10.1.5.0/24", "192.0.2.1", "T"));
	assert_int_equal(session_of("/p/subnets/10.1.5.0-24"), session);
	assert_string_equal(stored("/p/subnets/10.1.5.0-24"), VALUE("192.0.2.1"));
	ask("PUT", "/v1/_/leases/10.1.5.0-24",
	    SUBNET
	    "\"10.1.5.0/24\",\"Attrs\":{\"PublicIP\":\"192.0.2.1\"," DATA("02:00:00:00:00:01") "}}",
	    200,
	    SUBNET "\"10.1.5.0/24\",\"Attrs\":{\"PublicIP\":\"192.0.2.1\",\"PublicIPv6\":null," DATA(
		    "02:00:00:00:00:01") "},\"Expiration\":\"T\"}");
	ask("PUT", "/v1/_/leases/10.1.5.0-24", LEASE("10.1.5.0/24", "192.0.2.7", NO_END), 500,
	    "the subnet is leased to another host\n");
	// One that is gone is made again, if it can be.
	assert_true(memory_expire_session(behind, session));
	ask("PUT", "/v1/_/leases/10.1.5.0-24", LEASE("10.1.5.0/24", "192.0.2.1", NO_END), 200,
	    LEASE("10.1.5.0/24", "192.0.2.1", "T"));
	assert_true(session_of("/p/subnets/10.1.5.0-24") > 0);
	put_leased("/p/subnets/10.1.6.0-23", VALUE("192.0.2.4"));
	ask("PUT", "/v1/_/leases/10.1.7.0-24", LEASE("10.1.7.0/24", "192.0.2.5", NO_END), 500,
	    "the lease is gone, and another has some of its subnet\n");
	ask("PUT", "/v1/_/leases/10.2.7.0-24", LEASE("10.2.7.0/24", "192.0.2.5", NO_END), 500,
	    "the lease is gone, and its subnet does not fit the config\n");
	// A reservation stays one; but its owner is not told an end that is past.
	put("/p/subnets/10.1.9.0-24", VALUE("192.0.2.8"));
	ask("PUT", "/v1/_/leases/10.1.9.0-24", LEASE("10.1.9.0/24", "192.0.2.8", NO_END), 200,
	    LEASE("10.1.9.0/24", "192.0.2.8", "T"));
	assert_int_equal(session_of("/p/subnets/10.1.9.0-24"), 0);
}

static void test_revoke(void **state)
{
	(void)state;
	put("/p/blue/config", CONFIG);
	put_leased("/p/blue/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	ask("DELETE", "/v1/blue/leases/10.1.5.0-24", "", 200, "");
	assert_null(stored("/p/blue/subnets/10.1.5.0-24"));
	assert_int_equal(memory_session_count(behind), 0);
	ask("GET", "/v1/blue/leases", "", 200, SNAPSHOT(""));
	ask("DELETE", "/v1/blue/leases/10.1.5.0-24", "", 500,
	    "100: Key not found (/p/blue/subnets/10.1.5.0-24)\n");
}

static void test_reservations(void **state)
{
	static const char one[] = "{\"Subnet\":\"10.1.5.0/24\",\"PublicIP\":\"192.0.2.1\"}";

	(void)state;
	put("/p/config", CONFIG);
	ask("GET", "/v1/_/reservations", "", 200, "[]");
	ask("POST", "/v1/_/reservations", one, 200, "");
	ask("POST", "/v1/_/reservations", one, 200, "");
	assert_string_equal(stored("/p/subnets/10.1.5.0-24"), VALUE("192.0.2.1"));
	assert_int_equal(session_of("/p/subnets/10.1.5.0-24"), 0);
	put_leased("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	ask("GET", "/v1/_/reservations", "", 200,
	    "[{\"Subnet\":\"10.1.5.0/24\",\"PublicIP\":\"192.0.2.1\"}]");
	ask("POST", "/v1/_/reservations", "{\"Subnet\":\"10.1.5.0/24\",\"PublicIP\":\"192.0.2.2\"}",
	    500, "subnet: lease already taken\n");
	ask("POST", "/v1/_/reservations", "{\"Subnet\":\"10.1.7.0/25\",\"PublicIP\":\"192.0.2.2\"}",
	    500, "reserved subnet is not one of the network's, or of another length\n");
	ask("POST", "/v1/_/reservations", "{\"Subnet\":\"10.3.7.0/24\",\"PublicIP\":\"192.0.2.2\"}",
	    500, "reserved subnet is not one of the network's, or of another length\n");
	// A lease becomes one, and stops to be one.
	ask("POST", "/v1/_/reservations", "{\"Subnet\":\"10.1.6.0/24\",\"PublicIP\":\"192.0.2.2\"}",
	    200, "");
	assert_int_equal(session_of("/p/subnets/10.1.6.0-24"), 0);
	turn_some();
	assert_int_equal(memory_session_count(behind), 0);
	assert_string_equal(stored("/p/subnets/10.1.6.0-24"), VALUE("192.0.2.2"));
	ask("DELETE", "/v1/_/reservations/10.1.6.0-24", "", 200, "");
	assert_true(session_of("/p/subnets/10.1.6.0-24") > 0);
	ask("DELETE", "/v1/_/reservations/10.1.6.0-24", "", 200, "");
	ask("DELETE", "/v1/_/reservations/10.1.7.0-24", "", 500,
	    "100: Key not found (/p/subnets/10.1.7.0-24)\n");
	ask("GET", "/v1/_/reservations", "", 200,
	    "[{\"Subnet\":\"10.1.5.0/24\",\"PublicIP\":\"192.0.2.1\"}]");
}

// ---- watching ----

static void test_snapshot_and_events(void **state)
{
	struct raw_http peer, other;

	(void)state;
	put("/p/config", CONFIG);
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
	put_leased("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	put("/p/subnets/junk", "{}");
	put("/p/subnets/10.1.7.0-24", "[]");
	put("/p/blue/subnets/10.1.8.0-24", VALUE("192.0.2.3"));
	put("/p/subnets/10.1.9.0-24&fd00::-64", VALUE("192.0.2.9"));
	turn_some();
	// What happened since is told at once, in one answer.
	poll(&peer, "/v1/_/leases");
	expect(&peer, 200,
	       EVENTS(ADDED(LEASE("10.1.5.0/24", "192.0.2.1", "T")) "," ADDED(
		       LEASE("10.1.6.0/24", "192.0.2.2",
			     NO_END)) "," ADDED(LEASE("10.1.9.0/24", "192.0.2.9", NO_END))));
	poll(&peer, "/v1/_/leases");
	poll(&other, "/v1/_/leases");
	put("/p/other", "x");
	put("/p/subnets/10.1.7.0-24", "[1]");
	turn_some();
	assert_false(peer.ended);
	assert_true(memory_delete(behind, "/p/subnets/10.1.6.0-24"));
	expect(&peer, 200, EVENTS(REMOVED(GONE("10.1.6.0/24"))));
	expect(&other, 200, EVENTS(REMOVED(GONE("10.1.6.0/24"))));
	ask("GET", "/v1/_/leases", "", 200,
	    SNAPSHOT(LEASE("10.1.5.0/24", "192.0.2.1", "T") "," LEASE("10.1.9.0/24", "192.0.2.9",
								      NO_END)));
	ask("GET", "/v1/green/leases", "", 200, SNAPSHOT(""));
}

// Whatever cursor it is that nothing can be told from: a snapshot.
static void test_strange_cursors(void **state)
{
	static const char *const strange[] = { "",
					       "x",
					       "0",
					       "00000",
					       "-100000",
					       "1e900000",
					       "99999999",
					       "18446744073709551616",
					       "99999999999999999999999999999999",
					       "%00",
					       "1000000000099999" };

	(void)state;
	put("/p/config", CONFIG);
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	for (size_t i = 0; i < ARRAY_SIZE(strange); i++) {
		_cleanup_free_ char *path = xasprintf("/v1/_/leases?next=%s", strange[i]);

		ask("GET", path, "", 200, SNAPSHOT(LEASE("10.1.6.0/24", "192.0.2.2", NO_END)));
	}
}

static void test_cursor_too_old(void **state)
{
	struct raw_http peer;

	(void)state;
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(LEASE("10.1.6.0/24", "192.0.2.2", NO_END)));
	assert_true(memory_delete(behind, "/p/subnets/10.1.6.0-24"));
	for (int i = 0; i < MIRROR_CHANGES_MAX + 1; i++) {
		put("/p/x", "x");
		if (i % 512 == 0)
			turn_some();
	}
	turn_some();
	poll(&peer, "/v1/_/leases");
	expect(&peer, 200, SNAPSHOT(""));
}

static void test_store_replaced(void **state)
{
	struct raw_http leases, lease, networks;

	(void)state;
	put("/p/config", CONFIG);
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(LEASE("10.1.6.0/24", "192.0.2.2", NO_END)));
	poll(&leases, "/v1/_/leases");
	poll(&lease, "/v1/_/leases/10.1.6.0-24");
	poll(&networks, "/v1/");
	memory_wipe(behind);
	put("/p/blue/config", CONFIG);
	expect(&leases, 200, SNAPSHOT(""));
	expect(&lease, 200, EVENTS(REMOVED(GONE("10.1.6.0/24"))));
	expect(&networks, 200, SNAPSHOT("\"blue\""));
}

// What was told before it started it does not know.
static void test_restarted(void **state)
{
	struct raw_http peer;

	(void)state;
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(LEASE("10.1.6.0/24", "192.0.2.2", NO_END)));
	controller = controller_free(controller);
	assert_true(memory_delete(behind, "/p/subnets/10.1.6.0-24"));
	start(NULL);
	poll(&peer, "/v1/_/leases");
	expect(&peer, 200, SNAPSHOT(""));
	// But if nothing happened, the cursor is as good as before.
	controller = controller_free(controller);
	start(NULL);
	poll(&peer, "/v1/_/leases");
	turn_some();
	assert_false(peer.ended);
	put("/p/subnets/10.1.7.0-24", VALUE("192.0.2.2"));
	expect(&peer, 200, EVENTS(ADDED(LEASE("10.1.7.0/24", "192.0.2.2", NO_END))));
}

// Its revisions have the same numbers.
static void test_cursor_of_another_store(void **state)
{
	char old[sizeof(cursor)];
	struct raw_http peer;

	(void)state;
	for (int i = 0; i < 10; i++)
		put("/p/x", "x");
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
	(void)text_copy(old, sizeof(old), cursor);
	memory_wipe(behind);
	turn_some();
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
	(void)text_copy(cursor, sizeof(cursor), old);
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	for (int i = 0; i < 20; i++)
		put("/p/x", "x");
	turn_some();
	poll(&peer, "/v1/_/leases");
	expect(&peer, 200, SNAPSHOT(LEASE("10.1.6.0/24", "192.0.2.2", NO_END)));
}

// A cursor of a controller that is further: the change is awaited, and told.
static void test_cursor_ahead(void **state)
{
	struct raw_http peer;
	char path[128];

	(void)state;
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
	assert_int_equal(text_format(path, sizeof(path), "/v1/_/leases?next=%lld%s",
				     (long long)memory_revision(behind) + 1,
				     cursor + strlen(cursor) - 5),
			 0);
	send_request(&peer, "GET", path, "");
	turn_some();
	put("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1")); // which the client knows
	turn_some();
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	expect(&peer, 200, EVENTS(ADDED(LEASE("10.1.6.0/24", "192.0.2.2", NO_END))));
}

static void test_one_lease(void **state)
{
	struct raw_http peer;

	(void)state;
	ask("GET", "/v1/_/leases/10.1.5.0-24", "", 500,
	    "100: Key not found (/p/subnets/10.1.5.0-24)\n");
	put_leased("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	ask("GET", "/v1/_/leases/10.1.5.0-24", "", 200,
	    SNAPSHOT(LEASE("10.1.5.0/24", "192.0.2.1", "T")));
	poll(&peer, "/v1/_/leases/10.1.5.0-24");
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	put("/p/subnets/10.1.5.0-24&fd00::-64", VALUE("192.0.2.2"));
	turn_some();
	assert_false(peer.ended);
	put("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	expect(&peer, 200, EVENTS(ADDED(LEASE("10.1.5.0/24", "192.0.2.1", NO_END))));
	put_leased("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	poll(&peer, "/v1/_/leases/10.1.5.0-24");
	expect(&peer, 200, EVENTS(ADDED(LEASE("10.1.5.0/24", "192.0.2.1", "T"))));
	poll(&peer, "/v1/_/leases/10.1.5.0-24");
	assert_true(memory_delete(behind, "/p/subnets/10.1.5.0-24"));
	expect(&peer, 200, EVENTS(REMOVED(GONE("10.1.5.0/24"))));
	put_leased("/p/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	ask("GET", "/v1/_/leases/10.1.5.0-24?next=0", "", 200,
	    SNAPSHOT(LEASE("10.1.5.0/24", "192.0.2.1", "T")));
}

static void test_networks(void **state)
{
	struct raw_http peer;

	(void)state;
	put("/p/config", CONFIG);
	put("/p/red/config", CONFIG);
	put("/p/blue/config", CONFIG);
	put("/p/broken/config", "{");
	put("/p/a/b/config", CONFIG);
	put("/p/subnets/config", CONFIG);
	put("/p/_/config", CONFIG);
	ask("GET", "/v1/", "", 200, SNAPSHOT("\"blue\",\"red\""));
	poll(&peer, "/v1/");
	put("/p/config", CONFIG);
	put("/p/blue/subnets/10.1.5.0-24", VALUE("192.0.2.1"));
	turn_some();
	assert_false(peer.ended);
	put("/p/green/config", CONFIG);
	expect(&peer, 200, EVENTS("{\"type\":\"added\",\"lease\":" NONE ",\"network\":\"green\"}"));
	poll(&peer, "/v1/");
	assert_true(memory_delete(behind, "/p/red/config"));
	expect(&peer, 200, EVENTS("{\"type\":\"removed\",\"lease\":" NONE ",\"network\":\"red\"}"));
	ask("GET", "/v1", "", 200, SNAPSHOT("\"blue\",\"green\""));
	put("/p/blue/config", MARK); // nobody is to leave a network that is frozen
	ask("GET", "/v1", "", 200, SNAPSHOT("\"blue\",\"green\""));
}

// While nothing happens there are blanks, and in the end something is told that is known.
static void test_quiet(void **state)
{
	struct raw_http leases, lease, networks, empty;

	(void)state;
	put("/p/subnets/0junk", "{}");
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	put("/p/subnets/10.1.7.0-24", VALUE("192.0.2.3"));
	put("/p/red/config", CONFIG);
	ask("GET", "/v1/_/leases/10.1.7.0-24", "", 200,
	    SNAPSHOT(LEASE("10.1.7.0/24", "192.0.2.3", NO_END)));
	controller->v1->blank_ms = 100;
	poll(&leases, "/v1/_/leases");
	assert_true(raw_http_expect(&leases, "\r\n\r\n\n\n"));
	raw_http_close(&leases);
	turn_until(loop, !controller->v1->polls); // a blank cannot be sent any more
	controller->v1->poll_ms = 300;
	poll(&leases, "/v1/_/leases");
	poll(&lease, "/v1/_/leases/10.1.7.0-24");
	poll(&networks, "/v1/");
	poll(&empty, "/v1/red/leases");
	expect(&leases, 200, EVENTS(ADDED(LEASE("10.1.6.0/24", "192.0.2.2", NO_END))));
	expect(&lease, 200, EVENTS(ADDED(LEASE("10.1.7.0/24", "192.0.2.3", NO_END))));
	expect(&networks, 200, SNAPSHOT("\"red\""));
	expect(&empty, 200, SNAPSHOT(""));
}

// ---- what is refused ----

static void test_refusals(void **state)
{
	static const struct {
		const char *method, *path, *body;
		int status;
		const char *text;
	} rows[] = {
		{ "GET", "/v1/_", "", 404, "404 page not found\n" },
		{ "GET", "/v1/_/", "", 404, "404 page not found\n" },
		{ "GET", "/v1/_/confi", "", 404, "404 page not found\n" },
		{ "GET", "/v1/_/config/x", "", 404, "404 page not found\n" },
		{ "GET", "/v1//config", "", 404, "404 page not found\n" },
		{ "GET", "/v1/subnets/config", "", 404, "404 page not found\n" },
		{ "GET", "/v1/%01/leases", "", 404, "404 page not found\n" },
		{ "GET", "/v1/%ff/leases", "", 404, "404 page not found\n" },
		{ "GET", "/v1/a%2fb/config", "", 404, "404 page not found\n" },
		{ "POST", "/v1/", "", 405, "405 method not allowed\n" },
		{ "PATCH", "/v1/_/leases", "", 405, "405 method not allowed\n" },
		{ "DELETE", "/v1/_/leases", "", 405, "405 method not allowed\n" },
		{ "GET", "/v1/_/leases/", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/x", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/10.1.5.0", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/10.1.5.1-24", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/0.0.0.0-0", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/10.1.5.0-33", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/10.1.5.0-24/x", "", 400, "bad subnet\n" },
		{ "GET", "/v1/_/leases/10.1.5.0-24&fd00::-64", "", 400, "bad subnet\n" },
		{ "DELETE", "/v1/_/leases/..", "", 400, "bad subnet\n" },
		{ "DELETE", "/v1/_/reservations/x", "", 400, "bad subnet\n" },
		{ "PUT", "/v1/_/leases/x", LEASE("10.1.5.0/24", "192.0.2.1", NO_END), 400,
		  "bad subnet\n" },
		{ "POST", "/v1/_/leases", "", 400,
		  "JSON decoding error: not valid JSON: unexpected token near end of file (line 1, column 0)\n" },
		{ "POST", "/v1/_/leases", "[]", 400, "JSON decoding error: must be a JSON object\n" },
		{ "POST", "/v1/_/leases", "{}", 400,
		  "JSON decoding error: PublicIP: absent, or none that packets can be sent to\n" },
		{ "POST", "/v1/_/leases", VALUE("0.0.0.0"), 400,
		  "JSON decoding error: PublicIP: absent, or none that packets can be sent to\n" },
		{ "POST", "/v1/_/leases", VALUE("127.0.0.1"), 400,
		  "JSON decoding error: PublicIP: absent, or none that packets can be sent to\n" },
		{ "PUT", "/v1/_/leases/10.1.5.0-24", "{\"Attrs\":{\"PublicIP\":\"192.0.2.1\"}}",
		  400, "JSON decoding error: Subnet: absent, or not one of IPv4\n" },
		{ "PUT", "/v1/_/leases/10.1.5.0-24", LEASE("fd00::/64", "192.0.2.1", NO_END), 400,
		  "JSON decoding error: Subnet: absent, or not one of IPv4\n" },
		{ "PUT", "/v1/_/leases/10.1.5.0-24", LEASE("0.0.0.0/0", "192.0.2.1", NO_END), 400,
		  "JSON decoding error: Subnet: absent, or not one of IPv4\n" },
		{ "PUT", "/v1/_/leases/10.1.5.0-24", LEASE("10.1.5.0/24", "192.0.2.1", "soon"), 400,
		  "JSON decoding error: Expiration: \"soon\" is no time\n" },
		{ "POST", "/v1/_/reservations", "{\"Subnet\":\"10.1.5.0/24\"}", 400,
		  "JSON decoding error: PublicIP: absent, or none that packets can be sent to\n" },
	};

	(void)state;
	put("/p/config", CONFIG);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct raw_http peer;

		send_request(&peer, rows[i].method, rows[i].path, rows[i].body);
		assert_true(raw_http_expect_end(&peer));
		check(strncmp(strbuf_text(&peer.got) + 9,
			      (char[]){ (char)('0' + rows[i].status / 100), '0',
					(char)('0' + rows[i].status % 10), 0 },
			      3) == 0 &&
			      strstr(strbuf_text(&peer.got), rows[i].text),
		      "%s %s: %s", rows[i].method, rows[i].path, strbuf_text(&peer.got));
		raw_http_close(&peer);
	}
	assert_int_equal(memory_key_count(behind), 1);
}

static void test_large_body(void **state)
{
	_cleanup_free_ char *large = xcalloc(1, V1_BODY_MAX + 2);
	struct raw_http peer;

	(void)state;
	memset(large, ' ', V1_BODY_MAX + 1);
	send_request(&peer, "POST", "/v1/_/leases", large);
	assert_true(raw_http_expect(&peer, "JSON decoding error: "));
	assert_true(raw_http_expect(&peer, " 400 "));
	raw_http_close(&peer);
}

static void test_token(void **state)
{
	(void)state;
	controller = controller_free(controller);
	start("0123456789abcdef0123456789abcdef");
	put("/p/config", CONFIG);
	ask("GET", "/v1/_/config", "", 401,
	    "clients of this API cannot have a token: the controller serves it with client certificates "
	    "(--remote-cafile) or with --insecure\n");
	ask("POST", "/v1/_/leases", VALUE("192.0.2.1"), 401,
	    "clients of this API cannot have a token: the controller serves it with client certificates "
	    "(--remote-cafile) or with --insecure\n");
	assert_int_equal(memory_key_count(behind), 1);
}

// ---- client certificates: with them no token is wanted here, and without one nobody gets in ----

enum { CA, CRT, KEY, CLIENT_CRT, CLIENT_KEY, FILES };

struct fetched {
	bool done;
	int r, status;
	char *body;
};

static void on_fetched(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct fetched *fetched = arg;

	(void)e;
	*fetched = (struct fetched){ true, r, response->status, xstrdup(response->body) };
}

static struct fetched fetch(const struct http_client_config *config, const char *path)
{
	_cleanup_free_ char *url =
		xasprintf("https://127.0.0.1:%u%s", controller_port(controller), path);
	struct fetched fetched = { 0 };
	const struct http_request request = { .method = "GET",
					      .url = url,
					      .response_max = 65536,
					      .connect_timeout_ms = 5000,
					      .total_timeout_ms = 5000,
					      .done = on_fetched,
					      .arg = &fetched };
	struct http_client *client;
	struct err e;

	check(http_client_new(loop, config, &client, &e) == 0, "%s", e.msg);
	http_call_start(client, &request);
	turn_until(loop, fetched.done);
	http_client_free(client);
	return fetched;
}

static void check_mutual_tls(char files[FILES][64])
{
	const struct http_client_config known = { .ca_file = files[CA],
						  .cert_file = files[CLIENT_CRT],
						  .key_file = files[CLIENT_KEY] };
	const struct http_client_config unknown = { .ca_file = files[CA] };
	struct fetched fetched = fetch(&known, "/v1/_/config");

	assert_int_equal(fetched.status, 200);
	assert_non_null(strstr(fetched.body, "\"Network\":\"10.1.0.0/16\""));
	free(fetched.body);
	fetched = fetch(&known, "/v2/range"); // which wants its token all the same
	assert_int_equal(fetched.status, 401);
	free(fetched.body);
	fetched = fetch(&unknown, "/v1/_/config");
	assert_true(fetched.r < 0);
	free(fetched.body);
}

static void test_mutual_tls(void **state)
{
	static const char *const names[FILES] = { "ca", "crt", "key", "client.crt", "client.key" };
	char directory[] = "/tmp/weft-v1-XXXXXX", files[FILES][64];
	struct controller_config config = { .prefix = "/p",
					    .token = "0123456789abcdef0123456789abcdef",
					    .http = { .address = ip_v4(0x7f000001),
						      .tls = { files[CRT], files[KEY], files[CA] } } };
	struct tls_maker *maker = tls_maker_new();
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(directory));
	for (size_t i = 0; i < FILES; i++)
		(void)text_format(files[i], sizeof(files[i]), "%s/%s", directory, names[i]);
	tls_maker_write_ca(maker, files[CA]);
	tls_maker_write_server(maker, files[CRT], files[KEY]);
	tls_maker_write_client(maker, files[CLIENT_CRT], files[CLIENT_KEY]);
	tls_maker_free(maker);
	controller = controller_free(controller);
	check(controller_new(behind, &config, &controller, &e) == 0, "%s", e.msg);
	put("/p/config", CONFIG);
	check_mutual_tls(files);
	for (size_t i = 0; i < FILES; i++)
		assert_int_equal(unlink(files[i]), 0);
	assert_int_equal(rmdir(directory), 0);
}

static void test_store_away(void **state)
{
	struct raw_http peer;

	(void)state;
	put("/p/config", CONFIG);
	ask("GET", "/v1/_/leases", "", 200, SNAPSHOT(""));
	poll(&peer, "/v1/_/leases");
	memory_set_reachable(behind, false);
	send_request(&(struct raw_http){ 0 }, "GET", "/v1/_/leases", ""); // is gone before it is answered
	turn_some();
	assert_false(peer.ended);
	memory_set_reachable(behind, true);
	put("/p/subnets/10.1.6.0-24", VALUE("192.0.2.2"));
	expect(&peer, 200, EVENTS(ADDED(LEASE("10.1.6.0/24", "192.0.2.2", NO_END))));
}

// ---- which subnet ----

static void test_choose(void **state)
{
	_cleanup_netconf_ struct netconf conf = { 0 };
	static const char text[] = "{\"Network\":\"10.1.0.0/16\"}";
	struct ipnet taken[260], chosen;
	uint32_t low = UINT32_MAX, high = 0;
	size_t count = 0;

	(void)state;
	assert_int_equal(netconf_parse(text, strlen(text), &conf, NULL), 0);
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(v1_choose(&conf.v4, taken, 0, &chosen), 0);
		assert_true(netconf_family_fits(&conf.v4, &chosen));
		low = ip_v4_value(&chosen.addr) < low ? ip_v4_value(&chosen.addr) : low;
		high = ip_v4_value(&chosen.addr) > high ? ip_v4_value(&chosen.addr) : high;
	}
	assert_int_equal(low, 0x0a010100);
	assert_int_equal(high, 0x0a016400); // the hundredth
	for (uint32_t third = 255; third > 0; third--)
		if (third != 77 && third != 120 && third != 121 && third != 200)
			taken[count++] = ipnet_of(&(struct ip){ .family = AF_INET,
								.bytes = { 10, 1, (uint8_t)third } },
						  24);
	taken[count++] = (struct ipnet){ .addr = ip_v4(0x0a017800), .len = 23 }; // 120 and 121
	taken[count++] = (struct ipnet){ .addr = ip_v4(0x0a01c880), .len = 26 }; // some of 200
	for (int i = 0; i < 20; i++) {
		assert_int_equal(v1_choose(&conf.v4, taken, count, &chosen), 0);
		assert_int_equal(ip_v4_value(&chosen.addr), 0x0a014d00);
	}
	taken[count++] = (struct ipnet){ .addr = ip_v4(0x0a000000), .len = 8 };
	assert_int_equal(v1_choose(&conf.v4, taken, count, &chosen), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acquire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acquire_unfit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acquire_race, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frozen_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_revoke, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reservations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_snapshot_and_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_strange_cursors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cursor_too_old, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restarted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cursor_of_another_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cursor_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_quiet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_body, setup, teardown),
		cmocka_unit_test_setup_teardown(test_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mutual_tls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_away, setup, teardown),
		cmocka_unit_test(test_choose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
