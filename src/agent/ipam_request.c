// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the bodies that the address service is sent, checked (docs/agent-ipam.md).
#include "agent/ipam_request.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#define NET_MAX 63
#define NAME_MAX_BYTES 255 // less than ADDRESS_TEXT_MAX
#define POD_MAX 253
#define PATH_MAX_BYTES 1024

void ipam_request_free(struct ipam_request *request)
{
	json_decref(request->body);
	free(request->keep);
	*request = (struct ipam_request){ 0 };
}

// ---- members ----

static int read_text(const json_t *object, const char *name, size_t max, const char **ret,
		     struct err *e)
{
	const char *text = "";
	int r = json_get_string(object, name, &text, e);

	if (r < 0)
		return r;
	if (strlen(text) > max)
		return err_set(e, -EINVAL, "%s: longer than %zu bytes", name, max);
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			return err_set(e, -EINVAL, "%s: has a control character", name);
	*ret = text;
	return 0;
}

// As CNI has it for container ids and networks' names.
static int read_name(const json_t *object, const char *name, const char **ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	int r = read_text(object, name, NAME_MAX_BYTES, ret, e);
	bool is_good;

	if (r < 0)
		return r;
	is_good = isalnum((unsigned char)**ret);
	for (const char *at = *ret; *at; at++)
		is_good = is_good && (isalnum((unsigned char)*at) || strchr("_.-", *at));
	if (is_good)
		return 0;
	return err_set(e, -EINVAL,
		       "%s: \"%s\" is missing, or not of letters, digits, '_', '.' and '-'", name,
		       text_excerpt(*ret, strlen(*ret), shown));
}

static int read_ifname(const json_t *object, const char **ret, struct err *e)
{
	char shown[TEXT_EXCERPT_MAX];
	int r = read_text(object, "if", IFNAMSIZ - 1, ret, e);

	if (r < 0)
		return r;
	if (**ret && strcmp(*ret, ".") != 0 && strcmp(*ret, "..") != 0 && !strpbrk(*ret, "/: "))
		return 0;
	return err_set(e, -EINVAL, "if: \"%s\" is no name of an interface",
		       text_excerpt(*ret, strlen(*ret), shown));
}

static int read_ip(const json_t *item, struct ip *ret, struct err *e)
{
	const char *text = json_string_value(item);
	char address[IP_STR_MAX] = "", shown[TEXT_EXCERPT_MAX];
	struct ipnet net;
	size_t len;

	if (!text)
		return err_set(e, -EINVAL, "ips: must be addresses as text");
	len = strcspn(text, "/");
	if (len < sizeof(address))
		memcpy(address, text, len);
	if (ip_parse(address, ret) < 0 || (text[len] && ipnet_parse(text, &net) < 0))
		return err_set(e, -EINVAL, "ips: \"%s\" is no address",
			       text_excerpt(text, strlen(text), shown));
	return 0;
}

static int read_ips(const json_t *object, struct ipam_request *ret, struct err *e)
{
	const json_t *list = json_member(object, "ips");
	int r = 0;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > IPAM_REQUEST_IPS_MAX)
		return err_set(e, -EINVAL, "ips: must be a list of at most %d addresses",
			       IPAM_REQUEST_IPS_MAX);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = read_ip(json_array_get(list, i), &ret->ips[ret->ip_count++], e);
	return r;
}

int ipam_mode_parse(const char *text, enum ipam_mode *ret, struct err *e)
{
	static const char *const names[] = { "best", "strict", "async" };
	char shown[TEXT_EXCERPT_MAX];

	*ret = IPAM_BEST;
	if (!*text)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum ipam_mode)i;
			return 0;
		}
	return err_set(e, -EINVAL, "mode: \"%s\" is not one of best, strict, async",
		       text_excerpt(text, strlen(text), shown));
}

// ---- bodies ----

static int read_owner(const json_t *object, struct ipam_request *ret, struct err *e)
{
	int r = read_name(object, "cid", &ret->key.cid, e);

	return r < 0 ? r : read_ifname(object, &ret->key.ifname, e);
}

static int read_asked(struct ipam_request *ret, struct err *e)
{
	for (size_t i = 0; i < ret->ip_count; i++) {
		struct ip *asked = &ret->asked[family_of(&ret->ips[i])];

		if (ip_is_set(asked) && !ip_equal(asked, &ret->ips[i]))
			return err_set(e, -EINVAL, "ips: more than one address of a family");
		*asked = ret->ips[i];
	}
	return 0;
}

static int read_add(const json_t *object, struct ipam_request *ret, struct err *e)
{
	const char *mode = "";
	int r = read_text(object, "netns", PATH_MAX_BYTES, &ret->netns, e);

	r = r < 0 ? r : read_text(object, "host_if", IFNAMSIZ - 1, &ret->host_if, e);
	r = r < 0 ? r : read_text(object, "ns", POD_MAX, &ret->ns, e);
	r = r < 0 ? r : read_text(object, "pod", POD_MAX, &ret->pod, e);
	r = r < 0 ? r : read_text(object, "uid", POD_MAX, &ret->uid, e);
	r = r < 0 ? r : json_get_string(object, "mode", &mode, e);
	r = r < 0 ? r : ipam_mode_parse(mode, &ret->mode, e);
	r = r < 0 ? r : json_get_bool(object, "sticky", &ret->sticky, e);
	r = r < 0 ? r : read_asked(ret, e);
	if (r == 0 && ret->sticky && !*ret->pod)
		r = err_set(e, -EINVAL, "sticky: needs the pod's name");
	return r;
}

static int read_keep(const json_t *object, struct ipam_request *ret, struct err *e)
{
	const json_t *list = json_member(object, "keep");

	if (!json_is_array(list))
		return err_set(e, -EINVAL, "keep: must be there, and a list");
	ret->keep = xnew0_array(struct owner_key, json_array_size(list) + 1);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		struct owner_key *key = &ret->keep[ret->keep_count++];
		int r = json_is_object(item) ? 0 : err_set(e, -EINVAL, "keep: must be of objects");

		r = r < 0 ? r : read_name(item, "cid", &key->cid, e);
		r = r < 0 ? r : read_ifname(item, &key->ifname, e);
		if (r < 0)
			return r;
		key->name = ret->key.name;
	}
	return 0;
}

int ipam_request_parse(enum ipam_verb verb, const char *text, size_t len, struct ipam_request *ret,
		       struct err *e)
{
	int r;

	*ret = (struct ipam_request){
		.ns = "", .pod = "", .uid = "", .netns = "", .host_if = "", .net = ""
	};
	r = json_read(text, len, IPAM_BODY_MAX, &ret->body, e);
	if (r == 0 && !json_is_object(ret->body))
		r = err_set(e, -EINVAL, "the body must be a JSON object");
	r = r < 0 ? r : read_text(ret->body, "net", NET_MAX, &ret->net, e);
	r = r < 0 ? r : read_name(ret->body, "name", &ret->key.name, e);
	if (r == 0 && verb == IPAM_GC)
		return read_keep(ret->body, ret, e);
	r = r < 0 ? r : read_owner(ret->body, ret, e);
	r = r < 0 ? r : read_ips(ret->body, ret, e);
	if (r == 0 && verb == IPAM_ADD)
		r = read_add(ret->body, ret, e);
	return r < 0 ? -EINVAL : 0;
}
