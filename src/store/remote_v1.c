// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: whether the server that is asked is one of flannel 0.5 to 0.7.
#include "store/remote_v1.h"

#include "core/log.h"
#include "core/mem.h"

#include <string.h>

struct remote_v1 *remote_v1_new(struct remote *remote, const char *prefix)
{
	struct remote_v1 *v1 = xnew(struct remote_v1);
	size_t len = prefix ? strlen(prefix) : 0;

	while (len > 0 && prefix[len - 1] == '/')
		len--;
	v1->remote = remote;
	v1->prefix = xasprintf("%.*s/", (int)len, prefix ? prefix : "");
	v1->revision = 1;
	v1->cluster_id = 1 + random_below(UINT64_MAX - 1); // revisions of another run are others
	return v1;
}

struct remote_v1 *remote_v1_free(struct remote_v1 *v1)
{
	if (!v1)
		return NULL;
	v1_ops_end(v1);
	v1_table_free(v1);
	free(v1->prefix);
	free(v1);
	return NULL;
}

bool remote_v1_is_used(const struct remote *remote)
{
	return remote->v1->confirmed;
}

void v1_confirm(struct remote_v1 *v1)
{
	if (v1->confirmed)
		return;
	v1->confirmed = true;
	v1->remote->http.base.txn_max = 1;
	v1->remote->http.base.limits = KV_LIMIT_PATHS | KV_LIMIT_TEXT | KV_LIMIT_KEY_SESSIONS |
				       KV_LIMIT_CHOOSES;
	log_info("controller: %s is a server of flannel 0.5 to 0.7: use its API",
		 endpoint_set_url(&v1->remote->http.endpoints));
}

void v1_unconfirm(struct remote_v1 *v1)
{
	struct kv *kv = &v1->remote->http.base;

	v1->confirmed = false;
	kv->txn_max = kv->ops->txn_max;
	kv->limits = kv->ops->limits;
}
