// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: datagrams to the service manager; the protocol is in sd_notify(3).
#include "agent/notify.h"

#include "core/mem.h"
#include "core/parse.h"
#include "core/strbuf.h"
#include "core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define STATUS_MAX 256

struct notify {
	int fd; // -1: nobody is to be told
	struct sockaddr_un address;
	socklen_t address_len;
	uint64_t watchdog_ms;
	struct timer *watchdog; // NULL: not started
	char status[STATUS_MAX];
};

static const char *variable(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	return NULL;
}

static int set_address(struct notify *notify, const char *text, struct err *e)
{
	struct sockaddr_un *address = &notify->address;
	size_t len = strlen(text);
	char shown[TEXT_EXCERPT_MAX];

	if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(address->sun_path))
		return err_set(e, -EINVAL,
			       "NOTIFY_SOCKET: \"%s\" is neither a path nor an abstract socket",
			       text_excerpt(text, len, shown));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, text, len);
	notify->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	if (text[0] == '@')
		address->sun_path[0] = '\0';
	else
		notify->address_len++;
	return 0;
}

// A value for another process was inherited by mistake.
static uint64_t watchdog_of(char *const *environment)
{
	const char *usec_text = variable(environment, "WATCHDOG_USEC");
	const char *pid_text = variable(environment, "WATCHDOG_PID");
	uint64_t usec, pid;

	if (!usec_text || parse_whole_u64(usec_text, INT64_MAX, &usec) < 0 || usec == 0)
		return 0;
	if (pid_text && (parse_whole_u64(pid_text, INT32_MAX, &pid) < 0 || pid != (uint64_t)getpid()))
		return 0;
	return usec < 2000 ? 1 : usec / 2000;
}

int notify_new(char *const *environment, struct notify **ret, struct err *e)
{
	const char *socket_text = variable(environment, "NOTIFY_SOCKET");
	struct notify *notify = xnew(struct notify);
	int r = 0;

	notify->fd = -1;
	*ret = notify;
	if (!socket_text || socket_text[0] == '\0')
		return 0;
	r = set_address(notify, socket_text, e);
	if (r < 0)
		return r;
	notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify->fd < 0)
		return err_set(e, -errno, "NOTIFY_SOCKET: %s", strerror(errno));
	notify->watchdog_ms = watchdog_of(environment);
	return 0;
}

struct notify *notify_free(struct notify *notify)
{
	if (!notify)
		return NULL;
	timer_free(notify->watchdog);
	fd_closep(&notify->fd);
	free(notify);
	return NULL;
}

static void tell(const struct notify *notify, const char *text)
{
	if (notify->fd < 0)
		return;
	// A manager that does not listen must not stop us.
	(void)sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL,
		     (const struct sockaddr *)&notify->address, notify->address_len);
}

void notify_ready(struct notify *notify)
{
	tell(notify, "READY=1");
}

void notify_status(struct notify *notify, const char *format, ...)
{
	char status[STATUS_MAX], message[STATUS_MAX + 16];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(status, sizeof(status), format, args);
	va_end(args);
	text_sanitize(status); // a newline would start another assignment
	if (strcmp(status, notify->status) == 0)
		return;
	(void)text_copy(notify->status, sizeof(notify->status), status);
	(void)text_format(message, sizeof(message), "STATUS=%s", status);
	tell(notify, message);
}

// Type=notify-reload wants the time, so that it can tell this reload from an older one.
void notify_reloading(struct notify *notify)
{
	struct timespec now;
	char message[80];

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)text_format(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			  (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
	tell(notify, message);
}

void notify_stopping(struct notify *notify)
{
	tell(notify, "STOPPING=1");
}

static void watchdog_due(void *arg)
{
	struct notify *notify = arg;

	tell(notify, "WATCHDOG=1");
	timer_start(notify->watchdog, notify->watchdog_ms);
}

void notify_watchdog_start(struct notify *notify, struct loop *loop)
{
	if (notify->watchdog_ms == 0)
		return;
	notify->watchdog = timer_new(loop, watchdog_due, notify);
	timer_start(notify->watchdog, notify->watchdog_ms);
}

uint64_t notify_watchdog_ms(const struct notify *notify)
{
	return notify->watchdog_ms;
}
