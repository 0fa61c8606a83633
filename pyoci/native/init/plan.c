/* The plan's reader. The bytes come from the runtime, but a reader that trusts nobody can be fuzzed and read alone. */
#include "plan.h"

/*
 * The end of the string at `offset`, its NUL included; 0 if it does not lie in the pool. Below the pool it might end in
 * a slot that becomes a pointer later.
 */
static uint64_t string_end(const struct plan *plan, uint64_t offset)
{
	if (offset < plan->pool)
		return 0;
	for (uint64_t at = offset; at < plan->size; at++)
		if (!plan->bytes[at])
			return at + 1;
	return 0;
}

static enum plan_error check_list(const struct plan *plan, struct list list)
{
	uint64_t at = list.offset;

	for (uint32_t i = 0; i < list.count; i++) {
		at = string_end(plan, at);
		if (!at)
			return PLAN_LIST;
	}
	return PLAN_GOOD;
}

static enum plan_error check_argument(const struct plan *plan, char kind, unsigned char *slot, bool init)
{
	uint32_t pair[2];
	int64_t number;

	memcpy(pair, slot, sizeof pair);
	switch (kind) {
	case 'i':
		return PLAN_GOOD;
	case 'f':
		memcpy(&number, slot, sizeof number);
		return number >= -1 && number < MAX_SLOTS ? PLAN_GOOD : PLAN_SLOT;
	case 's': {
		const unsigned char *text = NULL;

		if (pair[1] && !string_end(plan, pair[0]))
			return PLAN_STRING;
		if (!init)
			return PLAN_GOOD;
		if (pair[1])
			text = plan->bytes + pair[0];
		memcpy(slot, &text, sizeof text);
		return PLAN_GOOD;
	}
	case 'l':
		return check_list(plan, (struct list){ pair[0], pair[1] });
	case 'b':
		if (!pair[1])
			return PLAN_GOOD;
		return pair[0] % 4 == 0 && pair[0] >= plan->pool && (uint64_t)pair[0] + pair[1] <= plan->size ? PLAN_GOOD
														       : PLAN_BLOB;
	}
	return PLAN_KIND;
}

/* Where the arguments end, if each operation's kind is known and its arguments stand right after those before it. */
static enum plan_error check_table(struct plan *plan)
{
	uint64_t at = sizeof(uint32_t[4]) + (uint64_t)plan->count * sizeof(struct op);

	for (uint32_t i = 0; i < plan->count; i++) {
		if (plan->ops[i].kind >= OP_KINDS)
			return PLAN_KIND;
		if (plan->ops[i].args != at)
			return PLAN_ARGUMENTS;
		at += 8 * (uint64_t)strlen(op_arguments[plan->ops[i].kind] + 1);
		if (at > plan->size)
			return PLAN_ARGUMENTS;
	}
	plan->pool = (uint32_t)at;
	return PLAN_GOOD;
}

enum plan_error plan_read(struct plan *plan, unsigned char *bytes, size_t size)
{
	uint32_t head[4];
	enum plan_error error;

	_Static_assert(sizeof(void *) == 8, "an argument slot holds a pointer");
	if (size < sizeof head)
		return PLAN_SHORT;
	memcpy(head, bytes, sizeof head);
	if (head[0] != PLAN_MAGIC || head[1] != PLAN_VERSION || head[3] > size || head[3] < sizeof head)
		return PLAN_HEADER;
	*plan = (struct plan){ bytes, head[3], head[2], 0, (const struct op *)(const void *)(bytes + sizeof head) };
	if (plan->count > (plan->size - sizeof head) / sizeof(struct op))
		return PLAN_TABLE;
	error = check_table(plan);
	for (uint32_t i = 0; i < plan->count && error == PLAN_GOOD; i++) {
		const char *kinds = op_arguments[plan->ops[i].kind];
		unsigned char *slot = bytes + plan->ops[i].args;

		for (const char *kind = kinds + 1; *kind && error == PLAN_GOOD; kind++, slot += 8)
			error = check_argument(plan, *kind, slot, *kinds == 'I');
	}
	return error;
}
