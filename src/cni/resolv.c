// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: reading a resolv.conf into the dns part of a result.
#include "cni/resolv.h"

#include "cni/small_file.h"
#include "core/mem.h"

#include <errno.h>
#include <string.h>

#define RESOLV_MAX (64 * 1024)

// The next word of *at, which is changed; NULL at the end of the line.
static char *next_word(char **at)
{
	char *word = *at + strspn(*at, " \t\r");

	if (!*word)
		return NULL;
	*at = word + strcspn(word, " \t\r");
	if (**at)
		*(*at)++ = '\0';
	return word;
}

static struct doc_value *list_of(struct doc *doc, struct doc_value *dns, const char *key)
{
	struct doc_value *list = (struct doc_value *)doc_get(dns, key);

	if (!list) {
		list = doc_new(doc, DOC_ARRAY);
		doc_set(doc, dns, key, list);
	}
	return list;
}

static void take_line(char *line, struct doc *doc, struct doc_value *dns)
{
	char *key, *word, *at = line;

	if (*line == '#' || *line == ';')
		return;
	key = next_word(&at);
	if (!key)
		return;
	if (strcmp(key, "nameserver") == 0 && (word = next_word(&at)))
		doc_append(list_of(doc, dns, "nameservers"), doc_new_text(doc, word));
	else if (strcmp(key, "domain") == 0 && (word = next_word(&at)))
		doc_set(doc, dns, "domain", doc_new_text(doc, word));
	else if (strcmp(key, "search") == 0 || strcmp(key, "options") == 0)
		while ((word = next_word(&at)))
			doc_append(list_of(doc, dns, key), doc_new_text(doc, word));
}

void resolv_parse(const char *text, struct doc *doc, const struct doc_value **ret)
{
	_cleanup_free_ char *copy = xstrdup(text);
	struct doc_value *dns = doc_new(doc, DOC_OBJECT);

	for (char *line = copy, *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		take_line(line, doc, dns);
	}
	*ret = dns;
}

int resolv_read(const char *path, struct doc *doc, const struct doc_value **ret, struct fault *fault)
{
	_cleanup_free_ char *text = NULL;
	int r = small_file_read(path, RESOLV_MAX, &text);

	if (r < 0)
		return fault_set(fault, FAULT_IO, "failed to get resolv.conf: open %s: %s", path,
				 strerror(-r));
	resolv_parse(text, doc, ret);
	return 0;
}
