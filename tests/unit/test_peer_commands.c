// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of agent/peer_commands: the order of a peer's commands, how many run at once, what is tried again.
#include "unit.h"

#include "agent/peer_commands.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <errno.h>
#include <string.h>

#define DEADLINE_MS 30000
#define RUNS_MAX 256

struct run {
	struct world *world;
	child_fn *fn;
	void *arg;
};

// A command here is "true", "false" or "sleep 1000", by what is told to happen; the log says who was asked for what.
struct world {
	struct loop *loop;
	struct peer_commands *commands;
	struct strbuf log;
	struct run runs[RUNS_MAX]; // those that are killed never end
	size_t run_count;
	unsigned int running, most_running;
	const char *add, *remove; // NULL: none to be run
	unsigned int changes;
	bool is_idle;
};

static void run_ended(void *arg, int r, const char *output, bool is_whole, const struct err *e)
{
	struct run *run = arg;
	run->world->running--;
	run->fn(run->arg, r, output, is_whole, e);
}

static int start(void *arg, enum peer_command which, const struct subnet *subnet,
		 const struct peer_facts *facts, child_fn *fn, void *fn_arg, struct child **ret,
		 struct err *e)
{
	static char *const environment[] = { (char *)"PATH=/usr/bin:/bin", NULL };
	struct world *world = arg;
	char net[SUBNET_STR_MAX], ip[IP_STR_MAX];
	const char *text = which == PEER_COMMAND_ADD ? world->add : world->remove;
	(void)strbuf_printf(&world->log, "%c%s@%s=%s ", which == PEER_COMMAND_ADD ? '+' : '-',
			    subnet_str(subnet, net), ip_str(&facts->public_ip, ip), facts->input);
	if (!text)
		return 1;
	if (!*text)
		return err_set(e, -EAGAIN, "no process left");
	assert_true(world->run_count < RUNS_MAX);
	struct run *run = &world->runs[world->run_count++];
	*run = (struct run){ world, fn, fn_arg };
	struct child_request request = { .argv = { "sh", "-c", text },
					 .environment = environment,
					 .input = facts->input,
					 .timeout_ms = DEADLINE_MS };
	int r = child_start(world->loop, &request, run_ended, run, ret, e);
	assert_int_equal(r, 0);
	if (++world->running > world->most_running)
		world->most_running = world->running;
	return 0;
}

static void changed(void *arg, const struct subnet *subnet)
{
	struct world *world = arg;
	(void)subnet;
	world->changes++;
}

static void idle(void *arg)
{
	struct world *world = arg;
	world->is_idle = true;
}

static struct world *world_new(void)
{
	static const struct peer_commands_hooks hooks = { start, changed, idle };
	struct world *world = xnew(struct world);
	*world = (struct world){
		.loop = loop_new(), .log = STRBUF_INIT(65536), .add = "true", .remove = "true"
	};
	world->commands = peer_commands_new(world->loop, &hooks, world);
	return world;
}

static void world_free(struct world *world)
{
	peer_commands_free(world->commands);
	assert_int_equal(loop_users(world->loop), 0);
	loop_free(world->loop);
	strbuf_free(&world->log);
	free(world);
}

static struct subnet subnet_of(unsigned int number)
{
	struct subnet subnet = { 0 };
	char text[IPNET_STR_MAX];
	(void)text_format(text, sizeof(text), "10.1.%u.0/24", number);
	assert_int_equal(ipnet_parse(text, &subnet.v4), 0);
	return subnet;
}

static void want(struct world *world, unsigned int number, const char *address, const char *input)
{
	struct subnet subnet = subnet_of(number);
	struct ip ip = { 0 }, none = { 0 };
	assert_int_equal(ip_parse(address, &ip), 0);
	peer_commands_want(world->commands, &subnet, &ip, &none, xstrdup(input));
}

static void drop(struct world *world, unsigned int number)
{
	struct subnet subnet = subnet_of(number);
	peer_commands_drop(world->commands, &subnet);
}

