// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: tests of flags: syntax, kinds of values, environment, suggestions, help.
#include "unit.h"

#include "core/flags.h"
#include "core/ip.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

struct target {
	bool yes, on;
	int64_t number;
	uint64_t pause_ms;
	char *text, *secret;
	struct ip ip;
	struct flag_list many, list;
	int choice;
	unsigned int mask;
	int64_t hidden, pin;
	bool dashes;
};

static const char *const colours[] = { "red", "green", "blue", NULL };

#define AT(member) offsetof(struct target, member)
static const struct flag flags[] = {
	{ "yes", FLAG_BOOL, AT(yes), .help = "A truth." },
	{ "on", FLAG_BOOL, AT(on), "true", .help = "Another." },
	{ "number-of-things", FLAG_INT, AT(number), "5", "N", "Count.", 1, 1439 },
	{ "pause", FLAG_DURATION, AT(pause_ms), "3s", "TIME", "Rest.", 100, 60000 },
	{ "text", FLAG_STRING, AT(text), "abc", "TEXT",
	  "Words that are long enough to need a second line, "
	  "since they go on and on until the margin." },
	{ "pass-word", FLAG_STRING, AT(secret), .help = "Secret.", .properties = FLAG_SECRET },
	{ "ip", FLAG_IP, AT(ip), .value_name = "IP", .help = "Address." },
	{ "many", FLAG_REPEATED, AT(many), .help = "Several." },
	{ "list", FLAG_COMMA_LIST, AT(list), "a,b", .help = "List." },
	{ "choice", FLAG_CHOICE, AT(choice), "green", .help = "Colour.", .choices = colours },
	{ "mask", FLAG_MASK, AT(mask), .help = "Colours.", .choices = colours },
	{ "pin", FLAG_INT, AT(pin), .help = "Secret number.", .max = 9, .properties = FLAG_SECRET },
	{ "a-b-c-d-e-f", FLAG_BOOL, AT(dashes), .help = "Dashes." },
	{ "hidden-number", FLAG_INT, AT(hidden), "0", .help = "Unseen.", .max = 9,
	  .properties = FLAG_HIDDEN },
};

struct fixture {
	struct target target;
	struct flag_set *set;
	struct err e;
	int used;
};

static int set_up(void **state)
{
	struct fixture *f = xnew(struct fixture);

	f->set = flag_set_new();
	flag_set_add(f->set, "Things:", flags, ARRAY_SIZE(flags), &f->target);
	f->used = -1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	flag_set_free(f->set);
	flag_target_free(flags, ARRAY_SIZE(flags), &f->target);
	free(f);
	return 0;
}

static int give(struct fixture *f, const char *const *words)
{
	int count = 0;

	while (words[count])
		count++;
	return flag_set_arguments(f->set, count, (char *const *)words, &f->used, &f->e);
}
#define GIVE(f, ...) give((f), (const char *const[]){ __VA_ARGS__, NULL })

static void test_defaults(void **state)
{
	struct fixture *f = *state;

	assert_false(f->target.yes);
	assert_true(f->target.on);
	assert_int_equal(f->target.number, 5);
	assert_int_equal(f->target.pause_ms, 3000);
	assert_string_equal(f->target.text, "abc");
	assert_string_equal(f->target.secret, "");
	assert_false(ip_is_set(&f->target.ip));
	assert_int_equal(f->target.many.count, 0);
	assert_null(f->target.many.items[0]);
	assert_int_equal(f->target.list.count, 2);
	assert_string_equal(f->target.list.items[1], "b");
	assert_null(f->target.list.items[2]);
	assert_int_equal(f->target.choice, 1);
	assert_int_equal(f->target.mask, 0);
	assert_int_equal(flag_set_source(f->set, "text"), FLAG_FROM_DEFAULT);
}

