// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: from the text of one flag's value to the member that holds it.
#include "core/flags_internal.h"

#include "core/ip.h"
#include "core/mem.h"
#include "core/parse.h"
#include "core/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LIST_MAX 64

struct request {
	const struct flag *flag;
	void *member;
	const char *text;
	const char *label;
};

static int refuse(const struct request *request, struct err *e, const char *wanted)
{
	char shown[TEXT_EXCERPT_MAX];

	if (request->flag->properties & FLAG_SECRET)
		return err_set(e, -EINVAL, "%s: the value is not %s", request->label, wanted);
	return err_set(e, -EINVAL, "%s: \"%s\" is not %s", request->label,
		       text_excerpt(request->text, strlen(request->text), shown), wanted);
}

void flag_list_free(struct flag_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct flag_list){ 0 };
}

// Takes item over, NULL adds nothing but makes the list one that has items.
static void list_add(struct flag_list *list, char *item)
{
	list->items = xrealloc_array(list->items, list->count + 2, sizeof(*list->items));
	if (item)
		list->items[list->count++] = item;
	list->items[list->count] = NULL;
}

static int store_bool(const struct request *request, struct err *e)
{
	if (parse_go_bool(request->text, request->member) < 0)
		return refuse(request, e, "a truth value (true or false)");
	return 0;
}

static int store_int(const struct request *request, struct err *e)
{
	const struct flag *flag = request->flag;
	char wanted[80];
	int r;

	r = parse_go_int(request->text, flag->min, flag->max, request->member);
	if (r == 0)
		return 0;
	(void)text_format(wanted, sizeof(wanted), "a number from %" PRId64 " to %" PRId64,
			  flag->min, flag->max);
	return refuse(request, e, wanted);
}

static int store_duration(const struct request *request, struct err *e)
{
	const struct flag *flag = request->flag;
	char wanted[80];
	uint64_t ms;

	if (parse_go_duration_ms(request->text, &ms) < 0)
		return refuse(request, e, "a duration such as 250ms, 3s or 1h30m");
	if ((flag->min != 0 || flag->max != 0) &&
	    (ms < (uint64_t)flag->min || ms > (uint64_t)flag->max)) {
		(void)text_format(wanted, sizeof(wanted), "from %" PRId64 "ms to %" PRId64 "s",
				  flag->min, flag->max / 1000);
		return refuse(request, e, wanted);
	}
	*(uint64_t *)request->member = ms;
	return 0;
}

static int store_string(const struct request *request)
{
	char **member = request->member;

	free(*member);
	*member = xstrdup(request->text);
	return 0;
}

static int store_ip(const struct request *request, struct err *e)
{
	if (request->text[0] == '\0') {
		*(struct ip *)request->member = (struct ip){ 0 };
		return 0;
	}
	if (ip_parse(request->text, request->member) < 0)
		return refuse(request, e, "an IP address");
	return 0;
}

static int store_repeated(const struct request *request, struct err *e)
{
	struct flag_list *list = request->member;

	if (list->count >= LIST_MAX)
		return err_set(e, -EINVAL, "%s: given more than %d times", request->label, LIST_MAX);
	list_add(list, xstrdup(request->text));
	return 0;
}

// Calls fn for each element of a comma list without the spaces around it; no elements in empty text.
typedef int element_fn(void *arg, const char *text, size_t len);
static int comma_each(const char *text, element_fn *fn, void *arg)
{
	bool more = text[0] != '\0';
	int r = 0;

	while (more && r == 0) {
		size_t len = strcspn(text, ",");
		const char *start = text;

		more = text[len] == ',';
		text += len + (more ? 1 : 0);
		for (; len > 0 && (*start == ' ' || *start == '\t'); len--)
			start++;
		while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t'))
			len--;
		r = fn(arg, start, len);
	}
	return r;
}

