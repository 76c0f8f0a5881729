// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the extension backend, store-compatible with flannel's: the config says which commands make and remove the way to a peer.
//
// DOC: what is ours
//
// Nothing in the kernel: what the commands make is theirs, is not compared, repaired or swept. The commands come from the store and run as
// the agent does, so they are refused unless this host allows them. COMPAT: the examples of flannel's documentation want a shell, which
// flannel itself has not used since 0.28.2; here there is one.
#include "backend/extension.h"

#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

struct extension {
	struct backend base;
	struct extension_commands commands;
	char *data; // JSON string; NULL: none
};

static struct extension *extension_of(const struct backend *backend)
{
	return CONTAINER_OF((struct backend *)(uintptr_t)backend, struct extension, base);
}

// Which command is which member, and whether a change of it is taken over while running.
static const struct {
	const char *member;
	size_t offset;
	bool is_of_start;
} members[] = {
	{ "PreStartupCommand", offsetof(struct extension_commands, pre_startup), true },
	{ "PostStartupCommand", offsetof(struct extension_commands, post_startup), true },
	{ "ShutdownCommand", offsetof(struct extension_commands, shutdown), false },
	{ "SubnetAddCommand", offsetof(struct extension_commands, subnet_add), false },
	{ "SubnetRemoveCommand", offsetof(struct extension_commands, subnet_remove), false },
};

static char **command_of(struct extension_commands *commands, size_t i)
{
	return (char **)(void *)((char *)commands + members[i].offset);
}

static void commands_free(struct extension_commands *commands)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		free(*command_of(commands, i));
	*commands = (struct extension_commands){ 0 };
}

static int commands_read(const json_t *config, struct extension_commands *ret, struct err *e)
{
	_cleanup_(commands_free) struct extension_commands commands = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *text = NULL;
		int r = json_get_string(config, members[i].member, &text, e);
		if (r < 0)
			return r;
		if (text && *text)
			*command_of(&commands, i) = xstrdup(text);
	}
	*ret = commands;
	commands = (struct extension_commands){ 0 };
	return 0;
}

static int extension_open(struct backend *backend, const json_t *config,
			  const struct backend_host *host, struct err *e)
{
	if (!host->allows_commands)
		return err_set(
			e, -EACCES,
			"its commands come from the store and would be run as root: start weftd with --allow-extension to let them, or set Backend.Type to \"vxlan\"");
	return commands_read(config, &extension_of(backend)->commands, e);
}

static void extension_attrs(const struct backend *backend, struct lease_attrs *ret)
{
	(void)text_copy(ret->backend_type, sizeof(ret->backend_type), backend->ops->name);
	ret->backend_data = xstrdup(extension_of(backend)->data);
}

static int extension_want(const struct backend *backend, const struct lease *peer,
			  const struct underlay *underlay,
			  const struct underlay_path paths[UNDERLAY_FAMILY_COUNT],
			  struct wanted *ret, struct err *e)
{
	_cleanup_free_ char *input = NULL;
	int r = extension_peer_input(peer, &input, e);
	(void)backend, (void)underlay, (void)paths;
	if (r < 0)
		return r;
	ret->path = "extension";
	ret->why = "";
	return 0;
}

static int extension_update(struct backend *backend, const json_t *config, struct strbuf *restart,
			    struct err *e)
{
	struct extension_commands *have = &extension_of(backend)->commands;
	_cleanup_(commands_free) struct extension_commands now = { 0 };
	int r = commands_read(config, &now, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		char **command = command_of(have, i), **changed = command_of(&now, i);
		if (text_equal(*command, *changed))
			continue;
		if (members[i].is_of_start) {
			(void)strbuf_printf(restart, "Backend.%s\n", members[i].member);
			continue;
		}
		free(*command);
		*command = TAKE_PTR(*changed);
	}
	return 0;
}

static void extension_close(struct backend *backend)
{
	commands_free(&extension_of(backend)->commands);
	free(extension_of(backend)->data);
}

const struct extension_commands *extension_commands(const struct backend *backend)
{
	return backend->ops == &backend_extension ? &extension_of(backend)->commands : NULL;
}

int extension_set_output(struct backend *backend, const char *output, struct err *e)
{
	struct extension *extension = extension_of(backend);
	_cleanup_json_ json_t *string = json_string(output);
	if (!string)
		return err_set(e, -EILSEQ, "what it wrote is not UTF-8 text, as BackendData must be");
	free(extension->data);
	extension->data = json_text(string);
	return 0;
}

int extension_peer_input(const struct lease *peer, char **ret, struct err *e)
{
	const char *data = peer->attrs.backend_data;
	_cleanup_json_ json_t *value = NULL;
	int r = backend_check_type(backend_extension.name, &peer->attrs, e);
	if (r < 0)
		return r;
	if (!data) {
		*ret = xstrdup("");
		return 0;
	}
	r = json_read(data, strlen(data), LEASE_VALUE_MAX, &value, e);
	if (r < 0)
		return err_wrap(e, "BackendData");
	if (!json_is_string(value))
		return err_set(e, -EINVAL,
			       "its BackendData is not a string, which the commands could read");
	*ret = xstrdup(json_string_value(value));
	return 0;
}

const struct backend_ops backend_extension = {
	.name = "extension",
	.size = sizeof(struct extension),
	.is_for_untrusted = true,
	.open = extension_open,
	.attrs = extension_attrs,
	.want = extension_want,
	.update = extension_update,
	.close = extension_close,
};
