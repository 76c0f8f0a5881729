// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking a controller what is not of the store behind it.
#include "cli/controller_access.h"

#include "cli/store_access.h"
#include "core/json.h"
#include "core/mem.h"
#include "io/http_client.h"
#include "store/wire.h"

#include <errno.h>
#include <string.h>

#define ANSWER_MAX (1024 * 1024)
#define CONNECT_TIMEOUT_MS 5000

struct question {
	bool is_done;
	int r;
	bool was_sent;
	json_t *answer;
	struct err err;
};

static void on_done(void *arg, int r, const struct http_response *response, const struct err *e)
{
	struct question *question = arg;
	_cleanup_json_ json_t *answer = NULL;

	question->is_done = true;
	question->r = r;
	question->was_sent = response->sent;
	if (r < 0) {
		question->err = *e;
	} else if (json_read(response->body, response->len, ANSWER_MAX, &answer, NULL) < 0) {
		question->r = err_set(&question->err, -EPROTO,
				      "not an answer of a controller (HTTP status %d)",
				      response->status);
	} else if (response->status != 200) {
		question->r = wire_read_error(answer, &question->err);
	} else {
		question->answer = TAKE_PTR(answer);
	}
}

static void ask(struct cli *cli, struct http_client *client, const struct store_config *config,
		const char *endpoint, const char *path, const char *body, struct question *question)
{
	_cleanup_free_ char *url = xasprintf("%s%s", endpoint, path);
	_cleanup_free_ char *authorization =
		config->token ? xasprintf("Authorization: Bearer %s", config->token) : NULL;
	const char *const headers[] = { "Content-Type: application/json", authorization, NULL };
	const struct http_request request = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.body = body,
		.body_len = strlen(body),
		.once = true,
		.response_max = ANSWER_MAX,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.total_timeout_ms = config->request_timeout_ms,
		.done = on_done,
		.arg = question,
	};

	*question = (struct question){ 0 };
	(void)http_call_start(client, &request);
	while (!question->is_done)
		loop_turn(cli->loop, 1000);
	if (question->r < 0)
		(void)err_wrap(&question->err, "%s", endpoint);
}

// One after the other, until one surely got it.
static enum cli_exit ask_all(struct cli *cli, const struct store_config *config, const char *path,
			     const char *body, json_t **ret)
{
	const struct http_client_config http = {
		.ca_file = config->ca_file,
		.cert_file = config->cert_file,
		.key_file = config->key_file,
		.pin = config->pin,
		.user_agent = "weft/" WEFT_VERSION,
	};
	struct question question = { 0 };
	struct http_client *client;
	int r = http_client_new(cli->loop, &http, &client, &question.err);

	if (r < 0)
		return cli_fail(CLI_FAILED, "%s", err_msg(&question.err));
	for (const char *const *endpoint = config->endpoints; *endpoint; endpoint++) {
		ask(cli, client, config, *endpoint, path, body, &question);
		if (question.r == 0 || question.was_sent)
			break;
	}
	http_client_free(client);
	if (question.r < 0)
		return cli_fail_err(question.r, &question.err);
	*ret = question.answer;
	return CLI_OK;
}

enum cli_exit controller_ask(struct cli *cli, const char *path, json_t *request, json_t **ret)
{
	_cleanup_free_ char *body = json_text(request);
	struct store_config config = { 0 };
	enum cli_exit code = store_access_find(cli, &config);

	json_decref(request);
	if (code != CLI_OK)
		return code;
	if (strcmp(config.kind, "controller") != 0)
		return cli_fail(CLI_USAGE,
				"`weft %s` asks a controller: name it by --remote, --pin and --token-file",
				cli->command->name);
	return ask_all(cli, &config, path, body, ret);
}
