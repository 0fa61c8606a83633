/* The plan's reader: bytes that were checked once, then pointers. The layout is written down in pyoci/plan/wire.py. */
#pragma once

#include "nolibc.h"

struct list {
	uint32_t offset, count;
};

struct blob {
	uint32_t offset, length;
};

#include "ops.h"

struct op {
	uint32_t kind, args;
};

struct plan {
	unsigned char *bytes;
	uint32_t size, count, pool; /* pool: where the strings and bytes begin */
	const struct op *ops;
};

enum plan_error {
	PLAN_GOOD, PLAN_SHORT, PLAN_HEADER, PLAN_TABLE, PLAN_KIND, PLAN_ARGUMENTS, PLAN_STRING, PLAN_LIST, PLAN_BLOB, PLAN_SLOT,
};

/*
 * Check everything that the bytes claim, and turn the offsets of strings into pointers in place, so that an
 * operation's arguments can be read as their struct. `bytes` is 8-byte aligned and writable.
 */
enum plan_error plan_read(struct plan *plan, unsigned char *bytes, size_t size);

/* The arguments of an INIT operation as `struct op_NAME`. */
#define PLAN_ARGS(plan, op, name) ((const struct op_##name *)(const void *)((plan)->bytes + (op)->args))

/* The first string of a list; the others follow, each after the NUL of the one before. */
static inline const char *list_first(const struct plan *plan, struct list list)
{
	return list.count ? (const char *)plan->bytes + list.offset : NULL;
}

static inline const char *list_next(const char *word)
{
	return word + strlen(word) + 1;
}