static int state_of(struct world *world, unsigned int number, struct err *e)
{
	struct subnet subnet = subnet_of(number);
	return peer_commands_state(world->commands, &subnet, e);
}

static void await_state(struct world *world, unsigned int number, int r)
{
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (state_of(world, number, NULL) != r && loop_now_ms() < until)
		loop_turn(world->loop, 100);
	check(state_of(world, number, NULL) == r, "peer %u is %d, not %d; %s", number,
	      state_of(world, number, NULL), r, strbuf_text(&world->log));
}

static void await_log(struct world *world, const char *text)
{
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (!strstr(strbuf_text(&world->log), text) && loop_now_ms() < until)
		loop_turn(world->loop, 100);
	check(strstr(strbuf_text(&world->log), text), "no \"%s\" in: %s", text,
	      strbuf_text(&world->log));
}

static void await_idle(struct world *world)
{
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	world->is_idle = false;
	peer_commands_resume(world->commands);
	while (!world->is_idle && loop_now_ms() < until)
		loop_turn(world->loop, 100);
	assert_true(world->is_idle);
}

static void assert_log(struct world *world, const char *expected)
{
	assert_string_equal(strbuf_text(&world->log), expected);
	strbuf_reset(&world->log);
}

static void test_nothing_runs_before_resume(void **state)
{
	struct world *world = world_new();
	(void)state;
	want(world, 1, "192.0.2.1", "");
	for (int i = 0; i < 20; i++)
		loop_turn(world->loop, 1);
	assert_log(world, "");
	assert_int_equal(state_of(world, 1, NULL), -EINPROGRESS);
	assert_int_equal(peer_commands_pending(world->commands), 1);
	peer_commands_resume(world->commands);
	await_state(world, 1, 0);
	assert_int_equal(peer_commands_pending(world->commands), 0);
	assert_int_equal(world->changes, 1);
	world_free(world);
}

static void test_order_of_one_peer(void **state)
{
	struct world *world = world_new();
	(void)state;
	await_idle(world);
	want(world, 1, "192.0.2.1", "a");
	await_state(world, 1, 0);
	assert_log(world, "+10.1.1.0/24@192.0.2.1=a ");
	want(world, 1, "192.0.2.1", "a"); // nothing new
	await_idle(world);
	assert_log(world, "");
	want(world, 1, "192.0.2.1", "b");
	assert_int_equal(state_of(world, 1, NULL), -EINPROGRESS);
	await_state(world, 1, 0);
	assert_log(world, "-10.1.1.0/24@192.0.2.1=a +10.1.1.0/24@192.0.2.1=b ");
	want(world, 1, "192.0.2.9", "b");
	await_idle(world);
	assert_log(world, "-10.1.1.0/24@192.0.2.1=b +10.1.1.0/24@192.0.2.9=b ");
	drop(world, 1);
	await_idle(world);
	assert_log(world, "-10.1.1.0/24@192.0.2.9=b ");
	drop(world, 1);
	await_idle(world);
	assert_log(world, "");
	world_free(world);
}

// The newest state counts, and what was begun ends first.
static void test_changes_while_it_runs(void **state)
{
	struct world *world = world_new();
	(void)state;
	await_idle(world);
	world->add = "sleep 0.3";
	want(world, 1, "192.0.2.1", "a");
	await_log(world, "=a ");
	want(world, 1, "192.0.2.2", "b");
	drop(world, 1);
	want(world, 1, "192.0.2.3", "c");
	await_state(world, 1, 0);
	assert_log(world,
		   "+10.1.1.0/24@192.0.2.1=a -10.1.1.0/24@192.0.2.1=a +10.1.1.0/24@192.0.2.3=c ");
	want(world, 1, "192.0.2.1", "a");
	await_log(world, "+10.1.1.0/24@192.0.2.1=a ");
	drop(world, 1);
	await_idle(world);
	assert_log(world,
		   "-10.1.1.0/24@192.0.2.3=c +10.1.1.0/24@192.0.2.1=a -10.1.1.0/24@192.0.2.1=a ");
	world_free(world);
}

