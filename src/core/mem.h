// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: memory that cannot fail, and scope-bound clean-up.
#pragma once

#include <stddef.h>
#include <stdlib.h>

// A null pointer, a zero size or an overflowing product never comes back: out of memory aborts,
// because an agent that half-works without memory is worse than one that its supervisor restarts.
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc_array(void *old, size_t count, size_t size);
char *xstrdup(const char *text);	      // NULL gives NULL
char *xstrndup(const char *text, size_t len); // always terminated
void *xmemdup(const void *data, size_t size);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define xnew(type) ((type *)xcalloc(1, sizeof(type)))
#define xnew0_array(type, count) ((type *)xcalloc((count), sizeof(type)))

// Drops the allocator's free pages and keeps large blocks mmapped from now on, so that what a start
// with ten thousand leases needed for a moment goes back to the kernel. Call once at start: mem_setup.
void mem_setup(void);
void mem_trim(void);

#define _cleanup_(function) __attribute__((cleanup(function)))

static inline void freep(void *pointer)
{
	free(*(void **)pointer);
}
#define _cleanup_free_ _cleanup_(freep)

void secret_text_free(char *secret); // a text, overwritten first; NULL is fine
void secret_text_freep(char **secret);
#define _cleanup_secret_ _cleanup_(secret_text_freep)

// Closes *fd when it is not negative; errno survives.
void fd_closep(int *fd);
#define _cleanup_close_ _cleanup_(fd_closep)

#define TAKE_PTR(pointer)                               \
	({                                              \
		__typeof__(pointer) taken_ = (pointer); \
		(pointer) = NULL;                       \
		taken_;                                 \
	})
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))
