// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: JSON documents as the plugins need them: read whole, looked up, added to and written again. Small and without a
// library, because the plugin is one static program that starts for every container.
#pragma once

#include "core/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOC_DEPTH_MAX 64
#define DOC_TEXT_MAX (4u << 20) // bytes of a document

enum doc_kind {
	DOC_NULL,
	DOC_BOOL,
	DOC_NUMBER,
	DOC_STRING,
	DOC_ARRAY,
	DOC_OBJECT,
};

// One value. `text` is a string's decoded text (terminated, no NUL inside), or a number as it was written, so that what
// is handed on keeps its form.
struct doc_value {
	enum doc_kind kind;
	bool truth;		 // DOC_BOOL
	const char *text;	 // DOC_STRING, DOC_NUMBER
	const char *key;	 // of an object's member
	struct doc_value *first; // of an array or object
	struct doc_value *next;	 // the container's next
};

// Owns all values made in it. Zeroed is an empty one.
struct doc {
	struct doc_block *blocks;
	struct doc_value *root; // what doc_parse read
};

// Reads one array or object and nothing behind it. -EINVAL: no JSON (the offset of what is wrong in *ret_offset, which may be
// NULL); -E2BIG: longer than DOC_TEXT_MAX or deeper than DOC_DEPTH_MAX. Of several members with one name the last
// counts. Strings must be UTF-8 without NUL.
int doc_parse(struct doc *doc, const char *text, size_t len, size_t *ret_offset);
void doc_free(struct doc *doc);

// Looking up: a missing key, a NULL object or another kind gives NULL, or the given fall-back.
const struct doc_value *doc_get(const struct doc_value *object, const char *key);
const struct doc_value *doc_get_kind(const struct doc_value *object, const char *key,
				     enum doc_kind kind);
const char *doc_get_text(const struct doc_value *object, const char *key);
bool doc_get_bool(const struct doc_value *object, const char *key, bool fallback);
// A whole number of 0 to max. -ENOENT when missing or null; -EINVAL.
int doc_get_u64(const struct doc_value *object, const char *key, uint64_t max, uint64_t *ret);

// Building. Text is copied. doc_set replaces a member of that name; value must be of the same document or outlive it.
struct doc_value *doc_new(struct doc *doc, enum doc_kind kind);
struct doc_value *doc_new_text(struct doc *doc, const char *text);
struct doc_value *doc_new_u64(struct doc *doc, uint64_t number);
struct doc_value *doc_new_bool(struct doc *doc, bool truth);
struct doc_value *doc_copy(struct doc *doc, const struct doc_value *value);
void doc_set(struct doc *doc, struct doc_value *object, const char *key, struct doc_value *value);
void doc_append(struct doc_value *array, struct doc_value *value);
bool doc_equal(const struct doc_value *a,
	       const struct doc_value *b); // members in any order, numbers by text

// Writes as Go's encoding/json does: no white space, and <, > and & escaped. sorted: members by name.
int doc_write(const struct doc_value *value, bool sorted, struct strbuf *out);
int doc_write_text(const char *text, struct strbuf *out); // one string with its quotes
