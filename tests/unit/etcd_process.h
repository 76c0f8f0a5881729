// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: a real etcd for tests: members as child processes on loopback, with their data in a
// temporary directory.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ETCD_MEMBERS_MAX 3
#define ETCD_WORDS_MAX 24

struct etcd_cluster;

// Can etcd run here: is it installed, and may we have a network namespace for it? Says why not.
// With WEFT_REQUIRE_ALL=1 it can, and the test fails if it cannot.
bool etcd_can_run(void);

// Members of one cluster, serving clients at scheme://127.0.0.1:2379, 2479, 2579 of this network
// namespace. Returns when each says that it is healthy. words: more options for each,
// NULL-terminated, or NULL.
struct etcd_cluster *etcd_cluster_start(size_t count, const char *scheme, const char *const *words);
struct etcd_cluster *etcd_cluster_free(struct etcd_cluster *cluster); // ends the members, removes the data
const char *etcd_cluster_url(const struct etcd_cluster *cluster, size_t member);
const char *const *etcd_cluster_urls(const struct etcd_cluster *cluster); // of all, NULL-terminated
const char *etcd_cluster_dir(const struct etcd_cluster *cluster);

void etcd_member_signal(struct etcd_cluster *cluster, size_t member, int signal_number);
void etcd_member_end(struct etcd_cluster *cluster, size_t member,
		     int signal_number);			     // and waits for its end
void etcd_member_begin(struct etcd_cluster *cluster, size_t member); // again, after an end; does not wait
void etcd_member_await(struct etcd_cluster *cluster, size_t member); // until it is healthy
void etcd_member_wipe(struct etcd_cluster *cluster, size_t member); // its data, while it does not run

// etcdctl by version 2 of the API, which etcd has with the option --enable-v2. What it prints is cut to
// size.
void etcd_ctl2(const struct etcd_cluster *cluster, char *ret_output, size_t size, ...)
	__attribute__((sentinel));

// etcdctl of the first member, by its words, NULL last; fails the test when it fails.
void etcd_ctl(const struct etcd_cluster *cluster, ...) __attribute__((sentinel));
