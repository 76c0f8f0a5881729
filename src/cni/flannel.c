// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the commands of the meta plugin flannel.
//
// DOC: ADD keeps the delegate's configuration as dataDir/<container id>, as flannel does, so that either of both finds what it
// needs for DEL. If that file is of another network (a second attachment of the container, which flannel's overwrites), ours
// is dataDir/<container id>-<interface>. It goes only when the delegate's DEL has succeeded. One that is missing, or was left
// empty by a power failure, is made up from the configuration that DEL came with.
// A bridge with host-local is served in-process; everything else by the real plugin.
#include "cni/flannel.h"

#include "cni/bridge.h"
#include "cni/delegate.h"
#include "cni/small_file.h"
#include "core/mem.h"
#include "core/text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define DATA_DIR "/var/lib/cni/flannel"

// The kept file of one attachment.
struct kept {
	const char *directory;
	char name[NAME_MAX + 1];
	char path[PATH_MAX];
	bool there; // before this call
};

static const char *text_or(const struct conf *conf, const char *key, const char *fallback)
{
	const char *text = doc_get_text(conf->root, key);

	return text && *text ? text : fallback;
}

static int kept_place(struct kept *ret, const struct conf *conf, const char *id, const char *ifname,
		      struct fault *fault)
{
	int r = ifname ? text_format(ret->name, sizeof(ret->name), "%s-%s", id, ifname)
		       : text_copy(ret->name, sizeof(ret->name), id);

	ret->directory = text_or(conf, "dataDir", DATA_DIR);
	if (ret->directory[0] != '/')
		return fault_set(fault, FAULT_CONFIG, "dataDir is no absolute path: %s",
				 ret->directory);
	if (r < 0 || text_format(ret->path, sizeof(ret->path), "%s/%s", ret->directory, ret->name) < 0)
		return fault_set(fault, FAULT_ENVIRONMENT, "the container's id is too long");
	return 0;
}

// 0 and its text, if it is a configuration for this network; -ENOENT: none, or nothing to be made out; -EEXIST: of another.
static int kept_read(const struct kept *kept, const char *network, char **ret)
{
	_cleanup_free_ char *text = NULL;
	struct doc doc = { 0 };
	const char *name;
	int r;

	if (small_file_read(kept->path, DOC_TEXT_MAX, &text) < 0)
		return -ENOENT;
	r = doc_parse(&doc, text, strlen(text), NULL) < 0 ? -ENOENT : 0;
	name = doc_get_text(doc.root, "name");
	if (r == 0 && name && !text_equal(name, network))
		r = -EEXIST;
	doc_free(&doc);
	if (r == 0)
		*ret = TAKE_PTR(text);
	return r;
}

// Where the file of this attachment is, or would be. *ret_text NULL: there is none.
static int kept_find(struct kept *ret, const struct call *call, const struct conf *conf,
		     char **ret_text, struct fault *fault)
{
	int r;

	*ret_text = NULL;
	r = kept_place(ret, conf, call->container_id, call->ifname, fault);
	if (r < 0)
		return r;
	if (kept_read(ret, conf->name, ret_text) < 0) {
		r = kept_place(ret, conf, call->container_id, NULL, fault);
		if (r == 0 && kept_read(ret, conf->name, ret_text) == -EEXIST)
			r = kept_place(ret, conf, call->container_id, call->ifname, fault);
	}
	ret->there = *ret_text != NULL;
	return r;
}

static bool in_process(const struct conf *delegate)
{
	return text_equal(doc_get_text(delegate->root, "type"), "bridge") &&
	       text_equal(delegate->ipam_type, "host-local") && bridge_serves(delegate);
}

static int run_delegate(const struct call *call, const struct conf *delegate, struct strbuf *out,
			struct fault *fault)
{
	if (in_process(delegate))
		return bridge_run(call, delegate, out, fault);
	return delegate_run(call, call->command, doc_get_text(delegate->root, "type"),
			    delegate->text, delegate->len, out, fault);
}

static int build_from_file(const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	struct subnet_file file;
	int r;

	r = subnet_file_read(text_or(conf, "subnetFile", SUBNET_FILE_DEFAULT), &file, fault);
	return r < 0 ? r : flannel_build(conf, &file, out, fault);
}

static int keep(const struct kept *kept, const struct strbuf *text, struct fault *fault)
{
	int r = small_file_write(kept->directory, 0700, kept->name, text->data, text->len, 0600);

	return r < 0 ? fault_set(fault, FAULT_IO, "cannot write %s: %s", kept->path, strerror(-r)) : 0;
}

static int add_with(const struct call *call, const struct kept *kept, const struct strbuf *text,
		    struct strbuf *out, struct fault *fault)
{
	struct conf delegate = { 0 };
	int r;

	r = conf_read(&delegate, call, text->data, text->len, fault);
	if (r == 0)
		r = keep(kept, text, fault);
	if (r == 0)
		r = run_delegate(call, &delegate, out, fault);
	// In-process nothing is left of an ADD that failed. Of another plugin's a DEL may find something.
	if (r < 0 && !kept->there && in_process(&delegate))
		(void)unlink(kept->path);
	conf_free(&delegate);
	return r;
}

