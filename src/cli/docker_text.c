// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: dockerd's options by subnet.env.
#include "cli/docker_text.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLES_MAX 256
#define OPTION_PREFIX "DOCKER_OPT_"
#define MTU_MAX 65535

struct variable {
	char *name, *value;
};

struct variables {
	struct variable list[VARIABLES_MAX];
	size_t count;
	const char *key;
};

static void variables_free(struct variables *variables)
{
	for (size_t i = 0; i < variables->count; i++) {
		free(variables->list[i].name);
		free(variables->list[i].value);
	}
}

static bool is_option(const char *name)
{
	return strncmp(name, OPTION_PREFIX, strlen(OPTION_PREFIX)) == 0;
}

static bool is_wanted(const struct variables *variables, const char *name)
{
	static const char *const names[] = { "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return is_option(name) || strcmp(name, variables->key) == 0;
}

static struct variable *find(struct variables *variables, const char *name)
{
	for (size_t i = 0; i < variables->count; i++)
		if (strcmp(variables->list[i].name, name) == 0)
			return &variables->list[i];
	return NULL;
}

static const char *value_of(struct variables *variables, const char *name)
{
	const struct variable *variable = find(variables, name);
	return variable ? variable->value : "";
}

static bool is_name(const char *name)
{
	if (!*name || isdigit((unsigned char)*name))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_')
			return false;
	return true;
}

// The file is read by systemd and by shells: what either would take for more than text is refused.
static int set(struct variables *variables, const char *name, const char *value, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	struct variable *variable = find(variables, name);
	if (!is_name(name) || value[strcspn(value, "\"\\`$\n\r")] != '\0')
		return err_set(e, -EINVAL, "%s: \"%s\" cannot stand in a file of variables",
			       text_excerpt(name, strlen(name), (char[TEXT_EXCERPT_MAX]){ 0 }),
			       text_excerpt(value, strlen(value), shown));
	if (!variable) {
		if (variables->count == VARIABLES_MAX)
			return err_set(e, -E2BIG, "more than %d variables", VARIABLES_MAX);
		variable = &variables->list[variables->count++];
		*variable = (struct variable){ .name = xstrdup(name) };
	}
	free(variable->value);
	variable->value = xstrdup(value);
	return 0;
}

// ---- reading ----

static int take_assignment(struct variables *variables, const char *text, size_t len, struct err *e)
{
	_cleanup_free_ char *line = xstrndup(text, len);
	char *name = line, *value = strchr(line, '=');
	size_t value_len;
	if (!value)
		return 0;
	*value++ = '\0';
	value_len = strlen(value);
	if (value_len >= 2 && (*value == '"' || *value == '\'') && value[value_len - 1] == *value) {
		value[value_len - 1] = '\0';
		value++;
	}
	return is_wanted(variables, name) ? set(variables, name, value, e) : 0;
}

static int read_file(struct variables *variables, const char *text, struct err *e)
{
	int r = 0;
	for (const char *line = text; *line && r == 0;) {
		size_t len = strcspn(line, "\n");
		const char *next = line + len + (line[len] == '\n');
		while (len > 0 && isspace((unsigned char)line[len - 1]))
			len--;
		while (len > 0 && isspace((unsigned char)*line))
			line++, len--;
		if (len > 7 && strncmp(line, "export ", 7) == 0)
			line += 7, len -= 7;
		if (len > 0 && *line != '#')
			r = take_assignment(variables, line, len, e);
		line = next;
	}
	return r;
}

// ---- writing ----

static int set_option(struct variables *variables, const char *name, const char *flag,
		      const char *value, struct err *e)
{
	_cleanup_free_ char *text = xasprintf("%s=%s", flag, value);
	return set(variables, name, text, e);
}

static int make_bip(struct variables *variables, struct ip *ret_bridge, struct ipnet *ret_subnet,
		    struct err *e)
{
	const char *text = value_of(variables, "FLANNEL_SUBNET");
	_cleanup_free_ char *address = xstrndup(text, strcspn(text, "/"));
	char shown[TEXT_EXCERPT_MAX];
	struct ipnet subnet;
	struct ip bridge;
	if (!*text)
		return 0;
	if (ipnet_parse(text, &subnet) < 0 || ip_parse(address, &bridge) < 0)
		return err_set(e, -EINVAL, "FLANNEL_SUBNET: \"%s\" is not an address with its length",
			       text_excerpt(text, strlen(text), shown));
	*ret_bridge = bridge;
	*ret_subnet = subnet;
	return set_option(variables, "DOCKER_OPT_BIP", "--bip", text, e);
}

static int make_mtu(struct variables *variables, struct err *e)
{
	const char *text = value_of(variables, "FLANNEL_MTU");
	char shown[TEXT_EXCERPT_MAX];
	uint64_t mtu_bytes = 0;
	if (!*text)
		return 0;
	if (parse_whole_u64(text, MTU_MAX, &mtu_bytes) < 0)
		return err_set(e, -EINVAL, "FLANNEL_MTU: \"%s\" is not an MTU",
			       text_excerpt(text, strlen(text), shown));
	return set_option(variables, "DOCKER_OPT_MTU", "--mtu", text, e);
}

// One of the two masquerades.
static int make_masq(struct variables *variables, struct err *e)
{
	const char *text = value_of(variables, "FLANNEL_IPMASQ");
	bool is_true = strcmp(text, "true") == 0;
	char shown[TEXT_EXCERPT_MAX];
	if (!*text)
		return 0;
	if (!is_true && strcmp(text, "false") != 0)
		return err_set(e, -EINVAL, "FLANNEL_IPMASQ: \"%s\" is neither true nor false",
			       text_excerpt(text, strlen(text), shown));
	return set_option(variables, "DOCKER_OPT_IPMASQ", "--ip-masq", is_true ? "false" : "true", e);
}

static int compare_names(const void *left, const void *right)
{
	const struct variable *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static void write_lines(struct variables *variables, const struct docker_text_options *options,
			struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT(out->max);
	const char *before = value_of(variables, options->key);
	if (*before)
		(void)strbuf_printf(&all, "%s ", before);
	qsort(variables->list, variables->count, sizeof(variables->list[0]), compare_names);
	for (size_t i = 0; i < variables->count; i++) {
		const struct variable *variable = &variables->list[i];
		if (!is_option(variable->name))
			continue;
		(void)strbuf_printf(&all, " %s", variable->value);
		if (options->individual)
			(void)strbuf_printf(out, "%s=\"%s\"\n", variable->name, variable->value);
	}
	if (options->combined)
		(void)strbuf_printf(out, "%s=\"%s\"\n", options->key, strbuf_text(&all));
}

static int make(struct variables *variables, const char *env, char *const *environment,
		const struct docker_text_options *options, struct ip *ret_bridge,
		struct ipnet *ret_subnet, struct err *e)
{
	int r = is_name(options->key) ? 0 : err_set(e, -EINVAL, "-k: not the name of a variable");
	for (size_t i = 0; environment[i] && r == 0; i++)
		r = take_assignment(variables, environment[i], strlen(environment[i]), e);
	if (r == 0)
		r = read_file(variables, env, e);
	if (r == 0)
		r = make_bip(variables, ret_bridge, ret_subnet, e);
	if (r == 0)
		r = make_mtu(variables, e);
	if (r == 0 && !options->no_masq)
		r = make_masq(variables, e);
	return r;
}

int docker_text(const char *env, char *const *environment, const struct docker_text_options *options,
		struct strbuf *out, struct ip *ret_bridge, struct ipnet *ret_subnet, struct err *e)
{
	_cleanup_(variables_free) struct variables variables = { .key = options->key };
	struct ip bridge = { 0 };
	struct ipnet subnet = { 0 };
	int r = make(&variables, env, environment, options, &bridge, &subnet, e);
	if (r < 0)
		return r;
	write_lines(&variables, options, out);
	if (out->overflow)
		return err_set(e, -E2BIG, "too many options");
	*ret_bridge = bridge;
	*ret_subnet = subnet;
	return 0;
}
