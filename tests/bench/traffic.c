// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: traffic that iperf3 measures badly or not at all: round trips one after the other, and packets a second.
//
// usage: traffic echo PORT                        answers each byte over TCP with one, until it is ended
//        traffic rr HOST PORT SECONDS             one byte there and back: {"rate", "p50_us", "p99_us"}
//        traffic sink PORT                        counts UDP packets until SIGTERM: {"packets", "bytes"}
//        traffic blast HOST PORT SECONDS BYTES N  UDP packets as fast as they go; N of them in one send, cut by the kernel
#include "core/ip.h"
#include "core/mem.h"
#include "core/parse.h"

#include <endian.h>
#include <linux/udp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 4000000, BATCH = 64 };

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static void __attribute__((noreturn)) die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t number(const char *text)
{
	uint64_t value;
	if (parse_whole_u64(text, UINT32_MAX, &value) < 0)
		die(text);
	return value;
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htobe16((uint16_t)number(port)) };
	struct ip ip = ip_v4(0);
	if (host && ip_parse(host, &ip) < 0)
		die(host);
	memcpy(&address.sin_addr, ip.bytes, 4);
	return address;
}

static int bound(int type, const char *port)
{
	struct sockaddr_in address = address_of(NULL, port);
	int fd = socket(AF_INET, type, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("bind");
	return fd;
}

static int reached(int type, const char *host, const char *port)
{
	struct sockaddr_in address = address_of(host, port);
	int fd = socket(AF_INET, type, 0), on = 1;
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	return fd;
}

static void echo(const char *port)
{
	int listener = bound(SOCK_STREAM, port), on = 1;
	char byte;
	if (listen(listener, 4) < 0)
		die("listen");
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		while (recv(fd, &byte, 1, 0) == 1)
			(void)send(fd, &byte, 1, MSG_NOSIGNAL);
		close(fd);
	}
}

static int compare(const void *a, const void *b)
{
	return (*(const uint32_t *)a > *(const uint32_t *)b) -
	       (*(const uint32_t *)a < *(const uint32_t *)b);
}

static void rr(const char *host, const char *port, uint64_t seconds)
{
	uint32_t *samples = xnew0_array(uint32_t, SAMPLES_MAX);
	int fd = reached(SOCK_STREAM, host, port);
	size_t count = 0;
	char byte = 'x';
	uint64_t begin = now_ns(), end = begin + seconds * 1000000000, sent = begin;
	while (sent < end && count < SAMPLES_MAX) {
		if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1)
			die("round trip");
		uint64_t now = now_ns();
		samples[count++] = (uint32_t)(now - sent);
		sent = now;
	}
	qsort(samples, count, sizeof(samples[0]), compare);
	size_t middle = count / 2, late = count * 99 / 100;
	printf("{\"rate\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
	       (double)count * 1e9 / (double)(sent - begin), samples[middle] / 1e3,
	       samples[late] / 1e3);
	free(samples);
}

static void sink(const char *port)
{
	static uint8_t data[BATCH][65536];
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	struct timeval patience = { .tv_usec = 100000 };
	int fd = bound(SOCK_DGRAM, port), size = 4 << 20;
	unsigned long packets = 0, bytes = 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	memset(messages, 0, sizeof(messages));
	for (size_t i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ data[i], sizeof(data[i]) };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	signal(SIGTERM, stop);
	while (!stopped) {
		int r = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < r; i++)
			bytes += messages[i].msg_len;
		packets += r > 0 ? (unsigned long)r : 0;
	}
	printf("{\"packets\": %lu, \"bytes\": %lu}\n", packets, bytes);
}

static void blast(const char *host, const char *port, uint64_t seconds, size_t bytes, size_t together)
{
	static uint8_t data[65536];
	struct iovec iov = { data, bytes * together };
	struct mmsghdr messages[BATCH];
	int fd = reached(SOCK_DGRAM, host, port), segment = (int)bytes;
	unsigned long packets = 0;
	if (iov.iov_len > 65000)
		die("too many at once");
	if (together > 1 && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)) < 0)
		die("UDP_SEGMENT");
	memset(messages, 0, sizeof(messages));
	for (size_t i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	for (uint64_t end = now_ns() + seconds * 1000000000; now_ns() < end;) {
		int r = sendmmsg(fd, messages, together > 1 ? 4 : BATCH, 0);
		packets += r > 0 ? (unsigned long)r * together : 0;
	}
	printf("{\"packets\": %lu}\n", packets);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		echo(argv[2]);
	else if (argc == 5 && strcmp(argv[1], "rr") == 0)
		rr(argv[2], argv[3], number(argv[4]));
	else if (argc == 3 && strcmp(argv[1], "sink") == 0)
		sink(argv[2]);
	else if (argc == 7 && strcmp(argv[1], "blast") == 0)
		blast(argv[2], argv[3], number(argv[4]), number(argv[5]), number(argv[6]));
	else
		die("usage: see the source");
	return 0;
}
