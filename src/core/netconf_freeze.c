// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the mark that stands in place of a network's config while no host may get a new lease.
#include "core/netconf_freeze.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/netconf.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct {
	const char *name;
	const char *sentence; // what Network says in front of the store
	const char *message;  // what agents and commands of ours say
} states[] = {
	[NETCONF_FREEZE_FILLING] = { "filling", "frozen by weft: being filled from ",
				     "the network is being copied from %.80s by 'weft migrate': no host gets a "
				     "new subnet until that is done" },
	[NETCONF_FREEZE_COPYING] = { "copying", "frozen by weft: being moved to ",
				     "the network is being moved to %.80s by 'weft migrate': hosts keep their "
				     "subnets, and none gets a new one until that is done" },
	[NETCONF_FREEZE_OPENING] = { "opening", "frozen by weft: being moved to ",
				     "the network is being moved to %.80s by 'weft migrate': hosts keep their "
				     "subnets, and none gets a new one until that is done" },
	[NETCONF_FREEZE_MOVED] = { "moved", "frozen by weft: moved to ",
				   "the network was moved to %.80s: start weftd with the flags of that store; "
				   "hosts keep their subnets, and none gets a new one here" },
};
static_assert(ARRAY_SIZE(states) == NETCONF_FREEZE_STATE_COUNT, "one entry for each state");

int netconf_freeze_format(const struct netconf_freeze *freeze, char **ret, struct err *e)
{
	_cleanup_free_ char *network = xasprintf("%s%s", states[freeze->state].sentence, freeze->store);
	_cleanup_json_ json_t *mark = json_pack("{s:s,s:{s:s,s:s,s:s,s:s}}", "Network", network,
						"Frozen", "Id", freeze->id, "State",
						states[freeze->state].name, "Store", freeze->store,
						"Config", freeze->config);
	_cleanup_free_ char *text = NULL;

	if (!mark)
		return err_set(e, -EINVAL, "the config is no UTF-8 text");
	text = json_text(mark);
	if (strlen(text) > NETCONF_TEXT_MAX)
		return err_set(e, -E2BIG, "the config is too long to be kept in a mark of %d bytes",
			       NETCONF_TEXT_MAX);
	*ret = TAKE_PTR(text);
	return 0;
}

static int read_state(const char *name, enum netconf_freeze_state *ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (strcmp(states[i].name, name) == 0) {
			*ret = (enum netconf_freeze_state)i;
			return 0;
		}
	return err_set(e, -EINVAL, "Frozen: State: \"%s\" is of a later version of weft",
		       text_excerpt(name, strlen(name), shown));
}

static int read_mark(const json_t *mark, struct netconf_freeze *ret, struct err *e)
{
	static const char *const names[] = { "Id", "State", "Store", "Config" };
	const char *texts[ARRAY_SIZE(names)] = { 0 };
	struct netconf_freeze freeze = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
		r = json_get_string(mark, names[i], &texts[i], e);
		if (r == 0 && !texts[i])
			r = err_set(e, -EINVAL, "%s is missing", names[i]);
	}
	if (r < 0) {
		(void)err_wrap(e, "Frozen");
		return r;
	}
	r = read_state(texts[1], &freeze.state, e);
	if (r < 0)
		return r;
	if (text_copy(freeze.id, sizeof(freeze.id), texts[0]) < 0 ||
	    strlen(texts[2]) > NETCONF_FREEZE_STORE_MAX)
		return err_set(e, -EINVAL, "Frozen: Id or Store is too long");
	freeze.store = xstrdup(texts[2]);
	freeze.config = xstrdup(texts[3]);
	*ret = freeze;
	return 0;
}

static const json_t *find_mark(const json_t *root)
{
	const json_t *mark = json_member(root, "Frozen");

	return json_is_object(mark) ? mark : NULL;
}

int netconf_freeze_parse(const char *text, size_t len, struct netconf_freeze *ret, struct err *e)
{
	_cleanup_json_ json_t *root = NULL;
	const json_t *mark;

	if (json_read(text, len, NETCONF_TEXT_MAX, &root, NULL) < 0 || !json_is_object(root))
		return err_set(e, -ENOENT, "no mark of a frozen network");
	mark = find_mark(root);
	return mark ? read_mark(mark, ret, e) : err_set(e, -ENOENT, "no mark of a frozen network");
}

void netconf_freeze_free(struct netconf_freeze *freeze)
{
	free(freeze->store);
	free(freeze->config);
	*freeze = (struct netconf_freeze){ 0 };
}

int netconf_freeze_refuse(const json_t *root, struct err *e)
{
	_cleanup_freeze_ struct netconf_freeze freeze = { 0 };
	const json_t *mark = find_mark(root);

	if (!mark)
		return 0;
	// A mark that cannot be read stops allocation as well.
	if (read_mark(mark, &freeze, NULL) < 0)
		return err_set(e, -EBUSY, "the network is frozen: no host gets a new subnet");
	return err_set(e, -EBUSY, states[freeze.state].message, freeze.store);
}