static void test_forms(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(GIVE(f, "-yes", "--on=false", "-number-of-things", "0x10", "--text=a=b",
			      "--pause=1m0s", "-many", "x", "--many=-y", "-many", "-z",
			      "--list= c , d ", "--choice=blue", "-mask=red,blue", "-ip", "fd00::1"),
			 0);
	assert_int_equal(f->used, 16);
	assert_true(f->target.yes);
	assert_false(f->target.on);
	assert_int_equal(f->target.number, 16);
	assert_string_equal(f->target.text, "a=b");
	assert_int_equal(f->target.pause_ms, 60000);
	assert_int_equal(f->target.many.count, 3);
	assert_string_equal(f->target.many.items[1], "-y");
	assert_string_equal(f->target.many.items[2], "-z");
	assert_null(f->target.many.items[3]);
	assert_int_equal(f->target.list.count, 2);
	assert_string_equal(f->target.list.items[0], "c");
	assert_string_equal(f->target.list.items[1], "d");
	assert_int_equal(f->target.choice, 2);
	assert_int_equal(f->target.mask, 5);
	assert_int_equal(f->target.ip.family, AF_INET6);
	assert_int_equal(flag_set_source(f->set, "text"), FLAG_FROM_ARGUMENT);
}

static void test_last_wins_and_empty_values(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(GIVE(f, "--text=1", "--text", "2", "--list=x", "--list=", "--ip=::1",
			      "--ip=", "--mask=red", "--mask="),
			 0);
	assert_string_equal(f->target.text, "2");
	assert_int_equal(f->target.list.count, 0);
	assert_null(f->target.list.items[0]);
	assert_false(ip_is_set(&f->target.ip));
	assert_int_equal(f->target.mask, 0);
}

static void test_where_flags_end(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(GIVE(f, "--yes", "true", "--on=false"), 0);
	assert_int_equal(f->used, 1); // a boolean takes no next word
	assert_true(f->target.on);
	assert_int_equal(GIVE(f, "--", "--on=false"), 0);
	assert_int_equal(f->used, 1);
	assert_int_equal(GIVE(f, "-"), 0);
	assert_int_equal(f->used, 0);
	assert_int_equal(GIVE(f, ""), 0);
	assert_int_equal(f->used, 0);
	assert_true(f->target.on);
}

struct bad {
	const char *words[3];
	const char *message;
};

static const struct bad bads[] = {
	{ { "--nothing-like-it" }, "unknown flag --nothing-like-it; --help lists all" },
	{ { "--number-of-thing=1" },
	  "unknown flag --number-of-thing; did you mean --number-of-things?" },
	{ { "--number_of_things=1" },
	  "unknown flag --number_of_things; did you mean --number-of-things?" },
	{ { "--a_b_c_d_e_f" }, "unknown flag --a_b_c_d_e_f; did you mean --a-b-c-d-e-f?" },
	{ { "--pin=1234" }, "--pin: the value is not a number from 0 to 9" },
	{ { "-Text", "x" }, "unknown flag --Text; did you mean --text?" },
	{ { "--hidden-numbe=1" }, "unknown flag --hidden-numbe; --help lists all" },
	{ { "---yes" }, "\"---yes\" is not a flag" },
	{ { "--=x" }, "\"--=x\" is not a flag" },
	{ { "-=x" }, "\"-=x\" is not a flag" },
	{ { "--text" }, "--text: a value is missing" },
	{ { "--yes=maybe" }, "--yes: \"maybe\" is not a truth value (true or false)" },
	{ { "--yes=" }, "--yes: \"\" is not a truth value (true or false)" },
	{ { "--number-of-things=0" }, "--number-of-things: \"0\" is not a number from 1 to 1439" },
	{ { "--number-of-things=1440" }, "--number-of-things: \"1440\" is not a number from 1 to 1439" },
	{ { "--number-of-things=1x" }, "--number-of-things: \"1x\" is not a number from 1 to 1439" },
	{ { "--pause=3" }, "--pause: \"3\" is not a duration such as 250ms, 3s or 1h30m" },
	{ { "--pause=99ms" }, "--pause: \"99ms\" is not from 100ms to 60s" },
	{ { "--pause=61s" }, "--pause: \"61s\" is not from 100ms to 60s" },
	{ { "--ip=1.2.3" }, "--ip: \"1.2.3\" is not an IP address" },
	{ { "--ip", "a\x01\nb" }, "--ip: \"a\?\?b\" is not an IP address" },
	{ { "--list=a,,b" }, "--list: \"a,,b\" is not a comma list of at most 64 non-empty elements" },
	{ { "--choice=gre" }, "--choice: \"gre\" is not one of red, green or blue" },
	{ { "--mask=red,grey" }, "--mask: \"red,grey\" is not a comma list of red, green or blue" },
	{ { "--pass-wort=hunter2" }, "unknown flag --pass-wort; did you mean --pass-word?" },
};