static int add(const struct call *call, const struct conf *conf, struct strbuf *out, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(DOC_TEXT_MAX);
	_cleanup_free_ char *before = NULL;
	struct kept kept = { 0 };
	int r;

	r = build_from_file(conf, &text, fault);
	if (r == 0)
		r = kept_find(&kept, call, conf, &before, fault);
	return r < 0 ? r : add_with(call, &kept, &text, out, fault);
}

// What DEL and CHECK hand on: the kept text with the result that the runtime kept, which flannel's leaves out.
static int with_prev_result(const struct conf *conf, const char *text, struct strbuf *out,
			    struct fault *fault)
{
	const struct doc_value *prev = doc_get_kind(conf->root, "prevResult", DOC_OBJECT);
	struct doc doc = { 0 };
	int r = 0;

	if (doc_parse(&doc, text, strlen(text), NULL) < 0 || doc.root->kind != DOC_OBJECT)
		r = fault_set(fault, FAULT_DECODE,
			      "the kept configuration of the delegate is no JSON object");
	if (r == 0 && prev)
		doc_set(&doc, doc.root, "prevResult", doc_copy(&doc, prev));
	if (r == 0)
		(void)doc_write(doc.root, true, out);
	doc_free(&doc);
	return r;
}

static int del_with(const struct call *call, const struct conf *conf, const struct kept *kept,
		    const char *text, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf whole = STRBUF_INIT(DOC_TEXT_MAX),
				       out = STRBUF_INIT(DOC_TEXT_MAX);
	struct conf delegate = { 0 };
	int r;

	r = with_prev_result(conf, text, &whole, fault);
	if (r == 0)
		r = conf_read(&delegate, call, whole.data, whole.len, fault);
	// Without a kept file another plugin has nothing to go by; that it was not attached is the likeliest.
	if (r == 0 && (kept->there || in_process(&delegate)))
		r = run_delegate(call, &delegate, &out, fault);
	conf_free(&delegate);
	if (r == 0 && unlink(kept->path) < 0 && errno != ENOENT && errno != ENOTDIR)
		r = fault_set(fault, FAULT_IO, "cannot remove %s: %s", kept->path, strerror(errno));
	return r;
}

static int del(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf made_up = STRBUF_INIT(DOC_TEXT_MAX);
	_cleanup_free_ char *text = NULL;
	struct kept kept = { 0 };
	int r;

	r = kept_find(&kept, call, conf, &text, fault);
	if (r == 0 && !text)
		r = flannel_build(conf, NULL, &made_up, fault);
	return r < 0 ? r : del_with(call, conf, &kept, text ? text : strbuf_text(&made_up), fault);
}

static int check(const struct call *call, const struct conf *conf, struct fault *fault)
{
	_cleanup_strbuf_ struct strbuf whole = STRBUF_INIT(DOC_TEXT_MAX),
				       out = STRBUF_INIT(DOC_TEXT_MAX);
	_cleanup_free_ char *text = NULL;
	struct conf delegate = { 0 };
	struct kept kept = { 0 };
	int r;

	r = kept_find(&kept, call, conf, &text, fault);
	if (r == 0 && !text)
		r = fault_set(fault, FAULT_INTERNAL,
			      "container %s was not attached here: %s is missing",
			      call->container_id, kept.path);
	if (r == 0)
		r = with_prev_result(conf, text, &whole, fault);
	if (r == 0)
		r = conf_read(&delegate, call, whole.data, whole.len, fault);
	if (r == 0)
		r = run_delegate(call, &delegate, &out, fault);
	conf_free(&delegate);
	return r;
}

// STATUS and GC, which are of the network and not of an attachment.
static int forward(const struct call *call, const struct conf *conf, struct fault *fault)
{
	static const char *const lists[] = { "cni.dev/valid-attachments", "cni.dev/attachments" };
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT(DOC_TEXT_MAX),
				       whole = STRBUF_INIT(DOC_TEXT_MAX),
				       out = STRBUF_INIT(DOC_TEXT_MAX);
	struct conf delegate = { 0 };
	struct doc doc = { 0 };
	int r;

	r = build_from_file(conf, &text, fault);
	if (r < 0 && call->command == COMMAND_STATUS)
		fault->code = FAULT_UNAVAILABLE;
	if (r < 0)
		return r;
	(void)doc_parse(&doc, text.data, text.len, NULL); // written by us just now
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (doc_get(conf->root, lists[i]))
			doc_set(&doc, doc.root, lists[i],
				doc_copy(&doc, doc_get(conf->root, lists[i])));
	(void)doc_write(doc.root, true, &whole);
	doc_free(&doc);
	r = conf_read(&delegate, call, strbuf_text(&whole), whole.len, fault);
	if (r == 0)
		r = run_delegate(call, &delegate, &out, fault);
	conf_free(&delegate);
	return r;
}

int flannel_run(const struct call *call, const struct conf *conf, struct strbuf *out,
		struct fault *fault)
{
	switch (call->command) {
	case COMMAND_ADD:
		return add(call, conf, out, fault);
	case COMMAND_DEL:
		return del(call, conf, fault);
	case COMMAND_CHECK:
		return check(call, conf, fault);
	case COMMAND_STATUS:
	case COMMAND_GC:
		return forward(call, conf, fault);
	case COMMAND_VERSION:
	case COMMAND_COUNT:
		break;
	}
	return 0;
}
