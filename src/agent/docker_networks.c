// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: which networks Docker has of us, and their file.
#include "agent/docker_networks.h"

#include "core/json.h"
#include "core/mem.h"
#include "core/strbuf.h"
#include "io/file.h"
#include "store/registry.h"

#include <errno.h>
#include <string.h>

#define VERSION 1
#define FILE_MAX (256 * 1024)

void docker_network_free(struct docker_network *network)
{
	free(network->trouble);
	free(network);
}

struct docker_network *docker_networks_free(struct docker_network *list)
{
	while (list) {
		struct docker_network *next = list->next;

		docker_network_free(list);
		list = next;
	}
	return NULL;
}

struct docker_network *docker_networks_find(struct docker_network *list, const char *id)
{
	while (list && strcmp(list->id, id) != 0)
		list = list->next;
	return list;
}

struct docker_network *docker_networks_of(struct docker_network *list, const char *net)
{
	while (list && strcmp(list->net, net) != 0)
		list = list->next;
	return list;
}

// ---- reading ----

static int read_network(const json_t *object, struct docker_network *ret, struct err *e)
{
	const char *id = "", *net = "";
	int r = json_is_object(object) ? 0 : err_set(e, -EINVAL, "networks: must be of objects");

	r = r < 0 ? r : json_get_string(object, "id", &id, e);
	r = r < 0 ? r : json_get_string(object, "net", &net, e);
	r = r < 0 ? r : json_get_ipnet(object, "pool", &ret->pool, e);
	r = r < 0 ? r : json_get_ip(object, "gateway", &ret->gateway, e);
	r = r < 0 || !*net ? r : registry_network_check(net, e);
	if (r < 0)
		return r;
	if (!docker_id_is_good(id) || text_copy(ret->id, sizeof(ret->id), id) < 0 ||
	    text_copy(ret->net, sizeof(ret->net), net) < 0)
		return err_set(e, -EINVAL, "id or net: is not one");
	if (ret->pool.addr.family != AF_INET || !ipnet_contains(&ret->pool, &ret->gateway))
		return err_set(e, -EINVAL, "network %.12s: its gateway is not in its pool", id);
	return 0;
}

static int read_list(const json_t *list, struct docker_network **ret, struct err *e)
{
	struct docker_network **end = ret;
	int r = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		struct docker_network *network = xnew(struct docker_network);

		if (i >= DOCKER_NETWORKS_MAX || read_network(json_array_get(list, i), network, e) < 0 ||
		    docker_networks_find(*ret, network->id)) {
			docker_network_free(network);
			r = 1;
			continue;
		}
		*end = network;
		end = &network->next;
	}
	return r;
}

int docker_networks_parse(const char *text, size_t len, struct docker_network **ret, struct err *e)
{
	_cleanup_json_ json_t *object = NULL;
	const json_t *list;
	int64_t version = 0;
	int r = json_read(text, len, FILE_MAX, &object, e);

	r = r < 0 ? r : json_get_int(object, "version", 0, INT32_MAX, &version, e);
	if (r < 0)
		return r;
	list = json_member(object, "networks");
	if (version != VERSION || !json_is_array(list))
		return err_set(e, -EINVAL, "is not of version %d, or has no networks", VERSION);
	(void)err_set(e, -EINVAL, "a network is there twice, or there are more than %d",
		      DOCKER_NETWORKS_MAX);
	return read_list(list, ret, e);
}

int docker_networks_load(const char *path, struct docker_network **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(path, FILE_MAX, &text, &len, e);

	*ret = NULL;
	if (r == -ENOENT)
		return 0;
	r = r < 0 ? r : docker_networks_parse(text, len, ret, e);
	if (r != 0)
		(void)err_wrap(e, "%s", path);
	return r;
}

// ---- writing ----

int docker_networks_save(const char *path, const struct docker_network *list, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_t *networks = json_array();
	_cleanup_json_ json_t *object =
		json_pack("{s:i, s:o}", "version", VERSION, "networks", networks);

	for (; list; list = list->next) {
		char pool[IPNET_STR_MAX], gateway[IP_STR_MAX];

		json_array_append_new(networks,
				      json_pack("{s:s, s:s, s:s, s:s}", "id", list->id, "net",
						list->net, "pool", ipnet_str(&list->pool, pool),
						"gateway", ip_str(&list->gateway, gateway)));
	}
	text = json_text(object);
	return file_write_atomic(path, text, strlen(text), 0600, e);
}