static void test_bad_words(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bads); i++) {
		f->e = (struct err){ 0 };
		check(give(f, bads[i].words) == -EINVAL, "%s was taken", bads[i].words[0]);
		check(strcmp(f->e.msg, bads[i].message) == 0, "%s: %s", bads[i].words[0], f->e.msg);
		check(f->e.code == -EINVAL, "%s: code %d", bads[i].words[0], f->e.code);
	}
	// What failed changed nothing.
	test_defaults(state);
}

static void test_repetition_is_bounded(void **state)
{
	struct fixture *f = *state;
	const char *words[66] = { NULL };

	for (size_t i = 0; i < 65; i++)
		words[i] = "--many=x";
	assert_int_equal(give(f, words), -EINVAL);
	assert_string_equal(f->e.msg, "--many: given more than 64 times");
	assert_int_equal(f->target.many.count, 64);
}

static void test_help_is_asked(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(GIVE(f, "--yes", "-h", "--bogus"), FLAG_ASKED_HELP);
	assert_int_equal(GIVE(f, "-help"), FLAG_ASKED_HELP);
	assert_int_equal(GIVE(f, "--help"), FLAG_ASKED_HELP);
	assert_int_equal(GIVE(f, "--help=x"), -EINVAL);
	assert_int_equal(GIVE(f, "--text", "-h"), 0); // that is a value
	assert_string_equal(f->target.text, "-h");
}

static const struct flag_prefix prefixes[] = { { "NEW_", false }, { "OLD_", true }, { NULL } };

static int environment(struct fixture *f, const char *const *variables)
{
	return flag_set_environment(f->set, (char *const *)variables, prefixes, &f->e);
}
#define ENVIRONMENT(f, ...) environment((f), (const char *const[]){ __VA_ARGS__, NULL })

static void test_environment(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(GIVE(f, "--text=argument"), 0);
	assert_int_equal(ENVIRONMENT(f, "PATH=/bin", "OLD_TEXT=variable", "OLD_NUMBER_OF_THINGS=7",
				     "NEW_NUMBER_OF_THINGS=8", "OLD_YES=true",
				     "OLD_PAUSE=", "OLD_UNKNOWN=", "NEW_SOMETHING_ELSE=1",
				     "OLD_MANY=a,b", "OLD_", "NEW_=x"),
			 0);
	assert_string_equal(f->target.text, "argument");
	assert_int_equal(f->target.number, 8); // the first prefix wins, whatever the order of the variables
	assert_true(f->target.yes);
	assert_int_equal(f->target.pause_ms, 3000);
	assert_int_equal(f->target.many.count, 1); // one element, no commas
	assert_string_equal(f->target.many.items[0], "a,b");
	assert_int_equal(flag_set_source(f->set, "yes"), FLAG_FROM_ENVIRONMENT);
	assert_int_equal(flag_set_source(f->set, "text"), FLAG_FROM_ARGUMENT);
	assert_int_equal(flag_set_source(f->set, "pause"), FLAG_FROM_DEFAULT);
}

