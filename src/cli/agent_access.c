// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking the agent on this host.
#include "cli/agent_access.h"

#include "core/json.h"
#include "core/mem.h"
#include "io/http_client.h"

#include <errno.h>
#include <string.h>

#define ANSWER_MAX (16 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 2000
#define ANSWER_TIMEOUT_MS 30000

struct asking {
	bool is_done;
	int r;
	json_t *answer;
	struct err *e;
};

// What the agent says in an answer that is no success.
static int refused(int status, const char *body, size_t len, struct err *e)
{
	_cleanup_json_ json_t *answer = NULL;
	const char *text = NULL;

	if (json_read(body, len, ANSWER_MAX, &answer, NULL) == 0 && json_is_object(answer))
		(void)json_get_string(answer, "error", &text, NULL);
	if (text)
		return err_set(e, -EREMOTEIO, "the agent says: %s", text);
	return err_set(e, -EREMOTEIO, "the agent answers with status %d", status);
}

static void on_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct asking *asking = arg;

	asking->is_done = true;
	asking->r = r;
	if (r < 0)
		err_set(asking->e, r, "%s", err_msg(e));
	else if (response->status != 200)
		asking->r = refused(response->status, response->body, response->len, asking->e);
	else if (response->len > 0)
		asking->r = json_read(response->body, response->len, ANSWER_MAX, &asking->answer,
				      asking->e);
}

static int ask(const struct cli *cli, const char *path, const struct http_request *like,
	       struct asking *asking)
{
	const struct http_client_config config = {
		.user_agent = "weft/" WEFT_VERSION,
		.unix_socket = cli->options->socket,
	};
	// A command about the store asks the agent for its settings, whatever network it is about. The name was checked: nothing in it needs quoting.
	const char *network = cli->command->uses & USE_AGENT ? cli->options->network : "";
	_cleanup_free_ char *url =
		xasprintf("http://agent%s%s%s", path, *network ? "?network=" : "", network);
	struct http_request request = *like;
	struct http_client *client;
	int r;

	r = http_client_new(cli->loop, &config, &client, asking->e);
	if (r < 0)
		return r;
	if (!request.method)
		request.method = "GET";
	request.url = url;
	request.response_max = ANSWER_MAX;
	request.connect_timeout_ms = CONNECT_TIMEOUT_MS;
	request.done = on_done;
	(void)http_call_start(client, &request);
	while (!asking->is_done)
		loop_turn(cli->loop, 1000);
	http_client_free(client);
	return asking->r;
}

static int ask_whole(const struct cli *cli, const char *method, const char *path, json_t **ret,
		     struct err *e)
{
	struct asking asking = { .e = e };
	const struct http_request request = { .method = method,
					      .total_timeout_ms = ANSWER_TIMEOUT_MS,
					      .arg = &asking };
	int r;

	r = ask(cli, path, &request, &asking);
	if (r < 0)
		return r;
	if (!asking.answer)
		return err_set(e, -EPROTO, "the agent's answer is empty");
	*ret = asking.answer;
	return 0;
}

int agent_get(const struct cli *cli, const char *path, json_t **ret, struct err *e)
{
	return ask_whole(cli, "GET", path, ret, e);
}

int agent_post(const struct cli *cli, const char *path, json_t **ret, struct err *e)
{
	return ask_whole(cli, "POST", path, ret, e);
}

// What a streamed answer needs besides: the caller's function and its argument.
struct streaming {
	struct asking asking; // first: on_done gets this address
	agent_bytes_fn *fn;
	void *arg;
};

static int on_bytes(void *arg, const char *data, size_t len)
{
	struct streaming *streaming = arg;

	return streaming->fn(streaming->arg, data, len);
}

int agent_stream(const struct cli *cli, const char *path, uint32_t idle_timeout_ms,
		 agent_bytes_fn *fn, void *arg, struct err *e)
{
	struct streaming streaming = { .asking = { .e = e }, .fn = fn, .arg = arg };
	const struct http_request request = {
		.idle_timeout_ms = idle_timeout_ms,
		.chunk = on_bytes,
		.arg = &streaming,
	};

	return ask(cli, path, &request, &streaming.asking);
}

enum cli_exit agent_fail(const struct cli *cli, int r, const struct err *e)
{
	const char *socket = cli->options->socket;

	switch (-r) {
	case ENOENT:
		return cli_fail(CLI_UNREACHABLE,
				"no agent at %s; is weftd running? --socket names another place",
				socket);
	case ECONNREFUSED:
		return cli_fail(CLI_UNREACHABLE, "nobody answers at %s; start weftd", socket);
	case EACCES:
	case EPERM:
		return cli_fail(CLI_UNREACHABLE, "%s may be asked by root only; try sudo", socket);
	case ETIMEDOUT:
		return cli_fail(CLI_UNREACHABLE, "the agent at %s does not answer", socket);
	case EREMOTEIO:
		return cli_fail(CLI_FAILED, "%s", err_msg(e));
	default:
		return cli_fail(CLI_UNREACHABLE, "the agent at %s: %s", socket, err_msg(e));
	}
}