static void test_failed_add_is_tried_again(void **state)
{
	struct world *world = world_new();
	struct err e = { 0 };
	(void)state;
	await_idle(world);
	world->add = "echo broken; exit 7";
	want(world, 1, "192.0.2.1", "");
	await_state(world, 1, -EIO);
	assert_int_equal(state_of(world, 1, &e), -EIO);
	assert_string_equal(e.msg, "SubnetAddCommand: it failed with exit status 7: broken");
	assert_int_equal(peer_commands_pending(world->commands), 0);
	world->add = "true";
	await_state(world, 1, 0);
	assert_log(world, "+10.1.1.0/24@192.0.2.1= +10.1.1.0/24@192.0.2.1= ");
	world_free(world);
}

static size_t count_in_log(const struct world *world, const char *text)
{
	size_t count = 0;
	for (const char *at = strbuf_text(&world->log); (at = strstr(at, text)); at++)
		count++;
	return count;
}

// Of one that has failed often, and waits for long.
static void test_next_try_does_not_wait_for_anothers(void **state)
{
	struct world *world = world_new();
	uint64_t until = loop_now_ms() + 3 * (uint64_t)DEADLINE_MS;
	(void)state;
	await_idle(world);
	want(world, 2, "192.0.2.2", "");
	await_state(world, 2, 0);
	world->add = "false";
	want(world, 1, "192.0.2.1", "");
	while (count_in_log(world, "+10.1.1.0/24") < 4 && loop_now_ms() < until)
		loop_turn(world->loop, 100);
	await_idle(world);
	size_t tries = count_in_log(world, "+10.1.1.0/24");
	want(world, 2, "192.0.2.3", "");
	while (count_in_log(world, "+10.1.2.0/24@192.0.2.3") < 2 && loop_now_ms() < until)
		loop_turn(world->loop, 100);
	check(count_in_log(world, "+10.1.2.0/24@192.0.2.3") == 2 &&
		      count_in_log(world, "+10.1.1.0/24") == tries,
	      "%s", strbuf_text(&world->log));
	world_free(world);
}

static void test_no_process_to_be_had(void **state)
{
	struct world *world = world_new();
	(void)state;
	await_idle(world);
	world->add = "";
	want(world, 1, "192.0.2.1", "");
	await_state(world, 1, -EAGAIN);
	world->add = "true";
	await_state(world, 1, 0);
	world_free(world);
}

// A failed add may have made half of it. Nobody tries for long to remove that.
static void test_failed_add_is_removed_once(void **state)
{
	struct world *world = world_new();
	(void)state;
	await_idle(world);
	world->add = world->remove = "false";
	want(world, 1, "192.0.2.1", "");
	await_state(world, 1, -EIO);
	drop(world, 1);
	await_idle(world);
	assert_log(world, "+10.1.1.0/24@192.0.2.1= -10.1.1.0/24@192.0.2.1= ");
	assert_int_equal(peer_commands_remove_error(world->commands, NULL), 0);
	world_free(world);
}

static void test_failed_remove(void **state)
{
	struct world *world = world_new();
	struct err e = { 0 };
	(void)state;
	await_idle(world);
	world->remove = "exit 9";
	want(world, 1, "192.0.2.1", "");
	await_state(world, 1, 0);
	drop(world, 1);
	await_log(world, "-10.1.1.0/24@192.0.2.1= -10.1.1.0/24@192.0.2.1= ");
	uint64_t until = loop_now_ms() + DEADLINE_MS;
	while (world->running > 0 && loop_now_ms() < until)
		loop_turn(world->loop, 10);
	assert_int_equal(peer_commands_remove_error(world->commands, &e), -EIO);
	assert_string_equal(
		e.msg,
		"peer 10.1.1.0/24, which is gone: SubnetRemoveCommand: it failed with exit status 9");
	strbuf_reset(&world->log);
	// It comes back: no more is waited for.
	want(world, 1, "192.0.2.2", "");
	await_state(world, 1, 0);
	assert_log(world, "-10.1.1.0/24@192.0.2.1= +10.1.1.0/24@192.0.2.2= ");
	assert_int_equal(peer_commands_remove_error(world->commands, NULL), 0);
	world_free(world);
}