static const struct {
	const char *variable, *message;
} bad_variables[] = {
	{ "OLD_YES=maybe", "OLD_YES: \"maybe\" is not a truth value (true or false)" },
	{ "OLD_WHATEVER=1", "variable OLD_WHATEVER names no flag; unset it" },
	{ "OLD_NUMBER_OF_THING=1",
	  "variable OLD_NUMBER_OF_THING names no flag; did you mean OLD_NUMBER_OF_THINGS?" },
	{ "OLD_number_of_things=1",
	  "variable OLD_number_of_things names no flag; did you mean OLD_NUMBER_OF_THINGS?" },
	{ "OLD_NUMBER-OF-THINGS=1",
	  "variable OLD_NUMBER-OF-THINGS names no flag; did you mean OLD_NUMBER_OF_THINGS?" },
	{ "NEW_NUMBER_OF_THING=1",
	  "variable NEW_NUMBER_OF_THING names no flag; did you mean NEW_NUMBER_OF_THINGS?" },
	{ "NEW_CHOICE=pink", "NEW_CHOICE: \"pink\" is not one of red, green or blue" },
};

static void test_bad_variables(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad_variables); i++) {
		check(ENVIRONMENT(f, bad_variables[i].variable) == -EINVAL, "%s was taken",
		      bad_variables[i].variable);
		check(strcmp(f->e.msg, bad_variables[i].message) == 0, "%s: %s",
		      bad_variables[i].variable, f->e.msg);
	}
}

static void test_assign(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(flag_set_assign(f->set, "list", "p,q,r", FLAG_FROM_DEFAULT, &f->e), 0);
	assert_int_equal(f->target.list.count, 3);
	assert_int_equal(flag_set_source(f->set, "list"), FLAG_FROM_DEFAULT);
	assert_int_equal(flag_set_assign(f->set, "lis", "p", FLAG_FROM_DEFAULT, &f->e), -ENOENT);
	assert_int_equal(flag_set_assign(f->set, "number-of-things", "x", FLAG_FROM_DEFAULT, &f->e),
			 -EINVAL);
}

static void test_help(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(65536);
	struct fixture *f = *state;
	const char *line;

	flag_set_help(f->set, &out);
	for (line = strbuf_text(&out); line && *line != '\0'; line = strchr(line, '\n') + 1)
		check(strcspn(line, "\n") <= 100, "too long: %.120s", line);
	assert_non_null(strstr(out.data, "\nThings:\n  --yes                           A truth.\n"));
	assert_non_null(strstr(out.data, "  --number-of-things=N            Count. [default: 5]\n"));
	assert_non_null(strstr(
		out.data,
		"  --text=TEXT                     Words that are long enough to need a second line, since they go on\n"
		"                                  and on until the margin. [default: abc]\n"));
	assert_non_null(strstr(out.data, "Several. May be repeated.\n"));
	assert_null(strstr(out.data, "hidden-number"));
}

static void test_a_table_twice(void **state)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT(65536);
	struct fixture *f = *state;
	struct target other = { 0 };

	flag_set_add_again(f->set, "Other things:", "to-", flags, ARRAY_SIZE(flags), &other);
	assert_int_equal(other.number, 5);
	assert_string_equal(other.text, "abc");
	assert_int_equal(GIVE(f, "--to-text=x", "--number-of-things=7", "-to-list=q"), 0);
	assert_string_equal(other.text, "x");
	assert_string_equal(f->target.text, "abc");
	assert_int_equal(other.number, 5);
	assert_int_equal(f->target.number, 7);
	assert_int_equal(other.list.count, 1);
	assert_int_equal(flag_set_source(f->set, "to-text"), FLAG_FROM_ARGUMENT);
	assert_int_equal(flag_set_source(f->set, "text"), FLAG_FROM_DEFAULT);
	flag_set_help(f->set, &out);
	assert_non_null(strstr(out.data, "  --to-number-of-things=N         As --number-of-things.\n"));
	assert_null(strstr(out.data, "to-hidden"));
	flag_target_free(flags, ARRAY_SIZE(flags), &other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_forms),
		TEST(test_last_wins_and_empty_values),
		TEST(test_where_flags_end),
		TEST(test_bad_words),
		TEST(test_repetition_is_bounded),
		TEST(test_help_is_asked),
		TEST(test_environment),
		TEST(test_bad_variables),
		TEST(test_assign),
		TEST(test_help),
		TEST(test_a_table_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
