// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the token that all endpoints of etcd want, and what a request says besides its body.
#include "core/log.h"
#include "core/mem.h"
#include "store/etcd3_internal.h"

#include <errno.h>
#include <string.h>

char *etcd3_url(const struct etcd3 *etcd, size_t endpoint, bool older_api, const char *path)
{
	return xasprintf("%s%s%s", etcd->http.endpoints.items[endpoint].url,
			 older_api ? "/v3beta" : "/v3", path);
}

// ---- token ----

bool etcd3_token_ready(const struct etcd3 *etcd)
{
	return !etcd->username || etcd->token || etcd->token_needless;
}

void etcd3_headers(const struct etcd3 *etcd, bool with_token, char **ret_header,
		   const char *ret[static ETCD3_HEADERS_MAX])
{
	size_t count = 0;

	ret[count++] = "Content-Type: application/json";
	// A member that has lost its leader says so at once instead of when the request times out.
	ret[count++] = "Grpc-Metadata-hasleader: true";
	if (with_token && etcd->token) {
		*ret_header = xasprintf("Authorization: %s", etcd->token);
		ret[count++] = *ret_header;
	}
	ret[count] = NULL;
}

static struct etcd3_waiter *find_waiter(const struct etcd3 *etcd)
{
	struct etcd3_waiter *waiter;

	// Who was told, found the new token refused as well and waits again, waits for the next
	// one.
	for (waiter = etcd->waiters; waiter; waiter = waiter->next)
		if (waiter->token_number != etcd->token_number)
			return waiter;
	return NULL;
}

static void tell_waiters(struct etcd3 *etcd, int r, const struct err *e)
{
	struct etcd3_waiter *waiter;

	// Looked for anew each time: one who is told may end others.
	while ((waiter = find_waiter(etcd))) {
		etcd3_token_forget(etcd, waiter);
		waiter->ready(waiter->arg, r, e);
	}
}

static void authenticated(void *arg, const struct etcd3_answer *answer)
{
	struct etcd3 *etcd = *(struct etcd3 **)arg;
	const char *token;
	struct err e;
	int r = answer->r;

	etcd->token_coming = false;
	etcd->token_number++;
	if (r == -EOPNOTSUPP) {
		log_debug("etcd: authentication is off in the store; user name and password are not used");
		etcd->token_needless = true;
		r = 0;
	} else if (r < 0) {
		e = *answer->err;
		(void)err_wrap(&e, "etcd: cannot log in as %s", etcd->username);
	} else {
		token = etcd3_read_text(answer->json, "token");
		// What goes into a header must not end it.
		if (!token[0] || strpbrk(token, "\r\n"))
			r = err_set(&e, -EPROTO, "etcd: cannot log in as %s: the answer has no token",
				    etcd->username);
		else
			etcd->token = xstrdup(token);
	}
	tell_waiters(etcd, r, r < 0 ? &e : NULL);
}

void etcd3_token_wait(struct etcd3 *etcd, struct etcd3_waiter *waiter)
{
	struct etcd3_request request = {
		.path = "/auth/authenticate",
		.idempotent = true,
		.without_token = true,
		.done = authenticated,
	};

	waiter->waiting = true;
	waiter->token_number = etcd->token_number;
	waiter->previous = NULL;
	waiter->next = etcd->waiters;
	if (etcd->waiters)
		etcd->waiters->previous = waiter;
	etcd->waiters = waiter;
	if (etcd->token_coming)
		return;
	etcd->token_coming = true;
	request.body = etcd3_authenticate_body(etcd->username, etcd->password);
	request.arg = xmemdup(&etcd, sizeof(etcd));
	etcd3_call_start(etcd, &request);
}

void etcd3_token_forget(struct etcd3 *etcd, struct etcd3_waiter *waiter)
{
	if (!waiter->waiting)
		return;
	waiter->waiting = false;
	if (waiter->previous)
		waiter->previous->next = waiter->next;
	else
		etcd->waiters = waiter->next;
	if (waiter->next)
		waiter->next->previous = waiter->previous;
}

bool etcd3_token_refused(struct etcd3 *etcd, uint64_t number)
{
	if (!etcd->username)
		return false;
	// Another call may have thrown it away, and a new one may be here already.
	if (number != etcd->token_number)
		return true;
	secret_text_free(TAKE_PTR(etcd->token));
	etcd->token_needless = false;
	return true;
}