static void test_others_are_not_delayed(void **state)
{
	struct world *world = world_new();
	(void)state;
	await_idle(world);
	world->add = "read line; if [ \"$line\" = slow ]; then sleep 1000; fi";
	for (unsigned int i = 1; i <= 3; i++)
		want(world, i, "192.0.2.1", "slow\n");
	for (unsigned int i = 4; i <= 40; i++)
		want(world, i, "192.0.2.1", "quick\n");
	for (unsigned int i = 4; i <= 40; i++)
		await_state(world, i, 0);
	assert_int_equal(state_of(world, 1, NULL), -EINPROGRESS);
	assert_int_equal(peer_commands_pending(world->commands), 3);
	assert_int_equal(world->most_running, PEER_COMMANDS_AT_ONCE);
	world_free(world); // and what runs is killed
}

static void test_told_anew(void **state)
{
	struct world *world = world_new();
	(void)state;
	await_idle(world);
	world->add = NULL;
	want(world, 1, "192.0.2.1", "");
	want(world, 2, "192.0.2.2", "");
	want(world, 3, "192.0.2.3", "");
	await_idle(world);
	strbuf_reset(&world->log);
	peer_commands_begin(world->commands);
	want(world, 1, "192.0.2.1", "");
	want(world, 3, "192.0.2.4", "");
	peer_commands_end(world->commands);
	await_idle(world);
	check(strstr(strbuf_text(&world->log), "-10.1.2.0/24@192.0.2.2= "), "%s",
	      strbuf_text(&world->log));
	check(strstr(strbuf_text(&world->log), "-10.1.3.0/24@192.0.2.3= "), "%s",
	      strbuf_text(&world->log));
	check(strstr(strbuf_text(&world->log), "+10.1.3.0/24@192.0.2.4= "), "%s",
	      strbuf_text(&world->log));
	check(!strstr(strbuf_text(&world->log), "10.1.1.0"), "%s", strbuf_text(&world->log));
	assert_int_equal(state_of(world, 2, NULL), -EINPROGRESS);
	world_free(world);
}

static void test_end(void **state)
{
	struct world *world = world_new();
	(void)state;
	want(world, 1, "192.0.2.1", "");
	peer_commands_drop_all(world->commands); // before anything was run
	await_idle(world);
	assert_log(world, "");
	world_free(world);

	world = world_new();
	await_idle(world);
	for (unsigned int i = 1; i <= 20; i++)
		want(world, i, "192.0.2.1", "");
	for (unsigned int i = 1; i <= 20; i++)
		await_state(world, i, 0);
	world->remove = "false"; // no more than once
	world->is_idle = false;
	strbuf_reset(&world->log);
	peer_commands_drop_all(world->commands);
	await_idle(world);
	size_t removes = 0;
	for (const char *at = strbuf_text(&world->log); (at = strchr(at, '-')); at++)
		removes++;
	assert_int_equal(removes, 20);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_runs_before_resume),
		cmocka_unit_test(test_order_of_one_peer),
		cmocka_unit_test(test_changes_while_it_runs),
		cmocka_unit_test(test_failed_add_is_tried_again),
		cmocka_unit_test(test_next_try_does_not_wait_for_anothers),
		cmocka_unit_test(test_no_process_to_be_had),
		cmocka_unit_test(test_failed_add_is_removed_once),
		cmocka_unit_test(test_failed_remove),
		cmocka_unit_test(test_others_are_not_delayed),
		cmocka_unit_test(test_told_anew),
		cmocka_unit_test(test_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
