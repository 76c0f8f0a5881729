// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the plugins' JSON reader: it takes what jansson takes and refuses what jansson refuses, and what it writes
// is read again as the same by both.
#include "fuzz.h"

#include "cni/doc.h"
#include "core/mem.h"

#include <errno.h>
#include <jansson.h>

// What only one of both refuses, by design: numbers that a C type does not hold, and depth.
static bool is_excused(const json_error_t *error)
{
	return json_error_code(error) == json_error_numeric_overflow;
}

static void check_written(const struct doc *doc, bool sorted, json_t *expected)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT((size_t)DOC_TEXT_MAX * 8);
	struct doc again = { 0 };
	json_error_t error;
	json_t *tree;

	must(doc_write(doc->root, sorted, &text) == 0);
	must(doc_parse(&again, text.data, text.len, NULL) == 0);
	must(doc_equal(doc->root, again.root));
	tree = json_loadb(text.data, text.len, 0, &error);
	must(tree || is_excused(&error));
	must(!tree || !expected || json_equal(tree, expected));
	json_decref(tree);
	doc_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = text_of(data, size);
	struct doc doc = { 0 }, copy = { 0 };
	json_error_t error = { 0 };
	json_t *tree = json_loadb(text, size, 0, &error);
	size_t offset = 0;
	int r = doc_parse(&doc, text, size, &offset);

	if (r == 0) {
		must(tree || is_excused(&error));
		check_written(&doc, false, tree);
		check_written(&doc, true, tree);
		must(doc_equal(doc.root, doc_copy(&copy, doc.root)));
	} else {
		// jansson takes "[1.", a NUL byte and "]" for a list of one number.
		must(!tree || r == -E2BIG || memchr(text, '\0', size));
		must(offset <= size);
		must(!doc.root);
	}
	json_decref(tree);
	doc_free(&doc);
	doc_free(&copy);
	return 0;
}