static int comma_list_element(void *arg, const char *text, size_t len)
{
	struct flag_list *list = arg;

	if (len == 0 || list->count >= LIST_MAX)
		return -EINVAL;
	list_add(list, xstrndup(text, len));
	return 0;
}

static int store_comma_list(const struct request *request, struct err *e)
{
	struct flag_list list = { 0 };
	int r;

	list_add(&list, NULL);
	r = comma_each(request->text, comma_list_element, &list);
	if (r < 0) {
		flag_list_free(&list);
		return refuse(request, e, "a comma list of at most 64 non-empty elements");
	}
	flag_list_free(request->member);
	*(struct flag_list *)request->member = list;
	return 0;
}

static int choice_index(const struct flag *flag, const char *text, size_t len)
{
	for (int i = 0; flag->choices[i]; i++)
		if (strlen(flag->choices[i]) == len && strncmp(flag->choices[i], text, len) == 0)
			return i;
	return -1;
}

static int refuse_choice(const struct request *request, struct err *e, const char *before)
{
	_cleanup_strbuf_ struct strbuf wanted = STRBUF_INIT(160);
	const char *const *choices = request->flag->choices;

	(void)strbuf_puts(&wanted, before);
	for (size_t i = 0; choices[i]; i++)
		(void)strbuf_printf(&wanted, "%s%s",
				    i == 0	     ? ""
				    : choices[i + 1] ? ", "
						     : " or ",
				    choices[i]);
	return refuse(request, e, strbuf_text(&wanted));
}

static int store_choice(const struct request *request, struct err *e)
{
	int index = choice_index(request->flag, request->text, strlen(request->text));

	if (index < 0)
		return refuse_choice(request, e, "one of ");
	*(int *)request->member = index;
	return 0;
}

struct mask_sum {
	const struct flag *flag;
	unsigned int mask;
};

static int mask_element(void *arg, const char *text, size_t len)
{
	struct mask_sum *sum = arg;
	int index = choice_index(sum->flag, text, len);

	if (index < 0)
		return -EINVAL;
	sum->mask |= 1U << index;
	return 0;
}

static int store_mask(const struct request *request, struct err *e)
{
	struct mask_sum sum = { .flag = request->flag };

	if (comma_each(request->text, mask_element, &sum) < 0)
		return refuse_choice(request, e, "a comma list of ");
	*(unsigned int *)request->member = sum.mask;
	return 0;
}

int flag_value_store(const struct flag *flag, char *target, const char *text, const char *label,
		     struct err *e)
{
	const struct request request = {
		.flag = flag,
		.member = target + flag->offset,
		.text = text,
		.label = label,
	};

	switch (flag->kind) {
	case FLAG_BOOL:
		return store_bool(&request, e);
	case FLAG_INT:
		return store_int(&request, e);
	case FLAG_DURATION:
		return store_duration(&request, e);
	case FLAG_STRING:
		return store_string(&request);
	case FLAG_IP:
		return store_ip(&request, e);
	case FLAG_REPEATED:
		return store_repeated(&request, e);
	case FLAG_COMMA_LIST:
		return store_comma_list(&request, e);
	case FLAG_CHOICE:
		return store_choice(&request, e);
	case FLAG_MASK:
		return store_mask(&request, e);
	case FLAG_KIND_COUNT:
		break;
	}
	return err_set(e, -EINVAL, "%s: a flag of no kind", label);
}

void flag_value_free(const struct flag *flag, char *target)
{
	void *member = target + flag->offset;

	switch (flag->kind) {
	case FLAG_STRING:
		free(*(char **)member);
		*(char **)member = NULL;
		break;
	case FLAG_REPEATED:
	case FLAG_COMMA_LIST:
		flag_list_free(member);
		break;
	case FLAG_BOOL:
	case FLAG_INT:
	case FLAG_DURATION:
	case FLAG_IP:
	case FLAG_CHOICE:
	case FLAG_MASK:
	case FLAG_KIND_COUNT:
		break;
	}
}
