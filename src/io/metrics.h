// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: writing metrics in Prometheus' text format, version 0.0.4.
#pragma once

#include "core/histogram.h"
#include "core/strbuf.h"

#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_KIND_COUNT };

struct metric_label {
	const char *name;
	const char *value; // any text; escaped
};

// Starts a family: its HELP and TYPE lines. Counters' names end in _total.
void metric_family(struct strbuf *out, enum metric_kind kind, const char *name, const char *help);
// One sample of the family. labels may be NULL.
void metric_sample(struct strbuf *out, const char *name, const struct metric_label *labels,
		   size_t label_count, double value);
// The samples of one histogram of the family, in seconds: name is without _bucket and so on. labels may be NULL.
void metric_histogram(struct strbuf *out, const char *name, const struct metric_label *labels,
		      size_t label_count, const struct histogram *histogram);
// A family with one sample and no labels.
void metric_single(struct strbuf *out, enum metric_kind kind, const char *name, const char *help,
		   double value);
// weft_build_info
void metric_build(struct strbuf *out);
// weft_log_*
void metric_log(struct strbuf *out);
// process_* of this process: CPU seconds, resident bytes, open descriptors, start time.
void metric_process(struct strbuf *out);
