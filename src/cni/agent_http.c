// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: asking the agent on its unix socket.
#include "cni/agent_http.h"

#include "cni/deadline.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HEADER_MAX 8192

// The value of a header among the lines in [at, end), or NULL. A line ends with CR LF.
static const char *find_header(const char *at, const char *end, const char *name)
{
	size_t len = strlen(name);

	while (at < end) {
		const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);

		if (!line_end)
			return NULL;
		if ((size_t)(line_end - at) > len && at[len] == ':' && strncasecmp(at, name, len) == 0) {
			at += len + 1;
			while (at < line_end && *at == ' ')
				at++;
			return at;
		}
		at = line_end + 2;
	}
	return NULL;
}

static int read_status(const char *text, unsigned int *ret)
{
	const char *cursor = text;
	uint64_t status;

	if (!(parse_literal(&cursor, "HTTP/1.1 ") || parse_literal(&cursor, "HTTP/1.0 ")) ||
	    !parse_u64(&cursor, 599, &status) || (*cursor != ' ' && *cursor != '\r') || status < 200)
		return -EINVAL;
	*ret = (unsigned int)status;
	return 0;
}

int agent_parse_answer(const char *text, size_t len, unsigned int *ret_status,
		       const char **ret_body, size_t *ret_len)
{
	const char *head_end = memmem(text, len, "\r\n\r\n", 4), *lines, *length;
	uint64_t body_len;
	unsigned int status;

	if (!head_end)
		return len > HEADER_MAX ? -EINVAL : -EAGAIN;
	lines = memmem(text, len, "\r\n", 2);
	if (read_status(text, &status) < 0)
		return -EINVAL;
	// The agent always tells the length; what does not is something else that listens there.
	length = find_header(lines + 2, head_end + 2, "Content-Length");
	if (!length || !parse_u64(&length, AGENT_ANSWER_MAX, &body_len) || *length != '\r')
		return -EINVAL;
	if ((size_t)(text + len - (head_end + 4)) < body_len)
		return -EAGAIN;
	*ret_status = status;
	*ret_body = head_end + 4;
	*ret_len = body_len;
	return 0;
}

static int open_socket(const char *path, int *ret, struct fault *fault)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int error;

	if (text_copy(address.sun_path, sizeof(address.sun_path), path) < 0)
		return fault_set(fault, FAULT_CONFIG, "the agent's socket has too long a path: %s",
				 path);
	if (fd < 0)
		return fault_set(fault, FAULT_IO, "no socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		*ret = TAKE_FD(fd);
		return 0;
	}
	error = errno;
	(void)fault_set(fault, FAULT_AGAIN, "the agent does not answer on %s: %s", path,
			strerror(error));
	return error == ENOENT || error == ECONNREFUSED || error == ENOTDIR ? -ENOENT : -EIO;
}

static int send_request(int fd, const char *target, const struct strbuf *body, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf request = STRBUF_INIT(DOC_TEXT_MAX);
	size_t sent = 0;

	(void)strbuf_printf(&request, "%s %s HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n",
			    body ? "POST" : "GET", target);
	if (body)
		(void)strbuf_printf(&request,
				    "Content-Type: application/json\r\nContent-Length: %zu\r\n",
				    body->len);
	(void)strbuf_puts(&request, "\r\n");
	if (body)
		(void)strbuf_add(&request, strbuf_text(body), body->len);
	while (sent < request.len && !request.overflow) {
		ssize_t n = send(fd, request.data + sent, request.len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno != EINTR || deadline_passed())
			break;
	}
	if (sent == request.len && !request.overflow)
		return 0;
	return fault_set(fault, FAULT_AGAIN, "cannot send to the agent");
}

static int receive_answer(int fd, struct strbuf *answer, unsigned int *ret_status,
			  const char **ret_body, size_t *ret_len, struct fault *fault)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	char buffer[4096];
	ssize_t n;
	int r;

	for (;;) {
		r = agent_parse_answer(strbuf_text(answer), answer->len, ret_status, ret_body, ret_len);
		if (r == 0)
			return 0;
		if (r == -EINVAL || answer->overflow)
			return fault_set(fault, FAULT_IO,
					 "what listens on the agent's socket does not speak HTTP");
		if (deadline_passed())
			return fault_set(fault, FAULT_AGAIN, "the agent did not answer in time");
		if (poll(&wait, 1, deadline_left_ms()) <= 0)
			continue;
		n = read(fd, buffer, sizeof(buffer));
		if (n > 0)
			(void)strbuf_add(answer, buffer, (size_t)n);
		else if (n == 0 || (errno != EINTR && errno != EAGAIN))
			return fault_set(fault, FAULT_AGAIN, "the agent went away without an answer");
	}
}

// What the agent says of a request that failed.
static int read_refusal(unsigned int status, const struct doc_value *answer, struct fault *fault)
{
	const char *msg = doc_get_text(answer, "msg"), *details = doc_get_text(answer, "details");
	uint64_t code = 0;

	if (status == 404 && !msg)
		return fault_set(fault, FAULT_AGAIN,
				 "the agent serves no addresses; is it of an older version?");
	if (doc_get_u64(answer, "code", UINT16_MAX, &code) < 0 || code == 0)
		code = FAULT_INTERNAL;
	(void)fault_set(fault, (unsigned int)code, "%s", msg ? msg : "");
	if (!msg)
		(void)fault_set(fault, (unsigned int)code, "the agent answered with status %u", status);
	if (details)
		fault_details(fault, "%s", details);
	return -EIO;
}

int agent_ask(const char *socket_path, const char *target, const struct strbuf *body,
	      struct doc *ret, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf answer = STRBUF_INIT(AGENT_ANSWER_MAX + HEADER_MAX);
	_cleanup_close_ int fd = -1;
	const char *text = NULL;
	unsigned int status = 0;
	size_t len = 0;
	bool readable;
	int r;

	r = open_socket(socket_path, &fd, fault);
	if (r < 0)
		return r;
	r = send_request(fd, target, body, fault);
	if (r == 0)
		r = receive_answer(fd, &answer, &status, &text, &len, fault);
	if (r < 0)
		return r;
	readable = doc_parse(ret, text, len, NULL) == 0 && ret->root->kind == DOC_OBJECT;
	if (status != 200)
		return read_refusal(status, readable ? ret->root : NULL, fault);
	return readable ? 0
			: fault_set(fault, FAULT_DECODE,
				    "the agent answered with something that is no JSON object");
}
