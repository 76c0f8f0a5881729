// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: writing metrics in Prometheus' text format.
#include "io/metrics.h"

#include "core/log_subsystem.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"
#include "io/file.h"

#include <assert.h>
#include <dirent.h>
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define STAT_TEXT_MAX 4096
#define STAT_START_TIME 22 // field of proc(5) stat, counted from 1
#define LABELS_MAX 6
#define METRIC_NAME_MAX 128
#define EXACT_MAX 9007199254740992.0 // 2^53: whole numbers below are exact

static const char *const kind_names[] = {
	[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"
};
static_assert(ARRAY_SIZE(kind_names) == METRIC_KIND_COUNT, "a name for each kind");

void metric_family(struct strbuf *out, enum metric_kind kind, const char *name, const char *help)
{
	strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind_names[kind]);
}

static void add_label_value(struct strbuf *out, const char *value)
{
	_cleanup_free_ char *text = xstrdup(value ? value : "");

	text_sanitize(text);
	for (const char *at = text; *at; at++) {
		if (*at == '\\' || *at == '"')
			strbuf_putc(out, '\\');
		strbuf_putc(out, *at);
	}
}

static void add_labels(struct strbuf *out, const struct metric_label *labels, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		strbuf_printf(out, "%s%s=\"", i == 0 ? "{" : ",", labels[i].name);
		add_label_value(out, labels[i].value);
		strbuf_putc(out, '"');
	}
	if (count > 0)
		strbuf_putc(out, '}');
}

void metric_sample(struct strbuf *out, const char *name, const struct metric_label *labels,
		   size_t label_count, double value)
{
	strbuf_puts(out, name);
	add_labels(out, labels, label_count);
	if (isnan(value))
		strbuf_puts(out, " NaN\n");
	else if (isinf(value))
		strbuf_puts(out, value > 0 ? " +Inf\n" : " -Inf\n");
	else if (value > -EXACT_MAX && value < EXACT_MAX && value == (double)(int64_t)value)
		strbuf_printf(out, " %.0f\n", value);
	else
		strbuf_printf(out, " %.15g\n", value);
}

// Each bucket tells of those below it as well, and the last of all.
void metric_histogram(struct strbuf *out, const char *name, const struct metric_label *labels,
		      size_t label_count, const struct histogram *histogram)
{
	struct metric_label all[LABELS_MAX];
	char series[METRIC_NAME_MAX], bound[32];
	uint64_t count = 0;

	assert(label_count < LABELS_MAX);
	for (size_t i = 0; i < label_count; i++)
		all[i] = labels[i];
	all[label_count] = (struct metric_label){ "le", bound };
	(void)text_format(series, sizeof(series), "%s_bucket", name);
	for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		count += histogram->counts[i];
		if (i < HISTOGRAM_BOUNDS)
			(void)text_format(bound, sizeof(bound), "%g",
					  (double)histogram_bounds_us[i] / 1e6);
		else
			(void)text_copy(bound, sizeof(bound), "+Inf");
		metric_sample(out, series, all, label_count + 1, (double)count);
	}
	(void)text_format(series, sizeof(series), "%s_sum", name);
	metric_sample(out, series, labels, label_count, (double)histogram->sum_us / 1e6);
	(void)text_format(series, sizeof(series), "%s_count", name);
	metric_sample(out, series, labels, label_count, (double)count);
}

void metric_single(struct strbuf *out, enum metric_kind kind, const char *name, const char *help,
		   double value)
{
	metric_family(out, kind, name, help);
	metric_sample(out, name, NULL, 0, value);
}

static double cpu_seconds(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0)
		return 0;
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// Number in the given field (from 1) of a line of words; 0 if there is none. skip_to: the last of this character ends field 2
// (a command name may hold blanks).
static uint64_t proc_field(const char *path, unsigned int field, char skip_to)
{
	_cleanup_free_ char *text = NULL;
	const char *at;
	uint64_t value = 0;
	size_t len;

	if (file_read(path, STAT_TEXT_MAX, &text, &len, NULL) < 0)
		return 0;
	at = skip_to ? strrchr(text, skip_to) : text;
	for (unsigned int i = skip_to ? 2 : 1; at && i < field; i++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	if (!at || !parse_u64(&at, UINT64_MAX, &value))
		return 0;
	return value;
}

static double open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	double count = -1; // the one that reads

	if (!directory)
		return 0;
	for (const struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
		if (entry->d_name[0] != '.')
			count++;
	closedir(directory);
	return count;
}

// Asked once, so that it does not wander with the clocks.
static double start_time_seconds(void)
{
	static double start;
	struct timespec real, boot;

	if (start > 0)
		return start;
	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	start = (double)(real.tv_sec - boot.tv_sec) + (double)(real.tv_nsec - boot.tv_nsec) / 1e9 +
		(double)proc_field("/proc/self/stat", STAT_START_TIME, ')') /
			(double)sysconf(_SC_CLK_TCK);
	return start;
}

void metric_build(struct strbuf *out)
{
	metric_family(out, METRIC_GAUGE, "weft_build_info", "Always 1; the label tells the version.");
	metric_sample(out, "weft_build_info", &(struct metric_label){ "version", WEFT_VERSION }, 1, 1);
}

void metric_log(struct strbuf *out)
{
	const struct log_stats stats = log_stats();

	metric_family(out, METRIC_COUNTER, "weft_log_lines_total", "Lines of the log.");
	for (size_t i = 0; i < LOG_LEVEL_COUNT; i++)
		metric_sample(out, "weft_log_lines_total",
			      &(struct metric_label){ "level", log_level_names[i] }, 1,
			      (double)stats.lines[i]);
	metric_single(out, METRIC_COUNTER, "weft_log_left_out_total",
		      "Lines that were left out because there were too many of their kind.",
		      (double)stats.left_out);
	metric_single(out, METRIC_COUNTER, "weft_log_lost_total",
		      "Lines that were lost because their reader was too slow.", (double)stats.lost);
}

void metric_process(struct strbuf *out)
{
	metric_single(out, METRIC_COUNTER, "process_cpu_seconds_total",
		      "User and system CPU time spent.", cpu_seconds());
	metric_single(out, METRIC_GAUGE, "process_resident_memory_bytes", "Resident memory.",
		      (double)proc_field("/proc/self/statm", 2, '\0') * (double)sysconf(_SC_PAGESIZE));
	metric_single(out, METRIC_GAUGE, "process_open_fds", "Open file descriptors.",
		      open_descriptors());
	metric_single(out, METRIC_GAUGE, "process_start_time_seconds",
		      "Start of the process, seconds since the epoch.", start_time_seconds());
}
